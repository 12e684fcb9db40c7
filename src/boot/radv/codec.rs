//! The two ICMPv6 messages that matter here (RFC 4861, sections 4.1 and 4.2) and the options that go with an
//! advertisement (RFC 4861 §4.6, RFC 8106 §5.1). The kernel checks and fills the checksum.

use crate::model::NetworkIpv6;
use crate::model::ipv6::Flag;

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// The hop limit that hosts are told to use, the usual one.
const CURRENT_HOP_LIMIT: u8 = 64;
/// M and O.
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
/// L and A of a prefix.
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
/// Options: a prefix, the largest packet, name servers.
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const NAME_SERVERS: u8 = 25;
/// Name servers told; a resolver takes no more (resolv.conf(5), `MAXNS`).
const NAME_SERVERS_MAX: usize = 3;
/// For how long a prefix is valid, and preferred, in seconds (RFC 4861, section 6.2.1).
const PREFIX_VALID_S: u32 = 2_592_000;
const PREFIX_PREFERRED_S: u32 = 604_800;
/// For how long name servers are good, in seconds: three times the interval between advertisements.
pub(super) const NAME_SERVERS_S: u32 = 1_800;

/// A message of neighbour discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// A host looks for routers.
    Solicitation,
    /// A router says that it is there.
    Advertisement,
}

/// Reads a message; anything else is nothing.
pub(super) fn decode(packet: &[u8]) -> Option<Message> {
    match packet {
        [SOLICITATION, 0, rest @ ..] if rest.len() >= 6 => Some(Message::Solicitation),
        [ADVERTISEMENT, 0, rest @ ..] if rest.len() >= 14 => Some(Message::Advertisement),
        _ => None,
    }
}

/// An advertisement that configures nothing: no flags, a router lifetime of zero, no times, no options.
pub(super) fn empty_advertisement() -> [u8; 16] {
    let mut packet = [0u8; 16];
    packet[0] = ADVERTISEMENT;
    packet[4] = CURRENT_HOP_LIMIT;
    packet
}

/// What is advertised of a network.
pub(super) fn advertisement(ipv6: &NetworkIpv6) -> Vec<u8> {
    let flag = |flag: Flag, bit: u8| if flag == Flag::Set { bit } else { 0 };
    let said = &ipv6.advertise;
    let flags = flag(said.managed, MANAGED) | flag(said.other, OTHER);
    let mut packet = vec![ADVERTISEMENT, 0, 0, 0, CURRENT_HOP_LIMIT, flags];
    packet.extend(said.router_lifetime_s.to_be_bytes());
    // Reachable time and retransmission timer: not said.
    packet.extend([0; 8]);
    if said.mtu > 0 {
        packet.extend([MTU, 1, 0, 0]);
        packet.extend(said.mtu.to_be_bytes());
    }
    let about_prefix = flag(said.on_link, ON_LINK) | flag(said.autonomous, AUTONOMOUS);
    if about_prefix != 0 {
        packet.extend([PREFIX, 4, ipv6.subnet.bits(), about_prefix]);
        packet.extend(PREFIX_VALID_S.to_be_bytes());
        packet.extend(PREFIX_PREFERRED_S.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(ipv6.subnet.network().octets());
    }
    let servers: Vec<_> = ipv6.dns.iter().take(NAME_SERVERS_MAX).collect();
    if let Some(length) = u8::try_from(1 + 2 * servers.len()).ok().filter(|_| !servers.is_empty()) {
        packet.extend([NAME_SERVERS, length, 0, 0]);
        packet.extend(NAME_SERVERS_S.to_be_bytes());
        servers.iter().for_each(|server| packet.extend(server.octets()));
    }
    packet
}
