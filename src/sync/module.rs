//! The agents' module: binds the port, takes connections, and hands steps and desired state to the nodes' sessions.
//!
//! Invariants: a step for a node without a session fails at once, unless the node has just joined and is about to connect;
//! a node that is removed has no session any more;
//! a change of what is desired reaches every session that
//! it is about, the newest value at least. Nothing here waits for a single node.
//! Deliberately absent: what agents do with it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::accept::{Parent, accept};
use super::codec::WireValue;
use super::facts::desired_of;
use super::identity::{Identity, IdentityError};
use super::mutations::{MODULE, mutations};
use super::pin::parent_config;
use super::registry::Handed;
use super::session::{Timing, Variables};
use crate::fact::{Fact, FailReason, OutcomeFact};
use crate::model::machine::id_of;
use crate::model::{Digest, NodeId};
use crate::plan::Mutation;
use crate::port::{Action, Module, ModuleContext, StateReader};
use crate::state::State;

/// Steps that are taken from the engine's queue at a time.
const ACTIONS_AT_ONCE: usize = 256;
/// How long a node that has joined may take to connect, before what is wanted of it fails.
const JOINED_GRACE: Duration = Duration::from_secs(15);
/// How long sessions may take to say their last when the appliance stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// Connections that the kernel keeps until they are accepted: a rack that comes back at once.
const BACKLOG: i32 = 4_096;

/// Why the agents' port is not to be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// An address cannot be bound.
    #[error(
        "the agents' port {address} cannot be bound: {source}; is another appliance running, or is the address not this machine's?"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no certificate to serve with.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate cannot be used.
    #[error("the appliance's certificate cannot be used for TLS")]
    Tls {
        /// Why not.
        source: rustls::Error,
    },
}

/// The agents' module, bound and ready to start.
pub struct SyncModule {
    listeners: Vec<std::net::TcpListener>,
    tls: TlsAcceptor,
    identity: Arc<Identity>,
    timing: Timing,
}

/// Binds the agents' port on every address of `listen`. The appliance's certificate is good for those addresses and for
/// `also`, which is needed where agents reach it at an address that it does not bind itself.
///
/// # Errors
/// When an address cannot be bound, or no certificate can be made.
pub fn bind(
    listen: &[SocketAddr],
    also: &[IpAddr],
    identity: Arc<Identity>,
    timing: Timing,
) -> Result<SyncModule, BindError> {
    let listeners = listen.iter().map(|address| {
        let bound = listen_on(*address);
        bound.map_err(|source| BindError::Bind { address: *address, source })
    });
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<IpAddr> = listen
        .iter()
        .map(SocketAddr::ip)
        .filter(|address| !address.is_unspecified())
        .chain(also.iter().copied())
        .collect();
    let credentials = identity.server(&addresses)?;
    let config = parent_config(credentials, identity.ca_certificate()).map_err(|source| BindError::Tls { source })?;
    Ok(SyncModule { listeners, tls: TlsAcceptor::from(Arc::new(config)), identity, timing })
}

fn listen_on(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // An appliance that was killed leaves connections in the kernel; they must not keep the next one from its port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl SyncModule {
    /// The digest of the authority's certificate, for boot scripts.
    #[must_use]
    pub fn ca_digest(&self) -> Digest {
        self.identity.ca_digest()
    }

    /// The addresses that were bound, with the ports that were given where none was asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

impl Module for SyncModule {
    fn name(&self) -> Arc<str> {
        MODULE.into()
    }

    fn mutations(&self) -> Vec<Mutation> {
        mutations()
    }

    fn start(self: Box<Self>, context: ModuleContext, tasks: &mut JoinSet<()>) {
        let ModuleContext { facts, state, actions, shutdown } = context;
        let parent = Arc::new(Parent::new(self.identity, self.timing, facts, state.clone(), shutdown.clone()));
        for listener in self.listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    tasks.spawn(accept(Arc::clone(&parent), listener, self.tls.clone()));
                }
                Err(error) => tracing::error!(%error, "the agents' port cannot be listened on"),
            }
        }
        tasks.spawn(hand_out(Arc::clone(&parent), actions));
        tasks.spawn(tell_desired(Arc::clone(&parent), state));
        tasks.spawn(async move {
            shutdown.cancelled().await;
            parent.tasks.close();
            if tokio::time::timeout(FAREWELL, parent.tasks.wait()).await.is_err() {
                tracing::warn!(sessions = parent.registry.len(), "some sessions did not end in time");
            }
        });
    }
}

/// The fact that nobody is there to do what was asked.
pub(super) fn no_agent(action: &Action) -> Fact {
    let Action { node, step, generation, .. } = action.clone();
    Fact::Outcome(OutcomeFact { node, step, generation, reason: FailReason::NoAgent })
}

/// Hands steps to the sessions of their nodes.
async fn hand_out(parent: Arc<Parent>, mut actions: mpsc::Receiver<Action>) {
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            received = actions.recv_many(&mut batch, ACTIONS_AT_ONCE) => received,
            () = parent.shutdown.cancelled() => return,
        };
        if received == 0 {
            return;
        }
        let mut refused = Vec::new();
        for action in batch.drain(..) {
            let node = action.node;
            match parent.registry.perform(action) {
                Ok(Handed::Taken) => {}
                Ok(Handed::Parked) => drop(parent.tasks.spawn(expect_session(Arc::clone(&parent), node))),
                Err(action) => refused.push(*action),
            }
        }
        refuse(&parent, &refused).await;
    }
}

/// Refuses what waits for a node that has joined and does not connect.
async fn expect_session(parent: Arc<Parent>, node: NodeId) {
    tokio::select! {
        () = tokio::time::sleep(JOINED_GRACE) => refuse(&parent, &parent.registry.take_parked(node)).await,
        () = parent.shutdown.cancelled() => {}
    }
}

async fn refuse(parent: &Parent, actions: &[Action]) {
    if actions.is_empty() {
        return;
    }
    if let Err(error) = parent.facts.submit(actions.iter().map(no_agent).collect()).await {
        tracing::warn!(%error, "steps that nobody can do were not reported; they will run out of time");
    }
}

/// Tells sessions what has changed for their nodes, by the difference of snapshots.
async fn tell_desired(parent: Arc<Parent>, mut state: StateReader) {
    let mut known: Arc<State> = state.now();
    loop {
        tokio::select! {
            changed = state.0.changed() => if changed.is_err() { return },
            () = parent.shutdown.cancelled() => return,
        }
        let fresh = state.0.borrow_and_update().clone();
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for item in known.nodes.diff(&fresh.nodes) {
            match item {
                NodeChange::Remove(id, _) => gone.push(*id),
                item => changed.extend(touched(&item)),
            }
        }
        for id in gone {
            parent.tasks.spawn(dismiss(Arc::clone(&parent), id));
        }
        tell_machines(&parent, &known, &fresh);
        if !fresh.cakes.ptr_eq(&known.cakes) {
            // Only a cake knows the order of its images.
            changed = parent.registry.nodes();
        }
        for id in changed {
            if let Some(node) = fresh.node(id) {
                parent.registry.desire(id, || desired_of(&fresh, node));
            }
        }
        known = fresh;
    }
}

/// Wakes the sessions of machines that are not unknown any more: they find out themselves what they are now.
fn tell_machines(parent: &Parent, known: &State, fresh: &State) {
    for item in known.unknown.diff(&fresh.unknown) {
        if let imbl::ordmap::DiffItem::Remove(mac, _) = item {
            let word = ("machine".to_owned(), WireValue::Symbol("settled".into()));
            parent.registry.desire(id_of(*mac), || Variables { values: [word.clone()].into(), order: Vec::new() });
        }
    }
}

/// Ends the session of a node that is none any more. What runs there is left alone: its agent is only not let in again.
async fn dismiss(parent: Arc<Parent>, node: NodeId) {
    let _turn = parent.registry.turn(node).await;
    parent.registry.withdraw(node);
    parent.registry.evict(node).await;
    tracing::info!(%node, "a node was removed; its agent is not let in any more");
}

type NodeChange<'a, 'b> = imbl::ordmap::DiffItem<'a, 'b, NodeId, Arc<crate::state::Node>>;

/// The node of a difference in which something else is desired than before.
fn touched(item: &NodeChange<'_, '_>) -> Option<NodeId> {
    match item {
        NodeChange::Add(id, _) => Some(**id),
        NodeChange::Update { old: (_, before), new: (id, after) } => {
            (before.desired != after.desired || before.spec.cake != after.spec.cake).then_some(**id)
        }
        NodeChange::Remove(..) => None,
    }
}
