//! `bootes release`: lets quarantined nodes be tried again.

use super::Shell;
use super::error::{CliError, Status};
use super::nodes::{Nodes, counted, tell_held};
use super::output::FormatArgs;
use crate::port::document::{Accepted, NodesRequest};

/// Whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nodes, for instance n[1-3].
    #[arg(value_name = "NODESET")]
    nodes: Nodes,
    #[command(flatten)]
    format: FormatArgs,
}

/// Releases.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let request = NodesRequest { nodes: args.nodes.to_string() };
    let accepted: Accepted = shell.api.post("/api/v1/release", &request).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &accepted)?,
        None => {
            shell.out.text(&format!("released {}\n", counted(&accepted)))?;
            tell_held(&accepted);
        }
    }
    Ok(Status::Done)
}
