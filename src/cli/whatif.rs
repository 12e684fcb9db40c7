//! How a plan is shown: nodes by what would happen to them, and what else one should know before it is approved.

use super::Shell;
use super::error::{CliError, tell};
use super::table::{Cell, Table, Tone};
use crate::model::variable::duration_text;
use crate::plan::{Class, NodeChange, WhatIf};

/// Shows a plan; `approve` is the command that would run it.
pub fn print(plan: &WhatIf, approve: &str, shell: &mut Shell) -> Result<(), CliError> {
    if plan.classes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["NODES", ">COUNT", "CHANGE", "STEPS", "DISTURBS", ">EXPECTED"]);
    for class in &plan.classes {
        let change = match class.change {
            NodeChange::Created => Cell::toned("created", Tone::Good),
            NodeChange::Changed => Cell::toned("changed", Tone::Waiting),
            NodeChange::Removed => Cell::toned("removed", Tone::Bad),
        };
        let disturbs = if class.disturbs() { Cell::toned("yes", Tone::Bad) } else { "no".into() };
        table.row([
            class.nodes.clone().into(),
            class.count.into(),
            change,
            steps(class).into(),
            disturbs,
            duration_text(seconds(class.expected_ms)).into(),
        ]);
    }
    shell.out.table(&table)?;
    for class in &plan.classes {
        for waiting in &class.waiting {
            tell(&format!("{} would wait for {}", waiting.nodes, waiting.what));
        }
    }
    for warning in &plan.warnings {
        tell(&warning.to_string());
    }
    tell(&summary(plan));
    tell(&format!("plan {}: '{approve} --approve-plan {}' does this and nothing else", plan.id, plan.id));
    Ok(())
}

/// Steps in order; those that disturb are marked.
fn steps(class: &Class) -> String {
    let text = |planned: &crate::plan::PlannedStep| planned.step.to_string();
    match class.steps.as_slice() {
        [] => "-".to_owned(),
        steps => steps.iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

/// Parts of a second are no help in a plan.
fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).saturating_mul(1_000)
}

fn summary(plan: &WhatIf) -> String {
    let nodes = |count: usize| if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let rounds = match (plan.rounds, plan.at_once) {
        (0, _) | (_, 0) => String::new(),
        (1, max) => format!(" in one round of at most {max}"),
        (rounds, max) => format!(" in {rounds} rounds of at most {max}"),
    };
    format!(
        "{}, {} of them disturbed{rounds}; expected to take {}",
        nodes(plan.nodes),
        plan.disturbed,
        duration_text(seconds(plan.expected_ms))
    )
}
