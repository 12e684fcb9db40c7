//! The engine's own decisions, folded.

use super::State;
use super::node::{Attempt, InFlight, Mark, Node, RetryState, StateSource};
use crate::fact::{Counted, EngineEvent, EngineFact, Retry};
use crate::model::UnixMs;
use crate::model::mutation::Disruption;

/// The step that gives a silent agent time; when it fails, a node that was running is not.
const REJOIN: &str = "run.discover";

pub(super) fn apply(state: &mut State, at: UnixMs, fact: &EngineFact) {
    let (id, event) = (fact.node, &fact.event);
    if !state.nodes.contains_key(&id) {
        return;
    }
    match event {
        EngineEvent::StepStarted { disruption: Disruption::Disruptive, .. } => {
            state.control.disrupted.insert(id);
        }
        EngineEvent::StepDone { step, duration_ms } => state.control.learn(&step.mutation, *duration_ms),
        EngineEvent::StepFailed { step, retry, .. } => {
            if step.mutation.as_ref() == REJOIN {
                state.control.node_turned_bad(at, id);
            }
            if *retry == Retry::Quarantined {
                state.control.disrupted.remove(&id);
            }
        }
        EngineEvent::GoalReached => state.control.node_is_well(id),
        EngineEvent::StepStarted { .. } | EngineEvent::StepSuperseded { .. } => {}
    }
    state.change(id, |node| apply_to_node(node, at, event));
}

fn apply_to_node(node: &mut Node, at: UnixMs, event: &EngineEvent) {
    match event {
        EngineEvent::StepStarted { step, generation, deadline, .. } => {
            node.generation = *generation;
            node.retry.next = None;
            node.at_goal = false;
            node.in_flight =
                Some(InFlight { step: step.clone(), generation: *generation, started_at: at, deadline: *deadline });
        }
        EngineEvent::StepDone { .. } | EngineEvent::StepSuperseded { .. } => node.in_flight = None,
        EngineEvent::StepFailed { step, reason, fail_to, counted, retry } => {
            node.in_flight = None;
            node.retry.in_a_row = node.retry.in_a_row.saturating_add(1);
            if *counted == Counted::Yes {
                node.retry.counted = node.retry.counted.saturating_add(1);
            }
            node.retry.next = Some(*retry);
            node.note_attempt(Attempt { at, step: step.clone(), reason: reason.clone() });
            for (path, value) in fail_to {
                match value {
                    Some(value) => {
                        node.observe(at, path.clone(), value.clone(), StateSource::Engine);
                    }
                    None => node.forget(path),
                }
            }
        }
        EngineEvent::GoalReached => {
            node.at_goal = true;
            node.disturb = None;
            node.retry = RetryState::default();
            node.mark(at, Mark::GoalReached);
        }
    }
}
