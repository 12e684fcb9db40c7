//! A live session with one child: its reports become facts, desired state and steps are handed on.
//!
//! Invariants: the loop never waits for the journal or for the peer, so heartbeats are sent on time whatever is slow. A
//! report is only taken for told when it is durable; when it could not be stored, the child is asked for all of it. Facts
//! of a session are stored in the order in which the child said them, `Connected` first, `Left` or `Lost` last.
//! Deliberately absent: the protocol's rules (`session`), and who may be a child (`accept`, `join`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::accept::{OPENING_TIMEOUT, Opened, Parent};
use super::codec::{ChildMessage, ParentMessage, Report, WireRefusal};
use super::facts::{
    BadReport, checked_hardware, console_lines, desired_digest, desired_of, detail, refusal_to_wire, reported,
    step_from_wire, step_to_wire,
};
use super::gate::Gate;
use super::link::{Link, LinkError, send_last};
use super::module::no_agent;
use super::mutations::names;
use super::registry::Seat;
use super::session::{ParentEvent, ParentSession, SessionEnd};
use crate::fact::{AgentEvent, AgentFact, Fact, FailReason, JoinRefusal, OutcomeFact};
use crate::model::machine::mac_of;
use crate::model::{Digest, Generation, NodeId, Revision};
use crate::port::{Action, FactSender, SubmitError};

/// Facts of one session that wait to be stored; at this bound no more is read from the child.
const UNSTORED_MAX: usize = 64;
/// The pause before the end of a session is stored again, when the journal refused it.
const STORE_AGAIN: Duration = Duration::from_secs(1);
/// Reports of one session, at once and each second; beyond it no more is read from the child for a while.
const REPORTS: (u64, u64) = (200, 20);
/// How long nothing is read when a child reports too much, in milliseconds.
const REPORTS_PAUSE_MS: u64 = 100;
/// Console lines of one session that are kept, at once and each second; the others are counted.
const CONSOLE_LINES: (u64, u64) = (500, 50);

/// How a session ended.
enum End {
    /// The child said good-bye.
    Left,
    /// It did not.
    Lost(String),
    /// Another session of the node takes its place.
    Replaced,
    /// The appliance stops.
    Shutdown,
}

/// Serves a child until its session ends.
pub(super) async fn attend(parent: Arc<Parent>, opened: Opened) {
    if let Some(mac) = mac_of(opened.node) {
        return super::machine::attend(&parent, opened, mac).await;
    }
    let Opened { mut stream, frames, peer, node, certificate } = opened;
    let seat = match take_seat(&parent, peer, node, certificate).await {
        Ok(seat) => seat,
        Err(reason) => {
            if let Err(error) = send_last(&mut stream, &ParentMessage::Refused { reason }, OPENING_TIMEOUT).await {
                tracing::debug!(%peer, %error, "a refusal could not be sent");
            }
            return;
        }
    };
    let write_limit = Duration::from_millis(parent.timing.dead_interval_ms.into());
    let link = Link::new(stream, frames, write_limit);
    let session = seat.session;
    tracing::info!(%node, %peer, session, "a node's session is up");
    let (store, unstored) = mpsc::channel(UNSTORED_MAX);
    let (failures, refused) = mpsc::channel(1);
    let storing = parent.tasks.spawn(keep_storing(parent.facts.clone(), unstored, failures));

    let protocol = ParentSession::new(parent.timing, session, seat.desired.borrow().clone(), parent.now_ms());
    let now_ms = parent.now_ms();
    let mut attendance = Attendance {
        parent: &parent,
        node,
        peer,
        protocol,
        store,
        reports: Gate::new(REPORTS.0, REPORTS.1, now_ms),
        lines: Gate::new(CONSOLE_LINES.0, CONSOLE_LINES.1, now_ms),
        lines_dropped: 0,
    };
    let (end, mut seat) = attendance.run(link, seat, refused).await;
    let Attendance { store, .. } = attendance;
    parent.registry.leave(node, session);
    let event = match end {
        End::Left => {
            tracing::info!(%node, %peer, session, "a node's agent left");
            Some(AgentEvent::Left { session })
        }
        End::Lost(reason) => {
            tracing::warn!(%node, %peer, session, reason, "a node's agent is lost");
            Some(AgentEvent::Lost { session, reason })
        }
        End::Replaced | End::Shutdown => None,
    };
    let mut last: Vec<Fact> =
        event.map(|event| Fact::Agent(AgentFact { node: Some(node), peer, event })).into_iter().collect();
    seat.actions.close();
    while let Some(action) = seat.actions.recv().await {
        last.push(no_agent(&action));
    }
    drop(store);
    let _ = storing.await;
    store_last(&parent.facts, last).await;
    drop(seat.over);
}

/// Makes this connection the node's session.
async fn take_seat(parent: &Parent, peer: SocketAddr, id: NodeId, certificate: Digest) -> Result<Seat, WireRefusal> {
    let _turn = parent.registry.turn(id).await;
    let state = parent.state.now();
    let refusal = match state.node(id) {
        None => Some(JoinRefusal::UnknownNode),
        Some(node) if node.agent.certificate != Some(certificate) => Some(JoinRefusal::OldCertificate),
        Some(_) => None,
    };
    if let Some(refusal) = refusal {
        tracing::warn!(node = %id, %peer, reason = %refusal, "a node's hello was refused");
        parent.refused(Some(id), peer, refusal);
        return Err(refusal_to_wire(refusal));
    }
    let mut number = [0; 8];
    SystemRandom::new().fill(&mut number).map_err(|_| WireRefusal::TryLater)?;
    let session = u64::from_le_bytes(number);
    parent.registry.evict(id).await;
    let seat = parent.registry.seat(id, session, Default::default());
    let connected = Fact::Agent(AgentFact { node: Some(id), peer, event: AgentEvent::Connected { session } });
    if let Err(error) = parent.facts.submit(vec![connected]).await {
        tracing::warn!(node = %id, error = %error, "a session could not be made durable");
        parent.registry.leave(id, session);
        return Err(WireRefusal::TryLater);
    }
    // Only now: a change between an earlier look and the seat would have reached nobody.
    let state = parent.state.now();
    if let Some(node) = state.node(id) {
        parent.registry.desire(id, || desired_of(&state, node));
    }
    Ok(seat)
}

/// Stores what a session reports, in order, as many batches at a time as have gathered.
async fn keep_storing(facts: FactSender, mut unstored: mpsc::Receiver<Vec<Fact>>, failures: mpsc::Sender<()>) {
    let mut batches = Vec::new();
    while unstored.recv_many(&mut batches, UNSTORED_MAX).await > 0 {
        let batch = batches.drain(..).flatten().collect();
        if let Err(error) = facts.submit(batch).await {
            tracing::warn!(%error, "reports could not be made durable; they are asked for again");
            // One mark is enough, however many failed.
            let _ = failures.try_send(());
        }
    }
}

/// A session that has ended cannot be asked again, and a node whose loss is not known would be taken for running.
async fn store_last(facts: &FactSender, last: Vec<Fact>) {
    while !last.is_empty() {
        match facts.submit(last.clone()).await {
            Ok(_) | Err(SubmitError::Stopped) => return,
            Err(error) => {
                tracing::warn!(%error, "the end of a session could not be made durable; it is tried again");
                tokio::time::sleep(STORE_AGAIN).await;
            }
        }
    }
}

struct Attendance<'a> {
    parent: &'a Parent,
    node: NodeId,
    peer: SocketAddr,
    protocol: ParentSession,
    store: mpsc::Sender<Vec<Fact>>,
    reports: Gate,
    lines: Gate,
    lines_dropped: u64,
}

/// What a message leads to.
enum Next {
    GoOn,
    End(End),
}

impl Attendance<'_> {
    async fn run(
        &mut self,
        mut link: Link<ChildMessage, ParentMessage>,
        mut seat: Seat,
        mut refused: mpsc::Receiver<()>,
    ) -> (End, Seat) {
        let mut read_from_ms = 0;
        loop {
            if let Err(error) = self.protocol.take_outgoing().iter().try_for_each(|message| link.send(message)) {
                return (End::Lost(error.to_string()), seat);
            }
            let now_ms = self.parent.now_ms();
            let may_read = self.store.capacity() > 1 && now_ms >= read_from_ms;
            let mut pause_ms = self.protocol.next_tick_ms().saturating_sub(now_ms);
            if !may_read {
                pause_ms = pause_ms.min(REPORTS_PAUSE_MS);
            }
            // What has arrived is looked at before the clock: a parent that was slow itself must not blame the child.
            let next = tokio::select! {
                biased;
                () = seat.stop.cancelled() => Next::End(End::Replaced),
                () = self.parent.shutdown.cancelled() => Next::End(End::Shutdown),
                Some(()) = refused.recv() => {
                    self.protocol.distrust_observed();
                    Next::GoOn
                }
                message = link.next(), if may_read => match message {
                    Ok(message) => {
                        if self.reports.take(now_ms, 1) == 0 {
                            read_from_ms = now_ms.saturating_add(REPORTS_PAUSE_MS);
                        }
                        self.received(message)
                    }
                    Err(error) => Next::End(self.broken(error)),
                },
                Some(action) = seat.actions.recv() => {
                    self.perform(action);
                    Next::GoOn
                }
                Ok(()) = seat.desired.changed() => {
                    let desired = seat.desired.borrow_and_update().clone();
                    self.protocol.desire(desired);
                    Next::GoOn
                }
                () = tokio::time::sleep_until(Instant::now() + Duration::from_millis(pause_ms)) => {
                    match self.protocol.tick(self.parent.now_ms()) {
                        Err(SessionEnd::Silent { .. }) if !may_read => Next::GoOn,
                        Err(end) => Next::End(End::Lost(end.to_string())),
                        Ok(()) => Next::GoOn,
                    }
                }
            };
            if let Next::End(end) = next {
                link.finish(Duration::from_secs(1)).await;
                return (end, seat);
            }
        }
    }

    fn broken(&self, error: LinkError) -> End {
        if let LinkError::Codec(error) = &error {
            self.parent.malformed(self.peer, error.to_string());
        }
        End::Lost(error.to_string())
    }

    fn received(&mut self, message: ChildMessage) -> Next {
        let event = match self.protocol.received(self.parent.now_ms(), message) {
            Ok(Some(event)) => event,
            Ok(None) => return Next::GoOn,
            Err(end) => {
                self.parent.malformed(self.peer, end.to_string());
                return Next::End(End::Lost(end.to_string()));
            }
        };
        let taken = match event {
            ParentEvent::Left => return Next::End(End::Left),
            // A node's switch ports are variables of its own.
            ParentEvent::Neighbours(_) => Ok(()),
            ParentEvent::Observed(report) => self.observed(&report),
            ParentEvent::Hardware(hardware) => checked_hardware(hardware).map(|hardware| {
                self.keep(AgentEvent::Hardware { hardware });
            }),
            ParentEvent::Console { lines, dropped } => {
                self.console(&lines, dropped);
                Ok(())
            }
            ParentEvent::Failed { step, generation, detail: text } => step_from_wire(&step).map(|step| {
                let reason = FailReason::Agent { detail: detail(&text) };
                let generation = Generation(generation);
                self.store_fact(Fact::Outcome(OutcomeFact { node: self.node, step, generation, reason }));
            }),
        };
        match taken {
            Ok(()) => Next::GoOn,
            Err(error) => {
                self.parent.malformed(self.peer, error.to_string());
                Next::End(End::Lost(error.to_string()))
            }
        }
    }

    fn observed(&mut self, report: &Report) -> Result<(), BadReport> {
        let (scope, variables) = reported(report)?;
        self.keep(AgentEvent::Observed { revision: Revision(report.revision), scope, variables });
        Ok(())
    }

    fn console(&mut self, lines: &[String], dropped: u64) {
        let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let allowed = self.lines.take(self.parent.now_ms(), count);
        self.lines_dropped = self.lines_dropped.saturating_add(dropped);
        let kept = lines.get(..usize::try_from(allowed).unwrap_or(usize::MAX)).unwrap_or(lines);
        if !kept.is_empty() {
            let lines = console_lines(kept, std::mem::take(&mut self.lines_dropped));
            let event = AgentEvent::Console { lines };
            self.parent.facts.offer(Fact::Agent(AgentFact { node: Some(self.node), peer: self.peer, event }));
        }
        self.lines_dropped = self.lines_dropped.saturating_add(count.saturating_sub(allowed));
    }

    fn keep(&mut self, event: AgentEvent) {
        self.store_fact(Fact::Agent(AgentFact { node: Some(self.node), peer: self.peer, event }));
    }

    fn store_fact(&mut self, fact: Fact) {
        // There is room, or nothing would have been read; were there none, the report counts as missed.
        if self.store.try_send(vec![fact]).is_err() {
            self.protocol.distrust_observed();
        }
    }

    fn perform(&mut self, action: Action) {
        let image = action.step.image.as_ref();
        let state = self.parent.state.now();
        let digest = image.zip(state.node(self.node)).and_then(|(image, node)| desired_digest(node, image));
        if action.step.mutation.as_ref() == names::ACTIVATE && digest.is_none() {
            let reason = FailReason::Agent { detail: "no content is desired for this image; correct the cake".into() };
            let Action { node, step, generation, .. } = action;
            self.store_fact(Fact::Outcome(OutcomeFact { node, step, generation, reason }));
            return;
        }
        let digest = digest.map(|digest| *digest.as_bytes());
        self.protocol.perform(step_to_wire(&action.step), action.generation.0, digest);
    }
}
