//! What an agent can do, and what is waited for from it.
//!
//! An agent that was in step and is not heard has `run` unknown; `run.discover` gives it time to come back before
//! it is taken for lost, since the one that was away may have been the appliance, or a switch between them. Only then
//! may its machine be powered off; a machine whose power has gone is seen by its BMC, long before.

use crate::plan::{Budget, Condition, Consequence, Context, Disruption, Edge, Mutation, Subject, Work};

/// This module's name.
pub const MODULE: &str = "agent";

/// How long an agent that was heard before may be silent while its machine has power, until it counts as lost.
const REJOIN_MS: u64 = 600_000;

/// The names of the mutations that an agent is asked to do.
pub mod names {
    /// Get in step.
    pub const SYNC: &str = "run.sync";
    /// Stop everything and leave.
    pub const LEAVE: &str = "run.leave";
    /// Fetch an image and run it.
    pub const ACTIVATE: &str = "image.activate";
    /// Stop an image.
    pub const DEACTIVATE: &str = "image.deactivate";
    /// Clean up after an image that failed.
    pub const RESET: &str = "image.reset";
}

/// The declarations.
#[must_use]
pub fn mutations() -> Vec<Mutation> {
    let base = |name: &str, subject: Subject, from: &[&str], to: &[&str]| Mutation {
        name: name.into(),
        module: MODULE.into(),
        changes: vec![Edge::new(subject, from, to)],
        requires: vec![Condition::new(Subject::boot(), &["agent"])],
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![],
        expected_ms: 1_000,
        timeout_ms: 30_000,
        context: Context::Node,
        disruption: Disruption::None,
        work: Work::Act,
        budget: Budget::Counted,
    };
    let powered = Condition::new(Subject::power(), &["on"]);
    let run_lost = vec![Consequence::new(Subject::run(), "lost")];
    let run = |name: &str, from: &[&str], to: &[&str]| Mutation {
        fail_to: run_lost.clone(),
        ..base(name, Subject::run(), from, to)
    };
    let in_sync = vec![Condition::new(Subject::run(), &["sync"])];
    let image = |name: &str, from: &[&str], to: &[&str]| Mutation {
        requires: in_sync.clone(),
        fail_to: vec![Consequence::new(Subject::EachImage, "failed")],
        ..base(name, Subject::EachImage, from, to)
    };
    let mut discover = run("run.discover", &["unknown"], &["init", "sync", "lost"]);
    discover.requires.push(powered);
    vec![
        Mutation { expected_ms: 5_000, timeout_ms: REJOIN_MS, work: Work::Await, ..discover },
        Mutation {
            // An agent that is away for a moment comes back by itself.
            fail_to: vec![Consequence::new(Subject::run(), "unknown")],
            ..run(names::SYNC, &["init"], &["sync"])
        },
        Mutation {
            excludes: vec![Condition::new(Subject::AllImages, &["active", "stale"])],
            disruption: Disruption::Disruptive,
            ..run(names::LEAVE, &["sync"], &["init"])
        },
        Mutation {
            timeout_ms: 20_000,
            work: Work::Await,
            budget: Budget::Free,
            ..image("image.discover", &["unknown"], &["idle", "active", "failed"])
        },
        Mutation { expected_ms: 5_000, timeout_ms: 600_000, ..image(names::ACTIVATE, &["idle"], &["active"]) },
        Mutation {
            expected_ms: 3_000,
            timeout_ms: 60_000,
            disruption: Disruption::Disruptive,
            ..image(names::DEACTIVATE, &["active", "stale"], &["idle"])
        },
        Mutation { timeout_ms: 60_000, ..image(names::RESET, &["failed"], &["idle"]) },
    ]
}
