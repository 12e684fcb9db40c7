//! The API's documents about the past, and about how the appliance does.

use serde::{Deserialize, Serialize};

use super::document::NodeDocument;
use super::health::{JournalHealth, Writing};
use crate::model::{FactSeq, UnixMs};
use crate::state::State;
use crate::state::compare::NodeChange;

/// A place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlaceDocument {
    /// The last fact that counts.
    pub seq: FactSeq,
    /// When it was taken.
    pub at: String,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: UnixMs,
}

impl PlaceDocument {
    /// The place of a state whose last fact was taken at `at`.
    #[must_use]
    pub fn new(state: &State, at: UnixMs) -> Self {
        PlaceDocument { seq: state.seq, at: at.to_string(), at_ms: at }
    }
}

/// Nodes as they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PastNodes {
    /// When.
    pub as_of: PlaceDocument,
    /// The nodes.
    pub items: Vec<NodeDocument>,
}

/// What changed between two places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiffDocument {
    /// The one.
    pub from: PlaceDocument,
    /// The other.
    pub to: PlaceDocument,
    /// The nodes that differ.
    pub items: Vec<NodeChange>,
}

/// How the appliance does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HealthDocument {
    /// In one word.
    pub status: HealthStatus,
    /// The journal.
    pub journal: JournalHealth,
}

/// How the appliance does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// As it should.
    Ok,
    /// Something needs a hand.
    Degraded,
}

impl HealthDocument {
    /// The document of a journal.
    #[must_use]
    pub fn new(journal: JournalHealth) -> Self {
        let well = journal.writing == Writing::Ok && journal.damage.is_none();
        HealthDocument { status: if well { HealthStatus::Ok } else { HealthStatus::Degraded }, journal }
    }
}
