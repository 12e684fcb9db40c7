//! A value as a person or a program writes it, before its variable's type is known: text, a number, a list, a map.
//!
//! Invariants: it is never shown by `Debug`, since it may be a secret on its way to be sealed.
//! Absent on purpose: what it means (see [`super::VarType::take`]).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Value;

/// What stands for a secret that is not shown; given back, it means the secret that there is.
pub const UNCHANGED_SECRET: &str = "(secret)";

/// A value without a type.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Given {
    /// A whole number.
    Int(i64),
    /// Text; most types are written so.
    Text(String),
    /// Values in order.
    List(Vec<Given>),
    /// Values by key.
    Map(BTreeMap<String, Given>),
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(given)")
    }
}

impl fmt::Display for Given {
    /// As it would be written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Int(number) => number.fmt(f),
            Given::Text(text) => f.pad(text),
            Given::List(items) => f.pad(&items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
            Given::Map(items) => {
                f.pad(&items.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl From<&Value> for Given {
    /// As it would be given again. A secret is not told.
    fn from(value: &Value) -> Self {
        match value {
            Value::Int(number) => Given::Int(*number),
            Value::List(values) => Given::List(values.iter().map(Given::from).collect()),
            Value::Map(values) => Given::Map(values.iter().map(|(key, v)| (key.clone(), Given::from(v))).collect()),
            Value::Secret(_) => Given::Text(UNCHANGED_SECRET.to_owned()),
            other => Given::Text(other.to_string()),
        }
    }
}
