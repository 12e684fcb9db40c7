//! `bootes docs`: pages of the documentation that are written from tables in the code.

use clap::Subcommand;

use super::Shell;
use super::error::{CliError, Status};
use crate::config::{ports, reference};
use crate::port::document::OPENAPI;

/// Which page.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every key of appliance.toml and cluster.toml: docs/CONFIGURATION.md.
    Configuration,
    /// Every port: docs/PORTS.md.
    Ports,
    /// The API's description, OpenAPI 3.1: docs/openapi.json.
    Openapi,
}

/// Prints it.
pub fn run(command: &Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::Ports => shell.out.text(&ports::page())?,
        Command::Openapi => shell.out.text(OPENAPI)?,
        Command::Configuration => shell.out.text(&reference::page())?,
    }
    Ok(Status::Done)
}
