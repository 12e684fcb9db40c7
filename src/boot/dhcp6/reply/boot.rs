//! What a client is told to boot over IPv6.
//!
//! Purpose: [`boot`]. The decision itself is `boot::answer`'s, the same as over IPv4; here it becomes a URL (RFC 5970, section
//! 3.1). Specification: UEFI 2.10 §24.3 and §24.7: PXE firmware takes a `tftp://` URL, HTTP firmware an `http://` one with a
//! vendor class beside it that says `HTTPClient`.
//!
//! Invariant: a URL names an address, never a name, so that firmware needs no name server.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::super::codec::VendorClass;
use super::place::Place;
use crate::boot::answer::{BootAnswer, Services, answer};
use crate::boot::chain::Wishes;
use crate::fact::BootClient;
use crate::state::Node;

/// The vendor that UEFI firmware names: Intel, which defined PXE.
const INTEL: u32 = 343;

/// Where machines find the boot services over IPv6. An unspecified address stands for the appliance's own address on
/// the network on which a machine asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Services6 {
    /// The TFTP server, if it serves IPv6.
    pub tftp: Option<Ipv6Addr>,
    /// The HTTP boot server, if it serves IPv6.
    pub http: Option<SocketAddrV6>,
}

/// What a client is told to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Boot {
    /// This file.
    File { url: String, vendor_class: Option<VendorClass> },
    /// It needs no file, or gets it over IPv4.
    None,
    /// It is firmware, and there is nothing for it.
    Nothing,
}

impl Boot {
    pub(super) fn file(&self) -> Option<&str> {
        match self {
            Boot::File { url, .. } => Some(url),
            Boot::None | Boot::Nothing => None,
        }
    }
}

pub(super) fn boot(node: Option<&Node>, client: BootClient, place: &Place, services: &Services6) -> Boot {
    let Some(mac) = place.who.mac else { return Boot::None };
    let wishes = node.map(|node| Wishes::of(place.state, node)).unwrap_or_default();
    let seen = |ip: Ipv6Addr| if ip.is_unspecified() { place.server_ip } else { Some(ip) };
    let http = services.http.and_then(|http| Some(SocketAddr::new(seen(*http.ip())?.into(), http.port())));
    let tftp = services.tftp.and_then(seen);
    let told = Services {
        tftp: Ipv4Addr::UNSPECIFIED,
        http: http.unwrap_or(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)),
    };
    let plain = |url| Boot::File { url, vendor_class: None };
    match answer(mac, &wishes, client, &told) {
        BootAnswer::Script { url, .. } if http.is_some() => plain(url),
        BootAnswer::ProgramByHttp { url } if http.is_some() => {
            let vendor_class = Some(VendorClass { enterprise: INTEL, data: b"HTTPClient".to_vec() });
            Boot::File { url, vendor_class }
        }
        BootAnswer::ProgramByTftp { file, .. } => {
            tftp.map_or(Boot::Nothing, |server| plain(format!("tftp://[{server}]/{file}")))
        }
        BootAnswer::Script { .. } | BootAnswer::AddressOnly => Boot::None,
        BootAnswer::ProgramByHttp { .. } | BootAnswer::NoProgram(_) => Boot::Nothing,
    }
}
