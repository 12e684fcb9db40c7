//! Variables: typed pieces of a node's state, named by path, and the schema that says which there are.
//!
//! A variable is finite (its values are symbols from a short list) or open (an address, a digest, a number).
//! Absent means unknown, everywhere: there is no value that says so.
//!
//! Absent on purpose: how one value is reached from another (see `plan::graph`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::limits::VAR_PATH_BYTES_MAX;
use super::{Digest, Mac, Name};

/// One value of a finite variable, for instance `on`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The symbol as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Symbol {
    fn from(text: &str) -> Self {
        Symbol(text.into())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A variable's name: segments of lower-case letters, digits, `-` and `_`, joined by dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VarPath(Arc<str>);

impl VarPath {
    /// `power`: whether the machine has power.
    #[must_use]
    pub fn power() -> Self {
        VarPath("power".into())
    }

    /// `boot`: how far the machine has come from cold iron to its agent.
    #[must_use]
    pub fn boot() -> Self {
        VarPath("boot".into())
    }

    /// `run`: whether the node's agent is in step with its parent.
    #[must_use]
    pub fn run() -> Self {
        VarPath("run".into())
    }

    /// `image.<name>.state`: whether the image's container runs.
    #[must_use]
    pub fn image_state(image: &Name) -> Self {
        VarPath(format!("image.{image}.state").into())
    }

    /// `image.<name>.digest`: which version of the image is meant or runs.
    #[must_use]
    pub fn image_digest(image: &Name) -> Self {
        VarPath(format!("image.{image}.digest").into())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The image that an `image.<name>.<field>` path speaks of, and the field.
    #[must_use]
    pub fn as_image(&self) -> Option<(Name, &str)> {
        let (name, field) = self.0.strip_prefix("image.")?.split_once('.')?;
        Some((name.parse().ok()?, field))
    }
}

impl FromStr for VarPath {
    type Err = VarError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segment = |s: &str| {
            !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        if text.len() > VAR_PATH_BYTES_MAX || !text.split('.').all(segment) {
            return Err(VarError::BadPath { path: text.to_owned() });
        }
        Ok(VarPath(text.into()))
    }
}

impl TryFrom<String> for VarPath {
    type Error = VarError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VarPath> for String {
    fn from(path: VarPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

impl fmt::Display for VarPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A variable's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// One of a finite variable's values.
    Symbol(Symbol),
    /// A whole number.
    Int(i64),
    /// Free text.
    Text(Arc<str>),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A hardware address.
    Mac(Mac),
    /// A content digest.
    Digest(Digest),
    /// A UUID.
    Uuid(Uuid),
}

impl Value {
    /// The symbol `text`; whether a variable has such a value is for [`parse_value`] to say.
    #[must_use]
    pub fn symbol(text: &str) -> Self {
        Value::Symbol(text.into())
    }

    /// The text of a symbol, or nothing for an open value.
    #[must_use]
    pub fn as_symbol(&self) -> Option<&str> {
        match self {
            Value::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Symbol(symbol) => symbol.fmt(f),
            Value::Int(number) => number.fmt(f),
            Value::Text(text) => f.pad(text),
            Value::Ip(ip) => ip.fmt(f),
            Value::Mac(mac) => mac.fmt(f),
            Value::Digest(digest) => digest.fmt(f),
            Value::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// What values a variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these symbols.
    Finite(&'static [&'static str]),
    /// A digest.
    Digest,
}

/// `power`.
pub const POWER_VALUES: &[&str] = &["off", "on"];
/// `boot`, in the order in which a healthy boot passes through them; `stuck` is where a failed one ends.
pub const BOOT_VALUES: &[&str] = &["idle", "armed", "rom", "loader", "kernel", "agent", "stuck"];
/// `run`: `init` is an agent that has joined or left, `sync` one in step, `lost` one that did not come back.
pub const RUN_VALUES: &[&str] = &["init", "sync", "lost"];
/// `image.<name>.state`. `stale` is never stored: the planner's name for an active image of another digest.
pub const IMAGE_VALUES: &[&str] = &["idle", "active", "failed", "stale"];

/// The values of the variable at `path`, or nothing when there is no such variable.
#[must_use]
pub fn kind_of(path: &VarPath) -> Option<Kind> {
    match path.as_str() {
        "power" => Some(Kind::Finite(POWER_VALUES)),
        "boot" => Some(Kind::Finite(BOOT_VALUES)),
        "run" => Some(Kind::Finite(RUN_VALUES)),
        _ => match path.as_image()? {
            (_, "state") => Some(Kind::Finite(IMAGE_VALUES)),
            (_, "digest") => Some(Kind::Digest),
            _ => None,
        },
    }
}

/// The values that an operator may ask of the variable at `path`; empty when only observation sets it.
#[must_use]
pub fn goals_of(path: &VarPath) -> &'static [&'static str] {
    match path.as_str() {
        "power" => POWER_VALUES,
        "run" => &["init", "sync"],
        _ => match path.as_image() {
            Some((_, "state")) => &["idle", "active"],
            _ => &[],
        },
    }
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
    #[error("there is no variable '{path}': known are power, boot, run, image.<name>.state and image.<name>.digest")]
    NoSuchVariable {
        /// The path.
        path: VarPath,
    },
    /// The variable has no such value.
    #[error("'{value}' is not a value of {path}: use one of {allowed}")]
    BadValue {
        /// The path.
        path: VarPath,
        /// The text that was given.
        value: String,
        /// What it could be.
        allowed: String,
    },
    /// The variable is only observed, or takes its goal from elsewhere.
    #[error("{path} cannot be set by hand: it follows from power, run and the node's cake")]
    NotAGoal {
        /// The path.
        path: VarPath,
    },
}

/// Parses `text` as a value that an operator may ask of the variable at `path`.
///
/// # Errors
/// When there is no such variable, it is not for operators to set, or it has no such value.
pub fn parse_goal(path: &VarPath, text: &str) -> Result<Value, VarError> {
    if kind_of(path).is_none() {
        return Err(VarError::NoSuchVariable { path: path.clone() });
    }
    let goals = goals_of(path);
    if goals.is_empty() {
        return Err(VarError::NotAGoal { path: path.clone() });
    }
    if goals.contains(&text) {
        return Ok(Value::symbol(text));
    }
    Err(VarError::BadValue { path: path.clone(), value: text.to_owned(), allowed: goals.join(", ") })
}

/// Whether `value` is one that the variable at `path` can have: the check on what agents and modules report.
///
/// # Errors
/// When there is no such variable or it has no such value.
pub fn check_value(path: &VarPath, value: &Value) -> Result<(), VarError> {
    let kind = kind_of(path).ok_or_else(|| VarError::NoSuchVariable { path: path.clone() })?;
    let (fits, allowed) = match (kind, value) {
        (Kind::Finite(values), Value::Symbol(symbol)) => (values.contains(&symbol.as_str()), values.join(", ")),
        (Kind::Finite(values), _) => (false, values.join(", ")),
        (Kind::Digest, value) => (matches!(value, Value::Digest(_)), "a sha256 digest".into()),
    };
    if fits {
        return Ok(());
    }
    Err(VarError::BadValue { path: path.clone(), value: value.to_string(), allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_with_digits_are_read_as_they_are() {
        let path: VarPath = "image.hello2.state".parse().unwrap_or_else(|e| panic!("{e}"));
        let (name, field) = path.as_image().unwrap_or_else(|| panic!("an image path"));
        assert_eq!((name.as_str(), field), ("hello2", "state"));
    }

    #[test]
    fn a_goal_must_be_one_of_the_variables_own_values() {
        let power = VarPath::power();
        assert_eq!(parse_goal(&power, "off"), Ok(Value::symbol("off")));
        assert!(matches!(parse_goal(&power, "sync"), Err(VarError::BadValue { .. })));
        assert!(matches!(parse_goal(&VarPath::boot(), "rom"), Err(VarError::NotAGoal { .. })));
    }

    #[test]
    fn a_report_of_a_value_that_a_variable_cannot_have_is_refused() {
        assert!(check_value(&VarPath::run(), &Value::Int(3)).is_err());
        assert!(check_value(&VarPath::run(), &Value::symbol("sync")).is_ok());
    }
}
