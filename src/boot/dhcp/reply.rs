//! What a client is answered: one decision from the state, the message, and where it came in.
//!
//! Purpose: [`reply`]. Specification: RFC 2131 §4.1 (destinations), §4.3 (server behaviour), table 3 (fields); RFC 3046 (relays),
//! RFC 6842 (the client's id is returned), RFC 4578 (the machine's id is returned), PXE 2.1 §2.2.
//!
//! Invariants: a node has one address, the described one, and no other is ever offered or acknowledged. A machine that is no
//! node has one of a discovery range, or none. An ACK of an address always comes with [`Durability::BeforeAnswer`]. No answer
//! goes to an address that the packet alone names: it is the machine's own, its hardware's, everybody's, or a relay that serves
//! the network.
//!
//! Deliberately absent: a clock; time is given. Which free address is taken is the ledger's to say.

mod place;
mod stranger;
mod tell;

use dhcproto::v4::DhcpOption;
use std::net::Ipv4Addr;

use self::place::Place;
use super::codec::{Delivery, Request, RequestKind, Response, ResponseKind};
use super::facts::{client_of, exchange, told_by};
use super::ledger::Ledger;
use crate::boot::answer::{BootAnswer, Services, answer};
use crate::boot::chain::Wishes;
use crate::fact::{DhcpEvent, DhcpRefusal, Fact, Told};
use crate::model::{Authority, ClientSigns, Mac, NetworkSpec, UnixMs};
use crate::plan::lease::Asking;
use crate::state::{Node, State};

/// Where a message came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The interface.
    pub interface: String,
    /// The appliance's addresses there.
    pub addresses: Vec<Ipv4Addr>,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To every machine on the link, port 68.
    Broadcast,
    /// To a machine that does not answer to its address yet, port 68.
    UnicastToHardware {
        /// Its hardware address.
        mac: Mac,
        /// The address that it is about to have.
        ip: Ipv4Addr,
    },
    /// To a machine that has its address, port 68.
    UnicastTo {
        /// The address.
        ip: Ipv4Addr,
    },
    /// To the relay, port 67.
    Relay {
        /// Its address.
        ip: Ipv4Addr,
    },
}

/// A message and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The message.
    pub message: Response,
    /// Where it goes.
    pub destination: Destination,
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
    pub answer: Option<Answer>,
    /// What happened.
    pub facts: Vec<Fact>,
    /// Whether it must be durable first.
    pub durability: Durability,
}

impl Reply {
    fn silent(fact: Fact) -> Self {
        Reply { answer: None, facts: vec![fact], durability: Durability::BestEffort }
    }
}

/// What is asked, of whom, and when.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Everything that is known.
    pub state: &'a State,
    /// Which addresses are free.
    pub ledger: &'a mut Ledger,
    /// Where the message came in.
    pub link: &'a Link,
    /// Where the boot services are.
    pub services: &'a Services,
    /// The time.
    pub now: UnixMs,
}

/// A machine in its network.
struct Client<'a> {
    state: &'a State,
    request: &'a Request,
    /// The node that it is, if it is one.
    node: Option<&'a Node>,
    network: &'a NetworkSpec,
    link: &'a Link,
    /// The appliance's address as the client sees it.
    server_id: Ipv4Addr,
    services: Services,
    told: Told,
}

/// What follows from `request`.
#[must_use]
pub fn reply(desk: Desk<'_>, request: &Request) -> Reply {
    let told = told_by(request);
    let node = desk.state.node_of_machine(request.mac, &told).map(AsRef::as_ref);
    let place = match node {
        Some(node) => place::of_node(desk.state, node, request, desk.link),
        None => place::of_machine(desk.state, request, desk.link),
    };
    let Some(Place { network, server_id }) = place else {
        let reason = match node {
            Some(node) => DhcpRefusal::WrongNetwork { network: node.spec.network.clone() },
            None => DhcpRefusal::UnknownMachine,
        };
        return Reply::silent(exchange(request, node.map(|n| n.id), DhcpEvent::Ignored { reason }, told));
    };
    let told = Told { network: Some(network.name.clone()), ..told };
    let services = desk.services.seen_at(server_id);
    let client = Client { state: desk.state, request, node, network, link: desk.link, server_id, services, told };
    match node {
        Some(node) => client.asks(Own::Is(node.spec.ip)),
        None => {
            let own = stranger::address_of(&client, desk.state, desk.ledger, desk.now);
            client.asks(own)
        }
    }
}

/// What is known of the client's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Own {
    /// It is this.
    Is(Ipv4Addr),
    /// It has none, for this reason.
    None(DhcpRefusal),
    /// It has none here, and another server may have given it one.
    Unheard,
}

impl Client<'_> {
    fn asks(&self, own: Own) -> Reply {
        let own = match own {
            Own::Is(ip) => ip,
            Own::None(reason) => return self.ignored(reason),
            Own::Unheard => return self.unheard(),
        };
        match self.request.kind {
            RequestKind::Discover => self.discover(own),
            RequestKind::Request => self.request(own),
            RequestKind::Inform => self.inform(own),
            RequestKind::Decline => self.told(own, |ip| DhcpEvent::Declined { ip }),
            RequestKind::Release => self.told(own, |ip| DhcpEvent::Released { ip }),
        }
    }

    /// A client that wants an address on which is not known here.
    fn unheard(&self) -> Reply {
        let Request { server_id, requested_ip, client_ip, .. } = *self.request;
        match server_id.filter(|server| !self.is_ours(*server)) {
            Some(server) => self.ignored(DhcpRefusal::OtherServer { server }),
            None => self.refuse(DhcpRefusal::NotLeased { asked: requested_ip.or(client_ip) }),
        }
    }

    fn fact(&self, event: DhcpEvent) -> Fact {
        exchange(self.request, self.node.map(|node| node.id), event, self.told.clone())
    }

    fn ignored(&self, reason: DhcpRefusal) -> Reply {
        Reply::silent(self.fact(DhcpEvent::Ignored { reason }))
    }

    fn boot(&self) -> BootAnswer {
        let wishes = self.node.map(|node| Wishes::of(self.state, node)).unwrap_or_default();
        answer(self.request.mac, &wishes, client_of(self.request), &self.services)
    }

    fn discover(&self, own: Ipv4Addr) -> Reply {
        let boot = self.boot();
        if let BootAnswer::NoProgram(_) = boot {
            return self.ignored(DhcpRefusal::NoLoader);
        }
        let file = boot.file().map(str::to_owned);
        let message = self.leasing(ResponseKind::Offer, own, &boot);
        let destination = self.destination(own);
        Reply {
            answer: Some(Answer { message, destination }),
            facts: vec![self.fact(DhcpEvent::Offered { ip: own, file })],
            durability: Durability::BestEffort,
        }
    }

    /// RFC 2131 §4.3.2. Whether a client selects, reboots, renews or rebinds shows in which of these three are set; a
    /// machine has one address at a time, so what differs is only where the wanted address stands and whom the client means.
    fn request(&self, own: Ipv4Addr) -> Reply {
        let Request { server_id, requested_ip, client_ip, .. } = *self.request;
        if let Some(server) = server_id.filter(|server| !self.is_ours(*server)) {
            return self.ignored(DhcpRefusal::OtherServer { server });
        }
        let asked = match (server_id, client_ip) {
            // Selecting, or rebooting.
            (Some(_), _) | (None, None) => requested_ip,
            // Renewing, or rebinding.
            (None, Some(_)) => client_ip,
        };
        match asked {
            Some(asked) if asked == own => self.acknowledge(own),
            None if server_id.is_none() => self.ignored(DhcpRefusal::WrongAddress { asked: None, own }),
            asked => self.refuse(DhcpRefusal::WrongAddress { asked, own }),
        }
    }

    fn is_ours(&self, server: Ipv4Addr) -> bool {
        server == self.server_id || self.link.addresses.contains(&server)
    }

    fn acknowledge(&self, own: Ipv4Addr) -> Reply {
        let boot = self.boot();
        if let BootAnswer::NoProgram(_) = boot {
            return self.ignored(DhcpRefusal::NoLoader);
        }
        let event = DhcpEvent::Leased { ip: own, lease_s: self.lease_s(own), file: boot.file().map(str::to_owned) };
        let mut message = self.leasing(ResponseKind::Ack, own, &boot);
        message.client_ip = self.request.client_ip.filter(|ip| *ip == own);
        Reply {
            answer: Some(Answer { message, destination: self.destination(own) }),
            facts: vec![self.fact(event)],
            durability: Durability::BeforeAnswer,
        }
    }

    /// A server that does not speak for the whole network says nothing to clients that did not choose it.
    fn refuse(&self, reason: DhcpRefusal) -> Reply {
        if self.network.authority == Authority::Shared && self.request.server_id.is_none() {
            return self.ignored(reason);
        }
        let mut message = Response::to(self.request, ResponseKind::Nak, self.server_id);
        message.options.push(DhcpOption::Message(reason.to_string()));
        message.options.extend(self.client_id());
        let destination = match self.request.relay {
            Some(ip) => {
                // The client may be unable to hear anything else (RFC 2131 §4.3.2).
                message.delivery = Delivery::Broadcast;
                Destination::Relay { ip }
            }
            None => Destination::Broadcast,
        };
        Reply {
            answer: Some(Answer { message, destination }),
            facts: vec![self.fact(DhcpEvent::Refused { reason })],
            durability: Durability::BestEffort,
        }
    }

    /// RFC 2131 §4.3.5: parameters, but no address and no lease.
    fn inform(&self, own: Ipv4Addr) -> Reply {
        if self.request.client_ip != Some(own) {
            return self.ignored(DhcpRefusal::WrongAddress { asked: self.request.client_ip, own });
        }
        let mut message = Response::to(self.request, ResponseKind::Ack, self.server_id);
        message.client_ip = Some(own);
        self.tell_parameters(&mut message, own, &self.boot());
        Reply {
            answer: Some(Answer { message, destination: Destination::UnicastTo { ip: own } }),
            facts: Vec::new(),
            durability: Durability::BestEffort,
        }
    }

    /// DECLINE and RELEASE have no answer. A node's address stays the node's: it is described so.
    fn told(&self, own: Ipv4Addr, event: impl FnOnce(Ipv4Addr) -> DhcpEvent) -> Reply {
        let Request { server_id, requested_ip, client_ip, .. } = *self.request;
        match server_id.filter(|server| !self.is_ours(*server)) {
            Some(server) => self.ignored(DhcpRefusal::OtherServer { server }),
            None => match requested_ip.or(client_ip) {
                Some(ip) if ip == own => {
                    Reply { answer: None, facts: vec![self.fact(event(ip))], durability: Durability::BeforeAnswer }
                }
                asked => self.ignored(DhcpRefusal::WrongAddress { asked, own }),
            },
        }
    }

    /// RFC 2131 §4.1.
    fn destination(&self, ip: Ipv4Addr) -> Destination {
        match (self.request.relay, self.request.client_ip, self.request.delivery) {
            (Some(relay), ..) => Destination::Relay { ip: relay },
            (None, Some(client), _) if client == ip => Destination::UnicastTo { ip },
            (None, _, Delivery::Broadcast) => Destination::Broadcast,
            (None, _, Delivery::Unicast) => Destination::UnicastToHardware { mac: self.request.mac, ip },
        }
    }

    fn asking(&self, own: Ipv4Addr) -> Asking<'_> {
        let request = self.request;
        let signs = ClientSigns {
            mac: request.mac,
            arch: &request.architectures,
            vendor_class: request.vendor_class.as_deref(),
            user_classes: &request.user_classes,
        };
        let node = self.node.map(|node| node.spec.as_ref());
        Asking { network: self.network, node, ip: own, signs }
    }

    fn lease_s(&self, own: Ipv4Addr) -> u32 {
        self.asking(own).lease_s(self.request.lease_s)
    }

    fn leasing(&self, kind: ResponseKind, own: Ipv4Addr, boot: &BootAnswer) -> Response {
        let mut message = Response::to(self.request, kind, self.server_id);
        message.your_ip = Some(own);
        let lease_s = self.lease_s(own);
        message.options.extend([
            DhcpOption::AddressLeaseTime(lease_s),
            // T1 and T2 are what RFC 2131 §4.4.5 has for want of others, said aloud.
            DhcpOption::Renewal(lease_s / 2),
            DhcpOption::Rebinding(lease_s / 8 * 7),
        ]);
        self.tell_parameters(&mut message, own, boot);
        message
    }

    fn client_id(&self) -> Option<DhcpOption> {
        self.request.client_id.clone().map(DhcpOption::ClientIdentifier)
    }
}

#[cfg(test)]
mod tests;
