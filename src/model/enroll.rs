//! Rules by which machines become nodes, as the operator describes them.
//!
//! A rule is a condition, the names that it has to give, and what else is to be said of those nodes. Conditions that are not
//! given hold; those that are must all hold.
//! Invariants: names and addresses are expanded already; where there are addresses, there are as many as names, and likewise
//! for ports.
//! Deliberately absent: which machine a rule fits and which name it gets (`plan::enroll`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::{Mac, Name};

/// Whether a rule enrols by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Approve {
    /// An operator is asked: `bootes enroll`.
    #[default]
    Ask,
    /// It does.
    Automatic,
}

impl fmt::Display for Approve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Approve::Ask => "ask",
            Approve::Automatic => "automatic",
        })
    }
}

/// The beginning of a hardware address, or all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct MacPrefix(Vec<u8>);

/// Why a text is no [`MacPrefix`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not the beginning of a hardware address: write one to six octets, as in 52:54:00")]
pub struct MacPrefixError(pub String);

impl MacPrefix {
    /// Whether `mac` begins so.
    #[must_use]
    pub fn fits(&self, mac: Mac) -> bool {
        mac.0.starts_with(&self.0)
    }
}

impl FromStr for MacPrefix {
    type Err = MacPrefixError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octet = |part: &str| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten();
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let octets: Option<Vec<u8>> = text.split([':', '-']).map(|part| octet(part).filter(|_| digits(part))).collect();
        let octets =
            octets.filter(|octets| octets.len() <= 6).or_else(|| text.parse().ok().map(|mac: Mac| mac.0.into()));
        octets.map(MacPrefix).ok_or_else(|| MacPrefixError(text.to_owned()))
    }
}

impl TryFrom<String> for MacPrefix {
    type Error = MacPrefixError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacPrefix> for String {
    fn from(prefix: MacPrefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for MacPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"))
    }
}

/// Which machines a rule is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrollMatch {
    /// Those with one of these serial numbers, whatever their case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<String>,
    /// Those with one of these UUIDs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uuids: Vec<Uuid>,
    /// Those that booted from an interface whose address begins like one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<MacPrefix>,
    /// Those whose maker or model has this in its name, whatever the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Those plugged into this switch, by LLDP's system name or chassis id, or option 82's remote id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// Those plugged into one of these ports, by LLDP's port id or option 82's circuit id. Where there are as many names, the
    /// first port has the first name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Those with so many logical processors at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_min: Option<u32>,
    /// Those with so much memory at least, in MiB, of what the kernel can use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib_min: Option<u64>,
    /// Those that asked on this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Name>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrollRule {
    /// Which machines it is for.
    #[serde(default)]
    pub only: EnrollMatch,
    /// The names that it has to give: the first free one, or the one of the machine's port.
    pub names: Vec<Name>,
    /// The address that goes with each name; empty for any free one of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Ipv4Addr>,
    /// The pool of those nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// The cake that they run, unless their pool or the defaults say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether it enrols by itself.
    #[serde(default)]
    pub approve: Approve,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_hardware_address_fits_those_that_begin_so() {
        let mac: Mac = "52:54:00:b0:07:01".parse().unwrap();
        for good in ["52", "52:54:00", "52-54-00-B0", "52:54:00:b0:07:01", "525400b00701"] {
            let prefix: MacPrefix = good.parse().unwrap();
            assert!(prefix.fits(mac), "{good}");
            assert_eq!(prefix.to_string().parse::<MacPrefix>(), Ok(prefix));
        }
        assert!(!"52:55".parse::<MacPrefix>().unwrap().fits(mac));
        for bad in ["", "5", "52:5", "52:54:00:b0:07:01:02", "xx", "+5", "52:+4"] {
            assert!(bad.parse::<MacPrefix>().is_err(), "{bad}");
        }
    }
}
