//! `bootes timeline`: the stages of each node's last boot with their seconds.

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::nodes::Nodes;
use super::output::FormatArgs;
use super::table::{Table, printable};
use crate::port::document::{Items, TimelineDocument};

/// Of whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nodes, for instance n[1-3].
    #[arg(value_name = "NODESET")]
    nodes: Nodes,
    #[command(flatten)]
    format: FormatArgs,
}

/// Shows.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let query = Query::default().with("nodes", Some(&args.nodes));
    let timelines: Items<TimelineDocument> = shell.api.get("/api/v1/timeline", &query).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &timelines)?;
        return Ok(Status::Done);
    }
    let paint = shell.out.paint();
    let text = |one: &TimelineDocument| match one.stages.is_empty() {
        true => format!(
            "{}
",
            heading(one)
        ),
        false => format!(
            "{}
{}",
            heading(one),
            table(one).render(paint)
        ),
    };
    let texts: Vec<String> = timelines.items.iter().map(text).collect();
    shell.out.text(&texts.join("\n"))?;
    Ok(Status::Done)
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
