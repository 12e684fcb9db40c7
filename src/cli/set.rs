//! `bootes set`: goals by hand, which stand before what the description says until they are taken back.

use std::collections::BTreeMap;
use std::io::Read;
use std::str::FromStr;

use thiserror::Error;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::nodes::{Nodes, counted, tell_held};
use super::output::FormatArgs;
use super::select::Selectors;
use crate::model::given::UNCHANGED_SECRET;
use crate::model::limits::API_BODY_BYTES_MAX;
use crate::model::nodeset::NodeSetError;
use crate::model::schema::VarError;
use crate::model::{Given, Revision, VarPath};
use crate::port::describe::NodeDetail;
use crate::port::document::{Accepted, GoalsRequest};

/// The word that takes a goal back.
const TAKE_BACK: &str = "-";

/// What to ask of whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nodes, for instance n[1-3] (all that the options select when there are none), then variables and the values to
    /// ask for, as in power=off or image.hello.state=idle; VAR=- takes a value back.
    #[arg(value_name = "[NODESET] VAR=VALUE", required_unless_present = "stdin")]
    words: Vec<String>,
    #[command(flatten)]
    input: Input,
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

/// A value that does not stand on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Input {
    /// Take this variable's value from the standard input, but for its last newline. For secrets: what stands on a command
    /// line can be read by everybody on the machine, and a shell keeps it.
    #[arg(long, value_name = "VAR")]
    stdin: Option<VarPath>,
}

impl Input {
    /// The value that is on the standard input, where one is.
    fn read(&self) -> Result<Option<Assignment>, CliError> {
        let Some(path) = &self.stdin else { return Ok(None) };
        let mut text = String::new();
        let max = u64::try_from(API_BODY_BYTES_MAX).unwrap_or(u64::MAX);
        std::io::stdin().lock().take(max).read_to_string(&mut text).map_err(|error| {
            CliError::Usage(format!("the value of {path} cannot be read from the standard input: {error}"))
        })?;
        let value = text.strip_suffix('\n').unwrap_or(&text);
        let value = value.strip_suffix('\r').unwrap_or(value);
        if value.is_empty() {
            return Err(CliError::Usage(format!("there is no value of {path} on the standard input; write it there")));
        }
        Ok(Some(Assignment { path: path.clone(), value: Some(value.to_owned()) }))
    }

    /// As it is written on a command line, with a space before it; empty when it is not given.
    pub(super) fn words(&self) -> String {
        self.stdin.as_ref().map_or_else(String::new, |path| format!(" --stdin {path}"))
    }
}

/// Values by variable, as the appliance tells them; nothing where one is taken back.
pub(super) type Told = BTreeMap<VarPath, Option<Given>>;

/// The words of a command line once more, for a shell: without the secrets that are in them.
pub(super) fn retold(words: &[String], told: &Told) -> String {
    let is_secret = |path: &str| {
        let value = path.parse().ok().and_then(|path: VarPath| told.get(&path)?.as_ref());
        matches!(value, Some(Given::Text(text)) if text == UNCHANGED_SECRET)
    };
    let word = |word: &String| match word.split_once('=') {
        Some((path, _)) if is_secret(path) => format!(" {path}=…"),
        Some((path, "")) => format!(" {path}="),
        Some((path, value)) => format!(" {path}={}", shell_words::quote(value)),
        None => format!(" {}", shell_words::quote(word)),
    };
    words.iter().map(word).collect()
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
pub(super) fn words(
    words: &[String],
    selectors: &Selectors,
    input: &Input,
) -> Result<(Option<Nodes>, Vec<Assignment>), CliError> {
    let wrong = |word: &str, error: String| CliError::Usage(format!("'{word}': {error}"));
    let (nodes, rest) = match words.split_first() {
        Some((first, rest)) if !first.contains('=') => {
            (Some(first.parse().map_err(|error: NodeSetError| wrong(first, error.to_string()))?), rest)
        }
        _ if selectors.any() => (None, words),
        _ => return Err(CliError::Usage("name the nodes first, as in bootes set n1 power=off".to_owned())),
    };
    if rest.is_empty() && input.stdin.is_none() {
        return Err(CliError::Usage(AssignmentError::NoEquals.to_string()));
    }
    let assignment = |word: &String| word.parse().map_err(|error: AssignmentError| wrong(word, error.to_string()));
    let mut given = rest.iter().map(assignment).collect::<Result<Vec<_>, _>>()?;
    given.extend(input.read()?);
    Ok((nodes, given))
}

/// Values by path.
///
/// # Errors
/// When one is given twice.
pub(super) fn once_each(goals: Vec<Assignment>) -> Result<BTreeMap<String, Option<Given>>, CliError> {
    let mut by_path = BTreeMap::new();
    for goal in goals {
        if by_path.insert(goal.path.to_string(), goal.value.map(Given::Text)).is_some() {
            return Err(CliError::Usage(format!("{} is given twice; give it once", goal.path)));
        }
    }
    Ok(by_path)
}

/// Asks.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let (nodes, given) = words(&args.words, &args.selectors, &args.input)?;
    let goals = once_each(given)?;
    let if_revision = args.if_revision.map(Revision);
    let nodes = args.selectors.with(nodes.as_ref());
    let request = GoalsRequest { nodes, goals, if_revision, even_if_busy: args.even_if_busy };
    let query = Query::default().with("approve", args.approve_plan.as_ref());
    let answered = shell.api.post(&query.after("/api/v1/goals"), &request).await;
    let accepted: Accepted = answered.map_err(|error| with_current(error, &request))?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &accepted)?,
        None => {
            let said = |(path, value): (&VarPath, &Option<Given>)| match value {
                Some(value) => format!("asked for {path}={value}, "),
                None => format!("took back {path}, "),
            };
            let said: String = accepted.goals.iter().map(said).collect();
            shell.out.text(&format!("{said}{}\n", counted(&accepted)))?;
            tell_held(&accepted);
        }
    }
    Ok(Status::Done)
}

/// A refusal because of an older revision, with what is wanted now of the variables that were asked for.
fn with_current(error: CliError, request: &GoalsRequest) -> CliError {
    let CliError::Stale { detail, current } = error else { return error };
    let Ok(current) = serde_json::from_value::<NodeDetail>(*current) else { return CliError::Refused { detail } };
    let wanted = |path: &String| {
        let known = current.variables.iter().find(|(known, _)| known.as_str() == path);
        match known.and_then(|(_, state)| state.desired.as_ref()) {
            Some(desired) => format!("{path}={} ({}, since {})", desired.value, desired.from, desired.at),
            None => format!("{path}=-, which nobody wants anything of"),
        }
    };
    let wanted: Vec<String> = request.goals.keys().map(wanted).collect();
    CliError::Refused { detail: format!("{detail}\nwanted of {} now: {}", current.node.name, wanted.join(", ")) }
}
