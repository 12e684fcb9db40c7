//! What the engine decided. Decisions are journaled like observations, so that a replay comes to the same
//! state without deciding again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::power::BmcProblem;
use crate::model::mutation::Disruption;
use crate::model::{Generation, Name, NodeId, UnixMs, Value, VarPath};

/// A mutation as it applies to one node: its name, and the image that it is about when it is about one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StepName {
    /// The mutation's name, for instance `power.on`.
    pub mutation: Arc<str>,
    /// The image, for mutations that are declared once for all images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Name>,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.image {
            Some(image) => write!(f, "{} {image}", self.mutation),
            None => f.write_str(&self.mutation),
        }
    }
}

/// Why a step did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum FailReason {
    /// Nothing was seen of what it should have brought about.
    TimedOut {
        /// How long was waited.
        waited_ms: u64,
    },
    /// The BMC is the cause.
    Bmc {
        /// What is wrong with it.
        problem: BmcProblem,
        /// The whole error, for people.
        detail: String,
    },
    /// The agent could not do it.
    Agent {
        /// The whole error, for people.
        detail: String,
    },
    /// The node has no connected agent to do it.
    NoAgent,
    /// The module's queue is full, or the module has ended.
    ModuleUnavailable {
        /// The module.
        module: String,
        /// Why, for people, where there is more to say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A module from outside could not do it.
    Module {
        /// The module.
        module: String,
        /// The whole error, for people.
        detail: String,
    },
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailReason::TimedOut { waited_ms } => {
                write!(f, "nothing was seen of it within {} s", waited_ms.div_ceil(1000))
            }
            FailReason::Bmc { problem, detail } => write!(f, "{problem}: {detail}"),
            FailReason::Agent { detail } => write!(f, "the agent says: {detail}"),
            FailReason::NoAgent => f.write_str("the node's agent is not connected"),
            FailReason::ModuleUnavailable { module, detail } if detail.is_empty() => {
                write!(f, "the module {module} takes no more work")
            }
            FailReason::ModuleUnavailable { module, detail } => {
                write!(f, "the module {module} cannot do it now: {detail}")
            }
            FailReason::Module { module, detail } => write!(f, "the module {module} says: {detail}"),
        }
    }
}

/// A module's word that it could not do what it was asked. Success has no such word: it is seen in the variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutcomeFact {
    /// The node.
    pub node: NodeId,
    /// What was asked.
    pub step: StepName,
    /// Which request.
    pub generation: Generation,
    /// Why it could not be done.
    pub reason: FailReason,
}

/// When a node is tried again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "retry", rename_all = "snake_case")]
pub enum Retry {
    /// Not before this time.
    At {
        /// The time.
        at: UnixMs,
    },
    /// Not until an operator releases the node: its budget of failures is spent.
    Quarantined,
}

/// A decision about one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EngineFact {
    /// The node.
    pub node: NodeId,
    /// What was decided.
    #[serde(flatten)]
    pub event: EngineEvent,
}

/// What the engine can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EngineEvent {
    /// A step was started.
    StepStarted {
        /// The step.
        step: StepName,
        /// Which request.
        generation: Generation,
        /// When it will be taken for failed.
        deadline: UnixMs,
        /// Whether it interrupts the node's users.
        #[serde(default)]
        disruption: Disruption,
    },
    /// What the step should bring about was seen.
    StepDone {
        /// The step.
        step: StepName,
        /// How long it took.
        duration_ms: u64,
    },
    /// The step failed.
    StepFailed {
        /// The step.
        step: StepName,
        /// Why.
        reason: FailReason,
        /// What is believed of the node from now on.
        fail_to: Vec<(VarPath, Option<Value>)>,
        /// Whether the failure counts against the node's budget.
        counted: Counted,
        /// When the node is tried again.
        #[serde(flatten)]
        retry: Retry,
    },
    /// Something else happened than the step should bring about, so the step is no longer waited for.
    StepSuperseded {
        /// The step.
        step: StepName,
    },
    /// Every goal is met.
    GoalReached,
}

/// Whether a failure counts against a node's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// It counts; the budget's end is quarantine.
    Yes,
    /// It does not: trying again harms nothing.
    No,
}

/// What the engine noticed of all nodes together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FleetFact {
    /// So many nodes turned bad within so short a time that the appliance or the network is rather ill than they:
    /// disruptive steps wait for an operator's word.
    MassEvent {
        /// How many turned bad.
        bad: u64,
        /// How many there are.
        of: u64,
        /// Within what time, in milliseconds.
        window_ms: u64,
    },
    /// They are all well again.
    MassEventPassed,
}

impl FleetFact {
    pub(super) fn sentence(&self) -> String {
        match self {
            FleetFact::MassEvent { bad, of, window_ms } => format!(
                "{bad} of {of} nodes turned bad within {} s: disruptive steps are held back until an operator has looked",
                window_ms.div_ceil(1000)
            ),
            FleetFact::MassEventPassed => "the nodes of the mass event are well again".into(),
        }
    }
}

impl EngineFact {
    pub(super) fn sentence(&self) -> String {
        match &self.event {
            EngineEvent::StepStarted { step, .. } => format!("started {step}"),
            EngineEvent::StepDone { step, duration_ms } => format!("done {step} in {duration_ms} ms"),
            EngineEvent::StepFailed { step, reason, retry, .. } => match retry {
                Retry::At { at } => format!("failed {step}: {reason}; next try at {at}"),
                Retry::Quarantined => format!("failed {step}: {reason}; node quarantined"),
            },
            EngineEvent::StepSuperseded { step } => format!("no longer waiting for {step}"),
            EngineEvent::GoalReached => "goal reached".into(),
        }
    }
}
