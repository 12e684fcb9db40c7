//! What a selection means, for any labels, values and conditions.

use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use crate::model::schema::Origin;
use crate::model::{Extension, FactSeq, NodeId, UnixMs, VariableSpec};
use crate::plan::resolve::{NodeDescription, resolve};
use crate::state::{Observed, State, StateSource};

const SLOTS: &str = "site.slots";

fn variable(path: &str, kind: VarType, set: Setting) -> VariableSpec {
    VariableSpec { path: path.into(), kind, set, goals: vec![], default: None, known_while: None, doc: String::new() }
}

fn schema() -> Schema {
    let any = VarType::Int { min: i64::MIN, max: i64::MAX };
    let variables = vec![
        variable(SLOTS, any, Setting::Config),
        variable("site.seen", VarType::Int { min: i64::MIN, max: i64::MAX }, Setting::Observed),
        variable("site.uptime", VarType::Duration, Setting::Observed),
        variable("site.key", VarType::Secret, Setting::Config),
    ];
    let name = "site".parse().unwrap();
    let mut schema = Schema::default();
    schema.add(Extension { name, doc: String::new(), origin: Origin::Described, variables }).unwrap();
    schema
}

/// A node with these labels, this setting, and these things seen.
fn node(labels: &[(String, String)], slots: Option<i64>, seen: &[(&str, Value)]) -> Node {
    let mut state = State { schema: schema(), ..State::default() };
    let own = crate::model::Template {
        network: Some("boot".parse().unwrap()),
        labels: labels.iter().cloned().collect(),
        variables: slots.map(|slots| (SLOTS.parse().unwrap(), Value::Int(slots))).into_iter().collect(),
        ..Default::default()
    };
    let (name, mac, ip) = ("n1".parse().unwrap(), crate::model::Mac([2; 6]), "10.0.0.1".parse().unwrap());
    let said = NodeDescription {
        name,
        mac,
        ip: Some(ip),
        matching: Default::default(),
        bmc: None,
        pool: Some("gpu".parse().unwrap()),
        own,
        ipv6: Default::default(),
    };
    let spec = Box::new(resolve(&said, None, &crate::model::Template::default()).unwrap());
    let id = NodeId(Uuid::from_u128(1));
    let event = OperatorEvent::NodeDescribed { node: id, spec };
    state.apply(&Stamped { seq: FactSeq(1), at: UnixMs(1), fact: Fact::Operator(OperatorFact::from(event)) });
    let mut node = Arc::unwrap_or_clone(state.node(id).unwrap().clone());
    for (path, value) in seen {
        let (at, revision) = (UnixMs(1), crate::model::Revision(1));
        let observed = Observed { value: value.clone(), at, revision, source: StateSource::Agent };
        Arc::make_mut(&mut node.observed).insert(path.parse().unwrap(), observed);
    }
    node
}

fn holds(node: &Node, labels: &str, wheres: &[&str]) -> bool {
    let labels = if labels.is_empty() { LabelTerms::default() } else { labels.parse().unwrap() };
    let wheres = wheres.iter().map(|text| text.parse().unwrap()).collect();
    Selector { pool: None, labels, wheres }.compile(&schema()).unwrap().matches(node)
}

#[test]
fn labels_are_asked_for_by_value_and_by_presence() {
    let node = node(&[("rack".into(), "r1".into()), ("gpu".into(), String::new())], None, &[]);
    for yes in ["rack=r1", "gpu", "gpu=", "rack!=r2", "!old", "old!=1", "rack=r1,gpu,!old"] {
        assert!(holds(&node, yes, &[]), "{yes}");
    }
    for no in ["rack=r2", "rack!=r1", "!gpu", "old", "rack=r1,old"] {
        assert!(!holds(&node, no, &[]), "{no}");
    }
}

#[test]
fn variables_are_asked_for_by_what_was_seen_and_settings_by_what_is_wanted() {
    let run = ("run", Value::symbol("init"));
    let node = node(&[], Some(4), &[run, ("site.uptime", Value::Duration(90_000))]);
    for yes in ["run!=sync", "run=init", "run", "!power", "power!=on", "site.slots=4", "site.slots>3", "site.uptime>1m"]
    {
        assert!(holds(&node, "", &[yes]), "{yes}");
    }
    for no in ["run=sync", "!run", "power", "power=on", "site.slots<4", "site.seen<1", "site.uptime>=2m"] {
        assert!(!holds(&node, "", &[no]), "{no}");
    }
}

#[test]
fn a_pool_is_asked_for_by_its_name() {
    let node = node(&[], None, &[]);
    let of = |pool: &str| {
        let selector = Selector { pool: pool.parse().ok(), ..Selector::default() };
        selector.compile(&schema()).unwrap().matches(&node)
    };
    assert!(of("gpu") && !of("cpu"));
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let refused = |text: &str| {
        let term = text.parse::<WhereTerm>();
        let compiled = term.and_then(|t| Selector { wheres: vec![t], ..Selector::default() }.compile(&schema()));
        compiled.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused("site.nothing=1").contains("there is no variable"));
    assert!(refused("power=purple").contains("off or on"));
    assert!(refused("power<on").contains("only whole numbers"));
    assert!(refused("site.key=x").contains("is a secret"));
    assert_eq!(refused("site.key"), "");
    assert!(refused("site.slots!3").contains("is not a condition"));
    for bad in ["", "=r1", "a,,b", "a!b", "!"] {
        assert!(bad.parse::<LabelTerms>().is_err(), "{bad}");
    }
}

fn label_terms() -> impl Strategy<Value = LabelTerms> {
    let (key, value) = ("[a-c]", "[x-z]{0,2}");
    let one = prop_oneof![
        (key, value).prop_map(|(k, v)| LabelTerm::Is(k, v)),
        (key, value).prop_map(|(k, v)| LabelTerm::IsNot(k, v)),
        key.prop_map(LabelTerm::Has),
        key.prop_map(LabelTerm::HasNot),
    ];
    proptest::collection::vec(one, 1..4).prop_map(LabelTerms)
}

proptest! {
    #[test]
    fn a_selection_is_the_same_after_it_was_written_and_read(labels in label_terms(), value in -9_i64..9, sign in 0..6_usize) {
        prop_assert_eq!(labels.to_string().parse::<LabelTerms>(), Ok(labels));
        let text = format!("{SLOTS}{}{value}", ["=", "!=", "<", "<=", ">", ">="][sign]);
        prop_assert_eq!(text.parse::<WhereTerm>().unwrap().to_string(), text);
    }

    #[test]
    fn of_a_condition_and_its_opposite_exactly_one_holds(
        labels in proptest::collection::btree_map("[a-c]", "[x-z]", 0..3),
        key in "[a-c]",
        value in "[x-z]",
        slots in proptest::option::of(-3_i64..3),
        than in -3_i64..3,
    ) {
        let labels: Vec<(String, String)> = labels.into_iter().collect();
        let node = node(&labels, slots, &[]);
        let labelled = |terms: String| holds(&node, &terms, &[]);
        prop_assert_ne!(labelled(format!("{key}={value}")), labelled(format!("{key}!={value}")));
        prop_assert_ne!(labelled(key.clone()), labelled(format!("!{key}")));
        let asked = |sign: &str| holds(&node, "", &[&format!("{SLOTS}{sign}{than}")]);
        prop_assert_ne!(asked("="), asked("!="));
        let unknown = format!("!{SLOTS}");
        prop_assert_ne!(holds(&node, "", &[SLOTS]), holds(&node, "", &[&unknown]));
        let known = usize::from(slots.is_some());
        let count = |signs: &[&str]| signs.iter().filter(|sign| asked(sign)).count();
        prop_assert_eq!(count(&["<", "=", ">"]), known);
        prop_assert_eq!(count(&["<", ">="]), known);
        prop_assert_eq!(count(&[">", "<="]), known);
    }

    #[test]
    fn one_more_term_never_selects_one_more_node(
        labels in proptest::collection::btree_map("[a-c]", "[x-z]", 0..3),
        some in label_terms(),
        more in label_terms(),
    ) {
        let labels: Vec<(String, String)> = labels.into_iter().collect();
        let node = node(&labels, None, &[]);
        let both = LabelTerms([some.0.clone(), more.0.clone()].concat());
        let held = holds(&node, &some.to_string(), &[]) && holds(&node, &more.to_string(), &[]);
        prop_assert_eq!(holds(&node, &both.to_string(), &[]), held);
    }
}
