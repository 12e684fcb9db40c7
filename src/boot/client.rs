//! Who is asking, and what name a fact may keep of what was asked.
//!
//! Pure. A client is believed to be the node that has its address: the boot protocols offer nothing better.

use std::net::IpAddr;

use super::firmware::is_served;
use crate::fact::{Architecture, BootClient, Transport};
use crate::state::{Node, State};

/// Longest name of a file in a fact, in bytes; the rest is cut.
pub const NAME_BYTES_MAX: usize = 256;

/// The node whose address `client` is; an IPv4 address may be written as an IPv6 one.
#[must_use]
pub fn node_at(state: &State, client: IpAddr) -> Option<&Node> {
    match client.to_canonical() {
        IpAddr::V4(ip) => state.node_with_ip(ip).map(|node| &**node),
        IpAddr::V6(ip) => state.node_with_ip6(ip).map(|node| &**node),
    }
}

/// The user class of iPXE.
pub const IPXE_CLASS: &[u8] = b"iPXE";

/// What a client says of itself, by whichever protocol.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Its vendor class; empty when it says none.
    pub vendor_class: &'a [u8],
    /// Its architectures, in its order.
    pub architectures: &'a [u16],
    /// Whether it says that it is iPXE, by its user class or by options of iPXE's own.
    pub ipxe: bool,
}

/// What on the machine is asking. iPXE is known before its vendor class is looked at, because it also calls itself
/// `PXEClient`; of several architectures the first that is served counts.
#[must_use]
pub fn client_of(said: &Said<'_>) -> BootClient {
    let http = said.vendor_class.starts_with(b"HTTPClient");
    let transport = if http { Transport::Http } else { Transport::Tftp };
    if said.ipxe {
        BootClient::Ipxe(architecture_of(said, transport))
    } else if http {
        BootClient::HttpRom(architecture_of(said, transport))
    } else if said.vendor_class.starts_with(b"PXEClient") {
        BootClient::PxeRom(architecture_of(said, transport))
    } else {
        BootClient::Other
    }
}

/// As it is told, or from the vendor class (`PXEClient:Arch:00007:UNDI:003016`) when that is missing; a machine that says
/// nothing is of the kind that was there before the question.
fn architecture_of(said: &Said<'_>, transport: Transport) -> Architecture {
    let told = || said.architectures.iter().copied().map(Architecture::from);
    let served = told().find(|architecture| is_served(*architecture, transport));
    served.or_else(|| told().next()).or_else(|| in_class(said.vendor_class)).unwrap_or(Architecture::X86Bios)
}

fn in_class(class: &[u8]) -> Option<Architecture> {
    let text = str::from_utf8(class).ok()?;
    let (_, after) = text.split_once(":Arch:")?;
    after.split(':').next()?.parse::<u16>().ok().map(Architecture::from)
}

/// A name that anybody may have sent, without control characters and cut to [`NAME_BYTES_MAX`].
#[must_use]
pub fn printable(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }) {
        if text.len().saturating_add(character.len_utf8()) > NAME_BYTES_MAX {
            break;
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_printable_and_short_and_a_good_one_is_kept(name in "\\PC{0,400}|[\\x00-\\x7f]{0,300}") {
            let kept = printable(&name);
            prop_assert!(kept.len() <= NAME_BYTES_MAX && !kept.chars().any(char::is_control));
            if name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control) {
                prop_assert_eq!(kept, name);
            }
        }
    }
}
