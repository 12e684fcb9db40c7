//! `bootes mutation`: what the planner plans with; switches and timeouts.

use std::str::FromStr;

use clap::Subcommand;
use thiserror::Error;

use super::client::Query;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use super::table::{Cell, Table, Tone};
use super::{Shell, switch};
use crate::fact::Switch;
use crate::model::variable::{duration_text, parse_duration_ms};
use crate::port::control::{DisabledBy, MutationDocument, TimeoutBy, TimeoutRequest};
use crate::port::document::Items;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List mutations as they are planned with.
    List(FormatArgs),
    /// Plan with a mutation again.
    Enable(switch::Args),
    /// Plan without a mutation from now on; steps under way end.
    Disable(switch::Args),
    /// Set when a mutation is taken for failed, from its next start on.
    Timeout(TimeoutArgs),
}

/// What to set.
#[derive(Debug, clap::Args)]
pub struct TimeoutArgs {
    /// The mutation's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// For instance 90s or 10m; - for the configured or the declared one.
    #[arg(value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Timeout,
    #[command(flatten)]
    format: FormatArgs,
}

/// A timeout as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timeout(Option<u64>);

/// Why a text is no timeout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("write a span with its unit, as in 90s, 10m or 1h30m, or - for the declared one")]
struct TimeoutError;

impl FromStr for Timeout {
    type Err = TimeoutError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "-" => Ok(Timeout(None)),
            text => parse_duration_ms(text).map(|ms| Timeout(Some(ms))).ok_or(TimeoutError),
        }
    }
}

/// Does it.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::List(args) => list(&args, shell).await,
        Command::Enable(args) => switch::run("mutations", args, Switch::Enabled, shell).await,
        Command::Disable(args) => switch::run("mutations", args, Switch::Disabled, shell).await,
        Command::Timeout(args) => timeout(args, shell).await,
    }
}

async fn list(args: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let all: Items<MutationDocument> = shell.api.get("/api/v1/mutations", &Query::default()).await?.document;
    if let Some(format) = args.format.structured() {
        shell.out.document(format, &all)?;
        return Ok(Status::Done);
    }
    let mut table =
        Table::new(&["NAME", "MODULE", "CHANGES", "DISTURBS", ">EXPECTED", ">EXAMPLES", ">TIMEOUT", "ENABLED"]);
    for mutation in &all.items {
        let disturbs = if mutation.disruptive { Cell::toned("yes", Tone::Waiting) } else { "no".into() };
        table.row([
            mutation.name.clone().into(),
            mutation.module.clone().into(),
            mutation.changes.join(", ").into(),
            disturbs,
            duration_text(mutation.expected_ms).into(),
            mutation.examples.into(),
            timeout_text(mutation).into(),
            enabled(mutation),
        ]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}

fn timeout_text(mutation: &MutationDocument) -> String {
    let by = match mutation.timeout_by {
        TimeoutBy::Declared => "",
        TimeoutBy::Configured => " (configured)",
        TimeoutBy::Operator => " (set)",
    };
    format!("{}{by}", duration_text(mutation.timeout_ms))
}

fn enabled(mutation: &MutationDocument) -> Cell {
    match mutation.disabled_by {
        None => Cell::toned("yes", Tone::Good),
        Some(DisabledBy::Operator) => Cell::toned("no", Tone::Bad),
        Some(DisabledBy::OperatorModule) => Cell::toned("no (module)", Tone::Bad),
        Some(DisabledBy::Configuration) => Cell::toned("no (configured)", Tone::Bad),
    }
}

async fn timeout(args: TimeoutArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let path = format!("/api/v1/mutations/{}/timeout", switch::segment(&args.name)?);
    let request = TimeoutRequest { timeout_ms: args.timeout.0 };
    let mutation: MutationDocument = shell.api.post(&path, &request).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &mutation)?,
        None => shell.out.text(&format!("{}: timeout {}\n", mutation.name, timeout_text(&mutation)))?,
    }
    Ok(Status::Done)
}
