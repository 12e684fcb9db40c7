//! A group of nodes with one reason: what they have in common, the spans of their times, one node as an example.

use super::{finish, noun, one, section};
use crate::cli::clock::{ago, ahead, span};
use crate::fact::FailReason;
use crate::model::UnixMs;
use crate::plan::{Between, Reason, Source, WhyGroup};

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
    let evidence = evidence.map(|seen| of(format!("{}  {}, {}", seen.source, seen.what, ago(now, seen.at))));
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
    let next = match &group.reason {
        Reason::Quarantined { .. } => Some("not before 'bootes release'".to_owned()),
        Reason::InProgress { .. } => next.map(|at| format!("{at}, unless it succeeds before")),
        _ => next,
    };
    section(&mut lines, "next try", next);
    section(&mut lines, "do", group.suggestion.map(|suggestion| one::hint(&group.reason, suggestion)));
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
            let seen = seen.map(|(at, last)| last_seen(now, last.source, at));
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

fn last_seen(now: UnixMs, source: Source, at: Between) -> String {
    format!("; the last {} of each was {}", noun(source), between_ago(now, at))
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
