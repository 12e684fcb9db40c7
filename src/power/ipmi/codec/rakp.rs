//! The handshake payloads: RMCP+ Open Session and RAKP messages 1–4.
//!
//! Pure. Invariants: an answer with a status other than 0 is `Refused`, whatever follows the status (BMCs send 2, 8 or all
//! bytes then); user names are at most [`MAX_USER_BYTES`].
//! Deliberately not here: checking the proofs (`crypto`, `session`), choosing among cipher suites.
//! Specification: IPMI v2.0 rev 1.1, sections 13.17–13.24, table 13-15 (status codes), tables 13-17 to 13-19 (algorithms).

use super::{CodecError, Cursor};
use crate::power::ipmi::crypto::{AUTH_CODE_BYTES, HMAC_BYTES, NONCE_BYTES};
use std::fmt;

/// Longest user name.
pub const MAX_USER_BYTES: usize = 16;
/// Longest password of IPMI v2.0.
pub const MAX_PASSWORD_BYTES: usize = 20;
/// Role bit of RAKP 1: the BMC looks the user up by name alone, not by name and privilege.
pub const NAME_ONLY_LOOKUP: u8 = 0x10;

/// Status of an answer in the handshake (table 13-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RakpStatus(pub u8);

impl RakpStatus {
    /// What the status means.
    pub const fn meaning(self) -> &'static str {
        match self.0 {
            0x00 => "no errors",
            0x01 => "not enough resources to create a session",
            0x02 => "invalid session id",
            0x03 => "invalid payload type",
            0x04 => "invalid authentication algorithm",
            0x05 => "invalid integrity algorithm",
            0x06 => "no matching authentication payload",
            0x07 => "no matching integrity payload",
            0x08 => "inactive session id",
            0x09 => "invalid role",
            0x0a => "unauthorized role or privilege level",
            0x0b => "not enough resources to create a session at this role",
            0x0c => "invalid name length",
            0x0d => "unauthorized name",
            0x0e => "unauthorized GUID",
            0x0f => "invalid integrity check value",
            0x10 => "invalid confidentiality algorithm",
            0x11 => "no cipher suite matches",
            0x12 => "illegal or unrecognized parameter",
            _ => "a status that the specification does not name",
        }
    }
}

impl fmt::Display for RakpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}h, {}", self.0, self.meaning())
    }
}

/// The three algorithms of a cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// Authentication (table 13-17).
    pub authentication: u8,
    /// Integrity (table 13-18).
    pub integrity: u8,
    /// Confidentiality (table 13-19).
    pub confidentiality: u8,
}

impl Algorithms {
    /// Cipher suite 3: RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    pub const SUITE_3: Self = Self { authentication: 1, integrity: 1, confidentiality: 1 };

    fn encode(self, out: &mut Vec<u8>) {
        for (kind, number) in [(0, self.authentication), (1, self.integrity), (2, self.confidentiality)] {
            out.extend_from_slice(&[kind, 0, 0, 8, number & 0x3f, 0, 0, 0]);
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, CodecError> {
        let mut one = |kind| {
            let [got, _, _, _, number, _, _, _] = cursor.array::<8>()?;
            super::expect("the algorithm's type", got, kind)?;
            Ok::<u8, CodecError>(number & 0x3f)
        };
        Ok(Self { authentication: one(0)?, integrity: one(1)?, confidentiality: one(2)? })
    }
}

/// An answer of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The BMC goes on.
    Accepted(T),
    /// The BMC ends the handshake.
    Refused {
        /// Tag of the message that it answers.
        tag: u8,
        /// Why.
        status: RakpStatus,
    },
}

/// Tag and status stand first in every answer; `Err` holds the refusal.
fn head(cursor: &mut Cursor<'_>) -> Result<(u8, RakpStatus), CodecError> {
    Ok((cursor.u8()?, RakpStatus(cursor.u8()?)))
}

const STATUS_OK: RakpStatus = RakpStatus(0);

/// RMCP+ Open Session Request (13.17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSessionRequest {
    /// Ties the answer to this request.
    pub tag: u8,
    /// Highest privilege wanted; 0 asks for the highest that the suite allows.
    pub privilege: u8,
    /// Session id that the console chose, never 0.
    pub console_session_id: u32,
    /// Proposed algorithms.
    pub algorithms: Algorithms,
}

impl OpenSessionRequest {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, self.privilege & 0x0f, 0, 0];
        out.extend_from_slice(&self.console_session_id.to_le_bytes());
        self.algorithms.encode(&mut out);
        out
    }

    /// Reads the payload, as a BMC does.
    ///
    /// # Errors
    /// [`CodecError`] when it is short or its algorithms are out of order.
    pub fn decode(payload: &[u8]) -> Result<Self, CodecError> {
        let mut cursor = Cursor::new("the Open Session Request", payload);
        let [tag, privilege, _, _] = cursor.array()?;
        let console_session_id = cursor.u32()?;
        let algorithms = Algorithms::decode(&mut cursor)?;
        Ok(Self { tag, privilege: privilege & 0x0f, console_session_id, algorithms })
    }
}

/// RMCP+ Open Session Response (13.18) of a BMC that accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSessionResponse {
    /// Tag of the request.
    pub tag: u8,
    /// Session id of the console, repeated.
    pub console_session_id: u32,
    /// Session id that the BMC chose.
    pub bmc_session_id: u32,
    /// The algorithms that the session will use.
    pub algorithms: Algorithms,
}

impl OpenSessionResponse {
    /// The payload, as a BMC sends it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, 0, 0, 0];
        out.extend_from_slice(&self.console_session_id.to_le_bytes());
        out.extend_from_slice(&self.bmc_session_id.to_le_bytes());
        self.algorithms.encode(&mut out);
        out
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`CodecError`] when it is short or its algorithms are out of order.
    pub fn decode(payload: &[u8]) -> Result<Answer<Self>, CodecError> {
        let mut cursor = Cursor::new("the Open Session Response", payload);
        let (tag, status) = head(&mut cursor)?;
        if status != STATUS_OK {
            return Ok(Answer::Refused { tag, status });
        }
        cursor.take(2)?;
        let (console_session_id, bmc_session_id) = (cursor.u32()?, cursor.u32()?);
        let algorithms = Algorithms::decode(&mut cursor)?;
        Ok(Answer::Accepted(Self { tag, console_session_id, bmc_session_id, algorithms }))
    }
}

/// RAKP message 1 (13.20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp1 {
    /// Ties the answer to this message.
    pub tag: u8,
    /// Session id that the BMC chose.
    pub bmc_session_id: u32,
    /// Random number of the console.
    pub console_random: [u8; NONCE_BYTES],
    /// Requested role, with [`NAME_ONLY_LOOKUP`].
    pub role: u8,
    /// User name.
    pub user: Vec<u8>,
}

impl Rakp1 {
    /// The payload.
    ///
    /// # Errors
    /// [`CodecError::Length`] when the user name is over [`MAX_USER_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let len_bytes = self.user.len();
        let too_long = CodecError::Length { what: "the user name", len_bytes };
        let len = match u8::try_from(len_bytes) {
            Ok(len) if len_bytes <= MAX_USER_BYTES => len,
            _ => return Err(too_long),
        };
        let mut out = vec![self.tag, 0, 0, 0];
        out.extend_from_slice(&self.bmc_session_id.to_le_bytes());
        out.extend_from_slice(&self.console_random);
        out.extend_from_slice(&[self.role, 0, 0, len]);
        out.extend_from_slice(&self.user);
        Ok(out)
    }

    /// Reads the payload, as a BMC does.
    ///
    /// # Errors
    /// [`CodecError`] when it is short or the user name is too long.
    pub fn decode(payload: &[u8]) -> Result<Self, CodecError> {
        let mut cursor = Cursor::new("RAKP message 1", payload);
        let [tag, _, _, _] = cursor.array()?;
        let bmc_session_id = cursor.u32()?;
        let console_random = cursor.array()?;
        let [role, _, _, len] = cursor.array()?;
        let len_bytes = usize::from(len);
        if len_bytes > MAX_USER_BYTES {
            return Err(CodecError::Length { what: "the user name", len_bytes });
        }
        let user = cursor.take(len_bytes)?.to_vec();
        Ok(Self { tag, bmc_session_id, console_random, role, user })
    }
}

/// RAKP message 2 (13.21) of a BMC that accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp2 {
    /// Tag of RAKP 1.
    pub tag: u8,
    /// Session id of the console.
    pub console_session_id: u32,
    /// Random number of the BMC.
    pub bmc_random: [u8; NONCE_BYTES],
    /// GUID of the BMC.
    pub bmc_guid: [u8; NONCE_BYTES],
    /// Proof that the BMC knows the password.
    pub proof: [u8; HMAC_BYTES],
}

impl Rakp2 {
    /// The payload, as a BMC sends it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, 0, 0, 0];
        out.extend_from_slice(&self.console_session_id.to_le_bytes());
        out.extend_from_slice(&self.bmc_random);
        out.extend_from_slice(&self.bmc_guid);
        out.extend_from_slice(&self.proof);
        out
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] when it is short.
    pub fn decode(payload: &[u8]) -> Result<Answer<Self>, CodecError> {
        let mut cursor = Cursor::new("RAKP message 2", payload);
        let (tag, status) = head(&mut cursor)?;
        if status != STATUS_OK {
            return Ok(Answer::Refused { tag, status });
        }
        cursor.take(2)?;
        Ok(Answer::Accepted(Self {
            tag,
            console_session_id: cursor.u32()?,
            bmc_random: cursor.array()?,
            bmc_guid: cursor.array()?,
            proof: cursor.array()?,
        }))
    }
}

/// RAKP message 3 (13.22): goes on with a proof, or ends the handshake with a status so that the BMC frees its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp3 {
    /// Ties the answer to this message.
    pub tag: u8,
    /// Session id that the BMC chose.
    pub bmc_session_id: u32,
    /// The proof, or why the console gives up.
    pub proof: Result<[u8; HMAC_BYTES], RakpStatus>,
}

impl Rakp3 {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let status = self.proof.err().unwrap_or(STATUS_OK);
        let mut out = vec![self.tag, status.0, 0, 0];
        out.extend_from_slice(&self.bmc_session_id.to_le_bytes());
        if let Ok(proof) = &self.proof {
            out.extend_from_slice(proof);
        }
        out
    }

    /// Reads the payload, as a BMC does.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] when it is short.
    pub fn decode(payload: &[u8]) -> Result<Self, CodecError> {
        let mut cursor = Cursor::new("RAKP message 3", payload);
        let (tag, status) = head(&mut cursor)?;
        cursor.take(2)?;
        let bmc_session_id = cursor.u32()?;
        let proof = if status == STATUS_OK { Ok(cursor.array()?) } else { Err(status) };
        Ok(Self { tag, bmc_session_id, proof })
    }
}

/// RAKP message 4 (13.23) of a BMC that accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rakp4 {
    /// Tag of RAKP 3.
    pub tag: u8,
    /// Session id of the console.
    pub console_session_id: u32,
    /// Confirms the session integrity key.
    pub confirmation: [u8; AUTH_CODE_BYTES],
}

impl Rakp4 {
    /// The payload, as a BMC sends it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, 0, 0, 0];
        out.extend_from_slice(&self.console_session_id.to_le_bytes());
        out.extend_from_slice(&self.confirmation);
        out
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] when it is short.
    pub fn decode(payload: &[u8]) -> Result<Answer<Self>, CodecError> {
        let mut cursor = Cursor::new("RAKP message 4", payload);
        let (tag, status) = head(&mut cursor)?;
        if status != STATUS_OK {
            return Ok(Answer::Refused { tag, status });
        }
        cursor.take(2)?;
        Ok(Answer::Accepted(Self { tag, console_session_id: cursor.u32()?, confirmation: cursor.array()? }))
    }
}
