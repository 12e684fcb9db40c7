//! The appliance: the engine's core over a simulated disk, with the edges around it.
//!
//! A turn is what it is in `engine`: what has arrived is taken in, the turn is written, and only when the disk has it is
//! the new state published, are answers given and actions handed out. Between the two the appliance may be killed, and
//! then the turn is on the disk or not.
//! The disk is the journal in memory, with the records and snapshots of the real one: what is replayed is what was
//! written, read back.
//! Deliberately absent: the HTTP API, and the pacing of facts that one sender causes.

pub(super) mod boot;
pub(super) mod power;
pub(super) mod tree;

use std::collections::VecDeque;

use self::boot::Promise;
use self::power::Broker;
use self::tree::Tree;
use super::hub::{Down, Event, Hub, Up};
use super::random::Random;
use crate::engine::core::{Core, Turn};
use crate::fact::{ApplianceFact, Fact, FailReason, OutcomeFact, Stamped};
use crate::journal::memory::MemoryJournal;
use crate::model::limits::{FACT_QUEUE_MAX, FACTS_PER_COMMIT_MAX};
use crate::model::{NodeId, Schema, UnixMs};
use crate::plan::{Graph, GraphError, Planner, Policy};
use crate::port::Action;
use crate::state::State;

/// When the simulation begins by the appliance's clock: 2026-11-21T00:00:00Z.
const EPOCH_MS: u64 = 1_795_219_200_000;
/// How long a commit takes, in milliseconds.
const COMMIT_MS: (u64, u64) = (2, 12);
/// The pause after a commit that the disk refused, in milliseconds.
const REFUSED_PAUSE_MS: u64 = 1_000;
/// The furthest that the clock jumps at a restart, in milliseconds.
const JUMP_MS: u64 = 3_600_000;

/// The mutations of every module.
pub(super) fn graph() -> Result<Graph, GraphError> {
    let all = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
    ];
    Graph::build(all.concat(), &Schema::default())
}

/// Facts on their way to the engine, and who waits for them to be durable.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) facts: Vec<Fact>,
    /// Nothing for facts that may be lost.
    pub(super) then: Option<Promise>,
}

/// A turn that is being written.
#[derive(Debug)]
struct Written {
    turn: Turn,
    promises: Vec<Promise>,
}

/// What the appliance did, for those who watch it.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Facts that have become durable, in order.
    pub(super) durable: Vec<Stamped<Fact>>,
    /// Machines whose BMCs have told a lie.
    pub(super) lied: Vec<usize>,
    /// What must not be, where the appliance itself found it.
    pub(super) broken: Option<String>,
}

/// The appliance.
#[derive(Debug)]
pub(super) struct Appliance {
    /// Counts its starts; what was set up in an earlier life does nothing.
    pub(super) life: u64,
    pub(super) up: bool,
    pub(super) up_since_ms: u64,
    disk: MemoryJournal,
    /// Facts that the disk has.
    pub(super) facts: u64,
    /// Whether the disk takes nothing.
    pub(super) disk_full: bool,
    pub(super) shown: Shown,
    /// The state that was published last.
    pub(super) state: State,
    core: Core,
    graph: Graph,
    policy: Policy,
    inbox: VecDeque<Submission>,
    leftover: Vec<Fact>,
    writing: Option<Written>,
    refused_until_ms: u64,
    wake_ms: Option<u64>,
    dropped: u64,
    lost: u64,
    clock_ahead_ms: i64,
    pub(super) random: Random,
    pub(super) tree: Tree,
    pub(super) broker: Broker,
}

impl Appliance {
    /// An appliance that is about to be started for the first time.
    pub(super) fn new(nodes: usize, seed: u64) -> Result<Self, GraphError> {
        let graph = graph()?;
        let policy = Policy::default();
        Ok(Appliance {
            life: 0,
            up: false,
            up_since_ms: 0,
            disk: MemoryJournal::default(),
            facts: 0,
            disk_full: false,
            shown: Shown::default(),
            state: State::default(),
            core: Core::new(State::default(), Planner::new(graph.clone()), policy.clone()),
            graph,
            policy,
            inbox: VecDeque::new(),
            leftover: Vec::new(),
            writing: None,
            refused_until_ms: 0,
            wake_ms: None,
            dropped: 0,
            lost: 0,
            clock_ahead_ms: 0,
            random: Random::new(seed, 2),
            tree: Tree::new(nodes),
            broker: Broker::new(nodes),
        })
    }

    /// The mutations that it plans with.
    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Failures that count, until a node is quarantined.
    pub(super) fn retry_budget(&self) -> u32 {
        self.policy.retry_budget
    }

    fn clock(&self, now_ms: u64) -> UnixMs {
        UnixMs((EPOCH_MS + now_ms).saturating_add_signed(self.clock_ahead_ms))
    }

    /// Replays the journal and begins to serve.
    pub(super) fn start(&mut self, hub: &mut Hub) {
        self.life += 1;
        self.up = true;
        self.up_since_ms = hub.now_ms;
        self.check_replay(hub);
        // Half of the starts begin from a snapshot and the facts after it, the others from every fact.
        if self.life > 1 && self.random.chance(0.5) {
            let at = self.clock(hub.now_ms);
            if let Err(error) = self.disk.snapshot(&self.state, at) {
                self.break_off(format!("no snapshot can be made: {error}"));
            }
        }
        if self.life > 1 && hub.strikes(super::fault::FaultKind::ClockJump) {
            hub.counts.clock_jumps += 1;
            let jump = self.random.between(1_000, JUMP_MS).cast_signed();
            self.clock_ahead_ms += if self.random.chance(0.5) { jump } else { -jump };
        }
        self.core = Core::new(self.state.clone(), Planner::new(self.graph.clone()), self.policy.clone());
        self.wake_ms = None;
        self.refused_until_ms = 0;
        self.leftover = vec![Fact::Appliance(ApplianceFact::Started { version: env!("CARGO_PKG_VERSION").to_owned() })];
        self.go_on(hub);
    }

    /// The journal must give the state that was published last, always.
    pub(super) fn check_replay(&mut self, hub: &mut Hub) {
        hub.counts.replays += 1;
        match self.disk.replay() {
            Ok(state) if state == self.state => {}
            Ok(state) => {
                let differs = state.nodes.values().find(|node| self.state.node(node.id) != Some(node));
                let whose = differs.map_or("of the cluster".to_owned(), |node| format!("of {}", node.spec.name));
                self.break_off(format!("the state {whose} that the journal gives is not the state that was"));
            }
            Err(error) => self.break_off(format!("the journal cannot be replayed: {error}")),
        }
    }

    fn break_off(&mut self, what: String) {
        self.shown.broken.get_or_insert(what);
    }

    /// Killed: only what is on the disk is left, and of a turn that was being written it is or is not.
    pub(super) fn crash(&mut self, hub: &mut Hub) {
        if !self.up {
            return;
        }
        hub.counts.crashes += 1;
        self.up = false;
        if let Some(written) = self.writing.take()
            && self.random.chance(0.5)
        {
            self.write(&written.turn);
            self.state = self.core.state().clone();
            self.shown.durable.extend(written.turn.stamped);
        }
        self.inbox.clear();
        self.leftover.clear();
        // A process that is killed has its connections closed by its system; a computer that stops says nothing.
        let says_so = self.random.chance(0.5);
        for (node, connection) in self.tree.forget() {
            if says_so {
                hub.down(node, Down::Closed { connection });
            }
        }
        self.broker.forget();
        let pause_ms = self.random.between(1_000, 30_000);
        hub.after(pause_ms, Event::Restart);
    }

    /// Facts that somebody waits for.
    pub(super) fn submit(&mut self, facts: Vec<Fact>, then: Promise) {
        self.inbox.push_back(Submission { facts, then: Some(then) });
    }

    /// A fact that may be lost under load.
    pub(super) fn offer(&mut self, fact: Fact) {
        if self.inbox.len() >= FACT_QUEUE_MAX {
            self.dropped += 1;
        } else {
            self.inbox.push_back(Submission { facts: vec![fact], then: None });
        }
    }

    /// Something came from a machine.
    pub(super) fn hear(&mut self, hub: &mut Hub, node: usize, packet: Up) {
        if !self.up {
            // Nobody listens there, which the computer says, if it runs.
            if let Up::Frame { connection, .. } = packet
                && self.random.chance(0.5)
            {
                hub.down(node, Down::Closed { connection });
            }
            return;
        }
        match packet {
            Up::Dhcp(bytes) => self.dhcp(hub, node, &bytes),
            Up::Tftp(bytes) => self.tftp(hub, node, &bytes),
            Up::Get { path, request } => self.get(hub, node, &path, request),
            Up::Frame { connection, certificate, bytes } => self.frame(hub, node, connection, certificate, &bytes),
            Up::Closed { connection } => self.session_closed(node, connection, "the connection was closed"),
        }
        self.go_on(hub);
    }

    /// Takes a turn when there is something to take in and the disk is idle.
    pub(super) fn go_on(&mut self, hub: &mut Hub) {
        if !self.up || self.writing.is_some() || hub.now_ms < self.refused_until_ms {
            return;
        }
        let now = self.clock(hub.now_ms);
        let due = self.core.next_wake().is_some_and(|at| at <= now);
        if self.inbox.is_empty() && self.leftover.is_empty() && !due {
            return self.sleep(hub, now);
        }
        let first = std::mem::take(&mut self.leftover);
        let mut facts = first.clone();
        let dropped = std::mem::take(&mut self.dropped) + std::mem::take(&mut self.lost);
        let mut unwaited = 0;
        if dropped > 0 {
            facts.push(Fact::Appliance(ApplianceFact::FactsDropped { count: dropped }));
        }
        let mut promises = Vec::new();
        for submission in self.inbox.drain(..self.inbox.len().min(FACTS_PER_COMMIT_MAX)) {
            if submission.then.is_none() {
                unwaited += submission.facts.len() as u64;
            }
            facts.extend(submission.facts);
            promises.extend(submission.then);
        }
        let before = self.core.state().clone();
        let turn = self.core.turn(now, facts);
        if self.disk_full {
            return self.take_back(hub, before, (first, turn), dropped + unwaited, promises);
        }
        self.writing = Some(Written { turn, promises });
        let commit_ms = self.random.between(COMMIT_MS.0, COMMIT_MS.1);
        hub.after(commit_ms, Event::Committed { life: self.life });
    }

    /// The disk refused a turn: nothing of it has happened.
    fn take_back(
        &mut self,
        hub: &mut Hub,
        before: State,
        (first, turn): (Vec<Fact>, Turn),
        lost: u64,
        promises: Vec<Promise>,
    ) {
        hub.counts.turns_refused += 1;
        let now = self.clock(hub.now_ms);
        self.core.take_back(before, &turn, now.plus(REFUSED_PAUSE_MS));
        self.lost = lost;
        self.leftover = first;
        if !self.leftover.iter().any(|fact| matches!(fact, Fact::Appliance(ApplianceFact::JournalRefused { .. }))) {
            self.leftover.push(Fact::Appliance(ApplianceFact::JournalRefused { since: now }));
        }
        self.refused_until_ms = hub.now_ms + REFUSED_PAUSE_MS;
        hub.after(REFUSED_PAUSE_MS, Event::Wake { life: self.life });
        for promise in promises {
            self.refused(hub, promise);
        }
    }

    fn write(&mut self, turn: &Turn) {
        self.facts += turn.stamped.len() as u64;
        if let Err(error) = self.disk.append(&turn.stamped) {
            self.break_off(format!("the journal does not take a turn: {error}"));
        }
    }

    fn sleep(&mut self, hub: &mut Hub, now: UnixMs) {
        let Some(at) = self.core.next_wake() else { return };
        let wake_ms = hub.now_ms + at.since(now);
        // Whoever is woken too early goes back to sleep; being woken too late is what must not be.
        if self.wake_ms.is_none_or(|set_ms| wake_ms < set_ms || set_ms <= hub.now_ms) {
            self.wake_ms = Some(wake_ms);
            hub.schedule.at(wake_ms, Event::Wake { life: self.life });
        }
    }

    /// The engine's clock is due.
    pub(super) fn wake(&mut self, hub: &mut Hub) {
        if self.wake_ms.is_some_and(|set_ms| set_ms <= hub.now_ms) {
            self.wake_ms = None;
        }
        self.go_on(hub);
    }

    /// The disk has the turn.
    pub(super) fn committed(&mut self, hub: &mut Hub) {
        let Some(written) = self.writing.take() else { return };
        self.write(&written.turn);
        self.state = self.core.state().clone();
        let Written { turn, promises, .. } = written;
        let wishes: Vec<NodeId> = turn
            .stamped
            .iter()
            .filter(|stamped| matches!(stamped.fact, Fact::Operator(_)))
            .filter_map(|stamped| stamped.fact.node())
            .collect();
        self.shown.durable.extend(turn.stamped);
        for promise in promises {
            self.kept(hub, promise);
        }
        for node in wishes {
            self.tell_desired(hub, node);
        }
        for action in turn.actions {
            self.dispatch(hub, action);
        }
        self.go_on(hub);
    }

    fn dispatch(&mut self, hub: &mut Hub, action: Action) {
        match action.module.as_ref() {
            crate::plan::POWER_MODULE => self.power_action(hub, action),
            crate::sync::mutations::MODULE => self.agent_action(hub, action),
            module => {
                let reason = FailReason::ModuleUnavailable { module: module.to_owned(), detail: String::new() };
                let Action { node, step, generation, .. } = action;
                self.leftover.push(Fact::Outcome(OutcomeFact { node, step, generation, reason }));
            }
        }
    }
}
