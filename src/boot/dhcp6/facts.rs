//! What a DHCPv6 message tells the rest of the program.
//!
//! Purpose: the only way up from this folder's wire types: which client asks ([`client_of`]), and the facts of an exchange.
//!
//! Invariants: iPXE is known by its user class, before its vendor class is looked at. Of several architectures the first
//! that a boot program serves counts.

use super::codec::Request;
use crate::boot::firmware::program;
use crate::fact::{Architecture, BootClient, Dhcp6Event, Dhcp6Fact, Fact, MalformedFact, Transport};
use crate::model::{Duid, Mac, NodeId};

/// The service's name in facts.
const SERVICE: &str = "dhcp6";
/// The user class of iPXE.
const IPXE_CLASS: &[u8] = b"iPXE";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// By its identifier.
    pub duid: Option<Duid>,
    /// By its hardware address.
    pub mac: Option<Mac>,
    /// The node that it is.
    pub node: Option<NodeId>,
}

/// What on the machine is asking.
#[must_use]
pub fn client_of(request: &Request) -> BootClient {
    let class = request.vendor_class.as_ref().map(|class| class.data.as_slice()).unwrap_or_default();
    let http = class.starts_with(b"HTTPClient");
    let transport = if http { Transport::Http } else { Transport::Tftp };
    let told: Vec<Architecture> = request.architectures.iter().map(|number| Architecture::from(*number)).collect();
    let served = told.iter().copied().find(|architecture| program(*architecture, transport).is_ok());
    let architecture = served.or(told.first().copied()).unwrap_or(Architecture::X64Uefi);
    if request.user_classes.iter().any(|class| class == IPXE_CLASS) {
        BootClient::Ipxe(architecture)
    } else if http {
        BootClient::HttpRom(architecture)
    } else if class.starts_with(b"PXEClient") {
        BootClient::PxeRom(architecture)
    } else {
        BootClient::Other
    }
}

/// A step of an exchange, as a fact.
#[must_use]
pub fn exchange(request: &Request, who: &Who, event: Dhcp6Event) -> Fact {
    let Who { duid, mac, node } = who.clone();
    Fact::Dhcp6(Dhcp6Fact { duid, mac, node, client: client_of(request), event })
}

/// A message that could not be understood.
#[must_use]
pub fn malformed(sender: String, reason: &dyn std::error::Error) -> Fact {
    Fact::Malformed(MalformedFact { service: SERVICE.to_owned(), sender, reason: reason.to_string() })
}
