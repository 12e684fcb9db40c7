//! A boot's stages with the time that each took, from the marks that the fold kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::UnixMs;
use crate::state::{Mark, Node};

/// One stage that was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stage {
    /// The stage's name, for people.
    pub stage: String,
    /// When it was reached, in milliseconds since 1970.
    pub at_ms: UnixMs,
    /// When it was reached, as text.
    pub at: String,
    /// Seconds since the stage before it.
    pub took_s: f64,
    /// Seconds since the boot began.
    pub since_start_s: f64,
}

/// The stages of the node's last boot, in the order in which they were reached.
#[must_use]
pub fn timeline(node: &Node) -> Vec<Stage> {
    let marks = node.last_boot();
    let Some(start) = marks.first().map(|m| m.at) else { return Vec::new() };
    let mut before = start;
    marks
        .iter()
        .map(|marked| {
            let stage = Stage {
                stage: marked.mark.to_string(),
                at_ms: marked.at,
                at: marked.at.to_string(),
                took_s: seconds(marked.at.since(before)),
                since_start_s: seconds(marked.at.since(start)),
            };
            before = marked.at;
            stage
        })
        .collect()
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Mark::Armed => "network boot armed",
            Mark::PowerOnAccepted => "power-on accepted",
            Mark::PowerOn => "power on",
            Mark::FirmwareDhcp => "firmware DHCP",
            Mark::LoaderSent => "loader sent",
            Mark::LoaderDhcp => "loader DHCP",
            Mark::ScriptSent => "script sent",
            Mark::KernelSent => "kernel sent",
            Mark::InitramfsSent => "layer 0 sent",
            Mark::AgentJoined => "agent joined",
            Mark::InSync => "in sync",
            Mark::ImageActive(image) => return write!(f, "image {image} active"),
            Mark::ImageIdle(image) => return write!(f, "image {image} stopped"),
            Mark::AgentLeft => "agent left",
            Mark::AgentLost => "agent lost",
            Mark::PowerOff => "power off",
            Mark::GoalReached => "goal reached",
            Mark::TargetReached(target) => return write!(f, "target {target} reached"),
        };
        f.write_str(text)
    }
}
