//! The API's documents about many nodes at once: every node's own answer, and what they have in common.
//!
//! `items` is one answer a node, as it always was; beside it stands what is said of all of them together. Who needs only
//! one of the two asks for it, since ten thousand reports are some megabytes and their groups are a page.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::document::TimelineDocument;
use crate::plan::{Fleet, WhyGroup, WhyReport, fleet, group, timeline};
use crate::state::Node;

/// Which part of such a document is wanted; the other is left empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// Both.
    #[default]
    Both,
    /// Every node's own answer.
    Items,
    /// What is said of all together.
    Together,
}

/// A word that names no part of a document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no part of the answer: ask for only=items or only=together, or leave it out for both")]
pub struct PartError(String);

impl std::str::FromStr for Part {
    type Err = PartError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "items" => Ok(Part::Items),
            "together" => Ok(Part::Together),
            other => Err(PartError(other.to_owned())),
        }
    }
}

/// Why nodes are not at their goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WhyDocument {
    /// One report a node.
    pub items: Vec<WhyReport>,
    /// Nodes with the same reason, together.
    #[serde(default)]
    pub groups: Vec<WhyGroup>,
}

impl WhyDocument {
    /// The document of these reports.
    #[must_use]
    pub fn new(reports: Vec<WhyReport>, part: Part) -> Self {
        let groups = if part == Part::Items { Vec::new() } else { group(&reports) };
        WhyDocument { items: if part == Part::Together { Vec::new() } else { reports }, groups }
    }
}

/// Nodes' last boots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimelinesDocument {
    /// One timeline a node.
    pub items: Vec<TimelineDocument>,
    /// The stages over all of them.
    #[serde(default)]
    pub summary: Option<Fleet>,
}

impl TimelinesDocument {
    /// The document of these nodes.
    #[must_use]
    pub fn new(nodes: &[Arc<Node>], part: Part) -> Self {
        let one =
            |node: &Arc<Node>| TimelineDocument { name: node.spec.name.clone(), id: node.id, stages: timeline(node) };
        TimelinesDocument {
            items: if part == Part::Together { Vec::new() } else { nodes.iter().map(one).collect() },
            summary: (part != Part::Items).then(|| fleet(nodes.iter().map(Arc::as_ref))),
        }
    }
}
