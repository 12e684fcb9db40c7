//! `bootes api`: how the appliance's API is known to its clients.

use clap::Subcommand;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use crate::port::access::CertificateDocument;

/// What to show.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the fingerprint by which 'bootes login' knows this appliance; with -o json also names and end of the certificate.
    Fingerprint {
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// Shows.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let Command::Fingerprint { format } = command;
    let told: CertificateDocument = shell.api.get("/api/v1/certificate", &Query::default()).await?.document;
    match format.format.structured() {
        Some(format) => shell.out.document(format, &told)?,
        None => shell.out.text(&format!("{}\n", told.fingerprint))?,
    }
    Ok(Status::Done)
}
