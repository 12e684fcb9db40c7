//! What holds for all nodes together: freezes, switched-off mutations, timeouts, what durations were learned, and
//! whether so many nodes turned bad at once that the appliance is rather ill than they.
//!
//! Invariants: [`Control::revision`] changes with everything that plans depend on; a learned duration counts only after
//! [`LEARNED_MIN`] examples, and is rounded, so that plans do not waver.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::fact::{Declaration, FleetFact, Switch};
use crate::model::limits::TURNED_BAD_MAX;
use crate::model::{Guard, Name, NodeId, UnixMs, VarPath};

/// How many examples of a duration there must be before it is believed.
pub const LEARNED_MIN: u64 = 4;
/// How much a new example counts: one part in so many.
const LEARNING_INERTIA: u64 = 8;

/// What holds for all nodes together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Since when no step of any node is started.
    pub frozen: Option<UnixMs>,
    /// The mutations that are not planned with.
    pub disabled_mutations: OrdSet<Arc<str>>,
    /// The modules whose mutations are not planned with.
    pub disabled_modules: OrdSet<Arc<str>>,
    /// Timeouts that stand before the configured and the declared ones, in milliseconds, by mutation.
    pub timeouts_ms: OrdMap<Arc<str>, u64>,
    /// How long mutations took.
    pub learned: OrdMap<Arc<str>, Learned>,
    /// What modules from outside declared.
    pub modules: OrdMap<Name, Arc<Declaration>>,
    /// The mass event that holds disruptive steps back.
    pub mass_event: Option<MassEvent>,
    /// Nodes that turned bad and are not well again, with when they did.
    pub turned_bad: OrdMap<NodeId, UnixMs>,
    /// Nodes that a disruptive step was started on and that are not back at their goal.
    pub disrupted: OrdSet<NodeId>,
    /// Counts the changes of what plans depend on.
    pub revision: u64,
}

/// What was learned of a mutation's duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// How many examples there were.
    pub count: u64,
    /// Their mean in milliseconds, the newer ones counting more.
    pub mean_ms: u64,
}

/// So many nodes turned bad within so short a time that disruptive steps wait for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MassEvent {
    /// When it was noticed.
    pub at: UnixMs,
    /// How many nodes had turned bad.
    pub bad: u64,
    /// How many there were.
    pub of: u64,
}

impl Learned {
    /// The mean, rounded to an eighth of its power of two, so that small changes are none.
    #[must_use]
    pub fn rounded_ms(&self) -> u64 {
        let grain = (self.mean_ms.max(1).next_power_of_two() / 16).max(1);
        (self.mean_ms.saturating_add(grain / 2) / grain).saturating_mul(grain).max(1)
    }

    /// The mean, when there were enough examples.
    #[must_use]
    pub fn believed_ms(&self) -> Option<u64> {
        (self.count >= LEARNED_MIN).then(|| self.rounded_ms())
    }
}

impl Control {
    /// Everything that holds nodes against disruptive mutations: `busy`, and what modules declare.
    pub fn guards(&self) -> impl Iterator<Item = Guard> + '_ {
        let busy = Guard { variable: VarPath::busy(), value: "busy".into(), reason: "the node is busy".into() };
        std::iter::once(busy).chain(self.modules.values().flat_map(|declared| declared.guards.iter().cloned()))
    }

    /// Whether the mutation of this name and module is planned with.
    #[must_use]
    pub fn is_enabled(&self, mutation: &str, module: &str) -> bool {
        !self.disabled_mutations.contains(mutation) && !self.disabled_modules.contains(module)
    }

    pub(super) fn learn(&mut self, mutation: &Arc<str>, duration_ms: u64) {
        let before = self.learned.get(mutation).copied();
        let after = match before {
            None => Learned { count: 1, mean_ms: duration_ms },
            Some(Learned { count, mean_ms }) => {
                let weight = LEARNING_INERTIA.min(count + 1);
                let mean_ms = mean_ms.saturating_mul(weight - 1).saturating_add(duration_ms) / weight;
                Learned { count: count + 1, mean_ms }
            }
        };
        if before.and_then(|b| b.believed_ms()) != after.believed_ms() {
            self.revision += 1;
        }
        self.learned.insert(mutation.clone(), after);
    }

    pub(super) fn switch_mutation(&mut self, mutation: &str, to: Switch) {
        self.revision += 1;
        match to {
            Switch::Enabled => self.disabled_mutations.remove(mutation),
            Switch::Disabled => self.disabled_mutations.insert(mutation.into()),
        };
    }

    pub(super) fn switch_module(&mut self, module: &str, to: Switch) {
        self.revision += 1;
        match to {
            Switch::Enabled => self.disabled_modules.remove(module),
            Switch::Disabled => self.disabled_modules.insert(module.into()),
        };
    }

    pub(super) fn set_timeout(&mut self, mutation: &str, timeout_ms: Option<u64>) {
        match timeout_ms {
            Some(ms) => self.timeouts_ms.insert(mutation.into(), ms),
            None => self.timeouts_ms.remove(mutation),
        };
    }

    pub(super) fn node_turned_bad(&mut self, at: UnixMs, node: NodeId) {
        if self.turned_bad.len() >= TURNED_BAD_MAX && !self.turned_bad.contains_key(&node) {
            let oldest = self.turned_bad.iter().min_by_key(|(_, at)| **at).map(|(node, _)| *node);
            oldest.and_then(|oldest| self.turned_bad.remove(&oldest));
        }
        self.turned_bad.insert(node, at);
    }

    pub(super) fn node_is_well(&mut self, node: NodeId) {
        self.disrupted.remove(&node);
        self.turned_bad.remove(&node);
    }

    pub(super) fn fleet(&mut self, at: UnixMs, fact: &FleetFact) {
        match fact {
            FleetFact::MassEvent { bad, of, .. } => self.mass_event = Some(MassEvent { at, bad: *bad, of: *of }),
            FleetFact::MassEventPassed => self.mass_event = None,
        }
    }

    pub(super) fn mass_event_cleared(&mut self) {
        self.mass_event = None;
        self.turned_bad = OrdMap::new();
    }

    /// How many nodes turned bad at or after `since`, and are not well again.
    #[must_use]
    pub fn bad_since(&self, since: UnixMs) -> u64 {
        let recent = self.turned_bad.values().filter(|at| **at >= since).count();
        u64::try_from(recent).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_believed_after_some_examples_and_small_changes_are_none() {
        let mut control = Control::default();
        let name: Arc<str> = "power.on".into();
        for _ in 0..3 {
            control.learn(&name, 10_000);
        }
        assert_eq!((control.learned[&name].believed_ms(), control.revision), (None, 0));
        control.learn(&name, 10_000);
        let believed = control.learned[&name].believed_ms();
        assert!(believed.is_some_and(|ms| (9_500..10_500).contains(&ms)), "{believed:?}");
        assert_eq!(control.revision, 1);
        control.learn(&name, 10_100);
        assert_eq!((control.learned[&name].believed_ms(), control.revision), (believed, 1));
        for _ in 0..20 {
            control.learn(&name, 60_000);
        }
        assert!(control.learned[&name].believed_ms() > Some(50_000));
    }
}
