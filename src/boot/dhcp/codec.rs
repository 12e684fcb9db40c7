//! DHCPv4 messages: what a client says as a [`Request`], what it is told as a [`Response`].
//!
//! Purpose: bytes to values and back. Specification: RFC 2131 §2 and §4.1, RFC 2132, RFC 3004 (user class), RFC 3046 (relay
//! information), RFC 3396 (options in pieces), RFC 4578 (architectures, machine id). The header and the encoding of options
//! are dhcproto's; the walk over a request's options is `options`, since the library's own walk cannot tell a broken
//! option from the end of the message.
//!
//! Invariants: no bytes make it panic. A malformed option is named in [`Request::problems`] and taken for absent; where the
//! exchange cannot be understood without it, the whole message is refused ([`DecodeError::Option`]).
//! A response is at least [`RESPONSE_MIN_BYTES`] long, and never longer than the client takes.
//!
//! Deliberately absent: plain BOOTP (a message without option 53), hardware other than Ethernet, DHCPv6.

mod encode;
mod options;
#[cfg(test)]
mod tests;

pub use encode::{EncodeError, RESPONSE_MIN_BYTES, Response, ResponseKind, encode, raw};
pub use options::{OptionFault, OptionProblem};

use dhcproto::v4::borrowed;
use dhcproto::v4::{MAGIC, MessageType, OptionCode};
use options::Options;
use std::net::Ipv4Addr;
use thiserror::Error;

use crate::model::Mac;

/// The fixed part of a message with its magic cookie, in bytes.
pub(super) const HEADER_BYTES: usize = 240;
/// `op` of a message from a client.
const BOOT_REQUEST: u8 = 1;
/// `htype` of Ethernet.
pub(super) const ETHERNET: u8 = 1;
/// `hlen` of Ethernet.
const ETHERNET_BYTES: u8 = 6;
/// The option by which iPXE talks of itself (iPXE's `DHCP_EB_ENCAP`).
pub(super) const IPXE_ENCAPSULATED: u8 = 175;
/// The shortest message that every client takes, with its IP and UDP headers (RFC 2132 §9.10).
pub(super) const MESSAGE_MAX_DEFAULT_BYTES: u16 = 576;

/// Ties an answer to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Xid(pub u32);

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// It looks for a server.
    Discover,
    /// It takes an offer, or wants its address on.
    Request,
    /// Its address is used by another machine.
    Decline,
    /// It gives its address back.
    Release,
    /// It has an address and asks for everything else.
    Inform,
}

/// How a client without an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// By broadcast only.
    Broadcast,
    /// At its hardware address.
    Unicast,
}

/// Whether option 175 is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpxeOption {
    /// It is: the client is iPXE, or its ancestor gPXE.
    Present,
    /// It is not.
    Absent,
}

/// The parts of the relay's information that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayPart {
    /// The port that the client is at (RFC 3046 §3.1).
    CircuitId = 1,
    /// The relay or the switch itself (RFC 3046 §3.2).
    RemoteId = 2,
    /// An address of the client's subnet (RFC 3527).
    LinkSelection = 5,
    /// The address that the client is to take for the server's (RFC 5107).
    ServerIdOverride = 11,
}

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it says.
    pub kind: RequestKind,
    /// Ties the answer to it.
    pub xid: Xid,
    /// How long the client has been trying, in seconds, as far as it tells.
    pub secs: u16,
    /// How it can be reached while it has no address.
    pub delivery: Delivery,
    /// The address that it uses already.
    pub client_ip: Option<Ipv4Addr>,
    /// The relay that passed the message on.
    pub relay: Option<Ipv4Addr>,
    /// Its hardware address.
    pub mac: Mac,
    /// Option 50, the address that it wants.
    pub requested_ip: Option<Ipv4Addr>,
    /// Option 54, the server that it chose.
    pub server_id: Option<Ipv4Addr>,
    /// Option 51, for how long it wants the address, in seconds.
    pub lease_s: Option<u32>,
    /// Option 55, the options that it wants; nothing when it does not say.
    pub wanted: Option<Vec<u8>>,
    /// Option 57, the longest message that it takes with IP and UDP headers, in bytes.
    pub message_max_bytes: u16,
    /// Option 60.
    pub vendor_class: Option<Vec<u8>>,
    /// Option 61.
    pub client_id: Option<Vec<u8>>,
    /// Option 77, one for each class.
    pub user_classes: Vec<Vec<u8>>,
    /// Option 93, in the client's order.
    pub architectures: Vec<u16>,
    /// Option 97, as sent: type 0 and 16 octets.
    pub machine_id: Option<Vec<u8>>,
    /// Option 12, the name that it gives itself.
    pub hostname: Option<Vec<u8>>,
    /// Option 118, an address of the subnet that it wants an address in (RFC 3011).
    pub subnet_selection: Option<Ipv4Addr>,
    /// Option 82, as the relay sent it.
    pub relay_information: Option<Vec<u8>>,
    /// Option 175.
    pub ipxe: IpxeOption,
    /// What is wrong with options that were taken for absent.
    pub problems: Vec<OptionProblem>,
}

impl Request {
    /// Whether the client wants the option, or does not say what it wants.
    #[must_use]
    pub fn wants(&self, code: OptionCode) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&u8::from(code)))
    }

    /// A part of the relay's information (RFC 3046 §2.0); the first of several with one number.
    #[must_use]
    pub fn relay_part(&self, part: RelayPart) -> Option<&[u8]> {
        let mut rest = self.relay_information.as_deref()?;
        while let Some(([code, length], tail)) = rest.split_first_chunk::<2>() {
            let (data, after) = tail.split_at_checked(usize::from(*length))?;
            if *code == part as u8 {
                return Some(data);
            }
            rest = after;
        }
        None
    }

    /// A part of the relay's information that is an address.
    #[must_use]
    pub fn relay_address(&self, part: RelayPart) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.relay_part(part)?.try_into().ok()?;
        specified(Ipv4Addr::from(octets))
    }

    /// An address of the subnet that the client is in, as far as somebody names one: what its relay says of the link stands
    /// before what it says itself, and that before where its relay is (RFC 3527 §3, RFC 3011 §2).
    #[must_use]
    pub fn link_address(&self) -> Option<Ipv4Addr> {
        self.relay_address(RelayPart::LinkSelection).or(self.subnet_selection).or(self.relay)
    }
}

/// Why bytes are no message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The fixed part is not whole.
    #[error("it has {length_bytes} bytes, a DHCP message has {HEADER_BYTES} at least")]
    TooShort {
        /// Its length.
        length_bytes: usize,
    },
    /// It comes from a server.
    #[error("its op field is {op}, a client's is 1")]
    NotFromAClient {
        /// The field.
        op: u8,
    },
    /// The client's hardware is not Ethernet.
    #[error("its hardware type {htype} with {hlen} octets of address is not Ethernet (1 with 6)")]
    NotEthernet {
        /// The type field.
        htype: u8,
        /// The length field.
        hlen: u8,
    },
    /// It is BOOTP, or nothing of the kind.
    #[error("it has no magic cookie, or no message type (option 53): plain BOOTP is not served")]
    NotDhcp,
    /// Its type is one that no client sends to a server, or that is not served.
    #[error("its message type {kind} is not one that a client sends here")]
    KindNotServed {
        /// The type.
        kind: u8,
    },
    /// An option is broken without which the message cannot be understood.
    #[error(transparent)]
    Option(#[from] OptionProblem),
}

/// The hardware address in a message, as far as there is one; for telling who sent a broken message.
#[must_use]
pub fn sender(bytes: &[u8]) -> Option<Mac> {
    let octets = bytes.get(28..34)?;
    octets.try_into().ok().map(Mac)
}

/// Reads a client's message.
///
/// # Errors
/// The bytes are no message of a client.
pub fn decode(bytes: &[u8]) -> Result<Request, DecodeError> {
    let short = DecodeError::TooShort { length_bytes: bytes.len() };
    let message = borrowed::Message::new(bytes).map_err(|_| short)?;
    let header = |at: usize| bytes.get(at).copied().ok_or(short);
    let (op, htype, hlen) = (header(0)?, header(1)?, header(2)?);
    if op != BOOT_REQUEST {
        return Err(DecodeError::NotFromAClient { op });
    }
    // Before anything reads `chaddr`: the library slices by this length.
    if htype != ETHERNET || hlen != ETHERNET_BYTES {
        return Err(DecodeError::NotEthernet { htype, hlen });
    }
    let mac = sender(bytes).ok_or(short)?;
    if bytes.get(236..HEADER_BYTES) != Some(&MAGIC) {
        return Err(DecodeError::NotDhcp);
    }
    let mut options = Options::gather(bytes);
    let kind = options.essential_u8(OptionCode::MessageType)?.ok_or(DecodeError::NotDhcp)?;
    let kind = request_kind(kind).ok_or(DecodeError::KindNotServed { kind })?;
    let requested_ip = options.essential_address(OptionCode::RequestedIpAddress)?;
    let server_id = options.essential_address(OptionCode::ServerIdentifier)?;
    Ok(Request {
        kind,
        xid: Xid(message.xid()),
        secs: message.secs(),
        delivery: if message.flags().broadcast() { Delivery::Broadcast } else { Delivery::Unicast },
        client_ip: specified(message.ciaddr()),
        relay: specified(message.giaddr()),
        mac,
        requested_ip: requested_ip.and_then(specified),
        server_id,
        lease_s: options.u32(OptionCode::AddressLeaseTime),
        wanted: options.bytes(OptionCode::ParameterRequestList, 1),
        message_max_bytes: options
            .u16(OptionCode::MaxMessageSize)
            .map_or(MESSAGE_MAX_DEFAULT_BYTES, |most| most.max(MESSAGE_MAX_DEFAULT_BYTES)),
        vendor_class: options.bytes(OptionCode::ClassIdentifier, 1),
        client_id: options.bytes(OptionCode::ClientIdentifier, 2),
        user_classes: options.bytes(OptionCode::UserClass, 1).map(user_classes).unwrap_or_default(),
        architectures: options.u16s(OptionCode::ClientSystemArchitecture),
        machine_id: options.machine_id(),
        hostname: options.bytes(OptionCode::Hostname, 1),
        subnet_selection: options.address(OptionCode::SubnetSelection).and_then(specified),
        relay_information: options.bytes(OptionCode::RelayAgentInformation, 2),
        ipxe: if options.has(OptionCode::from(IPXE_ENCAPSULATED)) { IpxeOption::Present } else { IpxeOption::Absent },
        problems: options.into_problems(),
    })
}

fn specified(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_unspecified()).then_some(address)
}

fn request_kind(number: u8) -> Option<RequestKind> {
    match MessageType::from(number) {
        MessageType::Discover => Some(RequestKind::Discover),
        MessageType::Request => Some(RequestKind::Request),
        MessageType::Decline => Some(RequestKind::Decline),
        MessageType::Release => Some(RequestKind::Release),
        MessageType::Inform => Some(RequestKind::Inform),
        _ => None,
    }
}

/// RFC 3004 has a length before each class; iPXE and many others send one class bare. What can be read as the
/// former whole is the former.
fn user_classes(data: Vec<u8>) -> Vec<Vec<u8>> {
    let mut classes = Vec::new();
    let mut rest = data.as_slice();
    while let Some((length, tail)) = rest.split_first() {
        match tail.split_at_checked(usize::from(*length)) {
            Some((class, after)) if !class.is_empty() => {
                classes.push(class.to_vec());
                rest = after;
            }
            _ => return vec![data],
        }
    }
    classes
}
