//! What the power module can do: discover, arm, power on, power off.
//!
//! There are two ways to power off. `power.off` is for a node whose agent has left or is lost; `power.reclaim` for a
//! machine that has no agent, because its boot has stopped half-way or because it is not wanted any more. Neither
//! starts while an agent is in step, or while it is not known whether one is: a healthy node is never powered off
//! by mistake.

use crate::plan::{Budget, Condition, Consequence, Context, Disruption, Edge, Mutation, POWER_MODULE, Subject, Work};

/// The names of this module's mutations.
pub mod names {
    /// Ask the BMC.
    pub const DISCOVER: &str = "power.discover";
    /// Boot from the network next.
    pub const ARM: &str = "boot.arm";
    /// Power on.
    pub const ON: &str = "power.on";
    /// Power off a node whose agent has left or is lost.
    pub const OFF: &str = "power.off";
    /// Power off a machine that has no agent.
    pub const RECLAIM: &str = "power.reclaim";
}

/// The declarations.
#[must_use]
pub fn mutations() -> Vec<Mutation> {
    let base = |name: &str, changes: Vec<Edge>| Mutation {
        name: name.into(),
        module: POWER_MODULE.into(),
        changes,
        requires: vec![],
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![],
        expected_ms: 1_000,
        timeout_ms: 60_000,
        context: Context::Parent,
        disruption: Disruption::None,
        work: Work::Act,
        budget: Budget::Free,
    };
    let power = |from: &[&str], to: &[&str]| vec![Edge::new(Subject::power(), from, to)];
    let power_unknown = vec![Consequence::new(Subject::power(), "unknown")];
    let off = |name: &str, requires| Mutation {
        requires,
        consequences: vec![
            Consequence::new(Subject::boot(), "idle"),
            Consequence::new(Subject::run(), "unknown"),
            Consequence::new(Subject::AllImages, "unknown"),
        ],
        fail_to: power_unknown.clone(),
        expected_ms: 3_000,
        disruption: Disruption::Disruptive,
        ..base(name, power(&["on"], &["off"]))
    };
    vec![
        base(names::DISCOVER, power(&["unknown"], &["off", "on"])),
        Mutation {
            requires: vec![Condition::new(Subject::power(), &["off"])],
            ..base(names::ARM, vec![Edge::new(Subject::boot(), &["unknown", "idle", "stuck"], &["armed"])])
        },
        Mutation {
            requires: vec![Condition::new(Subject::boot(), &["armed"])],
            fail_to: power_unknown.clone(),
            expected_ms: 3_000,
            budget: Budget::Counted,
            ..base(names::ON, power(&["off"], &["on"]))
        },
        off(names::OFF, vec![Condition::new(Subject::run(), &["init", "lost"])]),
        off(
            names::RECLAIM,
            vec![Condition::new(Subject::boot(), &["idle", "armed", "rom", "loader", "kernel", "target", "stuck"])],
        ),
    ]
}
