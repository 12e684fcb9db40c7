//! What becomes of an answer, from its first byte to the last one that the socket took.
//!
//! A [`Ticket`] goes with each answer that is to be told of. When its body has been handed over it waits on the [`Line`],
//! and when the line has been flushed it tells that the file was sent. A ticket that is dropped before tells that the
//! client left, so no way out of the code can forget it.
//!
//! Invariants: each ticket tells exactly once. `Sent` means that the system has taken every byte for this client; what the
//! client's machine has acknowledged is not known here.

use std::sync::{Arc, Mutex, PoisonError};

use super::desk::Desk;
use super::facts::{Asked, Telling};

/// One connection's tickets that wait for their last bytes to be written, and why it ended, where that is known.
#[derive(Clone, Default)]
pub(super) struct Line {
    waiting: Arc<Mutex<Vec<Ticket>>>,
    cause: Arc<Mutex<Option<String>>>,
}

impl Line {
    pub(super) fn await_flush(&self, ticket: Ticket) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }

    /// All that was handed over so far has been written.
    pub(super) fn flushed(&self) {
        let tickets = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for ticket in tickets {
            ticket.tell_sent();
        }
    }

    /// Notes why the connection is about to end. The first cause counts.
    pub(super) fn note(&self, cause: String) {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
    }
}

/// Where an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    Told,
}

/// An answer that is to be told of.
pub(super) struct Ticket {
    desk: Arc<Desk>,
    asked: Asked,
    telling: Telling,
    began_ms: u64,
    bytes: u64,
    stage: Stage,
    cause: Arc<Mutex<Option<String>>>,
}

impl Ticket {
    pub(super) fn new(desk: &Arc<Desk>, line: &Line, asked: Asked, telling: Telling, began_ms: u64) -> Self {
        let (desk, cause) = (Arc::clone(desk), Arc::clone(&line.cause));
        Ticket { desk, asked, telling, began_ms, bytes: 0, stage: Stage::UnderWay, cause }
    }

    pub(super) fn handed_over(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn tell_sent(mut self) {
        self.stage = Stage::Told;
        self.desk.tell_sent(&self.asked, self.telling, self.bytes, self.began_ms);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.stage == Stage::UnderWay {
            let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.desk.tell_stopped(&self.asked, self.telling, self.bytes, cause);
        }
    }
}
