//! The two ICMPv6 messages that matter here (RFC 4861, sections 4.1 and 4.2). The kernel checks and fills the checksum.

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// The hop limit that hosts are told to use, the usual one.
const CURRENT_HOP_LIMIT: u8 = 64;

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
