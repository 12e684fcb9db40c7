//! `bootes set`: goals by hand, which stand before what the description says until they are taken back.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::nodes::{Nodes, counted, tell_held};
use super::output::FormatArgs;
use super::select::Selectors;
use crate::model::nodeset::NodeSetError;
use crate::model::schema::VarError;
use crate::model::{Revision, VarPath};
use crate::port::document::{Accepted, GoalsRequest};

/// The word that takes a goal back.
const TAKE_BACK: &str = "-";

/// What to ask of whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nodes, for instance n[1-3] (all that the options select when there are none), then variables and the values to
    /// ask for, as in power=off or image.hello.state=idle; VAR=- takes a value back.
    #[arg(value_name = "[NODESET] VAR=VALUE", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    selectors: Selectors,
    /// Refuse, and tell what there is, unless the nodes still have this revision (see 'bootes describe node').
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    /// Disturb nodes for this although they are busy or guarded.
    #[arg(long)]
    even_if_busy: bool,
    /// Do it only when it would still do what this plan says.
    #[arg(long, value_name = "ID")]
    approve_plan: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// One variable and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    path: VarPath,
    value: Option<String>,
}

/// Why a text is no assignment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssignmentError {
    /// There is no `=`.
    #[error("write VAR=VALUE, as in power=off, or VAR=- to take a value back")]
    NoEquals,
    /// The variable or the value is wrong.
    #[error(transparent)]
    Variable(#[from] VarError),
}

impl FromStr for Assignment {
    type Err = AssignmentError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, value) = text.split_once('=').ok_or(AssignmentError::NoEquals)?;
        let path: VarPath = path.parse()?;
        if value == TAKE_BACK {
            return Ok(Assignment { path, value: None });
        }
        Ok(Assignment { path, value: Some(value.to_owned()) })
    }
}

/// The node set, if there is one, and the assignments: a name has no `=`.
pub(super) fn words(words: &[String], selectors: &Selectors) -> Result<(Option<Nodes>, Vec<Assignment>), CliError> {
    let wrong = |word: &str, error: String| CliError::Usage(format!("'{word}': {error}"));
    let (nodes, rest) = match words.split_first() {
        Some((first, rest)) if !first.contains('=') => {
            (Some(first.parse().map_err(|error: NodeSetError| wrong(first, error.to_string()))?), rest)
        }
        _ if selectors.any() => (None, words),
        _ => return Err(CliError::Usage("name the nodes first, as in bootes set n1 power=off".to_owned())),
    };
    if rest.is_empty() {
        return Err(CliError::Usage(AssignmentError::NoEquals.to_string()));
    }
    let assignment = |word: &String| word.parse().map_err(|error: AssignmentError| wrong(word, error.to_string()));
    Ok((nodes, rest.iter().map(assignment).collect::<Result<_, _>>()?))
}

/// Values by path.
///
/// # Errors
/// When one is given twice.
pub(super) fn once_each(goals: Vec<Assignment>) -> Result<BTreeMap<String, Option<String>>, CliError> {
    let mut by_path = BTreeMap::new();
    for goal in goals {
        if by_path.insert(goal.path.to_string(), goal.value).is_some() {
            return Err(CliError::Usage(format!("{} is given twice; give it once", goal.path)));
        }
    }
    Ok(by_path)
}

/// Asks.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let (nodes, given) = words(&args.words, &args.selectors)?;
    let goals = once_each(given)?;
    let said: Vec<String> = goals
        .iter()
        .map(|(path, value)| match value {
            Some(value) => format!("asked for {path}={value}"),
            None => format!("took back {path}"),
        })
        .collect();
    let if_revision = args.if_revision.map(Revision);
    let nodes = args.selectors.with(nodes.as_ref());
    let request = GoalsRequest { nodes, goals, if_revision, even_if_busy: args.even_if_busy };
    let query = Query::default().with("approve", args.approve_plan.as_ref());
    let accepted: Accepted = shell.api.post(&query.after("/api/v1/goals"), &request).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &accepted)?,
        None => {
            shell.out.text(&format!("{}, {}\n", said.join(", "), counted(&accepted)))?;
            tell_held(&accepted);
        }
    }
    Ok(Status::Done)
}
