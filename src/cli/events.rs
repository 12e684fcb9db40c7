//! `bootes events`: the journal's facts as sentences, or as they are, once or as they happen.
//!
//! Following survives a restart of the appliance: what happened meanwhile is asked for by its place in the journal, and
//! no fact is printed twice.

use std::time::Duration;

use clap::builder::PossibleValuesParser;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::select::Filtered;
use super::sse::Events;
use super::table::{Table, printable};
use crate::fact::Fact;
use crate::model::{FactSeq, Moment, Place};
use crate::port::document::{EventDocument, Items};
use crate::port::stream::Lost;

/// Between two tries to reach an appliance that went away.
const TRY_EVERY: Duration = Duration::from_secs(1);
const EVENTS: &str = "/api/v1/events";
const STREAM: &str = "/api/v1/stream";
/// Widths of the node's and the kind's columns while it is not known what will come.
const NODE_CHARS: usize = 8;
const KIND_CHARS: usize = 9;

/// Which, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Filtered,
    /// Only of these kinds, joined by commas.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Fact::KINDS))]
    kind: Vec<String>,
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

/// How many past events are asked for when following begins at a time.
const PAST_MAX: u32 = 100_000;
/// How many past events are shown before those that come, when the command line does not say.
const CONTEXT: u32 = 10;

fn filter(args: &Args, since: Option<Place>) -> Query {
    let query = args.nodes.query().with("kind", Some(args.kind.join(",")).filter(|kinds| !kinds.is_empty()));
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
    // Asked for before what is past: what happens meanwhile is in the stream.
    let head: Items<EventDocument> = shell.api.get(EVENTS, &Query::default().with("limit", Some(1))).await?.document;
    let past = args.limit.unwrap_or(if since.is_some() { PAST_MAX } else { CONTEXT });
    let mut last: Option<FactSeq> = None;
    if past > 0 {
        let query = filter(args, since).with("limit", Some(past));
        for event in shell.api.get::<Items<EventDocument>>(EVENTS, &query).await?.document.items {
            print_new(&event, args.format.format, &mut last, shell)?;
        }
    }
    let begin = head.items.last().map(|event| event.seq).max(last).unwrap_or(FactSeq(0));
    let mut place = begin.0.to_string();
    let query = filter(args, None).with("types", Some("fact"));
    let mut told = false;
    loop {
        match shell.api.stream(STREAM, &query, Some(&place)).await {
            Ok(mut events) => {
                told = false;
                match print_stream(&mut events, args.format.format, (&mut last, &mut place), shell).await {
                    Ok(()) | Err(CliError::Broken { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(CliError::Unreachable { .. } | CliError::Broken { .. }) => {}
            Err(error) => return Err(error),
        }
        if !std::mem::replace(&mut told, true) {
            tell("the appliance ended the stream; waiting for it");
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

/// Prints what is new, and keeps the place up to which everything was told.
async fn print_stream(
    events: &mut Events,
    format: Format,
    (last, place): (&mut Option<FactSeq>, &mut String),
    shell: &mut Shell,
) -> Result<(), CliError> {
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "fact" => print_new(&event.read::<EventDocument>()?, format, last, shell)?,
            "lost" => {
                let Lost { first, last } = event.read()?;
                tell(&format!("the journal does not hold the facts from {} to {} any more", first.0, last.0));
            }
            _ => {}
        }
        if let Some(id) = event.id {
            *place = id;
        }
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
