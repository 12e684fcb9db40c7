//! The power broker and the BMCs behind it: one queue a BMC, one session at a time, so many at once in all, as `power` and
//! its worker do it.
//!
//! A session with a BMC is one piece here: it is opened, it may be asked something, it ends with an answer or a problem,
//! and each takes its time. Deliberately absent: IPMI's packets, users and passwords.

use std::collections::VecDeque;

use super::Appliance;
use super::boot::Promise;
use crate::fact::{BmcProblem, Fact, FailReason, OutcomeFact, PowerEvent, PowerFact, PowerOrder, PowerState};
use crate::model::{Generation, NodeId, VarPath};
use crate::port::Action;
use crate::power::mutations::names;
use crate::sim::fault::FaultKind;
use crate::sim::hub::{Event, Hub};

/// BMCs that are spoken to at once.
const BMCS_AT_ONCE_MAX: usize = 128;
/// Requests that wait for one BMC.
const JOBS_PER_BMC_MAX: usize = 16;
/// How long a machine is given to follow an order, and the pause between two looks, in milliseconds.
const FOLLOW_MS: (u64, u64) = (20_000, 400);
/// The pause between two looks at each machine's power, in milliseconds.
const POLL_MS: u64 = 30_000;
/// How long the client tries to open a session with a BMC that is silent, in milliseconds (1 + 2 + 4 + 4 + 4 s).
const SILENT_MS: u64 = 15_000;
/// How long opening a session and one command take, in milliseconds.
const SESSION_MS: (u64, u64) = (8, 60);
/// The same, of a slow BMC.
const SLOW_MS: (u64, u64) = (2_000, 10_000);

/// How the broker goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum BrokerEvent {
    /// A look in passing is due.
    Poll,
    /// The session is open; the order, if there is one, is given now.
    Opened,
    /// The BMC has answered, or has not.
    Ended { problem: Option<BmcProblem> },
    /// The machine is looked at again, whether it has followed.
    Look,
}

/// What a BMC is spoken to for.
#[derive(Debug)]
struct Job {
    order: PowerOrder,
    action: Option<Action>,
    /// Until when the machine may take to follow; nothing before the order was accepted.
    give_up_ms: Option<u64>,
}

impl Job {
    /// Whether the next session is to give the order, and not only to look.
    fn gives_order(&self) -> bool {
        self.order != PowerOrder::Probe && self.give_up_ms.is_none()
    }
}

#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<Action>,
    job: Option<Job>,
    slow: bool,
}

/// The queues.
#[derive(Debug)]
pub(in crate::sim) struct Broker {
    desks: Vec<Desk>,
    turns: usize,
    queue: VecDeque<usize>,
    /// What each machine's power really is, for its BMC to tell.
    pub(in crate::sim) truth: Vec<PowerState>,
}

impl Broker {
    pub(super) fn new(nodes: usize) -> Self {
        Broker {
            desks: (0..nodes).map(|_| Desk::default()).collect(),
            turns: 0,
            queue: VecDeque::new(),
            truth: vec![PowerState::Off; nodes],
        }
    }

    /// The process ends.
    pub(super) fn forget(&mut self) {
        self.desks.iter_mut().for_each(|desk| *desk = Desk::default());
        self.queue.clear();
        self.turns = 0;
    }
}

impl Appliance {
    /// Looks at each machine's power every so often, from now on.
    pub(in crate::sim) fn start_polling(&mut self, hub: &mut Hub) {
        for node in 0..self.broker.desks.len() {
            let offset_ms = self.tree.id_of(node).map_or(0, |id| u64::from(id.0.as_bytes()[0]) * POLL_MS / 256);
            self.poll_later(hub, node, POLL_MS + offset_ms);
        }
    }

    fn poll_later(&self, hub: &mut Hub, node: usize, pause_ms: u64) {
        hub.after(pause_ms, Event::Broker { life: self.life, node, event: BrokerEvent::Poll });
    }

    pub(super) fn power_action(&mut self, hub: &mut Hub, action: Action) {
        let Some(node) = self.tree.place_of(action.node) else { return };
        let Some(desk) = self.broker.desks.get_mut(node) else { return };
        if desk.waiting.len() >= JOBS_PER_BMC_MAX {
            let detail = "too many requests wait for the node's BMC".to_owned();
            let reason = FailReason::Bmc { problem: BmcProblem::NotConfigured, detail };
            let Action { node, step, generation, .. } = action;
            return self.offer(Fact::Outcome(OutcomeFact { node, step, generation, reason }));
        }
        desk.waiting.push_back(action);
        self.next_job(hub, node);
    }

    fn next_job(&mut self, hub: &mut Hub, node: usize) {
        loop {
            let Some(desk) = self.broker.desks.get_mut(node).filter(|desk| desk.job.is_none()) else { return };
            let Some(action) = desk.waiting.pop_front() else { return };
            if !self.wanted(action.node, action.generation) {
                continue;
            }
            let order = match action.step.mutation.as_ref() {
                names::DISCOVER => PowerOrder::Probe,
                names::ARM => PowerOrder::Arm,
                names::ON => PowerOrder::On,
                _ => PowerOrder::Off,
            };
            self.broker.desks[node].job = Some(Job { order, action: Some(action), give_up_ms: None });
            return self.open(hub, node);
        }
    }

    fn wanted(&self, id: NodeId, generation: Generation) -> bool {
        let flight = self.state.node(id).and_then(|node| node.in_flight.as_ref());
        flight.is_some_and(|flight| flight.generation == generation)
    }

    /// Waits for a turn, and opens a session.
    fn open(&mut self, hub: &mut Hub, node: usize) {
        if self.broker.turns >= BMCS_AT_ONCE_MAX {
            return self.broker.queue.push_back(node);
        }
        self.broker.turns += 1;
        let (pause_ms, event) = if hub.strikes(FaultKind::BmcSilent) {
            hub.counts.bmc_silent += 1;
            // Half of the time it is the order that is not answered.
            if self.broker.desks[node].job.as_ref().is_some_and(Job::gives_order) && self.random.chance(0.5) {
                self.give_order(hub, node, SESSION_MS.1);
            }
            (SILENT_MS, BrokerEvent::Ended { problem: Some(BmcProblem::NoAnswer) })
        } else if hub.strikes(FaultKind::BmcRefuses) {
            hub.counts.bmc_refusals += 1;
            (SESSION_MS.0, BrokerEvent::Ended { problem: Some(BmcProblem::Busy) })
        } else {
            let slow = hub.strikes(FaultKind::BmcSlow);
            hub.counts.bmc_slow += u64::from(slow);
            self.broker.desks[node].slow = slow;
            (self.session_ms(slow), BrokerEvent::Opened)
        };
        hub.after(pause_ms, Event::Broker { life: self.life, node, event });
    }

    fn session_ms(&mut self, slow: bool) -> u64 {
        let (least, most) = if slow { SLOW_MS } else { SESSION_MS };
        self.random.between(least, most)
    }

    /// The order leaves, and is taken in so many milliseconds, whatever becomes of the appliance meanwhile.
    fn give_order(&mut self, hub: &mut Hub, node: usize, pause_ms: u64) {
        let Some(job) = self.broker.desks[node].job.as_ref() else { return };
        let (order, sent_ms) = (job.order, hub.now_ms);
        hub.after(pause_ms, Event::Order { node, order, sent_ms });
    }

    /// Something about a BMC is due.
    pub(in crate::sim) fn broker(&mut self, hub: &mut Hub, node: usize, event: BrokerEvent) {
        match event {
            BrokerEvent::Poll => {
                self.poll_later(hub, node, POLL_MS);
                let idle = self.broker.desks.get(node).is_some_and(|desk| desk.job.is_none());
                if idle {
                    self.broker.desks[node].job =
                        Some(Job { order: PowerOrder::Probe, action: None, give_up_ms: None });
                    self.open(hub, node);
                }
            }
            BrokerEvent::Opened => self.opened(hub, node),
            BrokerEvent::Ended { problem } => self.ended(hub, node, problem),
            BrokerEvent::Look => self.open(hub, node),
        }
        self.go_on(hub);
    }

    fn opened(&mut self, hub: &mut Hub, node: usize) {
        let desk = &self.broker.desks[node];
        let slow = desk.slow;
        let Some(job) = desk.job.as_ref() else { return };
        let switches = matches!(job.order, PowerOrder::On | PowerOrder::Off) && job.give_up_ms.is_none();
        let asked = job.action.as_ref().map(|action| (action.node, action.generation));
        if switches && asked.is_some_and(|(id, generation)| !self.wanted(id, generation)) {
            // Opening the session has taken long enough for the engine to change its mind.
            return self.finish(hub, node);
        }
        let gives_order = job.gives_order();
        let answer_ms = self.session_ms(slow);
        if gives_order {
            self.give_order(hub, node, answer_ms / 2);
        }
        let event = BrokerEvent::Ended { problem: None };
        hub.after(answer_ms, Event::Broker { life: self.life, node, event });
    }

    /// The job is over: its turn goes to the next.
    fn finish(&mut self, hub: &mut Hub, node: usize) {
        self.broker.desks[node].job = None;
        self.leave_turn(hub);
        self.next_job(hub, node);
    }

    fn leave_turn(&mut self, hub: &mut Hub) {
        self.broker.turns = self.broker.turns.saturating_sub(1);
        if let Some(next) = self.broker.queue.pop_front() {
            self.open(hub, next);
        }
    }

    fn tell(&mut self, node: NodeId, event: PowerEvent) {
        self.submit(vec![Fact::Power(PowerFact { node, event })], Promise::Word);
    }

    /// What the BMC says of the machine's power.
    fn said(&mut self, hub: &mut Hub, node: usize) -> PowerState {
        let truth = self.broker.truth[node];
        if !hub.strikes(FaultKind::BmcLies) {
            return truth;
        }
        hub.counts.bmc_lies += 1;
        self.shown.lied.push(node);
        match truth {
            PowerState::On => PowerState::Off,
            PowerState::Off => PowerState::On,
        }
    }

    fn ended(&mut self, hub: &mut Hub, node: usize, problem: Option<BmcProblem>) {
        let Some(id) = self.tree.id_of(node) else { return };
        let Some(mut job) = self.broker.desks[node].job.take() else { return };
        if let Some(problem) = problem {
            self.trouble(id, &job, problem);
            return self.finish(hub, node);
        }
        if job.gives_order() {
            self.tell(id, PowerEvent::Accepted { order: job.order });
            if job.order == PowerOrder::Arm {
                return self.finish(hub, node);
            }
            job.give_up_ms = Some(hub.now_ms + FOLLOW_MS.0);
            self.broker.desks[node].job = Some(job);
            self.leave_turn(hub);
            return self.open(hub, node);
        }
        let power = self.said(hub, node);
        match (job.give_up_ms, job.action.is_some()) {
            (None, true) => self.tell(id, PowerEvent::Status { power }),
            (None, false) => self.looked(id, power),
            (Some(give_up_ms), _) => {
                let wanted = if job.order == PowerOrder::On { PowerState::On } else { PowerState::Off };
                if power == wanted {
                    self.tell(id, PowerEvent::Status { power });
                } else if hub.now_ms >= give_up_ms {
                    self.trouble(id, &job, BmcProblem::NoEffect);
                } else {
                    self.broker.desks[node].job = Some(job);
                    self.leave_turn(hub);
                    let event = BrokerEvent::Look;
                    return hub.after(FOLLOW_MS.1, Event::Broker { life: self.life, node, event });
                }
            }
        }
        self.finish(hub, node);
    }

    /// A look in passing is told only when it shows something new.
    fn looked(&mut self, id: NodeId, power: PowerState) {
        let Some(known) = self.state.node(id) else { return };
        let same = known.see_symbol(&VarPath::power()) == Some(power.as_str());
        if !same || known.last.bmc_problem.is_some() {
            self.tell(id, PowerEvent::Status { power });
        }
    }

    fn trouble(&mut self, id: NodeId, job: &Job, problem: BmcProblem) {
        let Some(known) = self.state.node(id) else { return };
        let detail = problem.to_string();
        let failed = PowerEvent::Failed { order: job.order, problem, detail: detail.clone() };
        match &job.action {
            None => {
                if known.last.bmc_problem != Some(problem) {
                    self.tell(id, failed);
                }
            }
            Some(action) if self.wanted(id, action.generation) => {
                self.tell(id, failed);
                let Action { node, step, generation, .. } = action.clone();
                let reason = FailReason::Bmc { problem, detail };
                self.submit(vec![Fact::Outcome(OutcomeFact { node, step, generation, reason })], Promise::Word);
            }
            Some(_) => {}
        }
    }
}
