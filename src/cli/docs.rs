//! `bootes docs`: pages of the documentation that are written from tables in the code.

use clap::Subcommand;

use super::Shell;
use super::error::{CliError, Status};
use crate::config::{ports, reference};

/// Which page.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every key of appliance.toml and cluster.toml: docs/CONFIGURATION.md.
    Configuration,
    /// Every port: docs/PORTS.md.
    Ports,
}

/// Prints it.
pub fn run(command: &Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::Ports => shell.out.text(&ports::page())?,
        Command::Configuration => shell.out.text(&reference::page())?,
    }
    Ok(Status::Done)
}
