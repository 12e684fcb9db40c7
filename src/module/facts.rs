//! From what a module says to what the appliance believes: declarations and observations, held against the rules.
//!
//! Invariants: a module is confined to its own: every variable that it declares, changes or observes, and every mutation,
//! begins with its name and a dot. Conditions may speak of every variable. What is refused is refused with a reason that
//! names it and says what would be right.
//! Absent on purpose: whether variables and mutations of different modules fit together (see `model::schema` and
//! `plan::graph`).

#[cfg(test)]
mod tests;

use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::codec::{self, ConfigType, DeclaredCondition, DeclaredMutation, DeclaredVariable, Observation, PROTOCOL};
use crate::fact::{Declaration, ModuleEvent, ModuleFact};
use crate::model::limits::{MODULE_DECLARED_MAX, MODULE_REQUESTS_AT_ONCE_MAX, MODULE_TEXT_CHARS_MAX};
use crate::model::mutation::{Budget, Change, Condition, Consequence, Context, Disruption, Subject, Work};
use crate::model::schema::KnownWhile;
use crate::model::{Guard, Mutation, Name, Symbol, Value, VarError, VarPath, VarType, VariableSpec};

/// The shortest time between two looks at one node, in milliseconds.
const DISCOVER_EVERY_MS_MIN: u64 = 1_000;
/// The shortest time after which an idle program may be ended, in milliseconds: starting costs more than waiting.
const IDLE_STOP_MS_MIN: u64 = 5_000;
/// The longest timeout of a mutation and the longest pause, in milliseconds: a day.
const PATIENCE_MS_MAX: u64 = 86_400_000;
/// The placeholder by which a condition speaks of all images of a node.
const EVERY_IMAGE: &str = "image.<name>.state";

/// Why a declaration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeclarationError {
    /// Another version of the protocol.
    #[error(
        "it speaks version {theirs} of the protocol, and this appliance speaks versions 1 to {PROTOCOL}; get a fitting version of one of the two"
    )]
    Protocol {
        /// The module's version.
        theirs: u32,
    },
    /// Too much of it.
    #[error(
        "it declares more than {MODULE_DECLARED_MAX} {what}; declare a family such as fans.<name>.rpm, or several modules"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// A name outside the module's own.
    #[error("{what} '{name}' is not the module's own; its name must begin with '{module}.'")]
    NotOwn {
        /// A variable or a mutation.
        what: &'static str,
        /// Its name.
        name: String,
        /// The module.
        module: Name,
    },
    /// A mutation or guard about a variable that the module has not declared.
    #[error("{what} speaks of '{variable}', which the module does not declare; declare it, without a placeholder")]
    NotDeclared {
        /// The mutation or guard.
        what: String,
        /// The variable.
        variable: String,
    },
    /// A text that is no path.
    #[error(transparent)]
    Path(#[from] VarError),
    /// A variable that cannot be.
    #[error("the variable '{path}': {problem}")]
    Variable {
        /// Its path.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A number out of bounds.
    #[error("{what} is {got} and must be from {min} to {max}")]
    Range {
        /// Which number.
        what: String,
        /// What it is.
        got: u64,
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A key of the module's configuration that it does not know.
    #[error("its configuration has the key '{key}', which it does not know; known are: {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// All that it knows.
        known: String,
    },
    /// A key that must be given.
    #[error("its configuration has no '{key}' ({doc}); add it as {kind}", kind = kind.words())]
    MissingKey {
        /// The key.
        key: String,
        /// What it is for.
        doc: String,
        /// What it must be.
        kind: ConfigType,
    },
    /// A key with a value of another type.
    #[error("'{key}' of its configuration must be {kind}", kind = kind.words())]
    WrongType {
        /// The key.
        key: String,
        /// What it must be.
        kind: ConfigType,
    },
}

/// A declaration that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What the rest of the appliance knows of it.
    pub declaration: Declaration,
    /// The module's own version, for people.
    pub version: String,
    /// What it is for.
    pub doc: String,
    /// How many requests it is given at once.
    pub at_once: usize,
    /// The time between two looks at one node, where it looks at all.
    pub discover_every_ms: Option<u64>,
    /// After how long without a request it may be ended.
    pub idle_stop_ms: Option<u64>,
}

impl Accepted {
    /// What is known of a module that could not be asked: what it declared before, and nothing of how it wants to be asked.
    #[must_use]
    pub fn remembered(declaration: Declaration) -> Self {
        let (version, doc) = (String::new(), String::new());
        Accepted { declaration, version, doc, at_once: 1, discover_every_ms: None, idle_stop_ms: None }
    }
}

/// Holds a declaration against the rules, and the module's configuration against the declaration.
///
/// # Errors
/// The first rule that it breaks.
pub fn accept(
    module: &Name,
    config: &Map<String, Json>,
    declared: &codec::Declaration,
) -> Result<Accepted, DeclarationError> {
    if !(1..=PROTOCOL).contains(&declared.protocol) {
        return Err(DeclarationError::Protocol { theirs: declared.protocol });
    }
    let counts = [
        ("variables", declared.variables.len()),
        ("mutations", declared.mutations.len()),
        ("guards", declared.guards.len()),
        ("configuration keys", declared.config.len()),
    ];
    if let Some((what, _)) = counts.into_iter().find(|(_, count)| *count > MODULE_DECLARED_MAX) {
        return Err(DeclarationError::TooMany { what });
    }
    check_config(config, declared)?;
    let variables: Vec<VariableSpec> =
        declared.variables.iter().map(|variable| self::variable(module, variable)).collect::<Result<_, _>>()?;
    let mutations = declared
        .mutations
        .iter()
        .map(|mutation| self::mutation(module, &variables, mutation))
        .collect::<Result<_, _>>()?;
    let guard = |guard: &codec::DeclaredGuard| {
        let path = declared_path(&variables, "a guard", &guard.variable)?;
        Ok(Guard { variable: path, value: guard.value.as_str().into(), reason: cut(&guard.reason).into() })
    };
    let guards = declared.guards.iter().map(guard).collect::<Result<_, DeclarationError>>()?;
    let at_once_max = u64::try_from(MODULE_REQUESTS_AT_ONCE_MAX).unwrap_or(u64::MAX);
    in_range("at_once", u64::try_from(declared.at_once).unwrap_or(u64::MAX), 1, at_once_max)?;
    if let Some(discover) = declared.discover {
        in_range("discover.every_ms", discover.every_ms, DISCOVER_EVERY_MS_MIN, PATIENCE_MS_MAX)?;
    }
    if let Some(idle_stop_ms) = declared.idle_stop_ms {
        in_range("idle_stop_ms", idle_stop_ms, IDLE_STOP_MS_MIN, PATIENCE_MS_MAX)?;
    }
    Ok(Accepted {
        declaration: Declaration { variables, mutations, guards },
        version: cut(&declared.version),
        doc: cut(&declared.doc),
        at_once: declared.at_once,
        discover_every_ms: declared.discover.map(|discover| discover.every_ms),
        idle_stop_ms: declared.idle_stop_ms,
    })
}

fn in_range(what: &str, got: u64, min: u64, max: u64) -> Result<(), DeclarationError> {
    match (min..=max).contains(&got) {
        true => Ok(()),
        false => Err(DeclarationError::Range { what: what.to_owned(), got, min, max }),
    }
}

fn check_config(config: &Map<String, Json>, declared: &codec::Declaration) -> Result<(), DeclarationError> {
    let known = |key: &String| declared.config.iter().any(|spec| spec.key == *key);
    if let Some(key) = config.keys().find(|key| !known(key)) {
        let mut names: Vec<&str> = declared.config.iter().map(|spec| spec.key.as_str()).collect();
        if names.is_empty() {
            names.push("none");
        }
        return Err(DeclarationError::UnknownKey { key: key.clone(), known: names.join(", ") });
    }
    for spec in &declared.config {
        let (key, kind) = (spec.key.clone(), spec.kind);
        match (config.get(&spec.key), &spec.default) {
            (Some(value), _) if !kind.takes(value) => return Err(DeclarationError::WrongType { key, kind }),
            (None, None) => return Err(DeclarationError::MissingKey { key, doc: cut(&spec.doc), kind }),
            _ => {}
        }
    }
    Ok(())
}

fn is_own(module: &Name, name: &str) -> bool {
    name.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with('.'))
}

fn own(module: &Name, what: &'static str, name: &str) -> Result<(), DeclarationError> {
    match is_own(module, name) {
        true => Ok(()),
        false => Err(DeclarationError::NotOwn { what, name: cut(name), module: module.clone() }),
    }
}

fn variable(module: &Name, declared: &DeclaredVariable) -> Result<VariableSpec, DeclarationError> {
    own(module, "the variable", &declared.path)?;
    let wrong = |problem: &str| DeclarationError::Variable { path: cut(&declared.path), problem: problem.to_owned() };
    if declared.kind == VarType::Secret {
        return Err(wrong("a module has no secrets of nodes; keep them in its own configuration"));
    }
    let default = match &declared.default {
        None => None,
        Some(json) => Some(
            value_of(&declared.kind, json).ok_or_else(|| wrong(&format!("its default is not {}", declared.kind)))?,
        ),
    };
    let known_while = match &declared.known_while {
        None => None,
        Some(condition) => {
            Some(KnownWhile { variable: condition.variable.parse()?, any_of: symbols(&condition.any_of) })
        }
    };
    Ok(VariableSpec {
        path: declared.path.clone(),
        kind: declared.kind.clone(),
        set: declared.set,
        goals: symbols(&declared.goals),
        default,
        known_while,
        doc: cut(&declared.doc),
    })
}

fn mutation(
    module: &Name,
    variables: &[VariableSpec],
    declared: &DeclaredMutation,
) -> Result<Mutation, DeclarationError> {
    own(module, "the mutation", &declared.name)?;
    // A mutation is named in paths of the API and on the command line, as variables are.
    declared.name.parse::<VarPath>()?;
    let what = format!("the mutation '{}'", declared.name);
    in_range(&format!("timeout_ms of {what}"), declared.timeout_ms, 1, PATIENCE_MS_MAX)?;
    in_range(&format!("expected_ms of {what}"), declared.expected_ms, 1, declared.timeout_ms)?;
    let change = |change: &codec::DeclaredChange| {
        let subject = Subject::Var(declared_path(variables, &what, &change.variable)?);
        Ok(Change { subject, from: symbols(&change.from), to: symbols(&change.to) })
    };
    let fail_to = |value: &codec::DeclaredValue| {
        let subject = Subject::Var(declared_path(variables, &what, &value.variable)?);
        Ok(Consequence { subject, becomes: value.value.as_str().into() })
    };
    Ok(Mutation {
        name: declared.name.as_str().into(),
        module: module.as_str().into(),
        changes: declared.changes.iter().map(change).collect::<Result<_, DeclarationError>>()?,
        requires: declared.requires.iter().map(condition).collect::<Result<_, _>>()?,
        excludes: declared.excludes.iter().map(condition).collect::<Result<_, _>>()?,
        consequences: Vec::new(),
        fail_to: declared.fail_to.iter().map(fail_to).collect::<Result<_, DeclarationError>>()?,
        expected_ms: declared.expected_ms,
        timeout_ms: declared.timeout_ms,
        context: Context::Parent,
        disruption: if declared.disruptive { Disruption::Disruptive } else { Disruption::None },
        work: Work::Act,
        // Trying again what disturbs nobody harms nothing; a node is not given up because a module is broken.
        budget: if declared.disruptive { Budget::Counted } else { Budget::Free },
    })
}

fn condition(declared: &DeclaredCondition) -> Result<Condition, DeclarationError> {
    let subject = match declared.variable.as_str() {
        EVERY_IMAGE => Subject::AllImages,
        path => Subject::Var(path.parse()?),
    };
    Ok(Condition { subject, any_of: symbols(&declared.any_of) })
}

/// The path of a variable that stands among `variables` as it is.
fn declared_path(variables: &[VariableSpec], what: &str, path: &str) -> Result<VarPath, DeclarationError> {
    match variables.iter().any(|spec| spec.path == path) && !path.contains('<') {
        true => Ok(path.parse()?),
        false => Err(DeclarationError::NotDeclared { what: what.to_owned(), variable: cut(path) }),
    }
}

fn symbols(texts: &[String]) -> Vec<Symbol> {
    texts.iter().map(|text| Symbol::from(text.as_str())).collect()
}

/// A text for people, at most [`MODULE_TEXT_CHARS_MAX`] characters of it, on one line.
#[must_use]
pub fn cut(text: &str) -> String {
    text.chars().take(MODULE_TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What an observation says, as a fact.
///
/// # Errors
/// Why it is refused.
pub fn observed(module: &Name, variables: &[VariableSpec], seen: &Observation) -> Result<ModuleFact, String> {
    let shown = cut(&seen.variable);
    if !is_own(module, &seen.variable) {
        return Err(format!("'{shown}' is not the module's own variable: its path must begin with '{module}.'"));
    }
    let path: VarPath = seen.variable.parse().map_err(|error: VarError| error.to_string())?;
    let Some(spec) = variables.iter().find(|spec| spec.covers(&path)) else {
        return Err(format!("'{shown}' was not declared; declare it, or restart the appliance when it is new"));
    };
    let value = match &seen.value {
        Json::Null => None,
        json => Some(value_of(&spec.kind, json).ok_or_else(|| format!("the value of '{shown}' is not {}", spec.kind))?),
    };
    Ok(ModuleFact { module: module.clone(), event: ModuleEvent::Observed { node: seen.node, variable: path, value } })
}

/// A value as it stands on the line: numbers are numbers, lists and maps are arrays and objects, a span of time is a
/// number of milliseconds or a text such as `90s`, everything else is text.
#[must_use]
pub fn value_of(kind: &VarType, json: &Json) -> Option<Value> {
    let value = match (kind, json) {
        (VarType::Int { .. }, Json::Number(number)) => Value::Int(number.as_i64()?),
        (VarType::Duration, Json::Number(number)) => Value::Duration(number.as_u64()?),
        (VarType::Int { .. } | VarType::List { .. } | VarType::Map { .. } | VarType::Secret, Json::String(_)) => {
            return None;
        }
        (_, Json::String(text)) => kind.parse(text).ok()?,
        (VarType::List { of }, Json::Array(items)) => {
            Value::List(items.iter().map(|item| value_of(of, item)).collect::<Option<_>>()?)
        }
        (VarType::Map { of }, Json::Object(items)) => {
            let pair = |(key, item): (&String, &Json)| Some((key.clone(), value_of(of, item)?));
            Value::Map(items.iter().map(pair).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    kind.allows(&value).then_some(value)
}

/// A value for the line; nothing for a secret.
#[must_use]
pub fn json_of(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Int(number) => Json::from(*number),
        Value::Duration(ms) => Json::from(*ms),
        Value::List(items) => Json::Array(items.iter().filter_map(json_of).collect()),
        Value::Map(items) => {
            Json::Object(items.iter().filter_map(|(key, item)| Some((key.clone(), json_of(item)?))).collect())
        }
        Value::Secret(_) => return None,
        other => Json::String(other.to_string()),
    })
}
