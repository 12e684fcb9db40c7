//! The stages of a boot, as mutations that a machine makes by itself and that are only waited for.
//!
//! A stage that is not reached in time leaves the boot `stuck`; the way on from there is power off and a new boot.

use crate::plan::{Budget, Condition, Consequence, Context, Disruption, Edge, Mutation, Subject, Work};

/// This module's name.
pub const MODULE: &str = "boot";

/// The declarations.
#[must_use]
pub fn mutations() -> Vec<Mutation> {
    let stage = |name: &str, from: &[&str], to: &[&str], expected_ms, timeout_ms| Mutation {
        name: name.into(),
        module: MODULE.into(),
        changes: vec![Edge::new(Subject::boot(), from, to)],
        requires: vec![Condition::new(Subject::power(), &["on"])],
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![Consequence::new(Subject::boot(), "stuck")],
        expected_ms,
        timeout_ms,
        context: Context::Node,
        disruption: Disruption::None,
        work: Work::Await,
        budget: Budget::Counted,
    };
    vec![
        stage("boot.discover", &["unknown"], &["agent", "stuck"], 20_000, 90_000),
        stage("boot.rom", &["armed"], &["rom"], 15_000, 180_000),
        stage("boot.loader", &["rom"], &["loader"], 5_000, 90_000),
        stage("boot.kernel", &["loader"], &["kernel"], 5_000, 120_000),
        stage("boot.target", &["loader", "kernel"], &["target"], 20_000, 900_000),
        Mutation {
            consequences: vec![Consequence::new(Subject::run(), "init")],
            ..stage("boot.agent", &["kernel"], &["agent"], 20_000, 180_000)
        },
    ]
}
