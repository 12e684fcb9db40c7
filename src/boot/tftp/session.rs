//! One transfer as a state machine: which blocks to send, and when it is over.
//!
//! Purpose: from a file's length and the granted [`Terms`], answer each packet and each expired deadline with a
//! [`Step`]. Specification: RFC 1350 §2 and §6, RFC 7440 §4 (windows), RFC 1123 §4.2.3.1 (Sorcerer's Apprentice).
//!
//! Invariants:
//! - Blocks are counted in 64 bits; only the wire rolls over (65,535 → 0, or 1 where that was agreed), so that a file
//!   has any length.
//! - Nothing is kept of the file: a block that is sent again is read again, which makes a window cost no memory.
//! - A repeated ACK never causes a repeated window in lock step. With windows, an ACK that names no new block may tell
//!   of a lost first block; it is obeyed once, and not again until a window has passed without going back. So a
//!   network that doubles packets cannot make the transfer double itself for ever. What is sent again on the client's
//!   word is bounded by [`REPEATS_PER_BLOCK_MAX`], so a client that wrongly acknowledges each block of a window does
//!   not get the window once more for each.
//! - A client's ERROR ends the transfer at once. Packets that mean nothing here are ignored.
//!
//! Deliberately absent: the file (the caller reads [`Session::span`]), the socket, the clock (`now` is the time since
//! the transfer began), congestion control (the window is the client's to choose, within the server's bound).

mod rto;
#[cfg(test)]
mod tests;

pub use rto::{RTO_INITIAL, RTO_MAX, RTO_MIN, TRIES_MAX};

use super::codec::{self, BLKSIZE_DEFAULT_BYTES, BLKSIZE_MIN_BYTES, ErrorCode, Options, Packet, Rollover};
use rto::{Retry, Rto};
use std::time::Duration;

/// The longest window that a session keeps to, in blocks; [`Session::new`] reads a longer one as this. It is far below
/// half of the block numbers, so an ACK's place is never in doubt, and bounds what one ACK can cause.
pub const WINDOWSIZE_LIMIT_BLOCKS: u16 = 1024;

/// How many blocks are sent again on the client's word, for each block that it has acknowledged. Beyond it, only the
/// deadline repeats.
pub const REPEATS_PER_BLOCK_MAX: u64 = 4;
/// How many windows may be sent again on the client's word before that counts.
const REPEATED_WINDOWS_FREE: u64 = 4;

/// What was agreed with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Bytes a block.
    pub blksize_bytes: u16,
    /// Blocks in a window.
    pub windowsize_blocks: u16,
    /// The retransmission interval in seconds, where the client set one.
    pub timeout_s: Option<u8>,
    /// Which block number follows 65,535.
    pub rollover: Rollover,
    /// The options to acknowledge; none means that the first packet is DATA.
    pub granted: Options,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            blksize_bytes: BLKSIZE_DEFAULT_BYTES,
            windowsize_blocks: 1,
            timeout_s: None,
            rollover: Rollover::default(),
            granted: Options::default(),
        }
    }
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send an OACK with the granted options.
    OfferOptions,
    /// Send these blocks in order, each as [`Session::span`] says.
    SendBlocks {
        /// The first block.
        first: u64,
        /// The last block, inclusive.
        last: u64,
    },
    /// Nothing, until a packet comes or the deadline passes.
    Wait,
    /// The transfer is over.
    End(Ending),
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client acknowledged the last block.
    Acknowledged,
    /// The client's port was closed while the last block was on its way: it has most likely got it, and its last ACK
    /// was lost.
    LastAckLost,
    /// The client asked for the size, got it, and wants no more.
    Probed,
    /// The client sent ERROR.
    ClientError {
        /// Its code.
        code: ErrorCode,
        /// Its words.
        message: String,
    },
    /// The client did not answer.
    NoAck {
        /// How often the same window was sent.
        tries: u32,
    },
    /// The client's port is closed.
    ClientGone,
}

/// Where a block's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The block number on the wire.
    pub wire_block: u16,
    /// Where it starts in the file, in bytes.
    pub offset_bytes: u64,
    /// Its length in bytes; the last block is shorter than the block size and may be empty.
    pub length_bytes: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The OACK is out and unanswered.
    Offered,
    /// The client takes blocks.
    Sending,
}

/// Whether an ACK without news may make the window start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoBack {
    Allowed,
    Spent,
}

/// Whether the window was sent once, so that its ACK measures a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    First,
    Repeated,
}

/// One transfer.
#[derive(Debug, Clone)]
pub struct Session {
    length_bytes: u64,
    terms: Terms,
    block_count: u64,
    phase: Phase,
    acked: u64,
    sent: u64,
    flight: Flight,
    go_back: GoBack,
    flown_at: Duration,
    repeats_on_ack: u64,
    deadline: Duration,
    rto: Rto,
    retransmissions: u64,
}

impl Session {
    /// A transfer of `length_bytes` under `terms`. A window or block size of nothing is read as the smallest one.
    pub fn new(length_bytes: u64, terms: Terms) -> Self {
        let terms = Terms {
            blksize_bytes: terms.blksize_bytes.max(BLKSIZE_MIN_BYTES),
            windowsize_blocks: terms.windowsize_blocks.clamp(1, WINDOWSIZE_LIMIT_BLOCKS),
            ..terms
        };
        let full_blocks = length_bytes.checked_div(u64::from(terms.blksize_bytes)).unwrap_or_default();
        Self {
            length_bytes,
            terms,
            // A file that fills its last block is ended by an empty one.
            block_count: full_blocks.saturating_add(1),
            phase: if terms.granted.is_empty() { Phase::Sending } else { Phase::Offered },
            acked: 0,
            sent: 0,
            flight: Flight::First,
            go_back: GoBack::Allowed,
            flown_at: Duration::ZERO,
            repeats_on_ack: 0,
            deadline: Duration::ZERO,
            rto: Rto::new(terms.timeout_s),
            retransmissions: 0,
        }
    }

    /// The first step: an OACK, or the first block.
    pub fn start(&mut self, now: Duration) -> Step {
        match self.phase {
            Phase::Offered => {
                self.take_off(now, Flight::First);
                Step::OfferOptions
            }
            Phase::Sending => self.send_window(now),
        }
    }

    /// A datagram came from the client.
    pub fn on_packet(&mut self, now: Duration, datagram: &[u8]) -> Step {
        match codec::decode(datagram) {
            Ok(Packet::Ack { block }) => self.on_ack(now, block),
            Ok(Packet::Error { code, message }) => Step::End(self.on_error(code, message)),
            Ok(_) | Err(_) => Step::Wait,
        }
    }

    /// The deadline passed. Called early, it does nothing.
    pub fn on_timeout(&mut self, now: Duration) -> Step {
        if now < self.deadline {
            return Step::Wait;
        }
        if self.rto.expire() == Retry::GiveUp {
            return Step::End(Ending::NoAck { tries: self.rto.tries() });
        }
        match self.phase {
            Phase::Offered => {
                self.retransmissions = self.retransmissions.saturating_add(1);
                self.take_off(now, Flight::Repeated);
                Step::OfferOptions
            }
            Phase::Sending => {
                self.go_back = GoBack::Spent;
                self.send_window(now)
            }
        }
    }

    /// The network said that the client's port is closed.
    pub fn on_unreachable(&self) -> Step {
        let last_on_its_way = self.phase == Phase::Sending && self.sent >= self.block_count;
        Step::End(if last_on_its_way { Ending::LastAckLost } else { Ending::ClientGone })
    }

    /// When [`Session::on_timeout`] is due.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Where a block is; none outside 1..=the last block.
    pub fn span(&self, block: u64) -> Option<Span> {
        if block > self.block_count {
            return None;
        }
        let blksize = u64::from(self.terms.blksize_bytes);
        let offset_bytes = block.checked_sub(1)?.checked_mul(blksize)?;
        let length = self.length_bytes.checked_sub(offset_bytes)?.min(blksize);
        Some(Span {
            wire_block: wire(block, self.terms.rollover),
            offset_bytes,
            length_bytes: u16::try_from(length).ok()?,
        })
    }

    /// The last block that the client acknowledged in order; 0 before the first.
    pub fn acked_block(&self) -> u64 {
        self.acked
    }

    /// How much of the file those blocks hold, in bytes.
    pub fn acked_bytes(&self) -> u64 {
        self.acked.saturating_mul(u64::from(self.terms.blksize_bytes)).min(self.length_bytes)
    }

    /// Packets that were sent more than once.
    pub fn retransmissions(&self) -> u64 {
        self.retransmissions
    }

    /// Whether the client is quiet: it has taken blocks, and the last deadline passed without an ACK.
    pub fn has_stalled(&self) -> bool {
        self.acked > 0 && self.rto.tries() > 0
    }

    fn on_ack(&mut self, now: Duration, wire_block: u16) -> Step {
        // The window is far shorter than half of the numbers, so the distance from the last acknowledged block says
        // without doubt whether an ACK lies in the window or is old.
        if self.phase == Phase::Offered {
            return if wire_block == 0 { self.accept_terms(now) } else { Step::Wait };
        }
        let Some(news) = distance(self.acked, wire_block, self.terms.rollover) else { return Step::Wait };
        if news > self.sent.saturating_sub(self.acked) {
            return Step::Wait;
        }
        if news == 0 {
            return self.on_ack_without_news(now);
        }
        self.acked = self.acked.saturating_add(news);
        self.rto.progress();
        if self.acked >= self.block_count {
            return Step::End(Ending::Acknowledged);
        }
        if self.acked == self.sent {
            if self.flight == Flight::First {
                self.rto.sample(now.saturating_sub(self.flown_at));
                self.go_back = GoBack::Allowed;
            }
            return self.send_window(now);
        }
        // The ACK stops inside the window: the block after it is missing.
        self.deadline = now.saturating_add(self.rto.pause());
        self.go_back_to_missing(now)
    }

    fn on_ack_without_news(&mut self, now: Duration) -> Step {
        if self.terms.windowsize_blocks == 1 || self.go_back == GoBack::Spent {
            return Step::Wait;
        }
        self.go_back_to_missing(now)
    }

    fn go_back_to_missing(&mut self, now: Duration) -> Step {
        let free = u64::from(self.terms.windowsize_blocks).saturating_mul(REPEATED_WINDOWS_FREE);
        if self.repeats_on_ack > self.acked.saturating_mul(REPEATS_PER_BLOCK_MAX).saturating_add(free) {
            return Step::Wait;
        }
        self.repeats_on_ack = self.repeats_on_ack.saturating_add(self.sent.saturating_sub(self.acked));
        self.go_back = GoBack::Spent;
        self.send_window(now)
    }

    fn accept_terms(&mut self, now: Duration) -> Step {
        if self.flight == Flight::First {
            self.rto.sample(now.saturating_sub(self.flown_at));
        }
        self.rto.progress();
        self.phase = Phase::Sending;
        self.send_window(now)
    }

    fn on_error(&self, code: ErrorCode, message: &[u8]) -> Ending {
        if self.phase == Phase::Offered && self.terms.granted.tsize_bytes.is_some() {
            return Ending::Probed;
        }
        Ending::ClientError { code, message: codec::message_text(message).into_owned() }
    }

    fn send_window(&mut self, now: Duration) -> Step {
        let first = self.acked.saturating_add(1);
        let last = self.acked.saturating_add(u64::from(self.terms.windowsize_blocks)).min(self.block_count);
        let repeated = self.sent.saturating_sub(self.acked);
        self.retransmissions = self.retransmissions.saturating_add(repeated);
        self.sent = self.sent.max(last);
        self.take_off(now, if repeated > 0 { Flight::Repeated } else { Flight::First });
        Step::SendBlocks { first, last }
    }

    fn take_off(&mut self, now: Duration, flight: Flight) {
        self.flight = flight;
        self.flown_at = now;
        self.deadline = now.saturating_add(self.rto.pause());
    }
}

/// Numbers on the wire where 0 is not one of them again.
const NUMBERS_WITHOUT_ZERO: u64 = 65_535;

/// A block's number on the wire. What is acknowledged before the first block has the number 0 either way.
fn wire(block: u64, rollover: Rollover) -> u16 {
    let number = match rollover {
        Rollover::ToZero => block & 0xffff,
        Rollover::ToOne if block == 0 => 0,
        Rollover::ToOne => ((block - 1) % NUMBERS_WITHOUT_ZERO) + 1,
    };
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// How many blocks behind `acked` the block with this number is; none where no such block has the number.
fn distance(acked: u64, wire_block: u16, rollover: Rollover) -> Option<u64> {
    let from = wire(acked, rollover);
    match rollover {
        Rollover::ToZero => Some(u64::from(wire_block.wrapping_sub(from))),
        Rollover::ToOne if wire_block == 0 => (acked == 0).then_some(0),
        Rollover::ToOne => {
            let ahead = u64::from(wire_block) + NUMBERS_WITHOUT_ZERO - u64::from(from);
            Some(ahead % NUMBERS_WITHOUT_ZERO)
        }
    }
}
