//! The graph's checks, what the built-in graph promises, and what searches cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::graph::{Graph, GraphError};
use super::super::*;
use crate::model::schema::{Extension, Origin, Schema, Setting, VarType, VariableSpec};
use crate::model::{NodeId, Revision, UnixMs, Value, VarPath};
use crate::plan::diff::tests::{applied, description};
use crate::state::{Control, Node, Observed, StateSource};

fn built_in() -> Vec<Mutation> {
    // Declarations are data, whoever makes them: a rank above does, and tests may look there.
    [crate::power::mutations::mutations(), crate::boot::mutations::mutations(), crate::sync::mutations::mutations()]
        .concat()
}

fn graph() -> Graph {
    Graph::build(built_in(), &Schema::default()).unwrap()
}

fn mutation(name: &str, changes: Vec<Edge>) -> Mutation {
    Mutation {
        name: name.into(),
        module: "fan".into(),
        changes,
        requires: vec![],
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![],
        expected_ms: 1_000,
        timeout_ms: 10_000,
        context: Context::Node,
        disruption: Disruption::None,
        work: Work::Act,
        budget: Budget::Counted,
    }
}

fn speed() -> Subject {
    Subject::Var("fan.speed".parse().unwrap())
}

fn schema(set: Setting, goals: &[&str]) -> Schema {
    let mut schema = Schema::default();
    let variable = |path: &str, kind| VariableSpec {
        path: path.into(),
        kind,
        set,
        goals: goals.iter().map(|goal| (*goal).into()).collect(),
        default: None,
        known_while: None,
        doc: String::new(),
    };
    let variables = vec![variable("fan.speed", VarType::symbols(&["low", "high"]))];
    let name = "fan".parse().unwrap();
    schema.add(Extension { name, doc: String::new(), origin: Origin::Described, variables }).unwrap();
    schema
}

/// What is said of these mutations of the module `fan`, besides the built-in ones.
fn refused(mutations: Vec<Mutation>, schema: &Schema) -> (GraphError, String) {
    let error = graph().with(&mutations, schema).unwrap_err();
    let told = error.to_string();
    (error, told)
}

fn up_and_down() -> Vec<Mutation> {
    let edge = |name, from: &[&str], to: &[&str]| mutation(name, vec![Edge::new(speed(), from, to)]);
    vec![edge("fan.up", &["low", "unknown"], &["high"]), edge("fan.down", &["high"], &["low"])]
}

#[test]
fn a_declaration_that_is_right_is_taken() {
    let wider = graph().with(&up_and_down(), &schema(Setting::Goal, &[])).unwrap();
    assert_eq!(wider.mutations().len(), graph().mutations().len() + 2);
}

#[test]
fn every_fault_of_a_declaration_is_told_with_its_module_and_its_mutation() {
    let edge = |from: &[&str], to: &[&str]| vec![Edge::new(speed(), from, to)];
    let schema = schema(Setting::Goal, &[]);
    let wrong = |change: fn(&mut Mutation)| {
        let mut all = up_and_down();
        change(&mut all[0]);
        refused(all, &schema)
    };
    let text = || Subject::Var("net.hostname".parse().unwrap());
    let cases = [
        wrong(|m| m.changes = vec![]),
        wrong(|m| m.changes[0].from = vec![]),
        wrong(|m| m.changes.push(m.changes[0].clone())),
        wrong(|m| m.changes[0].to = vec!["purple".into()]),
        wrong(|m| m.changes[0].from = vec!["purple".into()]),
        // Unknown is never where a mutation leads.
        wrong(|m| m.changes[0].to = vec!["unknown".into()]),
        wrong(|m| m.requires = vec![Condition::new(Subject::power(), &["purple"])]),
        wrong(|m| m.excludes = vec![Condition::new(Subject::run(), &["purple"])]),
        wrong(|m| m.consequences = vec![Consequence::new(Subject::power(), "purple")]),
        wrong(|m| m.fail_to = vec![Consequence::new(Subject::power(), "purple")]),
        wrong(|m| {
            let twice = |values: &[&str]| Condition::new(Subject::power(), values);
            m.requires = vec![twice(&["on"]), twice(&["off"])];
        }),
        wrong(|m| {
            m.requires = vec![Condition::new(Subject::run(), &["sync"])];
            m.excludes = vec![Condition::new(Subject::run(), &["sync", "init"])];
        }),
        refused(vec![mutation("fan.up", vec![Edge::new(text(), &["low"], &["high"])])], &schema),
        refused(
            vec![mutation("fan.up", vec![Edge::new(Subject::Var("fan.none".parse().unwrap()), &["low"], &["high"])])],
            &schema,
        ),
    ];
    for (error, told) in cases {
        assert!(told.contains("module fan") && told.contains("mutation fan.up"), "{error:?}: {told}");
    }
    let (error, told) = refused(vec![mutation("power.on", edge(&["low"], &["high"]))], &schema);
    assert!(matches!(error, GraphError::Duplicate { .. }), "{error:?}");
    assert!(told.contains("power.on") && told.contains("by power and by fan"), "{told}");
}

#[test]
fn a_value_that_cannot_be_left_and_a_goal_that_cannot_be_reached_are_named_with_who_leads_there() {
    let mut all = up_and_down();
    all.pop();
    let (error, told) = refused(all, &schema(Setting::Goal, &["high"]));
    assert_eq!(
        error,
        GraphError::Trap { subject: speed(), value: "high".into(), by: vec!["fan.up (module fan)".into()] }
    );
    assert!(told.contains("fan.speed=high") && told.contains("fan.up (module fan)"), "{told}");
    let lost = vec![mutation("fan.lose", vec![Edge::new(speed(), &["high", "unknown", "low"], &["low"])])];
    let (error, told) = refused(lost, &schema(Setting::Goal, &["high"]));
    assert!(matches!(&error, GraphError::Unreachable { value, .. } if value == "high"), "{error:?}");
    assert!(told.contains("fan.speed=high") && told.contains("fan.lose (module fan)"), "{told}");
}

#[test]
fn a_goal_that_nobody_may_ask_for_need_not_be_reached() {
    let lost = vec![mutation("fan.lose", vec![Edge::new(speed(), &["high", "unknown", "low"], &["low"])])];
    assert!(graph().with(&lost, &schema(Setting::Goal, &["low"])).is_ok());
    assert!(graph().with(&lost, &schema(Setting::Observed, &[])).is_ok());
}

fn node() -> Node {
    let mut description = description();
    description.nodes.truncate(1);
    let said = &mut description.nodes[0].1;
    said.bmc = Some(std::net::SocketAddr::from(([10, 0, 1, 1], 623)));
    said.own.bmc = Some(crate::model::BmcTemplate {
        driver: Some(crate::model::BmcDriver::Ipmi),
        user: Some("admin".into()),
        password: Some(crate::model::Sealed(vec![])),
    });
    let state = applied(&description);
    state.nodes.values().next().unwrap().as_ref().clone()
}

fn seeing(values: &[(&str, Option<&str>)]) -> Node {
    let seen = |value: &str| Observed {
        value: Value::symbol(value),
        at: UnixMs(1),
        revision: Revision(1),
        source: StateSource::Agent,
    };
    let observed: BTreeMap<VarPath, Observed> =
        values.iter().filter_map(|(path, value)| Some((path.parse().unwrap(), seen((*value)?)))).collect();
    Node { observed: Arc::new(observed), ..node() }
}

/// Every combination of values that a node can be seen in: without power nothing runs, without an agent nothing is known
/// of what runs.
fn situations() -> Vec<Node> {
    let mut all = Vec::new();
    for power in [None, Some("off"), Some("on")] {
        for boot in [
            None,
            Some("idle"),
            Some("armed"),
            Some("rom"),
            Some("loader"),
            Some("kernel"),
            Some("agent"),
            Some("stuck"),
        ] {
            for run in [None, Some("init"), Some("sync"), Some("lost")] {
                for image in [None, Some("idle"), Some("active"), Some("failed"), Some("stale")] {
                    let dead =
                        power == Some("off") && (run.is_some() || !matches!(boot, None | Some("idle" | "armed")));
                    let mute = run.is_some() && boot != Some("agent");
                    let silent = image.is_some() && !matches!(run, Some("init" | "sync"));
                    if !dead && !mute && !silent {
                        all.push(seeing(&[
                            ("power", power),
                            ("boot", boot),
                            ("run", run),
                            ("image.hello.state", image),
                        ]));
                    }
                }
            }
        }
    }
    all
}

#[test]
fn there_is_no_state_that_a_node_cannot_leave_for_every_goal_that_may_be_asked_of_it() {
    let goals: [&[(&str, &str)]; 5] = [
        &[],
        &[("power", "off")],
        &[("power", "on"), ("run", "init")],
        &[("image.hello.state", "idle")],
        &[("run", "lost")],
    ];
    let mut planner = Planner::new(graph());
    let mut stuck = Vec::new();
    for mut node in situations() {
        for goals in goals {
            let mut wanting = node.clone();
            for (path, value) in goals {
                let desired = Arc::make_mut(&mut wanting.desired).get_mut(&path.parse().unwrap()).unwrap();
                desired.value = Value::symbol(value);
            }
            if let Err(none) = planner.plan(&wanting) {
                let seen: Vec<String> = node.observed.iter().map(|(path, o)| format!("{path}={}", o.value)).collect();
                stuck.push(format!("{} to {goals:?}: {none}", seen.join(" ")));
            }
        }
        node.desired = Arc::default();
    }
    assert!(stuck.is_empty(), "{}", stuck.join("\n"));
}

#[test]
fn ten_thousand_nodes_in_five_situations_cost_five_searches() {
    let situations = [
        seeing(&[]),
        seeing(&[("power", Some("off")), ("boot", Some("idle"))]),
        seeing(&[("power", Some("on")), ("boot", Some("kernel"))]),
        seeing(&[("power", Some("on")), ("boot", Some("agent")), ("run", Some("init"))]),
        seeing(&[
            ("power", Some("on")),
            ("boot", Some("agent")),
            ("run", Some("sync")),
            ("image.hello.state", Some("idle")),
        ]),
    ];
    let mut planner = Planner::new(graph());
    for number in 0..10_000_u128 {
        let id = NodeId(uuid::Uuid::from_u128(number));
        let node = &situations[usize::try_from(number % 5).unwrap()];
        let plan = planner.plan(&Node { id, ..node.clone() }).unwrap();
        assert!(!plan.steps.is_empty() && plan.expected_ms > 0);
    }
    assert_eq!(planner.searches(), 5);
}

#[test]
fn what_is_learned_or_switched_costs_a_search_a_situation_and_what_changes_nothing_costs_none() {
    let node = seeing(&[("power", Some("off")), ("boot", Some("idle"))]);
    let mut planner = Planner::new(graph());
    let mut control = Control::default();
    planner.follow(&control);
    planner.plan(&node).unwrap();
    control.revision += 1;
    planner.follow(&control);
    planner.plan(&node).unwrap();
    assert_eq!(planner.searches(), 1, "nothing that plans depend on has changed");
    control.revision += 1;
    control.disabled_mutations.insert("image.reset".into());
    planner.follow(&control);
    planner.plan(&node).unwrap();
    assert_eq!(planner.searches(), 2);
}

#[test]
fn a_mutation_that_the_configuration_switches_off_is_named_like_one_that_an_operator_did() {
    let off = graph().switched_off(["boot.arm"], []);
    let mut planner = Planner::following(off.clone(), &Control::default());
    let node = seeing(&[("power", Some("off")), ("boot", Some("idle"))]);
    assert_eq!(planner.plan(&node), Err(NoPlan::Disabled { mutations: vec!["boot.arm".into()] }));
    let modules = graph().switched_off([], ["power"]);
    assert!(matches!(Planner::new(modules).plan(&node), Err(NoPlan::Disabled { .. })));
    // What a module adds later does not switch it on again.
    let wider = off.with(&up_and_down(), &schema(Setting::Goal, &[])).unwrap();
    assert!(!wider.is_enabled("boot.arm", "power") && wider.is_enabled("power.on", "power"));
    assert_eq!(Planner::new(wider).plan(&node), Err(NoPlan::Disabled { mutations: vec!["boot.arm".into()] }));
}
