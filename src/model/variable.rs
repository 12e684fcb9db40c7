//! Variables: typed pieces of a node's state, named by path, and their values.
//!
//! A variable is finite (its values are symbols from a short list) or open (an address, a digest, a number).
//! Absent means unknown, everywhere: there is no value that says so.
//!
//! Absent on purpose: which variables there are (see [`super::schema`]), and how one value is reached from another
//! (see `plan::graph`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::limits::VAR_PATH_BYTES_MAX;
use super::schema::VarError;
use super::shared::shared;
use super::{Digest, Mac, Name, Sealed};

/// One value of a finite variable, for instance `on`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Symbol(Arc<str>);

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Symbol(shared(&String::deserialize(deserializer)?)))
    }
}

impl Symbol {
    /// The symbol as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Symbol {
    fn from(text: &str) -> Self {
        Symbol(shared(text))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A variable's name: segments of lower-case letters, digits, `-` and `_`, joined by dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub struct VarPath(Arc<str>);

impl VarPath {
    /// `power`: whether the machine has power.
    #[must_use]
    pub fn power() -> Self {
        static PATH: LazyLock<VarPath> = LazyLock::new(|| VarPath("power".into()));
        PATH.clone()
    }

    /// `boot`: how far the machine has come from cold iron to its agent.
    #[must_use]
    pub fn boot() -> Self {
        static PATH: LazyLock<VarPath> = LazyLock::new(|| VarPath("boot".into()));
        PATH.clone()
    }

    /// `run`: whether the node's agent is in step with its parent.
    #[must_use]
    pub fn run() -> Self {
        static PATH: LazyLock<VarPath> = LazyLock::new(|| VarPath("run".into()));
        PATH.clone()
    }

    /// `busy`: whether the node works for somebody and must not be disturbed.
    #[must_use]
    pub fn busy() -> Self {
        static PATH: LazyLock<VarPath> = LazyLock::new(|| VarPath("busy".into()));
        PATH.clone()
    }

    /// `image.<name>.state`: whether the image's container runs.
    #[must_use]
    pub fn image_state(image: &Name) -> Self {
        VarPath(shared(&format!("image.{image}.state")))
    }

    /// `image.<name>.digest`: which version of the image is meant or runs.
    #[must_use]
    pub fn image_digest(image: &Name) -> Self {
        VarPath(shared(&format!("image.{image}.digest")))
    }

    /// `boot.target`: what the machine boots.
    #[must_use]
    pub fn target() -> Self {
        static PATH: LazyLock<VarPath> = LazyLock::new(|| VarPath(super::boot::TARGET.into()));
        PATH.clone()
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
        Ok(VarPath(shared(text)))
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// A span of time, in milliseconds.
    Duration(u64),
    /// Values of one type, in order.
    List(Vec<Value>),
    /// Values of one type, by key.
    Map(BTreeMap<String, Value>),
    /// Something that is never printed.
    Secret(Sealed),
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
            Value::Duration(ms) => f.pad(&duration_text(*ms)),
            Value::List(values) => {
                let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
                f.pad(&texts.join(","))
            }
            Value::Map(values) => {
                let texts: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
                f.pad(&texts.join(","))
            }
            Value::Secret(_) => f.pad("(secret)"),
        }
    }
}

/// A span as people write it: `1h30m`, `45s`, `250ms`.
#[must_use]
pub fn duration_text(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let parts = [(ms / 3_600_000, "h"), (ms / 60_000 % 60, "m"), (ms / 1_000 % 60, "s"), (ms % 1_000, "ms")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// The milliseconds of a span such as `1h30m`, `45s` or `250ms`; nothing when the text is none. A bare number has no
/// unit and is none.
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        let unit_end = rest.get(digits..)?.find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let unit_ms = match rest.get(digits..unit_end)? {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit_ms)?)?;
        rest = rest.get(unit_end..)?;
    }
    (!text.is_empty()).then_some(total)
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
    fn spans_are_read_as_they_are_written() {
        for (text, ms) in [("1h30m", 5_400_000), ("45s", 45_000), ("250ms", 250), ("1m250ms", 60_250)] {
            assert_eq!(parse_duration_ms(text), Some(ms));
            assert_eq!(duration_text(ms), text);
        }
        for bad in ["", "5", "s", "5x", "-5s", "5 s", "99999999999999999999s"] {
            assert_eq!(parse_duration_ms(bad), None, "{bad}");
        }
    }
}
