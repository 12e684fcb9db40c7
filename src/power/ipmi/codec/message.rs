//! IPMI messages as LAN carries them, with their two checksums.
//!
//! Pure. Invariants: both checksums are checked before any field is given out; the request sequence is six bits.
//! Deliberately not here: bridging, logical units other than 0, software ids other than the remote console's first.
//! Specification: IPMI v2.0 rev 1.1, section 13.8, figure 13-4; section 22.13 (Get Channel Authentication Capabilities).

use super::{CodecError, Cursor};
use crate::power::ipmi::completion::CompletionCode;

const BMC_ADDRESS: u8 = 0x20;
const CONSOLE_SOFTWARE_ID: u8 = 0x81;
/// Bytes of a message before its data: two addresses, two function bytes, a checksum, the command.
const HEADER_CHECKED_BYTES: usize = 2;

/// Number that ties an answer to its request; six bits, so it repeats after 64 requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RequestSequence(u8);

impl RequestSequence {
    /// Keeps the low six bits.
    pub const fn new(number: u8) -> Self {
        Self(number & 0x3f)
    }

    /// The number after this one.
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }

    /// The number itself, 0–63.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A request from the console to the BMC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Network function, even, 0–62.
    pub net_fn: u8,
    /// Command number inside the network function.
    pub command: u8,
    /// Ties the answer to this request.
    pub sequence: RequestSequence,
    /// Data of the command.
    pub data: Vec<u8>,
}

/// An answer from the BMC to the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Network function of the answer: the request's plus one.
    pub net_fn: u8,
    /// Command number of the request.
    pub command: u8,
    /// Sequence of the request.
    pub sequence: RequestSequence,
    /// Whether the command was carried out.
    pub completion: CompletionCode,
    /// Data after the completion code.
    pub data: Vec<u8>,
}

/// Checksum of IPMI: the bytes and it add up to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

fn encode(to: u8, from: u8, net_fn: u8, sequence: RequestSequence, tail: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![to, net_fn << 2];
    out.push(checksum(&out));
    let mut body = vec![from, sequence.number() << 2];
    for part in tail {
        body.extend_from_slice(part);
    }
    body.push(checksum(&body));
    out.append(&mut body);
    out
}

struct Fields<'a> {
    net_fn: u8,
    command: u8,
    sequence: RequestSequence,
    tail: &'a [u8],
}

fn decode(bytes: &[u8], to: u8, from: u8) -> Result<Fields<'_>, CodecError> {
    let mut cursor = Cursor::new("the IPMI message", bytes);
    let head = cursor.take(HEADER_CHECKED_BYTES)?;
    if cursor.u8()? != checksum(head) {
        return Err(CodecError::Checksum { what: "header" });
    }
    let Some((check, body)) = cursor.rest().split_last() else {
        return Err(CodecError::Truncated { what: "the IPMI message", missing_bytes: 1 });
    };
    if *check != checksum(body) {
        return Err(CodecError::Checksum { what: "data" });
    }
    let (&[got_to, function], mut body) = (
        <&[u8; HEADER_CHECKED_BYTES]>::try_from(head)
            .map_err(|_| CodecError::Truncated { what: "the IPMI message", missing_bytes: 1 })?,
        Cursor::new("the IPMI message", body),
    );
    super::expect("the receiver's address", got_to, to)?;
    super::expect("the sender's address", body.u8()?, from)?;
    let sequence = RequestSequence::new(body.u8()? >> 2);
    let command = body.u8()?;
    Ok(Fields { net_fn: function >> 2, command, sequence, tail: body.rest() })
}

impl Request {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let tail: [&[u8]; 2] = [&[self.command], &self.data];
        encode(BMC_ADDRESS, CONSOLE_SOFTWARE_ID, self.net_fn, self.sequence, &tail)
    }

    /// Reads a request, as a BMC does.
    ///
    /// # Errors
    /// [`CodecError`] for a short message, a wrong checksum or foreign addresses.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let fields = decode(bytes, BMC_ADDRESS, CONSOLE_SOFTWARE_ID)?;
        Ok(Self {
            net_fn: fields.net_fn,
            command: fields.command,
            sequence: fields.sequence,
            data: fields.tail.to_vec(),
        })
    }
}

impl Response {
    /// The bytes of the message, as a BMC sends it.
    pub fn encode(&self) -> Vec<u8> {
        let tail: [&[u8]; 2] = [&[self.command, self.completion.0], &self.data];
        encode(CONSOLE_SOFTWARE_ID, BMC_ADDRESS, self.net_fn, self.sequence, &tail)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`CodecError`] for a short message, a wrong checksum or foreign addresses.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let fields = decode(bytes, CONSOLE_SOFTWARE_ID, BMC_ADDRESS)?;
        let Some((completion, data)) = fields.tail.split_first() else {
            return Err(CodecError::Truncated { what: "the IPMI answer", missing_bytes: 1 });
        };
        Ok(Self {
            net_fn: fields.net_fn,
            command: fields.command,
            sequence: fields.sequence,
            completion: CompletionCode(*completion),
            data: data.to_vec(),
        })
    }

    /// Whether this answers `request`.
    pub fn answers(&self, request: &Request) -> bool {
        self.net_fn == request.net_fn | 1 && self.command == request.command && self.sequence == request.sequence
    }
}

/// Which sessions a BMC offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// RMCP+ is offered.
    RmcpPlus,
    /// Only IPMI v1.5.
    Version15Only,
}

/// Whether the BMC wants a channel key (Kg) besides the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKey {
    /// The key is all zeros: the password alone is enough.
    NotSet,
    /// A key is set.
    Set,
}

/// What the client uses of the answer to Get Channel Authentication Capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticationCapabilities {
    /// Which sessions are offered.
    pub sessions: Sessions,
    /// Whether a channel key is set.
    pub channel_key: ChannelKey,
}

impl AuthenticationCapabilities {
    /// Data of the request: this channel, extended data wanted, at `privilege`.
    pub const fn request_data(privilege: u8) -> [u8; 2] {
        [0x8e, privilege]
    }

    /// Reads the data after the completion code.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] when the answer is too short.
    pub fn decode(data: &[u8]) -> Result<Self, CodecError> {
        let mut cursor = Cursor::new("the channel authentication capabilities", data);
        let _channel = cursor.u8()?;
        let types = cursor.u8()?;
        let status = cursor.u8()?;
        let extended = cursor.u8()?;
        let is_extended = types & 0x80 != 0;
        Ok(Self {
            sessions: if is_extended && extended & 0x02 != 0 { Sessions::RmcpPlus } else { Sessions::Version15Only },
            channel_key: if is_extended && status & 0x20 != 0 { ChannelKey::Set } else { ChannelKey::NotSet },
        })
    }

    /// The data as a BMC sends it after the completion code.
    pub fn encode(&self) -> Vec<u8> {
        let status = match self.channel_key {
            ChannelKey::Set => 0x24,
            ChannelKey::NotSet => 0x04,
        };
        let (types, extended) = match self.sessions {
            Sessions::RmcpPlus => (0x80, 0x02),
            Sessions::Version15Only => (0x00, 0x00),
        };
        vec![0x01, types, status, extended, 0, 0, 0, 0]
    }
}
