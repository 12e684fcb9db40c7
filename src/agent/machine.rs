//! The life of a machine that is no node: it joins with the token of its boot, reports its hardware and what it hears of its
//! switches, and waits until it is told which node it is.
//!
//! Invariants: it runs nothing and does nothing that it is asked for, but to become a node or to start over; it never gives up.
//! Deliberately absent: the rest of its life (`link`), and how its address is changed (`network`).

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cmdline::{BootArguments, InterfaceAddress, JoinToken};
use super::join::{Connector, is_final, refusal_text};
use super::lldp::Heard;
use crate::model::hardware::Hardware;
use crate::model::machine::mac_of;
use crate::model::{NodeId, limits};
use crate::sync::codec::{Becoming, ChildMessage, Frames, ParentMessage, Transition};
use crate::sync::identity::IdentityError;
use crate::sync::link::Link;
use crate::sync::session::{ChildEvent, ChildSession, Ledger};

/// How long a message to a parent may take to be taken by the kernel.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// The pause after the parent did not take this machine back.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// A session that lasted for this long was a good one.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// What becomes of a machine that waited.
#[derive(Debug)]
pub enum Outcome {
    /// It is a node, with these arguments.
    Node(Box<BootArguments>),
    /// It is a node in another network: it has to boot again.
    StartOver,
    /// It was asked to end.
    Stopped,
}

/// Whether the boot script was that of a machine that is no node.
#[must_use]
pub fn is_machine(arguments: &BootArguments) -> bool {
    mac_of(NodeId(arguments.node)).is_some()
}

/// Reports and waits.
///
/// # Errors
/// When no key can be made.
pub async fn wait(
    arguments: &BootArguments,
    hardware: &Hardware,
    mut heard: watch::Receiver<Heard>,
    stop: CancellationToken,
) -> Result<Outcome, IdentityError> {
    let mut connector = Connector::new(arguments)?;
    tracing::info!(mac = %arguments.mac, "this machine is no node yet; it waits to be enrolled");
    loop {
        let (stream, parent) = tokio::select! {
            connected = connector.connect() => connected,
            () = stop.cancelled() => return Ok(Outcome::Stopped),
        };
        let begun = Instant::now();
        let mut link: Link<ParentMessage, ChildMessage> =
            Link::new(stream, Frames::new(limits::SYNC_FRAME_BYTES_MAX), WRITE_LIMIT);
        let mut session = ChildSession::new(*arguments.node.as_bytes(), Ledger::default(), 0);
        let ended = converse(&mut link, &mut session, hardware, &mut heard, &stop, begun).await;
        if begun.elapsed() >= GOOD_SESSION {
            connector.encourage();
        }
        match ended {
            End::Become(becoming) => match becoming.how {
                Transition::GoOn => match arguments_of(arguments, &becoming) {
                    Some(node) => return Ok(Outcome::Node(Box::new(node))),
                    None => return Ok(Outcome::StartOver),
                },
                Transition::StartOver => return Ok(Outcome::StartOver),
            },
            End::Stopped => return Ok(Outcome::Stopped),
            End::Refused(text) => {
                tracing::error!(%parent, reason = text, "the parent does not take this machine back");
                tokio::select! {
                    () = tokio::time::sleep(REFUSED_PAUSE) => {}
                    () = stop.cancelled() => return Ok(Outcome::Stopped),
                }
            }
            End::Lost(reason) => tracing::warn!(%parent, reason, "the session with the parent ended"),
        }
    }
}

enum End {
    Become(Box<Becoming>),
    Refused(String),
    Lost(String),
    Stopped,
}

async fn converse(
    link: &mut Link<ParentMessage, ChildMessage>,
    session: &mut ChildSession,
    hardware: &Hardware,
    heard: &mut watch::Receiver<Heard>,
    stop: &CancellationToken,
    born: Instant,
) -> End {
    let now_ms = || u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut hardware_told = false;
    heard.mark_changed();
    loop {
        if session.is_up() && !hardware_told {
            hardware_told = true;
            session.say(ChildMessage::Hardware(Box::new(hardware.clone())));
        }
        if session.is_up() && heard.has_changed().unwrap_or(false) {
            let neighbours = heard.borrow_and_update().clone();
            if let Some(neighbours) = neighbours {
                session.say(ChildMessage::Neighbours(neighbours));
            }
        }
        if let Err(error) = session.take_outgoing().iter().try_for_each(|message| link.send(message)) {
            return End::Lost(error.to_string());
        }
        let tick = Duration::from_millis(session.next_tick_ms().saturating_sub(now_ms()));
        let up = session.is_up();
        tokio::select! {
            biased;
            message = link.next() => {
                let message = match message {
                    Ok(message) => message,
                    Err(error) => return End::Lost(error.to_string()),
                };
                match session.received(now_ms(), message) {
                    Err(end) => return End::Lost(end.to_string()),
                    Ok(Some(ChildEvent::Become(becoming))) => return End::Become(becoming),
                    Ok(Some(ChildEvent::Refused(refusal))) if is_final(refusal) => {
                        return End::Refused(refusal_text(refusal));
                    }
                    Ok(Some(ChildEvent::Refused(refusal))) => return End::Lost(refusal_text(refusal)),
                    // Nothing is desired of a machine that is no node, and nothing that it is asked for is done.
                    Ok(None | Some(ChildEvent::Welcomed { .. } | ChildEvent::Desired | ChildEvent::Perform { .. })) => {}
                }
            }
            () = stop.cancelled() => return End::Stopped,
            // Looked at when the loop comes round.
            changed = heard.changed(), if up && heard.has_changed().is_ok() => if changed.is_ok() {
                heard.mark_changed();
            },
            () = tokio::time::sleep(tick) => {
                if let Err(end) = session.tick(now_ms()) {
                    return End::Lost(end.to_string());
                }
            }
        }
    }
}

/// The arguments with which the machine goes on as the node; nothing where they cannot be.
fn arguments_of(machine: &BootArguments, becoming: &Becoming) -> Option<BootArguments> {
    let token = JoinToken::new(becoming.token.clone())?;
    let address = InterfaceAddress { address: becoming.address, prefix_bits: becoming.prefix_bits };
    Some(BootArguments {
        node: Uuid::from_bytes(becoming.node),
        name: becoming.name.clone(),
        address,
        router: becoming.router,
        name_servers: becoming.name_servers.clone(),
        token,
        ..machine.clone()
    })
}
