//! The mutation graph: the edges that modules declare between values of finite variables, checked as a whole, so that a
//! module with a wrong declaration is found when it is loaded, and named.
//!
//! The variables that edges speak of have places: `power`, `boot` and `run` first, then the others by path; images come
//! behind them, as many as a node has. Edges are kept in terms of places and sets of values, so that a search is quick.
//!
//! Absent on purpose: open variables. An image of another digest appears here as the value `stale`.

mod compiled;

use std::collections::BTreeSet;
use std::sync::Arc;

use thiserror::Error;

use self::compiled::compile;
pub(super) use self::compiled::{Compiled, code};
use crate::model::mutation::{Mutation, Subject, UNKNOWN};
use crate::model::schema::Schema;
use crate::model::{Symbol, VarPath};
use crate::state::State;

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
    /// No such variable, or one that is not an enum.
    #[error("module {module}, mutation {name}: {subject} is no variable with a list of values; declare it as an enum")]
    NotFinite {
        /// The module.
        module: String,
        /// The mutation.
        name: String,
        /// The variable.
        subject: Subject,
    },
    /// A value that the variable does not have.
    #[error("module {module}, mutation {name}: {subject} has no value '{value}'")]
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
    /// It changes nothing, or all images at once, or one variable twice.
    #[error(
        "module {module}, mutation {name}: a mutation changes at least one variable, each once, and images one by one"
    )]
    NoChange {
        /// The module.
        module: String,
        /// The mutation.
        name: String,
    },
    /// Its conditions can never hold together.
    #[error(
        "module {module}, mutation {name}: its conditions on {subject} contradict each other, so it could never start"
    )]
    Contradiction {
        /// The module.
        module: String,
        /// The mutation.
        name: String,
        /// The variable.
        subject: Subject,
    },
    /// A value from which no edge leads away.
    #[error(
        "no mutation leads out of {subject}={value}: a node in this state could never leave it; declare one ({} change {subject})",
        by.join(", ")
    )]
    Trap {
        /// The variable.
        subject: Subject,
        /// The value.
        value: String,
        /// The mutations that change the variable, with their modules.
        by: Vec<String>,
    },
    /// A value that may be asked for and that no edge leads to.
    #[error(
        "no mutation leads to {subject}={value}, which may be asked for; declare one, or take the value from its goals ({} change {subject})",
        by.join(", ")
    )]
    Unreachable {
        /// The variable.
        subject: Subject,
        /// The value.
        value: String,
        /// The mutations that change the variable, with their modules.
        by: Vec<String>,
    },
}

/// All mutations, checked.
#[derive(Debug, Clone)]
pub struct Graph {
    mutations: Arc<[Mutation]>,
    compiled: Arc<[Compiled]>,
    domain: Arc<Domain>,
    /// What the configuration switches off.
    off: Arc<SwitchedOff>,
}

/// Mutations and modules that are not planned with, as they are configured; they need not be there.
#[derive(Debug, Clone, Default)]
struct SwitchedOff {
    mutations: BTreeSet<String>,
    modules: BTreeSet<String>,
}

/// The finite variables of a graph, by place, and their values.
#[derive(Debug)]
pub(super) struct Domain {
    /// Variables and their values, in the order of their places.
    pub(super) variables: Vec<(VarPath, Vec<Symbol>)>,
    /// The values of an image's state.
    pub(super) image: Vec<Symbol>,
}

impl Domain {
    fn of(mutations: &[Mutation], schema: &Schema) -> Result<Self, GraphError> {
        let mut paths = vec![VarPath::power(), VarPath::boot(), VarPath::run()];
        let mut variables = Vec::new();
        let mut others: Vec<(&Mutation, VarPath)> = Vec::new();
        for mutation in mutations {
            for subject in subjects(mutation) {
                if let Subject::Var(path) = subject
                    && !paths.contains(path)
                    && !others.iter().any(|(_, other)| other == path)
                {
                    others.push((mutation, path.clone()));
                }
            }
        }
        others.sort_by(|(_, a), (_, b)| a.cmp(b));
        let values_of = |path: &VarPath| schema.find(path).and_then(|(_, spec)| spec.kind.enum_values());
        for path in paths.drain(..) {
            let values = values_of(&path).unwrap_or_default().to_vec();
            variables.push((path, values));
        }
        for (mutation, path) in others {
            let values = values_of(&path).ok_or_else(|| GraphError::NotFinite {
                module: mutation.module.to_string(),
                name: mutation.name.to_string(),
                subject: Subject::Var(path.clone()),
            })?;
            variables.push((path, values.to_vec()));
        }
        let image = crate::model::schema::IMAGE_VALUES.iter().map(|value| Symbol::from(*value)).collect();
        Ok(Domain { variables, image })
    }

    /// How many places there are before those of images.
    pub(super) fn width(&self) -> usize {
        self.variables.len()
    }

    /// The values of `subject`.
    pub(super) fn values(&self, subject: &Subject) -> &[Symbol] {
        match subject {
            Subject::Var(path) => {
                let found = self.variables.iter().find(|(known, _)| known == path);
                found.map(|(_, values)| values.as_slice()).unwrap_or_default()
            }
            Subject::EachImage | Subject::AllImages => &self.image,
        }
    }
}

fn subjects(mutation: &Mutation) -> impl Iterator<Item = &Subject> {
    let conditions = mutation.requires.iter().chain(&mutation.excludes).map(|c| &c.subject);
    let consequences = mutation.consequences.iter().chain(&mutation.fail_to).map(|c| &c.subject);
    mutation.changes.iter().map(|c| &c.subject).chain(conditions).chain(consequences)
}

impl Graph {
    /// Builds the graph over the variables of `schema`.
    ///
    /// # Errors
    /// When two mutations have one name, a declaration names a variable or a value that does not exist, changes nothing
    /// or could never start, there is a value that no mutation leaves, or a goal that none leads to.
    pub fn build(mutations: Vec<Mutation>, schema: &Schema) -> Result<Self, GraphError> {
        let domain = Domain::of(&mutations, schema)?;
        for (index, mutation) in mutations.iter().enumerate() {
            check(mutation, &domain)?;
            if let Some(first) = mutations.iter().take(index).find(|m| m.name == mutation.name) {
                return Err(GraphError::Duplicate {
                    name: mutation.name.to_string(),
                    first: first.module.to_string(),
                    second: mutation.module.to_string(),
                });
            }
        }
        check_ways(&mutations, &domain, schema)?;
        let compiled = mutations.iter().map(|mutation| compile(mutation, &domain)).collect();
        Ok(Graph { mutations: mutations.into(), compiled, domain: Arc::new(domain), off: Arc::default() })
    }

    /// This graph with what modules from outside declare. One whose declarations do not fit is left out.
    #[must_use]
    pub fn with_modules(&self, state: &State) -> Self {
        let mut graph = self.clone();
        for declared in state.control.modules.values() {
            if let Ok(wider) = graph.with(&declared.mutations, &state.schema) {
                graph = wider;
            }
        }
        graph
    }

    /// This graph with more mutations.
    ///
    /// # Errors
    /// As of [`Graph::build`].
    pub fn with(&self, mutations: &[Mutation], schema: &Schema) -> Result<Self, GraphError> {
        let wider = Graph::build(self.mutations.iter().chain(mutations).cloned().collect(), schema)?;
        Ok(Graph { off: self.off.clone(), ..wider })
    }

    /// This graph without these mutations and these modules' mutations: the planner leaves them out, and names them
    /// where there is no other way. Modules that are not there yet may be named.
    #[must_use]
    pub fn switched_off<'a>(
        self,
        mutations: impl IntoIterator<Item = &'a str>,
        modules: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let owned = |names: &mut dyn Iterator<Item = &'a str>| names.map(str::to_owned).collect();
        let off =
            SwitchedOff { mutations: owned(&mut mutations.into_iter()), modules: owned(&mut modules.into_iter()) };
        Graph { off: Arc::new(off), ..self }
    }

    /// Whether the configuration lets the mutation of this name and module be planned with.
    #[must_use]
    pub fn is_enabled(&self, mutation: &str, module: &str) -> bool {
        !self.off.mutations.contains(mutation) && !self.off.modules.contains(module)
    }

    /// Whether the configuration lets this module's mutations be planned with.
    #[must_use]
    pub fn is_module_enabled(&self, module: &str) -> bool {
        !self.off.modules.contains(module)
    }

    /// The mutations and the modules that the configuration switches off, each for itself.
    #[must_use]
    pub fn configured_off(&self) -> (&BTreeSet<String>, &BTreeSet<String>) {
        (&self.off.mutations, &self.off.modules)
    }

    /// The mutations, in the order in which they were declared.
    #[must_use]
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// The mutation of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Mutation> {
        self.mutations.iter().find(|m| m.name.as_ref() == name)
    }

    /// The finite variables that mutations speak of, with their values, in the order of their places.
    pub fn variables(&self) -> impl Iterator<Item = (&VarPath, &[Symbol])> {
        self.domain.variables.iter().map(|(path, values)| (path, values.as_slice()))
    }

    pub(super) fn domain(&self) -> &Domain {
        &self.domain
    }

    pub(super) fn compiled(&self) -> &[Compiled] {
        &self.compiled
    }
}

fn check(mutation: &Mutation, domain: &Domain) -> Result<(), GraphError> {
    let changes = &mutation.changes;
    let (module, name) = (mutation.module.to_string(), mutation.name.to_string());
    let twice = |index: usize, subject: &Subject| changes.iter().take(index).any(|c| c.subject == *subject);
    let wrong_change = |(index, c): (usize, &crate::model::mutation::Change)| {
        c.subject == Subject::AllImages || c.to.is_empty() || c.from.is_empty() || twice(index, &c.subject)
    };
    if changes.is_empty() || changes.iter().enumerate().any(wrong_change) {
        return Err(GraphError::NoChange { module, name });
    }
    let conditions = mutation.requires.iter().chain(&mutation.excludes);
    let named = changes
        .iter()
        .flat_map(|c| c.from.iter().map(move |v| (&c.subject, v)))
        .chain(conditions.flat_map(|c| c.any_of.iter().map(move |v| (&c.subject, v))))
        .chain(mutation.consequences.iter().chain(&mutation.fail_to).map(|c| (&c.subject, &c.becomes)));
    let has = |subject: &Subject, value: &Symbol| domain.values(subject).contains(value);
    let known = |subject: &Subject, value: &Symbol| value.as_str() == UNKNOWN || has(subject, value);
    let reached = changes.iter().flat_map(|c| c.to.iter().map(move |v| (&c.subject, v)));
    let wrong = named
        .filter(|(subject, value)| !known(subject, value))
        .chain(reached.filter(|(subject, value)| !has(subject, value)))
        .next();
    if let Some((subject, value)) = wrong {
        let (subject, value) = (subject.clone(), value.to_string());
        return Err(GraphError::NoSuchValue { module, name, subject, value });
    }
    match compiled::contradiction(mutation, domain) {
        Some(subject) => Err(GraphError::Contradiction { module, name, subject }),
        None => Ok(()),
    }
}

/// A value is left by an edge that starts from it, or by one that has another value as its consequence; it is reached by
/// an edge that leads to it.
fn check_ways(mutations: &[Mutation], domain: &Domain, schema: &Schema) -> Result<(), GraphError> {
    let variables = domain.variables.iter().map(|(path, values)| (Subject::Var(path.clone()), values));
    for (subject, values) in variables.chain([(Subject::EachImage, &domain.image)]) {
        let changed = |m: &Mutation| m.changes.iter().any(|c| c.subject == subject);
        if !mutations.iter().any(changed) && !is_core(&subject) {
            // Only a condition: whoever sees it changes it.
            continue;
        }
        let unknown = Symbol::from(UNKNOWN);
        for value in values.iter().chain([&unknown]) {
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
                let by = changers(mutations, &subject);
                return Err(GraphError::Trap { subject, value: value.to_string(), by });
            }
        }
        let Subject::Var(path) = &subject else { continue };
        let Some((_, spec)) = schema.find(path).filter(|(_, spec)| spec.set == crate::model::schema::Setting::Goal)
        else {
            continue;
        };
        let goals = if spec.goals.is_empty() { values } else { &spec.goals };
        for goal in goals {
            let reached = |m: &Mutation| {
                m.changes.iter().any(|c| c.subject == subject && c.to.contains(goal))
                    || m.consequences.iter().any(|c| c.subject == subject && c.becomes == *goal)
            };
            if !mutations.iter().any(reached) {
                let by = changers(mutations, &subject);
                return Err(GraphError::Unreachable { subject, value: goal.to_string(), by });
            }
        }
    }
    Ok(())
}

fn changers(mutations: &[Mutation], subject: &Subject) -> Vec<String> {
    let changes = |m: &&Mutation| m.changes.iter().any(|c| c.subject == *subject);
    mutations.iter().filter(changes).map(|m| format!("{} (module {})", m.name, m.module)).collect()
}

/// The variables without which no node comes up.
fn is_core(subject: &Subject) -> bool {
    [Subject::power(), Subject::boot(), Subject::run(), Subject::EachImage].contains(subject)
}
