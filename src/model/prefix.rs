//! An IPv4 network as an address and the length of its prefix.
//!
//! Invariant: a [`Prefix`] has no host bits, and room for a machine.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An IPv4 network: an address and the length of its prefix, 1 to 30 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    network: Ipv4Addr,
    bits: u8,
}

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not an IPv4 network: write its first address and prefix length, as in 10.77.0.0/24")]
pub struct PrefixError(pub String);

impl Prefix {
    /// The network's first address.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The network mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0))
    }

    /// The broadcast address, the network's last.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !u32::from(self.mask()))
    }

    /// Whether `address` lies in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.network)
    }

    /// Whether `address` can be a machine's: in the network, and neither its first nor its last.
    #[must_use]
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network && address != self.broadcast()
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, bits) = text.split_once('/')?;
            let bits = bits.parse().ok().filter(|bits| (1..=30).contains(bits))?;
            let prefix = Prefix { network: address.parse().ok()?, bits };
            let whole = u32::from(prefix.network) & u32::from(prefix.mask());
            (whole == u32::from(prefix.network)).then_some(prefix)
        };
        parse().ok_or_else(|| PrefixError(text.to_owned()))
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_knows_its_mask_its_last_address_and_its_hosts() {
        let prefix: Prefix = "10.77.0.0/24".parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(prefix.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(prefix.broadcast(), Ipv4Addr::new(10, 77, 0, 255));
        assert!(prefix.is_host(Ipv4Addr::new(10, 77, 0, 9)));
        assert!(!prefix.is_host(Ipv4Addr::new(10, 77, 0, 255)));
        assert!(!prefix.contains(Ipv4Addr::new(10, 77, 1, 9)));
    }

    #[test]
    fn a_network_with_host_bits_or_an_odd_length_is_refused() {
        for bad in ["10.77.0.1/24", "10.77.0.0", "10.77.0.0/0", "10.77.0.0/31", "x/24", "10.0.0.0/99"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
