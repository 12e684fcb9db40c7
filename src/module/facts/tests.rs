//! The rules of declarations and observations.

use serde_json::{Value as Json, json};

use super::*;
use crate::model::NodeId;
use crate::module::codec::{FromModule, decode};
use crate::plan::Graph;

const DECLARE: &str = include_str!("../codec/tests/declare.json");

fn name() -> Name {
    "lamp".parse().unwrap()
}

fn config(text: Json) -> Map<String, Json> {
    text.as_object().unwrap().clone()
}

/// What comes of the sample declaration when one of its fields is another one.
fn changed(pointer: &str, value: Json) -> Result<Accepted, DeclarationError> {
    let mut whole: Json = serde_json::from_str(DECLARE).unwrap();
    *whole.pointer_mut(pointer).unwrap() = value;
    match decode(whole.to_string().as_bytes()) {
        Ok(FromModule::Declare(declared)) => accept(&name(), &config(json!({"host": "h"})), &declared),
        other => panic!("{other:?}"),
    }
}

fn sample() -> Accepted {
    changed("/protocol", json!(1)).unwrap()
}

fn observe(variable: &str, value: Json) -> Result<ModuleFact, String> {
    let seen = Observation { node: NodeId(uuid::Uuid::nil()), variable: variable.to_owned(), value };
    observed(&name(), &sample().declaration.variables, &seen)
}

fn seen(variable: &str, value: Json) -> Option<Value> {
    match observe(variable, value).unwrap().event {
        ModuleEvent::Observed { value, .. } => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_declaration_becomes_variables_mutations_and_guards_that_fit_the_graph() {
    let accepted = sample();
    assert_eq!((accepted.at_once, accepted.discover_every_ms, accepted.idle_stop_ms), (4, Some(1_000), None));
    let declaration = &accepted.declaration;
    let budgets: Vec<Budget> = declaration.mutations.iter().map(|m| m.budget).collect();
    assert_eq!(budgets, [Budget::Free, Budget::Counted, Budget::Free]);
    let origin = crate::model::schema::Origin::Module(name());
    let mut schema = crate::model::Schema::default();
    let variables = declaration.variables.clone();
    schema.add(crate::model::Extension { name: name(), doc: String::new(), origin, variables }).unwrap();
    let built_in = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
    ];
    let graph = Graph::build(built_in.concat(), &crate::model::Schema::default()).unwrap();
    graph.with(&declaration.mutations, &schema).unwrap();
}

#[test]
fn every_rule_of_a_declaration_is_told_by_name_when_it_is_broken() {
    for (pointer, value, told) in [
        ("/protocol", json!(2), "version 2 of the protocol"),
        ("/protocol", json!(0), "version 0 of the protocol"),
        ("/variables/0/path", json!("power"), "'power' is not the module's own"),
        ("/variables/0/path", json!("lampoon.light"), "must begin with 'lamp.'"),
        ("/variables/1/type", json!("secret"), "no secrets"),
        ("/mutations/0/name", json!("power.on"), "the mutation 'power.on' is not the module's own"),
        ("/mutations/0/name", json!("lamp.Look!"), "'lamp.Look!' is not a variable's path"),
        ("/mutations/0/changes/0/variable", json!("power"), "speaks of 'power', which the module does not declare"),
        ("/mutations/0/changes/0/variable", json!("lamp.fans.<name>"), "without a placeholder"),
        ("/mutations/1/fail_to/0/variable", json!("run"), "speaks of 'run'"),
        ("/mutations/1/requires/0/variable", json!("Power"), "'Power' is not a variable's path"),
        ("/mutations/0/timeout_ms", json!(0), "timeout_ms of the mutation 'lamp.look' is 0"),
        ("/mutations/0/expected_ms", json!(5_001), "expected_ms of the mutation 'lamp.look' is 5001"),
        ("/guards/0/variable", json!("busy"), "a guard speaks of 'busy'"),
        ("/at_once", json!(0), "at_once is 0"),
        ("/discover/every_ms", json!(10), "discover.every_ms is 10"),
        ("/config/1/key", json!("port"), "has the key 'host', which it does not know; known are: every_s, port"),
        ("/config/1/type", json!("integer"), "'host' of its configuration must be a whole number"),
    ] {
        let refused = changed(pointer, value.clone()).unwrap_err().to_string();
        assert!(refused.contains(told), "{pointer} = {value}: {refused}");
    }
    let FromModule::Declare(declared) = decode(DECLARE.as_bytes()).unwrap() else { panic!("it is a declaration") };
    let refused = accept(&name(), &Map::new(), &declared).unwrap_err().to_string();
    assert!(refused.contains("no 'host' (where it is); add it as a text"), "{refused}");
}

#[test]
fn a_module_declares_no_more_than_it_may() {
    let many = vec![json!({"path": "lamp.x", "type": "text"}); MODULE_DECLARED_MAX + 1];
    assert!(matches!(changed("/variables", json!(many)), Err(DeclarationError::TooMany { what: "variables" })));
}

#[test]
fn an_observation_is_of_an_own_declared_variable_and_of_its_type() {
    assert_eq!(seen("lamp.light", json!("on")), Some(Value::symbol("on")));
    assert_eq!(seen("lamp.light", Json::Null), None);
    assert_eq!(seen("lamp.watts", json!(60)), Some(Value::Int(60)));
    assert_eq!(seen("lamp.fans.front", json!(1_500)), Some(Value::Duration(1_500)));
    assert_eq!(seen("lamp.fans.front", json!("90s")), Some(Value::Duration(90_000)));
    for (variable, value, told) in [
        ("power", json!("on"), "not the module's own variable"),
        ("lamps.light", json!("on"), "not the module's own variable"),
        ("lamp", json!("on"), "not the module's own variable"),
        ("lamp.Light", json!("on"), "not a variable's path"),
        ("lamp.colour", json!("red"), "was not declared"),
        ("lamp.light", json!("purple"), "is not off or on"),
        ("lamp.light", json!(1), "is not off or on"),
        ("lamp.watts", json!(9_001), "is not a whole number from 0 to 9000"),
        ("lamp.watts", json!("60"), "is not a whole number"),
        ("lamp.watts", json!(1.5), "is not a whole number"),
    ] {
        let refused = observe(variable, value).unwrap_err();
        assert!(refused.contains(told), "{variable}: {refused}");
    }
}

#[test]
fn every_kind_of_value_comes_back_from_the_line_as_it_was() {
    let list = VarType::List { of: Box::new(VarType::Ip) };
    let map = VarType::Map { of: Box::new(VarType::Int { min: -9, max: 9 }) };
    for (kind, line) in [
        (VarType::symbols(&["a", "b"]), json!("b")),
        (VarType::Int { min: -9, max: 9 }, json!(-9)),
        (VarType::Text, json!("x \"y\"")),
        (VarType::Mac, json!("02:00:00:00:00:07")),
        (VarType::Uuid, json!("00000000-0000-0000-0000-000000000007")),
        (VarType::Duration, json!(250)),
        (list, json!(["10.0.0.1", "::1"])),
        (map, json!({"a": 1, "b": -1})),
    ] {
        let value = value_of(&kind, &line).unwrap();
        assert_eq!(json_of(&value), Some(line));
    }
    assert_eq!(json_of(&Value::Secret(crate::model::Sealed(vec![1]))), None);
    assert_eq!(value_of(&VarType::Secret, &json!("x")), None);
}

#[test]
fn a_text_for_people_is_one_line_and_not_too_long() {
    assert_eq!(cut("a\nb\u{1b}[2J"), "a b [2J");
    assert_eq!(cut(&"ö".repeat(5_000)).chars().count(), MODULE_TEXT_CHARS_MAX);
}
