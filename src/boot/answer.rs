//! What a machine is told to boot, by what asks.
//!
//! Purpose: [`answer`], the decision of `chain` as DHCP puts it into its packets. Specification: PXE 2.1,
//! section 2.2; RFC 4578; UEFI 2.10, section 24.7 (HTTP boot); iPXE's encapsulated options.
//!
//! Invariants: iPXE is always sent to the node's own script, never to a boot program again, so that a chain of loaders
//! ends; firmware that no program serves is told so as a value ([`BootAnswer::NoProgram`]).
//!
//! Deliberately absent: option numbers and packets (`dhcp`), the script's text (`http`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::chain::{Link, Refusal, Wishes, link};
use super::firmware::LOADERS_PATH;
use super::script::path_of;
use super::target::TargetFile;
use crate::fact::{BootClient, Transport};
use crate::model::Mac;

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
        file: String,
    },
    /// UEFI firmware that boots by HTTP: it gets a boot program's URL.
    ProgramByHttp {
        /// Where the program is.
        url: String,
    },
    /// Not firmware: it gets an address and nothing to boot.
    AddressOnly,
    /// Firmware that nothing here can boot.
    NoProgram(Refusal),
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

/// What `client` on the machine with this hardware address is told to boot, with the services as its network sees them.
#[must_use]
pub fn answer(mac: Mac, wishes: &Wishes, client: BootClient, services: &Services) -> BootAnswer {
    let Services { tftp, http } = *services;
    match link(client, wishes) {
        Ok(Link::Script) => {
            BootAnswer::Script { server: tftp, url: format!("http://{http}{}", path_of(mac, SCRIPT_FILE)) }
        }
        Ok(Link::Program { program, transport: Transport::Tftp, .. }) => {
            BootAnswer::ProgramByTftp { server: tftp, file: program.file.to_owned() }
        }
        Ok(Link::Program { program, transport: Transport::Http, .. }) => {
            BootAnswer::ProgramByHttp { url: format!("http://{http}{LOADERS_PATH}{}", program.file) }
        }
        Ok(Link::Efi { transport, .. }) => {
            let path = path_of(mac, &format!("target/{}", TargetFile::Efi.name()));
            match transport {
                Transport::Tftp => {
                    BootAnswer::ProgramByTftp { server: tftp, file: path.trim_start_matches('/').to_owned() }
                }
                Transport::Http => BootAnswer::ProgramByHttp { url: format!("http://{http}{path}") },
            }
        }
        Ok(Link::AddressOnly) => BootAnswer::AddressOnly,
        Err(why) => BootAnswer::NoProgram(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Architecture;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);

    fn answer(client: BootClient, services: &Services) -> BootAnswer {
        super::answer(MAC, &Wishes::default(), client, services)
    }

    fn services() -> Services {
        let anywhere = Services { tftp: Ipv4Addr::UNSPECIFIED, http: SocketAddr::from(([0, 0, 0, 0], 8080)) };
        anywhere.seen_at(Ipv4Addr::new(10, 77, 0, 1))
    }

    #[test]
    fn ipxe_of_any_architecture_gets_its_nodes_script() {
        for architecture in [Architecture::X86Bios, Architecture::X64Uefi, Architecture::Arm64Uefi] {
            let answer = answer(BootClient::Ipxe(architecture), &services());
            assert_eq!(answer.file(), Some("http://10.77.0.1:8080/boot/52-54-00-ab-cd-ef/script.ipxe"));
            assert_eq!(answer.vendor_class(), None);
        }
    }

    #[test]
    fn pxe_firmware_gets_a_program_by_tftp_and_http_firmware_its_url() {
        let bios = answer(BootClient::PxeRom(Architecture::X86Bios), &services());
        assert_eq!((bios.file(), bios.next_server()), (Some("undionly.kpxe"), Some(Ipv4Addr::new(10, 77, 0, 1))));
        assert_eq!(bios.vendor_class(), Some("PXEClient"));
        let http = answer(BootClient::HttpRom(Architecture::X64UefiHttp), &services());
        assert_eq!(http.file(), Some("http://10.77.0.1:8080/loaders/snponly.efi"));
        assert_eq!(http.vendor_class(), Some("HTTPClient"));
    }

    #[test]
    fn an_unknown_machine_is_told_a_program_and_the_script_of_its_own_address() {
        let unknown = Mac([2, 0, 0, 0, 0, 7]);
        let told = |client| super::answer(unknown, &Wishes::default(), client, &services());
        assert_eq!(told(BootClient::PxeRom(Architecture::X64Uefi)).file(), Some("snponly.efi"));
        let script = told(BootClient::Ipxe(Architecture::X64Uefi));
        assert_eq!(script.file(), Some("http://10.77.0.1:8080/boot/02-00-00-00-00-07/script.ipxe"));
    }

    #[test]
    fn an_operating_system_gets_an_address_and_unserved_firmware_the_reason() {
        assert_eq!(answer(BootClient::Other, &services()), BootAnswer::AddressOnly);
        let riscv = answer(BootClient::PxeRom(Architecture::from(27)), &services());
        assert!(matches!(riscv, BootAnswer::NoProgram(_)), "{riscv}");
        let arm = answer(BootClient::PxeRom(Architecture::Arm64Uefi), &services());
        assert_eq!(arm.file(), Some("grubaa64.efi"));
    }

    #[test]
    fn a_service_with_an_address_of_its_own_keeps_it() {
        let set = Services { tftp: Ipv4Addr::new(10, 0, 0, 9), http: SocketAddr::from(([10, 0, 0, 8], 80)) };
        assert_eq!(set.seen_at(Ipv4Addr::new(10, 77, 0, 1)), set);
    }
}
