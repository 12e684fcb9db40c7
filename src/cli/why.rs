//! `bootes why`: the typed reasons why nodes are not at their goal, as sentences.
//!
//! One node is told in full. Of many, those that share a reason are told together (`each` tells them one by one); the
//! appliance groups them, and here is only what is printed. Ages are by the appliance's clock.

mod advice;
mod many;
mod one;

use super::Shell;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use super::select::Chosen;
use super::table::printable;
use crate::plan::{Source, WhyReport};
use crate::port::document::Items;
use crate::port::many::WhyDocument;

/// Of whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Chosen,
    /// One report a node, although there are many.
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Explains.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let query = args.nodes.query();
    let format = args.format.format.structured();
    let one_by_one = args.each || (format.is_none() && args.nodes.is_one());
    let only = match (one_by_one, format) {
        (true, _) => Some("items"),
        (false, None) => Some("together"),
        (false, Some(_)) => None,
    };
    let answer = shell.api.get::<WhyDocument>("/api/v1/why", &query.with("only", only.as_ref())).await?;
    let (document, now) = (answer.document, answer.now);
    if let Some(format) = format {
        match one_by_one {
            true => shell.out.document(format, &Items::<WhyReport> { items: document.items })?,
            false => shell.out.document(format, &document)?,
        }
        return Ok(Status::Done);
    }
    let told: Vec<String> = match one_by_one {
        true => document.items.iter().map(|report| one::tell(report, now)).collect(),
        false => document.groups.iter().map(|group| many::tell(group, now)).collect(),
    };
    shell.out.text(&told.join("\n"))?;
    Ok(Status::Done)
}

fn finish(lines: &[String]) -> String {
    lines.iter().map(|line| printable(line) + "\n").collect()
}

/// Adds texts under a title, which stands before the first of them.
fn section(lines: &mut Vec<String>, title: &str, texts: impl IntoIterator<Item = String>) {
    const TITLE_CHARS: usize = 10;
    for (index, text) in texts.into_iter().enumerate() {
        let shown = if index == 0 { title } else { "" };
        lines.push(format!("  {shown:TITLE_CHARS$}{text}"));
    }
}

/// What the last thing of a source is called.
fn noun(source: Source) -> &'static str {
    match source {
        Source::Bmc => "answer of the BMC",
        Source::Dhcp => "DHCP packet",
        Source::File => "request for a file",
        Source::Join => "refused join",
        Source::Agent => "word of the agent",
        Source::Console => "console line",
    }
}
