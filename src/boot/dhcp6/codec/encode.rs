//! Answers as bytes.
//!
//! Invariants: an option that is too long for its length field is left out rather than cut; the message around a
//! relayed answer mirrors the one that the question came in. Specification: RFC 8415 §8, §9, §19.3, §21.

use std::net::Ipv6Addr;

use super::{RELAY_REPLY, Relay, Request, VendorClass, code};
use crate::model::Duid;

/// What kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// What the client could have.
    Advertise,
    /// What it has.
    Reply,
}

/// How something came out (RFC 8415, section 21.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    Success,
    NoAddresses,
    NoBinding,
    NotOnLink,
    UseMulticast,
    NoPrefix,
}

impl Status {
    fn number(self) -> u16 {
        match self {
            Status::Success => 0,
            Status::NoAddresses => 2,
            Status::NoBinding => 3,
            Status::NotOnLink => 4,
            Status::UseMulticast => 5,
            Status::NoPrefix => 6,
        }
    }
}

/// An address in an answer; lifetimes in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// The address.
    pub ip: Ipv6Addr,
    /// For how long it is used for what is new; 0: no longer.
    pub preferred_s: u32,
    /// For how long it is valid; 0: no longer.
    pub valid_s: u32,
}

/// An option of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Told {
    ClientId(Duid),
    ServerId(Duid),
    Addresses { id: u32, renew_s: u32, rebind_s: u32, addresses: Vec<Given>, status: Option<(Status, String)> },
    Temporary { id: u32, status: (Status, String) },
    Prefixes { id: u32, status: (Status, String) },
    Preference(u8),
    Status(Status, String),
    RapidCommit,
    VendorClass(VendorClass),
    Dns(Vec<Ipv6Addr>),
    Search(Vec<String>),
    Ntp(Vec<Ipv6Addr>),
    RefreshTime(u32),
    BootUrl(String),
    BootParameters(Vec<String>),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Of what kind.
    pub kind: ResponseKind,
    /// The transaction of the question.
    pub xid: [u8; 3],
    /// The relays that the question passed, the last one first.
    pub relays: Vec<Relay>,
    /// What it says.
    pub told: Vec<Told>,
}

impl Response {
    /// An empty answer to `request`.
    #[must_use]
    pub fn to(request: &Request, kind: ResponseKind) -> Self {
        Response { kind, xid: request.xid, relays: request.relays.clone(), told: Vec::new() }
    }
}

/// The bytes of an answer.
#[must_use]
pub fn encode(response: &Response) -> Vec<u8> {
    let kind = match response.kind {
        ResponseKind::Advertise => 2,
        ResponseKind::Reply => 7,
    };
    let mut bytes = vec![kind];
    bytes.extend(response.xid);
    for told in &response.told {
        let (code, value) = option(told);
        put(&mut bytes, code, &value);
    }
    response.relays.iter().rev().fold(bytes, |inner, relay| relayed(relay, &inner))
}

fn relayed(relay: &Relay, inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![RELAY_REPLY, relay.hops];
    bytes.extend(relay.link.octets());
    bytes.extend(relay.peer.octets());
    if let Some(id) = &relay.interface_id {
        put(&mut bytes, code::INTERFACE_ID, id);
    }
    put(&mut bytes, code::RELAY_MESSAGE, inner);
    bytes
}

fn put(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()) {
        bytes.extend(code.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(value);
    }
}

fn option(told: &Told) -> (u16, Vec<u8>) {
    match told {
        Told::ClientId(duid) => (code::CLIENT_ID, duid.octets().to_vec()),
        Told::ServerId(duid) => (code::SERVER_ID, duid.octets().to_vec()),
        Told::Addresses { id, renew_s, rebind_s, addresses, status } => {
            let mut value = [id.to_be_bytes(), renew_s.to_be_bytes(), rebind_s.to_be_bytes()].concat();
            for given in addresses {
                let lifetimes = [given.preferred_s.to_be_bytes(), given.valid_s.to_be_bytes()].concat();
                put(&mut value, code::IA_ADDRESS, &[&given.ip.octets()[..], &lifetimes].concat());
            }
            if let Some((status, text)) = status {
                put(&mut value, code::STATUS, &status_value(*status, text));
            }
            (code::IA_NA, value)
        }
        Told::Temporary { id, status: (status, text) } => {
            let mut value = id.to_be_bytes().to_vec();
            put(&mut value, code::STATUS, &status_value(*status, text));
            (code::IA_TA, value)
        }
        Told::Prefixes { id, status: (status, text) } => {
            let mut value = [id.to_be_bytes(), [0; 4], [0; 4]].concat();
            put(&mut value, code::STATUS, &status_value(*status, text));
            (code::IA_PD, value)
        }
        Told::Preference(value) => (code::PREFERENCE, vec![*value]),
        Told::Status(status, text) => (code::STATUS, status_value(*status, text)),
        Told::RapidCommit => (code::RAPID_COMMIT, Vec::new()),
        Told::VendorClass(VendorClass { enterprise, data }) => {
            (code::VENDOR_CLASS, [&enterprise.to_be_bytes()[..], &with_length(data)].concat())
        }
        Told::Dns(servers) => (code::DNS, servers.iter().flat_map(|ip| ip.octets()).collect()),
        Told::Search(domains) => (code::SEARCH, domains.iter().flat_map(|domain| name(domain)).collect()),
        Told::Ntp(servers) => {
            // RFC 5908 §4.1: suboption 1, a server's address.
            (code::NTP, servers.iter().flat_map(|ip| [&[0, 1, 0, 16][..], &ip.octets()].concat()).collect())
        }
        Told::RefreshTime(seconds) => (code::REFRESH_TIME, seconds.to_be_bytes().to_vec()),
        Told::BootUrl(url) => (code::BOOT_URL, url.as_bytes().to_vec()),
        Told::BootParameters(parameters) => {
            (code::BOOT_PARAMETERS, parameters.iter().flat_map(|text| with_length(text.as_bytes())).collect())
        }
    }
}

fn status_value(status: Status, text: &str) -> Vec<u8> {
    [&status.number().to_be_bytes()[..], text.as_bytes()].concat()
}

fn with_length(value: &[u8]) -> Vec<u8> {
    match u16::try_from(value.len()) {
        Ok(length) => [&length.to_be_bytes()[..], value].concat(),
        Err(_) => Vec::new(),
    }
}

/// A domain's labels, each after its length, and an empty one (RFC 1035, section 3.1).
fn name(domain: &str) -> Vec<u8> {
    let mut value = Vec::new();
    for label in domain.split('.') {
        if let Ok(length) = u8::try_from(label.len()) {
            value.push(length);
            value.extend(label.as_bytes());
        }
    }
    value.push(0);
    value
}
