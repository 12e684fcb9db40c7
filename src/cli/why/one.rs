//! One node's report, in full.

use super::advice::{advice, release};
use super::{finish, noun, section};
use crate::cli::clock::{ago, ahead, span};
use crate::model::UnixMs;
use crate::plan::{Evidence, EvidenceKind, HeldStep, Hold, Reason, SetAside, Unmet, Wait, WhyReport};

/// The whole report.
pub(super) fn tell(report: &WhyReport, now: UnixMs) -> String {
    let mut lines = vec![format!("{}: {}", report.name, sentence(&report.reason, now))];
    let waits = |goal: &SetAside| format!("{}={} waits while power=off is wanted", goal.path, goal.wanted);
    if report.reason == Reason::AtGoal {
        section(&mut lines, "aside", report.set_aside.iter().map(waits));
        return finish(&lines);
    }
    section(&mut lines, "unmet", report.unmet.iter().map(unmet));
    section(&mut lines, "aside", report.set_aside.iter().map(waits));
    let sources = report.evidence.iter().map(|evidence| evidence.source.to_string().len()).max().unwrap_or(0);
    let seen = report
        .evidence
        .iter()
        .map(|evidence| format!("{:sources$}  {}", evidence.source, evidence_text(evidence, now)));
    section(&mut lines, "evidence", seen);
    let tried =
        report.tried.iter().map(|attempt| format!("{}: {}, {}", attempt.step, attempt.reason, ago(now, attempt.at)));
    section(&mut lines, "tried", tried);
    let plan: Vec<String> = report.plan.iter().map(ToString::to_string).collect();
    section(&mut lines, "plan", (!plan.is_empty()).then(|| plan.join(", ")));
    section(&mut lines, "held", report.held.iter().map(|held| ahead_of(held, now)));
    let at = report.next_try.map(|at| ahead(now, at));
    section(&mut lines, "next try", next_try(&report.reason, at, report.name.as_str()));
    section(&mut lines, "do", advice(report.name.as_str(), &report.reason, report.suggestion, &report.held));
    finish(&lines)
}

/// When the next try of `nodes` is: `at` where it is known and nothing holds it.
pub(super) fn next_try(reason: &Reason, at: Option<String>, nodes: &str) -> Option<String> {
    match (reason, at) {
        (Reason::Quarantined { .. }, _) => Some(format!("not before '{}'", release(nodes))),
        (Reason::InProgress { .. }, Some(at)) => Some(format!("{at}, unless it succeeds before")),
        (Reason::InProgress { .. } | Reason::BackingOff { .. }, None) => Some("not while that holds".to_owned()),
        (_, at) => at,
    }
}

/// What holds a step that is still to be started.
pub(super) fn ahead_of(held: &HeldStep, now: UnixMs) -> String {
    let why = self::held(&held.hold, &hold_began(&held.hold, now));
    match &held.step {
        Some(step) => format!("{step} will not be started: {why}"),
        None => format!("no further step will be started: {why}"),
    }
}

pub(super) fn unmet(unmet: &Unmet) -> String {
    let seen = unmet.seen.as_deref().unwrap_or("unknown");
    format!("{} should be {}, and is {seen}", unmet.path, unmet.wanted)
}

/// The reason of one node.
pub(super) fn sentence(reason: &Reason, now: UnixMs) -> String {
    match reason {
        Reason::AtGoal => "at its goal".to_owned(),
        Reason::InProgress { step, since, deadline, awaiting } => {
            let left = match deadline.since(now) {
                0 => "its time is over".to_owned(),
                ms => format!("{} are left", span(ms)),
            };
            format!("{step} is under way for {}: {}; {left}", span(now.since(*since)), awaited(awaiting, now))
        }
        Reason::BackingOff { last: Some(last), .. } => {
            format!("{} failed {}, because {}", last.step, ago(now, last.at), last.reason)
        }
        Reason::BackingOff { last: None, .. } => "a step failed".to_owned(),
        Reason::Quarantined { failures, last } => {
            let last = last.as_ref().map(|last| format!("; the last was {}, because {}", last.step, last.reason));
            let noun = if *failures == 1 { "failure" } else { "failures" };
            format!("quarantined after {failures} {noun}{}", last.unwrap_or_default())
        }
        Reason::NoPowerControl => "it has no BMC, so it waits for somebody to power it on".to_owned(),
        Reason::Held { step, hold } => format!("{step} is not started: {}", held(hold, &hold_began(hold, now))),
        Reason::Disabled { mutations, .. } => {
            format!("the way to the goal needs {}, which is switched off", mutations.join(", "))
        }
        Reason::NoPlan { detail, .. } => format!("there is no way to the goal: {detail}"),
        Reason::Pending => "the next step is about to begin".to_owned(),
    }
}

/// What was seen, and when; of what is noted only when it changes, since when it is so.
pub(super) fn evidence_text(evidence: &Evidence, now: UnixMs) -> String {
    match evidence.kind {
        EvidenceKind::State { since } => format!("{}, since {}", evidence.what, span(now.since(since))),
        EvidenceKind::Event | EvidenceKind::NoAnswer => format!("{}, {}", evidence.what, ago(now, evidence.at)),
    }
}

fn awaited(wait: &Wait, now: UnixMs) -> String {
    let last = wait.last.as_ref().filter(|last| last.at != wait.since);
    let last = last.map(|last| match last.kind {
        EvidenceKind::Event => format!("; the last {} was {}", noun(last.source), ago(now, last.at)),
        EvidenceKind::State { since } => format!("; what it says since {} is: {}", span(now.since(since)), last.what),
        EvidenceKind::NoAnswer => format!("; the last try ended without an answer {}", ago(now, last.at)),
    });
    wait.what.sentence(&ago(now, wait.since)) + &last.unwrap_or_default()
}

fn hold_began(hold: &Hold, now: UnixMs) -> String {
    match hold {
        Hold::NodeFrozen { since } | Hold::AllFrozen { since } | Hold::MassEvent { since, .. } => ago(now, *since),
        Hold::Guarded { .. } | Hold::NextBoot { .. } | Hold::Queued { .. } => String::new(),
    }
}

/// What holds a step, which began at `when`.
pub(super) fn held(hold: &Hold, when: &str) -> String {
    match hold {
        Hold::NodeFrozen { .. } => format!("the node was frozen {when}"),
        Hold::AllFrozen { .. } => format!("everything was frozen {when}"),
        Hold::Guarded { variable, value, why } => format!("{why} ({variable}={value})"),
        Hold::MassEvent { bad, of, .. } => {
            format!("{bad} of {of} nodes turned bad at once, {when}, and nobody has looked yet")
        }
        Hold::NextBoot { target, runs } => format!("it runs {runs}, and {target} is for its next boot"),
        Hold::Queued { disrupted, max } => {
            let nodes = if *disrupted == 1 { "1 node is".to_owned() } else { format!("{disrupted} nodes are") };
            format!("{nodes} disturbed already, and {max} may be at once")
        }
    }
}
