//! `bootes plan`: what a description or values by hand would change, what nodes would do then, and whom that disturbs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgGroup;

use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::select::Selectors;
use super::set::Input;
use super::table::{Cell, Table, Tone};
use super::{Shell, set, whatif};
use crate::config::cluster;
use crate::model::{Name, NodeSet};
use crate::plan::{ChangeKind, Note, Unnamed};
use crate::port::describe::ApplyRequest;
use crate::port::document::{ApplyAnswer, GoalsRequest, PlannedGoals};

/// What to compare.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("compared").args(["file", "set", "stdin"]).required(true).multiple(true))]
pub struct Args {
    /// The cluster's description, in TOML; - reads the standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with_all = ["set", "stdin"])]
    file: Option<PathBuf>,
    /// Take the description for the whole cluster, as apply --prune does.
    #[arg(long, requires = "file")]
    prune: bool,
    /// What 'bootes set' with these words would do: nodes (all that the options select when there are none), then a
    /// variable and its value, or more of them.
    #[arg(long, num_args = 1.., value_names = ["[NODESET] VAR=VALUE"])]
    set: Vec<String>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    selectors: Selectors,
    #[command(flatten)]
    format: FormatArgs,
}

/// Compares.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let format = args.format.format;
    let Some(file) = args.file else { return by_hand(&args, shell).await };
    if args.selectors.any() {
        return Err(CliError::Usage(
            "a file says itself which nodes it is about; --pool, -l and --where go with --set".into(),
        ));
    }
    let request = request(&file, args.prune)?;
    let answer: ApplyAnswer = shell.api.post("/api/v1/plan", &request).await?.document;
    print(&answer, format, shell)?;
    if format == Format::Table
        && let Some(plan) = &answer.plan
    {
        let prune = if args.prune { " --prune" } else { "" };
        whatif::print(plan, &format!("bootes apply -f {}{prune}", shell_words::quote(&file.to_string_lossy())), shell)?;
    }
    if answer.changes.is_empty() {
        if format == Format::Table {
            tell("nothing would change");
        }
        return Ok(Status::Done);
    }
    Ok(Status::WouldChange)
}

async fn by_hand(args: &Args, shell: &mut Shell) -> Result<Status, CliError> {
    let Args { set: words, input, selectors, .. } = args;
    let format = args.format.format;
    let (nodes, given) = set::words(words, selectors, input)?;
    let request = GoalsRequest {
        nodes: selectors.with(nodes.as_ref()),
        goals: set::once_each(given)?,
        if_revision: None,
        even_if_busy: false,
    };
    let planned: PlannedGoals = shell.api.post("/api/v1/plan/goals", &request).await?.document;
    let plan = &planned.plan;
    match format.structured() {
        Some(format) => shell.out.document(format, &planned)?,
        None => {
            let words = set::retold(words, &planned.goals);
            whatif::print(plan, &format!("bootes set{}{words}{}", selectors.words(), input.words()), shell)?;
        }
    }
    if plan.classes.is_empty() {
        if format == Format::Table {
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
