//! What a TFTP transfer tells the rest of the program.
//!
//! Purpose: the only types that leave this folder upward: one [`TransferEvent`] for each thing that was seen, and the
//! [`Fact`] that it is to the rest of the program, by [`fact_of`].
//!
//! Invariants: each request gives exactly one of `Malformed`, `Refused` or `Started`, unless it repeats one that is
//! being served; each `Started` gives exactly one of `Finished`, `Probed` or `Failed`. Reasons are closed enums.
//!
//! Deliberately absent: stamps, and pacing (`report`).

use super::codec::DecodeError;
use crate::boot::client::{node_at, printable};
use crate::boot::http::facts::Asked;
use crate::boot::http::route::route;
use crate::boot::loaders::is_grub_configuration;
use crate::fact::{BootFile, Fact, FileEvent, FileFact, MalformedFact, Transport};
use crate::state::State;
use std::net::SocketAddr;

/// Something that was seen on the TFTP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEvent {
    /// A client asked for a file and gets it.
    Started {
        /// Who asked.
        client: SocketAddr,
        /// The file's name, as asked for.
        file: String,
        /// The length of what is sent, in bytes.
        size_bytes: u64,
        /// What was agreed.
        options: TransferOptions,
    },
    /// The client has the whole file.
    Finished {
        /// Who asked.
        client: SocketAddr,
        /// The file's name, as asked for.
        file: String,
        /// How much was sent, repetitions not counted, in bytes.
        bytes: u64,
        /// From the request to the last ACK, in milliseconds.
        duration_ms: u64,
        /// Packets that were sent more than once.
        retransmissions: u64,
        /// Whether the last ACK was seen.
        last_ack: LastAck,
    },
    /// The client asked for the size, got it, and closed. UEFI firmware does so before it opens the file for real.
    Probed {
        /// Who asked.
        client: SocketAddr,
        /// The file's name, as asked for.
        file: String,
        /// What it was told, in bytes.
        size_bytes: u64,
    },
    /// The transfer began and did not end well.
    Failed {
        /// Who asked.
        client: SocketAddr,
        /// The file's name, as asked for.
        file: String,
        /// The last block that was acknowledged; 0 for none.
        at_block: u64,
        /// How much the client has acknowledged, in bytes.
        bytes: u64,
        /// Why.
        reason: FailReason,
    },
    /// A request was understood and not granted.
    Refused {
        /// Who asked.
        client: SocketAddr,
        /// The file's name, as asked for.
        request: String,
        /// Why.
        reason: RefuseReason,
    },
    /// A datagram was no request.
    Malformed {
        /// Who sent it.
        client: SocketAddr,
        /// What is wrong with it.
        reason: MalformedReason,
    },
}

/// What was agreed with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferOptions {
    /// How the bytes are sent.
    pub encoding: Encoding,
    /// Bytes a block.
    pub blksize_bytes: u16,
    /// Blocks in a window.
    pub windowsize_blocks: u16,
    /// The retransmission interval that the client set, in seconds.
    pub timeout_s: Option<u8>,
}

/// How a file's bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Octet,
    /// As text with CR LF line ends.
    Netascii,
}

/// Whether the last ACK was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAck {
    /// It was.
    Seen,
    /// The client closed its port while the last block was on its way to it.
    Lost,
}

/// Why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailReason {
    /// The client sent ERROR.
    #[error("the client ended the transfer with error {code} ({message}); its own console says more")]
    ClientError {
        /// The code on the wire.
        code: u16,
        /// The client's words.
        message: String,
    },
    /// The client stopped answering.
    #[error("no acknowledgement came after {tries} tries; the client was reset, or the network loses its packets")]
    NoAck {
        /// How often the same packets were sent.
        tries: u32,
    },
    /// The client closed its port.
    #[error("the client closed its port; it was reset, or gave up without a word")]
    ClientGone,
    /// The file could not be read on.
    #[error("the file could not be read on ({detail}); check the disk, and replace served files by renaming")]
    ReadFailed {
        /// What the system said.
        detail: String,
    },
    /// The same client port asked for something else, or again after a silence.
    #[error("the same port of the client made a new request, which is served instead")]
    Superseded,
    /// The server was stopped.
    #[error("the server was stopped during the transfer; the client has to ask again")]
    ShutDown,
}

/// Why a request was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefuseReason {
    /// There is no such file.
    #[error("no declared root holds the file; put it there, or correct the boot file's name")]
    NotFound,
    /// The name leads out of the roots.
    #[error("the name leads out of the declared roots; move the file inside, or declare its folder as a root")]
    OutsideRoots,
    /// The name is a folder or a device.
    #[error("the name is not a plain file; ask for a file")]
    NotAFile,
    /// It is not for this client, or cannot be made for it now.
    #[error("it is not given: {reason}")]
    Withheld {
        /// Why.
        reason: String,
    },
    /// The file is there and cannot be read.
    #[error("the file cannot be read ({detail}); check its permissions and the disk")]
    Unreadable {
        /// What the system said.
        detail: String,
    },
    /// The client wants to write.
    #[error("this server is read-only; writing is not possible")]
    WriteRefused,
    /// The mode is neither octet nor netascii.
    #[error("the transfer mode {mode} is not served; use octet")]
    ModeUnknown {
        /// The mode, as sent.
        mode: String,
    },
    /// The file is too long for netascii.
    #[error("the file of {size_bytes} bytes is too long for netascii; use octet")]
    NetasciiTooLong {
        /// Its length in bytes.
        size_bytes: u64,
    },
    /// All places are taken. The request gets no answer, so that the client asks again.
    #[error("all {limit} places for transfers are taken; the client asks again by itself, or raise the limit")]
    Busy {
        /// The bound that was met.
        limit: usize,
    },
    /// This client has all of its places taken. The request gets no answer, so that the client asks again.
    #[error("the client has {limit} transfers already; it asks again by itself, or raise the limit a client")]
    ClientBusy {
        /// The bound that was met.
        limit: usize,
    },
    /// No port could be opened. The request gets no answer, so that the client asks again.
    #[error("no port for the transfer could be opened ({detail}); raise the limit of open files")]
    NoSocket {
        /// What the system said.
        detail: String,
    },
}

/// Why a datagram was no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MalformedReason {
    /// It is no TFTP packet.
    #[error("the datagram is no TFTP packet")]
    Undecodable(#[from] DecodeError),
    /// It belongs to a transfer and came to the port for requests.
    #[error(
        "the packet belongs to a transfer, and came to the port for requests; the client ignores the server's port"
    )]
    NotARequest,
}

/// What an event is to the rest of the program. A start is none, since its end will be one; nor is a probe, by which no
/// file was sent.
#[must_use]
pub fn fact_of(event: &TransferEvent, state: &State) -> Option<Fact> {
    let file = |client: &SocketAddr, name: &str, file: BootFile, event: FileEvent| {
        let client = client.ip().to_canonical();
        // Names of the boot folder mean over TFTP what they mean over HTTP.
        let path = format!("/{}", name.trim_start_matches('/'));
        let asked = Asked::new(state, client, &path, route(&path).as_ref());
        let file = if asked.file == BootFile::Unknown { file } else { asked.file };
        let node = node_at(state, client).map(|node| node.id);
        Some(Fact::File(FileFact { client, node, transport: Transport::Tftp, name: printable(name), file, event }))
    };
    match event {
        TransferEvent::Started { .. } | TransferEvent::Probed { .. } => None,
        // Of a configuration its token was told, before it was sent.
        TransferEvent::Finished { file: name, .. } if is_grub_configuration(name) => None,
        TransferEvent::Finished { client, file: name, bytes, duration_ms, retransmissions, last_ack: _ } => {
            let retransmissions = u32::try_from(*retransmissions).unwrap_or(u32::MAX);
            let sent = FileEvent::Sent { bytes: *bytes, duration_ms: *duration_ms, retransmissions };
            file(client, name, BootFile::Loader, sent)
        }
        TransferEvent::Failed { client, file: name, at_block: _, bytes, reason } => {
            file(client, name, BootFile::Loader, FileEvent::Stopped { bytes: *bytes, reason: reason.to_string() })
        }
        TransferEvent::Refused { client, request, reason } => {
            let asked_for = match reason {
                RefuseReason::Busy { .. } | RefuseReason::ClientBusy { .. } | RefuseReason::NoSocket { .. } => {
                    BootFile::Loader
                }
                _ => BootFile::Unknown,
            };
            file(client, request, asked_for, FileEvent::Refused { reason: reason.to_string() })
        }
        TransferEvent::Malformed { client, reason } => Some(Fact::Malformed(MalformedFact {
            service: "tftp".to_owned(),
            sender: client.to_string(),
            reason: match reason {
                MalformedReason::Undecodable(cause) => format!("{reason}: {cause}"),
                MalformedReason::NotARequest => reason.to_string(),
            },
        })),
    }
}

#[cfg(test)]
mod tests;
