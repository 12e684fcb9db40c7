//! The server's side of a message.
//!
//! Purpose: a [`Response`] to bytes, with dhcproto's encoding of the header and of each option.
//!
//! Invariants: the message type and the server's id come first, because some ROMs read no further for them; then the
//! options in the order in which they were given. What the client has no room for is left out from the end; the relay's
//! information is always there, and last (RFC 3046 §2.2). Never shorter than [`RESPONSE_MIN_BYTES`].
//!
//! Options that do not fit behind the header go into its `file` and `sname` fields, as far as those are free (RFC 2132 §9.3).
//!
//! Deliberately absent: options in pieces across fields.

use dhcproto::v4::{DhcpOption, Encodable, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption};
use std::net::Ipv4Addr;
use thiserror::Error;

use super::{Delivery, MESSAGE_MAX_DEFAULT_BYTES, Request, Xid};
use crate::model::Mac;

/// The shortest response, in bytes: many ROMs drop anything shorter than a BOOTP message (RFC 1542 §2.1).
pub const RESPONSE_MIN_BYTES: usize = 300;
/// IP and UDP headers, which option 57 counts in.
const IP_AND_UDP_BYTES: usize = 28;
/// The `file` field, in bytes, less the NUL that some ROMs need to be there.
const FILE_MAX_BYTES: usize = 127;
/// What options may take of the `file` field, in bytes: all but their end.
const FILE_BYTES: usize = 127;
/// What options may take of the `sname` field, in bytes: all but their end.
const SNAME_BYTES: usize = 63;
/// Where `sname` begins.
const SNAME_AT: usize = 44;
/// Where `file` begins.
const FILE_AT: usize = 108;
/// Option 52, in bytes.
const OVERLOAD_BYTES: usize = 3;
/// Ends a field of options.
const END: u8 = 255;

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// Here is an address.
    Offer,
    /// The address is yours.
    Ack,
    /// It is not.
    Nak,
}

/// A server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What it says.
    pub kind: ResponseKind,
    /// The request's.
    pub xid: Xid,
    /// The request's; a relay reads it.
    pub delivery: Delivery,
    /// The address that the client said it uses.
    pub client_ip: Option<Ipv4Addr>,
    /// The client's address.
    pub your_ip: Option<Ipv4Addr>,
    /// Where the boot file is.
    pub next_server: Option<Ipv4Addr>,
    /// The relay that passes it on.
    pub relay: Option<Ipv4Addr>,
    /// The client's hardware address.
    pub mac: Mac,
    /// This server.
    pub server_id: Ipv4Addr,
    /// The boot file.
    pub file: Option<String>,
    /// The other options, the most needed first.
    pub options: Vec<DhcpOption>,
    /// The relay's information, as the relay sent it.
    pub relay_information: Option<Vec<u8>>,
    /// The longest message that the client takes, with IP and UDP headers, in bytes.
    pub message_max_bytes: u16,
}

impl Response {
    /// An empty response to a request.
    #[must_use]
    pub fn to(request: &Request, kind: ResponseKind, server_id: Ipv4Addr) -> Self {
        Response {
            kind,
            xid: request.xid,
            delivery: request.delivery,
            client_ip: None,
            your_ip: None,
            next_server: None,
            relay: request.relay,
            mac: request.mac,
            server_id,
            file: None,
            options: Vec::new(),
            relay_information: request.relay_information.clone(),
            message_max_bytes: request.message_max_bytes,
        }
    }

    /// The first option that `pick` takes.
    pub fn find<T>(&self, pick: impl FnMut(&DhcpOption) -> Option<T>) -> Option<T> {
        self.options.iter().find_map(pick)
    }
}

/// Why a response cannot be written.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The library refused it.
    #[error("the DHCP answer to {mac} could not be encoded")]
    Library {
        /// The client.
        mac: Mac,
        /// What it said.
        source: dhcproto::error::EncodeError,
    },
}

/// Writes a response.
///
/// # Errors
/// The library refuses an option.
pub fn encode(response: &Response) -> Result<Vec<u8>, EncodeError> {
    let failed = |source| EncodeError::Library { mac: response.mac, source };
    let mut bytes = header(response).to_vec().map_err(failed)?;
    let mut last = Vec::new();
    if let Some(information) = &response.relay_information {
        last = pieces(u8::from(OptionCode::RelayAgentInformation), information);
    }
    last.push(END);
    let most = usize::from(response.message_max_bytes.max(MESSAGE_MAX_DEFAULT_BYTES)) - IP_AND_UDP_BYTES;
    let kind = match response.kind {
        ResponseKind::Offer => MessageType::Offer,
        ResponseKind::Ack => MessageType::Ack,
        ResponseKind::Nak => MessageType::Nak,
    };
    let first = [DhcpOption::MessageType(kind), DhcpOption::ServerIdentifier(response.server_id)];
    let mut written = Vec::with_capacity(response.options.len().saturating_add(2));
    for option in first.iter().chain(&response.options) {
        written.push(match option {
            DhcpOption::Unknown(unknown) => pieces(u8::from(unknown.code()), unknown.data()),
            known => known.to_vec().map_err(failed)?,
        });
    }
    let room = most.saturating_sub(bytes.len()).saturating_sub(last.len());
    let whole: usize = written.iter().map(Vec::len).sum();
    // What the header has no use for is left to options, when there are too many for the space behind it.
    let file = if response.file.is_none() { FILE_BYTES } else { 0 };
    let mut areas = [Area::new(room), Area::new(0), Area::new(0)];
    if whole > room {
        areas = [Area::new(room.saturating_sub(OVERLOAD_BYTES)), Area::new(file), Area::new(SNAME_BYTES)];
    }
    for option in written {
        if let Some(area) = areas.iter_mut().find(|area| area.has_room_for(&option)) {
            area.bytes.extend(option);
        }
    }
    let [behind, in_file, in_sname] = areas;
    bytes.extend(behind.bytes);
    let overload = u8::from(!in_file.bytes.is_empty()) | u8::from(!in_sname.bytes.is_empty()) << 1;
    if overload != 0 {
        bytes.extend([u8::from(OptionCode::OptionOverload), 1, overload]);
        in_file.put(&mut bytes, FILE_AT);
        in_sname.put(&mut bytes, SNAME_AT);
    }
    bytes.extend_from_slice(&last);
    bytes.resize(bytes.len().max(RESPONSE_MIN_BYTES), 0);
    Ok(bytes)
}

/// A place for options, and what is in it.
struct Area {
    room: usize,
    bytes: Vec<u8>,
}

impl Area {
    fn new(room: usize) -> Self {
        Area { room, bytes: Vec::new() }
    }

    fn has_room_for(&self, option: &[u8]) -> bool {
        self.bytes.len().saturating_add(option.len()) <= self.room
    }

    /// Puts the options into a field of the header, with their end.
    fn put(self, message: &mut [u8], at: usize) {
        if self.bytes.is_empty() {
            return;
        }
        let options = self.bytes.into_iter().chain([END]);
        for (place, byte) in message.iter_mut().skip(at).zip(options) {
            *place = byte;
        }
    }
}

/// An option in as many pieces as it needs (RFC 3396 §5).
fn pieces(code: u8, data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return vec![code, 0];
    }
    let mut bytes = Vec::with_capacity(data.len().saturating_add(2));
    for piece in data.chunks(usize::from(u8::MAX)) {
        bytes.push(code);
        bytes.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// An option of bytes that this server does not read.
#[must_use]
pub fn raw(code: OptionCode, data: &[u8]) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code, data.to_vec()))
}

/// The fixed part and the magic cookie. The options are left empty, because the library would sort them by number.
fn header(response: &Response) -> Message {
    let address = |address: Option<Ipv4Addr>| address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut message = Message::new_with_id(
        response.xid.0,
        address(response.client_ip),
        address(response.your_ip),
        address(response.next_server),
        address(response.relay),
        &response.mac.0,
    );
    message.set_opcode(Opcode::BootReply).set_htype(HType::Eth);
    if response.delivery == Delivery::Broadcast {
        message.set_flags(Flags::default().set_broadcast());
    }
    if let Some(file) = response.file.as_ref().filter(|file| file.len() <= FILE_MAX_BYTES) {
        message.set_fname_str(file);
    }
    message
}
