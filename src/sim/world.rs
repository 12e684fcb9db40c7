//! One simulation: takes what happens next, lets those whom it concerns do their part, and has it checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::appliance::Appliance;
use super::appliance::boot::Promise;
use super::checker::{Broken, Checker};
use super::fault::{FaultKind, Faults};
use super::hub::{Event, Hub, Up};
use super::machine::Machine;
use super::report::{Report, Tally, Verdict, Violation};
use super::script::{Command, Script, index_of};
use super::{LIVENESS_MS, Options, SimError, site};
use crate::fact::{Fact, OperatorEvent, OperatorFact, PowerOrder, PowerState, Stamped};
use crate::model::{CakeSpec, NodeId, NodeSet};
use crate::plan::{Disruption, diff};
use crate::state::{Node, State};

/// How often the fleet is looked at, in milliseconds.
const SAMPLE_MS: u64 = 1_000;
/// How long a machine takes to follow its BMC, in milliseconds.
const FOLLOWS_MS: (u64, u64) = (300, 2_500);
/// How long the disk takes nothing when it is full, in milliseconds.
const FULL_MS: (u64, u64) = (5_000, 60_000);
/// The facts of a node that are printed when something is wrong with it.
const LAST_FACTS: usize = 12;

/// One simulation.
pub(super) struct World {
    hub: Hub,
    machines: Vec<Machine>,
    appliance: Appliance,
    checker: Checker,
    script: Script,
    seed: u64,
    command: String,
    /// When the faults stop.
    calm_ms: u64,
    is_calm: bool,
    /// Counts the changes of rates: what was scheduled by an earlier rate does not happen.
    faults: u64,
    /// What operators asked for and were not told to be durable: they ask again.
    unanswered: VecDeque<Fact>,
    /// The last facts of each node.
    last_facts: Vec<VecDeque<Stamped<Fact>>>,
    arrived: Vec<bool>,
    arrived_count: usize,
    tally: Tally,
}

impl World {
    pub(super) fn new(options: &Options) -> Result<Self, SimError> {
        let description = site::description(options.nodes, options.seed)?;
        let (_, events) = diff(&State::default(), &description)?;
        let nodes = description.nodes;
        let mut appliance = Appliance::new(options.nodes, options.seed)?;
        appliance.tree.know(nodes.iter().map(|(id, _)| *id).collect());
        let declared = appliance.graph().mutations().iter();
        let disruptive: BTreeSet<String> =
            declared.filter(|m| m.disruption == Disruption::Disruptive).map(|m| m.name.to_string()).collect();
        let known: Vec<_> = nodes.iter().map(|(id, spec)| (*id, spec.mac)).collect();
        let cake = description.cakes.into_iter().next();
        let cake = cake.unwrap_or(CakeSpec { name: description.networks[0].name.clone(), images: Vec::new() });
        let machines = nodes.iter().enumerate();
        Ok(World {
            hub: Hub::new(options.nodes, options.seed, options.faults.clone()),
            machines: machines.map(|(node, (id, spec))| Machine::new(node, *id, spec.mac, options.seed)).collect(),
            checker: Checker::new(&known, cake, disruptive, appliance.retry_budget()),
            appliance,
            script: options.script.clone(),
            seed: options.seed,
            command: options.command.clone(),
            calm_ms: options.duration_ms.max(options.script.end_ms()),
            is_calm: false,
            faults: 0,
            unanswered: events.into_iter().map(|event| Fact::Operator(OperatorFact::from(event))).collect(),
            last_facts: vec![VecDeque::new(); options.nodes],
            arrived: vec![false; options.nodes],
            arrived_count: 0,
            tally: Tally::default(),
        })
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Report {
        for (index, line) in self.script.0.iter().enumerate() {
            self.hub.schedule.at(line.at_ms, Event::Script(index));
        }
        self.hub.schedule.at(self.calm_ms, Event::Calm);
        self.schedule_faults();
        self.start();
        let mut next_sample_ms = 0;
        let broken = loop {
            if let Some(broken) = self.checker.take_broken() {
                break Some(broken);
            }
            let Some(next_ms) = self.hub.schedule.next_ms() else {
                break Some(Broken { node: None, what: "nothing is going to happen any more".to_owned() });
            };
            if next_ms > next_sample_ms {
                self.hub.now_ms = next_sample_ms;
                self.tally.curve.push((next_sample_ms, self.arrived_count));
                if self.is_over() {
                    break None;
                }
                if let Some(broken) = self.is_late(next_sample_ms) {
                    break Some(broken);
                }
                self.look_into_mass_events();
                next_sample_ms += SAMPLE_MS;
                continue;
            }
            if let Some((at_ms, event)) = self.hub.schedule.pop() {
                self.hub.now_ms = at_ms;
                let node = self.happen(event);
                self.look(node);
            }
        };
        self.end(broken)
    }

    fn end(mut self, broken: Option<Broken>) -> Report {
        let broken = broken.or_else(|| {
            self.appliance.check_replay(&mut self.hub);
            self.appliance.shown.broken.take().map(|what| Broken { node: None, what })
        });
        let verdict = match broken {
            None => Verdict::Held,
            Some(broken) => Verdict::Broken(self.violation(broken)),
        };
        let nodes: BTreeMap<NodeId, &Node> =
            self.appliance.state.nodes.iter().map(|(id, node)| (*id, node.as_ref())).collect();
        let mut tally = self.tally;
        tally.facts = self.appliance.facts;
        tally.checks = self.checker.checks();
        Report::new(
            (self.seed, self.machines.len(), self.command),
            (self.hub.now_ms, self.calm_ms),
            tally,
            self.hub.counts,
            nodes.into_values(),
            verdict,
        )
    }

    fn violation(&self, broken: Broken) -> Violation {
        let node = broken.node.and_then(|id| self.appliance.state.node(id));
        let place = broken.node.and_then(|id| self.appliance.tree.place_of(id));
        let last = place.and_then(|place| self.last_facts.get(place)).into_iter().flatten();
        Violation {
            what: broken.what,
            at_ms: self.hub.now_ms,
            node: node.map(|node| node.spec.name.to_string()),
            machine: place.map(|place| self.machines[place].doing().to_owned()),
            last_facts: last
                .map(|stamped| format!("{} {} {}", stamped.at, stamped.fact.kind(), stamped.fact.sentence()))
                .collect(),
        }
    }

    fn is_over(&self) -> bool {
        self.is_calm
            && self.arrived_count == self.machines.len()
            && self.appliance.state.nodes.len() == self.machines.len()
            && self.unanswered.is_empty()
            && self.appliance.state.nodes.values().all(|node| node.at_goal)
    }

    fn is_late(&self, now_ms: u64) -> Option<Broken> {
        if !self.is_calm || now_ms < self.calm_ms.saturating_add(LIVENESS_MS) {
            return None;
        }
        let late = self.machines.iter().find(|machine| {
            let believed = self.appliance.state.node(machine.id).is_some_and(|node| node.at_goal);
            !believed || !self.checker.has_arrived(machine)
        });
        let absent = self.machines.len() - self.arrived_count;
        let what = format!("the faults stopped {} ago, and {absent} nodes have not arrived", super::Span(LIVENESS_MS));
        Some(Broken { node: late.map(|machine| machine.id), what })
    }

    /// Whoever was concerned is looked at: what has become durable, what the machine is, what must not be.
    fn look(&mut self, node: Option<usize>) {
        let mut touched: Vec<usize> = node.into_iter().filter(|node| self.machines[*node].changed).collect();
        for stamped in std::mem::take(&mut self.appliance.shown.durable) {
            touched.extend(self.checker.fact(&stamped));
            self.tally.count(&stamped.fact);
            if let Fact::Operator(_) = stamped.fact
                && let Some(place) = self.unanswered.iter().position(|fact| *fact == stamped.fact)
            {
                self.unanswered.remove(place);
            }
            let node = stamped.fact.node().and_then(|id| self.appliance.tree.place_of(id));
            if let Some(last) = node.and_then(|node| self.last_facts.get_mut(node)) {
                if last.len() >= LAST_FACTS {
                    last.pop_front();
                }
                last.push_back(stamped);
            }
        }
        for node in std::mem::take(&mut self.appliance.shown.lied) {
            self.checker.lied(node, self.hub.now_ms);
        }
        if let Some(what) = self.appliance.shown.broken.take() {
            self.checker.break_off(None, what);
        }
        for node in touched {
            let machine = &mut self.machines[node];
            machine.changed = false;
            self.appliance.broker.truth[node] = machine.power;
            for ip in std::mem::take(&mut machine.acknowledged) {
                self.checker.acknowledged(machine.mac, ip);
            }
            self.checker.machine_changed(self.hub.now_ms, machine);
            let arrived = self.checker.has_arrived(machine);
            self.arrived_count += usize::from(arrived);
            self.arrived_count -= usize::from(std::mem::replace(&mut self.arrived[node], arrived));
        }
    }

    /// Lets `event` happen; gives the machine that it concerned.
    fn happen(&mut self, event: Event) -> Option<usize> {
        let life = self.appliance.life;
        let alive = |of: u64| of == life && self.appliance.up;
        match event {
            Event::ToAppliance { node, packet } => {
                if self.appliance.up && matches!(packet, Up::Frame { .. }) {
                    self.checker.heard(node, self.hub.now_ms);
                }
                self.appliance.hear(&mut self.hub, node, packet);
            }
            Event::ToMachine { node, packet } => {
                self.machines[node].hear(&mut self.hub, packet);
                return Some(node);
            }
            Event::Machine { node, boot, timer } => {
                self.machines[node].timer(&mut self.hub, boot, timer);
                return Some(node);
            }
            Event::Order { node, order, sent_ms } => return self.order(node, order, sent_ms),
            Event::Switched { node, order } => return self.switched(node, order),
            Event::Committed { life } if alive(life) => self.appliance.committed(&mut self.hub),
            Event::Wake { life } if alive(life) => self.appliance.wake(&mut self.hub),
            Event::Broker { life, node, event } if alive(life) => self.appliance.broker(&mut self.hub, node, event),
            Event::Session { life, node, connection } if alive(life) => {
                self.appliance.session_tick(&mut self.hub, node, connection);
            }
            Event::Parked { life, node } if alive(life) => self.appliance.parked(&mut self.hub, node),
            Event::Sent { life, node, transfer } if alive(life) => {
                self.appliance.sent(&mut self.hub, node, *transfer);
            }
            Event::Committed { .. }
            | Event::Wake { .. }
            | Event::Broker { .. }
            | Event::Session { .. }
            | Event::Parked { .. }
            | Event::Sent { .. } => {}
            Event::Restart => self.start(),
            Event::Crash { faults } if faults == self.faults => {
                self.appliance.crash(&mut self.hub);
                self.schedule_crash();
            }
            Event::DiskFull { faults } if faults == self.faults => {
                self.appliance.disk_full = true;
                let pause_ms = self.hub.random.between(FULL_MS.0, FULL_MS.1);
                self.hub.after(pause_ms, Event::DiskFree);
                self.schedule_disk_full();
            }
            Event::DiskFree => self.appliance.disk_full = false,
            Event::Dies { node, faults } if faults == self.faults => {
                self.hub.counts.deaths += 1;
                if self.hub.random.chance(0.5) {
                    self.machines[node].freeze();
                } else {
                    self.kill(node);
                }
                self.schedule_death(node);
                return Some(node);
            }
            Event::Crash { .. } | Event::DiskFull { .. } | Event::Dies { .. } => {}
            Event::Script(index) => self.command(index),
            Event::Calm => self.calm(),
        }
        None
    }

    /// The appliance starts, and whoever was not answered asks again.
    fn start(&mut self) {
        self.checker.appliance_up(self.hub.now_ms);
        self.appliance.start(&mut self.hub);
        self.appliance.start_polling(&mut self.hub);
        let asked: Vec<Fact> = self.unanswered.iter().cloned().collect();
        if !asked.is_empty() {
            self.appliance.submit(asked.clone(), Promise::LastWords(asked));
            self.appliance.go_on(&mut self.hub);
        }
    }

    fn order(&mut self, node: usize, order: PowerOrder, sent_ms: u64) -> Option<usize> {
        self.checker.order(node, order, sent_ms);
        match order {
            PowerOrder::Arm => self.machines[node].armed = true,
            // What is so already takes no time.
            PowerOrder::On if self.machines[node].power == PowerState::On => self.checker.switched(node, order),
            PowerOrder::Off if self.machines[node].power == PowerState::Off => self.checker.switched(node, order),
            PowerOrder::On | PowerOrder::Off => {
                let pause_ms = self.hub.random.between(FOLLOWS_MS.0, FOLLOWS_MS.1);
                self.hub.after(pause_ms, Event::Switched { node, order });
            }
            PowerOrder::Probe => {}
        }
        Some(node)
    }

    fn switched(&mut self, node: usize, order: PowerOrder) -> Option<usize> {
        self.checker.switched(node, order);
        let machine = &mut self.machines[node];
        match (order, machine.power) {
            (PowerOrder::On, PowerState::Off) => {
                self.hub.counts.power_ons += 1;
                machine.power_on(&mut self.hub);
            }
            (PowerOrder::Off, PowerState::On) => {
                self.hub.counts.power_offs += 1;
                machine.power_off();
            }
            _ => {}
        }
        Some(node)
    }

    fn kill(&mut self, node: usize) {
        self.checker.power_lost(node);
        self.machines[node].power_off();
    }

    fn ask(&mut self, events: Vec<OperatorEvent>) {
        let facts: Vec<Fact> = events.into_iter().map(|event| Fact::Operator(OperatorFact::from(event))).collect();
        self.unanswered.extend(facts.iter().cloned());
        if self.appliance.up && !facts.is_empty() {
            self.appliance.submit(facts.clone(), Promise::LastWords(facts));
            self.appliance.go_on(&mut self.hub);
        }
    }

    fn places(&self, nodes: &NodeSet) -> Vec<usize> {
        nodes.iter().filter_map(index_of).filter(|place| *place < self.machines.len()).collect()
    }

    fn ids(&self, nodes: &NodeSet) -> Vec<NodeId> {
        self.places(nodes).into_iter().map(|place| self.machines[place].id).collect()
    }

    /// Asks something of these nodes, or of all at once.
    fn ask_of(&mut self, nodes: Option<NodeSet>, event: impl Fn(Option<NodeId>) -> OperatorEvent) {
        let events = match nodes {
            Some(nodes) => self.ids(&nodes).into_iter().map(|id| event(Some(id))).collect(),
            None => vec![event(None)],
        };
        self.ask(events);
    }

    fn command(&mut self, index: usize) {
        let Some(line) = self.script.0.get(index).cloned() else { return };
        let number = line.number;
        match line.command {
            Command::Set(nodes, path, value) => {
                let set = |node| OperatorEvent::GoalSet { node, path: path.clone(), value: value.clone() };
                self.ask(self.ids(&nodes).into_iter().map(set).collect());
            }
            Command::Cycle(nodes) => {
                self.ask(self.ids(&nodes).into_iter().map(|node| OperatorEvent::CycleAsked { node }).collect());
            }
            Command::Release(nodes) => {
                self.ask(self.ids(&nodes).into_iter().map(|node| OperatorEvent::Released { node }).collect());
            }
            Command::Freeze(nodes) => self.ask_of(nodes, |node| OperatorEvent::Frozen { node }),
            Command::Thaw(nodes) => self.ask_of(nodes, |node| OperatorEvent::Thawed { node }),
            Command::Clear => self.ask(vec![OperatorEvent::MassEventCleared]),
            Command::Fault(fault) => {
                self.hub.faults.set(fault);
                self.schedule_faults();
            }
            Command::FaultsOff => {
                self.hub.faults = Faults::default();
                self.schedule_faults();
            }
            Command::Cut(nodes) => self.places(&nodes).into_iter().for_each(|node| self.hub.cut(node)),
            Command::Mend(nodes) => self.places(&nodes).into_iter().for_each(|node| self.hub.mend(node)),
            Command::Kill(nodes) => {
                for node in self.places(&nodes) {
                    self.kill(node);
                    self.look(Some(node));
                }
            }
            Command::Crash => self.appliance.crash(&mut self.hub),
            Command::ExpectAllArrived => {
                let absent: Vec<String> =
                    (0..self.machines.len()).filter(|at| !self.arrived[*at]).map(|at| format!("n{}", at + 1)).collect();
                if !absent.is_empty() {
                    let absent = NodeSet::fold(absent.iter().map(String::as_str));
                    self.checker.break_off(None, format!("line {number} expects all to have arrived; not so {absent}"));
                }
            }
            Command::Expect(nodes, path, value) => {
                for id in self.ids(&nodes) {
                    let seen = self.appliance.state.node(id).and_then(|node| node.see(&path));
                    if seen != Some(&value) {
                        let seen = seen.map_or("unknown".to_owned(), ToString::to_string);
                        let what = format!("line {number} expects {path}={value}, and it is {seen}");
                        self.checker.break_off(Some(id), what);
                    }
                }
            }
        }
    }

    /// The faults stop, and what is quarantined or frozen is let go.
    fn calm(&mut self) {
        self.is_calm = true;
        self.hub.faults = Faults::default();
        self.hub.mend_all();
        self.appliance.disk_full = false;
        self.schedule_faults();
        let state = &self.appliance.state;
        let absent = state.nodes.values().filter(|node| !node.at_goal);
        let released: Vec<&std::sync::Arc<Node>> = absent.filter(|node| node.retry.counted > 0).collect();
        let quarantined =
            |node: &&&std::sync::Arc<Node>| matches!(node.retry.next, Some(crate::fact::Retry::Quarantined));
        self.tally.released = released.iter().filter(quarantined).count();
        let mut events: Vec<OperatorEvent> =
            released.iter().map(|node| OperatorEvent::Released { node: node.id }).collect();
        let frozen = state.nodes.values().filter(|node| node.frozen.is_some());
        events.extend(frozen.map(|node| OperatorEvent::Thawed { node: Some(node.id) }));
        events.extend(state.control.frozen.map(|_| OperatorEvent::Thawed { node: None }));
        self.ask(events);
    }

    /// Whoever looks after the cluster lets it go on, as soon as a mass event is told of when nothing goes wrong any more.
    fn look_into_mass_events(&mut self) {
        let held = self.is_calm && self.appliance.state.control.mass_event.is_some();
        if held && !self.unanswered.iter().any(is_clearance) {
            self.tally.mass_events_cleared += 1;
            self.ask(vec![OperatorEvent::MassEventCleared]);
        }
    }

    fn schedule_faults(&mut self) {
        self.faults += 1;
        self.schedule_crash();
        self.schedule_disk_full();
        for node in 0..self.machines.len() {
            self.schedule_death(node);
        }
    }

    fn pause_ms(&mut self, kind: FaultKind) -> Option<u64> {
        let rate = self.hub.faults.rate(kind);
        self.hub.random.pause_ms(rate)
    }

    fn schedule_crash(&mut self) {
        if let Some(pause_ms) = self.pause_ms(FaultKind::ApplianceCrash) {
            self.hub.after(pause_ms, Event::Crash { faults: self.faults });
        }
    }

    fn schedule_disk_full(&mut self) {
        if let Some(pause_ms) = self.pause_ms(FaultKind::DiskFull) {
            self.hub.after(pause_ms, Event::DiskFull { faults: self.faults });
        }
    }

    fn schedule_death(&mut self, node: usize) {
        if let Some(pause_ms) = self.pause_ms(FaultKind::MachineDies) {
            self.hub.after(pause_ms, Event::Dies { node, faults: self.faults });
        }
    }
}

fn is_clearance(fact: &Fact) -> bool {
    matches!(fact, Fact::Operator(OperatorFact { event: OperatorEvent::MassEventCleared, .. }))
}
