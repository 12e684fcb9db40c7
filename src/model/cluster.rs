//! The cluster as its operator describes it: networks, nodes, cakes; resolved, checked and ready to be journaled.
//!
//! Node sets are already expanded, image names already pinned to digests and passwords already sealed: what a
//! file may write shorter is the business of `config`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Digest, Mac, Name, Sealed, Symbol, Value, VarPath};

/// An IPv4 network: an address and the length of its prefix, 1 to 30 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    network: Ipv4Addr,
    bits: u8,
}

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not an IPv4 network: write its first address and prefix length, as in 10.77.0.0/24")]
pub struct PrefixError(pub String);

impl Prefix {
    /// The network's first address.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The network mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0))
    }

    /// The broadcast address, the network's last.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !u32::from(self.mask()))
    }

    /// Whether `address` lies in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.network)
    }

    /// Whether `address` can be a machine's: in the network, and neither its first nor its last.
    #[must_use]
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network && address != self.broadcast()
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, bits) = text.split_once('/')?;
            let bits = bits.parse().ok().filter(|bits| (1..=30).contains(bits))?;
            let prefix = Prefix { network: address.parse().ok()?, bits };
            let whole = u32::from(prefix.network) & u32::from(prefix.mask());
            (whole == u32::from(prefix.network)).then_some(prefix)
        };
        parse().ok_or_else(|| PrefixError(text.to_owned()))
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// A network that machines boot from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NetworkSpec {
    /// Its name.
    pub name: Name,
    /// Its addresses.
    pub subnet: Prefix,
    /// The default router told to machines, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Ipv4Addr>,
    /// Name servers told to machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Ipv4Addr>,
    /// How long a lease is valid, in seconds.
    pub lease_s: u32,
}

/// An image of a cake, pinned to one content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ImagePin {
    /// The image's name.
    pub name: Name,
    /// The digest of the image's manifest.
    pub digest: Digest,
}

/// The ordered stack of images that a node runs over layer 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CakeSpec {
    /// The cake's name.
    pub name: Name,
    /// Its images, in the order in which they are started.
    pub images: Vec<ImagePin>,
}

/// The protocol by which a BMC is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BmcDriver {
    /// IPMI 2.0 over the LAN (RMCP+).
    Ipmi,
}

impl fmt::Display for BmcDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BmcDriver::Ipmi => "ipmi",
        })
    }
}

/// How a node's power is controlled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BmcSpec {
    /// The protocol.
    pub driver: BmcDriver,
    /// The BMC's address and port.
    pub address: SocketAddr,
    /// The account's name.
    pub user: String,
    /// The account's password, encrypted.
    pub password: Sealed,
}

/// One node, as described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeSpec {
    /// The node's name, also its host name.
    pub name: Name,
    /// The network that it boots from.
    pub network: Name,
    /// The hardware address of the interface that it boots from.
    pub mac: Mac,
    /// Its fixed address.
    pub ip: Ipv4Addr,
    /// The cake that it runs; without one the node is brought to `run=sync` and runs no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    /// Its power control; without one the node's power is left to a human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcSpec>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The pool that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// Its processor architecture, where it is described: `x86_64`, `aarch64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Symbol>,
    /// What kind of machine it is, in the site's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Symbol>,
    /// The nodes that may be its parent in the tree, in order of preference; empty means the appliance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Name>,
    /// What is wanted of its variables, apart from what follows from its cake.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<VarPath, Value>,
    /// What the description says of this node alone; the rest comes from its pool and the cluster's defaults.
    #[serde(default, skip_serializing_if = "Template::is_empty")]
    pub own: Box<Template>,
}

/// What may be said of many nodes at once: by the cluster's defaults, by a pool, or by a node of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Template {
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Name>,
    /// The cake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    /// The architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Symbol>,
    /// The platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Symbol>,
    /// Parent candidates; empty says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Name>,
    /// Labels, which add to those of a wider template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Values of variables, which add to those of a wider template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<VarPath, Value>,
    /// What BMCs have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcTemplate>,
}

impl Template {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Template::default()
    }
}

/// What BMCs have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BmcTemplate {
    /// The protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<BmcDriver>,
    /// The account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The account's password, encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Sealed>,
}

/// A set of nodes that have much in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolSpec {
    /// Its name.
    pub name: Name,
    /// What its nodes have in common.
    #[serde(flatten)]
    pub template: Template,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_knows_its_mask_its_last_address_and_its_hosts() {
        let prefix: Prefix = "10.77.0.0/24".parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(prefix.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(prefix.broadcast(), Ipv4Addr::new(10, 77, 0, 255));
        assert!(prefix.is_host(Ipv4Addr::new(10, 77, 0, 9)));
        assert!(!prefix.is_host(Ipv4Addr::new(10, 77, 0, 255)));
        assert!(!prefix.contains(Ipv4Addr::new(10, 77, 1, 9)));
    }

    #[test]
    fn a_network_with_host_bits_or_an_odd_length_is_refused() {
        for bad in ["10.77.0.1/24", "10.77.0.0", "10.77.0.0/0", "10.77.0.0/31", "x/24", "10.0.0.0/99"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
