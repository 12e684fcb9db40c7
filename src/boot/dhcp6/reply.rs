//! What a DHCPv6 client is answered: one decision from the state, the message, where it came in, and the time.
//!
//! Purpose: [`reply`]. Specification: RFC 8415 §16 (what is discarded), §18.3 (server behaviour), §18.4 (unicast), RFC 5970 (boot).
//!
//! Invariants:
//! - A node with a fixed address is given that one and no other. Any other machine is given an address of its network's
//!   pool, the same one to all of its programs; without a pool a machine that is no node gets no answer, since other
//!   servers may serve it.
//! - A REPLY that gives an address comes with [`Durability::BeforeAnswer`].
//! - One message is answered by one, which goes where the question came from; a question from another network is not
//!   answered unless a relay brings it. So nobody's traffic is multiplied towards a third.
//!
//! Deliberately absent: temporary addresses, prefixes, reconfiguration, and authentication, which no firmware has.

mod boot;
mod place;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

pub use boot::Services6;
pub use place::{Arrival, Cast, Link6};

use super::codec::{
    Association, AssociationKind, Given, Kind, RapidCommit, Request, Response, ResponseKind, Status, Told, code,
};
use super::facts::{client_of, exchange};
use crate::fact::{Dhcp6Event, Dhcp6Refusal, Fact};
use crate::model::{Duid, Name, NetworkIpv6, UnixMs};
use crate::state::{Holder6, State};
use boot::{Boot, boot};
use place::Place;

/// How long parameters that came without an address are good, in seconds (RFC 8415, section 21.23).
const REFRESH_S: u32 = 3_600;

/// What a server is to its clients.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its identifier.
    pub duid: Duid,
    /// What it names to machines that boot.
    pub services: Services6,
}

/// Whether the facts must be durable before the answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// They must: the answer is a promise.
    BeforeAnswer,
    /// They may be lost under load.
    BestEffort,
}

/// What follows from a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What is sent, if anything is.
    pub answer: Option<Response>,
    /// What happened.
    pub facts: Vec<Fact>,
    /// Whether it must be durable first.
    pub durability: Durability,
}

impl Reply {
    fn nothing() -> Self {
        Reply { answer: None, facts: Vec::new(), durability: Durability::BestEffort }
    }
}

/// A message with what is known of its sender.
struct Asked<'a> {
    request: &'a Request,
    place: Place<'a>,
    server: &'a Server,
}

/// What a client can have.
struct Own<'a> {
    ip: Ipv6Addr,
    /// The network, where the address is of its pool.
    pool: Option<&'a Name>,
}

/// What follows from `request`.
#[must_use]
pub fn reply(
    state: &State,
    request: &Request,
    arrival: &Arrival,
    (link, server): (&Link6, &Server),
    now: UnixMs,
) -> Reply {
    if !is_valid(request) {
        return Reply::nothing();
    }
    match Place::find(state, request, arrival, link, now) {
        Ok(place) => Asked { request, place, server }.answer(arrival.cast),
        Err(None) => Reply::nothing(),
        Err(Some((who, reason))) => Reply {
            answer: None,
            facts: vec![exchange(request, &who, Dhcp6Event::Ignored { reason })],
            durability: Durability::BestEffort,
        },
    }
}

/// RFC 8415 §16: which identifiers a message must have, and must not.
fn is_valid(request: &Request) -> bool {
    let (client, server) = (request.client_id.is_some(), request.server_id.is_some());
    match request.kind {
        Kind::Solicit | Kind::Confirm | Kind::Rebind => client && !server,
        Kind::Request | Kind::Renew | Kind::Release | Kind::Decline => client && server,
        Kind::Information => request.associations.is_empty(),
    }
}

impl Asked<'_> {
    fn answer(&self, cast: Cast) -> Reply {
        let ours = self.server.duid.octets();
        if let Some(server) = self.request.server_id.as_deref().filter(|server| *server != ours) {
            let server = Duid::new(server).map_or_else(|| "with no identifier".to_owned(), |duid| duid.to_string());
            return self.ignored(Dhcp6Refusal::OtherServer { server });
        }
        // RFC 8415 §18.4: nobody was told that it may speak to this server alone.
        if cast == Cast::Unicast && self.request.relays.is_empty() {
            return match self.request.kind {
                Kind::Request | Kind::Renew | Kind::Release | Kind::Decline => {
                    self.say(Status::UseMulticast, "send it to all servers")
                }
                _ => Reply::nothing(),
            };
        }
        match self.request.kind {
            Kind::Information => self.inform(),
            Kind::Confirm => self.confirm(),
            Kind::Release => self.returned(|ip, pool| Dhcp6Event::Released { ip, pool }),
            Kind::Decline => self.returned(|ip, pool| Dhcp6Event::Declined { ip, pool }),
            Kind::Solicit | Kind::Request | Kind::Renew | Kind::Rebind => self.lease(),
        }
    }

    fn ipv6(&self) -> &NetworkIpv6 {
        self.place.ipv6
    }

    fn fact(&self, event: Dhcp6Event) -> Fact {
        exchange(self.request, &self.place.who, event)
    }

    fn ignored(&self, reason: Dhcp6Refusal) -> Reply {
        let facts = vec![self.fact(Dhcp6Event::Ignored { reason })];
        Reply { answer: None, facts, durability: Durability::BestEffort }
    }

    fn response(&self, kind: ResponseKind) -> Response {
        let mut response = Response::to(self.request, kind);
        response.told.extend(self.request.client_id.clone().map(Told::ClientId));
        response.told.push(Told::ServerId(self.server.duid.clone()));
        response
    }

    fn say(&self, status: Status, text: &str) -> Reply {
        let mut response = self.response(ResponseKind::Reply);
        response.told.push(Told::Status(status, text.to_owned()));
        Reply { answer: Some(response), facts: Vec::new(), durability: Durability::BestEffort }
    }

    fn boot(&self) -> Boot {
        boot(self.place.node, client_of(self.request), &self.place, &self.server.services)
    }

    /// SOLICIT, REQUEST, RENEW and REBIND: they differ in what is promised, and in what of other addresses is said.
    fn lease(&self) -> Reply {
        let boot = self.boot();
        if let Boot::Nothing = boot {
            return self.ignored(Dhcp6Refusal::NoLoader);
        }
        let own = match self.own() {
            Ok(own) => own,
            Err(reason) => return self.nothing_to_give(reason),
        };
        let rapid = self.request.rapid_commit == RapidCommit::Accepted;
        let (kind, promises) = match self.request.kind {
            Kind::Solicit if !rapid => (ResponseKind::Advertise, Durability::BestEffort),
            _ => (ResponseKind::Reply, Durability::BeforeAnswer),
        };
        let mut response = self.response(kind);
        let elsewhere = self.request.kind == Kind::Request && self.asks_for_another_link();
        let mut left = (!elsewhere).then_some(own.ip);
        for association in &self.request.associations {
            let given = if association.kind == AssociationKind::Lasting { left.take() } else { None };
            response.told.push(self.association(association, given));
        }
        let file = boot.file().map(str::to_owned);
        let pool = own.pool.cloned();
        let has_one = self.request.associations.iter().any(|one| one.kind == AssociationKind::Lasting);
        let event = if elsewhere {
            let asked = self.asked().next();
            Dhcp6Event::Refused { reason: Dhcp6Refusal::WrongAddress { asked, own: Some(own.ip) } }
        } else if !has_one {
            Dhcp6Event::Informed { file }
        } else if promises == Durability::BestEffort {
            Dhcp6Event::Advertised { ip: own.ip, file, pool }
        } else {
            Dhcp6Event::Leased { ip: own.ip, lease_s: self.ipv6().lease_s, file, pool }
        };
        let durability = match event {
            Dhcp6Event::Leased { .. } => Durability::BeforeAnswer,
            _ => Durability::BestEffort,
        };
        if kind == ResponseKind::Advertise && self.ipv6().preference > 0 {
            response.told.push(Told::Preference(self.ipv6().preference));
        }
        if self.request.kind == Kind::Solicit && rapid {
            response.told.push(Told::RapidCommit);
        }
        self.tell_parameters(&mut response, &boot);
        Reply { answer: Some(response), facts: vec![self.fact(event)], durability }
    }

    /// A machine that is no node may be another server's; a node is told, so that it need not wait.
    fn nothing_to_give(&self, reason: Dhcp6Refusal) -> Reply {
        if self.place.node.is_none() || self.request.kind == Kind::Rebind {
            return self.ignored(reason);
        }
        let kind = if self.request.kind == Kind::Solicit { ResponseKind::Advertise } else { ResponseKind::Reply };
        let mut response = self.response(kind);
        response.told.extend(self.request.associations.iter().map(|one| self.association(one, None)));
        if kind == ResponseKind::Advertise {
            response.told.push(Told::Status(Status::NoAddresses, reason.to_string()));
        }
        let facts = vec![self.fact(Dhcp6Event::Refused { reason })];
        Reply { answer: Some(response), facts, durability: Durability::BestEffort }
    }

    fn association(&self, association: &Association, given: Option<Ipv6Addr>) -> Told {
        let id = association.id;
        match association.kind {
            AssociationKind::Temporary => {
                Told::Temporary { id, status: (Status::NoAddresses, "no temporary addresses".into()) }
            }
            AssociationKind::Prefix => Told::Prefixes { id, status: (Status::NoPrefix, "no prefixes".into()) },
            AssociationKind::Lasting => self.addresses(association, given),
        }
    }

    fn addresses(&self, association: &Association, given: Option<Ipv6Addr>) -> Told {
        let id = association.id;
        let Some(ip) = given else {
            let status = match self.request.kind {
                Kind::Request if self.asks_for_another_link() => (Status::NotOnLink, "not of this link".to_owned()),
                _ => (Status::NoAddresses, "a machine has one address".to_owned()),
            };
            return Told::Addresses { id, renew_s: 0, rebind_s: 0, addresses: Vec::new(), status: Some(status) };
        };
        let valid_s = self.ipv6().lease_s;
        let preferred_s = valid_s - valid_s / 4;
        let mut addresses = vec![Given { ip, preferred_s, valid_s }];
        if matches!(self.request.kind, Kind::Renew | Kind::Rebind) {
            let others = association.addresses.iter().filter(|other| **other != ip);
            addresses.extend(others.map(|ip| Given { ip: *ip, preferred_s: 0, valid_s: 0 }));
        }
        // T1 and T2: RFC 8415 §21.4.
        Told::Addresses { id, renew_s: preferred_s / 2, rebind_s: preferred_s / 5 * 4, addresses, status: None }
    }

    fn own(&self) -> Result<Own<'_>, Dhcp6Refusal> {
        self.place.own().map(|(ip, pool)| Own { ip, pool })
    }

    fn asked(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        let lasting = self.request.associations.iter().filter(|one| one.kind == AssociationKind::Lasting);
        lasting.flat_map(|one| one.addresses.iter().copied())
    }

    fn asks_for_another_link(&self) -> bool {
        self.asked().any(|ip| !self.ipv6().subnet.contains(ip))
    }

    /// RFC 8415 §18.3.3. A client that has another address than its own is sent to ask anew, wherever it is.
    fn confirm(&self) -> Reply {
        let Ok(own) = self.own() else { return Reply::nothing() };
        match self.asked().next() {
            None => Reply::nothing(),
            Some(_) if self.asked().all(|ip| ip == own.ip) => self.say(Status::Success, "its address is right"),
            asked => {
                let reason = Dhcp6Refusal::WrongAddress { asked, own: Some(own.ip) };
                let facts = vec![self.fact(Dhcp6Event::Refused { reason })];
                Reply { facts, ..self.say(Status::NotOnLink, "it has another address now") }
            }
        }
    }

    /// RFC 8415 §18.3.7 and §18.3.8.
    fn returned(&self, event: impl Fn(Ipv6Addr, Option<Name>) -> Dhcp6Event) -> Reply {
        let own = self.place.held();
        let mut reply = self.say(Status::Success, "noted");
        let Some(response) = &mut reply.answer else { return reply };
        for association in &self.request.associations {
            if let Some((ip, pool)) = own.filter(|(ip, _)| association.addresses.contains(ip)) {
                reply.facts = vec![self.fact(event(ip, pool.cloned()))];
                reply.durability = Durability::BeforeAnswer;
            } else if association.kind == AssociationKind::Lasting {
                let (id, status) = (association.id, Some((Status::NoBinding, "not its address".to_owned())));
                response.told.push(Told::Addresses { id, renew_s: 0, rebind_s: 0, addresses: Vec::new(), status });
            }
        }
        reply
    }

    /// RFC 8415 §18.3.6: parameters, and no address.
    fn inform(&self) -> Reply {
        let boot = self.boot();
        let mut response = self.response(ResponseKind::Reply);
        response.told.push(Told::RefreshTime(REFRESH_S));
        self.tell_parameters(&mut response, &boot);
        let event = Dhcp6Event::Informed { file: boot.file().map(str::to_owned) };
        // A system that asks every hour is no news; firmware that asks is a boot.
        let facts = match boot {
            Boot::Nothing | Boot::File { .. } => vec![self.fact(event)],
            Boot::None => Vec::new(),
        };
        Reply { answer: Some(response), facts, durability: Durability::BestEffort }
    }

    fn tell_parameters(&self, response: &mut Response, boot: &Boot) {
        let NetworkIpv6 { dns, search, ntp, boot_parameters, .. } = self.ipv6();
        let wants = |code| self.request.wants(code);
        if let Boot::File { url, vendor_class } = boot {
            response.told.push(Told::BootUrl(url.clone()));
            if !boot_parameters.is_empty() {
                response.told.push(Told::BootParameters(boot_parameters.clone()));
            }
            response.told.extend(vendor_class.clone().map(Told::VendorClass));
        }
        if !dns.is_empty() && wants(code::DNS) {
            response.told.push(Told::Dns(dns.clone()));
        }
        if !search.is_empty() && wants(code::SEARCH) {
            response.told.push(Told::Search(search.clone()));
        }
        if !ntp.is_empty() && wants(code::NTP) {
            response.told.push(Told::Ntp(ntp.clone()));
        }
    }
}

/// The address of a pool for `holder`: the one that it has, or the first free one from a place that follows from who it
/// is, so that it gets the same again after everything else was forgotten.
fn of_pool(state: &State, network: &NetworkIpv6, holder: &Holder6, now: UnixMs) -> Option<Ipv6Addr> {
    use crate::model::Digest;
    use crate::model::limits::POOL_LEASES6_MAX;

    let pool = network.pool?;
    let usable = |ip: &Ipv6Addr| {
        pool.contains(*ip) && !state.by_ip6.contains_key(ip) && state.leases6.is_free_for(*ip, holder, now)
    };
    if let Some(ip) = state.leases6.of(holder).filter(usable) {
        return Some(ip);
    }
    let size = pool.size();
    let digest = Digest::of(String::from(holder.clone()).as_bytes());
    let start = u128::from_str_radix(digest.hex().get(..32)?, 16).ok()?.checked_rem(size)?;
    let tries = size.min(u128::try_from(POOL_LEASES6_MAX).unwrap_or(u128::MAX).saturating_add(1));
    (0..tries).find_map(|step| {
        let place = start.saturating_add(step).checked_rem(size)?;
        let ip = Ipv6Addr::from(u128::from(pool.from).checked_add(place)?);
        usable(&ip).then_some(ip)
    })
}
