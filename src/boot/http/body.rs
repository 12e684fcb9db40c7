//! The body of an answer: a span of something open, and what goes with it until the last byte is out.
//!
//! Invariants: a body is the bytes that its length promises, or an error that ends the connection; a file that became
//! shorter is such an error. What is sent of it is told to its [`Ticket`], and its [`Place`] is kept until then.
//!
//! Deliberately absent: sending it (`wire`).

use std::sync::Arc;

use super::files::Opened;
use super::gate::Place;
use super::ticket::Ticket;

/// A body.
pub(super) struct AnswerBody {
    pub(super) opened: Arc<Opened>,
    /// The next byte to send, and the one behind the last, which is within what is open.
    pub(super) at: u64,
    pub(super) end: u64,
    ticket: Option<Ticket>,
    _place: Option<Place>,
}

impl AnswerBody {
    /// The bytes from `first` up to `end`. The ticket tells of their fate.
    pub(super) fn new(opened: Arc<Opened>, (first, end): (u64, u64), ticket: Option<Ticket>) -> Self {
        AnswerBody { opened, at: first, end, ticket, _place: None }
    }

    /// The same, in a place among the images.
    pub(super) fn in_place(self, place: Place) -> Self {
        AnswerBody { _place: Some(place), ..self }
    }

    pub(super) fn left_bytes(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The system took so many bytes more.
    pub(super) fn taken(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(bytes);
        if let Some(ticket) = &mut self.ticket {
            ticket.taken(bytes);
        }
    }

    /// The system took all of it.
    pub(super) fn sent(mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.tell_sent();
        }
    }
}
