//! DHCPv6 messages as bytes and as values.
//!
//! Purpose: [`decode`] what clients and relays send, [`encode`] what they are answered. Specification: RFC 8415 §8 and §9 (messages),
//! §21 (options), RFC 5970 (59 to 62), RFC 3646 (23, 24), RFC 5908 (56), RFC 6939 (79), RFC 8415 §19 (relays).
//!
//! Invariants: any bytes are decoded or refused, and nothing that is decoded is larger than its bytes: relays are
//! nested [`RELAYS_MAX`] deep at most, and options, associations and addresses are bounded. What a relay put around a message
//! is given back around the answer, in the same order, with its interface identifier.
//!
//! Deliberately absent: what follows from a message (`reply`). The library that is used for DHCPv4 is not used here: its
//! user and vendor classes have wrong lengths, and it builds a tree of every option before any bound can be looked at.

mod encode;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::model::{Duid, Mac};
pub use encode::{Given, Response, ResponseKind, Status, Told, encode};

/// Relays that a message may have passed (RFC 8415, section 7.6: HOP_COUNT_LIMIT).
pub const RELAYS_MAX: usize = 8;
/// Options that are looked at in one place of a message.
pub const OPTIONS_MAX: usize = 128;
/// Associations of one message.
pub const ASSOCIATIONS_MAX: usize = 16;
/// Addresses of one association.
pub const ADDRESSES_MAX: usize = 16;
/// The longest interface identifier of a relay that is given back, in bytes.
pub const INTERFACE_ID_BYTES_MAX: usize = 256;

/// The numbers of options (IANA, "DHCPv6 Option Codes").
#[allow(missing_docs)]
pub mod code {
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_TA: u16 = 4;
    pub const IA_ADDRESS: u16 = 5;
    pub const REQUESTED: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const RELAY_MESSAGE: u16 = 9;
    pub const STATUS: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const USER_CLASS: u16 = 15;
    pub const VENDOR_CLASS: u16 = 16;
    pub const INTERFACE_ID: u16 = 18;
    pub const DNS: u16 = 23;
    pub const SEARCH: u16 = 24;
    pub const IA_PD: u16 = 25;
    pub const REFRESH_TIME: u16 = 32;
    pub const NTP: u16 = 56;
    pub const BOOT_URL: u16 = 59;
    pub const BOOT_PARAMETERS: u16 = 60;
    pub const ARCHITECTURES: u16 = 61;
    pub const INTERFACE_TYPE: u16 = 62;
    pub const LINK_LAYER: u16 = 79;
}

const RELAY_FORWARD: u8 = 12;
const RELAY_REPLY: u8 = 13;
/// The hardware type of Ethernet.
const ETHERNET: u16 = 1;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It looks for servers.
    Solicit,
    /// It takes what one server offered.
    Request,
    /// It was elsewhere, and asks whether its addresses are still right.
    Confirm,
    /// It extends its lease at its server.
    Renew,
    /// It extends its lease at any server.
    Rebind,
    /// It gives its addresses back.
    Release,
    /// Another machine uses its address.
    Decline,
    /// It wants parameters and no address.
    Information,
}

/// Which kind of association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssociationKind {
    /// For addresses that last.
    Lasting,
    /// For temporary addresses.
    Temporary,
    /// For prefixes.
    Prefix,
}

/// What a client wants addresses for, and which it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// Of what.
    pub kind: AssociationKind,
    /// The client's number for it.
    pub id: u32,
    /// The addresses in it; of prefixes, none are read.
    pub addresses: Vec<Ipv6Addr>,
}

/// A vendor class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorClass {
    /// The vendor's number with IANA.
    pub enterprise: u32,
    /// What it says.
    pub data: Vec<u8>,
}

/// One relay that a message has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// How many relays were before it.
    pub hops: u8,
    /// An address of the link that the client is on; unspecified when it says nothing.
    pub link: Ipv6Addr,
    /// Whom it had the message from.
    pub peer: Ipv6Addr,
    /// What is given back to it.
    pub interface_id: Option<Vec<u8>>,
    /// The client's hardware address, as the relay saw it.
    pub mac: Option<Mac>,
}

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The relays that it passed, the last one first.
    pub relays: Vec<Relay>,
    /// What it asks.
    pub kind: Kind,
    /// The transaction.
    pub xid: [u8; 3],
    /// Who asks.
    pub client_id: Option<Duid>,
    /// Which server is meant.
    pub server_id: Option<Vec<u8>>,
    /// What it wants addresses for.
    pub associations: Vec<Association>,
    /// Options that it wants.
    pub wanted: Vec<u16>,
    /// Whether it takes a lease without asking again.
    pub rapid_commit: RapidCommit,
    /// What its machine can run, as numbers of IANA's "Processor Architecture Types".
    pub architectures: Vec<u16>,
    /// Its network interface's type and version.
    pub interface_type: Option<[u8; 3]>,
    /// Its user classes.
    pub user_classes: Vec<Vec<u8>>,
    /// Its vendor class.
    pub vendor_class: Option<VendorClass>,
}

/// Whether a client takes a lease without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RapidCommit {
    /// It does.
    Accepted,
    /// It does not.
    NotAccepted,
}

/// Why a message cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("it ends in the middle of {0}")]
    CutOff(&'static str),
    /// It is not what clients or relays send.
    #[error("messages of type {0} are not sent to servers")]
    NotForServers(u8),
    /// Too many relays.
    #[error("it passed more than {RELAYS_MAX} relays")]
    TooManyRelays,
    /// A relay sent nothing on.
    #[error("a relay's message holds no message of a client")]
    NothingRelayed,
    /// Too many of something.
    #[error("it has too many {0}")]
    TooMany(&'static str),
    /// An option of a length that it cannot have.
    #[error("option {code} cannot have {length_bytes} bytes")]
    Length {
        /// The option.
        code: u16,
        /// Its length.
        length_bytes: usize,
    },
}

impl Request {
    /// Whether it wants this option.
    #[must_use]
    pub fn wants(&self, code: u16) -> bool {
        self.wanted.contains(&code)
    }
}

/// One option: its number and what it says.
type RawOption<'a> = (u16, &'a [u8]);

/// Reads options until `bytes` end.
fn options<'a>(mut bytes: &'a [u8], of: &'static str) -> Result<Vec<RawOption<'a>>, DecodeError> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let cut_off = || DecodeError::CutOff(of);
        let (code, rest) = bytes.split_first_chunk::<2>().ok_or_else(cut_off)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut_off)?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(cut_off)?;
        if options.len() >= OPTIONS_MAX {
            return Err(DecodeError::TooMany("options"));
        }
        options.push((u16::from_be_bytes(*code), value));
        bytes = rest;
    }
    Ok(options)
}

/// Reads a message.
///
/// # Errors
/// When it is not a message that a client or relay sends to a server, whole and within bounds.
pub fn decode(bytes: &[u8]) -> Result<Request, DecodeError> {
    let mut relays: Vec<Relay> = Vec::new();
    let mut bytes = bytes;
    while bytes.first() == Some(&RELAY_FORWARD) {
        if relays.len() >= RELAYS_MAX {
            return Err(DecodeError::TooManyRelays);
        }
        let (relay, inner) = relay(bytes)?;
        relays.push(relay);
        bytes = inner;
    }
    message(bytes, relays)
}

fn relay(bytes: &[u8]) -> Result<(Relay, &[u8]), DecodeError> {
    let cut_off = || DecodeError::CutOff("a relay's message");
    let ([_, hops], rest) = bytes.split_first_chunk::<2>().ok_or_else(cut_off)?;
    let (link, rest) = rest.split_first_chunk::<16>().ok_or_else(cut_off)?;
    let (peer, rest) = rest.split_first_chunk::<16>().ok_or_else(cut_off)?;
    let (link, peer) = (Ipv6Addr::from(*link), Ipv6Addr::from(*peer));
    let mut relay = Relay { hops: *hops, link, peer, interface_id: None, mac: None };
    let mut inner = None;
    for (code, value) in options(rest, "a relay's option")? {
        match code {
            code::RELAY_MESSAGE => inner = Some(value),
            code::INTERFACE_ID if value.len() > INTERFACE_ID_BYTES_MAX => {
                return Err(DecodeError::Length { code, length_bytes: value.len() });
            }
            code::INTERFACE_ID => relay.interface_id = Some(value.to_vec()),
            code::LINK_LAYER => relay.mac = link_layer(value),
            _ => {}
        }
    }
    Ok((relay, inner.ok_or(DecodeError::NothingRelayed)?))
}

/// RFC 6939: a hardware type and an address.
fn link_layer(value: &[u8]) -> Option<Mac> {
    let (kind, address) = value.split_first_chunk::<2>()?;
    (u16::from_be_bytes(*kind) == ETHERNET).then_some(Mac(address.try_into().ok()?))
}

fn kind_of(number: u8) -> Result<Kind, DecodeError> {
    Ok(match number {
        1 => Kind::Solicit,
        3 => Kind::Request,
        4 => Kind::Confirm,
        5 => Kind::Renew,
        6 => Kind::Rebind,
        8 => Kind::Release,
        9 => Kind::Decline,
        11 => Kind::Information,
        other => return Err(DecodeError::NotForServers(other)),
    })
}

fn message(bytes: &[u8], relays: Vec<Relay>) -> Result<Request, DecodeError> {
    let (kind, rest) = bytes.split_first().ok_or(DecodeError::CutOff("the message"))?;
    let kind = kind_of(*kind)?;
    let (xid, rest) = rest.split_first_chunk::<3>().ok_or(DecodeError::CutOff("the transaction"))?;
    let mut request = Request {
        relays,
        kind,
        xid: *xid,
        client_id: None,
        server_id: None,
        associations: Vec::new(),
        wanted: Vec::new(),
        rapid_commit: RapidCommit::NotAccepted,
        architectures: Vec::new(),
        interface_type: None,
        user_classes: Vec::new(),
        vendor_class: None,
    };
    for (code, value) in options(rest, "an option")? {
        take(&mut request, code, value)?;
    }
    Ok(request)
}

fn take(request: &mut Request, code: u16, value: &[u8]) -> Result<(), DecodeError> {
    let wrong = || DecodeError::Length { code, length_bytes: value.len() };
    match code {
        code::CLIENT_ID => request.client_id = Some(Duid::new(value).ok_or_else(wrong)?),
        code::SERVER_ID => request.server_id = Some(value.to_vec()),
        code::IA_NA | code::IA_TA | code::IA_PD => {
            if request.associations.len() >= ASSOCIATIONS_MAX {
                return Err(DecodeError::TooMany("associations"));
            }
            request.associations.push(association(code, value)?);
        }
        code::REQUESTED => request.wanted = numbers(value).ok_or_else(wrong)?,
        code::RAPID_COMMIT => request.rapid_commit = RapidCommit::Accepted,
        code::ARCHITECTURES => request.architectures = numbers(value).ok_or_else(wrong)?,
        code::INTERFACE_TYPE => request.interface_type = Some(value.try_into().map_err(|_| wrong())?),
        code::USER_CLASS => request.user_classes = classes(value),
        code::VENDOR_CLASS => {
            let (enterprise, data) = value.split_first_chunk::<4>().ok_or_else(wrong)?;
            let data = classes(data).into_iter().next().unwrap_or_default();
            request.vendor_class = Some(VendorClass { enterprise: u32::from_be_bytes(*enterprise), data });
        }
        _ => {}
    }
    Ok(())
}

fn numbers(value: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = value.as_chunks::<2>();
    (rest.is_empty() && pairs.len() <= OPTIONS_MAX)
        .then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// Texts with their lengths before them. There is firmware that leaves the length out: what does not add up is one text.
fn classes(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut classes) = (value, Vec::new());
    while !rest.is_empty() {
        let one = rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(u16::from_be_bytes(*length).into()));
        match one {
            Some((class, after)) if classes.len() < OPTIONS_MAX => {
                classes.push(class.to_vec());
                rest = after;
            }
            _ => return vec![value.to_vec()],
        }
    }
    classes
}

fn association(code: u16, value: &[u8]) -> Result<Association, DecodeError> {
    let wrong = || DecodeError::Length { code, length_bytes: value.len() };
    let (id, rest) = value.split_first_chunk::<4>().ok_or_else(wrong)?;
    let (kind, rest) = match code {
        code::IA_TA => (AssociationKind::Temporary, rest),
        // T1 and T2 are for servers to say.
        code::IA_NA => (AssociationKind::Lasting, rest.get(8..).ok_or_else(wrong)?),
        _ => (AssociationKind::Prefix, rest.get(8..).ok_or_else(wrong)?),
    };
    let mut addresses = Vec::new();
    for (code, value) in options(rest, "an association")? {
        if code == code::IA_ADDRESS {
            // The address, its preferred and its valid lifetime (RFC 8415, section 21.6).
            let short = || DecodeError::Length { code, length_bytes: value.len() };
            if value.len() < 24 {
                return Err(short());
            }
            let address = value.first_chunk::<16>().ok_or_else(short)?;
            if addresses.len() >= ADDRESSES_MAX {
                return Err(DecodeError::TooMany("addresses"));
            }
            addresses.push(Ipv6Addr::from(*address));
        }
    }
    Ok(Association { kind, id: u32::from_be_bytes(*id), addresses })
}
