//! What a step under way waits for, in the terms of a boot, and since when.
//!
//! Decided from the node's marks and the last thing seen of each source alone, so it is as good after a restart as before
//! it. Evidence that is older than the stage says nothing about the stage.
//!
//! Absent on purpose: how long is too long, which is the step's deadline to say.

use serde::{Deserialize, Serialize};

use super::{Evidence, Source, Suggestion};
use crate::fact::BootClient;
use crate::model::{Name, UnixMs, VarPath};
use crate::state::{DhcpEnd, FileEnd, FileKind, InFlight, Mark, Node};

/// What is awaited, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Wait {
    /// What.
    #[serde(flatten)]
    pub what: Awaiting,
    /// Since when: the event that should have been followed by what is awaited.
    pub since: UnixMs,
    /// The last thing seen of the source that would show it, however old.
    pub last: Option<Evidence>,
}

/// What on the machine should ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// The firmware (the network card's ROM).
    Firmware,
    /// The loader that the firmware was sent.
    Loader,
}

impl Asker {
    fn as_str(self) -> &'static str {
        match self {
            Asker::Firmware => "firmware",
            Asker::Loader => "loader",
        }
    }
}

/// What a step under way waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Awaiting {
    /// The BMC's word whether the machine has power.
    BmcAnswer,
    /// The BMC's consent to boot the machine from the network.
    NetworkBootAccepted,
    /// The BMC's consent to power on.
    PowerOnAccepted,
    /// That the BMC, which consented, says that power is on.
    PowerOn,
    /// The BMC's consent to power off.
    PowerOffAccepted,
    /// That the BMC, which consented, says that power is off.
    PowerOff,
    /// Anything from a machine that has power and of which nothing is known.
    SignOfLife,
    /// That the machine boots from the network: an operating system asked for an address instead.
    NetworkBoot,
    /// A first DHCP packet.
    DhcpRequest {
        /// Of what.
        from: Asker,
    },
    /// That the offered address is asked for, and so can be acknowledged.
    DhcpTaken {
        /// By what.
        from: Asker,
    },
    /// That our offer is taken: that of another DHCP server was.
    DhcpTakenFromUs {
        /// By what.
        from: Asker,
    },
    /// That an address can be given: the last request was refused, or not answered.
    DhcpGiven {
        /// To what.
        from: Asker,
    },
    /// That a file is fetched.
    File {
        /// Which.
        file: FileKind,
    },
    /// That a file is fetched again: the transfer broke off.
    FileAgain {
        /// Which.
        file: FileKind,
    },
    /// That a file can be given: it was refused.
    FileGiven {
        /// Which.
        file: FileKind,
    },
    /// The agent's join, after kernel and layer 0 were sent.
    AgentJoin,
    /// A join that can be accepted: the last was refused.
    AgentAccepted,
    /// The agent's session, after its join.
    AgentSession,
    /// The return of an agent that was in session.
    AgentReturn,
    /// The first report of an agent that is in session.
    AgentReport,
    /// That the agent is in step.
    InStep,
    /// The agent's good-bye.
    AgentLeave,
    /// The agent's word about an image.
    ImageReport {
        /// The image.
        image: Name,
    },
    /// That an image runs.
    ImageActive {
        /// The image.
        image: Name,
    },
    /// That an image has stopped.
    ImageStopped {
        /// The image.
        image: Name,
    },
    /// That what an image left behind is gone.
    ImageReset {
        /// The image.
        image: Name,
    },
    /// What a module was asked to do, when nothing more is known of it.
    Module {
        /// The module.
        module: String,
    },
}

impl Awaiting {
    /// One sentence for people. `when` says when the wait began, for instance `28 s ago`.
    #[must_use]
    pub fn sentence(&self, when: &str) -> String {
        match self {
            Awaiting::BmcAnswer => {
                format!("the BMC was asked {when} whether the machine has power, and has not answered")
            }
            Awaiting::NetworkBootAccepted => {
                format!("the BMC was told {when} to boot the machine from the network, and has not accepted it")
            }
            Awaiting::PowerOnAccepted => format!("the BMC was told {when} to power on, and has not accepted it"),
            Awaiting::PowerOn => format!("the BMC accepted {when} to power on, and does not say that power is on"),
            Awaiting::PowerOffAccepted => format!("the BMC was told {when} to power off, and has not accepted it"),
            Awaiting::PowerOff => format!("the BMC accepted {when} to power off, and does not say that power is off"),
            Awaiting::SignOfLife => format!(
                "the machine was found to have power {when}, and neither its firmware nor its agent has been heard since"
            ),
            Awaiting::NetworkBoot => {
                format!("an operating system asked for an address {when}: the machine did not boot from the network")
            }
            Awaiting::DhcpRequest { from: Asker::Firmware } => {
                format!("the machine was powered on {when}, and its ROM has not asked for an address since")
            }
            Awaiting::DhcpRequest { from: Asker::Loader } => {
                format!("the loader was sent {when}, and has not asked for an address")
            }
            Awaiting::DhcpTaken { from } => {
                let from = from.as_str();
                format!("an address was offered to the {from} {when}, and not acknowledged: it has not asked for it")
            }
            Awaiting::DhcpTakenFromUs { from } => {
                format!("the {} took the address of another DHCP server {when}", from.as_str())
            }
            Awaiting::DhcpGiven { from } => {
                format!("the {} asked for an address {when}, and was not given one", from.as_str())
            }
            Awaiting::File { file: FileKind::Loader } => {
                format!("the firmware was given its address {when}, and has not fetched the loader")
            }
            Awaiting::File { file: FileKind::Script } => {
                format!("the loader was given its address {when}, and has not fetched its script")
            }
            Awaiting::File { file: FileKind::Kernel } => {
                format!("the script was sent {when}, and the kernel has not been fetched")
            }
            Awaiting::File { file: FileKind::Initramfs } => {
                format!("the kernel was sent {when}, and layer 0 has not been fetched")
            }
            Awaiting::File { file } => format!("{} has not been fetched; the wait began {when}", name_of(*file)),
            Awaiting::FileAgain { file } => {
                format!("the transfer of {} broke off {when}, and has not been begun again", name_of(*file))
            }
            Awaiting::FileGiven { file } => format!("{} was asked for {when}, and refused", name_of(*file)),
            Awaiting::AgentJoin => format!("the kernel and layer 0 were sent {when}, and the agent has not joined"),
            Awaiting::AgentAccepted => format!("the agent asked to join {when}, and was refused"),
            Awaiting::AgentSession => format!("the agent joined {when}, and has not connected"),
            Awaiting::AgentReturn => format!("the agent's connection ended {when}, and it has not come back"),
            Awaiting::AgentReport => format!("the agent was heard {when}, and has not told its state"),
            Awaiting::InStep => format!("the agent was asked {when} to get in step, and has not done it"),
            Awaiting::AgentLeave => format!("the agent was asked {when} to leave, and has not done it"),
            Awaiting::ImageReport { image } => {
                format!("the agent is in step, and has not told of the image {image}; the wait began {when}")
            }
            Awaiting::ImageActive { image } => {
                format!("the agent was asked {when} to run the image {image}, and it does not run yet")
            }
            Awaiting::ImageStopped { image } => {
                format!("the agent was asked {when} to stop the image {image}, and it has not stopped")
            }
            Awaiting::ImageReset { image } => {
                format!("the agent was asked {when} to clean up after the image {image}, and has not done it")
            }
            Awaiting::Module { module } => format!("the module {module} was asked {when}, and has not finished"),
        }
    }

    /// What to do when it lasts.
    #[must_use]
    pub fn suggestion(&self) -> Suggestion {
        match self {
            Awaiting::BmcAnswer
            | Awaiting::NetworkBootAccepted
            | Awaiting::PowerOnAccepted
            | Awaiting::PowerOffAccepted => Suggestion::CheckBmcReachable,
            Awaiting::PowerOn | Awaiting::PowerOff => Suggestion::CheckBmc,
            Awaiting::SignOfLife | Awaiting::DhcpRequest { from: Asker::Firmware } => Suggestion::CheckNetworkBoot,
            Awaiting::NetworkBoot => Suggestion::CheckBootOrder,
            Awaiting::DhcpRequest { from: Asker::Loader } => Suggestion::CheckLoader,
            Awaiting::DhcpTaken { .. } => Suggestion::CheckDhcpPath,
            Awaiting::DhcpTakenFromUs { .. } => Suggestion::FindOtherDhcpServer,
            Awaiting::DhcpGiven { .. } => Suggestion::CheckDescription,
            Awaiting::File { .. } | Awaiting::FileAgain { .. } => Suggestion::CheckFilePath,
            Awaiting::FileGiven { .. } => Suggestion::CheckBootFiles,
            Awaiting::AgentJoin => Suggestion::CheckConsole,
            Awaiting::AgentAccepted => Suggestion::BootAgain,
            Awaiting::AgentSession
            | Awaiting::AgentReturn
            | Awaiting::AgentReport
            | Awaiting::InStep
            | Awaiting::AgentLeave
            | Awaiting::ImageReport { .. } => Suggestion::CheckAgent,
            Awaiting::ImageActive { .. } | Awaiting::ImageStopped { .. } | Awaiting::ImageReset { .. } => {
                Suggestion::CheckImage
            }
            Awaiting::Module { .. } => Suggestion::CheckModule,
        }
    }

    /// The source that would show it, or that shows why it does not come.
    fn source(&self) -> Option<Source> {
        match self {
            Awaiting::BmcAnswer
            | Awaiting::NetworkBootAccepted
            | Awaiting::PowerOnAccepted
            | Awaiting::PowerOn
            | Awaiting::PowerOffAccepted
            | Awaiting::PowerOff => Some(Source::Bmc),
            Awaiting::SignOfLife
            | Awaiting::NetworkBoot
            | Awaiting::DhcpRequest { .. }
            | Awaiting::DhcpTaken { .. }
            | Awaiting::DhcpTakenFromUs { .. }
            | Awaiting::DhcpGiven { .. } => Some(Source::Dhcp),
            Awaiting::File { .. } | Awaiting::FileAgain { .. } | Awaiting::FileGiven { .. } => Some(Source::File),
            Awaiting::AgentJoin => Some(Source::Console),
            Awaiting::AgentAccepted => Some(Source::Join),
            Awaiting::AgentSession
            | Awaiting::AgentReturn
            | Awaiting::AgentReport
            | Awaiting::InStep
            | Awaiting::AgentLeave
            | Awaiting::ImageReport { .. }
            | Awaiting::ImageActive { .. }
            | Awaiting::ImageStopped { .. }
            | Awaiting::ImageReset { .. } => Some(Source::Agent),
            Awaiting::Module { .. } => None,
        }
    }
}

fn name_of(file: FileKind) -> &'static str {
    match file {
        FileKind::Loader => "the loader",
        FileKind::Script => "the boot script",
        FileKind::Kernel => "the kernel",
        FileKind::Initramfs => "layer 0",
        FileKind::Image => "a part of an image",
        FileKind::Unknown => "a file that the appliance does not know",
    }
}

/// What the step under way waits for; `module` is the one that declares the step.
pub(super) fn wait(node: &Node, flight: &InFlight, module: &str, evidence: &[Evidence]) -> Wait {
    let (what, since) = awaited(node, flight, module);
    let last = what.source().and_then(|source| evidence.iter().find(|e| e.source == source).cloned());
    Wait { what, since, last }
}

fn awaited(node: &Node, flight: &InFlight, module: &str) -> (Awaiting, UnixMs) {
    let asked = flight.started_at;
    let image = flight.step.image.clone();
    let accepted = |mark: Mark| node.marks.iter().rev().find(|m| m.mark == mark && m.at >= asked).map(|m| m.at);
    match (flight.step.mutation.as_ref(), image) {
        ("power.discover", _) => (Awaiting::BmcAnswer, asked),
        ("boot.arm", _) => (Awaiting::NetworkBootAccepted, asked),
        ("power.on", _) => match accepted(Mark::PowerOnAccepted) {
            Some(at) => (Awaiting::PowerOn, at),
            None => (Awaiting::PowerOnAccepted, asked),
        },
        ("power.off" | "power.reclaim", _) => match node.ordered_off_at.filter(|at| *at >= asked) {
            Some(at) => (Awaiting::PowerOff, at),
            None => (Awaiting::PowerOffAccepted, asked),
        },
        ("boot.discover", _) => trouble(node, asked, Unknown::Skip).unwrap_or((Awaiting::SignOfLife, asked)),
        ("boot.rom" | "boot.loader" | "boot.kernel" | "boot.target" | "boot.agent", _) => boot_stage(node, asked),
        ("run.discover", _) => agent_stage(node, asked),
        ("run.sync", _) => (Awaiting::InStep, asked),
        ("run.leave", _) => (Awaiting::AgentLeave, asked),
        ("image.discover", Some(image)) => (Awaiting::ImageReport { image }, asked),
        ("image.activate", Some(image)) => (Awaiting::ImageActive { image }, asked),
        ("image.deactivate", Some(image)) => (Awaiting::ImageStopped { image }, asked),
        ("image.reset", Some(image)) => (Awaiting::ImageReset { image }, asked),
        _ => (Awaiting::Module { module: module.to_owned() }, asked),
    }
}

/// Where in the boot the machine is: the last mark since `boot` has its value says what came last, and so what is next.
fn boot_stage(node: &Node, asked: UnixMs) -> (Awaiting, UnixMs) {
    let stage = node.observed.get(&VarPath::boot());
    let from = stage.map_or(asked, |seen| seen.at);
    let word = stage.and_then(|seen| seen.value.as_symbol()).unwrap_or_default();
    let marks = || node.marks.iter().rev().take_while(|m| m.at >= from);
    let (since, last) = marks().next().map_or((from, None), |m| (m.at, Some(&m.mark)));
    let sent = |mark: &Mark| marks().any(|m| m.mark == *mark);
    let both_sent = sent(&Mark::KernelSent) && sent(&Mark::InitramfsSent);
    let next = match (word, last) {
        ("rom", _) => Awaiting::File { file: FileKind::Loader },
        ("loader", Some(Mark::ScriptSent)) => Awaiting::File { file: FileKind::Kernel },
        ("loader", Some(Mark::LoaderDhcp)) => Awaiting::File { file: FileKind::Script },
        ("loader", _) => Awaiting::DhcpRequest { from: Asker::Loader },
        ("kernel", _) if both_sent => Awaiting::AgentJoin,
        ("kernel", Some(Mark::InitramfsSent)) => Awaiting::File { file: FileKind::Kernel },
        ("kernel", _) => Awaiting::File { file: FileKind::Initramfs },
        _ => Awaiting::DhcpRequest { from: Asker::Firmware },
    };
    if next == Awaiting::AgentJoin {
        let refused = node.last.join_refused.as_ref().filter(|(at, _)| *at >= since);
        return refused.map_or((next, since), |(at, _)| (Awaiting::AgentAccepted, *at));
    }
    // A loader looks for files of its own before it asks for an address; that we do not have them means nothing.
    let unknown = match next {
        Awaiting::DhcpRequest { from: Asker::Loader } => Unknown::Skip,
        _ => Unknown::Counts,
    };
    trouble(node, since, unknown).unwrap_or((next, since))
}

/// Whether a refused file that we do not know is the file that is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Counts,
    Skip,
}

/// What came since `since` instead of what should have: the later one of DHCP and files.
fn trouble(node: &Node, since: UnixMs, unknown: Unknown) -> Option<(Awaiting, UnixMs)> {
    let dhcp = dhcp_trouble(node).filter(|(_, at)| *at >= since);
    let file = file_trouble(node, unknown).filter(|(_, at)| *at >= since);
    match (dhcp, file) {
        (Some(dhcp), Some(file)) if file.1 > dhcp.1 => Some(file),
        (dhcp, file) => dhcp.or(file),
    }
}

fn dhcp_trouble(node: &Node) -> Option<(Awaiting, UnixMs)> {
    let (at, client, _) = node.last.dhcp.as_ref()?;
    let from = match client {
        BootClient::Other => return Some((Awaiting::NetworkBoot, *at)),
        BootClient::Ipxe(_) => Asker::Loader,
        BootClient::PxeRom(_) | BootClient::HttpRom(_) => Asker::Firmware,
    };
    let what = match node.last.dhcp_end? {
        DhcpEnd::Offered => Awaiting::DhcpTaken { from },
        DhcpEnd::OtherServer => Awaiting::DhcpTakenFromUs { from },
        DhcpEnd::NotGiven => Awaiting::DhcpGiven { from },
        DhcpEnd::Leased | DhcpEnd::Released => return None,
    };
    Some((what, *at))
}

fn file_trouble(node: &Node, unknown: Unknown) -> Option<(Awaiting, UnixMs)> {
    let (at, _) = node.last.file.as_ref()?;
    let (file, end) = node.last.file_end?;
    if file == FileKind::Image || file == FileKind::Unknown && unknown == Unknown::Skip {
        return None;
    }
    match end {
        FileEnd::Sent => None,
        FileEnd::Stopped => Some((Awaiting::FileAgain { file }, *at)),
        FileEnd::Refused => Some((Awaiting::FileGiven { file }, *at)),
    }
}

/// Where between its join and its first report an agent is that is not in step.
fn agent_stage(node: &Node, asked: UnixMs) -> (Awaiting, UnixMs) {
    if node.agent.session.is_some() {
        return (Awaiting::AgentReport, node.agent.heard_at.unwrap_or(asked));
    }
    let ended = match node.marks.last() {
        Some(mark) if mark.mark == Mark::AgentJoined => (Awaiting::AgentSession, mark.at),
        Some(mark) if mark.mark == Mark::AgentLost => (Awaiting::AgentReturn, mark.at),
        // After a restart of the appliance no agent has a session, and none was lost.
        _ => (Awaiting::AgentReturn, asked),
    };
    let refused = node.last.join_refused.as_ref().filter(|(at, _)| *at >= ended.1);
    refused.map_or(ended, |(at, _)| (Awaiting::AgentAccepted, *at))
}
