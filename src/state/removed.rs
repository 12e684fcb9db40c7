//! The names of nodes that were removed: the journal still tells of them, and people know them by their names.
//!
//! Invariants: no node that there is, is in it; at most [`REMOVED_NODES_MAX`], of which the one that was removed longest
//! ago goes first.
//! Absent on purpose: everything else about them, which the journal has.

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

use crate::model::limits::REMOVED_NODES_MAX;
use crate::model::{Name, NodeId};

/// Nodes that were removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    names: OrdMap<NodeId, Name>,
    /// The one that was removed longest ago first.
    order: Vector<NodeId>,
}

impl Removed {
    /// The name that a node had when it was removed.
    #[must_use]
    pub fn name(&self, id: NodeId) -> Option<&Name> {
        self.names.get(&id)
    }

    /// Those that had this name when they were removed: a name may be given again.
    pub fn named<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = NodeId> + 'a {
        self.names.iter().filter(move |(_, known)| *known == name).map(|(id, _)| *id)
    }

    pub(super) fn add(&mut self, id: NodeId, name: Name) {
        if self.names.insert(id, name).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > REMOVED_NODES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }

    /// It is a node again.
    pub(super) fn forget(&mut self, id: NodeId) {
        if self.names.remove(&id).is_some() {
            self.order.retain(|known| *known != id);
        }
    }
}
