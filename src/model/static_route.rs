//! A route that machines are told (RFC 3442): a destination and the router to it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A destination of 0 to 32 bits and the router to it; 0.0.0.0 as the router means that it is on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub struct StaticRoute {
    destination: Ipv4Addr,
    bits: u8,
    router: Ipv4Addr,
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a route: write its destination and its router, as in 10.0.0.0/8 via 10.77.0.1")]
pub struct RouteError(pub String);

impl StaticRoute {
    /// The way to everything that no other route leads to.
    #[must_use]
    pub fn default_by(router: Ipv4Addr) -> Self {
        StaticRoute { destination: Ipv4Addr::UNSPECIFIED, bits: 0, router }
    }

    /// Whether it leads to everything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.bits == 0
    }

    /// Its bytes in option 121: the prefix length, as many octets of the destination as it has, the router.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let octets = usize::from(self.bits.div_ceil(8));
        let destination = self.destination.octets();
        let significant = destination.iter().take(octets).copied();
        [self.bits].into_iter().chain(significant).chain(self.router.octets()).collect()
    }
}

impl FromStr for StaticRoute {
    type Err = RouteError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (destination, router) = text.split_once(" via ")?;
            let (address, bits) = destination.trim().split_once('/')?;
            let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32)?;
            let destination: Ipv4Addr = address.parse().ok()?;
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let whole = u32::from(destination) & mask == u32::from(destination);
            whole.then_some(StaticRoute { destination, bits, router: router.trim().parse().ok()? })
        };
        parse().ok_or_else(|| RouteError(text.to_owned()))
    }
}

impl fmt::Display for StaticRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} via {}", self.destination, self.bits, self.router)
    }
}

impl TryFrom<String> for StaticRoute {
    type Error = RouteError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StaticRoute> for String {
    fn from(route: StaticRoute) -> Self {
        route.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_written_as_it_was_read_and_encoded_with_its_significant_octets() {
        for (text, bytes) in [
            ("0.0.0.0/0 via 10.0.0.1", &[0, 10, 0, 0, 1][..]),
            ("10.229.0.128/25 via 10.229.0.1", &[25, 10, 229, 0, 128, 10, 229, 0, 1][..]),
            ("10.17.0.0/16 via 0.0.0.0", &[16, 10, 17, 0, 0, 0, 0][..]),
        ] {
            let route: StaticRoute = text.parse().expect(text);
            assert_eq!((route.to_string().as_str(), route.encoded().as_slice()), (text, bytes));
        }
        for bad in ["10.0.0.0/8", "10.0.0.1/8 via 10.0.0.1", "10.0.0.0/33 via 10.0.0.1", "x via y"] {
            assert!(bad.parse::<StaticRoute>().is_err(), "{bad}");
        }
    }
}
