//! LLDP frames: what a switch says of itself and of the port that it sends by.
//!
//! Pure. Invariants: whatever the bytes, the answer is an announcement or an error; the three TLVs that must be there come
//! first and in their order, as the standard says, and each once; what follows is optional and what is not known is passed
//! over. A text is bounded and has no control characters.
//! Deliberately absent: organisationally specific TLVs, management addresses, VLAN tags (a frame with one is not LLDP's).
//! Specification: IEEE 802.1AB-2016, clauses 7 (the frame), 8.4 and 8.5 (TLVs).

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::model::machine::text_of;

/// LLDP's EtherType.
pub const ETHERTYPE: u16 = 0x88cc;
/// The address that a switch sends to, and that no bridge passes on: "nearest bridge".
pub const MULTICAST: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e];
/// Bytes before the first TLV: two addresses and the EtherType.
const HEADER_BYTES: usize = 14;

const END: u8 = 0;
const CHASSIS_ID: u8 = 1;
const PORT_ID: u8 = 2;
const TTL: u8 = 3;
const PORT_DESCRIPTION: u8 = 4;
const SYSTEM_NAME: u8 = 5;

/// What a switch announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The switch.
    pub chassis: String,
    /// The port.
    pub port: String,
    /// For how long this counts, in seconds; 0 takes back what was announced.
    pub ttl_s: u16,
    /// What the port is described as.
    pub port_description: Option<String>,
    /// The switch's name.
    pub system: Option<String>,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LldpError {
    /// It is not one of LLDP's.
    #[error("it is no LLDP frame")]
    NotLldp,
    /// It ends within a TLV.
    #[error("it ends within a TLV of type {kind}")]
    Short {
        /// The TLV's type.
        kind: u8,
    },
    /// One of the three first TLVs is missing, or not in its place.
    #[error("a TLV of type {got} stands where one of type {wanted} must")]
    Order {
        /// What must be there.
        wanted: u8,
        /// What is.
        got: u8,
    },
    /// A TLV has no value, or one that it cannot have.
    #[error("the TLV of type {kind} has no value that it can have")]
    Value {
        /// The TLV's type.
        kind: u8,
    },
}

/// Reads a whole Ethernet frame.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn decode(frame: &[u8]) -> Result<Announcement, LldpError> {
    let (header, body) = frame.split_at_checked(HEADER_BYTES).ok_or(LldpError::NotLldp)?;
    if header.get(12..) != Some(&ETHERTYPE.to_be_bytes()) {
        return Err(LldpError::NotLldp);
    }
    let mut rest = body;
    let chassis = named(needed(CHASSIS_ID, &mut rest)?, CHASSIS_ID)?;
    let port = named(needed(PORT_ID, &mut rest)?, PORT_ID)?;
    let ttl = needed(TTL, &mut rest)?;
    // A longer value is a later standard's, whose first two octets are still the time.
    let ttl_s = ttl.first_chunk().map(|ttl| u16::from_be_bytes(*ttl)).ok_or(LldpError::Value { kind: TTL })?;
    let mut announcement = Announcement { chassis, port, ttl_s, port_description: None, system: None };
    // Some switches leave the end mark out where the frame ends.
    while let Some((kind, value)) = next(&mut rest)? {
        let text = || Some(text_of(value)).filter(|text| !text.is_empty());
        match kind {
            END => break,
            PORT_DESCRIPTION => announcement.port_description = text(),
            SYSTEM_NAME => announcement.system = text(),
            _ => {}
        }
    }
    Ok(announcement)
}

/// The next TLV: seven bits of type, nine bits of length.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, LldpError> {
    let Some((head, behind)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    let head = u16::from_be_bytes(*head);
    let kind = u8::try_from(head >> 9).unwrap_or(u8::MAX);
    let (value, behind) = behind.split_at_checked(usize::from(head & 0x1ff)).ok_or(LldpError::Short { kind })?;
    *rest = behind;
    Ok(Some((kind, value)))
}

fn needed<'a>(wanted: u8, rest: &mut &'a [u8]) -> Result<&'a [u8], LldpError> {
    match next(rest)? {
        Some((kind, value)) if kind == wanted => Ok(value),
        Some((got, _)) => Err(LldpError::Order { wanted, got }),
        None => Err(LldpError::Short { kind: wanted }),
    }
}

/// The id in a chassis or port TLV: a sub-type and what it says. Hardware and network addresses are written as people
/// write them.
fn named(value: &[u8], kind: u8) -> Result<String, LldpError> {
    let (subtype, id) = value.split_first().filter(|(_, id)| !id.is_empty()).ok_or(LldpError::Value { kind })?;
    let (mac, network) = if kind == CHASSIS_ID { (4, 5) } else { (3, 4) };
    if *subtype == mac && id.len() == 6 {
        return Ok(id.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"));
    }
    if *subtype == network {
        // IANA's address families: 1 is IPv4, 2 is IPv6.
        if let [1, address @ ..] = id
            && let Ok(address) = <[u8; 4]>::try_from(address)
        {
            return Ok(Ipv4Addr::from(address).to_string());
        }
        if let [2, address @ ..] = id
            && let Ok(address) = <[u8; 16]>::try_from(address)
        {
            return Ok(Ipv6Addr::from(address).to_string());
        }
    }
    // Some switches end a text with a NUL.
    let text = id.strip_suffix(&[0]).filter(|text| !text.is_empty()).unwrap_or(id);
    Ok(text_of(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let head = (u16::from(kind) << 9) | u16::try_from(value.len()).unwrap();
        [&head.to_be_bytes(), value].concat()
    }

    fn frame(tlvs: &[Vec<u8>]) -> Vec<u8> {
        let mut frame = [MULTICAST.as_slice(), &[2, 0, 0, 0, 0, 1], &ETHERTYPE.to_be_bytes()].concat();
        frame.extend(tlvs.concat());
        frame
    }

    fn announced(chassis: &[u8], port: &[u8], ttl_s: u16, more: &[Vec<u8>]) -> Vec<u8> {
        let first = [tlv(CHASSIS_ID, chassis), tlv(PORT_ID, port), tlv(TTL, &ttl_s.to_be_bytes())];
        frame(&[&first, more].concat())
    }

    proptest! {
        #[test]
        fn what_is_announced_is_read(
            chassis in "[a-zA-Z0-9/ .-]{1,100}",
            port in "[a-zA-Z0-9/ .-]{1,100}",
            ttl_s: u16,
            description in "[ -~]{1,120}",
            system in "[a-z0-9.-]{1,100}",
            other in proptest::collection::vec(any::<u8>(), 0..511),
            kind in 6_u8..127,
            ended: bool,
        ) {
            let mut more = vec![tlv(kind, &other), tlv(PORT_DESCRIPTION, description.as_bytes())];
            more.extend([tlv(kind, &other), tlv(SYSTEM_NAME, system.as_bytes())]);
            if ended {
                more.extend([tlv(END, &[]), vec![0; 12]]);
            }
            let id = |subtype, text: &str| [&[subtype], text.as_bytes()].concat();
            let read = decode(&announced(&id(7, &chassis), &id(5, &port), ttl_s, &more));
            let wanted = Announcement { chassis, port, ttl_s, port_description: Some(description), system: Some(system) };
            prop_assert_eq!(read, Ok(wanted));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let mut whole = frame(&[]);
            whole.extend(&bytes);
            if let Ok(read) = decode(&whole) {
                prop_assert!(!read.chassis.is_empty() && !read.port.is_empty());
                prop_assert!(read.chassis.chars().chain(read.port.chars()).all(|c| !c.is_control()));
            }
        }

        #[test]
        fn a_frame_that_is_cut_short_is_read_as_far_as_it_goes_or_refused(cut in 0_usize..60) {
            let whole = announced(b"\x04\xaa\xbb\xcc\xdd\xee\xff", b"\x05Ethernet7", 120, &[tlv(SYSTEM_NAME, b"sw1")]);
            let cut = cut.min(whole.len());
            match decode(&whole[..cut]) {
                Ok(read) => prop_assert_eq!(read.port, "Ethernet7"),
                Err(_) => prop_assert!(cut < whole.len()),
            }
        }
    }

    #[test]
    fn addresses_are_written_as_people_write_them() {
        let read = |chassis: &[u8], port: &[u8]| {
            let read = decode(&announced(chassis, port, 1, &[])).unwrap();
            (read.chassis, read.port)
        };
        let (chassis, port) = read(b"\x04\xaa\xbb\xcc\x00\x01\x02", b"\x03\x52\x54\x00\x00\x00\x01");
        assert_eq!((chassis.as_str(), port.as_str()), ("aa:bb:cc:00:01:02", "52:54:00:00:00:01"));
        let (chassis, port) = read(b"\x05\x01\x0a\x4d\x00\x01", b"\x07 12");
        assert_eq!((chassis.as_str(), port.as_str()), ("10.77.0.1", " 12"));
        let (chassis, port) = read(b"\x07sw1\0", b"\x05\xff\xfe");
        assert_eq!((chassis.as_str(), port.as_str()), ("sw1", "ff:fe"));
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        let (chassis, port) = (tlv(CHASSIS_ID, b"\x07a"), tlv(PORT_ID, b"\x07b"));
        let wrong = frame(&[port.clone(), chassis.clone()]);
        assert_eq!(decode(&wrong), Err(LldpError::Order { wanted: CHASSIS_ID, got: PORT_ID }));
        assert_eq!(decode(&frame(&[chassis, port])), Err(LldpError::Short { kind: TTL }));
        assert_eq!(decode(&announced(b"\x07", b"\x07b", 1, &[])), Err(LldpError::Value { kind: CHASSIS_ID }));
        assert_eq!(decode(&[0; 60]), Err(LldpError::NotLldp));
    }
}
