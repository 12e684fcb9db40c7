//! `bootes diff`: what changed between two moments, node by node.

use super::Shell;
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use super::select::Filtered;
use super::table::{Cell, Table, Tone};
use crate::model::Moment;
use crate::port::history::DiffDocument;
use crate::state::compare::{Existence, NodeChange, ValueChange};

/// Between when, and of which nodes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Filtered,
    /// Since then: a time in UTC ('2026-11-20 03:10', or RFC 3339), how long ago (10m, -10m, '10m ago'), or a fact (seq:123).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Moment,
    /// Until then; now when it is not given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<Moment>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Shows.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let query = args.nodes.query().with("from", Some(args.from)).with("to", args.to);
    let diff: DiffDocument = shell.api.get("/api/v1/diff", &query).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &diff)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["NODE", "WHAT", "FROM", "TO"]);
    for node in &diff.items {
        rows(node, &mut table);
    }
    shell.out.table(&table)?;
    let (from, to) = (&diff.from, &diff.to);
    tell(&format!("from fact {}, {}, to fact {}, {}", from.seq.0, from.at, to.seq.0, to.at));
    Ok(Status::Done)
}

fn rows(node: &NodeChange, table: &mut Table) {
    match node.change {
        Existence::Created => {
            table.row([(&node.name).into(), "node".into(), "-".into(), Cell::toned("created", Tone::Good)])
        }
        Existence::Removed => {
            table.row([(&node.name).into(), "node".into(), "-".into(), Cell::toned("removed", Tone::Bad)])
        }
        Existence::Changed => {
            for (what, changes) in
                [("described", &node.described), ("desired", &node.desired), ("observed", &node.observed)]
            {
                for change in changes {
                    row(node, what, change, table);
                }
            }
        }
    }
}

fn row(node: &NodeChange, what: &str, change: &ValueChange, table: &mut Table) {
    let value = |value: &Option<String>| Cell::from(value.as_deref().unwrap_or("-"));
    let what = format!("{what} {}", change.path);
    table.row([(&node.name).into(), what.into(), value(&change.from), value(&change.to)]);
}
