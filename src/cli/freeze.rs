//! `bootes freeze` and `bootes thaw`: no step is started any more, of some nodes or of any; and they are again.

use clap::ArgGroup;

use super::Shell;
use super::error::{CliError, Status};
use super::nodes::Nodes;
use super::output::FormatArgs;
use super::select::Selectors;
use crate::port::control::{FreezeAnswer, FreezeRequest};

/// Whom.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("selected").args(["nodes", "all", "pool", "labels", "wheres"]).required(true).multiple(true))]
pub struct Args {
    /// The nodes, for instance n[1-3]; all that the options select when it is left out.
    #[arg(value_name = "NODESET")]
    nodes: Option<Nodes>,
    /// Everything, nodes that are not described yet included.
    #[arg(long, conflicts_with_all = ["nodes", "pool", "labels", "wheres"])]
    all: bool,
    #[command(flatten)]
    selectors: Selectors,
    #[command(flatten)]
    format: FormatArgs,
}

/// Freezes.
pub async fn freeze(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    run(args, "/api/v1/freeze", "frozen", shell).await
}

/// Thaws.
pub async fn thaw(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    run(args, "/api/v1/thaw", "thawed", shell).await
}

async fn run(args: Args, path: &str, done: &str, shell: &mut Shell) -> Result<Status, CliError> {
    let request = FreezeRequest { all: args.all, nodes: args.selectors.with(args.nodes.as_ref()) };
    let answer: FreezeAnswer = shell.api.post(path, &request).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &answer)?;
        return Ok(Status::Done);
    }
    let whom = answer.nodes.as_deref().unwrap_or("everything");
    let mut text = match (answer.changed, answer.nodes.is_some()) {
        (0, _) => format!("{whom}: {done} already\n"),
        (_, false) => format!("{whom}: {done}\n"),
        (1, true) => format!("{whom}: {done}, 1 node\n"),
        (count, true) => format!("{whom}: {done}, {count} nodes\n"),
    };
    if done == "thawed" {
        if answer.all_frozen {
            text.push_str("everything is frozen still: 'bootes thaw --all'\n");
        } else if !answer.frozen_nodes.is_empty() {
            text.push_str(&format!("frozen still, each for itself: {}\n", answer.frozen_nodes));
        }
    }
    shell.out.text(&text)?;
    Ok(Status::Done)
}
