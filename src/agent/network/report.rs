//! What the kernel says of its network, as the variables that the parent is told of.
//!
//! Told of are the interfaces that are hardware, and those made by software that have an address of their own: pairs and
//! bridges of images come and go, and are nobody's business. Invariants: pure; the same network gives the same variables in
//! the same order; nothing beyond the bounds that a parent takes: what is more is left out.
//! Deliberately absent: hardware addresses (the hardware report has them), tables of routes other than the main one,
//! link-local addresses and their routes, which say nothing.
//! Specification: rtnetlink(7); resolv.conf(5).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};

use super::plan::Link;
use crate::model::hardware::INTERFACES_MAX;
use crate::model::limits::REPORTED_LIST_VALUES_MAX;
use crate::model::{Schema, VarPath};
use crate::sync::codec::{WireItem, WireValue};

/// What there is to be told.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Every interface.
    pub links: Vec<Link>,
    /// Every address that is good beyond its link, with its interface's number.
    pub addresses: Vec<(u32, IpAddr)>,
    /// The routes.
    pub routes: BTreeSet<Route>,
    /// The host name.
    pub hostname: String,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
}

/// One route of the main table, or one hop of it where there are several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where it leads; with the length 0 everywhere.
    pub destination: IpAddr,
    /// How many bits of it count.
    pub prefix_bits: u8,
    /// The router; none where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The number of the interface.
    pub index: Option<u32>,
}

impl Network {
    /// The variables by path. `own` is the address that the boot script gave this node: its interface is told with it.
    #[must_use]
    pub fn variables(&self, own: IpAddr) -> BTreeMap<String, WireValue> {
        let mut found = BTreeMap::new();
        let mut links: Vec<&Link> = self.links.iter().filter(|link| self.is_told_of(link)).collect();
        links.sort_by_key(|link| link.index);
        for link in links.into_iter().take(INTERFACES_MAX) {
            let state = if link.carrier { "up" } else { "down" };
            let ip = self.addresses_of(link).min_by_key(|ip| (*ip != own, ip.is_ipv6()));
            let values = [
                ("state", Some(WireValue::Symbol(state.into()))),
                ("ip", ip.map(WireValue::Ip)),
                ("mtu", link.mtu_bytes.map(|bytes| WireValue::Int(bytes.into()))),
            ];
            for (field, value) in values {
                found.extend(value.map(|value| (format!("net.{}.{field}", link.name), value)));
            }
        }
        if !self.hostname.is_empty() {
            found.insert("net.hostname".to_owned(), WireValue::Text(self.hostname.clone()));
        }
        let servers = name_servers(&self.resolv_conf).into_iter().map(WireItem::Ip);
        found.insert("net.dns".to_owned(), WireValue::List(servers.take(REPORTED_LIST_VALUES_MAX).collect()));
        let routes = self.routes.iter().map(|route| WireItem::Text(self.route_text(route)));
        found.insert("net.routes".to_owned(), WireValue::List(routes.take(REPORTED_LIST_VALUES_MAX).collect()));
        // A name that is no part of a path, such as eth0.100 or IB0, has no variables; neither has an MTU beyond all bounds.
        let schema = Schema::default();
        found.retain(|path, value| {
            let spec = path.parse::<VarPath>().ok().and_then(|path| schema.spec(&path).ok());
            spec.is_some() && !matches!(value, WireValue::Int(bytes) if !(68..=65_535).contains(bytes))
        });
        found
    }

    fn is_told_of(&self, link: &Link) -> bool {
        !link.loopback && (!link.software || self.addresses_of(link).next().is_some())
    }

    fn addresses_of(&self, link: &Link) -> impl Iterator<Item = IpAddr> {
        let index = link.index;
        self.addresses.iter().filter(move |(of, _)| *of == index).map(|(_, ip)| *ip)
    }

    fn route_text(&self, route: &Route) -> String {
        let prefix = format!("{}/{}", route.destination, route.prefix_bits);
        let link = route.index.and_then(|index| self.links.iter().find(|link| link.index == index));
        match (route.gateway, link) {
            (Some(gateway), _) => format!("{prefix} via {gateway}"),
            (None, Some(link)) => format!("{prefix} dev {}", link.name),
            (None, None) => prefix,
        }
    }
}

/// The address in a message about one, and its interface's number; none where it is good on its link or this host alone.
#[must_use]
pub fn address_of(message: &AddressMessage) -> Option<(u32, IpAddr)> {
    let header = &message.header;
    if matches!(header.scope, AddressScope::Link | AddressScope::Host | AddressScope::Nowhere) {
        return None;
    }
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            // On a point-to-point link the other one is the peer's.
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    Some((header.index, find(true).or_else(|| find(false))?))
}

/// The routes in a message about one: none where it is of another table, or leads to no other machine.
#[must_use]
pub fn routes_of(message: &RouteMessage) -> Vec<Route> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let everywhere: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Vec::new(),
    };
    let attributes = &message.attributes;
    let destination = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip_of(address),
        _ => None,
    });
    let destination = destination.unwrap_or(everywhere);
    if matches!(destination, IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_multicast()) {
        return Vec::new();
    }
    let hop = |attributes: &[RouteAttribute], index: Option<u32>| {
        let gateway = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip_of(address),
            _ => None,
        });
        let out = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        Route { destination, prefix_bits: header.destination_prefix_length, gateway, index: index.or(out) }
    };
    let several = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    match several {
        Some(hops) => hops.iter().map(|one| hop(&one.attributes, Some(one.interface_index))).collect(),
        None => vec![hop(attributes, None)],
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// The name servers that a resolver would ask, in its order.
fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // A scope, as in fe80::1%eth0, is of this host alone.
        (words.next() == Some("nameserver")).then(|| words.next()?.split('%').next()?.parse().ok())?
    });
    servers.collect()
}
