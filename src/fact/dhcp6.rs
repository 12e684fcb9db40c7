//! What the DHCPv6 server saw and gave.

use std::fmt;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::BootClient;
use crate::model::{Duid, Mac, Name, NodeId};

/// One step of a DHCPv6 exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dhcp6Fact {
    /// The client's identifier; one that asks for parameters alone may have none.
    pub duid: Option<Duid>,
    /// Its hardware address, where it is known: from its relay, its link-local address or its identifier.
    pub mac: Option<Mac>,
    /// The node that it is, if it is one.
    pub node: Option<NodeId>,
    /// What is asking.
    #[serde(flatten)]
    pub client: BootClient,
    /// What happened.
    pub event: Dhcp6Event,
}

/// What happened in a DHCPv6 exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Dhcp6Event {
    /// A SOLICIT was answered with an ADVERTISE.
    Advertised {
        /// The address.
        ip: Ipv6Addr,
        /// The boot file told with it.
        #[serde(default)]
        file: Option<String>,
        /// The network, where the address is of its pool.
        #[serde(default)]
        pool: Option<Name>,
    },
    /// An address is given with a REPLY; the lease is durable with this fact, before the REPLY is sent.
    Leased {
        /// The address.
        ip: Ipv6Addr,
        /// For how long, in seconds.
        lease_s: u32,
        /// The boot file told with it.
        #[serde(default)]
        file: Option<String>,
        /// The network, where the address is of its pool.
        #[serde(default)]
        pool: Option<Name>,
    },
    /// An INFORMATION-REQUEST was answered: parameters, and no address.
    Informed {
        /// The boot file told with them.
        #[serde(default)]
        file: Option<String>,
    },
    /// The client says that the address is in use by another machine (RFC 8415, section 18.3.8).
    Declined {
        /// The address.
        ip: Ipv6Addr,
        /// The network, where the address is of its pool.
        #[serde(default)]
        pool: Option<Name>,
    },
    /// The client gave its address back.
    Released {
        /// The address.
        ip: Ipv6Addr,
        /// The network, where the address is of its pool.
        #[serde(default)]
        pool: Option<Name>,
    },
    /// The answer was that it cannot be.
    Refused {
        /// Why.
        reason: Dhcp6Refusal,
    },
    /// The packet was understood and not answered.
    Ignored {
        /// Why.
        reason: Dhcp6Refusal,
    },
}

impl Dhcp6Event {
    /// Whether, said of no node, it says that there is a machine which is none.
    #[must_use]
    pub fn is_of_a_stranger(&self) -> bool {
        match self {
            Dhcp6Event::Leased { .. } => true,
            Dhcp6Event::Ignored { reason } | Dhcp6Event::Refused { reason } => {
                matches!(reason, Dhcp6Refusal::UnknownMachine | Dhcp6Refusal::PoolEmpty { .. })
            }
            _ => false,
        }
    }
}

/// Why a DHCPv6 client did not get what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Dhcp6Refusal {
    /// No node is this machine, and the network has no pool.
    UnknownMachine,
    /// The node's network is not where it asks.
    WrongNetwork {
        /// The network that the node belongs to.
        network: Name,
    },
    /// The node has no IPv6 address, and its network no pool.
    NoAddress {
        /// The network.
        network: Name,
    },
    /// Every address of the pool is given out.
    PoolEmpty {
        /// The network.
        network: Name,
    },
    /// It has an address that is not its own.
    WrongAddress {
        /// The address that it has.
        asked: Option<Ipv6Addr>,
        /// What is its own.
        own: Option<Ipv6Addr>,
    },
    /// It chose another server's offer.
    OtherServer {
        /// That server's identifier.
        server: String,
    },
    /// No boot program serves this client.
    NoLoader,
    /// The lease could not be stored, so it was not given.
    NotDurable {
        /// What the journal said.
        detail: String,
    },
}

impl fmt::Display for Dhcp6Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dhcp6Refusal::UnknownMachine => f.write_str("no node is this machine, and there is no pool for others"),
            Dhcp6Refusal::WrongNetwork { network } => {
                write!(f, "its network {network} has no IPv6 where it asks")
            }
            Dhcp6Refusal::NoAddress { network } => {
                write!(f, "it has no IPv6 address, and its network {network} has no pool; give it one as ip6")
            }
            Dhcp6Refusal::PoolEmpty { network } => {
                write!(f, "the IPv6 pool of network {network} is empty; make it larger")
            }
            Dhcp6Refusal::WrongAddress { asked, own } => {
                let text = |ip: &Option<Ipv6Addr>| ip.map_or_else(|| "no address".to_owned(), |ip| ip.to_string());
                write!(f, "it asked for {}, and has {}", text(asked), text(own))
            }
            Dhcp6Refusal::OtherServer { server } => {
                write!(f, "it took the offer of another DHCPv6 server, {server}")
            }
            Dhcp6Refusal::NoLoader => f.write_str("no boot program serves this client"),
            Dhcp6Refusal::NotDurable { detail } => write!(f, "its lease could not be stored: {detail}"),
        }
    }
}

impl Dhcp6Fact {
    pub(crate) fn sentence(&self) -> String {
        let Self { duid, mac, client, .. } = self;
        let who = match (mac, duid) {
            (Some(mac), _) => mac.to_string(),
            (None, Some(duid)) => duid.to_string(),
            (None, None) => "a machine".to_owned(),
        };
        let with = |file: &Option<String>| match file {
            Some(file) => format!(" with {file}"),
            None => String::new(),
        };
        match &self.event {
            Dhcp6Event::Advertised { ip, file, .. } => format!("DHCPv6 offered {ip}{} to {client}", with(file)),
            Dhcp6Event::Leased { ip, file, .. } => format!("DHCPv6 leased {ip}{} to {client}", with(file)),
            Dhcp6Event::Informed { file } => format!("DHCPv6 told {client} its parameters{}", with(file)),
            Dhcp6Event::Declined { ip, .. } => format!("DHCPv6 {who} declined {ip}: another machine uses it"),
            Dhcp6Event::Released { ip, .. } => format!("DHCPv6 {who} released {ip}"),
            Dhcp6Event::Refused { reason } => format!("DHCPv6 refused {who}: {reason}"),
            Dhcp6Event::Ignored { reason } => format!("DHCPv6 ignored {who}, {client}: {reason}"),
        }
    }
}
