//! `bootes completion`: a script that completes this command line in a shell.

use clap::CommandFactory;
use clap_complete::Shell as ShellName;

use super::error::{CliError, Status};
use super::{Cli, Shell};

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: ShellName,
}

/// Prints the script.
pub fn run(args: &Args, shell: &mut Shell) -> Result<Status, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bootes", &mut script);
    shell.out.text(&String::from_utf8_lossy(&script))?;
    Ok(Status::Done)
}
