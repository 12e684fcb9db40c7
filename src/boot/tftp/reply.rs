//! What to answer to a request.
//!
//! Purpose: choose the [`Terms`] for a file and the client's options, and the ERROR for a request that is not granted.
//! Specification: RFC 2347 (only what was asked for is acknowledged), RFC 2348, RFC 2349, RFC 7440 §3 (a server may
//! lower `blksize` and `windowsize`, and acknowledges `timeout` unchanged or not at all).
//!
//! Invariants: pure; an option that was not asked for is never granted; the block never exceeds the limit, except that
//! the 512 bytes of a client without options cannot be lowered.
//!
//! Deliberately absent: looking a file up.

use super::codec::{BLKSIZE_DEFAULT_BYTES, BLKSIZE_MIN_BYTES, DecodeError, ErrorCode, Options};
use super::facts::RefuseReason;
use super::session::{Terms, WINDOWSIZE_LIMIT_BLOCKS};

/// The server's side of the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest block that is granted, in bytes.
    pub blksize_max_bytes: u16,
    /// Longest window that is granted, in blocks.
    pub windowsize_max_blocks: u16,
}

/// An ERROR to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// Its code.
    pub code: ErrorCode,
    /// Its words, for the client's console.
    pub message: String,
}

/// Chooses the terms for a file of `length_bytes`.
pub fn negotiate(asked: &Options, length_bytes: u64, limits: Limits) -> Terms {
    let blksize_max = limits.blksize_max_bytes.max(BLKSIZE_MIN_BYTES);
    let windowsize_max = limits.windowsize_max_blocks.clamp(1, WINDOWSIZE_LIMIT_BLOCKS);
    let granted = Options {
        blksize_bytes: asked.blksize_bytes.map(|size| size.min(blksize_max)),
        timeout_s: asked.timeout_s,
        tsize_bytes: asked.tsize_bytes.map(|_| length_bytes),
        windowsize_blocks: asked.windowsize_blocks.map(|blocks| blocks.min(windowsize_max)),
        rollover: asked.rollover,
    };
    Terms {
        blksize_bytes: granted.blksize_bytes.unwrap_or(BLKSIZE_DEFAULT_BYTES),
        windowsize_blocks: granted.windowsize_blocks.unwrap_or(1),
        timeout_s: granted.timeout_s,
        rollover: granted.rollover.unwrap_or_default(),
        granted,
    }
}

/// The ERROR for a request that is not granted; none where silence makes the client ask again.
pub fn refusal(reason: &RefuseReason) -> Option<ErrorReply> {
    let (code, message) = match reason {
        RefuseReason::NotFound => (ErrorCode::FileNotFound, "file not found".to_owned()),
        RefuseReason::OutsideRoots => (ErrorCode::AccessViolation, "name leads out of the served folders".to_owned()),
        RefuseReason::NotAFile => (ErrorCode::AccessViolation, "not a plain file".to_owned()),
        // What the system said is the operator's to know, not the network's.
        RefuseReason::Unreadable { .. } => (ErrorCode::AccessViolation, "file cannot be read".to_owned()),
        RefuseReason::Withheld { .. } => {
            (ErrorCode::AccessViolation, "the file is not for this machine now".to_owned())
        }
        RefuseReason::WriteRefused => (ErrorCode::AccessViolation, "this server is read-only".to_owned()),
        RefuseReason::ModeUnknown { .. } => {
            (ErrorCode::IllegalOperation, "mode not served; use octet or netascii".to_owned())
        }
        RefuseReason::NetasciiTooLong { .. } => {
            (ErrorCode::NotDefined, "file too long for netascii; use octet".to_owned())
        }
        RefuseReason::Busy { .. } | RefuseReason::ClientBusy { .. } | RefuseReason::NoSocket { .. } => return None,
    };
    Some(ErrorReply { code, message })
}

/// The ERROR for a request that could not be decoded; none where the sender may speak another protocol.
pub fn malformed(reason: DecodeError) -> Option<ErrorReply> {
    let message = match reason {
        DecodeError::NameMissing => "request without a file name",
        DecodeError::NameTooLong { .. } => "file name too long",
        DecodeError::NameNotText => "file name is not text",
        DecodeError::Truncated { .. } | DecodeError::UnknownOpcode { .. } => return None,
    };
    Some(ErrorReply { code: ErrorCode::IllegalOperation, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::codec::Rollover;
    use super::*;

    const LIMITS: Limits = Limits { blksize_max_bytes: 1468, windowsize_max_blocks: 16 };

    #[test]
    fn only_what_was_asked_for_is_granted() {
        assert!(negotiate(&Options::default(), 7, LIMITS).granted.is_empty());
        let terms = negotiate(&Options { tsize_bytes: Some(0), ..Options::default() }, 7, LIMITS);
        assert_eq!(terms.granted, Options { tsize_bytes: Some(7), ..Options::default() });
        assert_eq!((terms.blksize_bytes, terms.windowsize_blocks), (512, 1));
    }

    #[test]
    fn block_and_window_are_lowered_to_the_limits_and_the_interval_is_kept() {
        let asked = Options {
            blksize_bytes: Some(65_464),
            windowsize_blocks: Some(65_535),
            timeout_s: Some(255),
            rollover: Some(Rollover::ToOne),
            tsize_bytes: None,
        };
        let terms = negotiate(&asked, 7, LIMITS);
        assert_eq!((terms.blksize_bytes, terms.windowsize_blocks, terms.timeout_s), (1468, 16, Some(255)));
        assert_eq!((terms.rollover, terms.granted.rollover), (Rollover::ToOne, Some(Rollover::ToOne)));
        assert_eq!(terms.granted.blksize_bytes, Some(1468));
    }

    #[test]
    fn small_wishes_are_granted_as_they_are() {
        let asked = Options { blksize_bytes: Some(8), windowsize_blocks: Some(1), ..Options::default() };
        assert_eq!(negotiate(&asked, 7, LIMITS).granted, asked);
    }

    #[test]
    fn a_client_that_may_come_again_gets_no_error() {
        assert_eq!(refusal(&RefuseReason::Busy { limit: 1 }), None);
        assert_eq!(refusal(&RefuseReason::NotFound).map(|reply| reply.code), Some(ErrorCode::FileNotFound));
    }
}
