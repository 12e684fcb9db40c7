//! Identifiers and points in time that must not be mixed up with one another.
//!
//! A [`NodeId`] outlives a node's name, its network cards and its place in the rack. [`UnixMs`] is the only
//! form in which time enters the pure folders; nothing here reads a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::limits::NAME_BYTES_MAX;

/// The stable identity of one machine, a UUID that the appliance gives out when a node is first described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct NodeId(pub Uuid);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(NodeId)
    }
}

/// A name given by an operator: a node, a network, a cake or an image.
///
/// One DNS label (RFC 1123, section 2.1): 1 to 63 letters, digits and inner hyphens, kept in lower case, so that
/// a node's name can be its host name and an image's name a path segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not a name: use 1 to {NAME_BYTES_MAX} letters, digits and hyphens, beginning and ending with a letter or digit"
)]
pub struct NameError(pub String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        if bytes.len() > NAME_BYTES_MAX
            || !bytes.iter().copied().all(inner)
            || !edge(bytes.first())
            || !edge(bytes.last())
        {
            return Err(NameError(text.to_owned()));
        }
        Ok(Name(text.to_ascii_lowercase().into()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, by the appliance's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This point plus `ms` milliseconds; saturates at the end of time.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: UnixMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMs {
    /// RFC 3339 in UTC with milliseconds, for instance `2026-11-20T03:10:00.250Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, in_day_ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let seconds = in_day_ms / 1000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            in_day_ms % 1000
        )
    }
}

/// Days since 1970-01-01 to (year, month, day) of the proleptic Gregorian calendar. The year is shifted to begin in March,
/// so that the leap day is the last of its year and months follow one linear rule.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// A fact's place in the journal: 1 for the first, without gaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct FactSeq(pub u64);

/// Counts the changes of one owner's variables; a higher revision replaces a lower one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Revision(self.0 + 1)
    }
}

/// Tells one attempt at a mutation from an earlier one of the same node, so that a late answer is not taken for
/// the answer to a newer request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Generation(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_as_rfc_3339_also_on_a_leap_day() {
        assert_eq!(UnixMs(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMs(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(UnixMs(1_795_226_999_999).to_string(), "2026-11-21T02:09:59.999Z");
    }

    #[test]
    fn a_name_is_one_dns_label() {
        for good in ["n1", "login-1", "a"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert_eq!("N1".parse::<Name>().map(|n| n.to_string()), Ok("n1".into()));
    }
}
