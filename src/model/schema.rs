//! The schema: which variables there are, what values they take, and who sets them.
//!
//! Variables come in extensions: named sets, built in, described by an operator (`[[extension]]`), or declared by a
//! module. A path may have one placeholder, as in `image.<name>.state`, and then stands for a family of variables.
//!
//! Invariants: two extensions never hold one path; what a journal or a snapshot keeps of a schema is what was added to
//! the built-in part, so that a newer program brings its own.
//! Absent on purpose: sealing secrets, which needs a key (see `power::vault`).

mod built_in;
#[cfg(test)]
mod tests;
mod types;

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use built_in::{IMAGE_VALUES, built_in, check_value, parse_goal};
pub use types::VarType;

use super::limits::{EXTENSIONS_MAX, VARIABLES_PER_EXTENSION_MAX};
use super::{Given, Name, Symbol, Value, VarPath};

/// How operators may set a variable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// They may not: it is only seen.
    #[default]
    Observed,
    /// It is a goal: the planner looks for a way to it.
    Goal,
    /// It is a setting that modules and agents read; nothing has to be done to reach it.
    Config,
}

/// While what a variable is known: when another one has none of these values any more, it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KnownWhile {
    /// The other variable.
    pub variable: VarPath,
    /// Its values.
    pub any_of: Vec<Symbol>,
}

/// One variable, or a family of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VariableSpec {
    /// Its path; one segment may be a placeholder such as `<name>`.
    pub path: String,
    /// Its type.
    #[serde(flatten)]
    pub kind: VarType,
    /// How operators may set it.
    #[serde(default)]
    pub set: Setting,
    /// Which values of an enum operators may ask for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Symbol>,
    /// The value that is wanted of a node for which nothing else says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// While what it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_while: Option<KnownWhile>,
    /// What it says, in one sentence.
    #[serde(default)]
    pub doc: String,
}

impl VariableSpec {
    /// Whether it is the variable at `path`, or that one is of its family.
    #[must_use]
    pub fn covers(&self, path: &VarPath) -> bool {
        if !self.path.contains('<') {
            return self.path == path.as_str();
        }
        let (mut pattern, mut segments) = (self.path.split('.'), path.as_str().split('.'));
        loop {
            match (pattern.next(), segments.next()) {
                (None, None) => return true,
                (Some(wanted), Some(segment)) if wanted == segment || wanted.starts_with('<') => {}
                _ => return false,
            }
        }
    }
}

/// Where an extension comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The program.
    BuiltIn,
    /// A description that an operator applied.
    #[default]
    Described,
    /// The module of this name.
    Module(Name),
}

/// A named set of variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Extension {
    /// Its name.
    pub name: Name,
    /// What it is for, in one sentence.
    #[serde(default)]
    pub doc: String,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// Its variables.
    pub variables: Vec<VariableSpec>,
}

/// Every variable that there is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    added: OrdMap<Name, Arc<Extension>>,
}

impl Schema {
    /// All extensions, the built-in ones first.
    pub fn extensions(&self) -> impl Iterator<Item = &Extension> {
        built_in().iter().chain(self.added.values().map(AsRef::as_ref))
    }

    /// The extensions that were added to the built-in ones, by name.
    #[must_use]
    pub fn added(&self) -> &OrdMap<Name, Arc<Extension>> {
        &self.added
    }

    /// The variable at `path`, with its extension.
    #[must_use]
    pub fn find(&self, path: &VarPath) -> Option<(&Extension, &VariableSpec)> {
        self.extensions().find_map(|extension| {
            extension.variables.iter().find(|spec| spec.covers(path)).map(|spec| (extension, spec))
        })
    }

    /// The variable at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn spec(&self, path: &VarPath) -> Result<&VariableSpec, VarError> {
        self.find(path).map(|(_, spec)| spec).ok_or_else(|| VarError::NoSuchVariable {
            path: path.clone(),
            known: self
                .extensions()
                .flat_map(|e| e.variables.iter().map(|v| v.path.as_str()))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Parses `text` as a value that an operator may ask of the variable at `path`.
    ///
    /// # Errors
    /// When there is no such variable, it is not for operators to set, it has no such value, or it is a secret.
    pub fn parse_goal(&self, path: &VarPath, text: &str) -> Result<Value, VarError> {
        self.take_goal(path, &Given::Text(text.to_owned()))
    }

    /// Takes `given` as a value that an operator may ask of the variable at `path`.
    ///
    /// # Errors
    /// When there is no such variable, it is not for operators to set, it has no such value, or it is a secret.
    pub fn take_goal(&self, path: &VarPath, given: &Given) -> Result<Value, VarError> {
        let spec = self.spec(path)?;
        let bad = |allowed| VarError::BadValue { path: path.clone(), value: given.to_string(), allowed };
        if spec.set == Setting::Observed {
            return Err(VarError::NotAGoal { path: path.clone() });
        }
        let value = spec.kind.take(given).map_err(bad)?;
        match value.as_symbol() {
            Some(symbol) if !spec.goals.is_empty() && !spec.goals.iter().any(|goal| goal.as_str() == symbol) => {
                Err(bad(types::words(&spec.goals)))
            }
            _ => Ok(value),
        }
    }

    /// Whether `value` is one that the variable at `path` can have.
    ///
    /// # Errors
    /// When there is no such variable or it has no such value.
    pub fn check(&self, path: &VarPath, value: &Value) -> Result<(), VarError> {
        let spec = self.spec(path)?;
        if spec.kind.allows(value) {
            return Ok(());
        }
        let value = value.to_string();
        Err(VarError::BadValue { path: path.clone(), value, allowed: spec.kind.to_string() })
    }

    /// The variables that have a default, with it.
    pub fn defaults(&self) -> impl Iterator<Item = (VarPath, &VariableSpec, &Value)> {
        self.extensions().flat_map(|e| &e.variables).filter_map(|spec| {
            let path = spec.path.parse().ok()?;
            spec.default.as_ref().map(|value| (path, spec, value))
        })
    }

    /// The added variables that are known only while another one has certain values.
    pub fn conditional(&self) -> impl Iterator<Item = (&VariableSpec, &KnownWhile)> {
        let added = self.added.values().flat_map(|extension| &extension.variables);
        added.filter_map(|spec| spec.known_while.as_ref().map(|condition| (spec, condition)))
    }

    /// Adds an extension, or replaces the one of its name and origin.
    ///
    /// # Errors
    /// When it contradicts itself or the extensions that are there.
    pub fn add(&mut self, extension: Extension) -> Result<(), ExtensionError> {
        self.check_extension(&extension)?;
        self.added.insert(extension.name.clone(), Arc::new(extension));
        Ok(())
    }

    /// Removes an added extension.
    pub fn remove(&mut self, name: &Name) {
        self.added.remove(name);
    }

    /// Whether `extension` could be added.
    ///
    /// # Errors
    /// When it contradicts itself or the extensions that are there.
    pub fn check_extension(&self, extension: &Extension) -> Result<(), ExtensionError> {
        let name = &extension.name;
        let wrong = |path: &str, problem: String| ExtensionError::Variable {
            extension: name.clone(),
            path: path.to_owned(),
            problem,
        };
        if self.added.len() >= EXTENSIONS_MAX && !self.added.contains_key(name) {
            return Err(ExtensionError::TooMany);
        }
        if extension.variables.len() > VARIABLES_PER_EXTENSION_MAX {
            return Err(wrong("", format!("an extension has at most {VARIABLES_PER_EXTENSION_MAX} variables")));
        }
        let taken = self.extensions().find(|other| other.name == *name && other.origin != extension.origin);
        if let Some(other) = taken {
            return Err(ExtensionError::NameTaken { extension: name.clone(), origin: other.origin.clone() });
        }
        for (index, spec) in extension.variables.iter().enumerate() {
            types::check_spec(spec).map_err(|problem| wrong(&spec.path, problem))?;
            let others = self.extensions().filter(|other| other.name != *name);
            let twin = others.flat_map(|other| other.variables.iter().map(move |v| (&other.name, v)));
            let before = extension.variables.iter().take(index).map(|v| (name, v));
            for (other, twin) in twin.chain(before) {
                if overlap(&twin.path, &spec.path) {
                    return Err(wrong(&spec.path, format!("extension {other} has the variable {} already", twin.path)));
                }
            }
        }
        Ok(())
    }
}

/// Whether some path is covered by both.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('.').collect(), other.split('.').collect());
    let same = |(a, b): (&&str, &&str)| a == b || a.starts_with('<') || b.starts_with('<');
    one.len() == other.len() && one.iter().zip(&other).all(same)
}

/// Why a variable or a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VarError {
    /// The text is no path.
    #[error("'{path}' is not a variable's path: use lower-case words joined by dots, as in image.hello.state")]
    BadPath {
        /// The text.
        path: String,
    },
    /// No variable has this path.
    #[error("there is no variable '{path}': known are {known}")]
    NoSuchVariable {
        /// The path.
        path: VarPath,
        /// The paths that there are.
        known: String,
    },
    /// The variable has no such value.
    #[error("'{value}' is not a value of {path}: use {allowed}")]
    BadValue {
        /// The path.
        path: VarPath,
        /// The text that was given.
        value: String,
        /// What it could be.
        allowed: String,
    },
    /// The variable is only observed, or takes its goal from elsewhere.
    #[error("{path} cannot be set by hand: it is only observed, or follows from other goals and the node's cake")]
    NotAGoal {
        /// The path.
        path: VarPath,
    },
}

/// Why an extension was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExtensionError {
    /// Another extension has its name.
    #[error("there is an extension {extension} already, {origin}; choose another name")]
    NameTaken {
        /// The name.
        extension: Name,
        /// Where the other one comes from.
        origin: Origin,
    },
    /// One of its variables is wrong.
    #[error("extension {extension}, variable '{path}': {problem}")]
    Variable {
        /// The extension.
        extension: Name,
        /// The variable's path.
        path: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// There are too many.
    #[error("there are {EXTENSIONS_MAX} extensions already; remove one first")]
    TooMany,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::Described => f.write_str("from a description"),
            Origin::Module(module) => write!(f, "of module {module}"),
        }
    }
}
