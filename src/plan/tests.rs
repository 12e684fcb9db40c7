//! The graph's checks, and a description against a state. What plans do over time is tested with the engine.

mod graph;

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::graph::{Graph, GraphError};
use super::*;
use crate::fact::{Fact, OperatorFact, Stamped};
use crate::model::{CakeSpec, Digest, FactSeq, ImagePin, Mac, Name, NetworkSpec, NodeId, NodeSpec, UnixMs};
use crate::state::State;

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

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node(number: u8, cake: &str) -> (NodeId, NodeSpec) {
    let spec = NodeSpec {
        name: name(&format!("n{number}")),
        network: name("boot"),
        mac: Mac([2, 0, 0, 0, 0, number]),
        ip: Ipv4Addr::new(10, 0, 0, number),
        cake: Some(name(cake)),
        bmc: None,
        labels: Default::default(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
    };
    (NodeId(Uuid::from_u128(u128::from(number))), spec)
}

fn description() -> Description {
    let digest = Digest::of(b"1");
    Description {
        cluster: Some(name("c")),
        networks: vec![NetworkSpec {
            name: name("boot"),
            subnet: "10.0.0.0/24".parse().unwrap(),
            router: None,
            dns: vec![],
            lease_s: 60,
        }],
        cakes: vec![CakeSpec { name: name("hello"), images: vec![ImagePin { name: name("hello"), digest }] }],
        nodes: vec![node(1, "hello"), node(2, "hello")],
    }
}

fn applied(description: &Description) -> State {
    let mut state = State::default();
    let (_, events) = diff(&state, description).unwrap();
    for event in events {
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at: UnixMs(1), fact });
    }
    state
}

#[test]
fn applying_the_same_description_again_changes_nothing() {
    let state = applied(&description());
    assert_eq!(state.nodes.len(), 2);
    assert_eq!(diff(&state, &description()).unwrap(), (vec![], vec![]));
}

#[test]
fn a_change_names_its_fields_and_the_nodes_that_it_disturbs() {
    let state = applied(&description());
    let mut changed = description();
    changed.nodes[1].1.ip = Ipv4Addr::new(10, 0, 0, 99);
    changed.cakes[0].images[0].digest = Digest::of(b"2");
    let (changes, events) = diff(&state, &changed).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(changes[0].kind, ChangeKind::Update { fields: vec!["images".into()] });
    assert_eq!(changes[0].disrupts, [name("n1"), name("n2")]);
    assert_eq!(changes[1].kind, ChangeKind::Update { fields: vec!["ip".into()] });
    assert!(changes[1].disrupts.is_empty());
}

#[test]
fn a_description_that_contradicts_itself_is_refused_whole() {
    let state = State::default();
    let refused = |change: fn(&mut Description)| {
        let mut wrong = description();
        change(&mut wrong);
        diff(&state, &wrong).unwrap_err()
    };
    assert!(matches!(refused(|d| d.nodes[1].1.mac = d.nodes[0].1.mac), ApplyError::Shared { what: "MAC", .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.ip = d.nodes[0].1.ip), ApplyError::Shared { what: "address", .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.name = name("n1")), ApplyError::Shared { what: "name", .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.ip = Ipv4Addr::new(10, 9, 9, 9)), ApplyError::NotInNetwork { .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.cake = Some(name("none"))), ApplyError::Missing { what: "cake", .. }));
    assert!(matches!(refused(|d| d.networks.clear()), ApplyError::Missing { what: "network", .. }));
}

#[test]
fn nodes_may_take_over_each_others_addresses_in_one_apply() {
    let mut state = applied(&description());
    let mut swapped = description();
    let (mac, ip) = (swapped.nodes[0].1.mac, swapped.nodes[0].1.ip);
    swapped.nodes[0].1 =
        NodeSpec { mac: swapped.nodes[1].1.mac, ip: swapped.nodes[1].1.ip, ..swapped.nodes[0].1.clone() };
    swapped.nodes[1].1 = NodeSpec { mac, ip, ..swapped.nodes[1].1.clone() };
    let (_, events) = diff(&state, &swapped).unwrap();
    for event in events {
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at: UnixMs(2), fact });
    }
    for (_, spec) in &swapped.nodes {
        assert_eq!(state.node_with_mac(spec.mac).unwrap().spec.name, spec.name);
        assert_eq!(state.node_with_ip(spec.ip).unwrap().spec.name, spec.name);
    }
}

#[test]
fn a_node_that_is_described_with_another_address_keeps_its_id_and_frees_the_old_one() {
    let state = applied(&description());
    let mut moved = description();
    moved.nodes =
        vec![(NodeId(Uuid::from_u128(77)), NodeSpec { ip: Ipv4Addr::new(10, 0, 0, 50), ..node(1, "hello").1 })];
    let (_, events) = diff(&state, &moved).unwrap();
    let mut state = state;
    for event in events {
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at: UnixMs(2), fact });
    }
    assert_eq!(state.node_named(&name("n1")).unwrap().id, NodeId(Uuid::from_u128(1)));
    assert!(state.node_with_ip(Ipv4Addr::new(10, 0, 0, 1)).is_none());
    assert!(state.node_with_ip(Ipv4Addr::new(10, 0, 0, 50)).is_some());
}
