//! A small world of machines that do what they are told, in virtual time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use uuid::Uuid;

use crate::engine::core::Core;
use crate::fact::{
    AgentEvent, AgentFact, ApplianceFact, Architecture, BmcProblem, BootClient, BootFile, DhcpEvent, DhcpFact, Fact,
    FailReason, FileEvent, FileFact, Follows, OperatorEvent, OperatorFact, OutcomeFact, PowerEvent, PowerFact,
    PowerOrder, PowerState, Reported, Scope, Stamped, Transport,
};
use crate::model::{
    BmcDriver, BmcSpec, CakeSpec, Digest, ImagePin, Mac, Name, NetworkSpec, NodeId, NodeSpec, Revision, Sealed, UnixMs,
    Value, VarPath,
};
use crate::plan::{Decision, Graph, Hold, Planner, Policy, decide, goal_reached};
use crate::port::Action;
use crate::state::State;

pub(super) fn graph() -> Graph {
    let all = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
    ];
    Graph::build(all.concat(), &crate::model::Schema::default()).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What a machine really is, apart from what is believed of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Machine {
    pub(super) power: PowerState,
    /// Milliseconds of boot that are done; nothing while it is off.
    pub(super) booting_ms: Option<u64>,
    pub(super) in_sync: bool,
    pub(super) active: bool,
    pub(super) power_cuts: u32,
    pub(super) boots: bool,
    pub(super) bmc_answers: bool,
    pub(super) activates: bool,
    pub(super) connected: bool,
}

/// Machines, the engine, the journal, and time.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: UnixMs,
    pub(super) journal: Vec<Stamped<Fact>>,
    pub(super) machines: BTreeMap<NodeId, Machine>,
    pub(super) order_log: Vec<String>,
    pub(super) session: u64,
}

pub(super) const BOOT_MS: u64 = 10_000;

impl World {
    pub(super) fn new(count: u128) -> World {
        World::under(count, Policy::default())
    }

    /// Machines under another policy than the usual one.
    pub(super) fn under(count: u128, policy: Policy) -> World {
        let core = Core::new(State::default(), Planner::new(graph()), policy);
        let mut world = World {
            core,
            now: UnixMs(1_000_000),
            journal: Vec::new(),
            machines: BTreeMap::new(),
            order_log: Vec::new(),
            session: 0,
        };
        let digest = Digest::of(b"hello");
        world.feed(vec![
            Fact::Appliance(ApplianceFact::Started { version: "test".into() }),
            operator(OperatorEvent::NetworkDescribed {
                spec: NetworkSpec { lease_s: 3600, ..NetworkSpec::new(name("boot"), "10.0.0.0/24".parse().unwrap()) },
            }),
            operator(OperatorEvent::CakeDescribed {
                spec: CakeSpec { name: name("c"), images: vec![ImagePin { name: name("hello"), digest }] },
            }),
        ]);
        for number in 1..=count {
            world.describe(number);
        }
        world
    }

    /// One more machine, and its description.
    pub(super) fn describe(&mut self, number: u128) {
        let last = u8::try_from(number).unwrap();
        let machine = Machine {
            power: PowerState::Off,
            booting_ms: None,
            in_sync: false,
            active: false,
            power_cuts: 0,
            boots: true,
            bmc_answers: true,
            activates: true,
            connected: false,
        };
        self.machines.insert(id(number), machine);
        let spec = NodeSpec {
            name: name(&format!("n{number}")),
            network: name("boot"),
            mac: Mac([2, 0, 0, 0, 0, last]),
            ip: Ipv4Addr::new(10, 0, 0, last),
            matching: Default::default(),
            cake: Some(name("c")),
            bmc: Some(BmcSpec {
                driver: BmcDriver::Ipmi,
                address: SocketAddr::from(([10, 0, 1, last], 623)),
                user: "admin".into(),
                password: Sealed(vec![]),
            }),
            labels: BTreeMap::new(),
            pool: None,
            arch: None,
            platform: None,
            parents: Vec::new(),
            variables: Default::default(),
            own: Default::default(),
            ipv6: Default::default(),
        };
        self.feed(vec![operator(OperatorEvent::NodeDescribed { node: id(number), spec: Box::new(spec) })]);
    }

    /// A turn that the journal refuses: nothing of it may have happened.
    pub(super) fn refuse(&mut self, facts: Vec<Fact>) {
        let before = self.core.state().clone();
        let turn = self.core.turn(self.now, facts);
        self.core.take_back(before.clone(), &turn, self.now.plus(1_000));
        assert_eq!(self.core.state(), &before);
    }

    /// One turn of the engine, and of what it asks for.
    pub(super) fn feed(&mut self, facts: Vec<Fact>) {
        let mut waiting = vec![facts];
        while let Some(facts) = waiting.pop() {
            let turn = self.core.turn(self.now, facts);
            self.journal.extend(turn.stamped);
            for action in turn.actions {
                let answer = self.carry_out(action);
                if !answer.is_empty() {
                    waiting.insert(0, answer);
                }
            }
        }
    }

    pub(super) fn carry_out(&mut self, action: Action) -> Vec<Fact> {
        let node = action.node;
        let verb = action.step.to_string();
        self.order_log.push(verb.clone());
        // An agent runs the version that is wanted when it is asked.
        let wanted = self.node_of(node).wants(&VarPath::image_digest(&name("hello"))).cloned();
        let machine = self.machines.get_mut(&node).unwrap();
        let power = |event| Fact::Power(PowerFact { node, event });
        let failed = |reason| {
            vec![Fact::Outcome(OutcomeFact { node, step: action.step.clone(), generation: action.generation, reason })]
        };
        if action.module.as_ref() == "power" && !machine.bmc_answers {
            return failed(FailReason::Bmc { problem: BmcProblem::NoAnswer, detail: "silent".into() });
        }
        match verb.as_str() {
            "power.discover" => vec![power(PowerEvent::Status { power: machine.power })],
            "boot.arm" => vec![power(PowerEvent::Accepted { order: PowerOrder::Arm })],
            "power.on" => {
                machine.power = PowerState::On;
                machine.booting_ms = Some(0);
                vec![
                    power(PowerEvent::Accepted { order: PowerOrder::On }),
                    power(PowerEvent::Status { power: PowerState::On }),
                ]
            }
            "power.off" | "power.reclaim" => {
                machine.power_cuts += 1;
                assert!(!(machine.active && machine.connected), "a healthy node was powered off");
                *machine = Machine {
                    power: PowerState::Off,
                    booting_ms: None,
                    in_sync: false,
                    active: false,
                    connected: false,
                    ..machine.clone()
                };
                vec![
                    power(PowerEvent::Accepted { order: PowerOrder::Off }),
                    power(PowerEvent::Status { power: PowerState::Off }),
                ]
            }
            _ if !machine.connected => failed(FailReason::NoAgent),
            "run.sync" => {
                machine.in_sync = true;
                vec![self.report(node, vec![("run", "sync"), ("image.hello.state", "idle")])]
            }
            "image.activate hello" if !machine.activates => vec![],
            "image.activate hello" => {
                machine.active = true;
                let digest = Reported { path: VarPath::image_digest(&name("hello")), value: wanted };
                vec![
                    agent(
                        node,
                        AgentEvent::Observed { revision: Revision(2), scope: Scope::Delta, variables: vec![digest] },
                    ),
                    self.report(node, vec![("image.hello.state", "active")]),
                ]
            }
            "image.deactivate hello" => {
                machine.active = false;
                vec![self.report(node, vec![("image.hello.state", "idle")])]
            }
            "run.leave" => {
                machine.in_sync = false;
                vec![self.report(node, vec![("run", "init")])]
            }
            other => panic!("unexpected {other}"),
        }
    }

    pub(super) fn report(&self, node: NodeId, variables: Vec<(&str, &str)>) -> Fact {
        let variables = variables
            .into_iter()
            .map(|(path, value)| Reported { path: path.parse().unwrap(), value: Some(Value::symbol(value)) })
            .collect();
        agent(node, AgentEvent::Observed { revision: Revision(1), scope: Scope::Delta, variables })
    }

    /// Lets time pass, in steps of half a second, with machines booting on their own.
    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.now = self.now.plus(500);
            let mut facts = Vec::new();
            let ids: Vec<NodeId> = self.machines.keys().copied().collect();
            for id in ids {
                facts.extend(self.machine_lives(id));
            }
            self.feed(facts);
        }
    }

    pub(super) fn machine_lives(&mut self, id: NodeId) -> Vec<Fact> {
        let node = self.core.state().node(id);
        let target = node.and_then(|node| node.wants(&VarPath::target())).map(ToString::to_string);
        let machine = self.machines.get_mut(&id).unwrap();
        let (Some(done), true) = (machine.booting_ms, machine.boots) else { return vec![] };
        machine.booting_ms = Some(done + 500);
        let mac = Mac([2, 0, 0, 0, 0, id.0.as_bytes()[15]]);
        let lease = |client| {
            let event = DhcpEvent::Leased { ip: Ipv4Addr::LOCALHOST, lease_s: 3600, file: None };
            Fact::Dhcp(DhcpFact { mac, node: Some(id), client, event, told: Default::default() })
        };
        let sent = |file| {
            Fact::File(FileFact {
                client: Ipv4Addr::LOCALHOST.into(),
                node: Some(id),
                transport: Transport::Http,
                name: "x".into(),
                file,
                event: FileEvent::Sent { bytes: 1, duration_ms: 1, retransmissions: 0 },
            })
        };
        match done {
            2_000 => vec![lease(BootClient::PxeRom(Architecture::X64Uefi))],
            3_000 => vec![sent(BootFile::Loader)],
            4_000 => vec![lease(BootClient::Ipxe(Architecture::X64Uefi))],
            5_000 if target.is_some() => {
                let target = name(&target.unwrap_or_default());
                vec![sent(BootFile::TargetScript { target, token: Digest::of(b"m"), follows: Follows::Nothing })]
            }
            BOOT_MS if target.is_some() => vec![],
            5_000 => vec![
                sent(BootFile::Script { token: Digest::of(b"t") }),
                sent(BootFile::Kernel),
                sent(BootFile::Initramfs),
            ],
            BOOT_MS => {
                machine.connected = true;
                self.session += 1;
                vec![
                    agent(id, AgentEvent::Joined { certificate: Digest::of(b"c") }),
                    agent(id, AgentEvent::Connected { session: self.session }),
                    self.report(id, vec![("run", "init")]),
                ]
            }
            _ => vec![],
        }
    }

    pub(super) fn all_arrived(&self) -> bool {
        self.core.state().nodes.values().all(|node| goal_reached(node))
    }

    pub(super) fn set(&mut self, node: u128, path: &str, value: Option<&str>) {
        let event = OperatorEvent::GoalSet {
            node: NodeId(Uuid::from_u128(node)),
            path: path.parse().unwrap(),
            value: value.map(Value::symbol),
        };
        self.feed(vec![operator(event)]);
    }

    /// The appliance is killed and started again: what is left is the journal.
    pub(super) fn restart(&mut self) {
        let mut state = State::default();
        for stamped in &self.journal {
            state.apply(stamped);
        }
        assert_eq!(&state, self.core.state(), "the replayed state is the state before the stop");
        self.core = Core::new(state, Planner::new(graph()), self.core.policy().clone());
        self.feed(vec![Fact::Appliance(ApplianceFact::Started { version: "test".into() })]);
    }

    pub(super) fn reconnect(&mut self, id: NodeId) {
        let machine = self.machines[&id].clone();
        if !machine.connected {
            return;
        }
        self.session += 1;
        let mut variables = vec![("run", if machine.in_sync { "sync" } else { "init" })];
        variables.push(("image.hello.state", if machine.active { "active" } else { "idle" }));
        let digest =
            Reported { path: VarPath::image_digest(&name("hello")), value: Some(Value::Digest(Digest::of(b"hello"))) };
        let facts = vec![
            agent(id, AgentEvent::Connected { session: self.session }),
            agent(id, AgentEvent::Observed { revision: Revision(9), scope: Scope::Delta, variables: vec![digest] }),
            self.report(id, variables),
        ];
        self.feed(facts);
    }

    /// The agents of these nodes are not heard any more, all at once; their machines have power.
    pub(super) fn lose(&mut self, nodes: impl IntoIterator<Item = u128>) {
        let mut facts = Vec::new();
        for number in nodes {
            let session = self.node(number).agent.session.unwrap();
            self.machines.get_mut(&id(number)).unwrap().connected = false;
            facts.push(agent(id(number), AgentEvent::Lost { session, reason: "silent".into() }));
        }
        self.feed(facts);
    }

    /// These machines lose their power, all at once, and their agents are lost with it.
    pub(super) fn cut(&mut self, nodes: impl IntoIterator<Item = u128> + Clone) {
        for number in nodes.clone() {
            let machine = self.machines.get_mut(&id(number)).unwrap();
            (machine.power, machine.booting_ms) = (PowerState::Off, None);
            (machine.in_sync, machine.active) = (false, false);
        }
        self.lose(nodes);
    }

    /// The agents of these nodes are heard again.
    pub(super) fn find_again(&mut self, nodes: impl IntoIterator<Item = u128>) {
        for number in nodes {
            self.machines.get_mut(&id(number)).unwrap().connected = true;
            self.reconnect(id(number));
        }
    }

    /// An agent says whether its node works for somebody.
    pub(super) fn busy(&mut self, node: u128, value: &str) {
        let fact = self.report(id(node), vec![("busy", value)]);
        self.feed(vec![fact]);
    }

    /// An operator's word.
    pub(super) fn ask(&mut self, event: OperatorEvent) {
        self.feed(vec![operator(event)]);
    }

    /// What the engine would do next with a node.
    pub(super) fn next(&self, node: u128) -> Decision {
        let state = self.core.state();
        let mut planner = Planner::following(graph().with_modules(state), &state.control);
        decide(self.node(node), &state.control, &mut planner, self.core.policy(), self.now)
    }

    /// What holds a node's next step back.
    pub(super) fn held(&self, node: u128) -> Option<Hold> {
        match self.next(node) {
            Decision::Held { hold, .. } => Some(hold),
            _ => None,
        }
    }

    /// How often steps of this name were asked for.
    pub(super) fn asked_for(&self, step: &str) -> usize {
        self.order_log.iter().filter(|order| *order == step).count()
    }

    pub(super) fn power_cuts(&self) -> u32 {
        self.machines.values().map(|m| m.power_cuts).sum()
    }

    fn node_of(&self, node: NodeId) -> &crate::state::Node {
        self.core.state().node(node).unwrap()
    }

    pub(super) fn node(&self, number: u128) -> &crate::state::Node {
        self.core.state().node(NodeId(Uuid::from_u128(number))).unwrap()
    }
}

pub(super) fn operator(event: OperatorEvent) -> Fact {
    Fact::Operator(OperatorFact::from(event))
}

pub(super) fn agent(node: NodeId, event: AgentEvent) -> Fact {
    Fact::Agent(AgentFact { node: Some(node), peer: SocketAddr::from(([10, 0, 0, 1], 4000)), event })
}

pub(super) fn id(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}
