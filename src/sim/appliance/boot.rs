//! DHCP, TFTP and HTTP boot as the appliance's entries do them: the pure parts decide, and what they promise is kept when
//! the journal has it.
//!
//! DHCP is whole: bytes in, bytes out. Of TFTP the request and its answer are bytes and the blocks are not: a transfer takes
//! as long as its bytes need. HTTP has no wire format here: a path leads to a route, an answer to a status and a body.
//! Deliberately absent: files. Each has a length, and is always there.

use std::net::{IpAddr, SocketAddr};

use super::Appliance;
use crate::boot::dhcp::codec;
use crate::boot::dhcp::facts as dhcp_facts;
use crate::boot::dhcp::ledger::Ledger;
use crate::boot::dhcp::reply::{Desk, Durability, reply};
use crate::boot::http::facts::{Asked, Telling, telling};
use crate::boot::http::reply::{Fields, Method, Reply, decide};
use crate::boot::http::route::{Route, route};
use crate::boot::script::{JoinToken, script};
use crate::boot::tftp::codec as tftp;
use crate::boot::tftp::facts::{LastAck, RefuseReason, TransferEvent, fact_of};
use crate::boot::tftp::reply::{Limits, negotiate, refusal};
use crate::boot::{client::node_at, firmware};
use crate::fact::{DhcpEvent, DhcpRefusal, Fact};
use crate::model::{Mac, NodeId, UnixMs};
use crate::sim::hub::{Down, Event, Hub, Sent, Transfer};
use crate::sim::site;

/// What one machine gets over its link, in bytes a millisecond.
const LINK_BYTES_PER_MS: (u64, u64) = (50_000, 110_000);
/// A block of TFTP and its acknowledgement, in tenths of a millisecond.
const BLOCK_TENTH_MS: (u64, u64) = (2, 6);
const TFTP_BLOCK_BYTES: u64 = 1_432;
const LIMITS: Limits = Limits { blksize_max_bytes: 1_468, windowsize_max_blocks: 16 };

/// What is done when facts are durable.
#[derive(Debug)]
pub(in crate::sim) enum Promise {
    /// Nothing: it was only waited for.
    Word,
    /// A lease is acknowledged.
    Lease { node: usize, bytes: Vec<u8>, request: Box<codec::Request>, whose: Option<NodeId> },
    /// A script is sent.
    Script { node: usize, request: u64, text: String },
    /// A certificate is handed out.
    Certificate { node: usize, connection: u64, chain: Vec<u8> },
    /// A session begins.
    Session { node: usize, connection: u64 },
    /// A report is taken for told.
    Report { node: usize, connection: u64 },
    /// A session's last words, which are said until they are kept.
    LastWords(Vec<Fact>),
}

impl Appliance {
    /// Keeps a promise: its facts are durable.
    pub(in crate::sim) fn kept(&mut self, hub: &mut Hub, promise: Promise) {
        match promise {
            Promise::Lease { node, bytes, .. } => hub.down(node, Down::Dhcp(bytes)),
            Promise::Script { node, request, text } => {
                hub.down(node, Down::Got { request, status: 200, body: text });
            }
            Promise::Certificate { node, connection, chain } => self.joined(hub, node, connection, chain),
            Promise::Session { node, connection } => self.session_begins(hub, node, connection),
            Promise::Word | Promise::Report { .. } | Promise::LastWords(_) => {}
        }
    }

    /// Breaks a promise: the disk refused its facts.
    pub(in crate::sim) fn refused(&mut self, hub: &mut Hub, promise: Promise) {
        match promise {
            Promise::Word => {}
            // No answer: the client asks again.
            Promise::Lease { request, whose, .. } => {
                let detail = "the disk is full".to_owned();
                let event = DhcpEvent::Ignored { reason: DhcpRefusal::NotDurable { detail } };
                let told = dhcp_facts::told_by(&request);
                self.offer(dhcp_facts::exchange(&request, whose, event, told));
            }
            Promise::Script { node, request, .. } => later(hub, node, request),
            Promise::Certificate { node, connection, .. } => self.not_joined(hub, node, connection),
            Promise::Session { node, connection } => self.session_refused(hub, node, connection),
            Promise::Report { node, connection } => self.report_refused(node, connection),
            Promise::LastWords(facts) => self.submit(facts.clone(), Promise::LastWords(facts)),
        }
    }

    pub(in crate::sim) fn dhcp(&mut self, hub: &mut Hub, node: usize, bytes: &[u8]) {
        let request = match codec::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                let sender = codec::sender(bytes).map_or_else(String::new, |mac| mac.to_string());
                return self.offer(dhcp_facts::malformed(sender, &error));
            }
        };
        // Every simulated machine is a node, so no address is ever looked for.
        let mut ledger = Ledger::default();
        let (link, services) = (site::link(), site::services());
        let (state, now) = (&self.state, UnixMs::default());
        let reply = reply(Desk { state, ledger: &mut ledger, link: &link, services: &services, now }, &request);
        let answer = reply.answer.and_then(|answer| codec::encode(&answer.message).ok());
        match (reply.durability, answer) {
            (Durability::BeforeAnswer, Some(bytes)) => {
                let whose = reply.facts.first().and_then(Fact::node);
                self.submit(reply.facts, Promise::Lease { node, bytes, request: Box::new(request), whose });
            }
            (_, answer) => {
                reply.facts.into_iter().for_each(|fact| self.offer(fact));
                if let Some(bytes) = answer {
                    hub.down(node, Down::Dhcp(bytes));
                }
            }
        }
    }

    fn address_of(&self, node: usize) -> Option<IpAddr> {
        let id = self.tree.id_of(node)?;
        self.state.node(id).map(|node| IpAddr::V4(node.spec.ip))
    }

    pub(in crate::sim) fn tftp(&mut self, hub: &mut Hub, node: usize, bytes: &[u8]) {
        let Some(address) = self.address_of(node) else { return };
        let client = SocketAddr::new(address, 2_070);
        let Ok(tftp::Packet::Read(request)) = tftp::decode(bytes) else { return };
        let Some(program) = firmware::named(request.name) else {
            let refused =
                TransferEvent::Refused { client, request: request.name.to_owned(), reason: RefuseReason::NotFound };
            if let Some(fact) = fact_of(&refused, &self.state) {
                self.offer(fact);
            }
            if let Some(error) = refusal(&RefuseReason::NotFound) {
                let mut answer = Vec::new();
                let message = error.message.as_bytes();
                tftp::encode(&tftp::Packet::Error { code: error.code, message }, &mut answer);
                hub.down(node, Down::Tftp(answer));
            }
            return;
        };
        let length_bytes = loader_bytes(program.file);
        let terms = negotiate(&request.options, length_bytes, LIMITS);
        let mut answer = Vec::new();
        tftp::encode(&tftp::Packet::OptionAck(terms.granted), &mut answer);
        hub.down(node, Down::Tftp(answer));
        let blocks = length_bytes / TFTP_BLOCK_BYTES + 1;
        let took_ms = blocks * self.random.between(BLOCK_TENTH_MS.0, BLOCK_TENTH_MS.1) / 10 + 5;
        let sent = Sent::Tftp { file: request.name.to_owned() };
        let transfer = Transfer { sent, bytes: length_bytes, began_ms: hub.now_ms, packet: Down::TftpDone };
        hub.after(took_ms, Event::Sent { life: self.life, node, transfer: Box::new(transfer) });
    }

    pub(in crate::sim) fn get(&mut self, hub: &mut Hub, node: usize, path: &str, request: u64) {
        let Some(client) = self.address_of(node) else { return };
        let to = route(path);
        let asked = Asked::new(&self.state, client, path, to.as_ref());
        let (length_bytes, etag) = match &to {
            None | Some(Route::Grub(_) | Route::Target(..) | Route::BootFile(_) | Route::Metadata(..)) => {
                self.offer(asked.refused("the path leads nowhere".to_owned()));
                return hub.down(node, Down::Got { request, status: 404, body: String::new() });
            }
            Some(Route::Script(mac)) => return self.script(hub, node, (client, *mac), asked, request),
            Some(Route::Kernel(_)) => (12 << 20, "\"kernel\"".to_owned()),
            Some(Route::Initramfs(_)) => (60 << 20, "\"initramfs\"".to_owned()),
            Some(Route::Loader(file)) => (loader_bytes(file), "\"loader\"".to_owned()),
            Some(Route::Image(file)) => (400 << 20, file.etag()),
            Some(Route::Authority(_)) => (1 << 10, "\"authority\"".to_owned()),
        };
        let answer = decide(Method::Get, Fields::default(), length_bytes, &etag);
        let told = to.map_or(Telling::Nothing, |to| telling(&to, answer, length_bytes));
        if (answer, told) != (Reply::Whole, Telling::File) {
            return;
        }
        let took_ms = length_bytes / self.random.between(LINK_BYTES_PER_MS.0, LINK_BYTES_PER_MS.1) + 1;
        let packet = Down::Got { request, status: 200, body: String::new() };
        let transfer = Transfer { sent: Sent::Http(asked), bytes: length_bytes, began_ms: hub.now_ms, packet };
        hub.after(took_ms, Event::Sent { life: self.life, node, transfer: Box::new(transfer) });
    }

    fn script(&mut self, hub: &mut Hub, at: usize, (client, mac): (IpAddr, Mac), asked: Asked, request: u64) {
        let refuse = |status| Down::Got { request, status, body: String::new() };
        let Some(node) = self.state.node_with_mac(mac).cloned() else {
            self.offer(asked.refused("no node has this hardware address; describe it and apply".to_owned()));
            return hub.down(at, refuse(404));
        };
        if node_at(&self.state, client).map(|node| node.id) != Some(node.id) {
            self.offer(asked.refused(format!("the script of {} is given to {} alone", node.spec.name, node.spec.ip)));
            return hub.down(at, refuse(403));
        }
        let token = JoinToken::new(self.random.bytes());
        let text = self
            .state
            .network_of(&node)
            .ok_or_else(|| format!("the network {} is not described", node.spec.network))
            .and_then(|network| script(&node, network, &site::settings(), &token).map_err(|error| error.to_string()));
        match text {
            Ok(text) => {
                let length_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
                let fact = asked.with_token(token.digest()).sent(length_bytes, 0);
                self.submit(vec![fact], Promise::Script { node: at, request, text });
            }
            Err(reason) => {
                self.offer(asked.refused(reason));
                hub.down(at, refuse(500));
            }
        }
    }

    /// A file was sent whole.
    pub(in crate::sim) fn sent(&mut self, hub: &mut Hub, node: usize, transfer: Transfer) {
        let Transfer { sent, bytes, began_ms, packet } = transfer;
        let duration_ms = hub.now_ms.saturating_sub(began_ms);
        let fact = match sent {
            Sent::Http(asked) => Some(asked.sent(bytes, duration_ms)),
            Sent::Tftp { file } => self.address_of(node).and_then(|address| {
                let (client, last_ack) = (SocketAddr::new(address, 2_070), LastAck::Seen);
                let retransmissions = 0;
                let finished = TransferEvent::Finished { client, file, bytes, duration_ms, retransmissions, last_ack };
                fact_of(&finished, &self.state)
            }),
        };
        fact.into_iter().for_each(|fact| self.offer(fact));
        hub.down(node, packet);
        self.go_on(hub);
    }
}

fn later(hub: &mut Hub, node: usize, request: u64) {
    hub.down(node, Down::Got { request, status: 503, body: String::new() });
}

/// How long a boot program is, in bytes.
fn loader_bytes(file: &str) -> u64 {
    if file.contains("undionly") { 70 << 10 } else { 180 << 10 }
}
