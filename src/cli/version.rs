//! `bootes version`: this program's version, and the appliance's when it can be reached.

use serde::{Deserialize, Serialize};

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::output::FormatArgs;

/// How.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Deserialize)]
struct Told {
    version: String,
}

#[derive(Serialize)]
struct Versions {
    program: &'static str,
    appliance: Option<String>,
}

/// Shows.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let appliance = match shell.api.get::<Told>("/api/v1/version", &Query::default()).await {
        Ok(answer) => Some(answer.document.version),
        // One's own version needs no appliance, and nobody's leave.
        Err(CliError::Unreachable { .. } | CliError::NotRoot { .. } | CliError::NotKnown { .. }) => None,
        Err(error) => return Err(error),
    };
    let versions = Versions { program: env!("CARGO_PKG_VERSION"), appliance };
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &versions)?,
        None => {
            let appliance = versions.appliance.as_deref().unwrap_or("cannot be reached");
            shell.out.text(&format!("bootes     {}\nappliance  {appliance}\n", versions.program))?;
        }
    }
    Ok(Status::Done)
}
