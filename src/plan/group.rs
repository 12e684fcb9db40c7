//! Many nodes' reasons as few groups: what a rack's nodes have in common is said once.
//!
//! Two nodes are in one group when the typed reason, the kind of evidence that decides, and the suggestion are the same.
//! What differs from node to node (times, addresses, an error's text) is not part of that: times become a span, texts
//! are counted. Groups that need a hand come first, then the larger ones.
//!
//! Absent on purpose: sentences, which are the command line's; single reports, which `why` has.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hold::{HeldStep, Hold};
use super::why::{Awaiting, Evidence, NoWay, Reason, Source, Suggestion, Unmet, WhyReport};
use crate::fact::{BmcProblem, FailReason, StepName};
use crate::model::{Name, NodeSet, UnixMs, VarPath};
use crate::state::Attempt;

/// Texts kept of one group; of the others it is said how many nodes they are about.
const SAID_MAX: usize = 3;

/// Nodes with one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WhyGroup {
    /// The nodes, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
    /// The nodes one by one, in the order in which they were given.
    pub names: Vec<Name>,
    /// The node that `reason` and `evidence` are of: the one that was heard last.
    pub example: Name,
    /// Why, with the times of the example.
    pub reason: Reason,
    /// Since when it is so, where that is known: the time of the first node and that of the last.
    pub since: Option<Between>,
    /// Where the evidence that decides comes from; nothing when nothing was seen.
    pub source: Option<Source>,
    /// When that source was last heard of.
    pub last_seen: Option<Between>,
    /// The goals that are not met, with the number of nodes that miss them.
    pub unmet: Vec<UnmetOfMany>,
    /// What that source last told of the example; the newest of any source when that one told nothing.
    pub evidence: Option<Evidence>,
    /// The texts of the failures, the most frequent first, at most three.
    pub said: Vec<Said>,
    /// Nodes whose failure has another text than these.
    pub said_else: usize,
    /// What else holds steps of the example that are still to be started; of the others it is the same, at other times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldStep>,
    /// When the next try is, where there is one and nothing holds it.
    pub next_try: Option<Between>,
    /// What the operator can do.
    pub suggestion: Option<Suggestion>,
}

/// The earliest and the latest of many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Between {
    /// The earliest.
    pub earliest: UnixMs,
    /// The latest.
    pub latest: UnixMs,
}

impl Between {
    pub(super) fn of(times: impl Iterator<Item = UnixMs>) -> Option<Self> {
        times.fold(None, |span: Option<Between>, at| {
            Some(span.map_or(Between { earliest: at, latest: at }, |span| Between {
                earliest: span.earliest.min(at),
                latest: span.latest.max(at),
            }))
        })
    }
}

/// A goal that many nodes miss in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnmetOfMany {
    /// The goal.
    #[serde(flatten)]
    pub unmet: Unmet,
    /// How many nodes of the group miss it.
    pub count: usize,
}

/// A failure's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Said {
    /// The text.
    pub what: String,
    /// How many nodes of the group have it.
    pub count: usize,
}

/// What the nodes of one group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    reason: ReasonKey,
    source: Option<Source>,
    kind: Option<&'static str>,
    suggestion: Option<Suggestion>,
    held: Vec<(Option<StepName>, HoldKey)>,
    promise: Promise,
}

/// Whether there is a next try without anybody's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    Given,
    None,
}

/// A reason without times and texts, in the order in which groups are told: what needs a hand first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ReasonKey {
    Quarantined(Option<FailureKey>),
    NoPlan(NoWay),
    NoPowerControl,
    Disabled(Vec<String>),
    Held(StepName, HoldKey),
    BackingOff(Option<FailureKey>),
    InProgress(StepName, Awaiting),
    Pending,
    AtGoal,
}

impl ReasonKey {
    /// Its place among the groups, by kind alone.
    fn rank(&self) -> u8 {
        match self {
            ReasonKey::Quarantined(_) => 0,
            ReasonKey::NoPlan(_) => 1,
            ReasonKey::NoPowerControl => 2,
            ReasonKey::Disabled(_) => 3,
            ReasonKey::Held(_, HoldKey::MassEvent) => 4,
            ReasonKey::Held(..) => 5,
            ReasonKey::BackingOff(_) => 6,
            ReasonKey::InProgress(..) => 7,
            ReasonKey::Pending => 8,
            ReasonKey::AtGoal => 9,
        }
    }
}

/// What holds a step, without times and numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum HoldKey {
    MassEvent,
    NodeFrozen,
    AllFrozen,
    Guarded(VarPath, String),
    NextBoot(String, String),
    Queued,
}

impl From<&Hold> for HoldKey {
    fn from(hold: &Hold) -> Self {
        match hold {
            Hold::NodeFrozen { .. } => HoldKey::NodeFrozen,
            Hold::AllFrozen { .. } => HoldKey::AllFrozen,
            Hold::Guarded { variable, value, .. } => HoldKey::Guarded(variable.clone(), value.to_string()),
            Hold::MassEvent { .. } => HoldKey::MassEvent,
            Hold::NextBoot { target, runs } => HoldKey::NextBoot(target.clone(), runs.clone()),
            Hold::Queued { .. } => HoldKey::Queued,
        }
    }
}

/// A failure without times and texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FailureKey {
    step: StepName,
    why: FailKey,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum FailKey {
    TimedOut,
    Bmc(BmcProblem),
    Agent,
    NoAgent,
    ModuleUnavailable(String),
    Module(String),
}

impl From<&Attempt> for FailureKey {
    fn from(attempt: &Attempt) -> Self {
        let why = match &attempt.reason {
            FailReason::TimedOut { .. } => FailKey::TimedOut,
            FailReason::Bmc { problem, .. } => FailKey::Bmc(*problem),
            FailReason::Agent { .. } => FailKey::Agent,
            FailReason::NoAgent => FailKey::NoAgent,
            FailReason::ModuleUnavailable { module, .. } => FailKey::ModuleUnavailable(module.clone()),
            FailReason::Module { module, .. } => FailKey::Module(module.clone()),
        };
        FailureKey { step: attempt.step.clone(), why }
    }
}

impl From<&Reason> for ReasonKey {
    fn from(reason: &Reason) -> Self {
        let failure = |last: &Option<Attempt>| last.as_ref().map(FailureKey::from);
        match reason {
            Reason::AtGoal => ReasonKey::AtGoal,
            Reason::InProgress { step, awaiting, .. } => ReasonKey::InProgress(step.clone(), awaiting.what.clone()),
            Reason::BackingOff { last, .. } => ReasonKey::BackingOff(failure(last)),
            Reason::Quarantined { last, .. } => ReasonKey::Quarantined(failure(last)),
            Reason::NoPowerControl => ReasonKey::NoPowerControl,
            Reason::Held { step, hold } => ReasonKey::Held(step.clone(), hold.into()),
            Reason::Disabled { mutations, .. } => ReasonKey::Disabled(mutations.clone()),
            Reason::NoPlan { cause, .. } => ReasonKey::NoPlan(*cause),
            Reason::Pending => ReasonKey::Pending,
        }
    }
}

/// The groups of `reports`.
#[must_use]
pub fn group(reports: &[WhyReport]) -> Vec<WhyGroup> {
    let mut members: BTreeMap<Key, Vec<&WhyReport>> = BTreeMap::new();
    for report in reports {
        members.entry(key(report)).or_default().push(report);
    }
    let mut groups: Vec<(Key, Vec<&WhyReport>)> = members.into_iter().collect();
    groups.sort_by_key(|(key, of)| (key.reason.rank(), Reverse(of.len())));
    groups.into_iter().filter_map(|(key, of)| told(&key, &of)).collect()
}

fn key(report: &WhyReport) -> Key {
    let deciding = deciding(report).filter(|seen| seen.counts).map(|seen| seen.evidence);
    Key {
        reason: (&report.reason).into(),
        source: deciding.map(|evidence| evidence.source),
        kind: deciding.map(|evidence| evidence.kind.as_str()),
        suggestion: report.suggestion,
        held: report.held.iter().map(|held| (held.step.clone(), (&held.hold).into())).collect(),
        promise: if report.next_try.is_some() { Promise::Given } else { Promise::None },
    }
}

/// The evidence that decides, and whether it is of the time that the reason speaks of.
struct Deciding<'a> {
    evidence: &'a Evidence,
    counts: bool,
}

/// For a step under way it is that of the source which would show what is awaited; otherwise the newest there is.
fn deciding(report: &WhyReport) -> Option<Deciding<'_>> {
    match &report.reason {
        // What holds a step is no evidence of the node's own.
        Reason::AtGoal | Reason::Pending | Reason::Held { .. } | Reason::Disabled { .. } => None,
        Reason::InProgress { awaiting, .. } => {
            awaiting.last.as_ref().map(|evidence| Deciding { evidence, counts: evidence.at >= awaiting.since })
        }
        Reason::BackingOff { .. } | Reason::Quarantined { .. } | Reason::NoPowerControl | Reason::NoPlan { .. } => {
            newest(report).map(|evidence| Deciding { evidence, counts: true })
        }
    }
}

fn newest(report: &WhyReport) -> Option<&Evidence> {
    report.evidence.iter().max_by_key(|evidence| evidence.at)
}

fn since(report: &WhyReport) -> Option<UnixMs> {
    match &report.reason {
        Reason::InProgress { awaiting, .. } => Some(awaiting.since),
        Reason::BackingOff { last, .. } | Reason::Quarantined { last, .. } => last.as_ref().map(|last| last.at),
        Reason::Held { hold, .. } => match hold {
            Hold::NodeFrozen { since } | Hold::AllFrozen { since } | Hold::MassEvent { since, .. } => Some(*since),
            Hold::Guarded { .. } | Hold::NextBoot { .. } | Hold::Queued { .. } => None,
        },
        Reason::AtGoal | Reason::NoPowerControl | Reason::Disabled { .. } | Reason::NoPlan { .. } | Reason::Pending => {
            None
        }
    }
}

fn told(key: &Key, of: &[&WhyReport]) -> Option<WhyGroup> {
    let heard_at = |report: &WhyReport| deciding(report).map(|seen| seen.evidence.at);
    // The first of those that were heard last: `max_by_key` alone would give the last of them.
    let example = of.iter().rev().max_by_key(|report| heard_at(report))?;
    let (said, said_else) = said(of);
    Some(WhyGroup {
        nodes: NodeSet::fold(of.iter().map(|report| report.name.as_str())),
        count: of.len(),
        names: of.iter().map(|report| report.name.clone()).collect(),
        example: example.name.clone(),
        reason: example.reason.clone(),
        since: Between::of(of.iter().filter_map(|report| since(report))),
        source: key.source,
        last_seen: Between::of(of.iter().filter_map(|report| heard_at(report))),
        unmet: unmet(of),
        evidence: deciding(example).map(|seen| seen.evidence).or(newest(example)).cloned(),
        said,
        said_else,
        held: example.held.clone(),
        next_try: Between::of(of.iter().filter_map(|report| report.next_try)),
        suggestion: key.suggestion,
    })
}

/// The goals that nodes of the group miss, those that most of them miss first.
fn unmet(of: &[&WhyReport]) -> Vec<UnmetOfMany> {
    let mut all: Vec<UnmetOfMany> = Vec::new();
    for unmet in of.iter().flat_map(|report| &report.unmet) {
        match all.iter_mut().find(|known| known.unmet == *unmet) {
            Some(known) => known.count += 1,
            None => all.push(UnmetOfMany { unmet: unmet.clone(), count: 1 }),
        }
    }
    all.sort_by_key(|unmet| Reverse(unmet.count));
    all
}

fn said(of: &[&WhyReport]) -> (Vec<Said>, usize) {
    let text = |report: &&WhyReport| match &report.reason {
        Reason::BackingOff { last: Some(last), .. } | Reason::Quarantined { last: Some(last), .. } => {
            match &last.reason {
                FailReason::Bmc { detail, .. } | FailReason::Agent { detail } | FailReason::Module { detail, .. } => {
                    Some(detail.clone())
                }
                FailReason::TimedOut { .. } | FailReason::NoAgent | FailReason::ModuleUnavailable { .. } => None,
            }
        }
        _ => None,
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for what in of.iter().filter_map(text) {
        *counts.entry(what).or_default() += 1;
    }
    let mut said: Vec<Said> = counts.into_iter().map(|(what, count)| Said { what, count }).collect();
    said.sort_by_key(|said| Reverse(said.count));
    let others = said.iter().skip(SAID_MAX).map(|said| said.count).sum();
    said.truncate(SAID_MAX);
    (said, others)
}
