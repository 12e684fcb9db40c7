//! `bootes delete node`: nodes that are no nodes any more. What was shown and confirmed is what is removed, whatever the
//! selection would find a moment later.

use std::io::{IsTerminal, Write};

use clap::Subcommand;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status, tell};
use super::nodes::counted;
use super::output::FormatArgs;
use super::select::Chosen;
use crate::model::{Name, NodeSet};
use crate::port::document::{Accepted, Items, NodeDocument};

/// What to remove.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove nodes: they are no longer managed, and their machines are left as they are.
    Node(NodeArgs),
}

/// Which nodes.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    nodes: Chosen,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Removes.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let Command::Node(args) = command;
    let found: Items<NodeDocument> = shell.api.get("/api/v1/nodes", &args.nodes.query()).await?.document;
    let names = NodeSet::fold(found.items.iter().map(|node| Name::as_str(&node.name)));
    if names.is_empty() {
        return Err(CliError::Refused { detail: "no node is like that; nothing was removed".to_owned() });
    }
    let running = NodeSet::fold(found.items.iter().filter(|node| node.agent.connected).map(|node| node.name.as_str()));
    if !running.is_empty() {
        tell(&format!("{running}: running now, and left running; nobody looks after what runs there then"));
    }
    if !args.yes && !confirmed(&format!("remove {names}, {} in all?", found.items.len()))? {
        tell("nothing was removed");
        return Ok(Status::Failed);
    }
    let query = Query::default().with("nodes", Some(names));
    let accepted: Accepted = shell.api.delete(&query.after("/api/v1/nodes")).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &accepted)?,
        None => shell.out.text(&format!("removed {}\n", counted(&accepted)))?,
    }
    Ok(Status::Done)
}

fn confirmed(question: &str) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("{question} There is nobody to ask; say --yes")));
    }
    let asked = write!(std::io::stderr(), "bootes: {question} [y/N] ").and_then(|()| std::io::stderr().flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| std::io::stdin().read_line(&mut answer));
    read.map_err(|source| CliError::Output { source })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
