//! One turn of the engine as a function of values: facts are stamped and folded, every node that they touch is
//! looked at, and decisions become facts of the same turn.
//!
//! Time comes in as an argument and leaves as [`Core::next_wake`]. Nothing here reads a clock or sends anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::fact::{EngineEvent, EngineFact, Fact, OperatorEvent, OutcomeFact, Stamped};
use crate::model::{FactSeq, Generation, NodeId, UnixMs};
use crate::plan::{Decision, Failure, Planner, Policy, Work, decide, fail};
use crate::port::Action;
use crate::state::State;

/// Moves that one node may make in one turn. A well-formed graph needs a handful; beyond it the node waits for the
/// next turn, so that a wrong declaration cannot hold the loop.
const MOVES_PER_TURN_MAX: usize = 32;
/// When a node that used up its moves is looked at again, in milliseconds.
const MOVES_PAUSE_MS: u64 = 100;

/// The state, and when which node must be looked at again.
#[derive(Debug)]
pub struct Core {
    state: State,
    planner: Planner,
    policy: Policy,
    wake_of: BTreeMap<NodeId, UnixMs>,
    wakes: BTreeSet<(UnixMs, NodeId)>,
}

/// What one turn made.
#[derive(Debug, Default)]
pub struct Turn {
    /// What must be journaled, in order.
    pub stamped: Vec<Stamped<Fact>>,
    /// What must be done once it is.
    pub actions: Vec<Action>,
    touched: BTreeSet<NodeId>,
}

impl Core {
    /// A core over a replayed state.
    #[must_use]
    pub fn new(state: State, planner: Planner, policy: Policy) -> Self {
        Core { state, planner, policy, wake_of: BTreeMap::new(), wakes: BTreeSet::new() }
    }

    /// The state after the last turn.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// When a turn is due although no fact arrives.
    #[must_use]
    pub fn next_wake(&self) -> Option<UnixMs> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Takes `facts` in at `now`, and decides what follows.
    pub fn turn(&mut self, now: UnixMs, facts: Vec<Fact>) -> Turn {
        let mut turn = Turn::default();
        for fact in facts {
            self.touch(&fact, &mut turn);
            let outcome = match &fact {
                Fact::Outcome(outcome) => Some(outcome.clone()),
                _ => None,
            };
            self.take(now, fact, &mut turn);
            if let Some(outcome) = outcome {
                self.take_outcome(now, outcome, &mut turn);
            }
        }
        while let Some((at, node)) = self.wakes.first().copied()
            && at <= now
        {
            self.set_wake(node, None);
            turn.touched.insert(node);
        }
        for node in turn.touched.clone() {
            self.settle(now, node, &mut turn);
        }
        turn
    }

    /// Takes back a turn that could not be journaled: `before` is the state before it. Its nodes are looked at
    /// again at `again`.
    pub fn take_back(&mut self, before: State, turn: &Turn, again: UnixMs) {
        self.state = before;
        for node in &turn.touched {
            self.set_wake(*node, Some(again));
        }
    }

    fn touch(&self, fact: &Fact, turn: &mut Turn) {
        match fact {
            Fact::Appliance(_) => turn.touched.extend(self.state.nodes.keys()),
            Fact::Operator(operator) => match &operator.event {
                OperatorEvent::CakeDescribed { .. } => turn.touched.extend(self.state.nodes.keys()),
                _ => turn.touched.extend(fact.node()),
            },
            _ => turn.touched.extend(fact.node()),
        }
    }

    fn take(&mut self, now: UnixMs, fact: Fact, turn: &mut Turn) {
        let stamped = Stamped { seq: FactSeq(self.state.seq.0 + 1), at: now, fact };
        self.state.apply(&stamped);
        turn.stamped.push(stamped);
    }

    fn decided(&mut self, now: UnixMs, node: NodeId, event: EngineEvent, turn: &mut Turn) {
        self.take(now, Fact::Engine(EngineFact { node, event }), turn);
    }

    /// A module's word that it could not do what it was asked counts only for the request that is under way.
    fn take_outcome(&mut self, now: UnixMs, outcome: OutcomeFact, turn: &mut Turn) {
        let Some(node) = self.state.node(outcome.node).cloned() else { return };
        let current =
            node.in_flight.as_ref().is_some_and(|f| f.generation == outcome.generation && f.step == outcome.step);
        if current {
            let failure = Failure { step: outcome.step, reason: outcome.reason };
            let event = fail(&node, &self.planner, &self.policy, failure, now);
            self.decided(now, node.id, event, turn);
        }
    }

    /// Lets one node make its moves until there is something to wait for.
    fn settle(&mut self, now: UnixMs, id: NodeId, turn: &mut Turn) {
        for _ in 0..MOVES_PER_TURN_MAX {
            let Some(node) = self.state.node(id).cloned() else { return self.set_wake(id, None) };
            let event = match decide(&node, &mut self.planner, &self.policy, now) {
                Decision::AtGoal if node.at_goal => return self.set_wake(id, None),
                Decision::AtGoal => EngineEvent::GoalReached,
                Decision::Wait { until } | Decision::BackOff { until } => {
                    return self.set_wake(id, Some(until));
                }
                Decision::Quarantined | Decision::NoPlan(_) => return self.set_wake(id, None),
                Decision::Done { flight } => {
                    let duration_ms = now.since(flight.started_at);
                    EngineEvent::StepDone { step: flight.step, duration_ms }
                }
                Decision::Superseded { flight } => EngineEvent::StepSuperseded { step: flight.step },
                Decision::TimedOut { flight } => {
                    let waited_ms = now.since(flight.started_at);
                    let reason = crate::fact::FailReason::TimedOut { waited_ms };
                    let failure = Failure { step: flight.step, reason };
                    fail(&node, &self.planner, &self.policy, failure, now)
                }
                Decision::Start { step, deadline } => {
                    let generation = Generation(node.generation.0 + 1);
                    let mutation = self.planner.graph().get(&step.mutation);
                    if let Some(mutation) = mutation.filter(|m| m.work == Work::Act) {
                        let module = mutation.module;
                        let action = Action { module, node: id, step: step.clone(), generation, deadline };
                        turn.actions.push(action);
                    }
                    EngineEvent::StepStarted { step, generation, deadline }
                }
            };
            self.decided(now, id, event, turn);
        }
        self.set_wake(id, Some(now.plus(MOVES_PAUSE_MS)));
    }

    fn set_wake(&mut self, node: NodeId, at: Option<UnixMs>) {
        if let Some(old) = self.wake_of.remove(&node) {
            self.wakes.remove(&(old, node));
        }
        if let Some(at) = at {
            self.wake_of.insert(node, at);
            self.wakes.insert((at, node));
        }
    }
}
