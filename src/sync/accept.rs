//! Taking connections: admission, the handshake, the first frame, and the choice between a join and a session.
//!
//! Invariants: a connection that has not said who it is counts against two bounds, one of its address and one of all,
//! and has [`OPENING_TIMEOUT`] for everything up to its first frame, so a slow or hostile peer keeps nobody else out for
//! long. Without a certificate nothing but a join is answered; with one, it must be the one of the node's last join.
//! Deliberately absent: deciding on a join (`join`), and the session itself (`attend`).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attend;
use super::codec::{
    ChildMessage, CodecError, Frames, OPENING_FRAME_BYTES_MAX, PROTOCOL_VERSION, ParentMessage, WireRefusal, decode,
    opening_version,
};
use super::gate::Gate;
use super::identity::Identity;
use super::join::{JoinRequest, join};
use super::link::{LinkError, first_body, send_last};
use super::registry::Registry;
use super::session::Timing;
use crate::fact::{AgentEvent, AgentFact, Fact, JoinRefusal, MalformedFact};
use crate::model::{Digest, NodeId};
use crate::port::{FactSender, StateReader};

/// How long a connection may take from its first byte to its first frame, and an answer to be taken.
pub const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that have not said who they are; beyond it new ones are closed at once, and tried again by honest agents.
pub const STRANGERS_MAX: usize = 1_024;
/// The same, of one address.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 64;
/// Facts about connections that made no sense, at once and each second; the others are only logged.
const COMPLAINTS: (u64, u64) = (50, 5);
/// The pause after the system refused a connection, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection needs of the parent.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) identity: Arc<Identity>,
    pub(super) facts: FactSender,
    pub(super) state: StateReader,
    pub(super) registry: Registry,
    pub(super) timing: Timing,
    pub(super) shutdown: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) started: Instant,
    strangers: Mutex<HashMap<IpAddr, usize>>,
    complaints: Mutex<Gate>,
}

impl Parent {
    pub(super) fn new(
        identity: Arc<Identity>,
        timing: Timing,
        facts: FactSender,
        state: StateReader,
        shutdown: CancellationToken,
    ) -> Self {
        Parent {
            identity,
            facts,
            state,
            registry: Registry::default(),
            timing: timing.bounded(),
            shutdown,
            tasks: TaskTracker::new(),
            started: Instant::now(),
            strangers: Mutex::default(),
            complaints: Mutex::new(Gate::new(COMPLAINTS.0, COMPLAINTS.1, 0)),
        }
    }

    /// Milliseconds since the parent started: the time that sessions are passed.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A fact about something that was refused: never waited for, and bounded in number, since anybody may cause it.
    pub(super) fn complain(&self, fact: Fact) {
        let allowed = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).take(self.now_ms(), 1);
        if allowed > 0 {
            self.facts.offer(fact);
        }
    }

    pub(super) fn refused(&self, node: Option<NodeId>, peer: SocketAddr, refusal: JoinRefusal) {
        self.complain(Fact::Agent(AgentFact { node, peer, event: AgentEvent::JoinRefused { refusal } }));
    }

    pub(super) fn malformed(&self, peer: SocketAddr, reason: String) {
        tracing::warn!(%peer, reason, "a connection to the agents' port made no sense");
        self.complain(Fact::Malformed(MalformedFact { service: "agents".into(), sender: peer.to_string(), reason }));
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Stranger> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        // An agent listens on one address family; the mapped form is the same machine.
        let address = address.to_canonical();
        let all: usize = strangers.values().sum();
        let of_address = strangers.entry(address).or_insert(0);
        if all >= STRANGERS_MAX || *of_address >= STRANGERS_PER_ADDRESS_MAX {
            if *of_address == 0 {
                strangers.remove(&address);
            }
            return None;
        }
        *of_address = of_address.saturating_add(1);
        Some(Stranger { parent: Arc::clone(self), address })
    }
}

/// A place among those who have not said who they are; given back when dropped.
#[derive(Debug)]
struct Stranger {
    parent: Arc<Parent>,
    address: IpAddr,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = self.parent.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = strangers.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                strangers.remove(&self.address);
            }
        }
    }
}

/// Takes connections until the parent shuts down.
pub(super) async fn accept(parent: Arc<Parent>, listener: TcpListener, tls: TlsAcceptor) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = parent.shutdown.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(stranger) = parent.admit(peer.ip()) else {
            tracing::debug!(%peer, "too many connections have not said who they are; one is closed");
            continue;
        };
        parent.tasks.spawn(connection(Arc::clone(&parent), stream, peer, tls.clone(), stranger));
    }
}

async fn connection(parent: Arc<Parent>, stream: TcpStream, peer: SocketAddr, tls: TlsAcceptor, stranger: Stranger) {
    let shutdown = parent.shutdown.clone();
    let opened = tokio::select! {
        opened = open(&parent, stream, peer, &tls) => opened,
        () = shutdown.cancelled() => return,
    };
    let Some(opened) = opened else { return };
    drop(stranger);
    attend::attend(parent, opened).await;
}

/// A child that has said hello with a certificate of ours.
pub(super) struct Opened {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) frames: Frames,
    pub(super) peer: SocketAddr,
    pub(super) node: NodeId,
    pub(super) certificate: Digest,
}

/// Goes as far as the first frame, and answers it unless it is a hello.
async fn open(parent: &Parent, stream: TcpStream, peer: SocketAddr, tls: &TlsAcceptor) -> Option<Opened> {
    // What is told is small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "a connection keeps small segments back");
    }
    let mut stream = match tokio::time::timeout(OPENING_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // Port scanners and health checks connect and leave; that is no message.
            if error.kind() == io::ErrorKind::InvalidData {
                parent.malformed(peer, format!("no TLS 1.3 handshake that is understood: {error}"));
            } else {
                tracing::debug!(%peer, %error, "a handshake ended");
            }
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "a handshake took too long");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.map(|certificate| Digest::of(certificate));
    let mut frames = Frames::new(OPENING_FRAME_BYTES_MAX);
    let body = match first_body(&mut stream, &mut frames, OPENING_TIMEOUT).await {
        Ok(body) => body,
        Err(LinkError::Codec(error)) => {
            parent.malformed(peer, error.to_string());
            return None;
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "a connection ended before its first frame");
            return None;
        }
    };
    let answer = match first_message(&body) {
        Ok(ChildMessage::Join { node, token, csr_der, .. }) => {
            let request = JoinRequest { node: NodeId(uuid::Uuid::from_bytes(node)), token, csr_der };
            match join(parent, peer, request).await {
                Ok(chain) => ParentMessage::Joined { chain_der: chain.iter().map(|c| c.to_vec()).collect() },
                Err(reason) => ParentMessage::Refused { reason },
            }
        }
        Ok(ChildMessage::Hello { node, .. }) => {
            let node = NodeId(uuid::Uuid::from_bytes(node));
            match certificate {
                Some(certificate) => return Some(Opened { stream, frames, peer, node, certificate }),
                None => {
                    parent.malformed(peer, format!("it says to be node {node}, and shows no certificate"));
                    ParentMessage::Refused { reason: WireRefusal::OldCertificate }
                }
            }
        }
        Ok(_) => {
            parent.malformed(peer, "its first message is neither a join nor a hello".into());
            ParentMessage::Refused { reason: WireRefusal::BadRequest }
        }
        Err((reason, refusal)) => {
            parent.malformed(peer, reason);
            ParentMessage::Refused { reason: refusal }
        }
    };
    if let Err(error) = send_last(&mut stream, &answer, OPENING_TIMEOUT).await {
        tracing::debug!(%peer, %error, "an answer could not be sent");
    }
    None
}

fn first_message(body: &[u8]) -> Result<ChildMessage, (String, WireRefusal)> {
    if let Some(version) = opening_version(body).filter(|version| *version != PROTOCOL_VERSION) {
        let reason = format!("it speaks version {version} of the tree protocol, this appliance {PROTOCOL_VERSION}");
        return Err((reason, WireRefusal::Version { spoken: PROTOCOL_VERSION }));
    }
    decode(body).map_err(|error: CodecError| (error.to_string(), WireRefusal::BadRequest))
}
