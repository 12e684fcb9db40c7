//! What a DHCP message tells the rest of the program.
//!
//! Purpose: the only way up from this folder's wire types: which client asks ([`client_of`]), and the facts of an exchange.
//!
//! Invariants: iPXE is known before its vendor class is looked at, because it also calls itself `PXEClient`. Of several
//! architectures the first that a boot program serves counts.
//!
//! Deliberately absent: when a fact is said again (`quiet`), and what a client is answered (`reply`).

use super::codec::{IpxeOption, Request};
use crate::boot::firmware::program;
use crate::fact::{Architecture, BootClient, DhcpEvent, DhcpFact, Fact, MalformedFact, Transport};
use crate::model::NodeId;

/// The service's name in facts.
const SERVICE: &str = "dhcp";
/// The user class of iPXE.
const IPXE_CLASS: &[u8] = b"iPXE";

/// What on the machine is asking.
#[must_use]
pub fn client_of(request: &Request) -> BootClient {
    let class = request.vendor_class.as_deref().unwrap_or_default();
    let http = class.starts_with(b"HTTPClient");
    let transport = if http { Transport::Http } else { Transport::Tftp };
    let architecture = || architecture_of(request, class, transport);
    if request.ipxe == IpxeOption::Present || request.user_classes.iter().any(|class| class == IPXE_CLASS) {
        BootClient::Ipxe(architecture())
    } else if http {
        BootClient::HttpRom(architecture())
    } else if class.starts_with(b"PXEClient") {
        BootClient::PxeRom(architecture())
    } else {
        BootClient::Other
    }
}

/// From option 93, or from the vendor class (`PXEClient:Arch:00007:UNDI:003016`) when that is missing; a machine that
/// says nothing is of the kind that was there before the question.
fn architecture_of(request: &Request, class: &[u8], transport: Transport) -> Architecture {
    let told: Vec<Architecture> = request.architectures.iter().map(|number| Architecture::from(*number)).collect();
    let served = told.iter().copied().find(|architecture| program(*architecture, transport).is_ok());
    served.or(told.first().copied()).or_else(|| in_class(class)).unwrap_or(Architecture::X86Bios)
}

fn in_class(class: &[u8]) -> Option<Architecture> {
    let text = str::from_utf8(class).ok()?;
    let (_, after) = text.split_once(":Arch:")?;
    after.split(':').next()?.parse::<u16>().ok().map(Architecture::from)
}

/// A step of an exchange, as a fact.
#[must_use]
pub fn exchange(request: &Request, node: Option<NodeId>, event: DhcpEvent) -> Fact {
    Fact::Dhcp(DhcpFact { mac: request.mac, node, client: client_of(request), event })
}

/// A message, or a part of one, that could not be understood.
#[must_use]
pub fn malformed(sender: String, reason: &dyn std::error::Error) -> Fact {
    Fact::Malformed(MalformedFact { service: SERVICE.to_owned(), sender, reason: reason.to_string() })
}
