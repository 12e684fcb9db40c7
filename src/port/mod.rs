//! The only channels between the edges and the engine: facts in; snapshots of state, journaled facts and actions out.
//!
//! An edge never changes state and never waits for a lock: it reads a snapshot, sends facts, and where it must
//! not answer before a fact is durable (a lease, a join) it waits for the journal's word.
//!
//! Absent on purpose: what facts mean, and who acts on an action.

pub mod access;
pub mod boot_answer;
pub mod control;
pub mod describe;
pub mod document;
pub mod enumerable;
pub mod graph;
pub mod health;
pub mod history;
pub mod lease;
pub mod machine;
pub mod many;
pub mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fact::{Fact, Stamped, StepName};
use crate::model::limits::FACT_QUEUE_MAX;
use crate::model::{FactSeq, Generation, NodeId, UnixMs};
use crate::plan::Mutation;
use crate::state::State;

/// Facts on their way to the engine, all journaled together or not at all.
#[derive(Debug)]
pub struct Submission {
    /// The facts, in order.
    pub facts: Vec<Fact>,
    /// Who waits for them to be durable.
    pub ack: Option<oneshot::Sender<Result<FactSeq, SubmitError>>>,
}

/// Why facts were not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The journal could not store them.
    #[error("the journal could not store it: {detail}; nothing was changed")]
    NotDurable {
        /// The journal's error.
        detail: String,
    },
    /// The engine has stopped.
    #[error("the appliance is shutting down; nothing was changed")]
    Stopped,
}

/// The edges' end of the way to the engine.
#[derive(Debug, Clone)]
pub struct FactSender {
    queue: mpsc::Sender<Submission>,
    dropped: Arc<AtomicU64>,
}

/// The engine's end of the way from the edges.
#[derive(Debug)]
pub struct FactReceiver {
    /// What the edges sent.
    pub queue: mpsc::Receiver<Submission>,
    dropped: Arc<AtomicU64>,
}

/// The way from the edges to the engine, bounded by [`FACT_QUEUE_MAX`].
#[must_use]
pub fn fact_channel() -> (FactSender, FactReceiver) {
    let (sender, queue) = mpsc::channel(FACT_QUEUE_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    (FactSender { queue: sender, dropped: dropped.clone() }, FactReceiver { queue, dropped })
}

impl FactSender {
    /// Sends facts and waits until they are durable and folded: the snapshot that is read after this has them.
    ///
    /// # Errors
    /// When the journal could not store them, or the engine has stopped; none of them has had an effect then.
    pub async fn submit(&self, facts: Vec<Fact>) -> Result<FactSeq, SubmitError> {
        let (ack, word) = oneshot::channel();
        let submission = Submission { facts, ack: Some(ack) };
        self.queue.send(submission).await.map_err(|_| SubmitError::Stopped)?;
        word.await.map_err(|_| SubmitError::Stopped)?
    }

    /// Sends a fact without waiting. When the queue is full the fact is dropped and counted, and the count becomes
    /// a fact of its own.
    pub fn offer(&self, fact: Fact) {
        let submission = Submission { facts: vec![fact], ack: None };
        if self.queue.try_send(submission).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl FactReceiver {
    /// How many facts were dropped since this was last asked.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// Reads the newest snapshot of the state.
#[derive(Debug, Clone)]
pub struct StateReader(pub watch::Receiver<Arc<State>>);

impl StateReader {
    /// The newest snapshot.
    #[must_use]
    pub fn now(&self) -> Arc<State> {
        self.0.borrow().clone()
    }
}

/// Facts as they are journaled, for those who follow.
#[derive(Debug, Clone)]
pub struct FactFeed(pub broadcast::Sender<Arc<Stamped<Fact>>>);

/// What the engine asks a module to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The module.
    pub module: Arc<str>,
    /// The node.
    pub node: NodeId,
    /// What.
    pub step: StepName,
    /// Which request; an answer to an older one is disregarded.
    pub generation: Generation,
    /// When the engine stops waiting for it.
    pub deadline: UnixMs,
}

/// What a module is given when it starts.
#[derive(Debug)]
pub struct ModuleContext {
    /// Where its facts go.
    pub facts: FactSender,
    /// What it reads.
    pub state: StateReader,
    /// What it is asked to do.
    pub actions: mpsc::Receiver<Action>,
    /// When it must stop.
    pub shutdown: CancellationToken,
}

/// Code that discovers variables and performs mutations.
pub trait Module: Send {
    /// Its name, by which its mutations name it.
    fn name(&self) -> Arc<str>;
    /// The mutations that it declares.
    fn mutations(&self) -> Vec<Mutation>;
    /// Spawns its tasks and returns.
    fn start(self: Box<Self>, context: ModuleContext, tasks: &mut JoinSet<()>);
}
