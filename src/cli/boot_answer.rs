//! `bootes boot-answer`: what a machine would be told to boot, and why, without a packet.

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use super::table::printable;
use crate::model::{Mac, Name};
use crate::port::boot_answer::BootAnswerDocument;

/// Which machine, and how it asks.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    #[arg(value_name = "NODE", required_unless_present = "mac", conflicts_with = "mac")]
    node: Option<Name>,
    /// The machine's hardware address, also of one that is no node.
    #[arg(long)]
    mac: Option<Mac>,
    /// The architecture that it says (option 93), as in 0, 7 or 16; several times for a list. Without one, and without the
    /// options below, the machine asks as it did last, or else as UEFI by PXE.
    #[arg(long, value_name = "NUMBER")]
    arch: Vec<u16>,
    /// It boots by HTTP, and not by PXE.
    #[arg(long)]
    http: bool,
    /// Its user class (option 77); iPXE says iPXE.
    #[arg(long, value_name = "TEXT")]
    user_class: Vec<String>,
    /// Its vendor class (option 60), whole.
    #[arg(long, value_name = "TEXT", conflicts_with = "http")]
    vendor_class: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Asks and shows. A machine that would boot nothing is exit code 1.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let mut query = Query::default()
        .with("node", args.node.as_ref())
        .with("mac", args.mac.as_ref())
        .with("vendor_class", args.vendor_class.as_ref())
        .with("http", args.http.then_some("true").as_ref());
    for arch in &args.arch {
        query = query.with("arch", Some(arch));
    }
    for class in &args.user_class {
        query = query.with("user_class", Some(class));
    }
    let document = shell.api.get::<BootAnswerDocument>("/api/v1/boot-answer", &query).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &document)?,
        None => shell.out.text(&told(&document))?,
    }
    Ok(Status::Done)
}

fn told(document: &BootAnswerDocument) -> String {
    let who = document.node.clone().unwrap_or_else(|| format!("no node, {}", document.mac));
    let mut lines = vec![format!("{who}, as {}: target {}", document.client, document.target)];
    let mut row = |title: &str, text: &str| lines.push(format!("  {title:<10}{text}"));
    if document.boots {
        row("answer", &document.answer);
        row("because", &document.because);
    } else {
        row("nothing", &document.because);
    }
    for (index, step) in document.then.iter().enumerate() {
        row(if index == 0 { "then" } else { "" }, step);
    }
    if !document.arguments.is_empty() {
        row("arguments", &document.arguments.join(" "));
    }
    lines.iter().map(|line| printable(line) + "\n").collect()
}
