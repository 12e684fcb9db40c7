//! IPv6 addresses that were given out.
//!
//! A node with a fixed address has its lease with it ([`Lease6`]); addresses of pools are kept here, by address and by who
//! has them. Invariants: one holder has one address of all pools, and one address one holder; at most
//! [`POOL_LEASES6_MAX`] are kept: what has ended is forgotten first, and when nothing has, the one that ends first.

use std::net::Ipv6Addr;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::{State, boot};
use crate::fact::{Dhcp6Event, Dhcp6Fact};
use crate::model::limits::POOL_LEASES6_MAX;
use crate::model::{Duid, Mac, Name, NodeId, UnixMs};

/// For how long an address that a machine declined is given to nobody, in milliseconds.
const DECLINED_MS: u64 = 3_600_000;

/// An address given to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease6 {
    /// The address.
    pub ip: Ipv6Addr,
    /// When it was last given.
    pub at: UnixMs,
    /// When it ends.
    pub until: UnixMs,
}

/// Who has an address of a pool: the node, or else the machine by its hardware address, or else by its identifier. So
/// firmware, loader and system of one machine, whose identifiers differ, share one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Holder6 {
    /// A node.
    Node(NodeId),
    /// A machine whose hardware address is known.
    Mac(Mac),
    /// Any other.
    Duid(Duid),
}

impl From<Holder6> for String {
    fn from(holder: Holder6) -> Self {
        match holder {
            Holder6::Node(id) => format!("node {id}"),
            Holder6::Mac(mac) => format!("mac {mac}"),
            Holder6::Duid(duid) => format!("duid {duid}"),
        }
    }
}

impl TryFrom<String> for Holder6 {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("'{text}' names no holder of an address");
        match text.split_once(' ').ok_or_else(wrong)? {
            ("node", id) => id.parse().map(Holder6::Node).map_err(|_| wrong()),
            ("mac", mac) => mac.parse().map(Holder6::Mac).map_err(|_| wrong()),
            ("duid", duid) => duid.parse().map(Holder6::Duid).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl Holder6 {
    /// Who asks in this exchange.
    #[must_use]
    pub fn of(node: Option<NodeId>, mac: Option<Mac>, duid: &Duid) -> Self {
        match (node, mac) {
            (Some(node), _) => Holder6::Node(node),
            (None, Some(mac)) => Holder6::Mac(mac),
            (None, None) => Holder6::Duid(duid.clone()),
        }
    }
}

/// An address of a pool that was given out, or that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolLease6 {
    /// Who has it; nobody when a machine said that another one uses it.
    pub holder: Option<Holder6>,
    /// The identifier by which it was asked for.
    pub duid: Duid,
    /// The hardware address, where it is known.
    pub mac: Option<Mac>,
    /// The network.
    pub network: Name,
    /// When it was last given.
    pub at: UnixMs,
    /// When it ends.
    pub until: UnixMs,
}

/// The addresses of all pools that are given out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Leases6 {
    /// By address.
    pub by_ip: OrdMap<Ipv6Addr, PoolLease6>,
    /// The address of each holder.
    pub by_holder: OrdMap<Holder6, Ipv6Addr>,
}

impl Leases6 {
    /// The node that was given this address.
    #[must_use]
    pub fn node_at(&self, ip: Ipv6Addr) -> Option<&NodeId> {
        match &self.by_ip.get(&ip)?.holder {
            Some(Holder6::Node(id)) => Some(id),
            _ => None,
        }
    }

    /// The address that `holder` has or had last.
    #[must_use]
    pub fn of(&self, holder: &Holder6) -> Option<Ipv6Addr> {
        self.by_holder.get(holder).copied()
    }

    /// Whether `holder` may be given `ip` at `now`.
    #[must_use]
    pub fn is_free_for(&self, ip: Ipv6Addr, holder: &Holder6, now: UnixMs) -> bool {
        self.by_ip.get(&ip).is_none_or(|lease| lease.holder.as_ref() == Some(holder) || lease.until <= now)
    }

    fn give(&mut self, ip: Ipv6Addr, lease: PoolLease6) {
        self.take_back(ip);
        if let Some(old) = lease.holder.as_ref().and_then(|holder| self.of(holder)) {
            self.take_back(old);
        }
        if self.by_ip.len() >= POOL_LEASES6_MAX {
            self.forget_some(lease.at);
        }
        if let Some(holder) = &lease.holder {
            self.by_holder.insert(holder.clone(), ip);
        }
        self.by_ip.insert(ip, lease);
    }

    /// Firmware gives its address back before the loader that it fetched asks for one: it is free from now on, and still the
    /// holder's until somebody else gets it.
    fn end(&mut self, ip: Ipv6Addr, at: UnixMs) {
        if let Some(lease) = self.by_ip.get_mut(&ip) {
            lease.until = at;
        }
    }

    fn take_back(&mut self, ip: Ipv6Addr) {
        if let Some(holder) = self.by_ip.remove(&ip).and_then(|lease| lease.holder) {
            self.by_holder.remove(&holder);
        }
    }

    fn forget_some(&mut self, now: UnixMs) {
        let ended = self.by_ip.iter().filter(|(_, lease)| lease.until <= now);
        let mut gone: Vec<Ipv6Addr> = ended.map(|(ip, _)| *ip).collect();
        if gone.is_empty() {
            gone.extend(self.by_ip.iter().min_by_key(|(_, lease)| lease.until).map(|(ip, _)| *ip));
        }
        gone.into_iter().for_each(|ip| self.take_back(ip));
    }
}

impl State {
    pub(super) fn dhcp6(&mut self, at: UnixMs, fact: &Dhcp6Fact) {
        let holder = fact.duid.as_ref().map(|duid| Holder6::of(fact.node, fact.mac, duid));
        let lease = |holder, network: &Name, duid: &Duid, ms| PoolLease6 {
            holder,
            duid: duid.clone(),
            mac: fact.mac,
            network: network.clone(),
            at,
            until: at.plus(ms),
        };
        match (&fact.event, &fact.duid) {
            (Dhcp6Event::Leased { ip, lease_s, pool: Some(network), .. }, Some(duid)) => {
                self.leases6.give(*ip, lease(holder, network, duid, u64::from(*lease_s) * 1_000));
            }
            (Dhcp6Event::Declined { ip, pool: Some(network) }, Some(duid)) => {
                self.leases6.give(*ip, lease(None, network, duid, DECLINED_MS));
            }
            (Dhcp6Event::Released { ip, pool: Some(_) }, _) => self.leases6.end(*ip, at),
            _ => {}
        }
        if let Some(node) = fact.node {
            self.change(node, |node| boot::apply_dhcp6(node, at, fact));
        } else if let (Some(mac), true) = (fact.mac, fact.event.is_of_a_stranger()) {
            self.note_unknown6(at, mac, fact.client);
        }
    }
}
