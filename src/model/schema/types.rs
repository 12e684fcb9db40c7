//! The types of variables: parsing, checking and naming their values.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Setting, VariableSpec};
use crate::model::limits::{ENUM_VALUES_MAX, TEXT_VALUE_BYTES_MAX};
use crate::model::mutation::UNKNOWN;
use crate::model::variable::parse_duration_ms;
use crate::model::{Given, Symbol, Value, VarPath};

/// What values a variable takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum VarType {
    /// One of these symbols.
    Enum {
        /// The symbols.
        values: Vec<Symbol>,
    },
    /// A whole number within bounds, both included.
    Int {
        /// The least.
        #[serde(default = "least")]
        min: i64,
        /// The greatest.
        #[serde(default = "greatest")]
        max: i64,
    },
    /// Text.
    Text,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A hardware address.
    Mac,
    /// A UUID.
    Uuid,
    /// A sha256 digest.
    Digest,
    /// A span of time.
    Duration,
    /// Values of one type, in order.
    List {
        /// The type.
        of: Box<VarType>,
    },
    /// Values of one type, by key.
    Map {
        /// The type.
        of: Box<VarType>,
    },
    /// Something that is never printed.
    Secret,
}

fn least() -> i64 {
    i64::MIN
}

fn greatest() -> i64 {
    i64::MAX
}

impl VarType {
    /// An enum of `values`.
    #[must_use]
    pub fn symbols(values: &[&str]) -> Self {
        VarType::Enum { values: values.iter().map(|value| Symbol::from(*value)).collect() }
    }

    /// The symbols of an enum, in order.
    #[must_use]
    pub fn enum_values(&self) -> Option<&[Symbol]> {
        match self {
            VarType::Enum { values } => Some(values),
            _ => None,
        }
    }

    /// Parses a value.
    ///
    /// # Errors
    /// What would be right, when it is none of this type. A secret is never parsed: it arrives sealed.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let expected = || self.to_string();
        let value = match self {
            VarType::Enum { values } => {
                values.iter().find(|value| value.as_str() == text).map(|symbol| Value::Symbol(symbol.clone()))
            }
            VarType::Int { .. } => text.parse().ok().map(Value::Int),
            VarType::Text => Some(Value::Text(text.into())),
            VarType::Ip => text.parse().ok().map(Value::Ip),
            VarType::Mac => text.parse().ok().map(Value::Mac),
            VarType::Uuid => text.parse().ok().map(Value::Uuid),
            VarType::Digest => text.parse().ok().map(Value::Digest),
            VarType::Duration => parse_duration_ms(text).map(Value::Duration),
            VarType::List { of } => {
                let parts = text.split(',').filter(|part| !part.is_empty());
                return parts.map(|part| of.parse(part.trim())).collect::<Result<_, _>>().map(Value::List);
            }
            VarType::Map { of } => {
                let parts = text.split(',').filter(|part| !part.is_empty());
                let entry = |part: &str| {
                    let (key, value) = part.split_once('=').ok_or_else(expected)?;
                    Ok((key.trim().to_owned(), of.parse(value.trim())?))
                };
                return parts.map(entry).collect::<Result<_, String>>().map(Value::Map);
            }
            VarType::Secret => None,
        };
        value.filter(|value| self.allows(value)).ok_or_else(expected)
    }

    /// Takes a value as it was given: text as [`VarType::parse`] reads it, a number, a list or a map as it is.
    ///
    /// # Errors
    /// What would be right, when it is none of this type.
    pub fn take(&self, given: &Given) -> Result<Value, String> {
        let value = match (self, given) {
            (_, Given::Text(text)) => return self.parse(text),
            (VarType::Int { .. }, Given::Int(number)) => Value::Int(*number),
            (VarType::List { of }, Given::List(items)) => {
                Value::List(items.iter().map(|item| of.take(item)).collect::<Result<_, _>>()?)
            }
            (VarType::Map { of }, Given::Map(items)) => {
                let entry = |(key, item): (&String, &Given)| Ok((key.clone(), of.take(item)?));
                Value::Map(items.iter().map(entry).collect::<Result<_, String>>()?)
            }
            _ => return Err(self.to_string()),
        };
        Some(value).filter(|value| self.allows(value)).ok_or_else(|| self.to_string())
    }

    /// Whether `value` is of this type.
    #[must_use]
    pub fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (VarType::Enum { values }, Value::Symbol(symbol)) => values.contains(symbol),
            (VarType::Int { min, max }, Value::Int(number)) => (min..=max).contains(&number),
            (VarType::Text, Value::Text(text)) => text.len() <= TEXT_VALUE_BYTES_MAX,
            (VarType::List { of }, Value::List(values)) => values.iter().all(|value| of.allows(value)),
            (VarType::Map { of }, Value::Map(values)) => values.values().all(|value| of.allows(value)),
            (VarType::Ip, Value::Ip(_))
            | (VarType::Mac, Value::Mac(_))
            | (VarType::Uuid, Value::Uuid(_))
            | (VarType::Digest, Value::Digest(_))
            | (VarType::Duration, Value::Duration(_))
            | (VarType::Secret, Value::Secret(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for VarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VarType::Enum { values } => f.write_str(&words(values)),
            VarType::Int { min: i64::MIN, max: i64::MAX } => f.write_str("a whole number"),
            VarType::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            VarType::Text => write!(f, "text of at most {TEXT_VALUE_BYTES_MAX} bytes"),
            VarType::Ip => f.write_str("an IP address"),
            VarType::Mac => f.write_str("a hardware address"),
            VarType::Uuid => f.write_str("a UUID"),
            VarType::Digest => f.write_str("a sha256 digest"),
            VarType::Duration => f.write_str("a span of time such as 1h30m, 45s or 250ms"),
            VarType::List { of } => write!(f, "a list, joined by commas, each {of}"),
            VarType::Map { of } => write!(f, "pairs KEY=VALUE, joined by commas, each value {of}"),
            VarType::Secret => f.write_str("a secret"),
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn words(values: &[Symbol]) -> String {
    match values {
        [] => String::new(),
        [one] => one.to_string(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(Symbol::as_str).collect();
            format!("{} or {last}", most.join(", "))
        }
    }
}

/// What is wrong with a declaration by itself.
pub(super) fn check_spec(spec: &VariableSpec) -> Result<(), String> {
    let placeholders = spec.path.split('.').filter(|segment| segment.starts_with('<')).count();
    let plain: String = spec.path.replace(['<', '>'], "");
    plain.parse::<VarPath>().map_err(|error| error.to_string())?;
    if placeholders > 1 || spec.path.starts_with('<') {
        return Err("a path has at most one placeholder such as <name>, and not in the first place".to_owned());
    }
    check_type(&spec.kind)?;
    if let Some(goal) = spec.goals.iter().find(|goal| !spec.kind.allows(&Value::Symbol((*goal).clone()))) {
        return Err(format!("'{goal}' is among its goals and is not one of its values"));
    }
    if spec.set == Setting::Goal && spec.kind.enum_values().is_none() {
        return Err("only an enum can be a goal; make it a setting (set = \"config\")".to_owned());
    }
    match &spec.default {
        Some(_) if placeholders > 0 => Err("a family of variables has no default".to_owned()),
        Some(_) if spec.set == Setting::Observed => Err("a variable that is only observed has no default".to_owned()),
        Some(value) if !spec.kind.allows(value) => Err(format!("its default '{value}' is not {}", spec.kind)),
        _ => Ok(()),
    }
}

fn check_type(kind: &VarType) -> Result<(), String> {
    match kind {
        VarType::Enum { values } => {
            let distinct: std::collections::BTreeSet<&Symbol> = values.iter().collect();
            let fine = |symbol: &Symbol| symbol.as_str().parse::<VarPath>().is_ok() && symbol.as_str() != UNKNOWN;
            match values.len() {
                0 => Err("an enum has at least one value".to_owned()),
                count if count > ENUM_VALUES_MAX => Err(format!("an enum has at most {ENUM_VALUES_MAX} values")),
                count if count != distinct.len() => Err("two of its values are the same".to_owned()),
                _ if !values.iter().all(fine) => {
                    Err(format!("a value is a lower-case word, and '{UNKNOWN}' is none: absent means unknown"))
                }
                _ => Ok(()),
            }
        }
        VarType::Int { min, max } if min > max => Err("its least value is above its greatest".to_owned()),
        VarType::List { of } | VarType::Map { of } => match of.as_ref() {
            VarType::List { .. } | VarType::Map { .. } | VarType::Secret => {
                Err("a list or a map holds plain values: no lists, maps or secrets".to_owned())
            }
            plain => check_type(plain),
        },
        _ => Ok(()),
    }
}
