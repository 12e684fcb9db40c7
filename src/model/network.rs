//! The networks that machines boot from: their addresses, and what is told to machines there.
//!
//! Invariants: what a [`NetworkSpec`] names in it lies in its subnet once
//! [`NetworkSpec::check`] has passed it, and so may be taken for granted where it is used.
//!
//! Absent on purpose: which address a machine gets (`boot::dhcp`), and what was given (`state::lease`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::limits::{ADDRESSES_PER_RANGE_MAX, RANGES_PER_NETWORK_MAX};
use super::{ClassSpec, DhcpOptions, Name, NetworkIpv6, Prefix, StaticRoute};

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
    /// The shortest lease that a client may ask for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_min_s: Option<u32>,
    /// The longest lease that a client may ask for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_max_s: Option<u32>,
    /// The domain of machines' names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Time servers told to machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ntp: Vec<Ipv4Addr>,
    /// The longest packet on the link, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Routes told to machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<StaticRoute>,
    /// Whether a client is told that its address is wrong.
    #[serde(default, skip_serializing_if = "Authority::is_full")]
    pub authority: Authority,
    /// Relays whose own address is not in the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<Ipv4Addr>,
    /// What its machines are told besides.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
    /// Classes of its clients, in the order of their weight: a later one stands before an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassSpec>,
    /// Addresses that are given to machines as they come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<AddressRange>,
    /// IPv6 on it, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Box<NetworkIpv6>>,
}

/// How long a lease is valid where nobody says, in seconds.
pub const LEASE_DEFAULT_S: u32 = 3_600;

impl NetworkSpec {
    /// A network of which nothing else is said.
    #[must_use]
    pub fn new(name: Name, subnet: Prefix) -> Self {
        NetworkSpec {
            name,
            subnet,
            router: None,
            dns: Vec::new(),
            lease_s: LEASE_DEFAULT_S,
            lease_min_s: None,
            lease_max_s: None,
            domain: None,
            ntp: Vec::new(),
            mtu: None,
            routes: Vec::new(),
            authority: Authority::default(),
            relays: Vec::new(),
            options: DhcpOptions::default(),
            classes: Vec::new(),
            ranges: Vec::new(),
            ipv6: None,
        }
    }

    /// The ranges for machines of a kind.
    pub fn ranges_for(&self, wanted: RangeUse) -> impl Iterator<Item = &AddressRange> {
        self.ranges.iter().filter(move |range| range.serves == wanted)
    }

    /// The range that an address is in.
    #[must_use]
    pub fn range_of(&self, address: Ipv4Addr) -> Option<&AddressRange> {
        self.ranges.iter().find(|range| range.contains(address))
    }

    /// Whether what it names lies in it, and its ranges are apart from each other.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self) -> Result<(), NetworkError> {
        if self.ranges.len() > RANGES_PER_NETWORK_MAX {
            return Err(NetworkError::TooManyRanges { network: self.name.clone(), ranges: self.ranges.len() });
        }
        for (at, range) in self.ranges.iter().enumerate() {
            self.check_range(range)?;
            if let Some(other) = self.ranges.iter().take(at).find(|other| other.overlaps(range)) {
                let (network, first, second) = (self.name.clone(), other.to_string(), range.to_string());
                return Err(NetworkError::Overlap { network, first, second });
            }
        }
        self.check_more()
    }

    /// The class of this name.
    #[must_use]
    pub fn class(&self, name: &Name) -> Option<&ClassSpec> {
        self.classes.iter().find(|class| class.name == *name)
    }

    /// How long a lease is given to a client that asks for `asked_s`, in seconds, where `usual_s` is given to one that does not
    /// ask.
    #[must_use]
    pub fn lease_of(&self, asked_s: Option<u32>, usual_s: u32) -> u32 {
        let most = self.lease_max_s.unwrap_or(usual_s).max(1);
        let least = self.lease_min_s.unwrap_or(LEASE_MIN_S).min(most);
        asked_s.map_or(usual_s.min(most), |asked| asked.clamp(least, most))
    }

    fn check_more(&self) -> Result<(), NetworkError> {
        let network = || self.name.clone();
        let (least, most) = (self.lease_min_s.unwrap_or(0), self.lease_max_s.unwrap_or(u32::MAX));
        if !(least..=most).contains(&self.lease_s) {
            return Err(NetworkError::LeaseTimes { network: network() });
        }
        for (at, class) in self.classes.iter().enumerate() {
            if !class.asks_for_something() {
                return Err(NetworkError::AsksNothing { network: network(), class: class.name.clone() });
            }
            if self.classes.iter().take(at).any(|other| other.name == class.name) {
                return Err(NetworkError::ClassTwice { network: network(), class: class.name.clone() });
            }
        }
        for range in &self.ranges {
            if let Some(class) = range.class.as_ref().filter(|class| self.class(class).is_none()) {
                return Err(NetworkError::NoSuchClass {
                    network: network(),
                    range: range.to_string(),
                    class: class.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_range(&self, range: &AddressRange) -> Result<(), NetworkError> {
        let (network, text) = (self.name.clone(), range.to_string());
        if !self.subnet.is_host(range.from) || !self.subnet.is_host(range.to) {
            return Err(NetworkError::OutsideSubnet { network, range: text, subnet: self.subnet });
        }
        if range.from > range.to {
            return Err(NetworkError::Backwards { network, range: text });
        }
        if range.size() > ADDRESSES_PER_RANGE_MAX {
            return Err(NetworkError::TooManyAddresses { network, range: text, addresses: range.size() });
        }
        Ok(())
    }
}

/// The shortest lease that a client may ask for where nobody says, in seconds.
pub const LEASE_MIN_S: u32 = 60;

/// Whether a client that wants a wrong address is told so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// It is: the network's addresses are the appliance's to give, and no other server's.
    #[default]
    Full,
    /// It is told nothing: another server may have given it the address.
    Shared,
}

impl Authority {
    /// Whether a client is told.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Authority::Full
    }
}

/// For which machines addresses are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RangeUse {
    /// Machines that are no node.
    #[default]
    Discovery,
    /// Nodes that are described without an address.
    Nodes,
}

impl fmt::Display for RangeUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RangeUse::Discovery => "discovery",
            RangeUse::Nodes => "nodes",
        })
    }
}

/// Addresses that are given to machines as they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AddressRange {
    /// The first address.
    pub from: Ipv4Addr,
    /// The last address.
    pub to: Ipv4Addr,
    /// Which machines they are for.
    #[serde(default, rename = "for")]
    pub serves: RangeUse,
    /// Only for clients of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Name>,
    /// Only for nodes with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How long a lease of them is valid, in seconds, where that differs from the network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_s: Option<u32>,
    /// What machines with one of them are told besides.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
}

impl AddressRange {
    /// Addresses for machines that are no node, of which nothing else is said.
    #[must_use]
    pub fn new(from: Ipv4Addr, to: Ipv4Addr) -> Self {
        AddressRange {
            from,
            to,
            serves: RangeUse::default(),
            class: None,
            labels: BTreeMap::new(),
            lease_s: None,
            options: DhcpOptions::default(),
        }
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.from..=self.to).contains(&address)
    }

    /// How many they are.
    #[must_use]
    pub fn size(&self) -> usize {
        let size = u32::from(self.to).saturating_sub(u32::from(self.from)).saturating_add(1);
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn overlaps(&self, other: &AddressRange) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

/// What cannot be in a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// A range with addresses that no machine of the network can have.
    #[error("network {network}: the range {range} is not of machines' addresses in {subnet}; correct `from` and `to`")]
    OutsideSubnet {
        /// The network.
        network: Name,
        /// The range.
        range: String,
        /// The network's addresses.
        subnet: Prefix,
    },
    /// A range whose end is before its start.
    #[error("network {network}: the range {range} ends before it starts; exchange `from` and `to`")]
    Backwards {
        /// The network.
        network: Name,
        /// The range.
        range: String,
    },
    /// Ranges with addresses in common.
    #[error("network {network}: the ranges {first} and {second} have addresses in common; set them apart")]
    Overlap {
        /// The network.
        network: Name,
        /// One range.
        first: String,
        /// The other.
        second: String,
    },
    /// A range that is too large.
    #[error(
        "network {network}: the range {range} has {addresses} addresses, a range may have {ADDRESSES_PER_RANGE_MAX}; take fewer"
    )]
    TooManyAddresses {
        /// The network.
        network: Name,
        /// The range.
        range: String,
        /// How many.
        addresses: usize,
    },
    /// A usual lease that is shorter than the shortest, or longer than the longest.
    #[error("network {network}: lease_s must be from lease_min_s to lease_max_s; correct one of them")]
    LeaseTimes {
        /// The network.
        network: Name,
    },
    /// A class that every client would be of.
    #[error("network {network}: class {class} asks for nothing; give it arch, vendor_class, user_class or mac")]
    AsksNothing {
        /// The network.
        network: Name,
        /// The class.
        class: Name,
    },
    /// A class described twice.
    #[error("network {network}: class {class} is described twice; remove one of the two")]
    ClassTwice {
        /// The network.
        network: Name,
        /// The class.
        class: Name,
    },
    /// A range for a class that there is not.
    #[error("network {network}: the range {range} is for class {class}, which the network does not have; describe it")]
    NoSuchClass {
        /// The network.
        network: Name,
        /// The range.
        range: String,
        /// The class.
        class: Name,
    },
    /// Too many ranges.
    #[error("network {network} has {ranges} ranges, it may have {RANGES_PER_NETWORK_MAX}; join some of them")]
    TooManyRanges {
        /// The network.
        network: Name,
        /// How many.
        ranges: usize,
    },
}
