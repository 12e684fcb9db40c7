//! What all connections share: the files, the way to the engine, and how much may be told of whom.
//!
//! Invariants: what goes wrong is paced by [`FAULTS_EACH`] and [`FAULTS_ALL`], what goes well by [`FILES_EACH`], and
//! scripts by [`SCRIPTS_EACH`], so that no client fills the journal. What is held back is counted in the next fact of its
//! kind, or in the log.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::facts::{self, Asked, Parts, Telling};
use super::files::Library;
use super::gate::Gate;
use crate::boot::offer::Offers;
use crate::boot::pace::{Pace, Rate, Verdict};
use crate::boot::script::BootSettings;
use crate::boot::tftp::files::Disk;
use crate::fact::Fact;
use crate::port::{FactSender, StateReader};

/// Refusals, broken transfers and garbage that are told of one client.
const FAULTS_EACH: Rate = Rate { burst: 8, refill_ms: 10_000 };
/// The same, of all clients.
const FAULTS_ALL: Rate = Rate { burst: 256, refill_ms: 100 };
/// Files sent that are told of one client: more than any boot needs.
const FILES_EACH: Rate = Rate { burst: 64, refill_ms: 1_000 };
/// Scripts, each with a new token, that one client is given: more than any boot needs.
const SCRIPTS_EACH: Rate = Rate { burst: 16, refill_ms: 2_000 };
/// Files and scripts of all clients: enough for ten thousand machines that boot at once.
const WHOLE_RACKS: Rate = Rate { burst: 100_000, refill_ms: 1 };

pub(super) struct Desk {
    pub(super) library: Library,
    pub(super) disk: Disk,
    pub(super) gate: Arc<Gate>,
    pub(super) offers: Arc<Offers>,
    pub(super) state: StateReader,
    pub(super) facts: FactSender,
    shutdown: CancellationToken,
    origin: Instant,
    faults: Mutex<Pace>,
    files: Mutex<Pace>,
    scripts: Mutex<Pace>,
    parts: Mutex<Parts>,
    sent_away: Mutex<Pace>,
}

/// Lines of the log on clients that were sent away.
const SENT_AWAY: Rate = Rate { burst: 1, refill_ms: 10_000 };
/// All clients as one sender.
const ANYBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

impl Desk {
    pub(super) fn new(
        library: Library,
        gate: Arc<Gate>,
        settings: Arc<BootSettings>,
        (state, facts): (StateReader, FactSender),
        shutdown: CancellationToken,
    ) -> Self {
        Desk {
            library,
            disk: Disk::new(),
            gate,
            offers: Arc::new(Offers::new(settings)),
            state,
            facts,
            shutdown,
            origin: Instant::now(),
            faults: Mutex::new(Pace::new(FAULTS_EACH, FAULTS_ALL)),
            files: Mutex::new(Pace::new(FILES_EACH, WHOLE_RACKS)),
            scripts: Mutex::new(Pace::new(SCRIPTS_EACH, WHOLE_RACKS)),
            parts: Mutex::default(),
            sent_away: Mutex::new(Pace::new(SENT_AWAY, SENT_AWAY)),
        }
    }

    /// Milliseconds since the service started.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether `client` may have a script now.
    pub(super) fn may_have_script(&self, client: IpAddr) -> bool {
        self.judge(&self.scripts, client) != Verdict::Hold
    }

    pub(super) fn tell_sent(&self, asked: &Asked, telling: Telling, bytes: u64, began_ms: u64) {
        let now_ms = self.now_ms();
        let (bytes, duration_ms) = match telling {
            // Of a script its token was told, before it was sent.
            Telling::Nothing => return,
            Telling::File => (bytes, now_ms.saturating_sub(began_ms)),
            Telling::PartOf { image, length_bytes } => {
                let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
                match parts.sent(asked.client, image, length_bytes, bytes, (began_ms, now_ms)) {
                    Some(complete) => (complete.bytes, complete.duration_ms),
                    None => return,
                }
            }
        };
        match self.judge(&self.files, asked.client) {
            Verdict::Pass { .. } => self.facts.offer(asked.sent(bytes, duration_ms)),
            Verdict::Hold => tracing::debug!(client = %asked.client, name = asked.name, "a file sent is not recorded"),
        }
    }

    pub(super) fn tell_stopped(&self, asked: &Asked, telling: Telling, bytes: u64, cause: Option<String>) {
        if let Telling::PartOf { image, .. } = telling {
            self.parts.lock().unwrap_or_else(PoisonError::into_inner).forget(asked.client, image);
        }
        let cause = match cause {
            Some(cause) => cause,
            None if self.shutdown.is_cancelled() => "the appliance was stopped; the client has to ask again".to_owned(),
            None => "the client closed the connection".to_owned(),
        };
        self.tell_fault(asked.client, |held_back| asked.stopped(bytes, with_held_back(cause, held_back)));
    }

    pub(super) fn tell_refused(&self, asked: &Asked, reason: String) {
        tracing::debug!(client = %asked.client, name = asked.name, reason, "HTTP request refused");
        self.tell_fault(asked.client, |held_back| asked.refused(with_held_back(reason, held_back)));
    }

    /// A client was told to come again for its image. It will, so that is a line of the log and no fact.
    pub(super) fn tell_sent_away(&self, client: IpAddr) {
        if let Verdict::Pass { held_back } = self.judge(&self.sent_away, ANYBODY) {
            let requests = held_back.saturating_add(1);
            tracing::info!(%client, requests, "requests for images were told to come again, all places and the queue are full");
        }
    }

    pub(super) fn tell_malformed(&self, client: IpAddr, reason: String) {
        self.tell_fault(client, |held_back| facts::malformed(client, with_held_back(reason, held_back)));
    }

    fn tell_fault(&self, client: IpAddr, fact: impl FnOnce(u64) -> Fact) {
        if let Verdict::Pass { held_back } = self.judge(&self.faults, client) {
            self.facts.offer(fact(held_back));
        }
    }

    fn judge(&self, pace: &Mutex<Pace>, client: IpAddr) -> Verdict {
        pace.lock().unwrap_or_else(PoisonError::into_inner).judge(client, self.now_ms())
    }
}

fn with_held_back(reason: String, held_back: u64) -> String {
    match held_back {
        0 => reason,
        count => format!("{reason} ({count} faults before this one were not recorded)"),
    }
}
