//! Why a node is not at its goal: a typed reason with its evidence, never a sentence alone.
//!
//! `awaiting` says what a step under way waits for; `suggest` what an operator can do. A report is a function of the node,
//! the plan and the time, so it is the same from a snapshot, from a replayed journal, and in the simulator.
//!
//! Invariant: every reason, and everything that can be awaited, has its case in `tests/golden/why`; a new one without its
//! case fails there.

mod awaiting;
mod off;
mod suggest;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use awaiting::{Asker, Awaiting, Wait};
pub use off::{OffBy, SwitchedOff};
pub use suggest::Suggestion;

use super::decide::{Decision, Policy, decide};
use super::goal::{SetAside, goal, image_seen, set_aside};
use super::hold::{HeldStep, Hold, ahead, hold};
use super::search::{NoPlan, Planner};
use crate::fact::{BmcProblem, StepName};
use crate::model::{Name, NodeId, UnixMs, VarPath};
use crate::state::{Attempt, BmcEnd, Control, Node};

/// The whole answer for one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WhyReport {
    /// The node's name.
    pub name: Name,
    /// The node's id.
    pub id: NodeId,
    /// Why.
    pub reason: Reason,
    /// The goals that are not met.
    pub unmet: Vec<Unmet>,
    /// The goals that wait while `power=off` is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAside>,
    /// The steps that are left, the one under way first.
    pub plan: Vec<StepName>,
    /// What else holds steps that are still to be started, whatever the reason is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldStep>,
    /// What was last seen of each source.
    pub evidence: Vec<Evidence>,
    /// What was tried and failed, oldest first.
    pub tried: Vec<Attempt>,
    /// When the next try is, where there is one and nothing holds it.
    pub next_try: Option<UnixMs>,
    /// What the operator can do.
    pub suggestion: Option<Suggestion>,
}

/// Why a node is not at its goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// It is.
    AtGoal,
    /// A step is under way.
    InProgress {
        /// The step.
        step: StepName,
        /// Since when.
        since: UnixMs,
        /// When it will be taken for failed.
        deadline: UnixMs,
        /// What it waits for.
        awaiting: Wait,
    },
    /// A step failed, and the pause before the next try is not over.
    BackingOff {
        /// The failure.
        last: Option<Attempt>,
        /// When the next try is.
        until: UnixMs,
    },
    /// Too many failures: nothing is tried until the node is released.
    Quarantined {
        /// Failures that counted.
        failures: u32,
        /// The last one.
        last: Option<Attempt>,
    },
    /// The node has no BMC, and a human must power it on.
    NoPowerControl,
    /// The next step must not be started now.
    Held {
        /// The step.
        step: StepName,
        /// What holds it.
        #[serde(flatten)]
        hold: Hold,
    },
    /// The way to the goal needs mutations that are switched off.
    Disabled {
        /// Their names.
        mutations: Vec<String>,
        /// What switches them off.
        #[serde(default)]
        off: Vec<SwitchedOff>,
    },
    /// There is no way to the goal.
    NoPlan {
        /// Why not.
        #[serde(default)]
        cause: NoWay,
        /// The same, for people.
        detail: String,
    },
    /// The engine has not looked at it yet.
    Pending,
}

/// Why there is no way to the goal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoWay {
    /// No sequence of mutations leads there.
    #[default]
    Unreachable,
    /// The search was given up.
    TooLarge,
}

/// A goal that is not met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unmet {
    /// The variable.
    pub path: VarPath,
    /// What is wanted.
    pub wanted: String,
    /// What was seen; nothing when it is unknown.
    pub seen: Option<String>,
}

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The source.
    pub source: Source,
    /// When.
    pub at: UnixMs,
    /// What.
    pub what: String,
    /// What kind of evidence it is.
    #[serde(flatten)]
    pub kind: EvidenceKind,
}

/// What kind of evidence something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EvidenceKind {
    /// It happened then.
    Event,
    /// It is so, and was noted when it became so: that it is still so is not noted each time.
    State {
        /// Since when.
        since: UnixMs,
    },
    /// The source was asked, and had not answered by then.
    NoAnswer,
}

impl EvidenceKind {
    /// Its name, as it is in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EvidenceKind::Event => "event",
            EvidenceKind::State { .. } => "state",
            EvidenceKind::NoAnswer => "no_answer",
        }
    }
}

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The node's BMC.
    Bmc,
    /// The DHCP service.
    Dhcp,
    /// The boot files, by TFTP and HTTP.
    File,
    /// A join that was refused.
    Join,
    /// The node's agent.
    Agent,
    /// The node's console.
    Console,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Source::Bmc => "bmc",
            Source::Dhcp => "dhcp",
            Source::File => "file",
            Source::Join => "join",
            Source::Agent => "agent",
            Source::Console => "console",
        })
    }
}

/// Explains `node`.
pub fn why(node: &Node, control: &Control, planner: &mut Planner, policy: &Policy, now: UnixMs) -> WhyReport {
    planner.follow(control);
    let plan = planner.plan(node).map(|p| p.steps).unwrap_or_default();
    let evidence = evidence(node);
    let last = node.retry.attempts.last().cloned();
    let reason = match decide(node, control, planner, policy, now) {
        Decision::AtGoal => Reason::AtGoal,
        Decision::Wait { .. } | Decision::Done { .. } | Decision::TimedOut { .. } | Decision::Superseded { .. } => {
            match &node.in_flight {
                Some(flight) => Reason::InProgress {
                    step: flight.step.clone(),
                    since: flight.started_at,
                    deadline: flight.deadline,
                    awaiting: awaiting::wait(node, flight, module_of(planner, &flight.step), &evidence),
                },
                None => Reason::Pending,
            }
        }
        Decision::Start { .. } => Reason::Pending,
        Decision::BackOff { until } => Reason::BackingOff { last: last.clone(), until },
        Decision::Quarantined => Reason::Quarantined { failures: node.retry.counted, last: last.clone() },
        Decision::NoPlan(NoPlan::Unreachable) if node.spec.bmc.is_none() => Reason::NoPowerControl,
        Decision::Held { step, hold } => Reason::Held { step, hold },
        Decision::NoPlan(NoPlan::Disabled { mutations }) => Reason::Disabled {
            mutations: mutations.iter().map(ToString::to_string).collect(),
            off: off::switched_off(&mutations, planner.graph(), control),
        },
        Decision::NoPlan(none @ NoPlan::Unreachable) => {
            Reason::NoPlan { cause: NoWay::Unreachable, detail: none.to_string() }
        }
        Decision::NoPlan(none @ NoPlan::TooLarge) => {
            Reason::NoPlan { cause: NoWay::TooLarge, detail: none.to_string() }
        }
    };
    let next = node.in_flight.as_ref().map(|flight| &flight.step).or(plan.first());
    let next = next.and_then(|step| planner.graph().get(&step.mutation));
    let promised = next.is_none_or(|mutation| hold(node, control, policy, mutation).is_none());
    let next_try = match &reason {
        Reason::BackingOff { until, .. } => Some(*until),
        Reason::InProgress { deadline, .. } => Some(*deadline),
        _ => None,
    };
    let held = match &reason {
        Reason::AtGoal => Vec::new(),
        Reason::Held { hold, .. } => {
            let mut held = ahead(node, control, policy, planner.graph(), &plan);
            held.retain(|other| other.hold != *hold);
            held
        }
        _ => ahead(node, control, policy, planner.graph(), &plan),
    };
    WhyReport {
        name: node.spec.name.clone(),
        id: node.id,
        suggestion: suggest::suggest(node, &reason, last.as_ref()),
        unmet: unmet(node),
        set_aside: set_aside(node),
        plan,
        held,
        evidence,
        tried: node.retry.attempts.clone(),
        next_try: next_try.filter(|_| promised),
        reason,
    }
}

/// The module that declares `step`; for a step that is declared no more, the first word of its name.
fn module_of<'a>(planner: &'a Planner, step: &'a StepName) -> &'a str {
    let declared = planner.graph().get(&step.mutation).map(|mutation| mutation.module.as_ref());
    declared.or(step.mutation.split('.').next()).unwrap_or_default()
}

fn unmet(node: &Node) -> Vec<Unmet> {
    let goal = goal(node);
    let variables = goal.variables.iter();
    let mut all: Vec<(VarPath, Option<&str>, Option<&str>)> =
        variables.map(|(path, wanted)| (path.clone(), Some(wanted.as_str()), node.see_symbol(path))).collect();
    for (image, wanted) in &goal.images {
        all.push((VarPath::image_state(image), Some(*wanted), image_seen(node, image)));
    }
    all.into_iter()
        .filter_map(|(path, wanted, seen)| {
            let wanted = wanted?;
            (seen != Some(wanted)).then(|| Unmet { path, wanted: wanted.to_owned(), seen: seen.map(str::to_owned) })
        })
        .collect()
}

fn bmc_kind(end: Option<BmcEnd>) -> EvidenceKind {
    match end {
        Some(BmcEnd::Status { since, .. }) => EvidenceKind::State { since },
        Some(BmcEnd::Failed { problem: BmcProblem::NoAnswer }) => EvidenceKind::NoAnswer,
        Some(BmcEnd::Accepted | BmcEnd::Failed { .. }) | None => EvidenceKind::Event,
    }
}

fn evidence(node: &Node) -> Vec<Evidence> {
    let last = &node.last;
    let said = |source: Source, seen: &Option<(UnixMs, Arc<str>)>| {
        seen.as_ref().map(|(at, what)| Evidence {
            source,
            at: *at,
            what: what.to_string(),
            kind: if source == Source::Bmc { bmc_kind(last.bmc_end) } else { EvidenceKind::Event },
        })
    };
    let dhcp = last.dhcp.as_ref().map(|(at, _, what)| (*at, what.clone()));
    let agent = node.agent.heard_at.map(|at| {
        let state = if node.agent.session.is_some() { "connected" } else { "not connected" };
        (at, state.into())
    });
    let console = last.console.lines.last().zip(last.console.at).map(|(line, at)| (at, line.as_str().into()));
    [
        said(Source::Bmc, &last.bmc),
        said(Source::Dhcp, &dhcp),
        said(Source::File, &last.file),
        said(Source::Join, &last.join_refused),
        said(Source::Agent, &agent),
        said(Source::Console, &console),
    ]
    .into_iter()
    .flatten()
    .collect()
}
