//! `bootes plan`: what applying a description would change, and whom it would disturb.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Shell;
use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::table::{Cell, Table, Tone};
use crate::config::cluster;
use crate::model::{Name, NodeSet};
use crate::plan::{ChangeKind, Note, Unnamed};
use crate::port::describe::ApplyRequest;
use crate::port::document::ApplyAnswer;

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster's description, in TOML; - reads the standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Take the description for the whole cluster, as apply --prune does.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Compares.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let request = request(&args.file, args.prune)?;
    let answer: ApplyAnswer = shell.api.post("/api/v1/plan", &request).await?.document;
    print(&answer, args.format.format, shell)?;
    if answer.changes.is_empty() {
        if args.format.format == Format::Table {
            tell("nothing would change");
        }
        return Ok(Status::Done);
    }
    Ok(Status::WouldChange)
}

/// The description in a file, as it is sent.
pub(super) fn request(file: &Path, prune: bool) -> Result<ApplyRequest, CliError> {
    let unnamed = if prune { Unnamed::Removed } else { Unnamed::Kept };
    Ok(ApplyRequest { unnamed, ..cluster::read(file)? })
}

/// Prints changes.
pub(super) fn print(answer: &ApplyAnswer, format: Format, shell: &mut Shell) -> Result<(), CliError> {
    if let Some(format) = format.structured() {
        return shell.out.document(format, answer);
    }
    if answer.changes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["CHANGE", "WHAT", "NAME", "FIELDS", "DISTURBS"]);
    for change in &answer.changes {
        let (kind, fields) = match &change.kind {
            ChangeKind::Create => (Cell::toned("create", Tone::Good), "-".to_owned()),
            ChangeKind::Update { fields } => (Cell::toned("update", Tone::Waiting), fields.join(",")),
            ChangeKind::Remove => (Cell::toned("remove", Tone::Bad), "-".to_owned()),
        };
        let disturbs = match change.disrupts.as_slice() {
            [] => Cell::from("-"),
            nodes => Cell::toned(&NodeSet::fold(nodes.iter().map(Name::as_str)), Tone::Bad),
        };
        table.row([kind, change.what.to_string().into(), change.name.clone().into(), fields.into(), disturbs]);
    }
    shell.out.table(&table)?;
    let mut noted: BTreeMap<Note, Vec<&str>> = BTreeMap::new();
    for change in &answer.changes {
        change.notes.iter().for_each(|note| noted.entry(*note).or_default().push(change.name.as_str()));
    }
    for (note, names) in noted {
        tell(&format!("{}: {note}", NodeSet::fold(names)));
    }
    Ok(())
}
