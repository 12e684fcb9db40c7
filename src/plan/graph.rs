//! The mutation graph: the edges that modules declare between values of finite variables.
//!
//! A mutation that is declared for [`Subject::EachImage`] stands for one edge an image. The graph is checked as a
//! whole when it is built, so that a module with a wrong declaration is found at start and named.
//!
//! Absent on purpose: open variables. An image of another digest appears here as the value `stale`.

use std::sync::Arc;

use thiserror::Error;

use crate::model::variable::{BOOT_VALUES, IMAGE_VALUES, POWER_VALUES, RUN_VALUES};

/// What an edge or a condition speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// `power`.
    Power,
    /// `boot`.
    Boot,
    /// `run`.
    Run,
    /// `image.<name>.state` of the image that this instance of the mutation is about.
    EachImage,
    /// `image.<name>.state` of every image of the node: a condition on it must hold for all.
    AllImages,
}

impl Subject {
    /// The values that it can have, apart from unknown.
    #[must_use]
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Subject::Power => POWER_VALUES,
            Subject::Boot => BOOT_VALUES,
            Subject::Run => RUN_VALUES,
            Subject::EachImage | Subject::AllImages => IMAGE_VALUES,
        }
    }
}

/// The word for a value that is not known, in declarations.
pub(super) const UNKNOWN: &str = "unknown";

/// One variable's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The variable.
    pub subject: Subject,
    /// The values from which it may start; `unknown` among them makes it an edge of discovery.
    pub from: &'static [&'static str],
    /// The values to which it may lead: one for a mutation, several for a discovery.
    pub to: &'static [&'static str],
}

/// A condition on a variable: it has one of these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The variable.
    pub subject: Subject,
    /// The values; `unknown` may be among them.
    pub any_of: &'static [&'static str],
}

/// What is true of a variable when the mutation is done, besides its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence {
    /// The variable.
    pub subject: Subject,
    /// Its value, or `unknown`.
    pub becomes: &'static str,
}

/// Where a mutation is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// By the node itself.
    Node,
    /// By the node's parent.
    Parent,
}

/// Whether a mutation interrupts what a node does for its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    /// It does not.
    None,
    /// It does.
    Disruptive,
}

/// Whether somebody does something for a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The module is asked to act.
    Act,
    /// The machine does it by itself; it is only waited for.
    Await,
}

/// Whether a mutation's failures count towards quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// They do.
    Counted,
    /// They do not: trying for ever harms nothing.
    Free,
}

/// An edge of the graph, as a module declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Its name, unique in the graph.
    pub name: &'static str,
    /// The module that declares it and carries it out.
    pub module: &'static str,
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
    /// How long it usually takes, in milliseconds.
    pub expected_ms: u64,
    /// When it is taken for failed, in milliseconds.
    pub timeout_ms: u64,
    /// Where it is carried out. Declared, and not yet read by any decision.
    pub context: Context,
    /// Whether it interrupts a node's users. Declared, and not yet read by any decision.
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

/// Why a set of declarations is no graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// Two mutations of one name.
    #[error("the mutation {name} is declared twice, by {first} and by {second}; rename one")]
    Duplicate {
        /// The name.
        name: String,
        /// The module that declares it first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A value that the variable does not have.
    #[error("module {module}, mutation {name}: {subject:?} has no value '{value}'")]
    NoSuchValue {
        /// The module.
        module: String,
        /// The mutation.
        name: String,
        /// The variable.
        subject: Subject,
        /// The value.
        value: String,
    },
    /// It changes nothing, or all images at once.
    #[error("module {module}, mutation {name}: a mutation changes at least one variable, and images one by one")]
    NoChange {
        /// The module.
        module: String,
        /// The mutation.
        name: String,
    },
    /// A value from which no edge leads away.
    #[error("no mutation leads out of {subject:?}={value}: a node in this state could never leave it")]
    Trap {
        /// The variable.
        subject: Subject,
        /// The value.
        value: String,
    },
}

/// All mutations, checked.
#[derive(Debug, Clone)]
pub struct Graph {
    mutations: Arc<[Mutation]>,
}

impl Graph {
    /// Builds the graph.
    ///
    /// # Errors
    /// When two mutations have one name, a declaration names a value that does not exist or changes nothing, or
    /// there is a value that no mutation leaves.
    pub fn build(mutations: Vec<Mutation>) -> Result<Self, GraphError> {
        for (index, mutation) in mutations.iter().enumerate() {
            check(mutation)?;
            if let Some(first) = mutations.iter().take(index).find(|m| m.name == mutation.name) {
                return Err(GraphError::Duplicate {
                    name: mutation.name.into(),
                    first: first.module.into(),
                    second: mutation.module.into(),
                });
            }
        }
        check_no_trap(&mutations)?;
        Ok(Graph { mutations: mutations.into() })
    }

    /// The mutations, in the order in which they were declared.
    #[must_use]
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// The mutation of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Mutation> {
        self.mutations.iter().find(|m| m.name == name)
    }
}

fn check(mutation: &Mutation) -> Result<(), GraphError> {
    let changes = &mutation.changes;
    if changes.is_empty() || changes.iter().any(|c| c.subject == Subject::AllImages || c.to.is_empty()) {
        return Err(GraphError::NoChange { module: mutation.module.into(), name: mutation.name.into() });
    }
    let conditions = mutation.requires.iter().chain(&mutation.excludes);
    let named = changes
        .iter()
        .flat_map(|c| c.from.iter().map(move |v| (c.subject, *v)))
        .chain(conditions.flat_map(|c| c.any_of.iter().map(move |v| (c.subject, *v))))
        .chain(mutation.consequences.iter().chain(&mutation.fail_to).map(|c| (c.subject, c.becomes)));
    let known = |subject: Subject, value: &str| value == UNKNOWN || subject.values().contains(&value);
    let reached = changes.iter().flat_map(|c| c.to.iter().map(move |v| (c.subject, *v)));
    let wrong = named
        .filter(|(subject, value)| !known(*subject, value))
        .chain(reached.filter(|(subject, value)| !subject.values().contains(value)))
        .next();
    match wrong {
        None => Ok(()),
        Some((subject, value)) => Err(GraphError::NoSuchValue {
            module: mutation.module.into(),
            name: mutation.name.into(),
            subject,
            value: value.into(),
        }),
    }
}

/// A value is left by an edge that starts from it, or by one that has another value as its consequence.
fn check_no_trap(mutations: &[Mutation]) -> Result<(), GraphError> {
    for subject in [Subject::Power, Subject::Boot, Subject::Run, Subject::EachImage] {
        for value in subject.values().iter().chain(&[UNKNOWN]) {
            let left = mutations.iter().any(|m| {
                let by_change = m.changes.iter().any(|c| c.subject == subject && c.from.contains(value));
                let by_consequence = m.consequences.iter().any(|c| {
                    let same =
                        c.subject == subject || (c.subject == Subject::AllImages && subject == Subject::EachImage);
                    same && c.becomes != *value
                });
                by_change || by_consequence
            });
            if !left {
                return Err(GraphError::Trap { subject, value: (*value).into() });
            }
        }
    }
    Ok(())
}
