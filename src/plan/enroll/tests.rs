//! Machines and rules, by hand and at random.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fact::{AgentEvent, AgentFact, BootClient, DhcpEvent, DhcpFact};
use crate::fact::{Fact, MachineEvent, MachineFact, OperatorEvent, OperatorFact, Stamped};
use crate::model::hardware::{Carrier, Firmware, Hardware, Interface, Processor, System};
use crate::model::{Digest, EnrollMatch, FactSeq, Neighbour, NodeId, NodeSpec, UnixMs};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// What is told of a cluster, in any order.
#[derive(Default)]
struct Story {
    state: State,
}

impl Story {
    fn new(rules: Vec<EnrollRule>) -> Self {
        let mut story = Story::default();
        story.operator(OperatorEvent::NetworkDescribed {
            spec: serde_json::from_str(r#"{"name":"boot","subnet":"10.77.0.0/28","router":"10.77.0.1","lease_s":600}"#)
                .unwrap(),
        });
        story.operator(OperatorEvent::EnrollmentDescribed { rules });
        story
    }

    fn tell(&mut self, fact: Fact) {
        let seq = FactSeq(self.state.seq.0 + 1);
        self.state.apply(&Stamped { seq, at: UnixMs(seq.0), fact });
    }

    fn operator(&mut self, event: OperatorEvent) {
        self.tell(Fact::Operator(OperatorFact::from(event)));
    }

    fn asks(&mut self, last: u8) {
        let event = DhcpEvent::Leased { ip: [10, 77, 0, 14].into(), lease_s: 60, file: None };
        let fact = serde_json::json!({
            "source": "dhcp", "mac": mac(last), "node": null, "client": "other", "event": event
        });
        let fact: DhcpFact = serde_json::from_value(fact).unwrap();
        assert_eq!(fact.client, BootClient::Other);
        self.tell(Fact::Dhcp(fact));
    }

    fn machine(&mut self, last: u8, event: MachineEvent) {
        self.tell(Fact::Machine(MachineFact { mac: mac(last), peer: [10, 77, 0, 14].into(), event }));
    }

    /// A machine that has reported everything.
    fn waits(&mut self, last: u8, serial: &str, port: Option<&str>) {
        self.asks(last);
        self.machine(last, MachineEvent::Hardware { hardware: Box::new(hardware(serial, &[mac(last)])) });
        let neighbours = port.iter().map(|port| neighbour(port)).collect();
        self.machine(last, MachineEvent::Neighbours { neighbours });
    }

    fn node(&mut self, number: u8, node_name: &str, mac: Mac, ip: [u8; 4]) -> NodeId {
        let id = NodeId(uuid::Uuid::from_bytes([number; 16]));
        let spec =
            serde_json::json!({"name": node_name, "network": "boot", "mac": mac, "ip": std::net::Ipv4Addr::from(ip)});
        let spec: NodeSpec = serde_json::from_value(spec).unwrap();
        self.operator(OperatorEvent::NodeDescribed { node: id, spec: Box::new(spec) });
        id
    }

    fn agent(&mut self, node: NodeId, event: AgentEvent) {
        self.tell(Fact::Agent(AgentFact { node: Some(node), peer: "10.77.0.3:1".parse().unwrap(), event }));
    }

    fn proposed(&self) -> Vec<(u8, String)> {
        let taken = BTreeSet::new();
        propose(&self.state, &taken).iter().map(|p| (p.mac.0[5], p.verdict.to_string())).collect()
    }

    fn of(&self, last: u8) -> String {
        self.proposed().into_iter().find(|(of, _)| *of == last).map(|(_, verdict)| verdict).unwrap()
    }
}

fn neighbour(port: &str) -> Neighbour {
    Neighbour {
        interface: "eth0".into(),
        chassis: "aa:bb".into(),
        port: port.into(),
        port_description: None,
        system: Some("sw1".into()),
    }
}

fn hardware(serial: &str, macs: &[Mac]) -> Hardware {
    Hardware {
        architecture: "x86_64".into(),
        kernel: "6.1".into(),
        firmware: Firmware::Uefi,
        system: System {
            vendor: Some("ACME Inc.".into()),
            product: Some("Anvil".into()),
            serial: Some(serial.into()),
            ..System::default()
        },
        board: Default::default(),
        bios: Default::default(),
        processor: Processor { threads: 8, ..Processor::default() },
        memory_bytes: 16 << 30,
        disks: vec![],
        interfaces: macs
            .iter()
            .enumerate()
            .map(|(at, mac)| Interface {
                name: format!("eth{at}"),
                mac: *mac,
                driver: None,
                speed_mbit: None,
                carrier: Carrier::Present,
                pci_address: None,
            })
            .collect(),
    }
}

fn rule(names: &[&str], only: EnrollMatch) -> EnrollRule {
    EnrollRule {
        only,
        names: names.iter().map(|text| name(text)).collect(),
        ips: vec![],
        pool: None,
        cake: None,
        labels: Default::default(),
        approve: Approve::Automatic,
    }
}

#[test]
fn names_go_with_ports_where_both_are_listed_whoever_comes_first() {
    let only = EnrollMatch {
        switch: Some("SW1".into()),
        ports: vec!["Ethernet1".into(), "Ethernet2".into(), "Ethernet10".into()],
        ..EnrollMatch::default()
    };
    let mut story = Story::new(vec![rule(&["n1", "n2", "n10"], only)]);
    story.waits(3, "a", Some("Ethernet10"));
    story.waits(2, "b", Some("Ethernet2"));
    assert!(story.of(3).starts_with("n10 at"), "{:?}", story.proposed());
    assert!(story.of(2).starts_with("n2 at"), "{:?}", story.proposed());
    story.waits(1, "c", Some("Ethernet7"));
    assert_eq!(story.of(1), "no rule fits");
    story.waits(4, "d", Some("Ethernet2"));
    assert_eq!(story.of(4), "rule 1 has no name left for it", "one port is one name's");
}

#[test]
fn the_first_rule_that_fits_counts_and_an_unknown_condition_holds_the_machine_back() {
    let by_serial = rule(&["special"], EnrollMatch { serials: vec!["CZ-1".into()], ..EnrollMatch::default() });
    let by_port = rule(&["p1", "p2"], EnrollMatch { switch: Some("sw1".into()), ..EnrollMatch::default() });
    let any = rule(&["rest"], EnrollMatch::default());
    let mut story = Story::new(vec![by_serial, by_port, any]);
    story.asks(1);
    assert_eq!(story.of(1), "waits: rule 1 needs its hardware");
    story.machine(1, MachineEvent::Hardware { hardware: Box::new(hardware("other", &[mac(1)])) });
    assert_eq!(story.of(1), "waits: rule 2 needs its switch port");
    story.machine(1, MachineEvent::Neighbours { neighbours: vec![] });
    assert!(story.of(1).starts_with("rest at 10.77.0.2 (rule 3, automatic)"), "{:?}", story.proposed());
    story.waits(2, "cz-1", Some("x"));
    assert!(story.of(2).starts_with("special at"), "{:?}", story.proposed());
    story.waits(3, "cz-1-not", Some("y"));
    assert!(story.of(3).starts_with("p1 at"), "{:?}", story.proposed());
}

#[test]
fn hardware_and_maker_are_conditions_too() {
    let big = EnrollMatch { cpus_min: Some(16), ..EnrollMatch::default() };
    let acme = EnrollMatch { vendor: Some("acme".into()), memory_mib_min: Some(1024), ..EnrollMatch::default() };
    let mut story = Story::new(vec![rule(&["big"], big), rule(&["small"], acme)]);
    story.waits(1, "a", None);
    assert!(story.of(1).starts_with("small at"), "{:?}", story.proposed());
}

#[test]
fn a_node_that_is_not_heard_is_recognised_by_what_has_stayed_the_same() {
    let mut story = Story::new(vec![rule(&["n1", "n2"], EnrollMatch::default())]);
    let id = story.node(7, "n7", mac(7), [10, 77, 0, 7]);
    story.agent(id, AgentEvent::Hardware { hardware: Box::new(hardware("SN-7", &[mac(7), mac(8)])) });
    story.waits(1, "sn-7", None);
    assert_eq!(story.of(1), "replacement of n7 (NIC)");
    let mut story = Story::new(vec![rule(&["n1", "n2"], EnrollMatch::default())]);
    let id = story.node(7, "n7", mac(7), [10, 77, 0, 7]);
    story.agent(id, AgentEvent::Hardware { hardware: Box::new(hardware("SN-7", &[mac(7), mac(8)])) });
    story.waits(8, "new board", None);
    assert_eq!(story.of(8), "replacement of n7 (mainboard)");
    let observed = serde_json::json!([
        {"path": "net.eth0.switch", "value": {"text": "sw1"}}, {"path": "net.eth0.port", "value": {"text": "Ethernet7"}}
    ]);
    let mut story = Story::new(vec![rule(&["n1", "n2"], EnrollMatch::default())]);
    let id = story.node(7, "n7", mac(7), [10, 77, 0, 7]);
    let variables = serde_json::from_value(observed).unwrap();
    let (revision, scope) = (crate::model::Revision(1), crate::fact::Scope::Delta);
    story.agent(id, AgentEvent::Observed { revision, scope, variables });
    story.waits(1, "another machine", Some("Ethernet7"));
    assert_eq!(story.of(1), "replacement of n7 (machine)");
    story.waits(2, "a neighbour", Some("Ethernet8"));
    assert!(story.of(2).starts_with("n1 at"), "{:?}", story.proposed());
}

#[test]
fn who_claims_the_identity_of_another_is_named_and_left_alone() {
    let mut story = Story::new(vec![rule(&["n1", "n2"], EnrollMatch::default())]);
    let id = story.node(7, "n7", mac(7), [10, 77, 0, 7]);
    story.agent(id, AgentEvent::Hardware { hardware: Box::new(hardware("SN-7", &[mac(7)])) });
    story.agent(id, AgentEvent::Connected { session: 1 });
    story.waits(1, "sn-7", None);
    assert_eq!(story.of(1), "refused: claims to be the same as node n7");
    story.waits(2, "twin", None);
    story.waits(3, "twin", None);
    assert_eq!(story.of(2), format!("refused: claims to be the same as machine {}", mac(3)));
    assert_eq!(story.of(3), format!("refused: claims to be the same as machine {}", mac(2)));
    story.agent(id, AgentEvent::Left { session: 1 });
    assert_eq!(story.of(1), "replacement of n7 (NIC)", "once it is not heard");
}

#[test]
fn two_machines_cannot_both_replace_one_node() {
    let mut story = Story::new(vec![]);
    let id = story.node(7, "n7", mac(7), [10, 77, 0, 7]);
    story.agent(id, AgentEvent::Hardware { hardware: Box::new(hardware("SN-7", &[mac(7), mac(8), mac(9)])) });
    story.waits(8, "one", None);
    story.waits(9, "two", None);
    assert_eq!(story.of(8), format!("refused: claims to be the same as machine {}, node n7", mac(9)));
    assert_eq!(story.of(9), format!("refused: claims to be the same as machine {}, node n7", mac(8)));
}

#[test]
fn a_network_without_a_free_address_is_named() {
    let names: Vec<String> = (1..=20).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut story = Story::new(vec![rule(&names, EnrollMatch::default())]);
    for last in 1..=15 {
        story.waits(last, &format!("s{last}"), None);
    }
    // Fourteen hosts, of which the router is one.
    assert_eq!(story.proposed().iter().filter(|(_, v)| v.contains(" at 10.77.0.")).count(), 13);
    assert_eq!(story.of(15), "rule 1: no address is left in network boot");
}

#[test]
fn a_machine_that_was_described_or_refused_is_proposed_no_more() {
    let mut story = Story::new(vec![rule(&["n1"], EnrollMatch::default())]);
    story.waits(1, "a", None);
    story.operator(OperatorEvent::MachineRefused { mac: mac(1), reason: None });
    assert!(story.proposed().is_empty());
    story.asks(1);
    assert!(story.proposed().is_empty(), "it is not remembered again");
    story.operator(OperatorEvent::MachineAdmitted { mac: mac(1) });
    story.asks(1);
    assert_eq!(story.proposed().len(), 1);
    let node = story.node(1, "n9", mac(1), [10, 77, 0, 9]);
    assert!(story.proposed().is_empty());
    story.machine(1, MachineEvent::Told { node, token: Digest::of(b"t") });
    assert_eq!(story.state.node(node).unwrap().token, Some(Digest::of(b"t")));
}

#[derive(Debug, Clone)]
struct Known {
    last: u8,
    serial: u8,
    port: Option<u8>,
    reported: bool,
}

fn known() -> impl Strategy<Value = Vec<Known>> {
    let one = (1_u8..40, 0_u8..30, proptest::option::of(1_u8..12), any::<bool>());
    proptest::collection::btree_map(1_u8..40, one, 0..25).prop_map(|all| {
        let known = |(last, (_, serial, port, reported)): (u8, (u8, u8, Option<u8>, bool))| Known {
            last,
            serial,
            port,
            reported,
        };
        all.into_iter().map(known).collect()
    })
}

fn some_rules() -> Vec<EnrollRule> {
    let ports: Vec<String> = (1..=4).map(|n| format!("p{n}")).collect();
    let listed = EnrollMatch { ports, ..EnrollMatch::default() };
    let switch = EnrollMatch { switch: Some("sw1".into()), ..EnrollMatch::default() };
    let with_ips = EnrollRule {
        ips: vec![[10, 77, 0, 9].into(), [10, 77, 0, 10].into(), [10, 77, 0, 4].into()],
        ..rule(
            &["a1", "a2", "a3"],
            EnrollMatch { serials: vec!["3".into(), "4".into(), "5".into(), "6".into()], ..EnrollMatch::default() },
        )
    };
    vec![
        rule(&["n1", "n2", "n3", "n4"], listed),
        with_ips,
        rule(&["n2", "s1", "s2"], switch),
        rule(&["n1", "r1", "r2"], EnrollMatch::default()),
    ]
}

fn story_of(known: &[Known]) -> Story {
    let mut story = Story::new(some_rules());
    story.node(200, "r1", mac(200), [10, 77, 0, 3]);
    for machine in known {
        match machine.reported {
            true => {
                let port = machine.port.map(|port| format!("p{port}"));
                story.waits(machine.last, &machine.serial.to_string(), port.as_deref());
            }
            false => story.asks(machine.last),
        }
    }
    story
}

proptest! {
    #[test]
    fn no_name_and_no_address_is_given_twice_or_to_two(known in known(), appliance in 1_u8..14) {
        let story = story_of(&known);
        let taken = BTreeSet::from([Ipv4Addr::new(10, 77, 0, appliance)]);
        let (mut names, mut ips) = (BTreeSet::new(), BTreeSet::new());
        for proposal in propose(&story.state, &taken) {
            let Verdict::Enroll(node) = proposal.verdict else { continue };
            prop_assert!(names.insert(node.name.clone()) && ips.insert(node.ip), "{node:?}");
            prop_assert!(!story.state.by_name.contains_key(&node.name) && !story.state.by_ip.contains_key(&node.ip));
            prop_assert!(!taken.contains(&node.ip) && node.ip != Ipv4Addr::new(10, 77, 0, 1));
            let network = story.state.networks.get(&node.network).unwrap();
            prop_assert!(network.subnet.is_host(node.ip));
        }
    }

    #[test]
    fn who_came_first_decides_nothing(known in known(), by in any::<u64>()) {
        let mut other = known.clone();
        // Any order will do, as long as it is another one for another number.
        other.sort_by_key(|m| (u64::from(m.last) ^ by).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let taken = BTreeSet::new();
        prop_assert_eq!(propose(&story_of(&known).state, &taken), propose(&story_of(&other).state, &taken));
    }

    #[test]
    fn what_was_enrolled_leaves_the_others_as_they_were_or_better(known in known()) {
        let mut story = story_of(&known);
        let taken = BTreeSet::new();
        let before = propose(&story.state, &taken);
        let Some((first, node)) = before.iter().find_map(|p| match &p.verdict {
            Verdict::Enroll(node) => Some((p.mac, node.clone())),
            _ => None,
        }) else { return Ok(()) };
        story.node(201, node.name.as_str(), first, node.ip.octets());
        let after = propose(&story.state, &taken);
        prop_assert!(after.iter().all(|p| p.mac != first));
        for proposal in after {
            if let Verdict::Enroll(other) = proposal.verdict {
                prop_assert!(other.name != node.name && other.ip != node.ip);
            }
        }
    }
}

#[test]
fn ten_thousand_nodes_and_a_thousand_machines_are_compared_by_what_they_share() {
    let mut story = Story::new(some_rules());
    let id = story.node(7, "n77", mac(7), [10, 77, 0, 7]);
    let template = Arc::clone(story.state.node(id).unwrap());
    for number in 0..10_000_u32 {
        let [_, b, c, d] = number.to_be_bytes();
        let mut node = (*template).clone();
        let mut spec = (*node.spec).clone();
        spec.mac = Mac([4, 0, 0, b, c, d]);
        spec.name = name(&format!("x{number}"));
        node.spec = Arc::new(spec);
        node.hardware = Some(Arc::new(hardware(&format!("x{number}"), &[Mac([4, 0, 0, b, c, d])])));
        node.id = NodeId(uuid::Uuid::from_u128(u128::from(number)));
        story.state.nodes.insert(node.id, Arc::new(node));
    }
    for last in 10..200 {
        story.waits(last, &format!("x{last}"), None);
    }
    let proposals = propose(&story.state, &BTreeSet::new());
    let replaced = proposals.iter().filter(|p| matches!(p.verdict, Verdict::Replaces { .. })).count();
    assert_eq!(replaced, 190);
}
