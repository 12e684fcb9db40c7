//! Names by which loaders ask for a configuration of their machine's own.
//!
//! Purpose: PXELINUX and GRUB try a list of names, from the machine's hardware address over its IPv4 address, cut shorter digit
//! by digit, to one for everybody. [`own_file`] says of a name which loader asks, and for whom. A name that is for nobody in
//! particular means the machine that asks.
//!
//! Pure. Specification: PXELINUX (`wiki.syslinux.org`, "PXELINUX, Configuration"); GRUB's manual, section "Network", and
//! `grub-core/net/net.c` (`grub_net_search_config_file`).
//!
//! Deliberately absent: the UUID that PXELINUX tries first and cut addresses, which mean several machines: these are plain
//! files or nothing, and the loader tries its next name.

use std::net::Ipv4Addr;

use crate::model::Mac;

/// A loader that asks for a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PXELINUX, and whoever took over its names (U-Boot, petitboot).
    Pxelinux,
    /// GRUB.
    Grub,
}

/// For whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The machine with this hardware address.
    Mac(Mac),
    /// The machine with this address.
    Address(Ipv4Addr),
    /// The machine that asks.
    Asker,
}

/// A configuration of a machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnFile {
    /// Who reads it.
    pub dialect: Dialect,
    /// Whose it is.
    pub whose: Whose,
}

/// The configuration that `name` means, in whatever folder; none where it is a plain file's name.
#[must_use]
pub fn own_file(name: &str) -> Option<OwnFile> {
    let mut parts = name.rsplit(['/', '\\']);
    let (file, folder) = (parts.next()?, parts.next());
    if folder == Some("pxelinux.cfg") {
        return Some(OwnFile { dialect: Dialect::Pxelinux, whose: whose(file, "default")? });
    }
    let rest = file.strip_prefix("grub.cfg")?;
    let whose = match rest.strip_prefix('-') {
        None if rest.is_empty() => Whose::Asker,
        None => return None,
        Some(of) => whose(of, "")?,
    };
    Some(OwnFile { dialect: Dialect::Grub, whose })
}

fn whose(text: &str, everybody: &str) -> Option<Whose> {
    if !everybody.is_empty() && text == everybody {
        return Some(Whose::Asker);
    }
    // The number of the hardware's type; Ethernet is 1 (RFC 1700).
    if let Some(mac) = text.strip_prefix("01-") {
        return (mac.len() == 17).then(|| mac.parse().ok()).flatten().map(Whose::Mac);
    }
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let address = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()?;
    Some(Whose::Address(address.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Dialect::{Grub, Pxelinux};
    use super::*;

    #[test]
    fn the_names_that_loaders_try_are_understood_in_their_order() {
        let mac = Whose::Mac(Mac([0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd]));
        let address = Whose::Address(Ipv4Addr::new(192, 168, 2, 91));
        for (name, wanted) in [
            ("pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d", None),
            ("pxelinux.cfg/01-88-99-aa-bb-cc-dd", Some((Pxelinux, mac))),
            ("/mybootdir/pxelinux.cfg/01-88-99-AA-BB-CC-DD", Some((Pxelinux, mac))),
            ("pxelinux.cfg/C0A8025B", Some((Pxelinux, address))),
            ("pxelinux.cfg/C0A8025", None),
            ("pxelinux.cfg/C", None),
            ("pxelinux.cfg/default", Some((Pxelinux, Whose::Asker))),
            ("/grub/grub.cfg-01-88-99-aa-bb-cc-dd", Some((Grub, mac))),
            ("/grub/grub.cfg-C0A8025B", Some((Grub, address))),
            ("/grub/grub.cfg-C0A8", None),
            ("grub\\grub.cfg", Some((Grub, Whose::Asker))),
            ("grub.cfg", Some((Grub, Whose::Asker))),
            ("grub/x86_64-efi/grub.cfg", Some((Grub, Whose::Asker))),
            ("grub/grub.cfg.old", None),
            ("grub/grub.cfg-", None),
            ("pxelinux.cfg", None),
            ("pxelinux.0", None),
            ("vmlinuz", None),
            ("", None),
        ] {
            let wanted = wanted.map(|(dialect, whose)| OwnFile { dialect, whose });
            assert_eq!(own_file(name), wanted, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_machines_names_lead_to_it_and_no_name_panics(bytes: [u8; 6], ip: u32, other in "\\PC{0,40}") {
            let mac = Mac(bytes);
            let hyphens = mac.to_string().replace(':', "-");
            for (name, whose) in [
                (format!("pxelinux.cfg/01-{hyphens}"), Whose::Mac(mac)),
                (format!("grub/grub.cfg-01-{hyphens}"), Whose::Mac(mac)),
                (format!("pxelinux.cfg/{ip:08X}"), Whose::Address(ip.into())),
                (format!("grub/grub.cfg-{ip:08X}"), Whose::Address(ip.into())),
            ] {
                prop_assert_eq!(own_file(&name).map(|file| file.whose), Some(whose));
            }
            let _ = own_file(&other);
        }
    }
}
