//! Where a message came from, and which machine it is of.
//!
//! Invariants: what a description names counts before what a relay saw, that before the address that the message came
//! from, and that before what the client says of itself: its identifier may be another interface's, or a copy.

use std::net::Ipv6Addr;

use uuid::Uuid;

use super::super::codec::Request;
use super::super::facts::Who;
use super::of_pool;
use crate::fact::Dhcp6Refusal;
use crate::model::ipv6::mac_in_address;
use crate::model::{Duid, Identity, Mac, Name, NetworkIpv6, NetworkSpec, UnixMs};
use crate::state::{Holder6, Node, State};

/// The interface that a message came in on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link6 {
    /// The interface.
    pub interface: String,
    /// The appliance's addresses there, but for the link-local one.
    pub addresses: Vec<Ipv6Addr>,
}

/// To whom a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// To all servers.
    Multicast,
    /// To this one.
    Unicast,
}

/// From where and to whom a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// From where.
    pub source: Ipv6Addr,
    /// To whom.
    pub cast: Cast,
}

/// A machine on a network that is served.
pub(super) struct Place<'a> {
    pub(super) who: Who,
    pub(super) node: Option<&'a Node>,
    pub(super) ipv6: &'a NetworkIpv6,
    network: &'a NetworkSpec,
    /// The appliance's address as the client sees it.
    pub(super) server_ip: Option<Ipv6Addr>,
    pub(super) state: &'a State,
    now: UnixMs,
}

type Refused = Option<(Who, Dhcp6Refusal)>;

impl<'a> Place<'a> {
    pub(super) fn find(
        state: &'a State,
        request: &Request,
        arrival: &Arrival,
        link: &Link6,
        now: UnixMs,
    ) -> Result<Self, Refused> {
        let (who, node) = identify(state, request, arrival.source);
        let node = node.map(|node| &**node);
        // The relay nearest to the client that names the client's link (RFC 8415, section 13.1).
        let named = request.relays.iter().rev().map(|relay| relay.link).find(|link| !link.is_unspecified());
        let is_here = |network: &&NetworkSpec| {
            let Some(ipv6) = &network.ipv6 else { return false };
            match named {
                Some(named) => ipv6.subnet.contains(named),
                None => link.addresses.iter().any(|own| ipv6.subnet.contains(*own)),
            }
        };
        let here = || state.networks.values().map(|network| &**network).filter(is_here);
        let network = match node {
            Some(node) => {
                let own = state.network_of(node).map(|network| &**network);
                own.filter(is_here).ok_or_else(|| {
                    // Where no IPv6 is served at all, nothing is missing.
                    let network = node.spec.network.clone();
                    here().next().map(|_| (who.clone(), Dhcp6Refusal::WrongNetwork { network }))
                })?
            }
            None => here().find(|network| has_pool(network)).or_else(|| here().next()).ok_or(None)?,
        };
        let ipv6 = network.ipv6.as_deref().ok_or(None)?;
        let is_near = arrival.source.is_unicast_link_local() || ipv6.subnet.contains(arrival.source);
        if request.relays.is_empty() && !is_near {
            return Err(None);
        }
        let inside = link.addresses.iter().find(|own| ipv6.subnet.contains(**own));
        let server_ip = inside.or(link.addresses.first()).copied();
        Ok(Place { who, node, ipv6, network, server_ip, state, now })
    }

    /// The address that it is to have, with the network when it is of its pool.
    pub(super) fn own(&self) -> Result<(Ipv6Addr, Option<&'a Name>), Dhcp6Refusal> {
        if let Some(ip) = self.node.and_then(|node| node.spec.ipv6.ip6) {
            return Ok((ip, None));
        }
        let network = self.network.name.clone();
        if self.ipv6.pool.is_none() {
            return Err(match self.node {
                Some(_) => Dhcp6Refusal::NoAddress { network },
                None => Dhcp6Refusal::UnknownMachine,
            });
        }
        let holder = self.holder().ok_or(Dhcp6Refusal::UnknownMachine)?;
        let free = of_pool(self.state, self.ipv6, &holder, self.now);
        free.map(|ip| (ip, Some(&self.network.name))).ok_or(Dhcp6Refusal::PoolEmpty { network })
    }

    /// The address that it was given.
    pub(super) fn held(&self) -> Option<(Ipv6Addr, Option<&'a Name>)> {
        match self.node.and_then(|node| node.spec.ipv6.ip6) {
            Some(ip) => Some((ip, None)),
            None => Some((self.state.leases6.of(&self.holder()?)?, Some(&self.network.name))),
        }
    }

    fn holder(&self) -> Option<Holder6> {
        Some(Holder6::of(self.who.node, self.who.mac, self.who.duid.as_ref()?))
    }
}

fn has_pool(network: &NetworkSpec) -> bool {
    network.ipv6.as_ref().is_some_and(|ipv6| ipv6.pool.is_some())
}

fn identify<'a>(state: &'a State, request: &Request, source: Ipv6Addr) -> (Who, Option<&'a std::sync::Arc<Node>>) {
    let duid = request.client_id.clone();
    let near = request.relays.last().map_or(source, |relay| relay.peer);
    let macs: Vec<Mac> = [
        request.relays.iter().rev().find_map(|relay| relay.mac),
        mac_in_address(near),
        duid.as_ref().and_then(Duid::mac),
    ]
    .into_iter()
    .flatten()
    .collect();
    let named = duid.as_ref().and_then(|duid| state.node(*state.by_duid.get(duid)?));
    let by_uuid = || {
        // RFC 6355 has the UUID in network order, UEFI in SMBIOS's: the first three fields the other way round.
        let octets = duid.as_ref().and_then(Duid::uuid)?;
        let spellings = [Uuid::from_bytes(octets), Uuid::from_bytes_le(octets)];
        let id = spellings.iter().find_map(|uuid| state.by_identity.get(&Identity::uuid(*uuid)))?;
        state.node(*id)
    };
    let node = named.or_else(by_uuid).or_else(|| macs.iter().find_map(|mac| state.node_with_mac(*mac)));
    let mac = match node {
        Some(node) => Some(node.spec.mac),
        None => macs.first().copied(),
    };
    (Who { duid, mac, node: node.map(|node| node.id) }, node)
}
