//! Facts that change a state, made from a number: three nodes are described, wanted and seen in turn.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::fact::{
    AgentEvent, AgentFact, ApplianceFact, EngineEvent, EngineFact, Fact, OperatorEvent, OperatorFact, PowerEvent,
    PowerFact, PowerState, Reported, Scope, Stamped,
};
use crate::model::{
    BmcDriver, BmcSpec, FactSeq, Mac, NetworkSpec, NodeId, NodeSpec, Revision, Sealed, UnixMs, Value, VarPath,
};
use crate::state::State;

/// When fact 0 would have been taken.
pub(super) const BEGIN: u64 = 1_795_000_000_000;
/// Between two facts.
pub(super) const STEP_MS: u64 = 1_000;

pub(super) fn story(length: u64) -> Vec<Stamped<Fact>> {
    (1..=length).map(stamped).collect()
}

pub(super) fn time_of(seq: u64) -> UnixMs {
    UnixMs(BEGIN + seq * STEP_MS)
}

pub(super) fn stamped(seq: u64) -> Stamped<Fact> {
    Stamped { seq: FactSeq(seq), at: time_of(seq), fact: fact(seq) }
}

/// The state after the first facts.
pub(super) fn state_after(seq: u64) -> State {
    let mut state = State::default();
    for stamped in story(seq) {
        state.apply(&stamped);
    }
    state
}

pub(super) fn node(number: u64) -> NodeId {
    NodeId(uuid::Uuid::from_u128(u128::from(number) + 1))
}

fn fact(seq: u64) -> Fact {
    let operator = |event| Fact::Operator(OperatorFact { event, by: None });
    let id = node(seq % 3);
    match seq {
        1 => Fact::Appliance(ApplianceFact::Started { version: "test".into() }),
        2 => operator(OperatorEvent::NetworkDescribed {
            spec: NetworkSpec {
                lease_s: 60,
                ..NetworkSpec::new("boot".parse().unwrap(), "10.0.0.0/24".parse().unwrap())
            },
        }),
        3..=5 => operator(OperatorEvent::NodeDescribed { node: id, spec: Box::new(spec(seq % 3)) }),
        _ => match seq % 7 {
            0 => operator(OperatorEvent::GoalSet {
                node: id,
                path: VarPath::power(),
                value: (!seq.is_multiple_of(2)).then(|| Value::symbol("off")),
            }),
            1 => Fact::Power(PowerFact { node: id, event: PowerEvent::Status { power: PowerState::On } }),
            2 => Fact::Agent(AgentFact {
                node: Some(id),
                peer: SocketAddr::from(([10, 0, 0, 1], 4_000)),
                event: AgentEvent::Connected { session: seq },
            }),
            3 => Fact::Agent(AgentFact {
                node: Some(id),
                peer: SocketAddr::from(([10, 0, 0, 1], 4_000)),
                event: AgentEvent::Observed {
                    revision: Revision(seq),
                    scope: Scope::Delta,
                    variables: vec![Reported { path: VarPath::run(), value: Some(Value::symbol("sync")) }],
                },
            }),
            4 => Fact::Engine(EngineFact { node: id, event: EngineEvent::GoalReached }),
            5 => Fact::Agent(AgentFact {
                node: Some(id),
                peer: SocketAddr::from(([10, 0, 0, 1], 4_000)),
                event: AgentEvent::Console { lines: vec![format!("line {seq} \"quoted\" \u{1b}[0m")] },
            }),
            _ => Fact::Power(PowerFact { node: id, event: PowerEvent::Status { power: PowerState::Off } }),
        },
    }
}

fn spec(number: u64) -> NodeSpec {
    let last = u8::try_from(number).unwrap() + 1;
    NodeSpec {
        name: format!("n{number}").parse().unwrap(),
        network: "boot".parse().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, last]),
        ip: Ipv4Addr::new(10, 0, 0, last),
        matching: Default::default(),
        cake: None,
        bmc: Some(BmcSpec {
            driver: BmcDriver::Ipmi,
            address: SocketAddr::from(([10, 0, 1, last], 623)),
            user: "admin".into(),
            password: Sealed(vec![1, 2, 3]),
        }),
        labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
        pool: None,
        arch: None,
        platform: None,
        parents: vec![],
        variables: BTreeMap::new(),
        own: Box::default(),
        ipv6: Default::default(),
    }
}
