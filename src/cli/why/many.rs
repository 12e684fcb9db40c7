//! A group of nodes with one reason: what they have in common, the spans of their times, one node as an example.

use super::advice::advice;
use super::{finish, noun, one, section};
use crate::cli::clock::{ahead, span};
use crate::fact::FailReason;
use crate::model::UnixMs;
use crate::plan::{Between, Evidence, EvidenceKind, HeldStep, Hold, Reason, WhyGroup};

/// The whole group.
pub(super) fn tell(group: &WhyGroup, now: UnixMs) -> String {
    let whose = match group.count {
        1 => group.nodes.clone(),
        count => format!("{} ({count} nodes)", group.nodes),
    };
    let mut lines = vec![format!("{whose}: {}", sentence(group, now))];
    if group.reason == Reason::AtGoal {
        return finish(&lines);
    }
    let share = |count: usize| match group.count - count.min(group.count) {
        0 => String::new(),
        _ => format!(" ({count} of {})", group.count),
    };
    let unmet = group.unmet.iter().map(|unmet| one::unmet(&unmet.unmet) + &share(unmet.count));
    section(&mut lines, "unmet", unmet);
    let of = |text: String| if group.count == 1 { text } else { format!("{text} ({})", group.example) };
    let evidence = group.evidence.as_ref();
    let evidence = evidence.map(|seen| of(format!("{}  {}", seen.source, one::evidence_text(seen, now))));
    section(&mut lines, "evidence", evidence);
    if group.count > 1 {
        let mut said: Vec<String> =
            group.said.iter().map(|said| format!("{}{}", said.what, share(said.count))).collect();
        if group.said_else > 0 {
            said.push(format!("something else{}", share(group.said_else)));
        }
        section(&mut lines, "said", said);
    }
    let next = group.next_try.map(|at| between_ahead(now, at));
    let timed = |held: &HeldStep| match held.hold {
        Hold::NodeFrozen { .. } => of(one::ahead_of(held, now)),
        _ => one::ahead_of(held, now),
    };
    section(&mut lines, "held", group.held.iter().map(timed));
    section(&mut lines, "next try", one::next_try(&group.reason, next, &group.nodes));
    section(&mut lines, "do", advice(&group.nodes, &group.reason, group.suggestion, &group.held));
    finish(&lines)
}

/// The reason of the group. What only one node has is said as for one node.
fn sentence(group: &WhyGroup, now: UnixMs) -> String {
    if group.count == 1 {
        return one::sentence(&group.reason, now);
    }
    let when = group.since.map_or_else(|| "at a time not known".to_owned(), |since| between_ago(now, since));
    match &group.reason {
        Reason::AtGoal => "at their goal".to_owned(),
        Reason::InProgress { step, awaiting, .. } => {
            let seen = group.last_seen.filter(|seen| Some(*seen) != group.since).zip(awaiting.last.as_ref());
            let seen = seen.map(|(at, last)| last_seen(now, last, at));
            format!("{step} is under way: {}{}", awaiting.what.sentence(&when), seen.unwrap_or_default())
        }
        Reason::BackingOff { last: Some(last), .. } => {
            format!("{} failed {when}, because {}", last.step, because(&last.reason))
        }
        Reason::BackingOff { last: None, .. } => "a step failed".to_owned(),
        Reason::Quarantined { last: Some(last), .. } => {
            format!("quarantined; the last failure was {} {when}, because {}", last.step, because(&last.reason))
        }
        Reason::Quarantined { last: None, .. } => "quarantined".to_owned(),
        Reason::NoPowerControl => "they have no BMC, so they wait for somebody to power them on".to_owned(),
        Reason::Held { step, hold } => format!("{step} is not started: {}", one::held(hold, &when)),
        Reason::Disabled { .. } => one::sentence(&group.reason, now),
        Reason::NoPlan { detail, .. } => format!("there is no way to the goal: {detail}"),
        Reason::Pending => "the next step is about to begin".to_owned(),
    }
}

/// What is said beside the time since which is awaited; what is noted only when it changes has no last time.
fn last_seen(now: UnixMs, last: &Evidence, at: Between) -> String {
    match last.kind {
        EvidenceKind::Event => format!("; the last {} of each was {}", noun(last.source), between_ago(now, at)),
        EvidenceKind::NoAnswer => {
            format!("; the last try of each ended without an answer {}", between_ago(now, at))
        }
        EvidenceKind::State { .. } => String::new(),
    }
}

/// Why a step failed, without what differs from node to node.
fn because(reason: &FailReason) -> String {
    match reason {
        FailReason::TimedOut { .. } => "nothing was seen of it in time".to_owned(),
        FailReason::Bmc { problem, .. } => problem.to_string(),
        FailReason::Agent { .. } => "the agent could not do it".to_owned(),
        FailReason::Module { module, .. } => format!("the module {module} could not do it"),
        FailReason::NoAgent | FailReason::ModuleUnavailable { .. } => reason.to_string(),
    }
}

/// "28 s ago", or "28 s to 3 min ago".
fn between_ago(now: UnixMs, at: Between) -> String {
    match (span(now.since(at.latest)), span(now.since(at.earliest))) {
        (newest, oldest) if newest == oldest => format!("{newest} ago"),
        (newest, oldest) => format!("{newest} to {oldest} ago"),
    }
}

/// "in 28 s", or "in 28 s to 3 min".
fn between_ahead(now: UnixMs, at: Between) -> String {
    match (ahead(now, at.earliest), ahead(now, at.latest)) {
        (first, last) if first == last => first,
        (first, _) => format!("{first} to {}", span(at.latest.since(now))),
    }
}
