//! Mutations as modules declare them: edges between values of finite variables, with their conditions.
//!
//! A mutation that changes [`Subject::EachImage`] stands for one edge an image. Declarations are plain data: built-in
//! modules make them in code, external ones send them, the journal keeps them.
//!
//! Absent on purpose: whether declarations make a graph (see `plan::graph`), and open variables: an image of another
//! digest appears here as the value `stale`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Symbol, VarPath};

/// The word for a value that is not known, in declarations.
pub const UNKNOWN: &str = "unknown";

/// What an edge or a condition speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One variable.
    Var(VarPath),
    /// `image.<name>.state` of the image that this instance of the mutation is about.
    EachImage,
    /// `image.<name>.state` of every image of the node: a condition on it must hold for all.
    AllImages,
}

impl Subject {
    /// `power`.
    #[must_use]
    pub fn power() -> Self {
        Subject::Var(VarPath::power())
    }

    /// `boot`.
    #[must_use]
    pub fn boot() -> Self {
        Subject::Var(VarPath::boot())
    }

    /// `run`.
    #[must_use]
    pub fn run() -> Self {
        Subject::Var(VarPath::run())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Var(path) => path.fmt(f),
            Subject::EachImage => f.pad("image.<name>.state"),
            Subject::AllImages => f.pad("every image.<name>.state"),
        }
    }
}

/// One variable's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// The variable.
    pub subject: Subject,
    /// The values from which it may start; `unknown` among them makes it an edge of discovery.
    pub from: Vec<Symbol>,
    /// The values to which it may lead: one for a mutation, several for a discovery.
    pub to: Vec<Symbol>,
}

impl Change {
    /// The change of `subject` from one of `from` to one of `to`.
    #[must_use]
    pub fn new(subject: Subject, from: &[&str], to: &[&str]) -> Self {
        Change { subject, from: symbols(from), to: symbols(to) }
    }
}

/// A condition on a variable: it has one of these values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Condition {
    /// The variable.
    pub subject: Subject,
    /// The values; `unknown` may be among them.
    pub any_of: Vec<Symbol>,
}

impl Condition {
    /// That `subject` has one of the values `any_of`.
    #[must_use]
    pub fn new(subject: Subject, any_of: &[&str]) -> Self {
        Condition { subject, any_of: symbols(any_of) }
    }
}

/// What is true of a variable when the mutation is done, besides its change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Consequence {
    /// The variable.
    pub subject: Subject,
    /// Its value, or `unknown`.
    pub becomes: Symbol,
}

impl Consequence {
    /// That `subject` is then `becomes`.
    #[must_use]
    pub fn new(subject: Subject, becomes: &str) -> Self {
        Consequence { subject, becomes: becomes.into() }
    }
}

/// Where a mutation is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// By the node itself.
    #[serde(rename = "self")]
    Node,
    /// By the node's parent.
    Parent,
    /// By both.
    All,
}

/// Whether a mutation interrupts what a node does for its users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// It does not.
    #[default]
    None,
    /// It does: guards, freezes and mass events hold it back.
    Disruptive,
}

/// Whether somebody does something for a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// The module is asked to act.
    Act,
    /// The machine does it by itself; it is only waited for.
    Await,
}

/// Whether a mutation's failures count towards quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// They do.
    Counted,
    /// They do not: trying for ever harms nothing.
    Free,
}

/// An edge of the graph, as a module declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mutation {
    /// Its name, unique in the graph.
    pub name: Arc<str>,
    /// The module that declares it and carries it out.
    pub module: Arc<str>,
    /// What it changes.
    pub changes: Vec<Change>,
    /// What must be so for it to start.
    pub requires: Vec<Condition>,
    /// What must not be so for it to start.
    pub excludes: Vec<Condition>,
    /// What else is so when it is done.
    pub consequences: Vec<Consequence>,
    /// What is believed of a variable when it has failed.
    pub fail_to: Vec<Consequence>,
    /// How long it usually takes, in milliseconds, until the journal tells better.
    pub expected_ms: u64,
    /// When it is taken for failed, in milliseconds.
    pub timeout_ms: u64,
    /// Where it is carried out.
    pub context: Context,
    /// Whether it interrupts a node's users.
    pub disruption: Disruption,
    /// Whether somebody acts for it.
    pub work: Work,
    /// Whether its failures count.
    pub budget: Budget,
}

impl Mutation {
    /// Whether it is declared once for every image.
    #[must_use]
    pub fn is_each_image(&self) -> bool {
        self.changes.iter().any(|c| c.subject == Subject::EachImage)
    }
}

/// A value of a variable that says that a node must not be disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Guard {
    /// The variable.
    pub variable: VarPath,
    /// The value that holds disruptive mutations back.
    pub value: Symbol,
    /// Why, for people.
    pub reason: Arc<str>,
}

fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| Symbol::from(*text)).collect()
}
