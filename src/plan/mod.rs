//! Decisions: from what is observed and what is wanted to what is done next, and why not.
//!
//! `graph` holds the mutations that modules declare; `goal` says what a node should be; `search` finds the quickest
//! way there; `decide` turns that, the step under way and the failures so far into one next move; `why` and
//! `timeline` explain a node, `group` and `fleet` many at once; `resolve` makes a node out of what its pool and the
//! defaults say, `diff` says what an apply would change, `whatif` what nodes would do then, `enroll` what becomes of
//! machines that are no node, and `select` which nodes are meant. All are functions of values.
//!
//! Absent on purpose: doing anything. The engine journals a decision, then asks a module.

mod decide;
mod diff;
pub mod enroll;
mod fleet;
mod goal;
mod graph;
mod group;
mod hold;
pub mod lease;
pub mod resolve;
mod search;
pub mod select;
pub mod target;
#[cfg(test)]
mod tests;
mod timeline;
mod whatif;
mod why;

pub use decide::{Decision, Failure, Policy, decide, fail, timeout_ms};
pub use diff::{ApplyError, Change, ChangeKind, Described, Description, Note, Unnamed, diff};
pub use fleet::{Fleet, OnTheWay, Slow, StageTimes, TimesS, fleet};
pub use goal::{Goal, SetAside, goal, goal_reached, image_seen, set_aside};
pub use graph::{Graph, GraphError};
pub use group::{Between, Said, UnmetOfMany, WhyGroup, group};
pub use hold::{HeldStep, Hold, ahead, hold, mass_event};
pub use search::{NoPlan, POWER_MODULE, Plan, Planner, expected_ms};
pub use timeline::{Stage, timeline};
pub use whatif::{Class, NodeChange, PlannedStep, Waiting, WaitsFor, Warning, WhatIf, goal_warnings, what_if};
pub use why::{
    Asker, Awaiting, Evidence, EvidenceKind, NoWay, OffBy, Reason, Source, Suggestion, SwitchedOff, Unmet, Wait,
    WhyReport, why,
};

pub use crate::model::mutation::{
    Budget, Change as Edge, Condition, Consequence, Context, Disruption, Mutation, Subject, Work,
};
