//! What becomes of an answer, from its first byte to the last one that the socket took.
//!
//! A [`Ticket`] goes with the body of each answer that is to be told of. When the system has taken all of it, it tells that
//! the file was sent. A ticket that is dropped before tells that the client left, so no way out of the code can forget it.
//!
//! Invariants: each ticket tells exactly once. `Sent` means that the system has taken every byte for this client; what the
//! client's machine has acknowledged is not known here.

use std::sync::{Arc, Mutex, PoisonError};

use super::desk::Desk;
use super::facts::{Asked, Telling};

/// Why a connection ended, where that is known.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<Option<String>>>);

impl Line {
    /// Notes why the connection is about to end. The first cause counts.
    pub(super) fn note(&self, cause: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
    }

    fn cause(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    line: Line,
}

impl Ticket {
    pub(super) fn new(desk: &Arc<Desk>, line: &Line, asked: Asked, telling: Telling, began_ms: u64) -> Self {
        let (desk, line) = (Arc::clone(desk), line.clone());
        Ticket { desk, asked, telling, began_ms, bytes: 0, stage: Stage::UnderWay, line }
    }

    /// The system took so many bytes more.
    pub(super) fn taken(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The system took all of it.
    pub(super) fn tell_sent(mut self) {
        self.stage = Stage::Told;
        self.desk.tell_sent(&self.asked, self.telling, self.bytes, self.began_ms);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.stage == Stage::UnderWay {
            self.desk.tell_stopped(&self.asked, self.telling, self.bytes, self.line.cause());
        }
    }
}
