//! What goes into a session and what comes out of it.
//!
//! Pure data. Invariant: nothing here shows a password (the `Secret` inside [`Setup`] redacts itself).

use crate::power::ipmi::crypto::{BLOCK_BYTES, NONCE_BYTES};
use crate::power::ipmi::error::IpmiError;
use crate::power::ipmi::secret::Secret;
use crate::power::ipmi::timing::Timing;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// Privilege that the session asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Enough for all commands of this client.
    Operator,
    /// Asked for first, because some BMCs reserve boot options to it.
    Administrator,
}

impl Privilege {
    /// Its number in the protocol.
    pub const fn number(self) -> u8 {
        match self {
            Self::Operator => 3,
            Self::Administrator => 4,
        }
    }
}

/// What a session starts from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The BMC; used in errors only.
    pub address: SocketAddr,
    /// User name, at most 16 bytes.
    pub user: String,
    /// Password, at most 20 bytes.
    pub password: Secret,
    /// Privilege to ask for.
    pub privilege: Privilege,
    /// Waits and tries.
    pub timing: Timing,
    /// The console's session id: random.
    pub console_session_id: NonZeroU32,
    /// The console's random number: unpredictable.
    pub console_random: [u8; NONCE_BYTES],
    /// Tag of the first handshake message; the next ones count up.
    pub first_tag: u8,
}

/// Random numbers for one datagram: fresh at every call.
#[derive(Clone, Copy, Debug)]
pub struct Entropy {
    /// Initialization vector, unpredictable.
    pub iv: [u8; BLOCK_BYTES],
    /// Spreads the retries of many clients.
    pub jitter: u8,
}

/// What was achieved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The session is open and privileged.
    Opened,
    /// The command was carried out; its data.
    Answered(Vec<u8>),
    /// The session is closed.
    Closed,
}

/// What the caller does next.
#[derive(Debug)]
pub enum Step {
    /// Send this datagram, then poll again.
    Send(Vec<u8>),
    /// Wait for a datagram until this time, then poll again.
    WaitUntil(Duration),
    /// The request has ended.
    Finished(Result<Done, IpmiError>),
    /// Nothing is outstanding.
    Idle,
}
