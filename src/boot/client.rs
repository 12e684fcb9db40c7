//! Who is asking, and what name a fact may keep of what was asked.
//!
//! Pure. A client is believed to be the node that has its address: the boot protocols offer nothing better.

use std::net::IpAddr;

use crate::state::{Node, State};

/// Longest name of a file in a fact, in bytes; the rest is cut.
pub const NAME_BYTES_MAX: usize = 256;

/// The node whose fixed address `client` is, also where it is written as an IPv6 address.
#[must_use]
pub fn node_at(state: &State, client: IpAddr) -> Option<&Node> {
    match client.to_canonical() {
        IpAddr::V4(ip) => state.node_with_ip(ip).map(|node| &**node),
        IpAddr::V6(_) => None,
    }
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
