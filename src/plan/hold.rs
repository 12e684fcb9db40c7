//! What holds a step back although it is the next one: a freeze, a guard, a mass event, too many disturbed nodes.
//!
//! Invariants: a freeze holds every step, and so does a target that is for the next boot; the others hold disruptive steps alone. A node that is being disturbed already
//! does not count twice, so that a plan of several disruptive steps is not held in the middle. An operator's leave to
//! disturb a node lifts its guards, and nothing else.
//! A step under way is held by nothing; what holds the steps behind it is told all the same (`ahead`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::decide::Policy;
use super::graph::Graph;
use super::target::{next_boot, wanted};
use crate::fact::StepName;
use crate::model::mutation::{Disruption, Mutation};
use crate::model::{Guard, Symbol, UnixMs, VarPath};
use crate::state::{Control, Node};

/// What holds a step back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "hold", rename_all = "snake_case")]
pub enum Hold {
    /// The node is frozen.
    NodeFrozen {
        /// Since when.
        since: UnixMs,
    },
    /// Everything is frozen.
    AllFrozen {
        /// Since when.
        since: UnixMs,
    },
    /// A variable says that the node must not be disturbed.
    Guarded {
        /// The variable.
        variable: VarPath,
        /// Its value.
        value: Symbol,
        /// Why, in the words of who declared it.
        why: String,
    },
    /// So many nodes turned bad at once that somebody has to look first.
    MassEvent {
        /// Since when.
        since: UnixMs,
        /// How many turned bad.
        bad: u64,
        /// How many there were.
        of: u64,
    },
    /// Its target is for its next boot, and what it runs meanwhile is not disturbed.
    NextBoot {
        /// The target.
        target: String,
        /// What it runs.
        runs: String,
    },
    /// As many nodes are disturbed as may be at once.
    Queued {
        /// How many are disturbed.
        disrupted: u64,
        /// How many may be.
        max: u64,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::NodeFrozen { since } => write!(f, "the node's thaw (frozen since {since})"),
            Hold::AllFrozen { since } => write!(f, "the thaw of everything (frozen since {since})"),
            Hold::Guarded { variable, value, why } => write!(f, "{variable} to be something else than {value} ({why})"),
            Hold::MassEvent { since, bad, of } => {
                write!(f, "an operator's word on the mass event of {since} ({bad} of {of} nodes turned bad)")
            }
            Hold::NextBoot { target, runs } => {
                write!(f, "a power cycle (it runs {runs}; {target} is for its next boot)")
            }
            Hold::Queued { disrupted, max } => write!(f, "its turn ({disrupted} nodes are disturbed, {max} may be)"),
        }
    }
}

/// Something that holds steps which are still to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldStep {
    /// The first step that it holds; nothing when it would hold any, and none is planned behind the one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What holds it.
    #[serde(flatten)]
    pub hold: Hold,
}

/// What holds the start of `mutation` on `node` back, if anything does.
#[must_use]
pub fn hold(node: &Node, control: &Control, policy: &Policy, mutation: &Mutation) -> Option<Hold> {
    holds(node, control, policy, mutation).next()
}

/// Everything that holds the start of `mutation` on `node` back, what would be told first before the others.
fn holds(node: &Node, control: &Control, policy: &Policy, mutation: &Mutation) -> impl Iterator<Item = Hold> {
    let disruptive = mutation.disruption == Disruption::Disruptive;
    let event = control.mass_event.filter(|_| disruptive);
    let event = event.map(|event| Hold::MassEvent { since: event.at, bad: event.bad, of: event.of });
    let guards = control.guards().filter(move |guard| disruptive && node.disturb.is_none() && is_set(node, guard));
    let guarded =
        |guard: Guard| Hold::Guarded { variable: guard.variable, value: guard.value, why: guard.reason.to_string() };
    let boot = next_boot(node).map(|runs| Hold::NextBoot { target: wanted(node), runs });
    freezes(node, control).chain(boot).chain(event).chain(guards.map(guarded)).chain(queued(
        node,
        control,
        policy,
        mutation.disruption,
    ))
}

fn freezes(node: &Node, control: &Control) -> impl Iterator<Item = Hold> {
    let node = node.frozen.map(|since| Hold::NodeFrozen { since });
    node.into_iter().chain(control.frozen.map(|since| Hold::AllFrozen { since }))
}

fn queued(node: &Node, control: &Control, policy: &Policy, disruption: Disruption) -> Option<Hold> {
    let disrupted = u64::try_from(control.disrupted.len()).unwrap_or(u64::MAX);
    let full = policy.disrupted_max > 0 && disrupted >= policy.disrupted_max;
    let waits = full && disruption == Disruption::Disruptive && !control.disrupted.contains(&node.id);
    waits.then_some(Hold::Queued { disrupted, max: policy.disrupted_max })
}

/// What holds the steps of `node`'s plan that are still to be started, each thing once, although another step may be
/// under way or the node may pause after a failure.
#[must_use]
pub fn ahead(node: &Node, control: &Control, policy: &Policy, graph: &Graph, plan: &[StepName]) -> Vec<HeldStep> {
    let under_way = node.in_flight.as_ref().map(|flight| &flight.step);
    let started = usize::from(under_way.is_some() && plan.first() == under_way);
    let mut found: Vec<HeldStep> = Vec::new();
    for (index, step) in plan.iter().skip(started).enumerate() {
        let Some(mutation) = graph.get(&step.mutation) else { continue };
        for hold in holds(node, control, policy, mutation) {
            // Whether a later step has to wait for its turn shows when it is the next one.
            let too_early = index > 0 && matches!(hold, Hold::Queued { .. });
            if !too_early && !found.iter().any(|known| known.hold == hold) {
                found.push(HeldStep { step: Some(step.clone()), hold });
            }
        }
    }
    for hold in freezes(node, control) {
        if !found.iter().any(|known| known.hold == hold) {
            found.push(HeldStep { step: None, hold });
        }
    }
    found
}

/// Whether a guard's variable has the guard's value: as an operator set it by hand, or else as it is seen or described.
fn is_set(node: &Node, guard: &Guard) -> bool {
    let says = |value: Option<&str>| value == Some(guard.value.as_str());
    match node.by_hand.get(&guard.variable) {
        Some(said) => says(said.as_symbol()),
        None => says(node.see_symbol(&guard.variable)) || says(node.wants_symbol(&guard.variable)),
    }
}

/// Whether so many nodes turned bad lately that it is a mass event: their number, and that of all.
#[must_use]
pub fn mass_event(control: &Control, nodes: u64, policy: &Policy, now: UnixMs) -> Option<(u64, u64)> {
    if control.mass_event.is_some() || policy.mass_share_percent == 0 {
        return None;
    }
    let bad = control.bad_since(UnixMs(now.0.saturating_sub(policy.mass_window_ms)));
    let share = bad.saturating_mul(100) >= nodes.saturating_mul(policy.mass_share_percent);
    (bad >= policy.mass_nodes_min && share).then_some((bad, nodes))
}
