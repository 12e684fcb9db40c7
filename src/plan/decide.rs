//! The next move for one node: start a step, keep waiting, take a step for done or failed, or nothing.
//!
//! A step under way is kept as long as the plan still begins with it, so what is observed in passing does not
//! restart it; anything that it did not predict re-plans at once. Failures bring a pause that doubles, and in the
//! end quarantine: no node is power-cycled for ever. What must not be started now is `hold`'s to say.

use std::collections::BTreeMap;

use super::goal::{goal_reached, image_seen};
use super::hold::{Hold, hold};
use super::search::{NoPlan, Planner};
use super::target::{next_boot, wanted};
use crate::fact::{Counted, EngineEvent, FailReason, Retry, StepName};
use crate::model::mutation::{Budget, Mutation, Subject, UNKNOWN};
use crate::model::{Name, NodeId, UnixMs, Value, VarPath};
use crate::state::{Control, InFlight, Node};

/// What operators may adjust about decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Failures that count, until the node is quarantined.
    pub retry_budget: u32,
    /// The pause after a first failure, in milliseconds; it doubles with each further one.
    pub backoff_base_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_max_ms: u64,
    /// Timeouts that stand before the declared ones, in milliseconds, by mutation.
    pub timeouts_ms: BTreeMap<String, u64>,
    /// The share of all nodes, in percent, whose turning bad within [`Policy::mass_window_ms`] is a mass event.
    pub mass_share_percent: u64,
    /// Fewer nodes than this are never a mass event.
    pub mass_nodes_min: u64,
    /// Within what time nodes must turn bad to be a mass event, in milliseconds.
    pub mass_window_ms: u64,
    /// How many nodes may be disrupted at once; 0 for any number.
    pub disrupted_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            retry_budget: 5,
            backoff_base_ms: 2_000,
            backoff_max_ms: 300_000,
            timeouts_ms: BTreeMap::new(),
            mass_share_percent: 25,
            mass_nodes_min: 5,
            mass_window_ms: 60_000,
            disrupted_max: 0,
        }
    }
}

/// The next move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Every goal is met.
    AtGoal,
    /// Start this step, and take it for failed at the deadline.
    Start {
        /// The step.
        step: StepName,
        /// When it will be taken for failed.
        deadline: UnixMs,
    },
    /// The step under way goes on.
    Wait {
        /// When to look again.
        until: UnixMs,
    },
    /// The step under way is done.
    Done {
        /// It.
        flight: InFlight,
    },
    /// The step under way has run out of time.
    TimedOut {
        /// It.
        flight: InFlight,
    },
    /// The step under way is not what is needed any more.
    Superseded {
        /// It.
        flight: InFlight,
    },
    /// A failure is too recent.
    BackOff {
        /// When the node is tried again.
        until: UnixMs,
    },
    /// The next step must not be started now.
    Held {
        /// The step.
        step: StepName,
        /// What holds it.
        hold: Hold,
    },
    /// The node's budget of failures is spent.
    Quarantined,
    /// There is no way to the goal.
    NoPlan(NoPlan),
}

/// The next move for `node`, under what holds for all.
pub fn decide(node: &Node, control: &Control, planner: &mut Planner, policy: &Policy, now: UnixMs) -> Decision {
    planner.follow(control);
    let plan = planner.plan(node);
    if let Some(flight) = &node.in_flight {
        let flight = flight.clone();
        let mutation = planner.graph().get(&flight.step.mutation);
        if mutation.is_some_and(|m| is_done(node, m, flight.step.image.as_ref())) {
            return Decision::Done { flight };
        }
        let still_fits = plan.is_ok_and(|plan| plan.steps.first() == Some(&flight.step))
            || planner.once_began_with(node, &flight.step);
        return match (still_fits, now >= flight.deadline) {
            (false, _) => Decision::Superseded { flight },
            (true, true) => Decision::TimedOut { flight },
            (true, false) => Decision::Wait { until: flight.deadline },
        };
    }
    if goal_reached(node) {
        return Decision::AtGoal;
    }
    if let Some(runs) = next_boot(node) {
        // Whatever the plan begins with, it is not begun before somebody asks for the machine's power.
        let step = plan.ok().and_then(|plan| plan.steps.into_iter().next());
        let step = step.unwrap_or(StepName { mutation: "power.reclaim".into(), image: None });
        return Decision::Held { step, hold: Hold::NextBoot { target: wanted(node), runs } };
    }
    match node.retry.next {
        Some(Retry::Quarantined) => return Decision::Quarantined,
        // A pause that is longer than any was set by a clock that has been set back since: it is over.
        Some(Retry::At { at }) if now < at && at.since(now) <= longest_pause_ms(policy) => {
            return Decision::BackOff { until: at };
        }
        _ => {}
    }
    let plan = match plan {
        Ok(plan) => plan,
        Err(none) => return Decision::NoPlan(none),
    };
    let Some(step) = plan.steps.into_iter().next() else {
        return Decision::NoPlan(NoPlan::Unreachable);
    };
    let Some(mutation) = planner.graph().get(&step.mutation) else {
        return Decision::NoPlan(NoPlan::Unreachable);
    };
    if let Some(hold) = hold(node, control, policy, mutation) {
        return Decision::Held { step, hold };
    }
    Decision::Start { step, deadline: now.plus(timeout_ms(mutation, control, policy)) }
}

/// When a mutation is taken for failed, in milliseconds: as an operator set it, as it is configured, or as declared.
#[must_use]
pub fn timeout_ms(mutation: &Mutation, control: &Control, policy: &Policy) -> u64 {
    let set = control.timeouts_ms.get(&mutation.name);
    set.or_else(|| policy.timeouts_ms.get(mutation.name.as_ref())).copied().unwrap_or(mutation.timeout_ms)
}

fn is_done(node: &Node, mutation: &Mutation, image: Option<&Name>) -> bool {
    mutation.changes.iter().all(|change| {
        let seen = match (&change.subject, image) {
            (Subject::Var(path), _) => node.see_symbol(path),
            (Subject::EachImage, Some(image)) => image_seen(node, image),
            (Subject::EachImage | Subject::AllImages, _) => None,
        };
        seen.is_some_and(|seen| change.to.iter().any(|to| to.as_str() == seen))
    })
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: StepName,
    /// Why.
    pub reason: FailReason,
}

/// What a failure leads to: what is believed of the node from now on, and when it is tried again.
#[must_use]
pub fn fail(node: &Node, planner: &Planner, policy: &Policy, failure: Failure, now: UnixMs) -> EngineEvent {
    let mutation = planner.graph().get(&failure.step.mutation);
    let counted = match mutation.map(|m| m.budget) {
        Some(Budget::Free) => Counted::No,
        Some(Budget::Counted) | None => Counted::Yes,
    };
    let fail_to = mutation
        .iter()
        .flat_map(|m| &m.fail_to)
        .filter_map(|c| {
            let value = (c.becomes.as_str() != UNKNOWN).then(|| Value::Symbol(c.becomes.clone()));
            path_of(&c.subject, failure.step.image.as_ref()).map(|path| (path, value))
        })
        .collect();
    let spent = node.retry.counted.saturating_add(1) >= policy.retry_budget;
    let retry = match (counted, spent) {
        (Counted::Yes, true) => Retry::Quarantined,
        _ => Retry::At { at: now.plus(pause_ms(node.id, node.retry.in_a_row, policy)) },
    };
    EngineEvent::StepFailed { step: failure.step, reason: failure.reason, fail_to, counted, retry }
}

fn path_of(subject: &Subject, image: Option<&Name>) -> Option<VarPath> {
    match subject {
        Subject::Var(path) => Some(path.clone()),
        Subject::EachImage => image.map(VarPath::image_state),
        Subject::AllImages => None,
    }
}

/// No pause after a failure is longer, in milliseconds.
fn longest_pause_ms(policy: &Policy) -> u64 {
    policy.backoff_max_ms.saturating_add(policy.backoff_max_ms / 4)
}

/// Doubles with each failure in a row up to the longest pause, and differs by up to a quarter between nodes, so
/// that a rack that failed together does not come back together.
fn pause_ms(node: NodeId, failures_before: u32, policy: &Policy) -> u64 {
    let doubled = policy.backoff_base_ms.saturating_mul(1u64 << failures_before.min(20));
    let pause = doubled.min(policy.backoff_max_ms);
    let spread =
        node.0.as_bytes().iter().fold(u64::from(failures_before) + 1, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    pause + pause / 4 * (spread % 101) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_between_nodes() {
        let policy = Policy::default();
        let node = |n: u128| NodeId(uuid::Uuid::from_u128(n));
        let pauses: Vec<u64> = (0..12).map(|n| pause_ms(node(7), n, &policy)).collect();
        assert!(pauses[0] >= 2_000 && pauses[0] <= 2_500, "{pauses:?}");
        assert!(pauses[3] >= 16_000 && pauses[3] <= 20_000, "{pauses:?}");
        assert!(pauses[11] <= policy.backoff_max_ms * 5 / 4, "{pauses:?}");
        let of_nodes: std::collections::BTreeSet<u64> = (0..20).map(|n| pause_ms(node(n), 0, &policy)).collect();
        assert!(of_nodes.len() > 10, "{of_nodes:?}");
    }
}
