//! The loop: facts in, journal, fold, decide, actions out. The only writer of the journal and of the state.
//!
//! [`core`] is the loop's inside, a function of values, so that a simulator can drive it with another clock.
//! This file is its outside: a thread of its own that gathers what has arrived, lets the core take a turn, makes
//! the turn durable, and only then tells anybody.
//!
//! Invariants: nothing is published, acknowledged or dispatched before it is durable; a turn that could not be
//! stored has not happened.

pub mod core;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::core::{Core, Turn};
use crate::fact::{ApplianceFact, Fact, FailReason, OperatorEvent, OutcomeFact, Stamped};
use crate::journal::{Journal, JournalError, Recovered};
use crate::model::limits::FACTS_PER_COMMIT_MAX;
use crate::model::{FactSeq, UnixMs};
use crate::plan::{Graph, Planner, Policy};
use crate::port::health::JournalHealth;
use crate::port::{Action, FactReceiver, Submission, SubmitError};
use crate::state::State;

/// How many journaled facts a slow follower may be behind before it is told that it missed some.
const FEED_BACKLOG_MAX: usize = 8_192;
/// The pause before the engine looks again when the journal refused a turn.
const RETRY_AFTER_REFUSAL_MS: u64 = 1_000;

/// The appliance's clock: the computer's as it was when this was first called, and from then on steady. A clock that is
/// set while the appliance runs must not make every step of every node run out of time at once.
#[must_use]
pub fn now() -> UnixMs {
    static ORIGIN: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (started, since_1970) =
        ORIGIN.get_or_init(|| (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)));
    let now = *since_1970 + started.elapsed();
    UnixMs(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// The engine, ready to run.
#[derive(Debug)]
pub struct Engine {
    core: Core,
    journal: Journal,
    /// What a start found to be said about the journal; it is journaled after the start itself.
    notes: Vec<ApplianceFact>,
    /// Facts that nobody waited for, of turns that the journal refused.
    lost: u64,
    snapshots: watch::Sender<Arc<State>>,
    feed: broadcast::Sender<Arc<Stamped<Fact>>>,
    modules: HashMap<Arc<str>, mpsc::Sender<Action>>,
    /// What is said with the first turn.
    at_start: Vec<Fact>,
}

type Ack = oneshot::Sender<Result<FactSeq, SubmitError>>;

impl Engine {
    /// Replays the journal; nothing is decided yet.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn replay(mut journal: Journal, graph: Graph, policy: Policy) -> Result<Self, JournalError> {
        let Recovered { state, notes, .. } = journal.recover()?;
        let snapshots = watch::Sender::new(Arc::new(state.clone()));
        let core = Core::new(state, Planner::new(graph), policy);
        let feed = broadcast::Sender::new(FEED_BACKLOG_MAX);
        let (modules, at_start) = (HashMap::new(), Vec::new());
        Ok(Engine { core, journal, notes, lost: 0, snapshots, feed, modules, at_start })
    }

    /// Freezes everything with the first turn, before anything can be started; unless it is frozen already.
    pub fn start_frozen(&mut self) {
        if self.core.state().control.frozen.is_none() {
            self.at_start.push(Fact::Operator(OperatorEvent::Frozen { node: None }.into()));
        }
    }

    /// The snapshots that the engine publishes.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<State>> {
        self.snapshots.subscribe()
    }

    /// The facts that the engine journals.
    #[must_use]
    pub fn feed(&self) -> broadcast::Sender<Arc<Stamped<Fact>>> {
        self.feed.clone()
    }

    /// How the journal does.
    #[must_use]
    pub fn journal_health(&self) -> watch::Receiver<JournalHealth> {
        self.journal.health()
    }

    /// Where the actions for a module go.
    pub fn add_module(&mut self, name: &str, actions: mpsc::Sender<Action>) {
        self.modules.insert(name.into(), actions);
    }

    /// Runs until `shutdown`, with the facts that arrive at `facts`. What has arrived by then is still journaled.
    pub async fn run(mut self, mut facts: FactReceiver, shutdown: CancellationToken) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let mut leftover = vec![Fact::Appliance(ApplianceFact::Started { version })];
        leftover.extend(self.notes.drain(..).map(Fact::Appliance));
        leftover.append(&mut self.at_start);
        let mut batch = Vec::new();
        loop {
            match self.turn(std::mem::take(&mut leftover), std::mem::take(&mut batch), &facts) {
                Ok(made) => leftover = made,
                Err(refused) => {
                    // Nobody else will say again what the engine itself had to say, the start above all.
                    leftover = refused;
                    if !leftover
                        .iter()
                        .any(|fact| matches!(fact, Fact::Appliance(ApplianceFact::JournalRefused { .. })))
                    {
                        // It also makes the engine try until there is space, although nobody sends anything.
                        leftover.push(Fact::Appliance(ApplianceFact::JournalRefused { since: now() }));
                    }
                    tokio::time::sleep(Duration::from_millis(RETRY_AFTER_REFUSAL_MS)).await;
                    // Whoever waits for the journal's word meanwhile gets it with the next try.
                    while batch.len() < FACTS_PER_COMMIT_MAX
                        && let Ok(submission) = facts.queue.try_recv()
                    {
                        batch.push(submission);
                    }
                }
            }
            let waiting = !leftover.is_empty() || !batch.is_empty();
            if waiting && !shutdown.is_cancelled() {
                continue;
            }
            let pause =
                self.core.next_wake().map_or(Duration::from_secs(3600), |at| Duration::from_millis(at.since(now())));
            tokio::select! {
                received = facts.queue.recv_many(&mut batch, FACTS_PER_COMMIT_MAX) => {
                    if received == 0 { return; }
                }
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => break,
            }
        }
        facts.queue.close();
        let mut last = Vec::new();
        while facts.queue.recv_many(&mut last, FACTS_PER_COMMIT_MAX).await > 0 {
            let made = self.turn(Vec::new(), std::mem::take(&mut last), &facts);
            tracing::debug!(?made, "what follows is left to the next start");
        }
        let stopped = self.turn(vec![Fact::Appliance(ApplianceFact::Stopped)], Vec::new(), &facts);
        tracing::debug!(?stopped, "the engine has stopped");
    }

    /// One turn: everything of `first`, then everything of `batch`. Returns the facts that dispatching made, or `first`
    /// when the journal refused the turn.
    fn turn(&mut self, first: Vec<Fact>, batch: Vec<Submission>, queue: &FactReceiver) -> Result<Vec<Fact>, Vec<Fact>> {
        let mut taken = first.clone();
        let mut acks: Vec<Ack> = Vec::new();
        let dropped = queue.take_dropped() + std::mem::take(&mut self.lost);
        if dropped > 0 {
            taken.push(Fact::Appliance(ApplianceFact::FactsDropped { count: dropped }));
        }
        let mut unwaited = 0;
        for submission in batch {
            if submission.ack.is_none() {
                unwaited += submission.facts.len() as u64;
            }
            taken.extend(submission.facts);
            acks.extend(submission.ack);
        }
        let before = self.core.state().clone();
        let turn = self.core.turn(now(), taken);
        if let Err(error) = self.journal.append(&turn.stamped) {
            tracing::warn!(%error, "the journal refused a turn; nothing of it has happened");
            self.lost = dropped + unwaited;
            self.core.take_back(before, &turn, now().plus(RETRY_AFTER_REFUSAL_MS));
            for ack in acks {
                let refusal = SubmitError::NotDurable { detail: error.to_string() };
                // Whoever asked may have gone away meanwhile; there is nobody left to tell.
                let _ = ack.send(Err(refusal));
            }
            return Err(first);
        }
        Ok(self.publish(turn, acks))
    }

    fn publish(&mut self, turn: Turn, acks: Vec<Ack>) -> Vec<Fact> {
        if let Some(last) = turn.stamped.last() {
            self.journal.keep(self.core.state(), last.at);
            self.snapshots.send_replace(Arc::new(self.core.state().clone()));
        }
        for stamped in turn.stamped {
            tracing::debug!(seq = stamped.seq.0, kind = stamped.fact.kind(), what = stamped.fact.sentence(), "fact");
            // Nobody may be following.
            let _ = self.feed.send(Arc::new(stamped));
        }
        // Last, so that whoever has the word finds the fact in the snapshot and in the feed.
        let seq = self.core.state().seq;
        for ack in acks {
            let _ = ack.send(Ok(seq));
        }
        turn.actions.into_iter().filter_map(|action| self.dispatch(action)).collect()
    }

    fn dispatch(&self, action: Action) -> Option<Fact> {
        let module = action.module.clone();
        let queue = self.modules.get(&module);
        let refused = match queue.map(|queue| queue.try_send(action.clone())) {
            Some(Ok(())) => return None,
            Some(Err(_)) | None => action,
        };
        Some(Fact::Outcome(OutcomeFact {
            node: refused.node,
            step: refused.step,
            generation: refused.generation,
            reason: FailReason::ModuleUnavailable { module: module.to_string(), detail: String::new() },
        }))
    }
}
