//! `bootes power`: on, off, cycle; and what BMCs say right now.

use clap::Subcommand;

use super::Shell;
use super::error::{CliError, Status};
use super::nodes::{counted, tell_held};
use super::output::FormatArgs;
use super::select::Chosen;
use super::table::{Cell, Table, Tone};
use crate::fact::PowerState;
use crate::port::document::{Accepted, Items, NodesRequest, PowerDocument, PowerRequest, PowerVerb};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Power on, and run what the cake says.
    On(Args),
    /// Stop what runs, let the agent leave, and power off.
    Off(OrderArgs),
    /// Off in good order, then on again.
    Cycle(OrderArgs),
    /// Ask the BMCs; exit code 1 when one does not answer.
    Status(Args),
}

/// With whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Chosen,
    #[command(flatten)]
    format: FormatArgs,
}

/// With whom, and whether that may disturb them.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    #[command(flatten)]
    with: Args,
    /// Disturb nodes for this although they are busy or guarded.
    #[arg(long)]
    even_if_busy: bool,
}

/// Does it.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let (order, power, said) = match command {
        Command::On(args) => (OrderArgs { with: args, even_if_busy: false }, PowerVerb::On, "asked for power on"),
        Command::Off(args) => (args, PowerVerb::Off, "asked for power off"),
        Command::Cycle(args) => (args, PowerVerb::Cycle, "asked for a power cycle"),
        Command::Status(args) => return status(&args, shell).await,
    };
    let OrderArgs { with: args, even_if_busy } = order;
    let request = PowerRequest { nodes: args.nodes.selection(), power, even_if_busy };
    let accepted: Accepted = shell.api.post("/api/v1/power", &request).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &accepted)?,
        None => {
            shell.out.text(&format!("{said}, {}\n", counted(&accepted)))?;
            tell_held(&accepted);
        }
    }
    Ok(Status::Done)
}

async fn status(args: &Args, shell: &mut Shell) -> Result<Status, CliError> {
    let request = NodesRequest { nodes: args.nodes.selection() };
    let answers: Items<PowerDocument> = shell.api.post("/api/v1/power/status", &request).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &answers)?;
    } else {
        let mut table = Table::new(&["NAME", "POWER", "PROBLEM"]);
        for answer in &answers.items {
            let power = match answer.power {
                Some(PowerState::On) => Cell::toned("on", Tone::Good),
                Some(PowerState::Off) => "off".into(),
                None => Cell::toned("unknown", Tone::Bad),
            };
            let problem = answer.problem.as_deref().unwrap_or("-");
            table.row([answer.name.clone().into(), power, problem.into()]);
        }
        shell.out.table(&table)?;
    }
    match answers.items.iter().all(|answer| answer.power.is_some()) {
        true => Ok(Status::Done),
        false => Ok(Status::Failed),
    }
}
