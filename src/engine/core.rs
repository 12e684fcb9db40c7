//! One turn of the engine as a function of values: facts are stamped and folded, every node that they touch is
//! looked at, and decisions become facts of the same turn.
//!
//! Time comes in as an argument and leaves as [`Core::next_wake`]. Nothing here reads a clock or sends anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;

use crate::fact::{
    Declaration, EngineEvent, EngineFact, Fact, FleetFact, ModuleEvent, OperatorEvent, OutcomeFact, Stamped,
};
use crate::model::{Extension, FactSeq, Generation, Name, NodeId, UnixMs};
use crate::plan::{Decision, Failure, Graph, Hold, Planner, Policy, Work, decide, fail, mass_event};
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
    /// The graph of what is built in, to which modules from outside add.
    built_in: Graph,
    /// The declarations that the planner's graph was made of.
    declared: OrdMap<Name, Arc<Declaration>>,
    /// The variables that it was made over, besides the built-in ones.
    described: OrdMap<Name, Arc<Extension>>,
    planner: Planner,
    policy: Policy,
    wake_of: BTreeMap<NodeId, UnixMs>,
    wakes: BTreeSet<(UnixMs, NodeId)>,
    /// Nodes whose next step waits for something that is not of the node: a mass event, or their turn.
    held: BTreeSet<NodeId>,
    /// The nodes that had turned bad when that was last looked at.
    bad_seen: OrdMap<NodeId, UnixMs>,
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
        let built_in = planner.graph().clone();
        let (wake_of, wakes, held) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (declared, described, bad_seen) = (OrdMap::new(), OrdMap::new(), OrdMap::new());
        let mut core = Core { state, built_in, declared, described, planner, policy, wake_of, wakes, held, bad_seen };
        core.follow_modules();
        core
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
        self.follow_modules();
        self.watch_fleet(now, &mut turn);
        for node in turn.touched.clone() {
            self.settle(now, node, &mut turn);
        }
        self.let_the_next_go(now, &mut turn);
        turn
    }

    /// The policy by which it decides.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How many searches for plans were made.
    #[must_use]
    pub fn searches(&self) -> u64 {
        self.planner.searches()
    }

    /// Plans with what modules from outside declare and the variables that are described, as soon as that changes.
    fn follow_modules(&mut self) {
        let (declared, described) = (&self.state.control.modules, self.state.schema.added());
        let same_modules = declared.ptr_eq(&self.declared) || *declared == self.declared;
        if same_modules && (described.ptr_eq(&self.described) || *described == self.described) {
            return;
        }
        (self.declared, self.described) = (declared.clone(), described.clone());
        self.planner = Planner::following(self.built_in.with_modules(&self.state), &self.state.control);
    }

    /// Notices when so many nodes turned bad that it is a mass event, and when they are all well again.
    fn watch_fleet(&mut self, now: UnixMs, turn: &mut Turn) {
        let control = &self.state.control;
        if control.mass_event.is_some() && control.turned_bad.is_empty() {
            self.take(now, Fact::Fleet(FleetFact::MassEventPassed), turn);
        } else if !control.turned_bad.ptr_eq(&self.bad_seen) {
            self.bad_seen = control.turned_bad.clone();
            let nodes = u64::try_from(self.state.nodes.len()).unwrap_or(u64::MAX);
            if let Some((bad, of)) = mass_event(control, nodes, &self.policy, now) {
                let window_ms = self.policy.mass_window_ms;
                self.take(now, Fact::Fleet(FleetFact::MassEvent { bad, of, window_ms }), turn);
            }
        }
    }

    /// Looks again at the nodes that waited for others, until one still has to wait.
    fn let_the_next_go(&mut self, now: UnixMs, turn: &mut Turn) {
        self.watch_fleet(now, turn);
        if self.state.control.mass_event.is_some() {
            return;
        }
        // First those that were stopped half-way: the others may wait for their places.
        let disturbed = &self.state.control.disrupted;
        let half_way: Vec<NodeId> = self.held.iter().filter(|node| disturbed.contains(*node)).copied().collect();
        for node in half_way {
            self.settle(now, node, turn);
            turn.touched.insert(node);
        }
        while let Some(node) = self.held.first().copied() {
            self.settle(now, node, turn);
            turn.touched.insert(node);
            if self.held.contains(&node) {
                return;
            }
        }
    }

    /// Takes back a turn that could not be journaled: `before` is the state before it. Its nodes are looked at
    /// again at `again`.
    pub fn take_back(&mut self, before: State, turn: &Turn, again: UnixMs) {
        self.state = before;
        // What a later turn switches may be numbered as what this one did.
        self.planner.follow(&self.state.control);
        self.follow_modules();
        for node in &turn.touched {
            self.set_wake(*node, Some(again));
        }
    }

    fn touch(&self, fact: &Fact, turn: &mut Turn) {
        match fact {
            Fact::Appliance(_) => turn.touched.extend(self.state.nodes.keys()),
            Fact::Operator(_) | Fact::Module(_) if is_about_all(fact) => turn.touched.extend(self.state.nodes.keys()),
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
        self.held.remove(&id);
        for _ in 0..MOVES_PER_TURN_MAX {
            let Some(node) = self.state.node(id).cloned() else { return self.set_wake(id, None) };
            let event = match decide(&node, &self.state.control, &mut self.planner, &self.policy, now) {
                Decision::AtGoal if node.at_goal => return self.set_wake(id, None),
                Decision::AtGoal => EngineEvent::GoalReached,
                Decision::Wait { until } | Decision::BackOff { until } => {
                    return self.set_wake(id, Some(until));
                }
                Decision::Held { hold: Hold::MassEvent { .. } | Hold::Queued { .. }, .. } => {
                    self.held.insert(id);
                    return self.set_wake(id, None);
                }
                Decision::Held { .. } | Decision::Quarantined | Decision::NoPlan(_) => return self.set_wake(id, None),
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
                    let disruption = mutation.map(|m| m.disruption).unwrap_or_default();
                    if let Some(mutation) = mutation.filter(|m| m.work == Work::Act) {
                        let module = mutation.module.clone();
                        let action = Action { module, node: id, step: step.clone(), generation, deadline };
                        turn.actions.push(action);
                    }
                    EngineEvent::StepStarted { step, generation, deadline, disruption }
                }
            };
            let failed = matches!(event, EngineEvent::StepFailed { .. });
            self.decided(now, id, event, turn);
            if failed {
                self.watch_fleet(now, turn);
            }
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

/// Whether every node has to be looked at again because of it.
fn is_about_all(fact: &Fact) -> bool {
    match fact {
        Fact::Operator(operator) => {
            fact.node().is_none() && !matches!(operator.event, OperatorEvent::ClusterNamed { .. })
        }
        Fact::Module(module) => matches!(module.event, ModuleEvent::Declared { .. } | ModuleEvent::Removed),
        _ => false,
    }
}
