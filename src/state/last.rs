//! The last thing seen of each source: the evidence that `why` shows, and what it came to, as values to decide from.
//!
//! Invariant: a sentence here is for people alone; what is decided from is beside it, typed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fact::{
    BmcProblem, BootClient, BootFile, Dhcp6Event, Dhcp6Refusal, DhcpEvent, DhcpRefusal, FileEvent, JoinRefusal,
    PowerState,
};
use crate::model::UnixMs;
use crate::model::limits::{CONSOLE_LINE_BYTES_MAX, CONSOLE_LINES_KEPT_MAX};

/// The last thing seen of each source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The last DHCP exchange.
    pub dhcp: Option<(UnixMs, BootClient, Arc<str>)>,
    /// What it came to.
    #[serde(default)]
    pub dhcp_end: Option<DhcpEnd>,
    /// The last file.
    pub file: Option<(UnixMs, Arc<str>)>,
    /// What became of it.
    #[serde(default)]
    pub file_end: Option<(FileKind, FileEnd)>,
    /// The last answer of the BMC, or that there was none.
    pub bmc: Option<(UnixMs, Arc<str>)>,
    /// What it came to.
    #[serde(default)]
    pub bmc_end: Option<BmcEnd>,
    /// What is wrong with the BMC since its last good answer.
    pub bmc_problem: Option<BmcProblem>,
    /// The last join that was refused.
    pub join_refused: Option<(UnixMs, Arc<str>)>,
    /// Why it was.
    #[serde(default)]
    pub join_refusal: Option<JoinRefusal>,
    /// The last lines of the console.
    pub console: Arc<ConsoleTail>,
}

/// What a request to a BMC came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BmcEnd {
    /// It said whether the machine has power.
    Status {
        /// Whether it has.
        power: PowerState,
        /// Since when it says so: an answer that repeats the one before it is no fact.
        since: UnixMs,
    },
    /// It accepted an order.
    Accepted,
    /// It answered that it could not, or did not answer.
    Failed {
        /// What was wrong.
        problem: BmcProblem,
    },
}

/// What a DHCP exchange came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhcpEnd {
    /// An address was offered.
    Offered,
    /// The address was asked for and given.
    Leased,
    /// The client gave it back.
    Released,
    /// The client took another server's offer.
    OtherServer,
    /// No address was given, or the one that was is in use by another machine.
    NotGiven,
}

impl From<&DhcpEvent> for DhcpEnd {
    fn from(event: &DhcpEvent) -> Self {
        match event {
            DhcpEvent::Offered { .. } => DhcpEnd::Offered,
            DhcpEvent::Leased { .. } => DhcpEnd::Leased,
            DhcpEvent::Released { .. } => DhcpEnd::Released,
            DhcpEvent::Refused { reason: DhcpRefusal::OtherServer { .. } }
            | DhcpEvent::Ignored { reason: DhcpRefusal::OtherServer { .. } } => DhcpEnd::OtherServer,
            DhcpEvent::Refused { .. } | DhcpEvent::Ignored { .. } | DhcpEvent::Declined { .. } => DhcpEnd::NotGiven,
        }
    }
}

impl From<&Dhcp6Event> for DhcpEnd {
    fn from(event: &Dhcp6Event) -> Self {
        match event {
            Dhcp6Event::Advertised { .. } => DhcpEnd::Offered,
            Dhcp6Event::Leased { .. } | Dhcp6Event::Informed { .. } => DhcpEnd::Leased,
            Dhcp6Event::Released { .. } => DhcpEnd::Released,
            Dhcp6Event::Ignored { reason: Dhcp6Refusal::OtherServer { .. } } => DhcpEnd::OtherServer,
            Dhcp6Event::Refused { .. } | Dhcp6Event::Ignored { .. } | Dhcp6Event::Declined { .. } => DhcpEnd::NotGiven,
        }
    }
}

/// What a file is for, without what only this one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A network boot program.
    Loader,
    /// The node's boot script.
    Script,
    /// The kernel.
    Kernel,
    /// Layer 0.
    Initramfs,
    /// A part of an image.
    Image,
    /// Nothing that we know.
    Unknown,
}

impl From<&BootFile> for FileKind {
    fn from(file: &BootFile) -> Self {
        match file {
            BootFile::Loader => FileKind::Loader,
            BootFile::Script { .. } | BootFile::TargetScript { .. } => FileKind::Script,
            BootFile::Kernel | BootFile::TargetFile { .. } => FileKind::Kernel,
            BootFile::Initramfs => FileKind::Initramfs,
            BootFile::Image => FileKind::Image,
            BootFile::Metadata | BootFile::TargetDone { .. } | BootFile::Unknown => FileKind::Unknown,
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileEnd {
    /// All of it was sent.
    Sent,
    /// The client left before the end.
    Stopped,
    /// It was not given.
    Refused,
}

impl From<&FileEvent> for FileEnd {
    fn from(event: &FileEvent) -> Self {
        match event {
            FileEvent::Sent { .. } => FileEnd::Sent,
            FileEvent::Stopped { .. } => FileEnd::Stopped,
            FileEvent::Refused { .. } => FileEnd::Refused,
        }
    }
}

/// The last lines of a console.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleTail {
    /// When the last line came.
    pub at: Option<UnixMs>,
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

impl ConsoleTail {
    pub(super) fn push(&mut self, at: UnixMs, lines: &[String]) {
        self.at = Some(at);
        self.lines.extend(lines.iter().map(|l| l.chars().take(CONSOLE_LINE_BYTES_MAX).collect()));
        let over = self.lines.len().saturating_sub(CONSOLE_LINES_KEPT_MAX);
        self.lines.drain(..over);
    }
}
