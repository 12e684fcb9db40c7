//! What a client is answered: one decision from the state, the message, and where it came in.
//!
//! Purpose: [`reply`]. Specification: RFC 2131 §4.1 (destinations), §4.3 (server behaviour), table 3 (fields); RFC 3046 (relays),
//! RFC 6842 (the client's id is returned), RFC 4578 (the machine's id is returned), PXE 2.1 §2.2.
//!
//! Invariants: a node has one address, the described one, and no other is ever offered or acknowledged. Only a machine
//! that is a node is told NAK, since other servers may serve the others. An ACK of an address always comes with
//! [`Durability::BeforeAnswer`]. No answer goes to an address that the packet alone names: it is the node's own, its
//! hardware's, everybody's, or a relay inside the node's network.
//!
//! Deliberately absent: leases that end. An address is fixed for as long as the node is described, so no time is read
//! here; and no address is probed before it is offered.

use dhcproto::v4::{DhcpOption, OptionCode};
use std::net::Ipv4Addr;

use super::codec::{Delivery, IPXE_ENCAPSULATED, Request, RequestKind, Response, ResponseKind, raw};
use super::facts::{client_of, exchange};
use crate::boot::answer::{BootAnswer, Services, answer};
use crate::fact::{DhcpEvent, DhcpRefusal, Fact};
use crate::model::{Mac, NetworkSpec};
use crate::state::{Node, State};

/// The shortest lease that is given to a client that asks for a shorter one, in seconds.
pub const LEASE_MIN_S: u32 = 60;
/// PXE vendor options (PXE 2.1, table 2-1): 6, discovery control = 8: load the boot file that is named, ask no
/// boot server; then the end.
const PXE_LOAD_AS_TOLD: [u8; 4] = [6, 1, 8, 255];
/// iPXE's encapsulated option 176 (`no-pxedhcp`) = 1: there is no ProxyDHCP server to wait for.
const IPXE_NO_PROXY: [u8; 3] = [176, 1, 1];

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

/// A message that was matched with its node.
struct Known<'a> {
    request: &'a Request,
    node: &'a Node,
    network: &'a NetworkSpec,
    link: &'a Link,
    /// The appliance's address as the client sees it.
    server_id: Ipv4Addr,
    services: Services,
}

/// What follows from `request`, which came in on `link`.
#[must_use]
pub fn reply(state: &State, request: &Request, link: &Link, services: &Services) -> Reply {
    let ignored = |node, reason| Reply::silent(exchange(request, node, DhcpEvent::Ignored { reason }));
    let Some(node) = state.node_with_mac(request.mac) else { return ignored(None, DhcpRefusal::UnknownMachine) };
    let here = state.network_of(node).and_then(|network| Some((network, server_id(network, request, link)?)));
    let Some((network, server_id)) = here else {
        return ignored(Some(node.id), DhcpRefusal::WrongNetwork { network: node.spec.network.clone() });
    };
    let services = services.seen_at(server_id);
    let known = Known { request, node, network, link, server_id, services };
    match request.kind {
        RequestKind::Discover => known.discover(),
        RequestKind::Request => known.request(),
        RequestKind::Inform => known.inform(),
        RequestKind::Decline => known.told(|ip| DhcpEvent::Declined { ip }),
        RequestKind::Release => known.told(|ip| DhcpEvent::Released { ip }),
    }
}

/// The appliance's address for a client of `network`, if that network is where the message came from: its link's, or
/// behind its relay.
fn server_id(network: &NetworkSpec, request: &Request, link: &Link) -> Option<Ipv4Addr> {
    let inside = link.addresses.iter().copied().find(|address| network.subnet.contains(*address));
    match request.relay {
        None => inside,
        Some(relay) if network.subnet.is_host(relay) => inside.or(link.addresses.first().copied()),
        Some(_) => None,
    }
}

impl Known<'_> {
    fn own(&self) -> Ipv4Addr {
        self.node.spec.ip
    }

    fn fact(&self, event: DhcpEvent) -> Fact {
        exchange(self.request, Some(self.node.id), event)
    }

    fn ignored(&self, reason: DhcpRefusal) -> Reply {
        Reply::silent(self.fact(DhcpEvent::Ignored { reason }))
    }

    fn boot(&self) -> BootAnswer {
        answer(&self.node.spec, client_of(self.request), &self.services)
    }

    fn discover(&self) -> Reply {
        let boot = self.boot();
        if let BootAnswer::NoProgram(_) = boot {
            return self.ignored(DhcpRefusal::NoLoader);
        }
        let file = boot.file().map(str::to_owned);
        let message = self.leasing(ResponseKind::Offer, &boot);
        let destination = self.destination();
        Reply {
            answer: Some(Answer { message, destination }),
            facts: vec![self.fact(DhcpEvent::Offered { ip: self.own(), file })],
            durability: Durability::BestEffort,
        }
    }

    /// RFC 2131 §4.3.2. Whether a client selects, reboots, renews or rebinds shows in which of these three are set; a
    /// node's address is fixed, so what differs is only where the wanted address stands and whom the client means.
    fn request(&self) -> Reply {
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
            Some(asked) if asked == self.own() => self.acknowledge(),
            None if server_id.is_none() => self.ignored(DhcpRefusal::WrongAddress { asked: None, own: self.own() }),
            asked => self.refuse(DhcpRefusal::WrongAddress { asked, own: self.own() }),
        }
    }

    fn is_ours(&self, server: Ipv4Addr) -> bool {
        server == self.server_id || self.link.addresses.contains(&server)
    }

    fn acknowledge(&self) -> Reply {
        let boot = self.boot();
        if let BootAnswer::NoProgram(_) = boot {
            return self.ignored(DhcpRefusal::NoLoader);
        }
        let event = DhcpEvent::Leased { ip: self.own(), lease_s: self.lease_s(), file: boot.file().map(str::to_owned) };
        let mut message = self.leasing(ResponseKind::Ack, &boot);
        message.client_ip = self.request.client_ip.filter(|ip| *ip == self.own());
        Reply {
            answer: Some(Answer { message, destination: self.destination() }),
            facts: vec![self.fact(event)],
            durability: Durability::BeforeAnswer,
        }
    }

    fn refuse(&self, reason: DhcpRefusal) -> Reply {
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
    fn inform(&self) -> Reply {
        let own = self.own();
        if self.request.client_ip != Some(own) {
            return self.ignored(DhcpRefusal::WrongAddress { asked: self.request.client_ip, own });
        }
        let mut message = Response::to(self.request, ResponseKind::Ack, self.server_id);
        message.client_ip = Some(own);
        self.tell_parameters(&mut message, &self.boot());
        Reply {
            answer: Some(Answer { message, destination: Destination::UnicastTo { ip: own } }),
            facts: Vec::new(),
            durability: Durability::BestEffort,
        }
    }

    /// DECLINE and RELEASE have no answer. The address stays the node's: it is described so.
    fn told(&self, event: impl FnOnce(Ipv4Addr) -> DhcpEvent) -> Reply {
        let Request { server_id, requested_ip, client_ip, .. } = *self.request;
        match server_id.filter(|server| !self.is_ours(*server)) {
            Some(server) => self.ignored(DhcpRefusal::OtherServer { server }),
            None => match requested_ip.or(client_ip) {
                Some(ip) if ip == self.own() => Reply::silent(self.fact(event(ip))),
                asked => self.ignored(DhcpRefusal::WrongAddress { asked, own: self.own() }),
            },
        }
    }

    /// RFC 2131 §4.1.
    fn destination(&self) -> Destination {
        let ip = self.own();
        match (self.request.relay, self.request.client_ip, self.request.delivery) {
            (Some(relay), ..) => Destination::Relay { ip: relay },
            (None, Some(client), _) if client == ip => Destination::UnicastTo { ip },
            (None, _, Delivery::Broadcast) => Destination::Broadcast,
            (None, _, Delivery::Unicast) => Destination::UnicastToHardware { mac: self.request.mac, ip },
        }
    }

    fn lease_s(&self) -> u32 {
        let most = self.network.lease_s;
        self.request.lease_s.map_or(most, |asked| asked.max(LEASE_MIN_S).min(most))
    }

    fn leasing(&self, kind: ResponseKind, boot: &BootAnswer) -> Response {
        let mut message = Response::to(self.request, kind, self.server_id);
        message.your_ip = Some(self.own());
        let lease_s = self.lease_s();
        message.options.extend([
            DhcpOption::AddressLeaseTime(lease_s),
            // T1 and T2 are what RFC 2131 §4.4.5 has for want of others, said aloud.
            DhcpOption::Renewal(lease_s / 2),
            DhcpOption::Rebinding(lease_s / 8 * 7),
        ]);
        self.tell_parameters(&mut message, boot);
        message
    }

    /// The most needed first: what does not fit is left out from the end.
    fn tell_parameters(&self, message: &mut Response, boot: &BootAnswer) {
        let NetworkSpec { subnet, router, dns, .. } = self.network;
        message.options.push(DhcpOption::SubnetMask(subnet.mask()));
        self.tell_boot(message, boot);
        message.options.extend(self.client_id());
        let wants = |code| self.request.wants(code);
        if let Some(router) = router.filter(|_| wants(OptionCode::Router)) {
            message.options.push(DhcpOption::Router(vec![router]));
        }
        if !dns.is_empty() && wants(OptionCode::DomainNameServer) {
            message.options.push(DhcpOption::DomainNameServer(dns.clone()));
        }
        if wants(OptionCode::Hostname) {
            message.options.push(DhcpOption::Hostname(self.node.spec.name.to_string()));
        }
        if wants(OptionCode::BroadcastAddr) {
            message.options.push(DhcpOption::BroadcastAddr(subnet.broadcast()));
        }
    }

    fn tell_boot(&self, message: &mut Response, boot: &BootAnswer) {
        message.next_server = boot.next_server();
        let Some(file) = boot.file() else { return };
        message.file = Some(file.to_owned());
        // In the option as well as in the field: there are ROMs that read only the one, and only the other.
        message.options.push(DhcpOption::BootfileName(file.as_bytes().to_vec()));
        if let Some(class) = boot.vendor_class() {
            message.options.push(DhcpOption::ClassIdentifier(class.as_bytes().to_vec()));
        }
        match boot {
            BootAnswer::ProgramByTftp { server, .. } => {
                message.options.push(DhcpOption::VendorExtensions(PXE_LOAD_AS_TOLD.to_vec()));
                message.options.push(DhcpOption::TFTPServerName(server.to_string().into_bytes()));
            }
            BootAnswer::Script { .. } => {
                message.options.push(raw(OptionCode::from(IPXE_ENCAPSULATED), &IPXE_NO_PROXY));
            }
            BootAnswer::ProgramByHttp { .. } | BootAnswer::AddressOnly | BootAnswer::NoProgram(_) => {}
        }
        if let Some(id) = &self.request.machine_id {
            message.options.push(DhcpOption::ClientMachineIdentifier(id.clone()));
        }
    }

    fn client_id(&self) -> Option<DhcpOption> {
        self.request.client_id.clone().map(DhcpOption::ClientIdentifier)
    }
}

#[cfg(test)]
mod tests;
