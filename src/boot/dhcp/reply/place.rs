//! The network that a client is in, and the appliance's address there.
//!
//! Purpose: [`of_node`] and [`of_machine`]. Specification: RFC 2131 §4.3.1, RFC 3011, RFC 3527 (which subnet), RFC 5107 (the
//! server's id as a relay wants it).
//!
//! Invariants: a message that came without a relay is from a network in which the appliance has an address on that link; one
//! that came by a relay is from a network that the relay names, and the relay is in it, or in another described network.

use std::net::Ipv4Addr;

use crate::boot::dhcp::codec::{RelayPart, Request};
use crate::boot::dhcp::reply::Link;
use crate::model::{NetworkSpec, RangeUse};
use crate::state::{Node, State};

/// Where a client is.
pub(super) struct Place<'a> {
    /// The network.
    pub(super) network: &'a NetworkSpec,
    /// The appliance's address for clients there.
    pub(super) server_id: Ipv4Addr,
}

/// Where a node's message came from, if that is its own network.
pub(super) fn of_node<'a>(state: &'a State, node: &Node, request: &Request, link: &Link) -> Option<Place<'a>> {
    let network = state.network_of(node)?.as_ref();
    let server_id = server_id(state, network, request, link)?;
    Some(Place { network, server_id })
}

/// Where an unknown machine's message came from, if addresses are given to such machines there.
pub(super) fn of_machine<'a>(state: &'a State, request: &Request, link: &Link) -> Option<Place<'a>> {
    let serves = |network: &&NetworkSpec| network.ranges_for(RangeUse::Discovery).next().is_some();
    let networks = state.networks.values().map(AsRef::as_ref);
    networks.filter(serves).find_map(|network| {
        let server_id = server_id(state, network, request, link)?;
        Some(Place { network, server_id })
    })
}

fn server_id(state: &State, network: &NetworkSpec, request: &Request, link: &Link) -> Option<Ipv4Addr> {
    let inside = link.addresses.iter().copied().find(|address| network.subnet.contains(*address));
    let Some(relay) = request.relay else { return inside };
    let from_here = request.link_address().is_some_and(|address| network.subnet.contains(address));
    let known = || network.relays.contains(&relay) || state.networks.values().any(|other| other.subnet.is_host(relay));
    if !from_here || !(network.subnet.is_host(relay) || known()) {
        return None;
    }
    request.relay_address(RelayPart::ServerIdOverride).or(inside).or(link.addresses.first().copied())
}
