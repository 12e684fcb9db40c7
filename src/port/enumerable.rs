//! What a program may choose from: variables, extensions, and the words that documents hold.
//!
//! Invariant: the lists of words are those of the types that they stand for; a test compares them.

use serde::{Deserialize, Serialize};

use crate::model::schema::{Schema, VarType};
use crate::model::{Role, VarPath};

/// The words of [`crate::plan::Reason`].
pub const REASONS: &[&str] = &[
    "at_goal",
    "in_progress",
    "backing_off",
    "quarantined",
    "no_power_control",
    "held",
    "disabled",
    "no_plan",
    "pending",
];

/// The words of [`crate::plan::Hold`].
pub const HOLDS: &[&str] = &["node_frozen", "all_frozen", "guarded", "mass_event", "next_boot", "queued"];

/// The stages of timelines, in the order of a boot; those of images stand for every image.
pub const TIMELINE_STAGES: &[&str] = &[
    "network boot armed",
    "power-on accepted",
    "power on",
    "firmware DHCP",
    "loader sent",
    "loader DHCP",
    "script sent",
    "kernel sent",
    "layer 0 sent",
    "agent joined",
    "in sync",
    "image <name> active",
    "image <name> stopped",
    "agent left",
    "agent lost",
    "power off",
    "goal reached",
    "target <name> reached",
];

/// The stages of nodes, which say in one word how far they have come: values of `power`, `boot` and `run`, and two more.
#[must_use]
pub fn node_stages(schema: &Schema) -> Vec<String> {
    let values = |path: VarPath| -> Vec<String> {
        let spec = schema.find(&path).map(|(_, spec)| &spec.kind);
        spec.and_then(VarType::enum_values).unwrap_or_default().iter().map(ToString::to_string).collect()
    };
    let of = [VarPath::power(), VarPath::boot(), VarPath::run()].map(values).concat();
    ["unknown".to_owned()].into_iter().chain(of).chain(["running".to_owned()]).collect()
}

/// The words that documents hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KindsDocument {
    /// Kinds of facts: `kind` of an event.
    pub events: Vec<String>,
    /// Why a node is not at its goal: `reason` of why.
    pub reasons: Vec<String>,
    /// What holds a step back: `hold` of a reason.
    pub holds: Vec<String>,
    /// How far a node has come: `stage` of a node.
    pub stages: Vec<String>,
    /// What a boot goes through, in its order: `stage` of a timeline.
    pub timeline_stages: Vec<String>,
    /// Roles of tokens, each including those before it.
    pub roles: Vec<Role>,
}
