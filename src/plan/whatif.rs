//! What a request would do, before it is made: nodes by what would happen to them, whom that disturbs, who would have to
//! wait, and how long it should take.
//!
//! A plan has an id, the digest of the request, of the nodes' revisions, and of the steps: a request that is approved by
//! its id is refused when any of them has moved. Nodes that are busy or frozen by now, and durations, are not in it: they
//! only say when.
//!
//! Absent on purpose: making the request; how a node gets to what it wants if a step fails.

mod aside;
mod classes;
mod id;
mod schedule;

pub use aside::goal_warnings;
use serde::{Deserialize, Serialize};

use super::decide::Policy;
use super::goal::SetAside;
use super::graph::Graph;
use super::hold::Hold;
use super::search::Planner;
use crate::fact::{OperatorEvent, StepName};
use crate::model::mutation::Disruption;
use crate::model::{Symbol, VarPath};
use crate::state::State;

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WhatIf {
    /// By which it is approved.
    pub id: String,
    /// Nodes with what would happen to them, those with the same in one class.
    pub classes: Vec<Class>,
    /// How many nodes it is about.
    pub nodes: usize,
    /// How many of them would be disturbed.
    pub disturbed: usize,
    /// How many may be disturbed at once; 0 for any number.
    pub at_once: u64,
    /// How many rounds that makes.
    pub rounds: usize,
    /// How long all of it should take, in milliseconds, as far as durations are known. Nobody's waiting is in it.
    pub expected_ms: u64,
    /// What else an operator should know.
    pub warnings: Vec<Warning>,
}

/// Nodes to which the same would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Class {
    /// The nodes, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
    /// What becomes of them.
    pub change: NodeChange,
    /// The steps, in order; none when nothing would have to be done, or nothing else than is being done.
    pub steps: Vec<PlannedStep>,
    /// How long the steps should take together, in milliseconds.
    pub expected_ms: u64,
    /// Those among them that would not begin at once.
    pub waiting: Vec<Waiting>,
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeChange {
    /// It is new.
    Created,
    /// Something else is wanted of it.
    Changed,
    /// It would be no node any more.
    Removed,
}

/// A step that would be taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedStep {
    /// The step.
    pub step: StepName,
    /// Whether it interrupts the node's users.
    pub disruption: Disruption,
}

/// Nodes that would have to wait, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Waiting {
    /// The nodes, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
    /// For what.
    #[serde(flatten)]
    pub what: WaitsFor,
}

/// What a node would wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "waits_for", rename_all = "snake_case")]
pub enum WaitsFor {
    /// Something that holds its steps.
    Held {
        /// What.
        #[serde(flatten)]
        hold: Hold,
    },
    /// Its release from quarantine.
    Quarantined,
}

/// What an operator should know of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// There is no way to what would be wanted.
    NoWay {
        /// The nodes, as a node set.
        nodes: String,
        /// Why not.
        why: String,
    },
    /// Nothing bounds how many nodes are disturbed at once.
    AllAtOnce {
        /// How many would be.
        disturbed: usize,
    },
    /// A step that is under way would be given up.
    GivesUp {
        /// The nodes, as a node set.
        nodes: String,
        /// The step.
        step: StepName,
    },
    /// Nodes that were given up would be tried again.
    LiftsQuarantine {
        /// The nodes, as a node set.
        nodes: String,
    },
    /// Goals wait while `power=off` is wanted.
    SetAside {
        /// The nodes, as a node set.
        nodes: String,
        /// The goals.
        goals: Vec<SetAside>,
    },
    /// A goal to which no mutation leads.
    NoMutation {
        /// The nodes, as a node set.
        nodes: String,
        /// The variable.
        path: VarPath,
        /// What is wanted of it.
        wanted: Symbol,
    },
}

/// What `events`, which lead from `before` to `after`, would do.
#[must_use]
pub fn what_if(before: &State, after: &State, events: &[OperatorEvent], graph: &Graph, policy: &Policy) -> WhatIf {
    let mut planner = Planner::following(graph.with_modules(after), &after.control);
    let found = classes::classes(before, after, &mut planner, policy);
    let disturbed: usize = found.classes.iter().filter(|class| class.disturbs()).map(|class| class.count).sum();
    let at_once = policy.disrupted_max;
    let mut warnings = found.warnings;
    if at_once == 0 && disturbed > 1 {
        warnings.push(Warning::AllAtOnce { disturbed });
    }
    WhatIf {
        id: id::id(events, &found.revisions, &found.classes),
        nodes: found.classes.iter().map(|class| class.count).sum(),
        disturbed,
        at_once,
        rounds: schedule::rounds(disturbed, at_once),
        expected_ms: schedule::expected_ms(&found.classes, at_once),
        classes: found.classes,
        warnings,
    }
}

impl Class {
    /// Whether one of its steps interrupts its nodes' users.
    #[must_use]
    pub fn disturbs(&self) -> bool {
        self.steps.iter().any(|planned| planned.disruption == Disruption::Disruptive)
    }
}

impl std::fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WaitsFor::Held { hold } => hold.fmt(f),
            WaitsFor::Quarantined => f.write_str("its release from quarantine"),
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::NoWay { nodes, why } => write!(f, "{nodes} would not get there: {why}"),
            Warning::AllAtOnce { disturbed } => {
                write!(f, "{disturbed} nodes would be disturbed at once; [engine] disrupted_max sets how many may be")
            }
            Warning::GivesUp { nodes, step } => {
                write!(f, "{step}, which is under way on {nodes}, would be given up")
            }
            Warning::LiftsQuarantine { nodes } => write!(f, "{nodes} would be tried again although given up before"),
            Warning::SetAside { nodes, goals } => {
                let goals: Vec<String> = goals.iter().map(|goal| format!("{}={}", goal.path, goal.wanted)).collect();
                write!(f, "{nodes}: {} is set aside while power=off is wanted, since it needs power", goals.join(", "))
            }
            Warning::NoMutation { nodes, path, wanted } => write!(
                f,
                "{nodes}: no mutation leads to {path}={wanted}, so nothing is done to reach it; a variable that is only read is declared with set = \"config\""
            ),
        }
    }
}
