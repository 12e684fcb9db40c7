//! The engine's own decisions, folded.

use super::node::{Attempt, InFlight, Mark, Node, RetryState, StateSource};
use crate::fact::{Counted, EngineEvent};
use crate::model::UnixMs;

pub(super) fn apply(node: &mut Node, at: UnixMs, event: &EngineEvent) {
    match event {
        EngineEvent::StepStarted { step, generation, deadline } => {
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
            node.retry = RetryState::default();
            node.mark(at, Mark::GoalReached);
        }
    }
}
