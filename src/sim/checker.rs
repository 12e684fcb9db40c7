//! The checker: what must never be, and what must be in the end, judged by what machines really are and by the facts that
//! became durable. It does not know the planner, and does not believe it.
//!
//! **Healthy** is a machine that has power and an agent that runs, and that is all that is wanted of it: in step, each
//! image of its cake active with the right content, or what was set by hand instead, and no power cycle asked for.
//!
//! Safety, after every event:
//! 1. No healthy machine is powered off by order. An order counts by when it left the appliance, and a machine by when it
//!    became healthy: one that became so within [`NEWS_MS`] before the order left is not counted, since the word of it may
//!    have been on its way. Nor is one that the appliance has not heard for [`REJOIN_MS`] while it was up, whatever the
//!    reason: its network was cut for longer than an agent is waited for. Nor, while it is not heard, is one whose BMC has
//!    told a lie since it was: a BMC that says that a machine has no power is believed when nobody else speaks of it.
//! 2. No two disruptive actions at once on a node: a step that is declared disruptive does not start before the one before
//!    it has ended, and a BMC is not told to switch one way while it still switches the other way, unless it lied meanwhile.
//! 3. No address is acknowledged to two machines, or before its lease is durable.
//! 4. No node has more failures counted than the budget before it is quarantined, and a quarantined node is given no order
//!    to switch its power until it is released, asked for something else, or at its goal by itself.
//! 5. No step starts on a frozen node or while everything is frozen, and no disruptive one while a mass event is on.
//! 6. The journal has no gap, and a replay gives the state that was (the appliance compares, at each start and at the end).
//!
//! Liveness: after the faults have stopped and everything quarantined was released, every node arrives within the bound.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::machine::Machine;
use super::machine::agent::Run;
use crate::fact::{
    ApplianceFact, Counted, DhcpEvent, EngineEvent, Fact, FleetFact, OperatorEvent, PowerOrder, PowerState, Retry,
    Stamped,
};
use crate::model::{CakeSpec, Mac, NodeId, Value, VarPath};

/// How long the word that a machine has become healthy may be under way, in milliseconds: the dead interval of a session.
pub const NEWS_MS: u64 = 5_000;
/// How long an agent may be silent before it counts as lost, in milliseconds, as `run.discover` declares it.
pub const REJOIN_MS: u64 = 600_000;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Whose, where it is of one node.
    pub node: Option<NodeId>,
    /// What.
    pub what: String,
}

/// What is kept of one node.
#[derive(Debug, Clone, Default)]
struct Watched {
    id: Option<NodeId>,
    by_hand: BTreeMap<VarPath, Value>,
    cycle_asked: bool,
    healthy_since_ms: Option<u64>,
    heard_ms: u64,
    disruptive: Option<String>,
    switching: Option<PowerOrder>,
    lied_ms: Option<u64>,
    counted: u32,
    quarantined: bool,
    leased: BTreeSet<Ipv4Addr>,
    frozen: bool,
}

/// The checker.
#[derive(Debug)]
pub struct Checker {
    nodes: Vec<Watched>,
    places: BTreeMap<NodeId, usize>,
    macs: BTreeMap<Mac, usize>,
    holders: BTreeMap<Ipv4Addr, Mac>,
    cake: CakeSpec,
    disruptive: BTreeSet<String>,
    budget: u32,
    seq: u64,
    up_since_ms: u64,
    all_frozen: bool,
    mass_event: bool,
    checks: u64,
    broken: Option<Broken>,
}

impl Checker {
    /// A checker of `nodes`, which run `cake`; `disruptive` are the names of the mutations that are declared so.
    #[must_use]
    pub fn new(nodes: &[(NodeId, Mac)], cake: CakeSpec, disruptive: BTreeSet<String>, budget: u32) -> Self {
        Checker {
            nodes: nodes.iter().map(|(id, _)| Watched { id: Some(*id), ..Watched::default() }).collect(),
            places: nodes.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect(),
            macs: nodes.iter().enumerate().map(|(place, (_, mac))| (*mac, place)).collect(),
            holders: BTreeMap::new(),
            cake,
            disruptive,
            budget,
            seq: 0,
            up_since_ms: 0,
            all_frozen: false,
            mass_event: false,
            checks: 0,
            broken: None,
        }
    }

    /// How often something was judged.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks
    }

    /// The first thing that must not have been.
    pub fn take_broken(&mut self) -> Option<Broken> {
        self.broken.take()
    }

    /// Holds that something must not be.
    pub fn break_off(&mut self, node: Option<NodeId>, what: String) {
        self.broken.get_or_insert(Broken { node, what });
    }

    fn at(&mut self, node: usize) -> Option<&mut Watched> {
        self.nodes.get_mut(node)
    }

    /// The appliance serves from now on.
    pub fn appliance_up(&mut self, now_ms: u64) {
        self.up_since_ms = now_ms;
    }

    /// The appliance got something over a machine's connection.
    pub fn heard(&mut self, node: usize, now_ms: u64) {
        if let Some(watched) = self.at(node) {
            watched.heard_ms = now_ms;
        }
    }

    /// Whether the machine is what is wanted of it.
    pub(super) fn has_arrived(&self, machine: &Machine) -> bool {
        let Some(watched) = self.nodes.get(machine.node) else { return false };
        let by_hand = |path: &VarPath| watched.by_hand.get(path).and_then(Value::as_symbol);
        if by_hand(&VarPath::power()) == Some("off") {
            return machine.power == PowerState::Off;
        }
        let Some(agent) = machine.agent() else { return false };
        let in_step = by_hand(&VarPath::run()) != Some("init");
        let wanted_run = if in_step { Run::Sync } else { Run::Init };
        let mut images = self.cake.images.iter();
        !watched.cycle_asked
            && agent.run() == wanted_run
            && images.all(|pin| {
                let active = in_step && by_hand(&VarPath::image_state(&pin.name)) != Some("idle");
                agent.active(&pin.name) == active.then_some(pin.digest)
            })
    }

    /// A machine has changed.
    pub(super) fn machine_changed(&mut self, now_ms: u64, machine: &Machine) {
        let healthy = machine.power == PowerState::On && machine.agent().is_some() && self.has_arrived(machine);
        let Some(watched) = self.at(machine.node) else { return };
        watched.healthy_since_ms = healthy.then(|| watched.healthy_since_ms.unwrap_or(now_ms));
    }

    /// A BMC takes an order that left the appliance at `sent_ms`.
    pub fn order(&mut self, node: usize, order: PowerOrder, sent_ms: u64) {
        self.checks += 1;
        let up_since_ms = self.up_since_ms;
        let Some(watched) = self.nodes.get_mut(node) else { return };
        let id = watched.id;
        if !matches!(order, PowerOrder::On | PowerOrder::Off) {
            return;
        }
        let before = watched.switching.replace(order);
        let (quarantined, lied_ms, heard_ms) = (watched.quarantined, watched.lied_ms, watched.heard_ms);
        let healthy = watched.healthy_since_ms.filter(|since_ms| since_ms + NEWS_MS <= sent_ms);
        let silent_ms = sent_ms.saturating_sub(watched.heard_ms.max(up_since_ms));
        // The same order once more, because the first was not answered, is no second action.
        let misled = silent_ms >= NEWS_MS && lied_ms.is_some_and(|lied_ms| lied_ms >= heard_ms);
        if let Some(before) = before.filter(|before| *before != order) {
            self.break_off(id, format!("it is told '{order}' while its BMC still carries out '{before}'"));
        }
        if quarantined {
            self.break_off(id, format!("it is quarantined, and told '{order}'"));
        }
        if let Some(since_ms) = healthy.filter(|_| order == PowerOrder::Off && silent_ms < REJOIN_MS && !misled) {
            let for_s = sent_ms.saturating_sub(since_ms) / 1_000;
            self.break_off(
                id,
                format!("it is powered off, and was healthy for {for_s} s and heard {} s before", silent_ms / 1_000),
            );
        }
    }

    /// A BMC has carried out an order.
    pub fn switched(&mut self, node: usize, order: PowerOrder) {
        if let Some(watched) = self.at(node) {
            watched.switching = None;
            watched.cycle_asked &= order != PowerOrder::Off;
        }
    }

    /// A BMC has told a lie about the machine's power, so nobody can know what it still carries out.
    pub fn lied(&mut self, node: usize, now_ms: u64) {
        if let Some(watched) = self.at(node) {
            watched.lied_ms = Some(now_ms);
            watched.switching = None;
        }
    }

    /// A machine's power has gone without an order.
    pub fn power_lost(&mut self, node: usize) {
        if let Some(watched) = self.at(node) {
            watched.cycle_asked = false;
        }
    }

    /// A machine was acknowledged an address.
    pub fn acknowledged(&mut self, mac: Mac, ip: Ipv4Addr) {
        self.checks += 1;
        let place = self.macs.get(&mac).copied();
        let id = place.and_then(|place| self.nodes.get(place)).and_then(|watched| watched.id);
        let holder = *self.holders.entry(ip).or_insert(mac);
        if holder != mac {
            self.break_off(id, format!("{ip} is acknowledged to {mac}, and {holder} has it"));
        }
        let durable = place.and_then(|place| self.nodes.get(place)).is_some_and(|watched| watched.leased.contains(&ip));
        if !durable {
            self.break_off(id, format!("{ip} is acknowledged to {mac}, and no lease of it is durable"));
        }
    }

    /// A fact has become durable. Gives the nodes of which something else is wanted now.
    pub fn fact(&mut self, stamped: &Stamped<Fact>) -> Option<usize> {
        self.checks += 1;
        self.seq += 1;
        if stamped.seq.0 != self.seq {
            let what = format!("fact {} follows fact {}", stamped.seq.0, self.seq.saturating_sub(1));
            self.break_off(stamped.fact.node(), what);
            self.seq = stamped.seq.0;
        }
        if let Fact::Appliance(ApplianceFact::Started { .. }) = stamped.fact {
            self.nodes.iter_mut().for_each(|watched| watched.disruptive = None);
        }
        self.fleet(&stamped.fact);
        let id = stamped.fact.node()?;
        let place = *self.places.get(&id)?;
        match &stamped.fact {
            Fact::Dhcp(fact) => {
                if let DhcpEvent::Leased { ip, .. } = fact.event {
                    self.at(place)?.leased.insert(ip);
                }
                None
            }
            Fact::Operator(fact) => {
                let watched = self.at(place)?;
                match &fact.event {
                    OperatorEvent::GoalSet { path, value, .. } => {
                        match value {
                            Some(value) => watched.by_hand.insert(path.clone(), value.clone()),
                            None => watched.by_hand.remove(path),
                        };
                        if *path == VarPath::power() {
                            watched.cycle_asked = false;
                        }
                        watched.forgive();
                    }
                    OperatorEvent::CycleAsked { .. } => watched.cycle_asked = true,
                    OperatorEvent::Released { .. } => {
                        watched.cycle_asked = false;
                        watched.forgive();
                    }
                    OperatorEvent::Frozen { .. } => watched.frozen = true,
                    OperatorEvent::Thawed { .. } => watched.frozen = false,
                    _ => watched.forgive(),
                }
                Some(place)
            }
            Fact::Engine(fact) => {
                self.decided(id, place, &fact.event);
                (fact.event == EngineEvent::GoalReached).then_some(place)
            }
            _ => None,
        }
    }

    /// What holds for all nodes together.
    fn fleet(&mut self, fact: &Fact) {
        match fact {
            Fact::Fleet(FleetFact::MassEvent { .. }) => self.mass_event = true,
            Fact::Fleet(FleetFact::MassEventPassed) => self.mass_event = false,
            Fact::Operator(fact) => match fact.event {
                OperatorEvent::MassEventCleared => self.mass_event = false,
                OperatorEvent::Frozen { node: None } => self.all_frozen = true,
                OperatorEvent::Thawed { node: None } => self.all_frozen = false,
                _ => {}
            },
            _ => {}
        }
    }

    fn decided(&mut self, id: NodeId, place: usize, event: &EngineEvent) {
        let budget = self.budget;
        let disruptive = match event {
            EngineEvent::StepStarted { step, .. } => self.disruptive.contains(step.mutation.as_ref()),
            _ => false,
        };
        let (all_frozen, mass_event) = (self.all_frozen, self.mass_event);
        let Some(watched) = self.nodes.get_mut(place) else { return };
        let mut what = None;
        match event {
            EngineEvent::StepStarted { step, .. } => {
                if let Some(before) = watched.disruptive.as_ref().filter(|_| disruptive) {
                    what = Some(format!("'{step}' starts, and '{before}' has not ended"));
                }
                if watched.frozen || all_frozen {
                    what = Some(format!("'{step}' starts, and it is frozen"));
                } else if disruptive && mass_event {
                    what = Some(format!("'{step}' starts, and a mass event is on"));
                }
                watched.disruptive = disruptive.then(|| step.to_string());
            }
            EngineEvent::StepDone { .. } | EngineEvent::StepSuperseded { .. } => watched.disruptive = None,
            EngineEvent::StepFailed { counted, retry, .. } => {
                watched.disruptive = None;
                watched.counted += u32::from(*counted == Counted::Yes);
                watched.quarantined = *retry == Retry::Quarantined;
                if watched.counted > budget {
                    what = Some(format!("{} failures are counted, the budget is {budget}", watched.counted));
                } else if watched.counted == budget && !watched.quarantined {
                    what = Some(format!("its budget of {budget} failures is spent, and it is not quarantined"));
                }
            }
            EngineEvent::GoalReached => {
                // Also when the machine was off, or said to be, as it was asked for.
                watched.cycle_asked = false;
                watched.forgive();
            }
        }
        if let Some(what) = what {
            self.break_off(Some(id), what);
        }
    }
}

impl Watched {
    /// Failures of the past do not count any more.
    fn forgive(&mut self) {
        self.counted = 0;
        self.quarantined = false;
    }
}

#[cfg(test)]
mod tests;
