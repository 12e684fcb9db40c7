//! `bootes man`: manual pages, written from the command line's own description, one for each command (man-pages(7)).

use std::path::PathBuf;

use clap::CommandFactory;

use super::error::{CliError, Status};
use super::{Cli, Shell};

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder for all pages, for instance /usr/local/share/man/man1; without it bootes(1) is printed.
    dir: Option<PathBuf>,
}

/// Writes them.
pub fn run(args: &Args, shell: &mut Shell) -> Result<Status, CliError> {
    let failed = |source| CliError::Output { source };
    match &args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
            shell.out.text(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
        }
    }
    Ok(Status::Done)
}
