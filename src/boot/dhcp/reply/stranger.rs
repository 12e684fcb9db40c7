//! The address of a machine that is no node.
//!
//! Purpose: [`address_of`]. A machine that asks for an address that is free gets it also when nothing is known of it here: it had
//! it from an appliance whose journal is gone, or its lease ended while it was off.

use std::net::Ipv4Addr;

use super::{Client, Own};
use crate::boot::dhcp::codec::RequestKind;
use crate::boot::dhcp::ledger::{Ledger, Need};
use crate::fact::DhcpRefusal;
use crate::model::{AddressRange, Name, RangeUse, UnixMs};
use crate::state::State;

/// The address of a machine that is no node, given now where it has none and looks for one.
pub(super) fn address_of(client: &Client<'_>, state: &State, ledger: &mut Ledger, now: UnixMs) -> Own {
    let request = client.request;
    // An operator has said so.
    if state.refused.contains_key(&request.mac) {
        return Own::Unheard;
    }
    let asking = client.asking(Ipv4Addr::UNSPECIFIED);
    let is_of = |class: &Name| client.network.class(class).is_some_and(|class| class.matches(&asking.signs));
    let ranges = client.network.ranges_for(RangeUse::Discovery);
    let ranges: Vec<&AddressRange> = ranges.filter(|range| range.class.as_ref().is_none_or(is_of)).collect();
    let asked = request.requested_ip.or(request.client_ip);
    let need = Need {
        state,
        network: client.network,
        ranges: &ranges,
        mac: request.mac,
        wanted: asked,
        avoid: &client.link.addresses,
        now,
    };
    match request.kind {
        RequestKind::Discover => match ledger.address_for(&need) {
            Some(ip) => Own::Is(ip),
            None => Own::None(DhcpRefusal::NoAddressLeft { network: client.network.name.clone() }),
        },
        RequestKind::Request => match (ledger.known_of(&need), asked) {
            (Some(ip), _) => Own::Is(ip),
            (None, Some(asked)) if ledger.may_have(&need, asked) => Own::Is(asked),
            _ => Own::Unheard,
        },
        RequestKind::Inform | RequestKind::Decline | RequestKind::Release => match ledger.known_of(&need) {
            Some(ip) => Own::Is(ip),
            None => Own::None(DhcpRefusal::UnknownMachine),
        },
    }
}
