//! Power: the broker that gives every BMC its own queue, and the module that the engine asks.
//!
//! One worker a node speaks to that node's BMC, one request at a time, with a session for each request that is
//! always closed: BMCs have few sessions and little patience. Between requests it asks for the power state every
//! so often, and tells only what has changed. How many BMCs are spoken to at once is bounded.
//!
//! Absent on purpose: deciding anything about power, and drivers other than IPMI.

pub mod ipmi;
pub mod mutations;
#[cfg(test)]
mod tests;
pub mod vault;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::vault::Vault;
use self::worker::{Job, Worker};
use crate::fact::{BmcProblem, Fact, FailReason, OutcomeFact, PowerState};
use crate::model::NodeId;
use crate::plan::{Mutation, POWER_MODULE};
use crate::port::{FactSender, Module, ModuleContext, StateReader};
use crate::state::Node;

/// BMCs that are spoken to at once; the other workers wait for their turn.
const BMCS_AT_ONCE_MAX: usize = 128;
/// Requests that wait for one BMC; a further one is refused at once.
const JOBS_PER_BMC_MAX: usize = 16;
/// Probes that wait for the broker.
const PROBES_MAX: usize = 1_024;

/// What a BMC was asked by hand, and who waits for the answer.
#[derive(Debug)]
struct Probe {
    node: NodeId,
    answer: oneshot::Sender<Result<PowerState, String>>,
}

/// Asks BMCs on behalf of an operator.
#[derive(Debug, Clone)]
pub struct PowerHandle(mpsc::Sender<Probe>);

impl PowerHandle {
    /// Asks the node's BMC whether the machine has power. The answer is a fact, too.
    ///
    /// # Errors
    /// The BMC's problem, in words.
    pub async fn probe(&self, node: NodeId) -> Result<PowerState, String> {
        let (answer, word) = oneshot::channel();
        let stopped = || "the appliance is shutting down".to_owned();
        self.0.send(Probe { node, answer }).await.map_err(|_| stopped())?;
        word.await.map_err(|_| stopped())?
    }
}

/// The power module.
#[derive(Debug)]
pub struct PowerModule {
    vault: Arc<Vault>,
    poll: Duration,
    probes: mpsc::Receiver<Probe>,
}

impl PowerModule {
    /// A module that opens passwords with `vault` and asks each BMC for its power state every `poll`.
    #[must_use]
    pub fn new(vault: Arc<Vault>, poll: Duration) -> (Self, PowerHandle) {
        let (sender, probes) = mpsc::channel(PROBES_MAX);
        (PowerModule { vault, poll, probes }, PowerHandle(sender))
    }
}

impl Module for PowerModule {
    fn name(&self) -> Arc<str> {
        POWER_MODULE.into()
    }

    fn mutations(&self) -> Vec<Mutation> {
        mutations::mutations()
    }

    fn start(self: Box<Self>, context: ModuleContext, tasks: &mut JoinSet<()>) {
        tasks.spawn(Broker::new(*self, context).run());
    }
}

type NodeChange<'a, 'b> = imbl::ordmap::DiffItem<'a, 'b, NodeId, Arc<Node>>;

/// The queues, one a BMC.
struct Broker {
    module: PowerModule,
    context: ModuleContext,
    queues: HashMap<NodeId, mpsc::Sender<Job>>,
    /// The nodes for which there are workers as they should be.
    known: OrdMap<NodeId, Arc<Node>>,
    workers: JoinSet<NodeId>,
    turns: Arc<Semaphore>,
}

impl Broker {
    fn new(module: PowerModule, context: ModuleContext) -> Self {
        Broker {
            module,
            context,
            queues: HashMap::new(),
            known: OrdMap::new(),
            workers: JoinSet::new(),
            turns: Arc::new(Semaphore::new(BMCS_AT_ONCE_MAX)),
        }
    }

    async fn run(mut self) {
        let shutdown = self.context.shutdown.clone();
        loop {
            self.staff();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(action) = self.context.actions.recv() => {
                    // The action may be the first for a node that was described in the same turn of the engine.
                    self.staff();
                    let outcome = OutcomeFact {
                        node: action.node,
                        step: action.step.clone(),
                        generation: action.generation,
                        reason: not_configured(),
                    };
                    if self.give(action.node, Job::Action(action)).is_err() {
                        self.context.facts.offer(Fact::Outcome(outcome));
                    }
                }
                Some(probe) = self.module.probes.recv() => {
                    self.staff();
                    let Probe { node, answer } = probe;
                    if let Err(Job::Probe(answer)) = self.give(node, Job::Probe(answer)) {
                        // Whoever asked may have gone away meanwhile.
                        let _ = answer.send(Err("the node has no BMC in its description".into()));
                    }
                }
                Some(ended) = self.workers.join_next() => {
                    if let Ok(node) = ended {
                        self.ended(node);
                    }
                }
                changed = self.context.state.0.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
            }
        }
        while self.workers.join_next().await.is_some() {}
    }

    /// Every node with a BMC has a worker, and no other: a worker whose queue is gone drops what waits in it and ends. Only
    /// what differs from the last look is looked at.
    fn staff(&mut self) {
        let state = self.context.state.0.borrow_and_update().clone();
        let known = std::mem::replace(&mut self.known, state.nodes.clone());
        let has_bmc = |node: &Node| node.spec.bmc.is_some();
        for item in known.diff(&state.nodes) {
            match item {
                NodeChange::Add(id, node) if has_bmc(node) => self.hire(*id),
                NodeChange::Update { old: (_, before), new: (id, after) } => match (has_bmc(before), has_bmc(after)) {
                    (false, true) => self.hire(*id),
                    (true, false) => drop(self.queues.remove(id)),
                    _ => {}
                },
                NodeChange::Remove(id, _) => drop(self.queues.remove(id)),
                NodeChange::Add(..) => {}
            }
        }
    }

    fn hire(&mut self, node: NodeId) {
        let (queue, jobs) = mpsc::channel(JOBS_PER_BMC_MAX);
        let worker = Worker {
            node,
            tools: Tools {
                vault: self.module.vault.clone(),
                facts: self.context.facts.clone(),
                state: self.context.state.clone(),
                turns: self.turns.clone(),
            },
            poll: self.module.poll,
            shutdown: self.context.shutdown.clone(),
        };
        self.workers.spawn(worker.run(jobs));
        self.queues.insert(node, queue);
    }

    /// A worker that found its node without a BMC may have a successor already, or need one.
    fn ended(&mut self, node: NodeId) {
        if !self.queues.get(&node).is_some_and(mpsc::Sender::is_closed) {
            return;
        }
        self.queues.remove(&node);
        if self.known.get(&node).is_some_and(|node| node.spec.bmc.is_some()) {
            self.hire(node);
        }
    }

    fn give(&self, node: NodeId, job: Job) -> Result<(), Job> {
        match self.queues.get(&node) {
            Some(queue) => queue.try_send(job).map_err(mpsc::error::TrySendError::into_inner),
            None => Err(job),
        }
    }
}

fn not_configured() -> FailReason {
    FailReason::Bmc {
        problem: BmcProblem::NotConfigured,
        detail: "the node's BMC has no worker, or too many requests wait for it".into(),
    }
}

/// What every worker works with.
#[derive(Debug, Clone)]
struct Tools {
    vault: Arc<Vault>,
    facts: FactSender,
    state: StateReader,
    turns: Arc<Semaphore>,
}

/// Ends when the appliance stops.
type Shutdown = CancellationToken;
