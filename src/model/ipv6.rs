//! IPv6 as an operator describes it: a network's prefix, its pool and what routers say of it; a node's address and DUID.
//!
//! Pure. Invariants: a prefix has no host bits; a DUID has 3 to 130 octets (RFC 8415, section 11.1).
//! Deliberately absent: prefixes that are delegated, and temporary addresses: a machine that boots has no use for them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Mac;

/// The longest DUID, in octets: its type and 128 more (RFC 8415, section 11.1).
pub const DUID_BYTES_MAX: usize = 130;
/// The shortest, in octets: its type and one more.
pub const DUID_BYTES_MIN: usize = 3;
/// A DUID's type: hardware address and time, hardware address, UUID (RFC 8415, section 11; RFC 6355).
const DUID_LLT: [u8; 2] = [0, 1];
const DUID_LL: [u8; 2] = [0, 3];
const DUID_UUID: [u8; 2] = [0, 4];
/// The hardware type of Ethernet.
const ETHERNET: [u8; 2] = [0, 1];

/// An IPv6 network: an address and the length of its prefix, 1 to 126 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Prefix6 {
    network: Ipv6Addr,
    bits: u8,
}

/// Why a text is not an IPv6 network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not an IPv6 network: write its first address and prefix length, as in fd00:77::/64")]
pub struct Prefix6Error(pub String);

impl Prefix6 {
    /// The network's first address.
    #[must_use]
    pub fn network(&self) -> Ipv6Addr {
        self.network
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0)
    }

    /// Whether `address` lies in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        u128::from(address) & self.mask() == u128::from(self.network)
    }

    /// Whether `address` can be a machine's: in the network, and not its first, which is every router's (RFC 4291,
    /// section 2.6.1).
    #[must_use]
    pub fn is_host(&self, address: Ipv6Addr) -> bool {
        self.contains(address) && address != self.network
    }
}

impl FromStr for Prefix6 {
    type Err = Prefix6Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, bits) = text.split_once('/')?;
            let bits = bits.parse().ok().filter(|bits| (1..=126).contains(bits))?;
            let prefix = Prefix6 { network: address.parse().ok()?, bits };
            let usable = !prefix.network.is_multicast() && !prefix.network.is_unicast_link_local();
            (usable && prefix.contains(prefix.network)).then_some(prefix)
        };
        parse().ok_or_else(|| Prefix6Error(text.to_owned()))
    }
}

impl TryFrom<String> for Prefix6 {
    type Error = Prefix6Error;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Prefix6> for String {
    fn from(prefix: Prefix6) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// A client's DHCP unique identifier. Prints in hexadecimal, octets joined by colons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Duid(Vec<u8>);

/// Why something is not a DUID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a DUID: write 3 to 130 octets in hexadecimal, as in 00:03:00:01:52:54:00:ab:cd:ef")]
pub struct DuidError(pub String);

impl Duid {
    /// The identifier of these octets, if they can be one.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        (DUID_BYTES_MIN..=DUID_BYTES_MAX).contains(&octets.len()).then(|| Duid(octets.to_vec()))
    }

    /// The identifier that is a UUID (type 4, RFC 6355).
    #[must_use]
    pub fn of_uuid(uuid: [u8; 16]) -> Self {
        Duid([&DUID_UUID[..], &uuid].concat())
    }

    /// Its octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The Ethernet address in it (types 1 and 3).
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        let (kind, rest) = self.0.split_first_chunk::<2>()?;
        let (hardware, rest) = rest.split_first_chunk::<2>()?;
        let address = match *kind {
            DUID_LLT => rest.get(4..)?,
            DUID_LL => rest,
            _ => return None,
        };
        (*hardware == ETHERNET).then_some(Mac(address.try_into().ok()?))
    }

    /// The UUID in it (type 4).
    #[must_use]
    pub fn uuid(&self) -> Option<[u8; 16]> {
        self.0.strip_prefix(&DUID_UUID)?.try_into().ok()
    }
}

impl FromStr for Duid {
    type Err = DuidError;

    /// Accepts octets joined by colons or hyphens, or by nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DuidError(text.chars().take(80).collect());
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !matches!(c, ':' | '-'))
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(wrong)?;
        let octet = |pair: &[u8]| pair.iter().fold(0u8, |octet, digit| (octet << 4) | digit);
        Duid::new(&digits.chunks(2).map(octet).collect::<Vec<u8>>()).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Duid {
    type Error = DuidError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Duid> for String {
    fn from(duid: Duid) -> Self {
        duid.to_string()
    }
}

impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets: Vec<String> = self.0.iter().map(|octet| format!("{octet:02x}")).collect();
        f.pad(&octets.join(":"))
    }
}

/// The hardware address from which an interface identifier was made (EUI-64, RFC 4291, appendix A).
#[must_use]
pub fn mac_in_address(address: Ipv6Addr) -> Option<Mac> {
    match address.octets() {
        [.., a, b, c, 0xff, 0xfe, d, e, f] => Some(Mac([a ^ 2, b, c, d, e, f])),
        _ => None,
    }
}

/// IPv6 on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NetworkIpv6 {
    /// Its addresses.
    pub subnet: Prefix6,
    /// The first and the last address that machines without one of their own are given, where they are given any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool6>,
    /// Name servers told to machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Ipv6Addr>,
    /// Domains in which machines look for names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Time servers told to machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ntp: Vec<Ipv6Addr>,
    /// Parameters told with a boot program's URL (option 60).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_parameters: Vec<String>,
    /// How long a lease is valid, in seconds.
    pub lease_s: u32,
    /// How willing the appliance is beside another DHCPv6 server; 255 ends every search at once.
    #[serde(default)]
    pub preference: u8,
    /// What is said in router advertisements.
    #[serde(default)]
    pub advertise: Advertise6,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pool6 {
    /// The first address.
    pub from: Ipv6Addr,
    /// The last address.
    pub to: Ipv6Addr,
}

impl Pool6 {
    /// How many addresses it has; 0 when it is the wrong way round.
    #[must_use]
    pub fn size(&self) -> u128 {
        let between = u128::from(self.to).checked_sub(u128::from(self.from));
        between.map_or(0, |between| between.saturating_add(1))
    }

    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        (self.from..=self.to).contains(&address)
    }
}

/// Whether a flag of an advertisement is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// It is.
    Set,
    /// It is not.
    Clear,
}

/// What router advertisements say of a network (RFC 4861, sections 4.2 and 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Advertise6 {
    /// M: machines ask for an address by DHCPv6. Firmware asks for none without it.
    pub managed: Flag,
    /// O: machines ask for other parameters by DHCPv6.
    pub other: Flag,
    /// L: the network's addresses are reached without a router.
    pub on_link: Flag,
    /// A: machines make an address of their own from the prefix.
    pub autonomous: Flag,
    /// For how long the appliance is a default router, in seconds; 0: it is none.
    pub router_lifetime_s: u16,
    /// The largest packet of the link, in bytes; 0 says nothing.
    pub mtu: u32,
}

impl Default for Advertise6 {
    fn default() -> Self {
        Advertise6 {
            managed: Flag::Set,
            other: Flag::Set,
            on_link: Flag::Set,
            autonomous: Flag::Clear,
            router_lifetime_s: 0,
            mtu: 0,
        }
    }
}

/// What is said of a node's IPv6.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeIpv6 {
    /// Its fixed address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// The identifier by which it asks, where its hardware address is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duid: Option<Duid>,
}

impl NodeIpv6 {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == NodeIpv6::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_with_host_bits_or_an_odd_length_or_of_this_link_alone_is_refused() {
        for bad in ["fd00::1/64", "fd00::", "fd00::/0", "fd00::/127", "10.0.0.0/24", "fe80::/64", "ff02::/16"] {
            assert!(bad.parse::<Prefix6>().is_err(), "{bad}");
        }
        let prefix: Prefix6 = "fd00:77::/64".parse().unwrap_or_else(|e| panic!("{e}"));
        let is_host = |text: &str| prefix.is_host(text.parse().unwrap_or_else(|e| panic!("{e}")));
        assert!(is_host("fd00:77::1") && !is_host("fd00:77::") && !is_host("fd00:77:0:1::1"));
    }

    #[test]
    fn a_duid_gives_the_hardware_address_or_the_uuid_that_it_was_made_from() {
        let mac = Some(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]));
        let duid = |text: &str| text.parse::<Duid>().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(duid("00:03:00:01:52:54:00:ab:cd:ef").mac(), mac);
        assert_eq!(duid("0001000129b2c3d4525400abcdef").mac(), mac);
        assert_eq!(duid("00:03:00:06:52:54:00:ab:cd:ef").mac(), None, "not Ethernet");
        let uuid = Duid::of_uuid([7; 16]);
        assert_eq!((uuid.uuid(), uuid.mac()), (Some([7; 16]), None));
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        assert!("00:04".parse::<Duid>().is_err() && "00:04:5".parse::<Duid>().is_err());
    }

    #[test]
    fn an_address_made_from_a_hardware_address_leads_back_to_it() {
        let address = "fe80::5054:ff:feab:cdef".parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(mac_in_address(address), Some(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef])));
        assert_eq!(mac_in_address(Ipv6Addr::LOCALHOST), None);
    }
}
