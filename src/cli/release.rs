//! `bootes release`: lets quarantined nodes be tried again.

use super::Shell;
use super::error::{CliError, Status};
use super::nodes::{counted, tell_held};
use super::output::FormatArgs;
use super::select::Chosen;
use crate::port::document::{Accepted, NodesRequest};

/// Whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Chosen,
    #[command(flatten)]
    format: FormatArgs,
}

/// Releases.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let request = NodesRequest { nodes: args.nodes.selection() };
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
