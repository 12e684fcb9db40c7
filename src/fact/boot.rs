//! What the boot services saw: who asks, files asked for and sent, packets that made no sense.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Name, NodeId};

/// A client's processor and firmware interface, by the numbers of RFC 4578, section 2.1 and IANA's
/// "Processor Architecture Types".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// 0: x86 with a BIOS.
    X86Bios,
    /// 6: 32-bit x86 with UEFI.
    X86Uefi,
    /// 7 and 9: x86-64 with UEFI.
    X64Uefi,
    /// 16: x86-64 with UEFI, booting by HTTP.
    X64UefiHttp,
    /// 11: arm64 with UEFI.
    Arm64Uefi,
    /// 19: arm64 with UEFI, booting by HTTP.
    Arm64UefiHttp,
    /// Any other number.
    Other(u16),
}

impl From<u16> for Architecture {
    fn from(number: u16) -> Self {
        match number {
            0 => Architecture::X86Bios,
            6 => Architecture::X86Uefi,
            7 | 9 => Architecture::X64Uefi,
            11 => Architecture::Arm64Uefi,
            16 => Architecture::X64UefiHttp,
            19 => Architecture::Arm64UefiHttp,
            other => Architecture::Other(other),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Architecture::X86Bios => f.write_str("x86 BIOS"),
            Architecture::X86Uefi => f.write_str("x86 UEFI"),
            Architecture::X64Uefi => f.write_str("x86-64 UEFI"),
            Architecture::X64UefiHttp => f.write_str("x86-64 UEFI HTTP"),
            Architecture::Arm64Uefi => f.write_str("arm64 UEFI"),
            Architecture::Arm64UefiHttp => f.write_str("arm64 UEFI HTTP"),
            Architecture::Other(number) => write!(f, "architecture {number}"),
        }
    }
}

/// What on the machine is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "client", content = "architecture", rename_all = "snake_case")]
pub enum BootClient {
    /// Firmware that boots by PXE and TFTP.
    PxeRom(Architecture),
    /// Firmware that boots by HTTP.
    HttpRom(Architecture),
    /// iPXE, from the network card's ROM or as the loader that we sent.
    Ipxe(Architecture),
    /// Something else, usually an operating system.
    Other,
}

impl fmt::Display for BootClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootClient::PxeRom(arch) => write!(f, "PXE firmware ({arch})"),
            BootClient::HttpRom(arch) => write!(f, "HTTP boot firmware ({arch})"),
            BootClient::Ipxe(arch) => write!(f, "iPXE ({arch})"),
            BootClient::Other => f.write_str("an operating system"),
        }
    }
}

/// How a file was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TFTP.
    Tftp,
    /// HTTP.
    Http,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tftp => "TFTP",
            Transport::Http => "HTTP",
        })
    }
}

/// What a file is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BootFile {
    /// A network boot program.
    Loader,
    /// The node's boot script, with a new join token in it.
    Script {
        /// The digest of the token; the token itself is never stored.
        token: Digest,
    },
    /// The kernel.
    Kernel,
    /// Layer 0.
    Initramfs,
    /// What a loader runs for a target that is not layer 0.
    TargetScript {
        /// The target.
        target: Name,
        /// The digest of the token for this boot's metadata; the token itself is never stored.
        token: Digest,
        /// Whether files of the target follow.
        follows: Follows,
    },
    /// A file of a target that is not layer 0.
    TargetFile {
        /// The target.
        target: Name,
        /// Whether files of the target follow.
        follows: Follows,
    },
    /// A file of a boot's metadata.
    Metadata,
    /// The machine's word that its target is done.
    TargetDone {
        /// The target.
        target: Name,
        /// What it boots from now on; nothing where the target does not say.
        then: Option<Name>,
    },
    /// A part of an image.
    Image,
    /// Nothing that we know.
    Unknown,
}

/// Whether more of a target's files follow this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// They do.
    More,
    /// It is the last: with it the target is reached.
    Nothing,
}

/// A file asked for or sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileFact {
    /// Who asked.
    pub client: IpAddr,
    /// The node that has this address, if there is one.
    pub node: Option<NodeId>,
    /// How.
    pub transport: Transport,
    /// The name that was asked for.
    pub name: String,
    /// What it is for.
    pub file: BootFile,
    /// What happened.
    pub event: FileEvent,
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum FileEvent {
    /// All of it was sent.
    Sent {
        /// Bytes of payload.
        bytes: u64,
        /// Milliseconds from request to the last acknowledgement.
        duration_ms: u64,
        /// Blocks sent more than once (TFTP).
        #[serde(default)]
        retransmissions: u32,
    },
    /// The client left before the end.
    Stopped {
        /// Bytes of payload sent until then.
        bytes: u64,
        /// Why, as far as can be told.
        reason: String,
    },
    /// It was not given.
    Refused {
        /// Why.
        reason: String,
    },
}

impl FileFact {
    pub(crate) fn sentence(&self) -> String {
        let Self { transport, name, client, .. } = self;
        match &self.event {
            FileEvent::Sent { bytes, duration_ms, .. } => {
                format!("{transport} sent {name} to {client}: {bytes} bytes in {duration_ms} ms")
            }
            FileEvent::Stopped { bytes, reason } => {
                format!("{transport} transfer of {name} to {client} ended after {bytes} bytes: {reason}")
            }
            FileEvent::Refused { reason } => {
                format!("{transport} refused {name} to {client}: {reason}")
            }
        }
    }
}

/// Something that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MalformedFact {
    /// The service that received it.
    pub service: String,
    /// Who sent it, as far as can be told.
    pub sender: String,
    /// What is wrong with it.
    pub reason: String,
}

impl MalformedFact {
    pub(super) fn sentence(&self) -> String {
        format!("{} could not understand a message from {}: {}", self.service, self.sender, self.reason)
    }
}
