//! Machines that are no node: their join, and their session, in which they report what they are and wait.
//!
//! Invariants: a machine's certificate is good for nothing but this: what it says of variables, steps or its console is not
//! taken. What it reports is durable before the session goes on for long: where the journal refuses it the session ends, and
//! the machine reports anew. It is told that it is a node only after that node's token is durable, and is never told of
//! another node than the one that is described with the interface that it booted from.
//! Deliberately absent: whether it becomes one (`plan::enroll`, operators).

use std::net::IpAddr;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accept::{OPENING_TIMEOUT, Opened, Parent};
use super::codec::{Becoming, ChildMessage, ParentMessage, Transition, WireRefusal};
use super::facts::{checked_hardware, checked_neighbours, refusal_to_wire};
use super::gate::Gate;
use super::join::JoinRequest;
use super::link::{Link, send_last};
use super::registry::{Granted, Seat};
use super::session::{ParentEvent, ParentSession};
use crate::fact::{Fact, JoinRefusal, MachineEvent, MachineFact};
use crate::model::machine::id_of;
use crate::model::{Digest, Mac};
use crate::port::SubmitError;
use crate::state::State;

/// Bytes of a token: 256 bits.
const TOKEN_BYTES: usize = 32;
/// Reports of one session, at once and each second; a machine needs two.
const REPORTS: (u64, u64) = (8, 1);
/// How often a machine's lease is made to go on at most, in milliseconds.
const KEEP_MIN_MS: u64 = 10_000;
/// How often its lease is made to go on at least, in milliseconds.
const KEEP_MAX_MS: u64 = 600_000;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Grants or refuses the join of a machine.
pub(super) async fn join(
    parent: &Parent,
    peer: IpAddr,
    mac: Mac,
    request: JoinRequest,
) -> Result<Vec<CertificateDer<'static>>, WireRefusal> {
    let (token, asked) = (Digest::of(&request.token), Digest::of(&request.csr_der));
    let id = id_of(mac);
    let _turn = parent.registry.turn(id).await;
    let refused = |refusal: JoinRefusal| {
        tracing::warn!(%mac, %peer, reason = %refusal, "the join of an unknown machine was refused");
        parent.complain(Fact::Machine(MachineFact { mac, peer, event: MachineEvent::JoinRefused { refusal } }));
        Err(refusal_to_wire(refusal))
    };
    let state = parent.state.now();
    if state.refused.contains_key(&mac) {
        return refused(JoinRefusal::Refused);
    }
    let Some(machine) = state.unknown.get(&mac) else { return refused(JoinRefusal::UnknownNode) };
    if let Some(chain) = parent.registry.granted(id, token, asked)
        && chain.first().map(|certificate| Digest::of(certificate)) == machine.certificate
    {
        return Ok(chain);
    }
    if parent.registry.is_seated(id) {
        return Err(WireRefusal::TryLater);
    }
    match machine.token {
        None => return refused(JoinRefusal::NoTokenOpen),
        Some(open) if open != token => return refused(JoinRefusal::WrongToken),
        Some(_) => {}
    }
    let Ok(chain) = parent.identity.issue(id, &request.csr_der) else { return refused(JoinRefusal::BadRequest) };
    let Some(certificate) = chain.first().map(|certificate| Digest::of(certificate)) else {
        return Err(WireRefusal::TryLater);
    };
    let joined = Fact::Machine(MachineFact { mac, peer, event: MachineEvent::Joined { certificate } });
    if let Err(error) = parent.facts.submit(vec![joined]).await {
        tracing::warn!(%mac, %error, "the join of an unknown machine could not be made durable");
        return Err(WireRefusal::TryLater);
    }
    parent.registry.grant(id, Granted { token, request: asked, chain: chain.clone(), parked: Vec::new() });
    tracing::info!(%mac, %peer, "an unknown machine joined");
    Ok(chain)
}

/// How a machine's session ended.
enum End {
    /// It was told that it is a node.
    Told,
    /// It is neither unknown nor a node any more.
    Forgotten,
    /// Its connection ended.
    Lost(String),
    /// Another session takes its place, or the appliance stops.
    Replaced,
}

/// Serves a machine until its session ends.
pub(super) async fn attend(parent: &Parent, opened: Opened, mac: Mac) {
    let Opened { mut stream, frames, peer, certificate, .. } = opened;
    let peer = peer.ip();
    let seat = match take_seat(parent, peer, mac, certificate).await {
        Ok(seat) => seat,
        Err(reason) => {
            if let Err(error) = send_last(&mut stream, &ParentMessage::Refused { reason }, OPENING_TIMEOUT).await {
                tracing::debug!(%mac, %error, "a refusal could not be sent");
            }
            return;
        }
    };
    let session = seat.session;
    tracing::info!(%mac, %peer, session, "an unknown machine waits");
    let write_limit = Duration::from_millis(parent.timing.dead_interval_ms.into());
    let mut link = Link::new(stream, frames, write_limit);
    let mut waiting = Waiting {
        parent,
        mac,
        peer,
        protocol: ParentSession::new(parent.timing, session, Default::default(), parent.now_ms()),
        storing: JoinSet::new(),
        reports: Gate::new(REPORTS.0, REPORTS.1, parent.now_ms()),
        kept_ms: parent.now_ms(),
    };
    let (end, seat) = waiting.run(&mut link, seat).await;
    for message in waiting.protocol.take_outgoing() {
        // The connection may be the reason for the end.
        let _ = link.send(&message);
    }
    link.finish(LAST_WORDS).await;
    parent.registry.leave(id_of(mac), session);
    let reason = match end {
        End::Told | End::Replaced => None,
        End::Forgotten => Some("it is remembered no more".to_owned()),
        End::Lost(reason) => Some(reason),
    };
    if let Some(reason) = reason {
        tracing::info!(%mac, %peer, session, reason, "an unknown machine waits no longer");
        parent.facts.offer(Fact::Machine(MachineFact { mac, peer, event: MachineEvent::Left { session, reason } }));
    }
    drop(seat.over);
}

/// Makes this connection the machine's session.
async fn take_seat(parent: &Parent, peer: IpAddr, mac: Mac, certificate: Digest) -> Result<Seat, WireRefusal> {
    let id = id_of(mac);
    let _turn = parent.registry.turn(id).await;
    let state = parent.state.now();
    let of_machine = state.unknown.get(&mac).and_then(|machine| machine.certificate);
    let of_node = state.node_with_mac(mac).and_then(|node| node.waits_with);
    if of_machine.or(of_node) != Some(certificate) {
        let refusal = if state.refused.contains_key(&mac) { JoinRefusal::Refused } else { JoinRefusal::OldCertificate };
        parent.complain(Fact::Machine(MachineFact { mac, peer, event: MachineEvent::JoinRefused { refusal } }));
        return Err(refusal_to_wire(refusal));
    }
    let mut number = [0; 8];
    SystemRandom::new().fill(&mut number).map_err(|_| WireRefusal::TryLater)?;
    let session = u64::from_le_bytes(number);
    parent.registry.evict(id).await;
    let seat = parent.registry.seat(id, session, Default::default());
    let waits = Fact::Machine(MachineFact { mac, peer, event: MachineEvent::Waits { session } });
    if let Err(error) = parent.facts.submit(vec![waits]).await {
        tracing::warn!(%mac, %error, "the session of an unknown machine could not be made durable");
        parent.registry.leave(id, session);
        return Err(WireRefusal::TryLater);
    }
    Ok(seat)
}

struct Waiting<'a> {
    parent: &'a Parent,
    mac: Mac,
    peer: IpAddr,
    protocol: ParentSession,
    storing: JoinSet<Result<(), SubmitError>>,
    reports: Gate,
    /// When the lease was last made to go on.
    kept_ms: u64,
}

impl Waiting<'_> {
    async fn run(&mut self, link: &mut Link<ChildMessage, ParentMessage>, mut seat: Seat) -> (End, Seat) {
        loop {
            // What was settled before the seat was taken is found here.
            if let Some(end) = self.settled().await {
                return (end, seat);
            }
            if let Err(error) = self.protocol.take_outgoing().iter().try_for_each(|message| link.send(message)) {
                return (End::Lost(error.to_string()), seat);
            }
            self.keep_lease();
            let pause_ms = self.protocol.next_tick_ms().saturating_sub(self.parent.now_ms());
            let ended = tokio::select! {
                biased;
                () = seat.stop.cancelled() => Some(End::Replaced),
                () = self.parent.shutdown.cancelled() => Some(End::Replaced),
                Some(stored) = self.storing.join_next() => match stored {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(End::Lost(error.to_string())),
                    Err(error) => Some(End::Lost(error.to_string())),
                },
                message = link.next() => match message {
                    Ok(message) => self.received(message),
                    Err(error) => Some(End::Lost(error.to_string())),
                },
                Ok(()) = seat.desired.changed() => {
                    seat.desired.mark_unchanged();
                    None
                }
                () = tokio::time::sleep_until(Instant::now() + Duration::from_millis(pause_ms)) => {
                    self.protocol.tick(self.parent.now_ms()).err().map(|end| End::Lost(end.to_string()))
                }
            };
            if let Some(end) = ended {
                return (end, seat);
            }
        }
    }

    /// Layer 0 does not ask for its address again, so a lease goes on while its machine is heard.
    fn keep_lease(&mut self) {
        let state = self.parent.state.now();
        let lease = state.unknown.get(&self.mac).and_then(|machine| machine.lease.as_ref());
        let every_ms =
            lease.map_or(KEEP_MAX_MS, |lease| lease.until.since(lease.at) / 3).clamp(KEEP_MIN_MS, KEEP_MAX_MS);
        let now_ms = self.parent.now_ms();
        if now_ms.saturating_sub(self.kept_ms) >= every_ms {
            self.kept_ms = now_ms;
            self.store(MachineEvent::StillWaits);
        }
    }

    fn store(&mut self, event: MachineEvent) {
        let facts = self.parent.facts.clone();
        let fact = Fact::Machine(MachineFact { mac: self.mac, peer: self.peer, event });
        self.storing.spawn(async move { facts.submit(vec![fact]).await.map(drop) });
    }

    fn received(&mut self, message: ChildMessage) -> Option<End> {
        let event = match self.protocol.received(self.parent.now_ms(), message) {
            Ok(event) => event?,
            Err(end) => return Some(End::Lost(end.to_string())),
        };
        let report = match event {
            ParentEvent::Left => return Some(End::Lost("it left".into())),
            ParentEvent::Hardware(hardware) => {
                checked_hardware(hardware).map(|hardware| MachineEvent::Hardware { hardware })
            }
            ParentEvent::Neighbours(neighbours) => {
                checked_neighbours(neighbours).map(|neighbours| MachineEvent::Neighbours { neighbours })
            }
            // Not a machine's to say.
            ParentEvent::Observed(_) | ParentEvent::Console { .. } | ParentEvent::Failed { .. } => return None,
        };
        if self.reports.take(self.parent.now_ms(), 1) == 0 {
            return Some(End::Lost("it reports too much".into()));
        }
        match report {
            Ok(event) => {
                self.store(event);
                None
            }
            Err(error) => Some(End::Lost(error.to_string())),
        }
    }

    /// Looks whether the machine is a node by now, and tells it so; or is remembered no more.
    async fn settled(&mut self) -> Option<End> {
        let state = self.parent.state.now();
        if state.unknown.contains_key(&self.mac) {
            return None;
        }
        let Some(node) = state.by_mac.get(&self.mac).copied() else { return Some(End::Forgotten) };
        let mut token = [0; TOKEN_BYTES];
        if SystemRandom::new().fill(&mut token).is_err() {
            return Some(End::Lost("the system gave no random bytes for a token".into()));
        }
        let event = MachineEvent::Told { node, token: Digest::of(&token) };
        let told = Fact::Machine(MachineFact { mac: self.mac, peer: self.peer, event });
        if let Err(error) = self.parent.facts.submit(vec![told]).await {
            return Some(End::Lost(error.to_string()));
        }
        match becoming(&state, self.mac, self.peer, &token) {
            Some(becoming) => {
                tracing::info!(mac = %self.mac, node = becoming.name, "a machine is told that it is a node");
                self.protocol.becomes(becoming);
                Some(End::Told)
            }
            None => Some(End::Forgotten),
        }
    }
}

/// What the machine is told of the node that it is.
fn becoming(state: &State, mac: Mac, peer: IpAddr, token: &[u8]) -> Option<Becoming> {
    let node = state.node_with_mac(mac)?;
    let network = state.network_of(node)?;
    let here = match peer.to_canonical() {
        IpAddr::V4(peer) => network.subnet.contains(peer),
        IpAddr::V6(_) => false,
    };
    Some(Becoming {
        node: *node.id.0.as_bytes(),
        name: node.spec.name.to_string(),
        address: node.spec.ip.into(),
        prefix_bits: network.subnet.bits(),
        router: network.router.map(IpAddr::from),
        name_servers: network.dns.iter().map(|ip| IpAddr::from(*ip)).collect(),
        token: token.to_vec(),
        how: if here { Transition::GoOn } else { Transition::StartOver },
    })
}
