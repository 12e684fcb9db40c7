//! Which interface to use, what to tell it, and what to tell the resolver.
//!
//! Invariants: pure. An interface that another one controls (a bond's, a bridge's, a failover's) is never chosen: its
//! controller has the same address, and carries the traffic.
//! Deliberately absent: VLANs, bonds, DHCP; the boot script names one interface and one address.
//! Specification: rtnetlink(7); resolv.conf(5).

use std::net::IpAddr;

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use crate::agent::cmdline::InterfaceAddress;
use crate::model::Mac;

/// What is known of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// The kernel's name for it.
    pub name: String,
    /// The address it uses.
    pub mac: Option<Mac>,
    /// The address it was made with.
    pub permanent_mac: Option<Mac>,
    /// The interface that controls it.
    pub controller: Option<u32>,
    /// Whether a signal is seen; false while it is down.
    pub carrier: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
    /// The longest packet that it carries, in bytes.
    pub mtu_bytes: Option<u32>,
    /// Whether it is made by software: a bond, a bridge, one end of a pair.
    pub software: bool,
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            permanent_mac: None,
            controller: None,
            carrier: flags.contains(LinkFlags::LowerUp) && flags.contains(LinkFlags::Up),
            loopback: flags.contains(LinkFlags::Loopback),
            mtu_bytes: None,
            software: false,
        };
        let mac = |bytes: &Vec<u8>| <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(bytes) => link.mac = mac(bytes),
                LinkAttribute::PermAddress(bytes) => link.permanent_mac = mac(bytes),
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                LinkAttribute::Mtu(bytes) => link.mtu_bytes = Some(*bytes),
                LinkAttribute::LinkInfo(infos) => {
                    link.software = infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
                }
                _ => {}
            }
        }
        link
    }
}

/// The interface with the hardware address `mac`: by the address that it uses, else by the one it was made with; of
/// several, the one that was there first.
#[must_use]
pub fn choose(links: &[Link], mac: Mac) -> Option<&Link> {
    let free = |link: &&Link| link.controller.is_none() && !link.loopback;
    let uses = links.iter().filter(free).filter(|link| link.mac == Some(mac)).min_by_key(|link| link.index);
    uses.or_else(|| {
        links.iter().filter(free).filter(|link| link.permanent_mac == Some(mac)).min_by_key(|link| link.index)
    })
}

/// How the default router is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By the address's own prefix.
    OnPrefix,
    /// Over the same link although the prefix does not hold it, as hosting networks with /32 addresses do.
    OnLink,
}

/// How `router` is reached from `address`.
#[must_use]
pub fn reach(address: InterfaceAddress, router: IpAddr) -> Reach {
    if address.contains(router) { Reach::OnPrefix } else { Reach::OnLink }
}

/// The content of `/etc/resolv.conf`.
#[must_use]
pub fn resolv_conf(name_servers: &[IpAddr]) -> String {
    name_servers.iter().map(|server| format!("nameserver {server}\n")).collect()
}

/// The content of `/etc/hosts`: a node always knows itself.
#[must_use]
pub fn hosts(name: &str, address: IpAddr) -> String {
    let short =
        name.split('.').next().filter(|short| *short != name).map(|short| format!(" {short}")).unwrap_or_default();
    format!("127.0.0.1 localhost\n::1 localhost\n{address} {name}{short}\n")
}
