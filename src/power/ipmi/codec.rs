//! The datagrams of IPMI over LAN: RMCP header, session headers, confidentiality and integrity, IPMI messages.
//!
//! Pure. Invariants: decoding accepts any bytes and never panics; nothing of a protected payload is readable before its
//! integrity was checked ([`Protected::open`]); what is encoded decodes to the same value.
//! Lenient on purpose: bytes after a v1.5 payload are ignored (some BMCs add the legacy pad), and the values of padding
//! bytes are not checked (they are under the integrity check, and some BMCs write others).
//! Deliberately not here: sequence windows, retries, what an answer means (`session`), v1.5 authentication, OEM payloads,
//! cipher suites other than 3.
//! Specification: IPMI v2.0 rev 1.1, sections 13.1 (RMCP), 13.6 (v1.5 header), 13.8 (IPMI message), 13.27–13.29 (RMCP+,
//! AES-CBC-128, integrity trailer).

pub mod message;
pub mod rakp;

mod cursor;
#[cfg(test)]
mod tests;

use super::crypto::{self, AUTH_CODE_BYTES, SessionKeys};
use cursor::Cursor;

/// The largest datagram that the client reads; IPMI messages are far smaller.
pub const MAX_DATAGRAM_BYTES: usize = 1500;

const RMCP_VERSION: u8 = 0x06;
/// RMCP sequence number that asks for no RMCP acknowledgement.
const RMCP_NO_ACK: u8 = 0xff;
const RMCP_CLASS_IPMI: u8 = 0x07;
const AUTH_TYPE_NONE: u8 = 0x00;
const AUTH_TYPE_RMCP_PLUS: u8 = 0x06;
const PAYLOAD_ENCRYPTED: u8 = 0x80;
const PAYLOAD_AUTHENTICATED: u8 = 0x40;
const NEXT_HEADER: u8 = 0x07;
const INTEGRITY_PAD: u8 = 0xff;
const RMCP_HEADER_BYTES: usize = 4;

/// Why bytes were not accepted as an IPMI datagram or message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("{what} ends {missing_bytes} bytes too early")]
    Truncated {
        /// Which message or header.
        what: &'static str,
        /// How many more bytes the field needs.
        missing_bytes: usize,
    },
    /// A field holds a value that the protocol does not allow here.
    #[error("{what} is {got:#04x}, which is not possible here")]
    Unexpected {
        /// Which field.
        what: &'static str,
        /// Its value.
        got: u8,
    },
    /// A checksum of the IPMI message is wrong.
    #[error("the {what} checksum of the IPMI message is wrong")]
    Checksum {
        /// `header` or `data`.
        what: &'static str,
    },
    /// A length field does not fit the datagram.
    #[error("{what} has an impossible length of {len_bytes} bytes")]
    Length {
        /// Which part.
        what: &'static str,
        /// Its length.
        len_bytes: usize,
    },
    /// The integrity check failed: altered on the way, or not from this session.
    #[error("the integrity check of a protected message failed")]
    Integrity,
}

/// What an RMCP+ payload holds (table 13-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadType {
    /// An IPMI message.
    Ipmi,
    /// RMCP+ Open Session Request.
    OpenSessionRequest,
    /// RMCP+ Open Session Response.
    OpenSessionResponse,
    /// RAKP message 1.
    Rakp1,
    /// RAKP message 2.
    Rakp2,
    /// RAKP message 3.
    Rakp3,
    /// RAKP message 4.
    Rakp4,
}

impl PayloadType {
    const fn number(self) -> u8 {
        match self {
            Self::Ipmi => 0x00,
            Self::OpenSessionRequest => 0x10,
            Self::OpenSessionResponse => 0x11,
            Self::Rakp1 => 0x12,
            Self::Rakp2 => 0x13,
            Self::Rakp3 => 0x14,
            Self::Rakp4 => 0x15,
        }
    }

    fn from_number(number: u8) -> Result<Self, CodecError> {
        Ok(match number {
            0x00 => Self::Ipmi,
            0x10 => Self::OpenSessionRequest,
            0x11 => Self::OpenSessionResponse,
            0x12 => Self::Rakp1,
            0x13 => Self::Rakp2,
            0x14 => Self::Rakp3,
            0x15 => Self::Rakp4,
            got => {
                return Err(CodecError::Unexpected { what: "the payload type", got });
            }
        })
    }
}

/// One received datagram, headers taken apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// IPMI v1.5 format outside a session: an IPMI message in the clear.
    Version15 {
        /// The IPMI message.
        payload: &'a [u8],
    },
    /// RMCP+ outside a session: the handshake.
    Unprotected {
        /// What the payload is.
        payload_type: PayloadType,
        /// The payload.
        payload: &'a [u8],
    },
    /// RMCP+ inside a session: encrypted and authenticated.
    Protected(Protected<'a>),
}

/// A protected datagram whose integrity nobody has checked yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Protected<'a> {
    session_id: u32,
    sequence: u32,
    payload_type: PayloadType,
    signed: &'a [u8],
    auth_code: [u8; AUTH_CODE_BYTES],
    ciphertext: &'a [u8],
}

/// A protected payload after its integrity was checked and it was decrypted.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Session sequence number that the sender gave it.
    pub sequence: u32,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// The payload in the clear.
    pub payload: Vec<u8>,
}

impl Protected<'_> {
    /// The session that it claims to belong to: the receiver's own session id.
    pub fn session_id(&self) -> u32 {
        self.session_id
    }

    /// Checks the integrity, then decrypts.
    ///
    /// # Errors
    /// [`CodecError::Integrity`] for a wrong key or altered bytes, [`CodecError::Length`] for impossible padding.
    pub fn open(&self, keys: &SessionKeys) -> Result<Opened, CodecError> {
        if !crypto::same(&keys.auth_code(self.signed), &self.auth_code) {
            return Err(CodecError::Integrity);
        }
        let mut cursor = Cursor::new("the encrypted payload", self.ciphertext);
        let iv = cursor.array()?;
        let mut plain = cursor.rest().to_vec();
        let len_bytes = plain.len();
        let impossible = CodecError::Length { what: "the encrypted payload", len_bytes };
        if plain.is_empty() || !keys.decrypt(&iv, &mut plain) {
            return Err(impossible);
        }
        let pad_bytes = plain.pop().map_or(0, usize::from);
        match plain.len().checked_sub(pad_bytes) {
            Some(payload_bytes) if pad_bytes < crypto::BLOCK_BYTES => plain.truncate(payload_bytes),
            _ => return Err(impossible),
        }
        Ok(Opened { sequence: self.sequence, payload_type: self.payload_type, payload: plain })
    }
}

/// Takes the headers of a datagram apart.
///
/// # Errors
/// Any [`CodecError`] but `Checksum`; a datagram that is not IPMI over RMCP is an error too.
pub fn decode(bytes: &[u8]) -> Result<Datagram<'_>, CodecError> {
    let mut cursor = Cursor::new("the RMCP header", bytes);
    expect("the RMCP version", cursor.u8()?, RMCP_VERSION)?;
    cursor.u8()?;
    cursor.u8()?;
    expect("the RMCP class", cursor.u8()?, RMCP_CLASS_IPMI)?;
    let session = cursor.rest();
    match session.first() {
        Some(&AUTH_TYPE_NONE) => decode_version15(session),
        Some(&AUTH_TYPE_RMCP_PLUS) => decode_rmcp_plus(session),
        Some(&got) => Err(CodecError::Unexpected { what: "the authentication type", got }),
        None => Err(CodecError::Truncated { what: "the session header", missing_bytes: 1 }),
    }
}

fn decode_version15(session: &[u8]) -> Result<Datagram<'_>, CodecError> {
    let mut cursor = Cursor::new("the v1.5 session header", session);
    cursor.u8()?;
    let (_sequence, _session_id) = (cursor.u32()?, cursor.u32()?);
    let len_bytes = usize::from(cursor.u8()?);
    Ok(Datagram::Version15 { payload: cursor.take(len_bytes)? })
}

fn decode_rmcp_plus(session: &[u8]) -> Result<Datagram<'_>, CodecError> {
    let mut cursor = Cursor::new("the RMCP+ session header", session);
    cursor.u8()?;
    let kind = cursor.u8()?;
    let payload_type = PayloadType::from_number(kind & 0x3f)?;
    let (session_id, sequence) = (cursor.u32()?, cursor.u32()?);
    let len_bytes = usize::from(cursor.u16()?);
    let payload = cursor.take(len_bytes)?;
    match kind & (PAYLOAD_ENCRYPTED | PAYLOAD_AUTHENTICATED) {
        0 => Ok(Datagram::Unprotected { payload_type, payload }),
        both if both == PAYLOAD_ENCRYPTED | PAYLOAD_AUTHENTICATED => {
            let trailer = cursor.rest();
            let pad_and_marks = trailer.len().saturating_sub(AUTH_CODE_BYTES);
            let mut trailer = Cursor::new("the integrity trailer", trailer);
            let marks = trailer.take(pad_and_marks)?;
            let auth_code = trailer.array()?;
            check_trailer_marks(marks)?;
            let signed_bytes = session.len().saturating_sub(AUTH_CODE_BYTES);
            let signed = session.get(..signed_bytes).unwrap_or_default();
            Ok(Datagram::Protected(Protected {
                session_id,
                sequence,
                payload_type,
                signed,
                auth_code,
                ciphertext: payload,
            }))
        }
        // Suite 3 protects with both or not at all; anything between is a downgrade.
        _ => Err(CodecError::Unexpected { what: "the payload's protection", got: kind }),
    }
}

fn check_trailer_marks(marks: &[u8]) -> Result<(), CodecError> {
    match marks {
        [pad @ .., pad_bytes, next_header] => {
            expect("the next header", *next_header, NEXT_HEADER)?;
            if usize::from(*pad_bytes) == pad.len() {
                Ok(())
            } else {
                Err(CodecError::Length { what: "the integrity pad", len_bytes: pad.len() })
            }
        }
        _ => Err(CodecError::Truncated { what: "the integrity trailer", missing_bytes: 2 }),
    }
}

pub(super) fn expect(what: &'static str, got: u8, wanted: u8) -> Result<(), CodecError> {
    if got == wanted { Ok(()) } else { Err(CodecError::Unexpected { what, got }) }
}

fn rmcp_header() -> Vec<u8> {
    vec![RMCP_VERSION, 0x00, RMCP_NO_ACK, RMCP_CLASS_IPMI]
}

/// A datagram in v1.5 format outside a session.
///
/// # Errors
/// [`CodecError::Length`] when the payload is over 255 bytes.
pub fn encode_version15(payload: &[u8]) -> Result<Vec<u8>, CodecError> {
    let len_bytes = payload.len();
    let len = u8::try_from(len_bytes).map_err(|_| CodecError::Length { what: "the v1.5 payload", len_bytes })?;
    let mut out = rmcp_header();
    out.push(AUTH_TYPE_NONE);
    out.extend_from_slice(&[0; 8]);
    out.push(len);
    out.extend_from_slice(payload);
    Ok(out)
}

/// An RMCP+ datagram outside a session: neither encrypted nor authenticated, session id and sequence 0.
///
/// # Errors
/// [`CodecError::Length`] when the payload is over 65535 bytes.
pub fn encode_unprotected(payload_type: PayloadType, payload: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut out = rmcp_header();
    out.extend_from_slice(&[AUTH_TYPE_RMCP_PLUS, payload_type.number()]);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&payload_len(payload)?);
    out.extend_from_slice(payload);
    Ok(out)
}

/// An RMCP+ datagram inside a session: encrypted with `iv`, then authenticated.
///
/// `session_id` is the receiver's. `iv` must be unpredictable and never used before.
///
/// # Errors
/// [`CodecError::Length`] when the encrypted payload is over 65535 bytes.
pub fn seal(
    keys: &SessionKeys,
    session_id: u32,
    sequence: u32,
    payload_type: PayloadType,
    payload: &[u8],
    iv: &[u8; crypto::BLOCK_BYTES],
) -> Result<Vec<u8>, CodecError> {
    let mut plain = payload.to_vec();
    let mut pad_bytes = 0u8;
    while !(plain.len() + 1).is_multiple_of(crypto::BLOCK_BYTES) {
        pad_bytes += 1;
        plain.push(pad_bytes);
    }
    plain.push(pad_bytes);
    if !keys.encrypt(iv, &mut plain) {
        return Err(CodecError::Length { what: "the encrypted payload", len_bytes: plain.len() });
    }
    let mut protected = iv.to_vec();
    protected.append(&mut plain);

    let mut out = rmcp_header();
    let kind = payload_type.number() | PAYLOAD_ENCRYPTED | PAYLOAD_AUTHENTICATED;
    out.extend_from_slice(&[AUTH_TYPE_RMCP_PLUS, kind]);
    out.extend_from_slice(&session_id.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&payload_len(&protected)?);
    out.append(&mut protected);
    let mut integrity_pad_bytes = 0u8;
    // The signed part, with the two bytes that follow, is a multiple of four; the RMCP header before it is four bytes.
    while !(out.len() + 2).is_multiple_of(4) {
        integrity_pad_bytes += 1;
        out.push(INTEGRITY_PAD);
    }
    out.extend_from_slice(&[integrity_pad_bytes, NEXT_HEADER]);
    let auth_code = keys.auth_code(out.get(RMCP_HEADER_BYTES..).unwrap_or_default());
    out.extend_from_slice(&auth_code);
    Ok(out)
}

fn payload_len(payload: &[u8]) -> Result<[u8; 2], CodecError> {
    let len_bytes = payload.len();
    u16::try_from(len_bytes)
        .map(u16::to_le_bytes)
        .map_err(|_| CodecError::Length { what: "the RMCP+ payload", len_bytes })
}
