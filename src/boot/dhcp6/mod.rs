//! The DHCPv6 server: an address, parameters and something to boot, for every machine on a network that has IPv6.
//!
//! Purpose: answer DHCPv6 on the interfaces that are named. [`bind`] takes the port of one, [`Bound::run`] serves until it is told
//! to stop. Specification: RFC 8415, RFC 5970, RFC 6939.
//!
//! From a packet, read downward: `socket` (the datagram) → `codec` (the request) → `reply` (what follows, by the state) → `facts`
//! (what the rest of the program learns) → `socket` (the answer). `quiet` keeps repetitions out of the journal.
//!
//! Invariants:
//! - An address is given after its lease is durable. When the journal refuses it there is no REPLY; the client asks again.
//! - An address of a pool that is on its way to one client is promised to no other meanwhile.
//! - Leases on their way are bounded ([`LEASES_IN_FLIGHT_MAX`]), and those of machines that are no node are paced
//!   ([`STRANGERS`]), so that inventing machines neither fills the journal nor takes the place of a node.
//! - On a network without IPv6 nothing is answered and nothing is told.
//!
//! Deliberately absent: prefix delegation, reconfiguration, and any option that no boot needs. DHCPv6 has no
//! authentication, so nothing secret is told.

pub mod codec;
pub mod facts;
mod quiet;
pub mod reply;
mod socket;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::pace::{Pace, Rate, Verdict};
use crate::fact::{Dhcp6Event, Dhcp6Fact, Dhcp6Refusal, Fact};
use crate::model::limits::UNKNOWN_MACHINES_MAX;
use crate::model::{Duid, UnixMs};
use crate::port::{FactSender, StateReader, SubmitError};
use codec::{Request, Response};
use quiet::Quiet;
use reply::{Arrival, Durability, Reply, Server};
use socket::{LinkSocket, Peer};

pub use reply::{Link6, Services6};

/// Leases of one interface that wait for the journal. A request beyond it gets no answer; the client asks again.
pub const LEASES_IN_FLIGHT_MAX: usize = 4_096;
/// How many leases machines that are no node are given: so many at once, and one more each of these pauses.
pub const STRANGERS: Rate = Rate { burst: 1_024, refill_ms: 2 };
/// How many answers one sender is given. A relay is one sender for many machines.
const ANSWERS_EACH: Rate = Rate { burst: 4_096, refill_ms: 1 };
/// How many answers there are in all.
const ANSWERS_ALL: Rate = Rate { burst: 16_384, refill_ms: 1 };
/// How many messages that make no sense are told of one sender, and of all.
const MALFORMED_EACH: Rate = Rate { burst: 4, refill_ms: 15_000 };
const MALFORMED_ALL: Rate = Rate { burst: 64, refill_ms: 1_000 };
/// The longest datagram that is read.
const DATAGRAM_MAX_BYTES: usize = 65_536;
/// Pause after the port failed to read, so that a lasting fault does not take a processor.
const RECEIVE_FAULT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum Dhcp6Error {
    /// The interface is not there.
    #[error(
        "DHCPv6 cannot serve {interface}: there is no such interface; see `ip link`, and correct [dhcp] interfaces"
    )]
    NoInterface {
        /// The interface.
        interface: String,
    },
    /// Anything else.
    #[error(
        "DHCPv6 cannot serve {interface}: {source}; when another server has UDP port 547, `ss -lunp sport = :547` names it; where IPv6 is switched off, set [dhcp] dhcpv6 = \"off\""
    )]
    Socket {
        /// The interface.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A server that holds its port and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    socket: LinkSocket,
}

/// Takes the port on `interface`. Must be called inside a tokio runtime.
///
/// # Errors
/// When there is no such interface, or the port cannot be had.
pub fn bind(interface: &str) -> Result<Bound, Dhcp6Error> {
    Ok(Bound { socket: LinkSocket::bind(interface)? })
}

/// The identifier of the server of this cluster: it follows from the cluster's own authority, whose digest begins with
/// `authority`, so it is the same after a restart and after a move to another machine.
#[must_use]
pub fn server_duid(authority: [u8; 16]) -> Duid {
    // RFC 9562 §5.8: a UUID of one's own making.
    Duid::of_uuid(*uuid::Builder::from_custom_bytes(authority).into_uuid().as_bytes())
}

impl Bound {
    /// Serves until `shutdown`.
    pub async fn run(
        self,
        facts: FactSender,
        state: StateReader,
        (duid, services): (Duid, Services6),
        shutdown: CancellationToken,
    ) {
        let desk = Desk {
            socket: Arc::new(self.socket),
            facts,
            state,
            server: Server { duid, services },
            in_flight: HashSet::new(),
            promised: HashMap::new(),
            leases: JoinSet::new(),
            quiet: Quiet::new(UNKNOWN_MACHINES_MAX),
            answers: Pace::new(ANSWERS_EACH, ANSWERS_ALL),
            malformed: Pace::new(MALFORMED_EACH, MALFORMED_ALL),
            strangers: Pace::new(STRANGERS, STRANGERS),
            origin: Instant::now(),
        };
        desk.serve(shutdown).await;
    }
}

/// A lease on its way: who asked in which transaction, and the address when it is of a pool.
type InFlight = (Option<Duid>, [u8; 3], Option<Ipv6Addr>);

/// What serving one interface keeps.
struct Desk {
    socket: Arc<LinkSocket>,
    facts: FactSender,
    state: StateReader,
    server: Server,
    /// Leases that wait for the journal. A repeated request gets the answer to the first.
    in_flight: HashSet<(Option<Duid>, [u8; 3])>,
    /// Addresses of pools among them, with the machines that they go to.
    promised: HashMap<Ipv6Addr, Option<Duid>>,
    leases: JoinSet<InFlight>,
    quiet: Quiet,
    answers: Pace,
    malformed: Pace,
    strangers: Pace,
    origin: Instant,
}

impl Desk {
    async fn serve(mut self, shutdown: CancellationToken) {
        let socket = Arc::clone(&self.socket);
        let interface = &socket.link().interface;
        let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
        tracing::info!(interface, addresses = ?socket.link().addresses, "serving DHCPv6");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = self.leases.join_next() => self.leave(ended),
                received = socket.receive(&mut buffer) => match received {
                    Ok((length, from, cast)) => {
                        let arrival = Arrival { source: *from.ip(), cast };
                        self.take(buffer.get(..length).unwrap_or_default(), from, &arrival).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, interface, "DHCPv6 requests cannot be read");
                        tokio::time::sleep(RECEIVE_FAULT_PAUSE).await;
                    }
                },
            }
        }
        while let Some(ended) = self.leases.join_next().await {
            self.leave(ended);
        }
        tracing::info!(interface, "stopped serving DHCPv6");
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn take(&mut self, datagram: &[u8], from: SocketAddrV6, arrival: &Arrival) {
        let (now_ms, sender) = (self.now_ms(), IpAddr::V6(*from.ip()));
        let request = match codec::decode(datagram) {
            Ok(request) => request,
            Err(error) => {
                if self.malformed.judge(sender, now_ms) != Verdict::Hold && self.serves_anything() {
                    self.facts.offer(facts::malformed(sender.to_string(), &error));
                }
                return;
            }
        };
        let link = self.socket.link();
        let reply = reply::reply(&self.state.now(), &request, arrival, (link, &self.server), unix_now());
        let Reply { answer, facts, durability } = reply;
        if answer.is_some() && self.answers.judge(sender, now_ms) == Verdict::Hold {
            return tracing::debug!(%sender, "a DHCPv6 client asks too often, and is not answered");
        }
        match durability {
            Durability::BestEffort => {
                facts.into_iter().filter(|fact| self.quiet.is_news(fact, Instant::now())).for_each(|fact| {
                    self.facts.offer(fact);
                });
                if let Some(answer) = answer {
                    send(&self.socket, from, &answer).await;
                }
            }
            Durability::BeforeAnswer => self.promise(request, from, answer, facts),
        }
    }

    /// Whether there is IPv6 here at all: where there is none, what others say is no concern of this server.
    fn serves_anything(&self) -> bool {
        self.state.now().networks.values().any(|network| network.ipv6.is_some())
    }

    /// Sends `answer` once `facts` are durable, and not at all when they cannot be.
    fn promise(&mut self, request: Request, to: SocketAddrV6, answer: Option<Response>, facts: Vec<Fact>) {
        let lease = (request.client_id.clone(), request.xid);
        if self.in_flight.len() >= LEASES_IN_FLIGHT_MAX || self.in_flight.contains(&lease) {
            return;
        }
        let Some(Fact::Dhcp6(fact)) = facts.first() else { return };
        let pooled = match fact.event {
            Dhcp6Event::Leased { ip, pool: Some(_), .. } => Some(ip),
            _ => None,
        };
        if pooled.is_some_and(|ip| self.promised.get(&ip).is_some_and(|to| *to != request.client_id)) {
            return;
        }
        // All strangers share one purse: how many they are is theirs to invent.
        let anybody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if fact.node.is_none() && self.strangers.judge(anybody, self.now_ms()) == Verdict::Hold {
            return;
        }
        if let Some(ip) = pooled {
            self.promised.insert(ip, request.client_id.clone());
        }
        self.in_flight.insert(lease.clone());
        let refused = |detail| Dhcp6Event::Ignored { reason: Dhcp6Refusal::NotDurable { detail } };
        let (socket, sender, fact) = (Arc::clone(&self.socket), self.facts.clone(), fact.clone());
        self.leases.spawn(async move {
            match sender.submit(facts).await {
                Ok(_) => {
                    if let Some(answer) = answer {
                        send(&socket, to, &answer).await;
                    }
                }
                Err(SubmitError::NotDurable { detail }) => {
                    tracing::error!(duid = ?fact.duid, detail, "a DHCPv6 lease could not be stored, so it is not given");
                    sender.offer(Fact::Dhcp6(Dhcp6Fact { event: refused(detail), ..fact }));
                }
                Err(error @ SubmitError::Stopped) => {
                    tracing::info!(duid = ?fact.duid, %error, "a DHCPv6 lease was not given");
                }
            }
            (lease.0, lease.1, pooled)
        });
    }

    fn leave(&mut self, ended: Result<InFlight, JoinError>) {
        match ended {
            Ok((client, xid, pooled)) => {
                self.in_flight.remove(&(client, xid));
                if let Some(ip) = pooled {
                    self.promised.remove(&ip);
                }
            }
            Err(error) => tracing::error!(%error, "a DHCPv6 lease ended by a fault of the server"),
        }
    }
}

fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Sends an answer. One that cannot be sent is like one that is lost on its way: the client asks again.
async fn send(socket: &LinkSocket, to: SocketAddrV6, answer: &Response) {
    let bytes = codec::encode(answer);
    let peer = if answer.relays.is_empty() { Peer::Client } else { Peer::Relay };
    if let Err(error) = socket.send(to, peer, &bytes).await {
        tracing::warn!(%error, %to, "a DHCPv6 answer could not be sent");
    }
}
