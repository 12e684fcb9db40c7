//! The client's side of DHCP and TFTP, as bytes: what ROMs and iPXE send, and what they read out of an answer.
//!
//! The appliance's own codec reads what is written here, and this reads what it writes; neither knows the other's code.
//! Pure. Specification: RFC 2131 table 5, RFC 4578, PXE 2.1 §2.2; RFC 1350 and RFC 2347 for the file.

use std::net::Ipv4Addr;

use dhcproto::v4::{Decodable, Decoder, DhcpOption, Message, MessageType, OptionCode};

use crate::boot::tftp::codec::{self, Mode, Options, Packet};
use crate::model::Mac;

/// How a machine boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Kind {
    /// A BIOS that boots by PXE.
    Bios,
    /// UEFI that boots by PXE.
    UefiPxe,
    /// UEFI that boots by HTTP.
    UefiHttp,
    /// A network card with iPXE in its ROM.
    Ipxe,
}

impl Kind {
    /// The architecture's number (RFC 4578, section 2.1).
    fn architecture(self) -> u16 {
        match self {
            Kind::Bios | Kind::Ipxe => 0,
            Kind::UefiPxe => 7,
            Kind::UefiHttp => 16,
        }
    }
}

/// What asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Speaker {
    /// The ROM.
    Rom,
    /// iPXE.
    Loader,
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// A DISCOVER, or a REQUEST of the address that a server offered.
pub(in crate::sim) fn request(
    kind: Kind,
    speaker: Speaker,
    mac: Mac,
    xid: u32,
    offered: Option<(Ipv4Addr, Ipv4Addr)>,
) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&xid.to_be_bytes());
    // Firmware asks for a broadcast, as it cannot hear anything else yet.
    bytes[10] = 0x80;
    bytes[28..34].copy_from_slice(&mac.0);
    bytes.extend(COOKIE);
    let mut option = |code: u8, data: &[u8]| {
        bytes.push(code);
        bytes.push(u8::try_from(data.len()).unwrap_or(0));
        bytes.extend(data);
    };
    option(53, &[if offered.is_some() { 3 } else { 1 }]);
    if let Some((ip, server)) = offered {
        option(50, &ip.octets());
        option(54, &server.octets());
    }
    option(55, &[1, 3, 6, 12, 54, 60, 66, 67]);
    option(57, &1472_u16.to_be_bytes());
    option(93, &kind.architecture().to_be_bytes());
    option(94, &[1, 3, 16]);
    let family = if kind == Kind::UefiHttp && speaker == Speaker::Rom { "HTTPClient" } else { "PXEClient" };
    option(60, format!("{family}:Arch:{:05}:UNDI:003016", kind.architecture()).as_bytes());
    if speaker == Speaker::Loader || kind == Kind::Ipxe {
        option(77, b"iPXE");
        option(175, &[176, 1, 1]);
    }
    let mut guid = vec![0];
    guid.extend([mac.0.as_slice(), &[0; 10]].concat());
    option(97, &guid);
    bytes.push(255);
    bytes
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Told {
    /// Here is an address.
    Offer { ip: Ipv4Addr, server: Ipv4Addr },
    /// The address is yours, and this is to be booted.
    Ack { ip: Ipv4Addr, file: String },
    /// It is not.
    Nak,
}

/// Reads an answer that is for this machine and this exchange; anything else is nothing.
pub(in crate::sim) fn read(bytes: &[u8], mac: Mac, xid: u32) -> Option<Told> {
    let message = Message::decode(&mut Decoder::new(bytes)).ok()?;
    if message.xid() != xid || message.chaddr() != mac.0 {
        return None;
    }
    let options = message.opts();
    let server = match options.get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) => *server,
        _ => return None,
    };
    let file = match options.get(OptionCode::BootfileName) {
        Some(DhcpOption::BootfileName(file)) => String::from_utf8_lossy(file).into_owned(),
        _ => String::new(),
    };
    match options.get(OptionCode::MessageType) {
        Some(DhcpOption::MessageType(MessageType::Offer)) => Some(Told::Offer { ip: message.yiaddr(), server }),
        Some(DhcpOption::MessageType(MessageType::Ack)) => Some(Told::Ack { ip: message.yiaddr(), file }),
        Some(DhcpOption::MessageType(MessageType::Nak)) => Some(Told::Nak),
        _ => None,
    }
}

/// A TFTP request for a file, as UEFI's and iPXE's clients send it.
pub(in crate::sim) fn read_request(file: &str) -> Vec<u8> {
    let options = Options { blksize_bytes: Some(1432), tsize_bytes: Some(0), ..Options::default() };
    let mut bytes = Vec::new();
    codec::encode(&Packet::Read(codec::Request { name: file, mode: Mode::Octet, options }), &mut bytes);
    bytes
}

/// Whether a TFTP server grants a file.
pub(in crate::sim) fn is_granted(bytes: &[u8]) -> bool {
    matches!(codec::decode(bytes), Ok(Packet::OptionAck(options)) if options.tsize_bytes.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::dhcp::codec::decode;
    use crate::boot::dhcp::facts::client_of;
    use crate::fact::{Architecture, BootClient};

    #[test]
    fn the_appliance_knows_each_kind_of_machine_by_its_packets() {
        let mac = Mac([2, 0x64, 0, 0, 1, 9]);
        let ask = |kind, speaker| client_of(&decode(&request(kind, speaker, mac, 7, None)).unwrap());
        assert_eq!(ask(Kind::Bios, Speaker::Rom), BootClient::PxeRom(Architecture::X86Bios));
        assert_eq!(ask(Kind::UefiPxe, Speaker::Rom), BootClient::PxeRom(Architecture::X64Uefi));
        assert_eq!(ask(Kind::UefiHttp, Speaker::Rom), BootClient::HttpRom(Architecture::X64UefiHttp));
        assert_eq!(ask(Kind::UefiPxe, Speaker::Loader), BootClient::Ipxe(Architecture::X64Uefi));
        assert!(matches!(ask(Kind::Ipxe, Speaker::Rom), BootClient::Ipxe(_)));
        let taken = request(Kind::Bios, Speaker::Rom, mac, 7, Some((Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)));
        let taken = decode(&taken).unwrap();
        assert_eq!((taken.server_id, taken.problems.len()), (Some(Ipv4Addr::LOCALHOST), 0));
    }
}
