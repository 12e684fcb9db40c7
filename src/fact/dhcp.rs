//! DHCP exchanges: who asked, what the machine said of itself, and what it was answered.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::boot::BootClient;
use crate::model::{Identity, Mac, Name, NodeId, Octets};

/// One step of a DHCP exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DhcpFact {
    /// The client's hardware address.
    pub mac: Mac,
    /// The node that has this address, if there is one.
    pub node: Option<NodeId>,
    /// What is asking.
    #[serde(flatten)]
    pub client: BootClient,
    /// What happened.
    pub event: DhcpEvent,
    /// What the machine said of itself, and its relay of where it is.
    #[serde(default, skip_serializing_if = "told_nothing")]
    pub told: Box<Told>,
}

/// What a machine says of itself by DHCP, and its relay of where it is. Nobody vouches for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Told {
    /// The network that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Name>,
    /// Its UUID (option 97), as its vendor prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Its client identifier (option 61).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Octets>,
    /// Its vendor class (option 60).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<Octets>,
    /// Its host name (option 12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Octets>,
    /// The relay's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Ipv4Addr>,
    /// The port, as the relay names it (option 82, sub-option 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_id: Option<Octets>,
    /// The switch, as it names itself (option 82, sub-option 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<Octets>,
}

impl Told {
    /// What a node could be known by, the surest first.
    pub fn identities(&self) -> impl Iterator<Item = Identity> + use<> {
        let (circuit, remote) = (self.circuit_id.as_ref(), self.remote_id.as_ref());
        let port = Identity::port(circuit, remote);
        let (circuit, remote) = (Identity::port(circuit, None), Identity::port(None, remote));
        let uuid = self.uuid.map(Identity::uuid);
        [port, circuit, remote, uuid, self.client_id.as_ref().map(Identity::client_id)].into_iter().flatten()
    }
}

fn told_nothing(told: &Told) -> bool {
    *told == Told::default()
}

/// What happened in a DHCP exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum DhcpEvent {
    /// A DISCOVER was answered with an OFFER.
    Offered {
        /// The address.
        ip: Ipv4Addr,
        /// The boot file told with it.
        file: Option<String>,
    },
    /// A REQUEST is answered with an ACK; the lease is durable with this fact, before the ACK is sent.
    Leased {
        /// The address.
        ip: Ipv4Addr,
        /// For how long, in seconds.
        lease_s: u32,
        /// The boot file told with it.
        file: Option<String>,
    },
    /// The client says that the address is in use by another machine (RFC 2131, section 4.3.3).
    Declined {
        /// The address.
        ip: Ipv4Addr,
    },
    /// The client gave its address back.
    Released {
        /// The address.
        ip: Ipv4Addr,
    },
    /// A REQUEST was answered with a NAK.
    Refused {
        /// Why.
        reason: DhcpRefusal,
    },
    /// The packet was understood and not answered.
    Ignored {
        /// Why.
        reason: DhcpRefusal,
    },
}

/// Why a DHCP client did not get what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DhcpRefusal {
    /// No node has this hardware address.
    UnknownMachine,
    /// The node's network is not served on this interface.
    WrongNetwork {
        /// The network that the node belongs to.
        network: Name,
    },
    /// It asks for an address that is not its own.
    WrongAddress {
        /// What it asked for.
        asked: Option<Ipv4Addr>,
        /// What is its own.
        own: Ipv4Addr,
    },
    /// It chose another server's offer.
    OtherServer {
        /// That server.
        server: Ipv4Addr,
    },
    /// No boot program serves this client.
    NoLoader,
    /// It wants an address on that was not given to it here.
    NotLeased {
        /// What it asked for.
        asked: Option<Ipv4Addr>,
    },
    /// Every address for such machines is given.
    NoAddressLeft {
        /// The network.
        network: Name,
    },
    /// The lease could not be stored, so it was not given.
    NotDurable {
        /// What the journal said.
        detail: String,
    },
}

impl fmt::Display for DhcpRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DhcpRefusal::UnknownMachine => f.write_str("no node has this hardware address"),
            DhcpRefusal::WrongNetwork { network } => {
                write!(f, "its network {network} is not served on this interface")
            }
            DhcpRefusal::WrongAddress { asked: Some(asked), own } => {
                write!(f, "it asked for {asked}, its address is {own}")
            }
            DhcpRefusal::WrongAddress { asked: None, own } => {
                write!(f, "it asked for no address, its address is {own}")
            }
            DhcpRefusal::OtherServer { server } => {
                write!(f, "it took the offer of another DHCP server, {server}")
            }
            DhcpRefusal::NotLeased { asked: Some(asked) } => write!(f, "{asked} was not given to it here"),
            DhcpRefusal::NotLeased { asked: None } => f.write_str("no address was given to it here"),
            DhcpRefusal::NoAddressLeft { network } => {
                write!(f, "every address of network {network} for such machines is given; widen its range")
            }
            DhcpRefusal::NoLoader => f.write_str("no boot program serves this client"),
            DhcpRefusal::NotDurable { detail } => write!(f, "its lease could not be stored: {detail}"),
        }
    }
}

impl DhcpFact {
    pub(crate) fn sentence(&self) -> String {
        let Self { mac, client, .. } = self;
        let with = |file: &Option<String>| match file {
            Some(file) => format!(" with {file}"),
            None => String::new(),
        };
        match &self.event {
            DhcpEvent::Offered { ip, file } => format!("DHCP offered {ip}{} to {client}", with(file)),
            DhcpEvent::Leased { ip, file, .. } => format!("DHCP leased {ip}{} to {client}", with(file)),
            DhcpEvent::Declined { ip } => format!("DHCP {mac} declined {ip}: another machine uses it"),
            DhcpEvent::Released { ip } => format!("DHCP {mac} released {ip}"),
            DhcpEvent::Refused { reason } => format!("DHCP refused {mac}: {reason}"),
            DhcpEvent::Ignored { reason } => format!("DHCP ignored {mac}, {client}: {reason}"),
        }
    }
}
