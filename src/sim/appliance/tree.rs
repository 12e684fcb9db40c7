//! The parent's side of the tree protocol: joins, seats and sessions, as `sync::accept`, `join`, `attend`, `registry` and
//! `module` do them around the same session and codec.
//!
//! Invariants: as there. A token is used up before the certificate leaves, a session begins when the journal has it, and
//! what a replaced session still had to do fails.
//! Deliberately absent: TLS, the gates that hold back a talkative child.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Appliance;
use super::boot::Promise;
use crate::fact::{AgentEvent, AgentFact, Fact, FailReason, JoinRefusal, MalformedFact, OutcomeFact};
use crate::model::{Digest, Generation, NodeId, Revision};
use crate::port::Action;
use crate::sim::hub::{Down, Event, Hub};
use crate::sim::site::wire_id;
use crate::sync::codec::{ChildMessage, ParentMessage, WireRefusal, decode, encode};
use crate::sync::facts::{
    checked_hardware, console_lines, desired_digest, desired_of, detail, refusal_to_wire, reported, step_from_wire,
    step_to_wire,
};
use crate::sync::mutations::names;
use crate::sync::registry::ACTIONS_PER_SESSION_MAX;
use crate::sync::session::{ParentEvent, ParentSession, Timing};

/// How long what is asked of a node that has joined waits for its session, in milliseconds.
const JOINED_GRACE_MS: u64 = 15_000;

/// A session, from when it is written down to its end.
#[derive(Debug)]
struct Seat {
    connection: u64,
    session: u64,
    /// Nothing until the journal has the session.
    protocol: Option<ParentSession>,
    actions: Vec<Action>,
}

/// A join that was granted and whose certificate was not seen in use yet.
#[derive(Debug)]
struct Granted {
    token: Digest,
    request: Digest,
    chain: Vec<u8>,
    parked: Vec<Action>,
}

/// The sessions, one a node.
#[derive(Debug)]
pub(in crate::sim) struct Tree {
    ids: Vec<NodeId>,
    places: std::collections::BTreeMap<NodeId, usize>,
    seats: Vec<Option<Seat>>,
    granted: Vec<Option<Granted>>,
}

impl Tree {
    pub(super) fn new(nodes: usize) -> Self {
        Tree {
            ids: Vec::new(),
            places: std::collections::BTreeMap::new(),
            seats: (0..nodes).map(|_| None).collect(),
            granted: (0..nodes).map(|_| None).collect(),
        }
    }

    /// Tells which machine is which node.
    pub(in crate::sim) fn know(&mut self, ids: Vec<NodeId>) {
        self.places = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        self.ids = ids;
    }

    /// The node that a machine is.
    pub(in crate::sim) fn id_of(&self, node: usize) -> Option<NodeId> {
        self.ids.get(node).copied()
    }

    /// The machine that a node is.
    pub(in crate::sim) fn place_of(&self, id: NodeId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// The process ends: gives the connections that were open.
    pub(super) fn forget(&mut self) -> Vec<(usize, u64)> {
        self.granted.iter_mut().for_each(|granted| *granted = None);
        let seats = self.seats.iter_mut().enumerate();
        seats.filter_map(|(node, seat)| seat.take().map(|seat| (node, seat.connection))).collect()
    }

    fn seat(&mut self, node: usize, connection: u64) -> Option<&mut Seat> {
        self.seats.get_mut(node)?.as_mut().filter(|seat| seat.connection == connection)
    }
}

fn send(hub: &mut Hub, node: usize, connection: u64, message: &ParentMessage) {
    if let Ok(bytes) = encode(message) {
        hub.down(node, Down::Frame { connection, bytes });
    }
}

fn refuse(hub: &mut Hub, node: usize, connection: u64, reason: WireRefusal) {
    send(hub, node, connection, &ParentMessage::Refused { reason });
}

/// Where a machine's connections come from.
fn peer(appliance: &Appliance, id: NodeId) -> SocketAddr {
    let ip = appliance.state.node(id).map_or(Ipv4Addr::UNSPECIFIED, |node| node.spec.ip);
    SocketAddr::new(IpAddr::V4(ip), 40_000)
}

fn no_agent(action: Action) -> Fact {
    let Action { node, step, generation, .. } = action;
    Fact::Outcome(OutcomeFact { node, step, generation, reason: FailReason::NoAgent })
}

impl Appliance {
    fn agent_fact(&self, id: NodeId, event: AgentEvent) -> Fact {
        Fact::Agent(AgentFact { node: Some(id), peer: peer(self, id), event })
    }

    fn join_refused(&mut self, hub: &mut Hub, (node, connection): (usize, u64), id: NodeId, refusal: JoinRefusal) {
        let fact = self.agent_fact(id, AgentEvent::JoinRefused { refusal });
        self.offer(fact);
        refuse(hub, node, connection, refusal_to_wire(refusal));
    }

    pub(in crate::sim) fn frame(
        &mut self,
        hub: &mut Hub,
        node: usize,
        connection: u64,
        certificate: Option<Digest>,
        frame: &[u8],
    ) {
        let message: Result<ChildMessage, _> = decode(frame.get(4..).unwrap_or_default());
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                let reason = error.to_string();
                self.offer(Fact::Malformed(MalformedFact { service: "agents".into(), sender: String::new(), reason }));
                return self.session_closed(node, connection, "it made no sense");
            }
        };
        if self.tree.seat(node, connection).is_some() {
            return self.session_hears(hub, node, connection, message);
        }
        match message {
            ChildMessage::Join { node: id, token, csr_der, .. } => {
                let id = NodeId(uuid::Uuid::from_bytes(id));
                self.join(hub, (node, connection), id, Digest::of(&token), Digest::of(&csr_der));
            }
            ChildMessage::Hello { node: id, .. } => {
                let id = NodeId(uuid::Uuid::from_bytes(id));
                self.take_seat(hub, (node, connection), id, certificate);
            }
            // The session was ended from this side.
            _ => hub.down(node, Down::Closed { connection }),
        }
    }

    fn join(&mut self, hub: &mut Hub, at: (usize, u64), id: NodeId, token: Digest, request: Digest) {
        let (node, connection) = at;
        let Some(known) = self.state.node(id).cloned() else {
            return self.join_refused(hub, at, id, JoinRefusal::UnknownNode);
        };
        let granted = self.tree.granted.get(node).and_then(Option::as_ref);
        if let Some(granted) = granted.filter(|granted| granted.token == token && granted.request == request)
            && known.agent.certificate == Some(Digest::of(&granted.chain))
        {
            let chain_der = vec![granted.chain.clone()];
            return send(hub, node, connection, &ParentMessage::Joined { chain_der });
        }
        if self.tree.seats.get(node).is_some_and(Option::is_some) {
            return refuse(hub, node, connection, WireRefusal::TryLater);
        }
        match known.token {
            None => return self.join_refused(hub, at, id, JoinRefusal::NoTokenOpen),
            Some(open) if open != token => return self.join_refused(hub, at, id, JoinRefusal::WrongToken),
            Some(_) => {}
        }
        // Joins of one node take turns; one that is being written is not overtaken.
        if granted.is_some_and(|granted| granted.token == token) {
            return refuse(hub, node, connection, WireRefusal::TryLater);
        }
        let chain = [wire_id(id).as_slice(), &self.random.bytes::<16>()].concat();
        let certificate = Digest::of(&chain);
        if let Some(place) = self.tree.granted.get_mut(node) {
            *place = Some(Granted { token, request, chain: chain.clone(), parked: Vec::new() });
        }
        let joined = self.agent_fact(id, AgentEvent::Joined { certificate });
        self.submit(vec![joined], Promise::Certificate { node, connection, chain });
    }

    pub(super) fn joined(&mut self, hub: &mut Hub, node: usize, connection: u64, chain: Vec<u8>) {
        send(hub, node, connection, &ParentMessage::Joined { chain_der: vec![chain] });
    }

    pub(super) fn not_joined(&mut self, hub: &mut Hub, node: usize, connection: u64) {
        if let Some(granted) = self.tree.granted.get_mut(node) {
            *granted = None;
        }
        refuse(hub, node, connection, WireRefusal::TryLater);
    }

    fn take_seat(&mut self, hub: &mut Hub, at: (usize, u64), id: NodeId, certificate: Option<Digest>) {
        let (node, connection) = at;
        let refusal = match self.state.node(id) {
            None => Some(JoinRefusal::UnknownNode),
            Some(known) if certificate.is_none() || known.agent.certificate != certificate => {
                Some(JoinRefusal::OldCertificate)
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            return self.join_refused(hub, at, id, refusal);
        }
        self.evict(node);
        let session = self.random.draw();
        let parked = self.tree.granted.get_mut(node).and_then(Option::take).map(|granted| granted.parked);
        if let Some(seat) = self.tree.seats.get_mut(node) {
            *seat = Some(Seat { connection, session, protocol: None, actions: parked.unwrap_or_default() });
        }
        let connected = self.agent_fact(id, AgentEvent::Connected { session });
        self.submit(vec![connected], Promise::Session { node, connection });
    }

    /// A session that is replaced says nothing of its end; what it still had to do fails.
    fn evict(&mut self, node: usize) {
        let evicted = self.tree.seats.get_mut(node).and_then(Option::take);
        let last: Vec<Fact> = evicted.into_iter().flat_map(|seat| seat.actions).map(no_agent).collect();
        self.last_words(last);
    }

    fn last_words(&mut self, facts: Vec<Fact>) {
        if !facts.is_empty() {
            self.submit(facts.clone(), Promise::LastWords(facts));
        }
    }

    pub(super) fn session_begins(&mut self, hub: &mut Hub, node: usize, connection: u64) {
        let Some(id) = self.tree.id_of(node) else { return };
        let desired = self.state.node(id).map(|known| desired_of(&self.state, known)).unwrap_or_default();
        let Some(seat) = self.tree.seat(node, connection) else { return };
        seat.protocol = Some(ParentSession::new(Timing::default(), seat.session, desired, hub.now_ms));
        for action in std::mem::take(&mut seat.actions) {
            self.perform(node, action);
        }
        self.flush(hub, node);
        self.session_later(hub, node);
    }

    pub(super) fn session_refused(&mut self, hub: &mut Hub, node: usize, connection: u64) {
        if self.tree.seat(node, connection).is_some() {
            self.evict(node);
        }
        refuse(hub, node, connection, WireRefusal::TryLater);
    }

    pub(super) fn report_refused(&mut self, node: usize, connection: u64) {
        let seat = self.tree.seat(node, connection);
        if let Some(protocol) = seat.and_then(|seat| seat.protocol.as_mut()) {
            protocol.distrust_observed();
        }
    }

    fn session_later(&mut self, hub: &mut Hub, node: usize) {
        let seat = self.tree.seats.get(node).and_then(Option::as_ref);
        if let Some((protocol, connection)) = seat.and_then(|seat| Some((seat.protocol.as_ref()?, seat.connection))) {
            let pause_ms = protocol.next_tick_ms().saturating_sub(hub.now_ms).max(1);
            hub.after(pause_ms, Event::Session { life: self.life, node, connection });
        }
    }

    /// A session's clock is due.
    pub(in crate::sim) fn session_tick(&mut self, hub: &mut Hub, node: usize, connection: u64) {
        let now_ms = hub.now_ms;
        let Some(seat) = self.tree.seat(node, connection) else { return };
        let Some(protocol) = seat.protocol.as_mut() else { return };
        match protocol.tick(now_ms) {
            Ok(()) => {
                self.flush(hub, node);
                self.session_later(hub, node);
            }
            Err(end) => {
                self.session_closed(node, connection, &end.to_string());
                self.go_on(hub);
            }
        }
    }

    fn flush(&mut self, hub: &mut Hub, node: usize) {
        let Some(seat) = self.tree.seats.get_mut(node).and_then(Option::as_mut) else { return };
        let Some(protocol) = seat.protocol.as_mut() else { return };
        for message in protocol.take_outgoing() {
            send(hub, node, seat.connection, &message);
        }
    }

    fn session_hears(&mut self, hub: &mut Hub, node: usize, connection: u64, message: ChildMessage) {
        let (now_ms, Some(id)) = (hub.now_ms, self.tree.id_of(node)) else { return };
        let Some(protocol) = self.tree.seat(node, connection).and_then(|seat| seat.protocol.as_mut()) else { return };
        let event = match protocol.received(now_ms, message) {
            Ok(Some(event)) => event,
            Ok(None) => return self.flush(hub, node),
            Err(end) => return self.session_closed(node, connection, &end.to_string()),
        };
        let fact = match event {
            ParentEvent::Left => {
                let session = self.tree.seat(node, connection).map_or(0, |seat| seat.session);
                return self.session_ends(node, AgentEvent::Left { session });
            }
            ParentEvent::Neighbours(_) => return,
            ParentEvent::Observed(report) => reported(&report).map(|(scope, variables)| {
                let revision = Revision(report.revision);
                self.agent_fact(id, AgentEvent::Observed { revision, scope, variables })
            }),
            ParentEvent::Hardware(hardware) => {
                checked_hardware(hardware).map(|hardware| self.agent_fact(id, AgentEvent::Hardware { hardware }))
            }
            ParentEvent::Console { lines, dropped } => {
                Ok(self.agent_fact(id, AgentEvent::Console { lines: console_lines(&lines, dropped) }))
            }
            ParentEvent::Failed { step, generation, detail: text } => step_from_wire(&step).map(|step| {
                let (generation, reason) = (Generation(generation), FailReason::Agent { detail: detail(&text) });
                Fact::Outcome(OutcomeFact { node: id, step, generation, reason })
            }),
        };
        match fact {
            Ok(fact) => {
                self.submit(vec![fact], Promise::Report { node, connection });
                self.flush(hub, node);
            }
            Err(error) => self.session_closed(node, connection, &error.to_string()),
        }
    }

    pub(in crate::sim) fn session_closed(&mut self, node: usize, connection: u64, why: &str) {
        if let Some(seat) = self.tree.seat(node, connection) {
            let session = seat.session;
            self.session_ends(node, AgentEvent::Lost { session, reason: why.to_owned() });
        }
    }

    fn session_ends(&mut self, node: usize, event: AgentEvent) {
        let (Some(id), Some(seat)) = (self.tree.id_of(node), self.tree.seats.get_mut(node).and_then(Option::take))
        else {
            return;
        };
        let mut last = vec![self.agent_fact(id, event)];
        last.extend(seat.actions.into_iter().map(no_agent));
        self.last_words(last);
    }

    /// Hands a step to the session of its node.
    pub(super) fn agent_action(&mut self, hub: &mut Hub, action: Action) {
        let Some(node) = self.tree.place_of(action.node) else { return };
        if let Some(seat) = self.tree.seats.get_mut(node).and_then(Option::as_mut) {
            if seat.protocol.is_some() {
                self.perform(node, action);
                return self.flush(hub, node);
            }
            return seat.actions.push(action);
        }
        match self.tree.granted.get_mut(node).and_then(Option::as_mut) {
            Some(granted) if granted.parked.len() < ACTIONS_PER_SESSION_MAX => {
                granted.parked.push(action);
                hub.after(JOINED_GRACE_MS, Event::Parked { life: self.life, node });
            }
            _ => self.submit(vec![no_agent(action)], Promise::Word),
        }
    }

    /// What waits for a node that has joined and did not connect is refused.
    pub(in crate::sim) fn parked(&mut self, hub: &mut Hub, node: usize) {
        let granted = self.tree.granted.get_mut(node).and_then(Option::as_mut);
        let parked = granted.map(|granted| std::mem::take(&mut granted.parked)).unwrap_or_default();
        if !parked.is_empty() {
            self.submit(parked.into_iter().map(no_agent).collect(), Promise::Word);
            self.go_on(hub);
        }
    }

    fn perform(&mut self, node: usize, action: Action) {
        let image = action.step.image.as_ref();
        let digest = image.zip(self.state.node(action.node)).and_then(|(image, node)| desired_digest(node, image));
        if action.step.mutation.as_ref() == names::ACTIVATE && digest.is_none() {
            let reason = FailReason::Agent { detail: "no content is desired for this image; correct the cake".into() };
            let Action { node, step, generation, .. } = action;
            return self.submit(vec![Fact::Outcome(OutcomeFact { node, step, generation, reason })], Promise::Word);
        }
        let seat = self.tree.seats.get_mut(node).and_then(Option::as_mut);
        if let Some(protocol) = seat.and_then(|seat| seat.protocol.as_mut()) {
            let digest = digest.map(|digest| *digest.as_bytes());
            protocol.perform(step_to_wire(&action.step), action.generation.0, digest);
        }
    }

    /// Tells a node's session what is desired now.
    pub(super) fn tell_desired(&mut self, hub: &mut Hub, id: NodeId) {
        let (Some(node), Some(known)) = (self.tree.place_of(id), self.state.node(id)) else { return };
        let Some(seat) = self.tree.seats.get_mut(node).and_then(Option::as_mut) else { return };
        if let Some(protocol) = seat.protocol.as_mut() {
            protocol.desire(desired_of(&self.state, known));
            self.flush(hub, node);
        }
    }
}
