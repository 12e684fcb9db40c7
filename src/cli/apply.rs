//! `bootes apply`: makes a description the appliance's own, and says what that changed.

use std::path::PathBuf;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::plan;
use crate::port::document::ApplyAnswer;

/// What to apply.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster's description, in TOML; - reads the standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Take the description for the whole cluster: remove what it does not name. Without it, it is merged into what there is.
    #[arg(long)]
    prune: bool,
    /// Do it only when it would still do what this plan says.
    #[arg(long, value_name = "ID")]
    approve_plan: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Applies.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let request = plan::request(&args.file, args.prune)?;
    let path = if args.dry_run { "/api/v1/plan" } else { "/api/v1/apply" };
    let query = Query::default().with("approve", args.approve_plan.as_ref());
    let answer: ApplyAnswer = shell.api.post(&query.after(path), &request).await?.document;
    plan::print(&answer, args.format.format, shell)?;
    if args.format.format == Format::Table {
        let count = answer.changes.len();
        let noun = if count == 1 { "change" } else { "changes" };
        match (count, answer.applied) {
            (0, _) => tell("everything is already as described"),
            (_, true) => tell(&format!("{count} {noun} made; watch the nodes with 'bootes get nodes --watch'")),
            (_, false) => tell(&format!("{count} {noun} would be made; nothing was changed")),
        }
    }
    Ok(Status::Done)
}
