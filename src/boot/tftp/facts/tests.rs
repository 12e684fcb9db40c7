//! What an event is to the rest of the program.

use super::*;
use crate::fact::{OperatorEvent, OperatorFact, Stamped};
use crate::model::{FactSeq, Mac, NodeId, NodeSpec, UnixMs};
use std::collections::BTreeMap;

fn node() -> NodeId {
    NodeId(uuid::Uuid::from_u128(1))
}

/// One node, at 192.0.2.1.
fn state() -> State {
    let mut state = State::default();
    let spec = NodeSpec {
        name: "n1".parse().unwrap(),
        network: "boot".parse().unwrap(),
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        ip: [192, 0, 2, 1].into(),
        matching: Default::default(),
        cake: None,
        bmc: None,
        labels: BTreeMap::new(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
        ipv6: Default::default(),
    };
    let event = OperatorEvent::NodeDescribed { node: node(), spec: Box::new(spec) };
    state.apply(&Stamped { seq: FactSeq(1), at: UnixMs(0), fact: Fact::Operator(OperatorFact::from(event)) });
    state
}

fn client(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 2070))
}

fn file(event: &TransferEvent) -> FileFact {
    match fact_of(event, &state()) {
        Some(Fact::File(file)) => file,
        other => panic!("no file: {other:?}"),
    }
}

#[test]
fn a_file_that_arrived_is_the_nodes_loader() {
    let finished = |host| TransferEvent::Finished {
        client: client(host),
        file: "snponly.efi".into(),
        bytes: 7,
        duration_ms: 9,
        retransmissions: 2,
        last_ack: LastAck::Lost,
    };
    let fact = file(&finished(1));
    assert_eq!((fact.node, fact.file, fact.client), (Some(node()), BootFile::Loader, client(1).ip()));
    assert_eq!(fact.event, FileEvent::Sent { bytes: 7, duration_ms: 9, retransmissions: 2 });
    assert_eq!(file(&finished(2)).node, None);
    let mapped = SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 1);
    let probe = TransferEvent::Failed {
        client: mapped,
        file: "x".into(),
        at_block: 0,
        bytes: 3,
        reason: FailReason::ClientGone,
    };
    let fact = file(&probe);
    assert_eq!((fact.node, fact.client), (Some(node()), client(1).ip()));
    assert!(matches!(fact.event, FileEvent::Stopped { bytes: 3, .. }));
}

#[test]
fn a_probe_and_a_start_are_no_facts() {
    let probed = TransferEvent::Probed { client: client(1), file: "x".into(), size_bytes: 1 };
    assert_eq!(fact_of(&probed, &state()), None);
}

#[test]
fn a_refusal_says_what_to_do_and_its_name_is_printable() {
    let event = TransferEvent::Refused { client: client(1), request: "a\u{7}b".into(), reason: RefuseReason::NotFound };
    let fact = file(&event);
    assert_eq!(fact.name, "a\u{fffd}b");
    assert_eq!(fact.file, BootFile::Unknown);
    assert_eq!(fact.event, FileEvent::Refused { reason: RefuseReason::NotFound.to_string() });
}

#[test]
fn garbage_names_its_sender() {
    let event = TransferEvent::Malformed { client: client(9), reason: MalformedReason::NotARequest };
    match fact_of(&event, &state()) {
        Some(Fact::Malformed(fact)) => assert_eq!((fact.service, fact.sender), ("tftp".into(), client(9).to_string())),
        other => panic!("not malformed: {other:?}"),
    }
}
