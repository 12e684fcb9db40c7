//! The way of TFTP's events to the engine.
//!
//! Purpose: [`reporter`] makes what [`super::Bound::run`] calls for each event: it turns the event into a fact by the
//! newest state, and offers it to the engine.
//!
//! Invariants: it never blocks. Files sent and what goes wrong are paced apart, each sender by itself, so that a flood of
//! bad packets neither fills the journal nor hides a boot. What is held back is counted in the next fact that says what
//! went wrong.
//!
//! Deliberately absent: what an event means (`facts`).

use super::TransferEvent;
use super::facts::fact_of;
use crate::boot::pace::{Pace, Rate, Verdict};
use crate::fact::{Fact, FileEvent};
use crate::port::{FactSender, StateReader};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Refusals, broken transfers and garbage that are told of one sender.
const FAULTS_EACH: Rate = Rate { burst: 8, refill_ms: 10_000 };
/// The same, of all senders.
const FAULTS_ALL: Rate = Rate { burst: 256, refill_ms: 100 };
/// Files sent that are told of one client: more than any boot needs.
const FILES_EACH: Rate = Rate { burst: 64, refill_ms: 1_000 };
/// The same, of all clients: enough for ten thousand machines that boot at once.
const FILES_ALL: Rate = Rate { burst: 100_000, refill_ms: 1 };

/// Makes the receiver of the server's events.
pub fn reporter(facts: FactSender, state: StateReader) -> impl Fn(TransferEvent) + Send + Sync + 'static {
    let origin = Instant::now();
    let faults = Mutex::new(Pace::new(FAULTS_EACH, FAULTS_ALL));
    let files = Mutex::new(Pace::new(FILES_EACH, FILES_ALL));
    move |event| {
        let Some(mut fact) = fact_of(&event, &state.now()) else {
            return tracing::debug!(?event, "TFTP transfer");
        };
        let pace = if is_fault(&fact) { &faults } else { &files };
        let now_ms = u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let sender = client_of(&event).ip().to_canonical();
        match pace.lock().unwrap_or_else(PoisonError::into_inner).judge(sender, now_ms) {
            Verdict::Hold => tracing::debug!(?event, "a TFTP event is not recorded, its sender has caused too many"),
            Verdict::Pass { held_back } => {
                note_held_back(&mut fact, held_back);
                facts.offer(fact);
            }
        }
    }
}

fn is_fault(fact: &Fact) -> bool {
    !matches!(fact, Fact::File(file) if matches!(file.event, FileEvent::Sent { .. }))
}

fn client_of(event: &TransferEvent) -> SocketAddr {
    match event {
        TransferEvent::Started { client, .. }
        | TransferEvent::Finished { client, .. }
        | TransferEvent::Probed { client, .. }
        | TransferEvent::Failed { client, .. }
        | TransferEvent::Refused { client, .. }
        | TransferEvent::Malformed { client, .. } => *client,
    }
}

fn note_held_back(fact: &mut Fact, held_back: u64) {
    let reason = match fact {
        Fact::Malformed(fact) => &mut fact.reason,
        Fact::File(file) => match &mut file.event {
            FileEvent::Stopped { reason, .. } | FileEvent::Refused { reason } => reason,
            FileEvent::Sent { .. } => return,
        },
        _ => return,
    };
    if held_back > 0 {
        reason.push_str(&format!(" ({held_back} faults before this one were not recorded)"));
    }
}
