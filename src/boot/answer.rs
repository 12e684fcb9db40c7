//! What a machine is told to boot, by what asks.
//!
//! Purpose: one decision, [`answer`], which DHCP puts into its packets and the HTTP service serves. Specification: PXE 2.1,
//! section 2.2; RFC 4578; UEFI 2.10, section 24.7 (HTTP boot); iPXE's encapsulated options.
//!
//! Invariants: iPXE is always sent to the node's own script, never to a boot program again, so that a chain of loaders
//! ends; firmware that no program serves is told so as a value ([`BootAnswer::NoProgram`]).
//!
//! Deliberately absent: option numbers and packets (`dhcp`), the script's text (`http`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::firmware::{LOADERS_PATH, NoProgram, program};
use super::script::path_of;
use crate::fact::{BootClient, Transport};
use crate::model::{Mac, NodeSpec};

/// The name of a node's script in its folder, whose name is the node's hardware address with hyphens.
pub const SCRIPT_FILE: &str = "script.ipxe";

/// Where machines find the boot services. An unspecified address (0.0.0.0) in either place stands for the
/// appliance's own address on the network on which a machine asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Services {
    /// The TFTP server.
    pub tftp: Ipv4Addr,
    /// The HTTP boot server.
    pub http: SocketAddr,
}

impl Services {
    /// The services as they are seen from the network on which the appliance has the address `own`.
    #[must_use]
    pub fn seen_at(self, own: Ipv4Addr) -> Self {
        let tftp = if self.tftp.is_unspecified() { own } else { self.tftp };
        let http = if self.http.ip().is_unspecified() {
            SocketAddr::new(IpAddr::V4(own), self.http.port())
        } else {
            self.http
        };
        Services { tftp, http }
    }
}

/// What a client is told to boot; the variant is the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootAnswer {
    /// It is iPXE already: it gets its node's script.
    Script {
        /// The TFTP server, in case the script is changed to need one.
        server: Ipv4Addr,
        /// Where the script is.
        url: String,
    },
    /// PXE firmware: it gets a boot program by TFTP.
    ProgramByTftp {
        /// The TFTP server.
        server: Ipv4Addr,
        /// The program's file.
        file: &'static str,
    },
    /// UEFI firmware that boots by HTTP: it gets a boot program's URL.
    ProgramByHttp {
        /// Where the program is.
        url: String,
    },
    /// Not firmware: it gets an address and nothing to boot.
    AddressOnly,
    /// Firmware that nothing here can boot.
    NoProgram(NoProgram),
}

impl BootAnswer {
    /// The boot file's name or URL.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            BootAnswer::Script { url, .. } | BootAnswer::ProgramByHttp { url } => Some(url),
            BootAnswer::ProgramByTftp { file, .. } => Some(file),
            BootAnswer::AddressOnly | BootAnswer::NoProgram(_) => None,
        }
    }

    /// The server to fetch from, for protocols that name it apart from the file.
    #[must_use]
    pub fn next_server(&self) -> Option<Ipv4Addr> {
        match self {
            BootAnswer::Script { server, .. } | BootAnswer::ProgramByTftp { server, .. } => Some(*server),
            BootAnswer::ProgramByHttp { .. } | BootAnswer::AddressOnly | BootAnswer::NoProgram(_) => None,
        }
    }

    /// The vendor class that the answer must carry for the firmware to take it for a boot offer.
    #[must_use]
    pub fn vendor_class(&self) -> Option<&'static str> {
        match self {
            BootAnswer::ProgramByTftp { .. } => Some("PXEClient"),
            BootAnswer::ProgramByHttp { .. } => Some("HTTPClient"),
            BootAnswer::Script { .. } | BootAnswer::AddressOnly | BootAnswer::NoProgram(_) => None,
        }
    }
}

impl fmt::Display for BootAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootAnswer::Script { url, .. } => write!(f, "it is iPXE: its node's script, {url}"),
            BootAnswer::ProgramByTftp { server, file } => {
                write!(f, "it is PXE firmware: {file} by TFTP from {server}")
            }
            BootAnswer::ProgramByHttp { url } => write!(f, "it is HTTP boot firmware: {url}"),
            BootAnswer::AddressOnly => f.write_str("it is not firmware: an address only"),
            BootAnswer::NoProgram(why) => why.fmt(f),
        }
    }
}

/// Whose machine asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The hardware address that it asks from.
    pub mac: Mac,
    /// The node that it is, if it is one.
    pub node: Option<&'a NodeSpec>,
}

/// What `client` on `asker` is told to boot, with the services as its network sees them. An unknown machine is told what a
/// node is: whether there is a script for it is the HTTP service's to say.
#[must_use]
pub fn answer(asker: Asker<'_>, client: BootClient, services: &Services) -> BootAnswer {
    let Services { tftp, http } = *services;
    match client {
        BootClient::Ipxe(_) => {
            let path = path_of(asker.mac, SCRIPT_FILE);
            BootAnswer::Script { server: tftp, url: format!("http://{http}{path}") }
        }
        BootClient::PxeRom(architecture) => match program(architecture, Transport::Tftp) {
            Ok(program) => BootAnswer::ProgramByTftp { server: tftp, file: program.file },
            Err(why) => BootAnswer::NoProgram(why),
        },
        BootClient::HttpRom(architecture) => match program(architecture, Transport::Http) {
            Ok(program) => BootAnswer::ProgramByHttp { url: format!("http://{http}{LOADERS_PATH}{}", program.file) },
            Err(why) => BootAnswer::NoProgram(why),
        },
        BootClient::Other => BootAnswer::AddressOnly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Architecture;

    fn node() -> NodeSpec {
        NodeSpec {
            name: "n1".parse().expect("a name"),
            network: "boot".parse().expect("a name"),
            mac: Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]),
            ip: Ipv4Addr::new(10, 77, 0, 11),
            matching: Default::default(),
            cake: None,
            bmc: None,
            labels: Default::default(),
            pool: None,
            arch: None,
            platform: None,
            parents: Vec::new(),
            variables: Default::default(),
            own: Default::default(),
        }
    }

    fn asker(node: &NodeSpec) -> Asker<'_> {
        Asker { mac: node.mac, node: Some(node) }
    }

    fn services() -> Services {
        let anywhere = Services { tftp: Ipv4Addr::UNSPECIFIED, http: SocketAddr::from(([0, 0, 0, 0], 8080)) };
        anywhere.seen_at(Ipv4Addr::new(10, 77, 0, 1))
    }

    #[test]
    fn ipxe_of_any_architecture_gets_its_nodes_script() {
        for architecture in [Architecture::X86Bios, Architecture::X64Uefi, Architecture::Arm64Uefi] {
            let answer = answer(asker(&node()), BootClient::Ipxe(architecture), &services());
            assert_eq!(answer.file(), Some("http://10.77.0.1:8080/boot/52-54-00-ab-cd-ef/script.ipxe"));
            assert_eq!(answer.vendor_class(), None);
        }
    }

    #[test]
    fn pxe_firmware_gets_a_program_by_tftp_and_http_firmware_its_url() {
        let bios = answer(asker(&node()), BootClient::PxeRom(Architecture::X86Bios), &services());
        assert_eq!((bios.file(), bios.next_server()), (Some("undionly.kpxe"), Some(Ipv4Addr::new(10, 77, 0, 1))));
        assert_eq!(bios.vendor_class(), Some("PXEClient"));
        let http = answer(asker(&node()), BootClient::HttpRom(Architecture::X64UefiHttp), &services());
        assert_eq!(http.file(), Some("http://10.77.0.1:8080/loaders/snponly.efi"));
        assert_eq!(http.vendor_class(), Some("HTTPClient"));
    }

    #[test]
    fn an_unknown_machine_is_told_a_program_and_the_script_of_its_own_address() {
        let unknown = Asker { mac: Mac([2, 0, 0, 0, 0, 7]), node: None };
        let rom = answer(unknown, BootClient::PxeRom(Architecture::X64Uefi), &services());
        assert_eq!(rom.file(), Some("snponly.efi"));
        let ipxe = answer(unknown, BootClient::Ipxe(Architecture::X64Uefi), &services());
        assert_eq!(ipxe.file(), Some("http://10.77.0.1:8080/boot/02-00-00-00-00-07/script.ipxe"));
    }

    #[test]
    fn an_operating_system_gets_an_address_and_unserved_firmware_the_reason() {
        assert_eq!(answer(asker(&node()), BootClient::Other, &services()), BootAnswer::AddressOnly);
        let arm = answer(asker(&node()), BootClient::PxeRom(Architecture::Arm64Uefi), &services());
        assert!(matches!(arm, BootAnswer::NoProgram(_)), "{arm}");
    }

    #[test]
    fn a_service_with_an_address_of_its_own_keeps_it() {
        let set = Services { tftp: Ipv4Addr::new(10, 0, 0, 9), http: SocketAddr::from(([10, 0, 0, 8], 80)) };
        assert_eq!(set.seen_at(Ipv4Addr::new(10, 77, 0, 1)), set);
    }
}
