//! Machines that are no node yet: what tells one from another, and where it is plugged in.
//!
//! Invariants: [`id_of`] and [`mac_of`] are each other's inverse, and no id that is made at random is ever a machine's: its
//! version is another (RFC 9562, section 5.8). A number that every machine of a maker has tells nothing, and is left out by
//! [`telling`].
//! Deliberately absent: what follows from any of it (`plan::enroll`).
//! Specification: IEEE 802.1AB-2016 (LLDP), RFC 3046 (option 82), SMBIOS 3.6 section 7.2.1 (the order of a UUID's bytes).

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hardware::Hardware;
use super::{Mac, NodeId};

/// The longest text kept of a switch, a port or a class, in bytes; the rest is cut.
pub const TEXT_BYTES_MAX: usize = 128;
/// The most neighbours in one report: one for each interface that a report may have.
pub const NEIGHBOURS_MAX: usize = super::hardware::INTERFACES_MAX;
/// What the ids of machines begin with: `bootes`, and the bits that RFC 9562 asks for.
const ID_HEAD: [u8; 10] = [b'b', b'o', b'o', b't', b'e', b's', 0x80, 0, 0x80, 0];

/// The id by which the tree protocol speaks of the machine that booted from this interface.
#[must_use]
pub fn id_of(mac: Mac) -> NodeId {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(ID_HEAD.iter().chain(&mac.0)) {
        *to = *from;
    }
    NodeId(Uuid::from_bytes(bytes))
}

/// The interface in the id of a machine; nothing for the id of a node.
#[must_use]
pub fn mac_of(id: NodeId) -> Option<Mac> {
    let rest = id.0.as_bytes().strip_prefix(&ID_HEAD)?;
    rest.try_into().ok().map(Mac)
}

/// What a switch said of itself and of the port that an interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Neighbour {
    /// The machine's interface, by the kernel's name.
    pub interface: String,
    /// The switch, by its chassis id.
    pub chassis: String,
    /// The port, by its id.
    pub port: String,
    /// What the port is described as.
    pub port_description: Option<String>,
    /// The switch's name.
    pub system: Option<String>,
}

/// What a relay said of the port that a DHCP packet came in by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RelayPort {
    /// The port (sub-option 1), as text or in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<String>,
    /// The switch (sub-option 2), likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// Where a machine is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SwitchPort {
    /// The switch, where it is known.
    pub switch: Option<String>,
    /// Its port.
    pub port: String,
}

impl fmt::Display for SwitchPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.switch {
            Some(switch) => f.pad(&format!("{switch} {}", self.port)),
            None => f.pad(&self.port),
        }
    }
}

impl Ord for SwitchPort {
    fn cmp(&self, other: &Self) -> Ordering {
        let switch = |port: &Self| port.switch.clone().unwrap_or_default();
        natural(&switch(self), &switch(other))
            .then_with(|| natural(&self.port, &other.port))
            .then_with(|| self.switch.cmp(&other.switch))
    }
}

impl PartialOrd for SwitchPort {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&Neighbour> for SwitchPort {
    fn from(neighbour: &Neighbour) -> Self {
        let switch = neighbour.system.clone().unwrap_or_else(|| neighbour.chassis.clone());
        SwitchPort { switch: Some(switch), port: neighbour.port.clone() }
    }
}

impl RelayPort {
    /// The switch port that it names, where it names a port.
    #[must_use]
    pub fn switch_port(&self) -> Option<SwitchPort> {
        Some(SwitchPort { switch: self.remote.clone(), port: self.circuit.clone()? })
    }
}

/// Bytes that anybody may have sent, as text where they are printable and in hexadecimal where not, within
/// [`TEXT_BYTES_MAX`].
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => cut(text),
        _ => cut(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")),
    }
}

/// The longest beginning of `text` within [`TEXT_BYTES_MAX`].
#[must_use]
pub fn cut(text: &str) -> String {
    let mut short = String::new();
    for character in text.chars() {
        if short.len().saturating_add(character.len_utf8()) > TEXT_BYTES_MAX {
            break;
        }
        short.push(character);
    }
    short
}

/// Whether two names of ports come in this order, numbers in them by their value: `Ethernet2` before `Ethernet10`.
#[must_use]
pub fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (pieces(left).into_iter(), pieces(right).into_iter());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) if one != other => return one.cmp(&other),
            _ => {}
        }
    }
}

/// Text without digits, or a number with how it is written, which tells `1` from `01`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    Number(u64, &'a str),
    Text(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        found.push(match piece.parse() {
            Ok(number) if digits => Piece::Number(number, piece),
            _ => Piece::Text(piece),
        });
        rest = behind;
    }
    found
}

/// A serial number that is one: not what makers leave in the field when they have not filled it in.
#[must_use]
pub fn telling(serial: &str) -> Option<String> {
    const EMPTY: &[&str] = &[
        "none",
        "not specified",
        "not applicable",
        "default string",
        "to be filled by o.e.m.",
        "system serial number",
        "chassis serial number",
        "n/a",
        "na",
        "unknown",
        "0123456789",
        "123456789",
        "1234567890",
    ];
    let text = serial.trim().to_ascii_lowercase();
    let alike = text.chars().next().is_none_or(|first| text.chars().all(|c| c == first));
    (!alike && !EMPTY.contains(&text.as_str())).then_some(text)
}

/// A UUID that is one machine's: not all alike, and none of those that makers give to every board.
#[must_use]
pub fn telling_uuid(uuid: Uuid) -> Option<Uuid> {
    const EVERYBODYS: &[u128] = &[0x0300_0200_0400_0500_0006_0007_0008_0009, 0x0002_0003_0004_0005_0006_0007_0008_0009];
    let bytes = uuid.as_bytes();
    let alike = bytes.iter().all(|byte| Some(byte) == bytes.first());
    (!alike && !EVERYBODYS.contains(&uuid.as_u128())).then_some(uuid)
}

/// Whether two UUIDs are of one machine: firmware writes the first three fields either way round, in SMBIOS and in DHCP.
#[must_use]
pub fn same_uuid(one: Uuid, other: Uuid) -> bool {
    one == other || Uuid::from_bytes_le(*one.as_bytes()) == other
}

/// The UUID in a hardware report, where it tells something.
#[must_use]
pub fn uuid_of(hardware: &Hardware) -> Option<Uuid> {
    hardware.system.uuid.as_deref().and_then(|uuid| uuid.parse().ok()).and_then(telling_uuid)
}

/// The serial number in a hardware report, where it tells something.
#[must_use]
pub fn serial_of(hardware: &Hardware) -> Option<String> {
    hardware.system.serial.as_deref().and_then(telling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_machines_id_says_its_interface_and_a_nodes_says_none(octets: [u8; 6]) {
            prop_assert_eq!(mac_of(id_of(Mac(octets))), Some(Mac(octets)));
            prop_assert_eq!(id_of(Mac(octets)).0.get_version_num(), 8);
            prop_assert_eq!(mac_of(NodeId(Uuid::new_v4())), None);
        }

        #[test]
        fn any_bytes_become_a_short_printable_text(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = text_of(&bytes);
            prop_assert!(text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control));
        }

        #[test]
        fn the_order_of_ports_is_an_order(a in "[a-z/0-9]{0,8}", b in "[a-z/0-9]{0,8}", c in "[a-z/0-9]{0,8}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b) == Ordering::Equal, a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }

        #[test]
        fn a_uuid_is_the_same_written_either_way_round(bytes: [u8; 16]) {
            prop_assert!(same_uuid(Uuid::from_bytes(bytes), Uuid::from_bytes_le(bytes)));
            prop_assert!(same_uuid(Uuid::from_bytes_le(bytes), Uuid::from_bytes(bytes)));
        }
    }

    #[test]
    fn ports_are_in_the_order_of_their_numbers() {
        let mut ports = ["Ethernet10", "Ethernet2", "Ethernet1/3", "Ethernet1/12", "Ethernet1"];
        ports.sort_by(|a, b| natural(a, b));
        assert_eq!(ports, ["Ethernet1", "Ethernet1/3", "Ethernet1/12", "Ethernet2", "Ethernet10"]);
    }

    #[test]
    fn what_every_machine_of_a_maker_has_tells_nothing() {
        for empty in ["", "  ", "0000000", "To Be Filled By O.E.M.", "Default string", "None"] {
            assert_eq!(telling(empty), None, "{empty}");
        }
        assert_eq!(telling(" CZ2D1X0ABC "), Some("cz2d1x0abc".to_owned()));
        for empty in [0, u128::MAX, 0x0300_0200_0400_0500_0006_0007_0008_0009] {
            assert_eq!(telling_uuid(Uuid::from_u128(empty)), None);
        }
        assert!(telling_uuid(Uuid::from_u128(7)).is_some());
    }
}
