//! When which node is looked at next: every node once in so long, new ones at once.
//!
//! Invariants: a node is in the table exactly once; looks that are late are not made up for. Pure: times go in.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::NodeId;

/// The table.
#[derive(Debug, Default)]
pub struct Looks {
    every_ms: Option<u64>,
    due_of: BTreeMap<NodeId, u64>,
    due: BTreeSet<(u64, NodeId)>,
}

impl Looks {
    /// Looks at every node once in `every_ms`, or at none. What was due before is forgotten when this is another span.
    pub fn every(&mut self, every_ms: Option<u64>) {
        if self.every_ms != every_ms {
            *self = Looks { every_ms, ..Looks::default() };
        }
    }

    /// Takes in which nodes there are.
    pub fn follow(&mut self, nodes: impl Iterator<Item = NodeId>, now_ms: u64) {
        if self.every_ms.is_none() {
            return;
        }
        let there: BTreeSet<NodeId> = nodes.collect();
        self.due_of.retain(|node, _| there.contains(node));
        self.due.retain(|(_, node)| there.contains(node));
        for node in there {
            if !self.due_of.contains_key(&node) {
                self.put(node, now_ms);
            }
        }
    }

    /// The node whose look is due, if one is; its next one is due a span later.
    pub fn take_due(&mut self, now_ms: u64) -> Option<NodeId> {
        let (due_ms, node) = self.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.due.remove(&(due_ms, node));
        self.put(node, now_ms.saturating_add(self.every_ms?));
        Some(node)
    }

    /// When the next look is due.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    fn put(&mut self, node: NodeId, due_ms: u64) {
        self.due_of.insert(node, due_ms);
        self.due.insert((due_ms, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u128) -> NodeId {
        NodeId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn every_node_is_looked_at_once_in_so_long_and_new_ones_at_once() {
        let mut looks = Looks::default();
        looks.every(Some(1_000));
        looks.follow([node(1), node(2)].into_iter(), 5);
        assert_eq!([looks.take_due(5), looks.take_due(5), looks.take_due(5)], [Some(node(1)), Some(node(2)), None]);
        looks.follow([node(2), node(3)].into_iter(), 6);
        assert_eq!([looks.take_due(6), looks.take_due(6)], [Some(node(3)), None]);
        assert_eq!(looks.next_ms(), Some(1_005));
        assert_eq!(
            [looks.take_due(9_000), looks.take_due(9_000), looks.take_due(9_000)],
            [Some(node(2)), Some(node(3)), None]
        );
    }

    #[test]
    fn a_module_that_does_not_look_is_never_due() {
        let mut looks = Looks::default();
        looks.follow([node(1)].into_iter(), 0);
        assert_eq!((looks.take_due(u64::MAX), looks.next_ms()), (None, None));
    }
}
