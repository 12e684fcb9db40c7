//! Why a node is not at its goal: a typed reason with its evidence, never a sentence alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::decide::{Decision, Policy, decide};
use super::goal::{goal, image_seen};
use super::hold::Hold;
use super::search::{NoPlan, Planner};
use crate::fact::{BmcProblem, FailReason, StepName};
use crate::model::{Name, NodeId, UnixMs, VarPath};
use crate::state::{Attempt, Control, Node};

/// The whole answer for one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyReport {
    /// The node's name.
    pub name: Name,
    /// The node's id.
    pub id: NodeId,
    /// Why.
    pub reason: Reason,
    /// The goals that are not met.
    pub unmet: Vec<Unmet>,
    /// The steps that are left, the one under way first.
    pub plan: Vec<StepName>,
    /// What was last seen of each source.
    pub evidence: Vec<Evidence>,
    /// What was tried and failed, oldest first.
    pub tried: Vec<Attempt>,
    /// When the next try is, where there is one.
    pub next_try: Option<UnixMs>,
    /// What the operator can do.
    pub suggestion: Option<Suggestion>,
}

/// Why a node is not at its goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    },
    /// There is no way to the goal.
    NoPlan {
        /// Why not.
        detail: String,
    },
    /// The engine has not looked at it yet.
    Pending,
}

/// A goal that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Evidence {
    /// The source.
    pub source: String,
    /// When.
    pub at: UnixMs,
    /// What.
    pub what: String,
}

/// What an operator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suggestion {
    /// Look at the BMC's network and address.
    CheckBmcReachable,
    /// Correct the BMC's user or password.
    CheckBmcPassword,
    /// Look at why the BMC refuses or ignores the order.
    CheckBmc,
    /// Look at the boot order, the cable and the switch port.
    CheckNetworkBoot,
    /// Look at the console: the kernel or the agent does not come up.
    CheckConsole,
    /// Look at the image.
    CheckImage,
    /// Power the machine on by hand.
    PowerOnByHand,
    /// Release the node when the cause is removed.
    Release,
    /// Thaw what is frozen.
    Thaw,
    /// Wait until nothing holds the node, or take that back.
    WaitForGuard,
    /// Look at the appliance and the network, then say that the mass event was looked into.
    LookIntoMassEvent,
    /// Wait: other nodes are first.
    WaitForTurn,
    /// Switch the mutation or its module on again.
    Enable,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Suggestion::CheckBmcReachable => {
                "check that the BMC's address is right and that it can be reached from here"
            }
            Suggestion::CheckBmcPassword => {
                "correct the BMC's user and password in the cluster's description, then apply it"
            }
            Suggestion::CheckBmc => "look at the BMC's own log; a BMC reset often helps",
            Suggestion::CheckNetworkBoot => {
                "check that the machine is set to boot from this network, its cable, and its switch port"
            }
            Suggestion::CheckConsole => "look at the machine's console: the kernel or the agent did not come up",
            Suggestion::CheckImage => "look at the image's last console lines, and check it with 'bootes image verify'",
            Suggestion::PowerOnByHand => "the node has no BMC in its description: power it on by hand",
            Suggestion::Thaw => "'bootes thaw' lets steps start again",
            Suggestion::WaitForGuard => {
                "nothing to do: it goes on when the node is free; 'bootes set NODE busy=free' if that is wrong"
            }
            Suggestion::LookIntoMassEvent => {
                "look at the appliance, its network and the power first; then 'bootes mass-event clear' lets disruptive steps go on"
            }
            Suggestion::WaitForTurn => "nothing to do: it goes on when other nodes are back",
            Suggestion::Enable => "'bootes mutation enable' or 'bootes module enable' switches it on again",
            Suggestion::Release => "remove the cause, then 'bootes release' the node",
        })
    }
}

/// Explains `node`.
pub fn why(node: &Node, control: &Control, planner: &mut Planner, policy: &Policy, now: UnixMs) -> WhyReport {
    planner.follow(control);
    let plan = planner.plan(node).map(|p| p.steps).unwrap_or_default();
    let last = node.retry.attempts.last().cloned();
    let reason = match decide(node, control, planner, policy, now) {
        Decision::AtGoal => Reason::AtGoal,
        Decision::Wait { .. } | Decision::Done { .. } | Decision::TimedOut { .. } | Decision::Superseded { .. } => {
            match &node.in_flight {
                Some(flight) => Reason::InProgress {
                    step: flight.step.clone(),
                    since: flight.started_at,
                    deadline: flight.deadline,
                },
                None => Reason::Pending,
            }
        }
        Decision::Start { .. } => Reason::Pending,
        Decision::BackOff { until } => Reason::BackingOff { last: last.clone(), until },
        Decision::Quarantined => Reason::Quarantined { failures: node.retry.counted, last: last.clone() },
        Decision::NoPlan(NoPlan::Unreachable) if node.spec.bmc.is_none() => Reason::NoPowerControl,
        Decision::Held { step, hold } => Reason::Held { step, hold },
        Decision::NoPlan(NoPlan::Disabled { mutations }) => {
            Reason::Disabled { mutations: mutations.iter().map(ToString::to_string).collect() }
        }
        Decision::NoPlan(none) => Reason::NoPlan { detail: none.to_string() },
    };
    let next_try = match &reason {
        Reason::BackingOff { until, .. } => Some(*until),
        Reason::InProgress { deadline, .. } => Some(*deadline),
        _ => None,
    };
    WhyReport {
        name: node.spec.name.clone(),
        id: node.id,
        suggestion: suggest(node, &reason, last.as_ref()),
        unmet: unmet(node),
        plan,
        evidence: evidence(node),
        tried: node.retry.attempts.clone(),
        next_try,
        reason,
    }
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

fn evidence(node: &Node) -> Vec<Evidence> {
    let last = &node.last;
    let said = |source: &str, seen: &Option<(UnixMs, String)>| {
        seen.as_ref().map(|(at, what)| Evidence { source: source.into(), at: *at, what: what.clone() })
    };
    let dhcp = last.dhcp.as_ref().map(|(at, _, what)| (*at, what.clone()));
    let agent = node.agent.heard_at.map(|at| {
        let state = if node.agent.session.is_some() { "connected" } else { "not connected" };
        (at, state.to_owned())
    });
    let console = last.console.lines.last().zip(last.console.at).map(|(line, at)| (at, line.clone()));
    [
        said("bmc", &last.bmc),
        said("dhcp", &dhcp),
        said("file", &last.file),
        said("join", &last.join_refused),
        said("agent", &agent),
        said("console", &console),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn suggest(node: &Node, reason: &Reason, last: Option<&Attempt>) -> Option<Suggestion> {
    match reason {
        Reason::AtGoal | Reason::Pending => return None,
        Reason::NoPowerControl => return Some(Suggestion::PowerOnByHand),
        Reason::Disabled { .. } => return Some(Suggestion::Enable),
        Reason::Held { hold, .. } => {
            return Some(match hold {
                Hold::NodeFrozen { .. } | Hold::AllFrozen { .. } => Suggestion::Thaw,
                Hold::Guarded { .. } => Suggestion::WaitForGuard,
                Hold::MassEvent { .. } => Suggestion::LookIntoMassEvent,
                Hold::Queued { .. } => Suggestion::WaitForTurn,
            });
        }
        Reason::InProgress { .. } | Reason::BackingOff { .. } | Reason::Quarantined { .. } | Reason::NoPlan { .. } => {}
    }
    let step = node.in_flight.as_ref().map(|flight| &flight.step).or(last.map(|attempt| &attempt.step));
    let bmcs = step.is_none_or(|step| step.mutation.starts_with("power.") || step.mutation.as_ref() == "boot.arm");
    if let Some(problem) = node.last.bmc_problem.filter(|_| bmcs) {
        return Some(match problem {
            BmcProblem::NoAnswer => Suggestion::CheckBmcReachable,
            BmcProblem::LoginRefused | BmcProblem::NotConfigured => Suggestion::CheckBmcPassword,
            BmcProblem::OrderRefused | BmcProblem::Busy | BmcProblem::Malformed | BmcProblem::NoEffect => {
                Suggestion::CheckBmc
            }
        });
    }
    let attempt = last?;
    match (attempt.step.mutation.as_ref(), &attempt.reason) {
        ("boot.rom" | "boot.loader", FailReason::TimedOut { .. }) => Some(Suggestion::CheckNetworkBoot),
        ("boot.kernel" | "boot.agent" | "run.discover" | "run.sync", _) => Some(Suggestion::CheckConsole),
        (name, _) if name.starts_with("image.") => Some(Suggestion::CheckImage),
        _ if matches!(reason, Reason::Quarantined { .. }) => Some(Suggestion::Release),
        _ => None,
    }
}
