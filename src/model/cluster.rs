//! The cluster as its operator describes it: nodes, pools, cakes; resolved, checked and ready to be journaled.
//!
//! Node sets are already expanded, image names already pinned to digests and passwords already sealed: what a
//! file may write shorter is the business of `config`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{DhcpOptions, Digest, Mac, Name, NodeIpv6, NodeMatch, Sealed, Symbol, Value, VarPath};

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
    /// By what else it is known.
    #[serde(default, rename = "match", skip_serializing_if = "NodeMatch::is_empty")]
    pub matching: NodeMatch,
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
    /// Its IPv6 address and identifier.
    #[serde(default, skip_serializing_if = "NodeIpv6::is_empty")]
    pub ipv6: NodeIpv6,
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
    /// DHCP options, which add to those of a wider template.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
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
