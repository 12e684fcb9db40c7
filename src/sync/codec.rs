//! The tree protocol on the wire: its messages, and the frames that carry them.
//!
//! A frame is a length of four bytes, big endian, and so many bytes of one message in postcard's format. The first frame
//! of a connection is the child's [`ChildMessage::Join`] or [`ChildMessage::Hello`]; both begin with the version, which
//! [`opening_version`] reads without understanding the rest, so that a later version can be told that it is one.
//!
//! Invariants: a frame is at most [`SYNC_FRAME_BYTES_MAX`] long, checked before anything is kept; whatever the bytes,
//! the answer is a message or an error; a message that is not followed by its frame's end is refused. Variants are told
//! apart by their position: they may be added at the end, never moved.
//! Deliberately absent: what values mean and whether they are allowed (`facts`), sockets, TLS, and compression.
//! Specification: the postcard wire format, version 1.

use std::net::IpAddr;

use bytes::{Buf, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::Neighbour;
use crate::model::hardware::Hardware;
use crate::model::limits::SYNC_FRAME_BYTES_MAX;

#[cfg(test)]
mod tests;

/// The version that this code speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// The longest frame of a peer that has not said who it is, in bytes: a certificate request is a few hundred.
pub const OPENING_FRAME_BYTES_MAX: usize = 16 << 10;
/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// What a child says to its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildMessage {
    /// The first frame of a child that has no certificate yet.
    Join {
        /// [`PROTOCOL_VERSION`].
        version: u16,
        /// The node's id.
        node: [u8; 16],
        /// The token that this boot was given.
        token: Vec<u8>,
        /// A PKCS #10 request in DER, signed by the key that the certificate is asked for.
        csr_der: Vec<u8>,
    },
    /// The first frame of a child that has a certificate.
    Hello {
        /// [`PROTOCOL_VERSION`].
        version: u16,
        /// The node's id.
        node: [u8; 16],
    },
    /// What the child observes.
    Observed(Report),
    /// What the machine is made of.
    Hardware(Box<Hardware>),
    /// Lines of the console.
    Console {
        /// The lines, oldest first.
        lines: Vec<String>,
        /// Lines before these that were lost.
        dropped: u64,
    },
    /// A step could not be done.
    Failed {
        /// The step.
        step: WireStep,
        /// Which request.
        generation: u64,
        /// The whole error, for people.
        detail: String,
    },
    /// The child lives; this is what it has told.
    Heartbeat(Pulse),
    /// Something of the desired state was missed.
    Resend,
    /// The child leaves and means it.
    Bye,
    /// What a machine that is no node heard of the switches that it is plugged into; empty when it heard none.
    Neighbours(Vec<Neighbour>),
}

/// What a parent says to its child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentMessage {
    /// The answer to a join that was granted.
    Joined {
        /// The child's certificate, then the authority's, in DER.
        chain_der: Vec<Vec<u8>>,
    },
    /// The answer to a first frame that was not granted; the connection ends.
    Refused {
        /// Why.
        reason: WireRefusal,
    },
    /// The answer to a hello.
    Welcome {
        /// How often each side is to be heard, in milliseconds.
        hello_interval_ms: u32,
        /// After how long a silence the other side is taken for lost, in milliseconds.
        dead_interval_ms: u32,
        /// Tells this session from the node's other ones.
        session: u64,
    },
    /// What is desired.
    Desired(Report),
    /// A step to be done.
    Perform {
        /// The step.
        step: WireStep,
        /// Which request; an answer repeats it.
        generation: u64,
        /// Which content, for a step that is about an image.
        digest: Option<[u8; 32]>,
    },
    /// The parent lives; this is what it has told.
    Heartbeat(Pulse),
    /// Something of the observed state was missed.
    Resend,
    /// A machine that waits is a node now.
    Become(Box<Becoming>),
}

/// What a machine that is no node yet needs to go on as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Becoming {
    /// The node's id.
    pub node: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix_bits: u8,
    /// Its default router.
    pub router: Option<IpAddr>,
    /// Its name servers.
    pub name_servers: Vec<IpAddr>,
    /// The token to join with as the node.
    pub token: Vec<u8>,
    /// Whether it can go on as it is.
    pub how: Transition,
}

/// How a machine becomes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    /// It takes the node's address and joins anew.
    GoOn,
    /// Its network is another one, so it has to boot again.
    StartOver,
}

/// Variables of one owner: all of them, or those that have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Counts the owner's reports.
    pub revision: u64,
    /// Whether this is all.
    pub scope: WireScope,
    /// The variables; one without a value is not known any more.
    pub variables: Vec<WireVariable>,
    /// Images in the order in which they are to be started; always whole.
    pub order: Vec<String>,
}

/// Whether a report is all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireScope {
    /// What is not in it is not known.
    Full,
    /// What has changed since the revision before.
    Delta,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireVariable {
    /// Its path.
    pub path: String,
    /// Its value.
    pub value: Option<WireValue>,
}

/// A variable's value: of the kinds that a node and its parent tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireValue {
    /// One of a finite variable's values.
    Symbol(String),
    /// A SHA-256 digest.
    Digest([u8; 32]),
    /// A whole number.
    Int(i64),
    /// Free text.
    Text(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// Values in order.
    List(Vec<WireItem>),
}

/// A value in a list. Never a list itself: a peer could nest those deeper than the reader's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireItem {
    /// A whole number.
    Int(i64),
    /// Free text.
    Text(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

/// A mutation as it applies to one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WireStep {
    /// The mutation's name.
    pub mutation: String,
    /// The image that it is about, if it is about one.
    pub image: Option<String>,
}

/// A sign of life, with what the sender has told so far, so that the receiver sees whether it missed some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// The revision of the sender's last report; 0 before the first.
    pub revision: u64,
    /// The digest of the sender's variables at that revision.
    pub digest: [u8; 32],
}

/// Why a first frame was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireRefusal {
    /// No node has this id.
    UnknownNode,
    /// No token is open for this node.
    NoTokenOpen,
    /// It is not the token of this boot.
    WrongToken,
    /// The request could not be understood.
    BadRequest,
    /// The certificate is not the one of the node's last join.
    OldCertificate,
    /// The parent speaks another version.
    Version {
        /// The one that it speaks.
        spoken: u16,
    },
    /// The parent cannot do it now; later it may.
    TryLater,
    /// An operator refused the machine.
    Refused,
}

/// What is wrong with bytes from a peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// A frame is too long.
    #[error(
        "the peer announced a frame of {got_bytes} bytes, at most {limit_bytes} are taken; is it an agent of this cluster?"
    )]
    FrameTooLong {
        /// What was announced.
        got_bytes: u64,
        /// The bound.
        limit_bytes: usize,
    },
    /// A frame holds no message.
    #[error("a frame of {len_bytes} bytes holds no message of protocol version {PROTOCOL_VERSION}: {detail}")]
    BadMessage {
        /// The frame's length.
        len_bytes: usize,
        /// What the format's reader says.
        detail: String,
    },
    /// A message of our own is too long to be sent.
    #[error("a message of {got_bytes} bytes is longer than a frame may be ({SYNC_FRAME_BYTES_MAX})")]
    MessageTooLong {
        /// Its length.
        got_bytes: usize,
    },
}

/// The frame that carries `message`.
///
/// # Errors
/// When the message is longer than a frame may be.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, CodecError> {
    // Nothing that is sent has a length that is unknown beforehand, so the format itself has no reason to refuse.
    let body = postcard::to_stdvec(message)
        .map_err(|error| CodecError::BadMessage { len_bytes: 0, detail: error.to_string() })?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= SYNC_FRAME_BYTES_MAX);
    let Some(length) = length else { return Err(CodecError::MessageTooLong { got_bytes: body.len() }) };
    let mut frame = Vec::with_capacity(body.len().saturating_add(LENGTH_BYTES));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The message in a frame's body.
///
/// # Errors
/// When it is none, or something follows it.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, CodecError> {
    let bad = |detail: String| CodecError::BadMessage { len_bytes: body.len(), detail };
    match postcard::take_from_bytes::<M>(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(bad(format!("{} bytes follow it", rest.len()))),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// The version in a child's first frame, whatever else is in it; nothing when it cannot be a first frame.
#[must_use]
pub fn opening_version(body: &[u8]) -> Option<u16> {
    let ((variant, version), _) = postcard::take_from_bytes::<(u32, u16)>(body).ok()?;
    (variant <= 1).then_some(version)
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    limit_bytes: usize,
}

impl Frames {
    /// Takes frames of at most `limit_bytes`, and never more than [`SYNC_FRAME_BYTES_MAX`].
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Frames { buffer: BytesMut::new(), limit_bytes: limit_bytes.min(SYNC_FRAME_BYTES_MAX) }
    }

    /// Takes frames of at most `limit_bytes` from now on: the peer has said who it is.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes.min(SYNC_FRAME_BYTES_MAX);
    }

    /// Takes in what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The body of the next frame; nothing when it has not arrived in full.
    ///
    /// # Errors
    /// When the frame is too long. The stream cannot be read any further then.
    pub fn next_body(&mut self) -> Result<Option<BytesMut>, CodecError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let announced = u32::from_be_bytes(*length);
        let length = usize::try_from(announced).ok().filter(|length| *length <= self.limit_bytes);
        let Some(length) = length else {
            return Err(CodecError::FrameTooLong { got_bytes: announced.into(), limit_bytes: self.limit_bytes });
        };
        if self.buffer.len().saturating_sub(LENGTH_BYTES) < length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length)))
    }
}
