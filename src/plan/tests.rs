//! The graph's checks. What plans do over time is tested with the engine.

mod graph;

use super::graph::{Graph, GraphError};
use super::*;

fn mutation(name: &'static str, from: &'static [&'static str], to: &'static [&'static str]) -> Mutation {
    Mutation {
        name: name.into(),
        module: "m".into(),
        changes: vec![Edge::new(Subject::power(), from, to)],
        requires: vec![],
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![],
        expected_ms: 1,
        timeout_ms: 1,
        context: Context::Parent,
        disruption: Disruption::None,
        work: Work::Act,
        budget: Budget::Free,
    }
}

#[test]
fn a_mutation_of_a_value_that_does_not_exist_is_found_and_named() {
    let error =
        Graph::build(vec![mutation("bad", &["off"], &["purple"])], &crate::model::Schema::default()).unwrap_err();
    assert!(matches!(&error, GraphError::NoSuchValue { name, value, .. } if name == "bad" && value == "purple"));
}

#[test]
fn two_mutations_of_one_name_are_found_and_named() {
    let twice = vec![mutation("a", &["off"], &["on"]), mutation("a", &["on"], &["off"])];
    assert!(matches!(Graph::build(twice, &crate::model::Schema::default()).unwrap_err(), GraphError::Duplicate { .. }));
}

#[test]
fn a_state_that_no_node_could_leave_is_found_and_named() {
    let error =
        Graph::build(vec![mutation("a", &["off", "unknown"], &["on"])], &crate::model::Schema::default()).unwrap_err();
    let by = vec!["a (module m)".to_owned()];
    assert_eq!(error, GraphError::Trap { subject: Subject::power(), value: "on".into(), by });
}
