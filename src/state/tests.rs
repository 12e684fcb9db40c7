//! The fold, fact by fact, where a wrong answer would harm a node; and the facts' stored form.

use std::net::{Ipv4Addr, SocketAddr};

use uuid::Uuid;

use super::*;
use crate::fact::{
    AgentEvent, AgentFact, Architecture, BmcProblem, BootFile, Counted, DhcpEvent, DhcpFact, EngineEvent, EngineFact,
    FailReason, FileEvent, FileFact, JoinRefusal, MalformedFact, OperatorEvent, OperatorFact, OutcomeFact, PowerEvent,
    PowerFact, PowerOrder, PowerState, Reported, Retry, Scope, StepName, Transport,
};
use crate::fact::{BootClient, DhcpRefusal};
use crate::model::limits::UNKNOWN_MACHINES_MAX;
use crate::model::{
    BmcDriver, BmcSpec, Digest, Generation, ImagePin, NodeSpec, Prefix, Revision, Role, Sealed, TokenSpec, Value,
    VarPath,
};

fn id() -> NodeId {
    NodeId(Uuid::from_u128(1))
}

fn spec() -> NodeSpec {
    NodeSpec {
        name: "n1".parse().unwrap(),
        network: "boot".parse().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        ip: Ipv4Addr::new(10, 0, 0, 1),
        matching: Default::default(),
        cake: Some("c".parse().unwrap()),
        bmc: Some(BmcSpec {
            driver: BmcDriver::Ipmi,
            address: SocketAddr::from(([10, 0, 1, 1], 623)),
            user: "admin".into(),
            password: Sealed(vec![1, 2, 3]),
        }),
        labels: [("rack".to_owned(), "r1".to_owned())].into(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
        ipv6: Default::default(),
    }
}

fn token(name: &str, text: &[u8]) -> TokenSpec {
    TokenSpec {
        name: name.parse().unwrap(),
        role: Role::Operator,
        nodes: Some("n[1-3]".parse().unwrap()),
        expires_at: Some(UnixMs(9)),
        digest: Digest::of(text),
    }
}

/// One fact of every kind, and every shape that is stored in its own way.
fn samples() -> Vec<Fact> {
    let node = id();
    let step = StepName { mutation: "image.activate".into(), image: Some("hello".parse().unwrap()) };
    let engine = |event| Fact::Engine(EngineFact { node, event });
    let agent = |event| Fact::Agent(AgentFact { node: Some(node), peer: SocketAddr::from(([10, 0, 0, 1], 5)), event });
    let operator = |event| Fact::Operator(OperatorFact::from(event));
    let power = |event| Fact::Power(PowerFact { node, event });
    let dhcp = |client, event| {
        Fact::Dhcp(DhcpFact { mac: Mac([2, 0, 0, 0, 0, 1]), node: Some(node), client, event, told: Default::default() })
    };
    let file = |file, event| {
        let client = Ipv4Addr::new(10, 0, 0, 1).into();
        Fact::File(FileFact { client, node: Some(node), transport: Transport::Http, name: "x".into(), file, event })
    };
    let ip = Ipv4Addr::new(10, 0, 0, 1);
    let digest = Digest::of(b"x");
    vec![
        Fact::Appliance(ApplianceFact::Started { version: "0.1.0".into() }),
        Fact::Appliance(ApplianceFact::Stopped),
        Fact::Appliance(ApplianceFact::FactsDropped { count: 3 }),
        operator(OperatorEvent::ClusterNamed { name: "c".parse().unwrap() }),
        operator(OperatorEvent::TokenCreated { token: token("ci", b"1") }),
        operator(OperatorEvent::TokenRevoked { name: "ci".parse().unwrap() }),
        Fact::Operator(OperatorFact { event: OperatorEvent::Released { node }, by: Some("root (socket)".into()) }),
        operator(OperatorEvent::NetworkDescribed {
            spec: NetworkSpec {
                router: Some(ip),
                dns: vec![ip],
                lease_s: 3600,
                ..NetworkSpec::new("boot".parse().unwrap(), "10.0.0.0/24".parse::<Prefix>().unwrap())
            },
        }),
        operator(OperatorEvent::CakeDescribed {
            spec: CakeSpec {
                name: "c".parse().unwrap(),
                images: vec![ImagePin { name: "hello".parse().unwrap(), digest }],
            },
        }),
        operator(OperatorEvent::NodeDescribed { node, spec: Box::new(spec()) }),
        operator(OperatorEvent::GoalSet { node, path: VarPath::power(), value: Some(Value::symbol("off")) }),
        operator(OperatorEvent::GoalSet { node, path: VarPath::power(), value: None }),
        operator(OperatorEvent::CycleAsked { node }),
        operator(OperatorEvent::Released { node }),
        dhcp(BootClient::PxeRom(Architecture::X64Uefi), DhcpEvent::Offered { ip, file: Some("snponly.efi".into()) }),
        dhcp(BootClient::Other, DhcpEvent::Leased { ip, lease_s: 60, file: None }),
        dhcp(
            BootClient::Ipxe(Architecture::Other(99)),
            DhcpEvent::Refused { reason: DhcpRefusal::WrongAddress { asked: None, own: ip } },
        ),
        dhcp(BootClient::Other, DhcpEvent::Ignored { reason: DhcpRefusal::UnknownMachine }),
        file(BootFile::Script { token: digest }, FileEvent::Sent { bytes: 1, duration_ms: 2, retransmissions: 0 }),
        file(BootFile::Unknown, FileEvent::Refused { reason: "no such file".into() }),
        Fact::Malformed(MalformedFact { service: "dhcp".into(), sender: "10.0.0.1".into(), reason: "short".into() }),
        power(PowerEvent::Status { power: PowerState::On }),
        power(PowerEvent::Accepted { order: PowerOrder::Arm }),
        power(PowerEvent::Failed { order: PowerOrder::On, problem: BmcProblem::NoAnswer, detail: "d".into() }),
        agent(AgentEvent::Joined { certificate: digest }),
        agent(AgentEvent::JoinRefused { refusal: JoinRefusal::WrongToken }),
        agent(AgentEvent::Connected { session: u64::MAX }),
        agent(AgentEvent::Observed {
            revision: Revision(1),
            scope: Scope::Full,
            variables: vec![
                Reported { path: VarPath::run(), value: Some(Value::symbol("sync")) },
                Reported { path: "image.hello.digest".parse().unwrap(), value: Some(Value::Digest(digest)) },
                Reported { path: "image.old.state".parse().unwrap(), value: None },
            ],
        }),
        agent(AgentEvent::Console { lines: vec!["a".into(), "b".into()] }),
        agent(AgentEvent::Left { session: 1 }),
        agent(AgentEvent::Lost { session: 1, reason: "silent".into() }),
        Fact::Outcome(OutcomeFact { node, step: step.clone(), generation: Generation(3), reason: FailReason::NoAgent }),
        engine(EngineEvent::StepStarted {
            step: step.clone(),
            generation: Generation(3),
            deadline: UnixMs(9),
            disruption: Default::default(),
        }),
        engine(EngineEvent::StepDone { step: step.clone(), duration_ms: 5 }),
        engine(EngineEvent::StepFailed {
            step: step.clone(),
            reason: FailReason::TimedOut { waited_ms: 5 },
            fail_to: vec![(VarPath::run(), Some(Value::symbol("lost"))), (VarPath::power(), None)],
            counted: Counted::Yes,
            retry: Retry::At { at: UnixMs(10) },
        }),
        engine(EngineEvent::StepFailed {
            step: step.clone(),
            reason: FailReason::Bmc { problem: BmcProblem::Busy, detail: "d".into() },
            fail_to: vec![],
            counted: Counted::No,
            retry: Retry::Quarantined,
        }),
        engine(EngineEvent::StepSuperseded { step }),
        engine(EngineEvent::GoalReached),
    ]
}

fn folded(facts: &[Fact]) -> State {
    let mut state = State::default();
    for fact in facts {
        let seq = FactSeq(state.seq.0 + 1);
        state.apply(&Stamped { seq, at: UnixMs(1_000 * seq.0), fact: fact.clone() });
    }
    state
}

fn with_node(facts: &[Fact]) -> Arc<Node> {
    let described =
        Fact::Operator(OperatorFact::from(OperatorEvent::NodeDescribed { node: id(), spec: Box::new(spec()) }));
    let all: Vec<Fact> = std::iter::once(described).chain(facts.iter().cloned()).collect();
    folded(&all).node(id()).unwrap().clone()
}

fn power(power: PowerState) -> Fact {
    Fact::Power(PowerFact { node: id(), event: PowerEvent::Status { power } })
}

fn accepted(order: PowerOrder) -> Fact {
    Fact::Power(PowerFact { node: id(), event: PowerEvent::Accepted { order } })
}

fn agent(event: AgentEvent) -> Fact {
    Fact::Agent(AgentFact { node: Some(id()), peer: SocketAddr::from(([10, 0, 0, 1], 5)), event })
}

fn reported(scope: Scope, variables: &[(&str, &str)]) -> Fact {
    let variables = variables
        .iter()
        .map(|(path, value)| Reported { path: path.parse().unwrap(), value: Some(Value::symbol(value)) })
        .collect();
    agent(AgentEvent::Observed { revision: Revision(1), scope, variables })
}

fn running() -> Vec<Fact> {
    vec![
        power(PowerState::On),
        agent(AgentEvent::Joined { certificate: Digest::of(b"c") }),
        agent(AgentEvent::Connected { session: 7 }),
        reported(Scope::Full, &[("run", "sync"), ("image.hello.state", "active")]),
    ]
}

fn rom_dhcp() -> Fact {
    Fact::Dhcp(DhcpFact {
        mac: Mac([2, 0, 0, 0, 0, 1]),
        node: Some(id()),
        client: BootClient::PxeRom(Architecture::X86Bios),
        event: DhcpEvent::Leased { ip: Ipv4Addr::new(10, 0, 0, 1), lease_s: 60, file: None },
        told: Default::default(),
    })
}

#[test]
fn every_kind_of_fact_survives_being_stored() {
    for fact in samples() {
        let text = serde_json::to_string(&fact).unwrap();
        let back: Fact = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(back, fact, "{text}");
        assert!(!fact.sentence().is_empty() && !fact.kind().is_empty());
    }
}

#[test]
fn a_state_survives_being_stored() {
    let state = folded(&samples());
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}

#[test]
fn power_off_ends_the_boot_and_what_ran() {
    let mut facts = running();
    facts.extend([accepted(PowerOrder::Off), power(PowerState::Off)]);
    let node = with_node(&facts);
    assert_eq!(node.see_symbol(&VarPath::boot()), Some("idle"));
    assert_eq!(node.see(&VarPath::run()), None);
    assert_eq!(node.see(&"image.hello.state".parse().unwrap()), None);
    assert_eq!(node.agent.session, None);
}

#[test]
fn an_order_to_boot_from_the_network_outlives_a_restart_of_the_appliance() {
    let started = Fact::Appliance(ApplianceFact::Started { version: "x".into() });
    let facts = [power(PowerState::Off), accepted(PowerOrder::Arm), started, power(PowerState::Off)];
    assert_eq!(with_node(&facts).see_symbol(&VarPath::boot()), Some("armed"));
}

#[test]
fn a_machine_that_someone_else_powered_on_boots_something_unknown() {
    let facts = [power(PowerState::Off), power(PowerState::On)];
    assert_eq!(with_node(&facts).see(&VarPath::boot()), None);
}

#[test]
fn a_boot_packet_counts_only_once_the_agent_is_gone() {
    let mut facts = running();
    facts.push(rom_dhcp());
    assert_eq!(with_node(&facts).see_symbol(&VarPath::boot()), Some("agent"));
    facts.push(agent(AgentEvent::Lost { session: 7, reason: "silent".into() }));
    let node = with_node(&facts);
    assert_eq!(node.see_symbol(&VarPath::boot()), Some("rom"));
    assert_eq!(node.see(&VarPath::power()), None, "the BMC is asked before anything is done");
}

#[test]
fn a_late_word_that_a_network_boot_is_armed_takes_nothing_from_an_agent_that_is_heard() {
    let mut facts = running();
    facts.push(accepted(PowerOrder::Arm));
    let node = with_node(&facts);
    assert_eq!(node.see_symbol(&VarPath::boot()), Some("agent"));
    assert_eq!(node.see_symbol(&VarPath::run()), Some("sync"));
}

#[test]
fn the_end_of_an_older_session_says_nothing_about_the_newer_one() {
    let mut facts = running();
    facts.push(agent(AgentEvent::Connected { session: 8 }));
    facts.push(agent(AgentEvent::Lost { session: 7, reason: "replaced".into() }));
    let node = with_node(&facts);
    assert_eq!(node.agent.session, Some(8));
    assert_eq!(node.see_symbol(&VarPath::run()), Some("sync"));
}

#[test]
fn an_agent_may_speak_of_itself_and_its_images_alone() {
    let mut facts = running();
    facts.push(reported(Scope::Delta, &[("power", "off"), ("boot", "idle"), ("run", "purple")]));
    let node = with_node(&facts);
    assert_eq!(node.see_symbol(&VarPath::power()), Some("on"));
    assert_eq!(node.see_symbol(&VarPath::boot()), Some("agent"));
    assert_eq!(node.see(&VarPath::run()), None, "a value that does not exist is not believed");
}

#[test]
fn a_full_report_takes_back_what_it_does_not_name() {
    let mut facts = running();
    facts.push(reported(Scope::Full, &[("run", "sync")]));
    assert_eq!(with_node(&facts).see(&"image.hello.state".parse().unwrap()), None);
}

#[test]
fn a_hardware_report_does_not_take_back_what_was_seen_of_a_link_since() {
    use crate::model::hardware::{Carrier, Firmware, Hardware, Interface};
    let (path, interface) = ("net.eth0.state", |carrier| Interface {
        name: "eth0".into(),
        mac: Mac([2; 6]),
        driver: None,
        speed_mbit: None,
        carrier,
        pci_address: None,
    });
    let report = |carrier| {
        let hardware = Hardware {
            architecture: "x86_64".into(),
            kernel: "6.1".into(),
            firmware: Firmware::Uefi,
            system: Default::default(),
            board: Default::default(),
            bios: Default::default(),
            processor: Default::default(),
            memory_bytes: 1 << 30,
            disks: vec![],
            interfaces: vec![interface(carrier)],
        };
        agent(AgentEvent::Hardware { hardware: Box::new(hardware) })
    };
    let down = reported(Scope::Full, &[("run", "sync"), (path, "down")]);
    let facts = [running(), vec![down, report(Carrier::Present)]].concat();
    assert_eq!(with_node(&facts).see_symbol(&path.parse().unwrap()), Some("down"));
    let facts = [running(), vec![report(Carrier::Present)]].concat();
    assert_eq!(with_node(&facts).see_symbol(&path.parse().unwrap()), Some("up"), "until the agent says more");
}

#[test]
fn a_token_is_good_for_one_join() {
    let script = Fact::File(FileFact {
        client: Ipv4Addr::new(10, 0, 0, 1).into(),
        node: Some(id()),
        transport: Transport::Http,
        name: "script".into(),
        file: BootFile::Script { token: Digest::of(b"t") },
        event: FileEvent::Sent { bytes: 1, duration_ms: 1, retransmissions: 0 },
    });
    assert_eq!(with_node(std::slice::from_ref(&script)).token, Some(Digest::of(b"t")));
    let joined = agent(AgentEvent::Joined { certificate: Digest::of(b"c") });
    assert_eq!(with_node(&[script, joined]).token, None);
}

#[test]
fn what_is_set_by_hand_stands_before_the_cake_until_it_is_taken_back() {
    let set = |value: Option<&str>| {
        let value = value.map(Value::symbol);
        Fact::Operator(OperatorFact::from(OperatorEvent::GoalSet { node: id(), path: VarPath::power(), value }))
    };
    let wanted = |facts: &[Fact]| with_node(facts).wants(&VarPath::power()).map(ToString::to_string);
    assert_eq!(wanted(&[]), Some("on".into()));
    assert_eq!(wanted(&[set(Some("off"))]), Some("off".into()));
    assert_eq!(wanted(&[set(Some("off")), set(None)]), Some("on".into()));
}

#[test]
fn unknown_machines_are_remembered_up_to_a_bound_and_forgotten_when_described() {
    let seen = |number: u32| {
        let [_, b, c, d] = number.to_be_bytes();
        Fact::Dhcp(DhcpFact {
            mac: Mac([2, 0, 0, b, c, d]),
            node: None,
            client: BootClient::Other,
            event: DhcpEvent::Ignored { reason: DhcpRefusal::UnknownMachine },
            told: Default::default(),
        })
    };
    let many: Vec<Fact> = (0..2_000).map(seen).collect();
    let state = folded(&many);
    assert_eq!(state.unknown.len(), UNKNOWN_MACHINES_MAX);
    assert!(state.unknown.contains_key(&Mac([2, 0, 0, 0, 7, 207])), "the newest is kept");
    let described =
        Fact::Operator(OperatorFact::from(OperatorEvent::NodeDescribed { node: id(), spec: Box::new(spec()) }));
    assert!(folded(&[seen(1), described]).unknown.is_empty());
}

#[test]
fn a_token_is_found_by_its_digest_until_it_is_revoked_and_a_name_stands_for_one() {
    let fact = |event| Stamped { seq: FactSeq(1), at: UnixMs(5), fact: Fact::Operator(OperatorFact::from(event)) };
    let mut state = State::default();
    for text in [&b"first"[..], b"second"] {
        state.apply(&fact(OperatorEvent::TokenCreated { token: token("ci", text) }));
    }
    assert_eq!(state.tokens.get(&Digest::of(b"first")), None);
    let kept = state.tokens.get(&Digest::of(b"second")).unwrap();
    assert_eq!((kept.spec.clone(), kept.created_at), (token("ci", b"second"), UnixMs(5)));
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    state.apply(&fact(OperatorEvent::TokenRevoked { name: "ci".parse().unwrap() }));
    assert!(state.tokens.is_empty());
}

#[test]
fn a_request_of_a_time_before_there_were_callers_is_still_read() {
    let text = r#"{"source":"operator","event":"cluster_named","name":"c"}"#;
    let fact: Fact = serde_json::from_str(text).unwrap();
    assert_eq!(fact, Fact::Operator(OperatorEvent::ClusterNamed { name: "c".parse().unwrap() }.into()));
    assert_eq!(serde_json::to_string(&fact).unwrap(), text);
}

#[test]
fn a_boot_that_nobody_armed_begins_where_the_one_before_has_ended() {
    let goal_reached = Fact::Engine(EngineFact { node: id(), event: EngineEvent::GoalReached });
    let marks = |facts: &[Fact]| -> Vec<Mark> {
        with_node(facts).last_boot().iter().map(|marked| marked.mark.clone()).collect()
    };
    let armed = [power(PowerState::Off), accepted(PowerOrder::Arm), accepted(PowerOrder::On), rom_dhcp(), rom_dhcp()];
    let begun = [Mark::Armed, Mark::PowerOnAccepted, Mark::FirmwareDhcp, Mark::FirmwareDhcp];
    assert_eq!(marks(&armed), begun, "a second request of the firmware is the same boot");
    let mut by_hand = armed.to_vec();
    by_hand.extend([goal_reached, rom_dhcp(), agent(AgentEvent::Joined { certificate: Digest::of(b"c") })]);
    assert_eq!(marks(&by_hand), [Mark::FirmwareDhcp, Mark::AgentJoined]);
    by_hand.extend(armed);
    assert_eq!(marks(&by_hand), begun);
}

#[test]
fn a_removed_nodes_name_is_remembered_and_at_the_bound_the_oldest_is_forgotten() {
    let mut state = State::default();
    let (node, other) = (id(), NodeId(Uuid::from_u128(2)));
    let described = |node| OperatorFact::from(OperatorEvent::NodeDescribed { node, spec: Box::new(spec()) });
    let removed =
        |node: NodeId, name: &str| OperatorFact::from(OperatorEvent::NodeRemoved { node, name: name.parse().unwrap() });
    let apply = |state: &mut State, fact: OperatorFact| {
        let seq = FactSeq(state.seq.0 + 1);
        state.apply(&Stamped { seq, at: UnixMs(seq.0), fact: Fact::Operator(fact) });
    };
    apply(&mut state, described(node));
    apply(&mut state, removed(node, "n1"));
    apply(&mut state, described(other));
    let n1: Name = "n1".parse().unwrap();
    assert_eq!((state.name_of(node), state.name_of(other)), (Some(&n1), Some(&n1)));
    assert_eq!(state.removed.named(&n1).collect::<Vec<_>>(), [node], "who is there is not among those who were");
    apply(&mut state, described(node));
    assert_eq!(state.removed, Removed::default(), "it is a node again");
    apply(&mut state, removed(node, "n1"));
    for number in 0..crate::model::limits::REMOVED_NODES_MAX {
        assert_eq!(state.name_of(node), Some(&n1), "{number}");
        apply(&mut state, removed(NodeId(Uuid::from_u128(100 + number as u128)), "x"));
    }
    assert_eq!(state.name_of(node), None);
}
