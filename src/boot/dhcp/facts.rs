//! What a DHCP message tells the rest of the program.
//!
//! Purpose: the only way up from this folder's wire types: which client asks ([`client_of`]), and the facts of an exchange.
//!
//! Invariants: iPXE is known before its vendor class is looked at, because it also calls itself `PXEClient`. Of several
//! architectures the first that a boot program serves counts.
//!
//! Deliberately absent: when a fact is said again (`quiet`), and what a client is answered (`reply`).

use super::codec::{IpxeOption, RelayPart, Request};
use uuid::Uuid;

use crate::boot::client::{self, IPXE_CLASS, Said};
use crate::fact::{BootClient, DhcpEvent, DhcpFact, Fact, MalformedFact, Told};
use crate::model::limits::TOLD_BYTES_MAX;
use crate::model::{NodeId, Octets};

/// The service's name in facts.
const SERVICE: &str = "dhcp";

/// What on the machine is asking.
#[must_use]
pub fn client_of(request: &Request) -> BootClient {
    let ipxe = request.ipxe == IpxeOption::Present || request.user_classes.iter().any(|class| class == IPXE_CLASS);
    let vendor_class = request.vendor_class.as_deref().unwrap_or_default();
    client::client_of(&Said { vendor_class, architectures: &request.architectures, ipxe })
}

/// What the machine says of itself, and its relay of where it is; of what is longer than [`TOLD_BYTES_MAX`] the start.
#[must_use]
pub fn told_by(request: &Request) -> Told {
    let kept = |bytes: &[u8]| Octets::from(bytes.get(..TOLD_BYTES_MAX).unwrap_or(bytes));
    let said = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(kept);
    Told {
        network: None,
        uuid: request.machine_id.as_deref().and_then(|id| uuid_of(id, client_of(request))),
        client_id: said(&request.client_id),
        vendor_class: said(&request.vendor_class),
        hostname: said(&request.hostname),
        relay: request.relay,
        circuit_id: request.relay_part(RelayPart::CircuitId).filter(|part| !part.is_empty()).map(kept),
        remote_id: request.relay_part(RelayPart::RemoteId).filter(|part| !part.is_empty()).map(kept),
    }
}

/// Firmware sends its UUID as SMBIOS stores it, with the first three parts in little-endian order; iPXE turns them to the
/// order in which a UUID is printed.
fn uuid_of(machine_id: &[u8], client: BootClient) -> Option<Uuid> {
    let octets: [u8; 16] = machine_id.get(1..)?.try_into().ok()?;
    let uuid = match client {
        BootClient::Ipxe(_) => Uuid::from_bytes(octets),
        _ => Uuid::from_bytes_le(octets),
    };
    // What a board has on which nobody has set one.
    (!uuid.is_nil() && !uuid.is_max()).then_some(uuid)
}

/// A step of an exchange, as a fact.
#[must_use]
pub fn exchange(request: &Request, node: Option<NodeId>, event: DhcpEvent, told: Told) -> Fact {
    Fact::Dhcp(DhcpFact { mac: request.mac, node, client: client_of(request), event, told: Box::new(told) })
}

/// A message, or a part of one, that could not be understood.
#[must_use]
pub fn malformed(sender: String, reason: &dyn std::error::Error) -> Fact {
    Fact::Malformed(MalformedFact { service: SERVICE.to_owned(), sender, reason: reason.to_string() })
}
