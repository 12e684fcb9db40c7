//! The sessions that are up, one a node, and the order in which their ends and beginnings take effect.
//!
//! Invariants: whoever changes which session a node has holds the node's turn meanwhile, so two joins with one token, or
//! two connections of one node, never interleave; a session that was replaced has said its last before the next one says
//! its first.
//! Deliberately absent: what a session does (`attend`), and whether a certificate or token is right (`accept`, `join`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedMutexGuard, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::session::Variables;
use crate::model::{Digest, NodeId};
use crate::port::Action;

/// Nodes share this many turns by a hash of their ids: enough that two rarely meet, and no table that grows.
const TURNS: usize = 1024;
/// Steps that wait for one session; more than a plan ever has under way at a time.
pub const ACTIONS_PER_SESSION_MAX: usize = 64;
/// How long a replaced session may take to say its last.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What others need of a session that is up.
#[derive(Debug)]
struct Entry {
    session: u64,
    actions: mpsc::Sender<Action>,
    desired: watch::Sender<Variables>,
    stop: CancellationToken,
    /// Closed when the session has said its last.
    over: watch::Receiver<()>,
}

/// A session's own end of its entry.
#[derive(Debug)]
pub struct Seat {
    /// The session's number.
    pub session: u64,
    /// Steps to be asked for.
    pub actions: mpsc::Receiver<Action>,
    /// What is desired of the node.
    pub desired: watch::Receiver<Variables>,
    /// Cancelled when the session is replaced.
    pub stop: CancellationToken,
    /// Dropped when the session has said its last.
    pub over: watch::Sender<()>,
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The node's session has it.
    Taken,
    /// The node has joined and is about to connect: it waits for that.
    Parked,
}

/// A join that was granted and whose certificate was not seen in use yet: its answer may have been lost.
#[derive(Debug)]
pub struct Granted {
    /// The digest of the token.
    pub token: Digest,
    /// The digest of the certificate request.
    pub request: Digest,
    /// The answer.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the engine wants of the node already: it plans with the join, and the session is a moment later.
    pub parked: Vec<Action>,
}

/// The sessions that are up.
#[derive(Debug)]
pub struct Registry {
    turns: Vec<Arc<tokio::sync::Mutex<()>>>,
    entries: Mutex<HashMap<NodeId, Entry>>,
    granted: Mutex<HashMap<NodeId, Granted>>,
}

impl Default for Registry {
    fn default() -> Self {
        let turns = (0..TURNS).map(|_| Arc::default()).collect();
        Registry { turns, entries: Mutex::default(), granted: Mutex::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps are whole between any two statements, so a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Waits until nobody else changes which session `node` has.
    pub async fn turn(&self, node: NodeId) -> Option<OwnedMutexGuard<()>> {
        let hash = node.0.as_bytes().iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31) ^ usize::from(*byte));
        let turn = self.turns.get(hash % TURNS)?.clone();
        Some(turn.lock_owned().await)
    }

    /// Ends the node's session, if it has one, and waits until it has said its last. Needs the node's turn.
    pub async fn evict(&self, node: NodeId) {
        let evicted = lock(&self.entries).remove(&node);
        if let Some(mut entry) = evicted {
            entry.stop.cancel();
            // It answers by going away. One that hangs is not waited for for ever: what it says later bears its number.
            let _ = tokio::time::timeout(EVICTION_TIMEOUT, async { while entry.over.changed().await.is_ok() {} }).await;
        }
    }

    /// Enters a session. Needs the node's turn, after [`Registry::evict`].
    pub fn seat(&self, node: NodeId, session: u64, desired: Variables) -> Seat {
        let (actions, to_perform) = mpsc::channel(ACTIONS_PER_SESSION_MAX);
        let (desired, to_desire) = watch::channel(desired);
        let (over_sender, over) = watch::channel(());
        let stop = CancellationToken::new();
        let mut entries = lock(&self.entries);
        for action in lock(&self.granted).remove(&node).into_iter().flat_map(|granted| granted.parked) {
            // The queue is as long as those that wait can be many.
            let _ = actions.try_send(action);
        }
        entries.insert(node, Entry { session, actions, desired, stop: stop.clone(), over });
        Seat { session, actions: to_perform, desired: to_desire, stop, over: over_sender }
    }

    /// Whether the node has a session.
    pub fn is_seated(&self, node: NodeId) -> bool {
        lock(&self.entries).contains_key(&node)
    }

    /// Removes a session, unless another has taken its place. No action reaches it after this.
    pub fn leave(&self, node: NodeId, session: u64) {
        let mut entries = lock(&self.entries);
        if entries.get(&node).is_some_and(|entry| entry.session == session) {
            entries.remove(&node);
        }
    }

    /// Hands an action to the node's session, or keeps it for a session that is about to begin.
    ///
    /// # Errors
    /// Gives it back when there is neither, or there is no room.
    pub fn perform(&self, action: Action) -> Result<Handed, Box<Action>> {
        let entries = lock(&self.entries);
        if let Some(entry) = entries.get(&action.node) {
            let sent = entry.actions.try_send(action);
            return sent.map(|()| Handed::Taken).map_err(|error| Box::new(error.into_inner()));
        }
        match lock(&self.granted).get_mut(&action.node) {
            Some(granted) if granted.parked.len() < ACTIONS_PER_SESSION_MAX => {
                granted.parked.push(action);
                Ok(Handed::Parked)
            }
            _ => Err(Box::new(action)),
        }
    }

    /// Gives back what waits for a session that has not begun.
    pub fn take_parked(&self, node: NodeId) -> Vec<Action> {
        lock(&self.granted).get_mut(&node).map(|granted| std::mem::take(&mut granted.parked)).unwrap_or_default()
    }

    /// Tells the node's session what is desired, if it has one; `desired` is made only then.
    pub fn desire(&self, node: NodeId, desired: impl FnOnce() -> Variables) {
        if let Some(entry) = lock(&self.entries).get(&node) {
            let desired = desired();
            entry.desired.send_if_modified(|known| {
                let changed = *known != desired;
                *known = desired;
                changed
            });
        }
    }

    /// The nodes that have a session.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        lock(&self.entries).keys().copied().collect()
    }

    /// How many nodes have a session.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Whether no node has a session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the answer to a join until its certificate is seen in use: one answer a node.
    pub fn grant(&self, node: NodeId, granted: Granted) {
        lock(&self.granted).insert(node, granted);
    }

    /// Forgets the answer to a join that could not be made durable.
    pub fn withdraw(&self, node: NodeId) {
        lock(&self.granted).remove(&node);
    }

    /// The answer that was given to the same join, if its certificate was not seen in use since.
    #[must_use]
    pub fn granted(&self, node: NodeId, token: Digest, request: Digest) -> Option<Vec<CertificateDer<'static>>> {
        let granted = lock(&self.granted);
        let granted = granted.get(&node)?;
        (granted.token == token && granted.request == request).then(|| granted.chain.clone())
    }
}
