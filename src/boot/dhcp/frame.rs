//! IPv4 and UDP headers around a DHCP message, for a client that has no address yet.
//!
//! Purpose: the bytes that a datagram packet socket sends. Specification: RFC 791 §3.1, RFC 768, RFC 6864 §4 (an unfragmented
//! datagram needs no identification), RFC 2131 §4.1 (ports 67 and 68).
//!
//! Invariants: both checksums are set; a UDP checksum that comes out as zero is sent as all ones, since zero means none.
//!
//! Deliberately absent: the Ethernet header, which the kernel writes; fragments, options, IPv6.

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, Ipv4Flags, MutableIpv4Packet};
use pnet_packet::udp::{self, MutableUdpPacket};
use std::net::SocketAddrV4;
use thiserror::Error;

/// An IPv4 header without options, in bytes.
const IPV4_HEADER_BYTES: usize = 20;
/// A UDP header, in bytes.
const UDP_HEADER_BYTES: usize = 8;
/// Hops that the datagram may make. It makes none; what common hosts send is what odd ROMs were tried with.
const TIME_TO_LIVE: u8 = 64;

/// A message is longer than a datagram can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message of {payload_bytes} bytes does not fit in a datagram")]
pub(super) struct TooLong {
    pub(super) payload_bytes: usize,
}

/// The datagram that carries `payload`.
pub(super) fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Result<Vec<u8>, TooLong> {
    let too_long = TooLong { payload_bytes: payload.len() };
    let udp_bytes = payload.len().saturating_add(UDP_HEADER_BYTES);
    let total_bytes = udp_bytes.saturating_add(IPV4_HEADER_BYTES);
    let udp_length = u16::try_from(udp_bytes).map_err(|_| too_long)?;
    let total_length = u16::try_from(total_bytes).map_err(|_| too_long)?;
    let mut bytes = vec![0; total_bytes];
    let (ip_part, udp_part) = bytes.split_at_mut(IPV4_HEADER_BYTES);

    let mut datagram = MutableUdpPacket::new(udp_part).ok_or(too_long)?;
    datagram.set_source(from.port());
    datagram.set_destination(to.port());
    datagram.set_length(udp_length);
    datagram.set_payload(payload);
    let sum = udp::ipv4_checksum(&datagram.to_immutable(), from.ip(), to.ip());
    datagram.set_checksum(if sum == 0 { u16::MAX } else { sum });

    let mut packet = MutableIpv4Packet::new(ip_part).ok_or(too_long)?;
    packet.set_version(4);
    packet.set_header_length(5);
    packet.set_total_length(total_length);
    packet.set_flags(Ipv4Flags::DontFragment);
    packet.set_ttl(TIME_TO_LIVE);
    packet.set_next_level_protocol(IpNextHeaderProtocols::Udp);
    packet.set_source(*from.ip());
    packet.set_destination(*to.ip());
    let sum = ipv4::checksum(&packet.to_immutable());
    packet.set_checksum(sum);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    /// RFC 1071, written down here a second time so that the library is not checked by itself.
    fn ones_sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        });
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).expect("folded")
    }

    proptest! {
        #[test]
        fn both_checksums_hold_for_any_payload(from: [u8; 4], to: [u8; 4], payload in prop::collection::vec(any::<u8>(), 0..600)) {
            let (from, to) = (Ipv4Addr::from(from), Ipv4Addr::from(to));
            let bytes = datagram(SocketAddrV4::new(from, 67), SocketAddrV4::new(to, 68), &payload).expect("it fits");
            let (header, rest) = bytes.split_at(IPV4_HEADER_BYTES);
            prop_assert_eq!(ones_sum(header), 0xffff);
            let mut pseudo = [from.octets(), to.octets()].concat();
            pseudo.extend([0, 17]);
            pseudo.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
            pseudo.extend(rest);
            prop_assert_eq!(ones_sum(&pseudo), 0xffff);
            prop_assert_ne!(&rest[6..8], &[0, 0]);
            prop_assert_eq!(&rest[8..], &payload[..]);
        }
    }

    #[test]
    fn a_message_longer_than_a_datagram_is_refused() {
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 67);
        assert_eq!(datagram(any, any, &vec![0; 65_508]), Err(TooLong { payload_bytes: 65_508 }));
    }
}
