//! `bootes why`: the typed reasons why nodes are not at their goal, as sentences.
//!
//! Nodes that share a reason are told together, with the evidence of the first of them as an example. Ages are by the
//! appliance's clock.

use super::Shell;
use super::client::Query;
use super::clock::{ago, ahead, span};
use super::error::{CliError, Status};
use super::nodes::Nodes;
use super::output::FormatArgs;
use super::table::printable;
use crate::fact::FailReason;
use crate::model::{NodeSet, UnixMs};
use crate::plan::{Hold, Reason, Unmet, WhyReport};
use crate::port::document::Items;
use crate::state::Attempt;

/// Of whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nodes, for instance n[1-3].
    #[arg(value_name = "NODESET")]
    nodes: Nodes,
    #[command(flatten)]
    format: FormatArgs,
}

/// Explains.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let query = Query::default().with("nodes", Some(&args.nodes));
    let answer = shell.api.get::<Items<WhyReport>>("/api/v1/why", &query).await?;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &answer.document)?;
        return Ok(Status::Done);
    }
    let told: Vec<String> = grouped(&answer.document.items).iter().map(|group| tell_group(group, answer.now)).collect();
    shell.out.text(&told.join("\n"))?;
    Ok(Status::Done)
}

/// The reports that share a reason, in the order of their first nodes.
fn grouped(reports: &[WhyReport]) -> Vec<Vec<&WhyReport>> {
    let mut groups: Vec<(String, Vec<&WhyReport>)> = Vec::new();
    for report in reports {
        let key = key(report);
        match groups.iter_mut().find(|(of, _)| *of == key) {
            Some((_, group)) => group.push(report),
            None => groups.push((key, vec![report])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What two nodes must have in common to be told together: everything but times, addresses and free text.
fn key(report: &WhyReport) -> String {
    let failure = |attempt: &Attempt| {
        let why = match &attempt.reason {
            FailReason::TimedOut { .. } => "timed out".to_owned(),
            FailReason::Bmc { problem, .. } => problem.to_string(),
            FailReason::Agent { detail } => detail.clone(),
            FailReason::NoAgent => "no agent".to_owned(),
            FailReason::ModuleUnavailable { module } => module.clone(),
        };
        format!("{} {why}", attempt.step)
    };
    let reason = match &report.reason {
        Reason::AtGoal => "at goal".to_owned(),
        Reason::InProgress { step, .. } => format!("in progress {step}"),
        Reason::BackingOff { last, .. } => format!("backing off {:?}", last.as_ref().map(failure)),
        Reason::Quarantined { last, .. } => format!("quarantined {:?}", last.as_ref().map(failure)),
        Reason::NoPowerControl => "no power control".to_owned(),
        Reason::Held { hold, .. } => match hold {
            Hold::NodeFrozen { .. } => "node frozen".to_owned(),
            Hold::AllFrozen { .. } => "all frozen".to_owned(),
            Hold::Guarded { variable, value, .. } => format!("guarded {variable}={value}"),
            Hold::MassEvent { .. } => "mass event".to_owned(),
            Hold::Queued { .. } => "queued".to_owned(),
        },
        Reason::Disabled { mutations } => format!("disabled {mutations:?}"),
        Reason::NoPlan { detail } => format!("no plan {detail}"),
        Reason::Pending => "pending".to_owned(),
    };
    format!("{reason} {:?} {:?} {:?}", report.unmet, report.plan, report.suggestion)
}

fn tell_group(group: &[&WhyReport], now: UnixMs) -> String {
    let Some(first) = group.first() else { return String::new() };
    let names = NodeSet::fold(group.iter().map(|report| report.name.as_str()));
    let mut lines = Vec::new();
    if group.len() > 1 {
        let whose = format!("{} nodes, details of {}", group.len(), first.name);
        lines.push(format!("{names} ({whose}): {}", sentence(&first.reason, now)));
    } else {
        lines.push(format!("{names}: {}", sentence(&first.reason, now)));
    }
    if first.reason == Reason::AtGoal {
        return finish(&lines);
    }
    section(&mut lines, "unmet", first.unmet.iter().map(unmet));
    let sources = first.evidence.iter().map(|evidence| evidence.source.chars().count()).max().unwrap_or(0);
    let seen = first
        .evidence
        .iter()
        .map(|evidence| format!("{:sources$}  {}, {}", evidence.source, evidence.what, ago(now, evidence.at)));
    section(&mut lines, "evidence", seen);
    let tried =
        first.tried.iter().map(|attempt| format!("{}: {}, {}", attempt.step, attempt.reason, ago(now, attempt.at)));
    section(&mut lines, "tried", tried);
    let plan: Vec<String> = first.plan.iter().map(ToString::to_string).collect();
    section(&mut lines, "plan", (!plan.is_empty()).then(|| plan.join(", ")));
    let next = match &first.reason {
        Reason::BackingOff { until, .. } => Some(ahead(now, *until)),
        Reason::Quarantined { .. } => Some("not before 'bootes release'".to_owned()),
        _ => first.next_try.map(|at| format!("{}, unless it succeeds before", ahead(now, at))),
    };
    section(&mut lines, "next try", next);
    section(&mut lines, "do", first.suggestion.map(|suggestion| suggestion.to_string()));
    finish(&lines)
}

fn finish(lines: &[String]) -> String {
    lines.iter().map(|line| printable(line) + "\n").collect()
}

/// Adds texts under a title, which stands before the first of them.
fn section(lines: &mut Vec<String>, title: &str, texts: impl IntoIterator<Item = String>) {
    const TITLE_CHARS: usize = 10;
    for (index, text) in texts.into_iter().enumerate() {
        let shown = if index == 0 { title } else { "" };
        lines.push(format!("  {shown:TITLE_CHARS$}{text}"));
    }
}

fn unmet(unmet: &Unmet) -> String {
    let seen = unmet.seen.as_deref().unwrap_or("unknown");
    format!("{} should be {}, and is {seen}", unmet.path, unmet.wanted)
}

fn sentence(reason: &Reason, now: UnixMs) -> String {
    match reason {
        Reason::AtGoal => "at its goal".to_owned(),
        Reason::InProgress { step, since, deadline } => {
            let left = match deadline.since(now) {
                0 => "its time is over".to_owned(),
                ms => format!("{} are left", span(ms)),
            };
            format!("{step} is under way for {}; {left}", span(now.since(*since)))
        }
        Reason::BackingOff { last: Some(last), until } => {
            format!("{} failed, because {}; it is tried again {}", last.step, last.reason, ahead(now, *until))
        }
        Reason::BackingOff { last: None, until } => format!("a step failed; it is tried again {}", ahead(now, *until)),
        Reason::Quarantined { failures, last } => {
            let last = last.as_ref().map(|last| format!("; the last was {}, because {}", last.step, last.reason));
            let noun = if *failures == 1 { "failure" } else { "failures" };
            format!("quarantined after {failures} {noun}{}", last.unwrap_or_default())
        }
        Reason::NoPowerControl => "it has no BMC, so it waits for somebody to power it on".to_owned(),
        Reason::Held { step, hold } => format!("{step} is not started: {}", held(hold, now)),
        Reason::Disabled { mutations } => {
            format!("the way to the goal needs {}, which is switched off", mutations.join(", "))
        }
        Reason::NoPlan { detail } => format!("there is no way to the goal: {detail}"),
        Reason::Pending => "the next step is about to begin".to_owned(),
    }
}

fn held(hold: &Hold, now: UnixMs) -> String {
    match hold {
        Hold::NodeFrozen { since } => format!("the node was frozen {}", ago(now, *since)),
        Hold::AllFrozen { since } => format!("everything was frozen {}", ago(now, *since)),
        Hold::Guarded { variable, value, why } => format!("{why} ({variable}={value})"),
        Hold::MassEvent { since, bad, of } => {
            format!("{bad} of {of} nodes turned bad at once, {}, and nobody has looked yet", ago(now, *since))
        }
        Hold::Queued { disrupted, max } => {
            format!("{disrupted} nodes are disturbed already, and {max} may be at once")
        }
    }
}
