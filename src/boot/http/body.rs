//! The body of an answer: pieces of a file, handed over as fast as the connection takes them.
//!
//! Invariants: a body yields exactly the bytes that its length promises, or an error that ends the connection; a file that
//! became shorter is such an error. One piece of [`PIECE_BYTES`] is held at a time. A piece from memory is shared, not
//! copied; a piece from the disk is read straight into the buffer that is written to the socket.
//!
//! Deliberately absent: what is told of it (its [`Ticket`] does), and sendfile: hyper owns the socket and has no way for a
//! file to reach it without passing through user space.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::files::Opened;
use super::ticket::{Line, Ticket};
use crate::boot::tftp::files::Disk;

/// How much of a file is read and handed over at once, in bytes.
pub const PIECE_BYTES: u64 = 256 << 10;

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// A body.
pub(super) struct AnswerBody {
    opened: Arc<Opened>,
    disk: Disk,
    line: Line,
    /// The next byte to hand over, and the one behind the last.
    at: u64,
    end: u64,
    reading: Option<Reading>,
    ticket: Option<Ticket>,
}

impl AnswerBody {
    /// The bytes from `first` up to `end`, which is within the file. The ticket tells of their fate.
    pub(super) fn new(
        opened: Arc<Opened>,
        (first, end): (u64, u64),
        disk: Disk,
        line: Line,
        ticket: Option<Ticket>,
    ) -> Self {
        let mut body = AnswerBody { opened, disk, line, at: first, end, reading: None, ticket };
        // Nobody asks an empty body for its pieces.
        body.settle();
        body
    }

    fn next_length(&self) -> usize {
        let length = self.end.saturating_sub(self.at).min(PIECE_BYTES);
        usize::try_from(length).unwrap_or(0)
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let Some(piece) = self.opened.at_hand(self.at, self.next_length()) {
            return Poll::Ready(Ok(piece));
        }
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.read_at(self.at),
        };
        match reading.as_mut().poll(context) {
            Poll::Pending => {
                self.reading = Some(reading);
                Poll::Pending
            }
            Poll::Ready(piece) => Poll::Ready(piece),
        }
    }

    fn read_at(&self, offset_bytes: u64) -> Reading {
        let (opened, disk) = (Arc::clone(&self.opened), self.disk.clone());
        let length = usize::try_from(self.end.saturating_sub(offset_bytes).min(PIECE_BYTES)).unwrap_or(0);
        Box::pin(async move { disk.read(move || opened.read(offset_bytes, length)).await? })
    }

    /// Once all is handed over, the ticket waits for the connection to have written it.
    fn settle(&mut self) {
        if self.at >= self.end
            && let Some(ticket) = self.ticket.take()
        {
            self.line.await_flush(ticket);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = &mut *self;
        if body.at >= body.end {
            return Poll::Ready(None);
        }
        match ready!(body.poll_piece(context)) {
            Ok(piece) => {
                let length_bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                body.at = body.at.saturating_add(length_bytes);
                if let Some(ticket) = &mut body.ticket {
                    ticket.handed_over(length_bytes);
                }
                body.settle();
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Err(error) => {
                tracing::warn!(%error, "a file that is being sent cannot be read on");
                body.line.note(format!("the file could not be read on ({error}); replace served files by renaming"));
                body.ticket = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end.saturating_sub(self.at))
    }
}
