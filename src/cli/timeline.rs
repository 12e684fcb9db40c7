//! `bootes timeline`: where the seconds of last boots went.
//!
//! One node's stages one by one; of many nodes the percentiles of each stage and the nodes that are slow in it. The
//! appliance counts; here is only what is printed.

use super::Shell;
use super::clock::{ago, span};
use super::error::{CliError, Status};
use super::output::FormatArgs;
use super::select::Chosen;
use super::table::{Paint, Table, printable};
use crate::model::UnixMs;
use crate::plan::{Fleet, OnTheWay, Slow, StageTimes};
use crate::port::document::{Items, TimelineDocument};
use crate::port::many::TimelinesDocument;

/// Slow nodes that are named in a row of the table; JSON has them all.
const SLOW_SHOWN_MAX: usize = 3;

/// Of whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Chosen,
    /// One timeline a node, although there are many.
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Shows.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let query = args.nodes.query();
    let format = args.format.format.structured();
    let one_by_one = args.each || (format.is_none() && args.nodes.is_one());
    let only = match (one_by_one, format) {
        (true, _) => Some("items"),
        (false, None) => Some("together"),
        (false, Some(_)) => None,
    };
    let answer = shell.api.get::<TimelinesDocument>("/api/v1/timeline", &query.with("only", only.as_ref())).await?;
    let (document, now) = (answer.document, answer.now);
    if let Some(format) = format {
        match one_by_one {
            true => shell.out.document(format, &Items::<TimelineDocument> { items: document.items })?,
            false => shell.out.document(format, &document)?,
        }
        return Ok(Status::Done);
    }
    let paint = shell.out.paint();
    let text = match &document.summary {
        Some(fleet) if !one_by_one => together(fleet, now, paint),
        _ => {
            let texts: Vec<String> = document.items.iter().map(|one| alone(one, paint)).collect();
            texts.join("\n")
        }
    };
    shell.out.text(&text)?;
    Ok(Status::Done)
}

fn alone(timeline: &TimelineDocument, paint: Paint) -> String {
    let rows = if timeline.stages.is_empty() { String::new() } else { table(timeline).render(paint) };
    format!("{}\n{rows}", heading(timeline))
}

fn heading(timeline: &TimelineDocument) -> String {
    let name = printable(timeline.name.as_str());
    match (timeline.stages.first(), timeline.stages.last()) {
        (Some(first), Some(last)) => {
            format!(
                "{name}: {:.1} s from {} to {}",
                last.since_start_s,
                printable(&first.stage),
                printable(&last.stage)
            )
        }
        _ => format!("{name}: nothing was seen of it yet"),
    }
}

fn table(timeline: &TimelineDocument) -> Table {
    let mut table = Table::new(&["STAGE", "TIME", ">SECONDS", ">TOTAL"]);
    for stage in &timeline.stages {
        table.row([
            stage.stage.clone().into(),
            stage.at.clone().into(),
            format!("{:.3}", stage.took_s).into(),
            format!("{:.3}", stage.since_start_s).into(),
        ]);
    }
    table
}

fn together(fleet: &Fleet, now: UnixMs, paint: Paint) -> String {
    let mut text = format!("{} of {} nodes have arrived in their last boot\n", fleet.arrived, fleet.count);
    let rows: Vec<&StageTimes> = fleet.stages.iter().chain(&fleet.total).collect();
    if !rows.is_empty() {
        let mut table = Table::new(&["STAGE", ">NODES", ">P50", ">P90", ">P99", ">MAX", "SLOW"]);
        for row in rows {
            let seconds = |s: f64| format!("{s:.1}").into();
            table.row([
                row.stage.clone().into(),
                row.count.into(),
                seconds(row.times.p50_s),
                seconds(row.times.p90_s),
                seconds(row.times.p99_s),
                seconds(row.times.max_s),
                slow(&row.slow).into(),
            ]);
        }
        text.push_str(&table.render(paint));
    }
    if !fleet.on_the_way.is_empty() {
        text.push_str("\nnot yet arrived\n");
        let mut table = Table::new(&["LAST STAGE", ">NODES", "SINCE", "WHICH"]);
        for waiting in &fleet.on_the_way {
            let which = waiting.nodes.clone();
            table.row([waiting.stage.clone().into(), waiting.count.into(), since(waiting, now).into(), which.into()]);
        }
        text.push_str(&table.render(paint));
    }
    if !fleet.unseen.is_empty() {
        text.push_str(&format!("\nno boot seen: {}\n", printable(&fleet.unseen)));
    }
    text
}

fn slow(nodes: &[Slow]) -> String {
    let shown = nodes.iter().take(SLOW_SHOWN_MAX).map(|slow| format!("{} {:.1}", slow.name, slow.took_s));
    let more = nodes.len().saturating_sub(SLOW_SHOWN_MAX);
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn since(waiting: &OnTheWay, now: UnixMs) -> String {
    let (oldest, newest) = (ago(now, waiting.since.earliest), span(now.since(waiting.since.latest)));
    match oldest == format!("{newest} ago") {
        true => oldest,
        false => format!("{newest} to {oldest}"),
    }
}
