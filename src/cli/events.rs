//! `bootes events`: the journal's facts as sentences, or as they are, once or as they happen.
//!
//! Following survives a restart of the appliance: what happened meanwhile is asked for by its place in the journal, and
//! no fact is printed twice.

use std::time::Duration;

use super::Shell;
use super::client::{Lines, Query};
use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::select::Filtered;
use super::table::{Table, printable};
use crate::model::{FactSeq, Moment, Place};
use crate::port::document::{EventDocument, Items};

/// Between two tries to reach an appliance that went away.
const TRY_EVERY: Duration = Duration::from_secs(1);
const EVENTS: &str = "/api/v1/events";
const FOLLOW: &str = "/api/v1/events/follow";
/// Widths of the node's and the kind's columns while it is not known what will come.
const NODE_CHARS: usize = 8;
const KIND_CHARS: usize = 9;

/// Which, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Filtered,
    /// Only of this kind: appliance, operator, dhcp, file, malformed, power, agent, outcome or engine.
    #[arg(long)]
    kind: Option<String>,
    /// Only since then: a time in UTC ('2026-11-21 02:00', or RFC 3339), how long ago (90s, -10m, '2h ago'), or a fact
    /// (seq:123).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only until then.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "follow")]
    until: Option<Moment>,
    /// At most so many, the newest ones; with --follow, of those that are past already.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    /// Go on as it happens, until interrupted.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Shows.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    if args.follow {
        return follow(&args, shell).await;
    }
    let query = filter(&args, since(&args, shell).await?).with("limit", args.limit);
    let events: Items<EventDocument> = shell.api.get(EVENTS, &query).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &events)?,
        None => {
            let mut table = Table::new(&["TIME", "NODE", "KIND", "WHAT"]);
            for event in events.items {
                let node = event.node.unwrap_or_else(|| "-".to_owned());
                table.row([event.at.into(), node.into(), event.kind.into(), event.what.into()]);
            }
            shell.out.table(&table)?;
        }
    }
    Ok(Status::Done)
}

/// How many past events are asked for when following begins at a time, or goes on after a break.
const CATCH_UP_MAX: u32 = 100_000;
/// How many past events are shown before those that come, when the command line does not say.
const CONTEXT: u32 = 10;

fn filter(args: &Args, since: Option<Place>) -> Query {
    let query = args.nodes.query().with("kind", args.kind.as_ref());
    let query = match since {
        Some(Place::At(at)) => query.with("since_ms", Some(at.0)),
        Some(Place::Seq(seq)) => query.with("since", Some(Moment::Seq(seq))),
        None => query,
    };
    query.with("until", args.until)
}

/// How long ago is meant by the appliance's clock, which its answers tell.
async fn since(args: &Args, shell: &Shell) -> Result<Option<Place>, CliError> {
    match args.since {
        None => Ok(None),
        Some(Moment::At(at)) => Ok(Some(Place::At(at))),
        Some(Moment::Seq(seq)) => Ok(Some(Place::Seq(seq))),
        Some(since @ Moment::Ago(_)) => {
            let now = shell.api.get::<serde_json::Value>("/api/v1/version", &Query::default()).await?.now;
            Ok(Some(since.resolve(now)))
        }
    }
}

async fn follow(args: &Args, shell: &mut Shell) -> Result<Status, CliError> {
    let since = since(args, shell).await?;
    let mut last: Option<FactSeq> = None;
    let mut reached = false;
    let mut told = false;
    loop {
        let (past, after) = match last {
            Some(seq) => (CATCH_UP_MAX, Some(seq.0)),
            None => (args.limit.unwrap_or(if since.is_some() { CATCH_UP_MAX } else { CONTEXT }), None),
        };
        let query = filter(args, since).with("after", after).with("limit", Some(past));
        match shell.api.follow(FOLLOW, &query).await {
            Ok(mut lines) => {
                (reached, told) = (true, false);
                match print_stream(&mut lines, args.format.format, &mut last, shell).await {
                    Ok(()) | Err(CliError::Broken { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(CliError::Unreachable { .. } | CliError::Broken { .. }) if reached => {}
            Err(error) => return Err(error),
        }
        if !std::mem::replace(&mut told, true) {
            tell("the appliance ended the stream; waiting for it");
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

async fn print_stream(
    lines: &mut Lines,
    format: Format,
    last: &mut Option<FactSeq>,
    shell: &mut Shell,
) -> Result<(), CliError> {
    while let Some(event) = lines.next::<EventDocument>().await? {
        print_new(&event, format, last, shell)?;
    }
    Ok(())
}

fn print_new(
    event: &EventDocument,
    format: Format,
    last: &mut Option<FactSeq>,
    shell: &mut Shell,
) -> Result<(), CliError> {
    if last.is_some_and(|last| event.seq <= last) {
        return Ok(());
    }
    *last = Some(event.seq);
    match format.structured() {
        Some(format) => shell.out.one_of_many(format, event),
        None => {
            let (at, node) = (printable(&event.at), printable(event.node.as_deref().unwrap_or("-")));
            let (kind, what) = (printable(&event.kind), printable(&event.what));
            shell.out.text(&format!("{at}  {node:NODE_CHARS$}  {kind:KIND_CHARS$}  {what}\n"))
        }
    }
}
