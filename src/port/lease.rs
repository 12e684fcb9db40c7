//! The API's documents about leases: which there are, and why a node is told what it is told.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::model::dhcp_option::name_of;
use crate::model::{ClientSigns, Mac, Name, OptionValue, UnixMs};
use crate::plan::lease::{Asking, ToldBy, told_options};
use crate::state::{MachineLease, Node, State};

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseStanding {
    /// The machine has the address.
    Active,
    /// It had it, and gets it again as long as no other machine needs it.
    Ended,
    /// A machine said that another one uses the address: nobody is given it for a while.
    Quarantined,
}

/// One address and who has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseDocument {
    /// The address.
    pub ip: Ipv4Addr,
    /// How the lease stands.
    pub standing: LeaseStanding,
    /// The node, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// The machine's hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// What asked for it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What the machine calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The switch port that it is at, as its relay tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Until when it is so, as text.
    pub until: String,
    /// Until when it is so, in milliseconds since 1970.
    pub until_ms: UnixMs,
}

impl LeaseDocument {
    /// All leases at `now`, by address.
    #[must_use]
    pub fn all(state: &State, now: UnixMs) -> Vec<Self> {
        let nodes = state.nodes.values().filter_map(|node| Self::of_node(node, now));
        let machines = state.leases.iter().map(|lease| Self::of_machine(lease, now));
        let quarantined = state.leases.quarantined().filter(|(_, until)| *until > now);
        let quarantined = quarantined.map(|(ip, until)| Self::new(ip, LeaseStanding::Quarantined, until));
        let mut all: Vec<Self> = nodes.chain(machines).chain(quarantined).collect();
        all.sort_by_key(|lease| lease.ip);
        all
    }

    fn new(ip: Ipv4Addr, standing: LeaseStanding, until: UnixMs) -> Self {
        LeaseDocument {
            ip,
            standing,
            node: None,
            mac: None,
            client: None,
            hostname: None,
            port: None,
            until: until.to_string(),
            until_ms: until,
        }
    }

    fn of_node(node: &Node, now: UnixMs) -> Option<Self> {
        let lease = node.lease.as_ref()?;
        let standing = if lease.until > now { LeaseStanding::Active } else { LeaseStanding::Ended };
        Some(LeaseDocument {
            node: Some(node.spec.name.clone()),
            mac: Some(node.other_mac.unwrap_or(node.spec.mac)),
            client: node.last.dhcp.as_ref().map(|(_, client, _)| client.to_string()),
            ..Self::new(lease.ip, standing, lease.until)
        })
    }

    fn of_machine(lease: &MachineLease, now: UnixMs) -> Self {
        let standing = if lease.has_ended(now) { LeaseStanding::Ended } else { LeaseStanding::Active };
        let told = &lease.told;
        let port: Vec<String> =
            [&told.remote_id, &told.circuit_id].into_iter().flatten().map(ToString::to_string).collect();
        LeaseDocument {
            mac: Some(lease.mac),
            client: Some(lease.client.to_string()),
            hostname: told.hostname.as_ref().map(ToString::to_string),
            port: (!port.is_empty()).then(|| port.join(" ")),
            ..Self::new(lease.ip, standing, lease.until)
        }
    }
}

/// A lease to be ended, or an address to be given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseLeaseRequest {
    /// The address.
    pub ip: Ipv4Addr,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReleaseLeaseAnswer {
    /// The address.
    pub ip: Ipv4Addr,
    /// Whether there was a lease or a quarantine.
    pub released: bool,
}

/// What a node is told with its address, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseExplained {
    /// The node.
    pub node: Name,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its network.
    pub network: Name,
    /// The classes of the network that such a client is of.
    pub classes: Vec<Name>,
    /// How long its lease is when it does not ask for a time, in seconds.
    pub lease_s: u32,
    /// The options.
    pub options: Vec<OptionExplained>,
}

/// One option, and who says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OptionExplained {
    /// Its number.
    pub code: u8,
    /// Its name, or its number.
    pub name: String,
    /// Its value.
    pub value: OptionValue,
    /// Who says it, for people.
    pub from: String,
    /// Who says it.
    pub source: ToldBy,
    /// Who else says something of it that does not stand, the nearest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead_of: Vec<ToldBy>,
}

impl LeaseExplained {
    /// What `node` is told when it asks with these signs; nothing when its network is not described.
    #[must_use]
    pub fn new(state: &State, node: &Node, signs: ClientSigns<'_>) -> Option<Self> {
        let network = state.network_of(node)?;
        let asking = Asking { network, node: Some(&node.spec), ip: node.spec.ip, signs };
        let explained = told_options(state, &asking).into_iter().map(|(code, option)| OptionExplained {
            code,
            name: name_of(code),
            value: option.value,
            from: option.by.to_string(),
            source: option.by,
            instead_of: option.instead_of,
        });
        Some(LeaseExplained {
            node: node.spec.name.clone(),
            ip: node.spec.ip,
            network: network.name.clone(),
            classes: network.classes.iter().filter(|c| c.matches(&signs)).map(|c| c.name.clone()).collect(),
            lease_s: asking.lease_s(None),
            options: explained.collect(),
        })
    }
}
