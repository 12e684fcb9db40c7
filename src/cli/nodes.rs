//! Node sets on the command line, and how many nodes are said. Whether the nodes exist is for the appliance to say.

use std::str::FromStr;

use super::error::tell;
use crate::model::NodeSet;
use crate::model::nodeset::NodeSetError;
use crate::plan::{Hold, WaitsFor};
use crate::port::document::Accepted;

/// A node set, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes(String);

impl FromStr for Nodes {
    type Err = NodeSetError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<NodeSet>()?;
        Ok(Nodes(text.to_owned()))
    }
}

impl Nodes {
    /// How many nodes it names.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.parse::<NodeSet>().map_or(0, |set| set.len())
    }
}

impl std::fmt::Display for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// "1 node" or "3 nodes", and which.
#[must_use]
pub fn counted(accepted: &Accepted) -> String {
    let noun = if accepted.count == 1 { "node" } else { "nodes" };
    format!("{} {noun}: {}", accepted.count, accepted.nodes)
}

/// Says what is to be known of the goals, and who waits before which step, and for what: whoever asked should not have to wonder why nothing happens.
pub fn tell_held(accepted: &Accepted) {
    for held in &accepted.held {
        let verb = if held.count == 1 { "waits" } else { "wait" };
        let leave = match &held.what {
            WaitsFor::Held { hold: Hold::Guarded { .. } } => "; --even-if-busy does not wait",
            _ => "",
        };
        let step = held.step.as_deref().unwrap_or("any further step");
        tell(&format!("{} {verb} before {step} for {}{leave}", held.nodes, held.text));
    }
    for warning in &accepted.warnings {
        tell(&warning.to_string());
    }
}
