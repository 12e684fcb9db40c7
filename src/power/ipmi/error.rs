//! What can go wrong between the appliance and a BMC.
//!
//! Pure. Invariants: every variant carries the BMC's address, and its text says what happened, to which BMC, and what to do
//! next; no text ever holds a password.
//! Deliberately not here: a decision whether to try again; `IpmiError::stage` and the variants are what such a decision is
//! made from.
//! Specification: IPMI v2.0 rev 1.1, table 13-15 (handshake status), table 5-2 (completion codes).

use super::codec::CodecError;
use super::codec::rakp::RakpStatus;
use super::completion::{Command, CompletionCode};
use std::fmt;
use std::net::SocketAddr;

/// How far the conversation with the BMC has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Get Channel Authentication Capabilities: is there a BMC at all?
    Discover,
    /// RMCP+ Open Session Request.
    OpenSession,
    /// RAKP message 1.
    Rakp1,
    /// RAKP message 3.
    Rakp3,
    /// A command in the session.
    Command(Command),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discover => f.write_str("Get Channel Authentication Capabilities"),
            Self::OpenSession => f.write_str("Open Session Request"),
            Self::Rakp1 => f.write_str("RAKP message 1"),
            Self::Rakp3 => f.write_str("RAKP message 3"),
            Self::Command(command) => command.fmt(f),
        }
    }
}

impl Stage {
    const fn silence_advice(self) -> &'static str {
        match self {
            Self::Discover => "check the address and the cabling, and that IPMI over LAN is enabled in the BMC",
            Self::OpenSession | Self::Rakp1 | Self::Rakp3 => {
                "a BMC is there but it stopped answering while a session was being opened; try again, \
                 and reset the BMC if it stays so"
            }
            Self::Command(Command::CloseSession) => {
                "the BMC will drop the session by itself after about a minute; nothing needs to be done"
            }
            Self::Command(_) => {
                "the command may or may not have been carried out; read the power state before trying again"
            }
        }
    }
}

/// What was seen instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing came.
    Nothing,
    /// The host at the address said that nobody listens on the port.
    PortUnreachable,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing came back",
            Self::PortUnreachable => "the host says that nothing listens on this port",
        })
    }
}

/// How a wrong password showed itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordProof {
    /// The BMC's proof in RAKP 2 was computed with another password.
    BmcProofDiffers,
    /// The BMC refused the console's proof with this status.
    ConsoleProofRefused(RakpStatus),
    /// The BMC's confirmation in RAKP 4 does not fit.
    ConfirmationDiffers,
}

impl fmt::Display for PasswordProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BmcProofDiffers => f.write_str("its proof in RAKP message 2 does not fit"),
            Self::ConsoleProofRefused(status) => {
                write!(f, "it refused the proof in RAKP message 3 ({status})")
            }
            Self::ConfirmationDiffers => f.write_str("its integrity check value in RAKP message 4 does not fit"),
        }
    }
}

/// Which credential cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The user name.
    User,
    /// The password.
    Password,
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user name",
            Self::Password => "password",
        })
    }
}

/// Why a BMC did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum IpmiError {
    /// The BMC did not answer.
    #[error(
        "no answer from the BMC at {address} to {stage} after {tries} tries ({silence}): {}",
        stage.silence_advice()
    )]
    NoAnswer {
        /// The BMC.
        address: SocketAddr,
        /// What was not answered.
        stage: Stage,
        /// How many times it was sent.
        tries: u32,
        /// What was seen instead.
        silence: Silence,
    },
    /// The password is wrong.
    #[error(
        "the BMC at {address} does not accept the password of user {user:?} ({proof}): correct the user name or the \
         password in the cluster description; some BMCs answer like this for an unknown user too"
    )]
    PasswordRefused {
        /// The BMC.
        address: SocketAddr,
        /// The user.
        user: String,
        /// How it showed.
        proof: PasswordProof,
    },
    /// The BMC wants a channel key besides the password.
    #[error(
        "the BMC at {address} has a channel key (Kg) set, and refused a login by password alone: clear the key in the BMC \
         (all zeros); a channel key cannot be given here"
    )]
    ChannelKeyRequired {
        /// The BMC.
        address: SocketAddr,
    },
    /// No such user.
    #[error(
        "the BMC at {address} does not know the user {user:?}, or the user is disabled: correct the user name, or enable the \
         user for IPMI over LAN in the BMC"
    )]
    UserUnknown {
        /// The BMC.
        address: SocketAddr,
        /// The user.
        user: String,
    },
    /// The user may not do this.
    #[error(
        "the BMC at {address} refuses user {user:?} the privilege for {stage}: give the user at least the Operator privilege \
         on the BMC's LAN channel"
    )]
    PrivilegeRefused {
        /// The BMC.
        address: SocketAddr,
        /// The user.
        user: String,
        /// What was refused.
        stage: Stage,
    },
    /// The BMC has no room for another session.
    #[error(
        "the BMC at {address} has no free session slot ({status}): wait a minute for idle sessions to end, close other \
         consoles, or reset the BMC"
    )]
    NoFreeSession {
        /// The BMC.
        address: SocketAddr,
        /// What the BMC said.
        status: RakpStatus,
    },
    /// Cipher suite 3 is not offered.
    #[error(
        "the BMC at {address} does not offer cipher suite 3 ({detail}): enable cipher suite 3 on the BMC's LAN channel"
    )]
    CipherSuiteNotSupported {
        /// The BMC.
        address: SocketAddr,
        /// What the BMC said or chose.
        detail: String,
    },
    /// The BMC speaks only IPMI v1.5.
    #[error(
        "the BMC at {address} offers no IPMI v2.0 sessions: enable IPMI v2.0 (RMCP+) in the BMC, or update its firmware"
    )]
    VersionNotSupported {
        /// The BMC.
        address: SocketAddr,
    },
    /// Another refusal in the handshake.
    #[error("the BMC at {address} refused {stage} ({status}): try again, and reset the BMC if it stays so")]
    HandshakeRefused {
        /// The BMC.
        address: SocketAddr,
        /// What it refused.
        stage: Stage,
        /// Why.
        status: RakpStatus,
    },
    /// The BMC answered a command with an error.
    #[error(
        "the BMC at {address} answered {command} with completion code {code}: {}; read the machine's power state, and see \
         the BMC's manual if it stays so",
        code.meaning(*command)
    )]
    Completion {
        /// The BMC.
        address: SocketAddr,
        /// The command.
        command: Command,
        /// The code.
        code: CompletionCode,
    },
    /// The BMC's answers cannot be read.
    #[error(
        "the BMC at {address} sent an answer to {stage} that cannot be read: {source}; check that the port is the BMC's, and \
         update the BMC's firmware if it stays so"
    )]
    MalformedReply {
        /// The BMC.
        address: SocketAddr,
        /// What it answered.
        stage: Stage,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A request does not fit a datagram.
    #[error("{stage} for the BMC at {address} cannot be sent: {source}; ask for less data in one command")]
    Unsendable {
        /// The BMC.
        address: SocketAddr,
        /// What was to be sent.
        stage: Stage,
        /// Why it cannot.
        source: CodecError,
    },
    /// A credential is too long for IPMI.
    #[error(
        "the {credential} for the BMC at {address} is over {limit_bytes} bytes, which IPMI v2.0 does not allow: shorten it in \
         the cluster description and in the BMC"
    )]
    CredentialTooLong {
        /// The BMC.
        address: SocketAddr,
        /// Which one.
        credential: Credential,
        /// The longest that is possible.
        limit_bytes: usize,
    },
    /// The session is not open.
    #[error("the session with the BMC at {address} is not open, so {stage} was not sent: open a new session")]
    NotOpen {
        /// The BMC.
        address: SocketAddr,
        /// What was asked for.
        stage: Stage,
    },
    /// The appliance's own network failed.
    #[error(
        "the appliance could not {doing} for the BMC at {address}: {source}; check the appliance's address and route on the \
         BMC network"
    )]
    Socket {
        /// The BMC.
        address: SocketAddr,
        /// What was being done.
        doing: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The operating system gave no random numbers.
    #[error("no random numbers for the session with the BMC at {address}: check the appliance's operating system")]
    NoRandomness {
        /// The BMC.
        address: SocketAddr,
    },
}

impl IpmiError {
    /// The BMC that it is about.
    pub const fn address(&self) -> SocketAddr {
        match self {
            Self::NoAnswer { address, .. }
            | Self::PasswordRefused { address, .. }
            | Self::ChannelKeyRequired { address }
            | Self::UserUnknown { address, .. }
            | Self::PrivilegeRefused { address, .. }
            | Self::NoFreeSession { address, .. }
            | Self::CipherSuiteNotSupported { address, .. }
            | Self::VersionNotSupported { address }
            | Self::HandshakeRefused { address, .. }
            | Self::Completion { address, .. }
            | Self::MalformedReply { address, .. }
            | Self::Unsendable { address, .. }
            | Self::CredentialTooLong { address, .. }
            | Self::NotOpen { address, .. }
            | Self::Socket { address, .. }
            | Self::NoRandomness { address } => *address,
        }
    }

    /// Whether the BMC lost a half-open session, so that a new handshake is worth a try.
    pub(super) const fn lost_half_way(&self) -> bool {
        match self {
            Self::HandshakeRefused { status, .. } => matches!(status.0, 0x02 | 0x08),
            Self::NoAnswer { stage, .. } => matches!(stage, Stage::Rakp1 | Stage::Rakp3),
            _ => false,
        }
    }
}
