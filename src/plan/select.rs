//! Which nodes are meant: by labels, by the values of variables, by pool. All that is asked must hold.
//!
//! A selection is text first (`rack=r1,gpu` and `run!=sync`), so that it travels, and is compiled against the schema
//! before it is used: a variable that does not exist or a value that it cannot have is refused, not silently matched by
//! nothing. The value of a variable is what was seen of it; of a setting, which nobody sees, what is wanted.
//!
//! Absent on purpose: node sets, which name nodes (see `model::nodeset`), and alternatives: there is no "or".

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::model::schema::Setting;
use crate::model::{Name, Schema, Value, VarError, VarPath, VarType};
use crate::state::Node;

/// What is asked of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelTerm {
    /// It has this value.
    Is(String, String),
    /// It has another value, or the node does not have it.
    IsNot(String, String),
    /// The node has it.
    Has(String),
    /// The node does not have it.
    HasNot(String),
}

/// What is asked of labels, as in `rack=r1,gpu,!old`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelTerms(pub Vec<LabelTerm>);

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is this one.
    Is,
    /// It is another one, or not known.
    IsNot,
    /// It is known and less.
    Less,
    /// It is known and not more.
    AtMost,
    /// It is known and more.
    More,
    /// It is known and not less.
    AtLeast,
}

/// What is asked of one variable, as in `run!=sync`, `hardware.cpus>=64`, `power` or `!power`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhereTerm {
    /// Its value compares so.
    Compare(VarPath, Comparison, String),
    /// It is known.
    Known(VarPath),
    /// It is not known.
    Unknown(VarPath),
}

/// A selection, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// The pool.
    pub pool: Option<Name>,
    /// The labels.
    pub labels: LabelTerms,
    /// The variables.
    pub wheres: Vec<WhereTerm>,
}

/// Why a selection was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectError {
    /// What is asked of a label.
    #[error("'{0}' is not a selection of labels: write rack=r1, rack!=r1, gpu or !gpu, joined by commas")]
    Label(String),
    /// What is asked of a variable.
    #[error(
        "'{0}' is not a condition: write run=sync, run!=sync, hardware.cpus>=64, power (known) or !power (unknown)"
    )]
    Where(String),
    /// The pool.
    #[error("there is no pool '{0}'; 'bootes get pools' lists those that there are")]
    Pool(String),
    /// The variable or the value.
    #[error(transparent)]
    Variable(#[from] VarError),
    /// A comparison that the variable's type has not.
    #[error("{path} is {kind}; only whole numbers and spans of time are less or more than others")]
    NoOrder {
        /// The variable.
        path: VarPath,
        /// Its type.
        kind: String,
    },
    /// A secret.
    #[error("{0} is a secret: ask only whether it is known")]
    Secret(VarPath),
}

/// A selection that can be asked.
#[derive(Debug, Clone)]
pub struct Matcher {
    pool: Option<Name>,
    labels: Vec<LabelTerm>,
    wheres: Vec<Compiled>,
}

#[derive(Debug, Clone)]
struct Compiled {
    path: VarPath,
    set: Setting,
    asked: Asked,
}

#[derive(Debug, Clone)]
enum Asked {
    Compare(Comparison, Value),
    Known,
    Unknown,
}

impl Selector {
    /// Whether it asks for nothing, and so means every node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Selector::default()
    }

    /// The selection, with every variable and value checked against `schema`.
    ///
    /// # Errors
    /// When a variable does not exist, or cannot be compared so.
    pub fn compile(&self, schema: &Schema) -> Result<Matcher, SelectError> {
        let wheres = self.wheres.iter().map(|term| compile(term, schema)).collect::<Result<_, _>>()?;
        Ok(Matcher { pool: self.pool.clone(), labels: self.labels.0.clone(), wheres })
    }
}

fn compile(term: &WhereTerm, schema: &Schema) -> Result<Compiled, SelectError> {
    let (WhereTerm::Compare(path, ..) | WhereTerm::Known(path) | WhereTerm::Unknown(path)) = term;
    let spec = schema.spec(path)?;
    let asked = match term {
        WhereTerm::Known(_) => Asked::Known,
        WhereTerm::Unknown(_) => Asked::Unknown,
        WhereTerm::Compare(_, comparison, text) => {
            let ordered = matches!(spec.kind, VarType::Int { .. } | VarType::Duration);
            match comparison {
                _ if spec.kind == VarType::Secret => return Err(SelectError::Secret(path.clone())),
                Comparison::Is | Comparison::IsNot => {}
                _ if ordered => {}
                _ => return Err(SelectError::NoOrder { path: path.clone(), kind: spec.kind.to_string() }),
            }
            let bad = |allowed| VarError::BadValue { path: path.clone(), value: text.clone(), allowed };
            Asked::Compare(*comparison, spec.kind.parse(text).map_err(bad)?)
        }
    };
    Ok(Compiled { path: path.clone(), set: spec.set, asked })
}

impl Matcher {
    /// Whether `node` is meant.
    #[must_use]
    pub fn matches(&self, node: &Node) -> bool {
        self.pool.as_ref().is_none_or(|pool| node.spec.pool.as_ref() == Some(pool))
            && self.labels.iter().all(|term| label_holds(term, node))
            && self.wheres.iter().all(|term| term.holds(node))
    }
}

fn label_holds(term: &LabelTerm, node: &Node) -> bool {
    let labels = &node.spec.labels;
    match term {
        LabelTerm::Is(key, value) => labels.get(key) == Some(value),
        LabelTerm::IsNot(key, value) => labels.get(key) != Some(value),
        LabelTerm::Has(key) => labels.contains_key(key),
        LabelTerm::HasNot(key) => !labels.contains_key(key),
    }
}

impl Compiled {
    fn holds(&self, node: &Node) -> bool {
        let wanted = || node.wants(&self.path).filter(|_| self.set == Setting::Config);
        let value = node.see(&self.path).or_else(wanted);
        match &self.asked {
            Asked::Known => value.is_some(),
            Asked::Unknown => value.is_none(),
            Asked::Compare(Comparison::Is, asked) => value == Some(asked),
            Asked::Compare(Comparison::IsNot, asked) => value != Some(asked),
            Asked::Compare(comparison, asked) => {
                value.and_then(|value| order(value, asked)).is_some_and(|order| match comparison {
                    Comparison::Less => order == Ordering::Less,
                    Comparison::AtMost => order != Ordering::Greater,
                    Comparison::More => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })
            }
        }
    }
}

/// How two values of one ordered type compare.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Duration(one), Value::Duration(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

impl FromStr for LabelTerms {
    type Err = SelectError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|term| label_term(term.trim())).collect::<Result<_, _>>().map(LabelTerms)
    }
}

fn label_term(text: &str) -> Result<LabelTerm, SelectError> {
    let wrong = || SelectError::Label(text.to_owned());
    let key = |key: &str| {
        let plain = !key.is_empty() && !key.contains(['=', '!']);
        plain.then(|| key.to_owned()).ok_or_else(wrong)
    };
    if let Some((name, value)) = text.split_once("!=") {
        return Ok(LabelTerm::IsNot(key(name)?, value.to_owned()));
    }
    if let Some((name, value)) = text.split_once('=') {
        return Ok(LabelTerm::Is(key(name)?, value.to_owned()));
    }
    match text.strip_prefix('!') {
        Some(name) => Ok(LabelTerm::HasNot(key(name)?)),
        None => Ok(LabelTerm::Has(key(text)?)),
    }
}

impl FromStr for WhereTerm {
    type Err = SelectError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix('!') {
            return Ok(WhereTerm::Unknown(path.parse()?));
        }
        let Some(at) = text.find(['=', '!', '<', '>']) else { return Ok(WhereTerm::Known(text.parse()?)) };
        let (path, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        const OPERATORS: [(&str, Comparison); 6] = [
            ("!=", Comparison::IsNot),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("=", Comparison::Is),
            ("<", Comparison::Less),
            (">", Comparison::More),
        ];
        let found = OPERATORS.iter().find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?)));
        let (comparison, value) = found.ok_or_else(|| SelectError::Where(text.to_owned()))?;
        Ok(WhereTerm::Compare(path.parse()?, comparison, value.to_owned()))
    }
}

impl fmt::Display for LabelTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.0.iter().map(|term| match term {
            LabelTerm::Is(key, value) => format!("{key}={value}"),
            LabelTerm::IsNot(key, value) => format!("{key}!={value}"),
            LabelTerm::Has(key) => key.clone(),
            LabelTerm::HasNot(key) => format!("!{key}"),
        });
        f.write_str(&texts.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for WhereTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhereTerm::Known(path) => path.fmt(f),
            WhereTerm::Unknown(path) => write!(f, "!{path}"),
            WhereTerm::Compare(path, comparison, value) => {
                let sign = match comparison {
                    Comparison::Is => "=",
                    Comparison::IsNot => "!=",
                    Comparison::Less => "<",
                    Comparison::AtMost => "<=",
                    Comparison::More => ">",
                    Comparison::AtLeast => ">=",
                };
                write!(f, "{path}{sign}{value}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
