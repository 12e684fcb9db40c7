//! The DHCP server: an address and something to boot, for every machine that is a node.
//!
//! Purpose: answer DHCPv4 on the interfaces that are named. [`bind`] takes the ports, [`Bound::run`] serves until it is told to
//! stop. Specification: RFC 2131, RFC 2132, RFC 3396, RFC 4578, PXE 2.1.
//!
//! From a packet, read downward: `socket` (the datagram) → `codec` (the request) → `reply` (what follows, by the state) → `facts`
//! (what the rest of the program learns) → `frame` and `socket` (the answer). `quiet` keeps repetitions out of the journal.
//!
//! Invariants:
//! - An address is acknowledged after its lease is durable. When the journal refuses it there is no ACK; the client asks again.
//! - A client that waits for the journal keeps no other waiting: leases are written many to a commit.
//! - Leases on their way are bounded ([`LEASES_IN_FLIGHT_MAX`]); a request beyond it gets no answer and the client asks again,
//!   which paces a rack that boots at once.
//! - When [`Bound::run`] returns, every lease on its way has been answered or given up.
//!
//! Deliberately absent: a check whether an address is in use; DHCPv6. DHCP has
//! no authentication, so nothing secret is told.

pub mod codec;
pub mod facts;
mod frame;
pub mod ledger;
mod quiet;
pub mod reply;
pub mod share;
mod socket;

pub use super::answer::Services;
pub use reply::Link;

use codec::{Request, Xid};
use ledger::Ledger;
use quiet::{Quiet, Verdict};
use reply::{Answer, Durability, Reply};
use share::Share;
use socket::LinkSocket;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::fact::{DhcpEvent, DhcpRefusal, Fact};
use crate::model::limits::{NODES_MAX, UNKNOWN_MACHINES_MAX};
use crate::model::{Mac, UnixMs};
use crate::port::{FactSender, StateReader, SubmitError};

/// Leases of one interface that wait for the journal. A request beyond it gets no answer; the client asks again.
pub const LEASES_IN_FLIGHT_MAX: usize = 4_096;
/// Of those, leases of machines that are no node: nodes keep the rest.
pub const STRANGERS_IN_FLIGHT_MAX: usize = LEASES_IN_FLIGHT_MAX / 4;
/// The longest datagram that is read. No client sends a longer one; the rest of it would be cut off.
const DATAGRAM_MAX_BYTES: usize = 65_536;
/// Pause after the port failed to read, so that a lasting fault does not take a processor.
const RECEIVE_FAULT_PAUSE: Duration = Duration::from_millis(100);
/// How often one interface complains of the same bound in the log.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// Where the server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// The interfaces, by name.
    pub interfaces: Vec<String>,
}

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum DhcpError {
    /// The interface is not there.
    #[error("DHCP cannot serve {interface}: there is no such interface; see `ip link`, and correct [dhcp] interfaces")]
    NoInterface {
        /// The interface.
        interface: String,
    },
    /// It has no IPv4 address.
    #[error("DHCP cannot serve {interface}: it has no IPv4 address; give it one with `ip address add`")]
    NoAddress {
        /// The interface.
        interface: String,
    },
    /// Another program has the port.
    #[error(
        "DHCP cannot serve {interface}: another DHCP server has UDP port 67 there; `ss -lunp sport = :67` names it, stop it"
    )]
    AddressInUse {
        /// The interface.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
    /// The privilege is missing.
    #[error(
        "DHCP cannot serve {interface}: the privilege is missing; run as root, or with CAP_NET_BIND_SERVICE and CAP_NET_RAW"
    )]
    NotPermitted {
        /// The interface.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("DHCP cannot serve {interface}; see `ip address show {interface}`")]
    Socket {
        /// The interface.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DhcpError {
    fn of_bind(interface: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => DhcpError::AddressInUse { interface, source },
            io::ErrorKind::PermissionDenied => DhcpError::NotPermitted { interface, source },
            _ => DhcpError::Socket { interface, source },
        }
    }
}

/// A server that holds its ports and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<LinkSocket>,
}

/// Takes the ports. Must be called inside a tokio runtime.
///
/// # Errors
/// An interface cannot be served; none is then.
pub fn bind(options: &ServerOptions) -> Result<Bound, DhcpError> {
    let sockets = options.interfaces.iter().map(|interface| LinkSocket::bind(interface));
    Ok(Bound { sockets: sockets.collect::<Result<_, _>>()? })
}

impl Bound {
    /// The interfaces and the appliance's addresses there.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.sockets.iter().map(LinkSocket::link)
    }

    /// Serves until `shutdown`.
    pub async fn run(self, facts: FactSender, state: StateReader, services: Services, shutdown: CancellationToken) {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let mut serving = JoinSet::new();
        for socket in self.sockets {
            let desk = Desk::new(Arc::new(socket), facts.clone(), state.clone(), services, Arc::clone(&ledger));
            serving.spawn(desk.serve(shutdown.clone()));
        }
        while let Some(ended) = serving.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "DHCP on an interface ended by a fault of the server");
            }
        }
    }
}

/// Whose lease is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Node,
    Stranger,
}

/// What serving one interface keeps.
struct Desk {
    socket: Arc<LinkSocket>,
    facts: FactSender,
    state: StateReader,
    services: Services,
    /// One for all interfaces: a network may be served on several.
    ledger: Arc<Mutex<Ledger>>,
    /// Leases that wait for the journal. A repeated request gets the answer to the first.
    in_flight: HashSet<(Mac, Xid)>,
    leases: JoinSet<((Mac, Xid), Whose)>,
    /// Of `in_flight`, those of machines that are no node.
    strangers_in_flight: usize,
    strangers: Share,
    /// Apart, so that a storm of strangers does not hide what nodes do.
    quiet_nodes: Quiet,
    quiet_strangers: Quiet,
    not_said: u64,
    complained: Option<Instant>,
}

impl Desk {
    fn new(
        socket: Arc<LinkSocket>,
        facts: FactSender,
        state: StateReader,
        services: Services,
        ledger: Arc<Mutex<Ledger>>,
    ) -> Self {
        Desk {
            socket,
            facts,
            state,
            services,
            ledger,
            in_flight: HashSet::new(),
            leases: JoinSet::new(),
            strangers_in_flight: 0,
            strangers: Share::new(Instant::now()),
            quiet_nodes: Quiet::new(NODES_MAX),
            quiet_strangers: Quiet::new(UNKNOWN_MACHINES_MAX),
            not_said: 0,
            complained: None,
        }
    }

    async fn serve(mut self, shutdown: CancellationToken) {
        let socket = Arc::clone(&self.socket);
        let interface = &socket.link().interface;
        let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
        tracing::info!(interface, addresses = ?socket.link().addresses, "serving DHCP");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = self.leases.join_next() => self.leave(ended),
                received = socket.receive(&mut buffer) => match received {
                    Ok((length, from)) => self.take(buffer.get(..length).unwrap_or_default(), from).await,
                    Err(error) => {
                        tracing::warn!(%error, interface, "DHCP requests cannot be read");
                        tokio::time::sleep(RECEIVE_FAULT_PAUSE).await;
                    }
                },
            }
        }
        while let Some(ended) = self.leases.join_next().await {
            self.leave(ended);
        }
        tracing::info!(interface, not_said = self.not_said, "stopped serving DHCP");
    }

    async fn take(&mut self, datagram: &[u8], from: SocketAddr) {
        let request = match codec::decode(datagram) {
            Ok(request) => request,
            Err(error) => {
                let sender = codec::sender(datagram).map_or_else(|| from.ip().to_string(), |mac| mac.to_string());
                return self.say(facts::malformed(sender, &error));
            }
        };
        for problem in &request.problems {
            self.say(facts::malformed(request.mac.to_string(), problem));
        }
        let state = self.state.now();
        let known = state.node_with_mac(request.mac).is_some() || state.leases.of_mac(request.mac).is_some();
        if !known && !self.strangers.take(Instant::now()) {
            self.not_said = self.not_said.saturating_add(1);
            return self.complain("too many unknown machines ask for an address; some have to ask again");
        }
        let reply = {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let (link, services, now) = (self.socket.link(), &self.services, now_ms());
            reply::reply(reply::Desk { state: &state, ledger: &mut ledger, link, services, now }, &request)
        };
        let Reply { answer, facts, durability } = reply;
        match durability {
            Durability::BestEffort => {
                facts.into_iter().for_each(|fact| self.say(fact));
                if let Some(answer) = answer {
                    send(&self.socket, answer).await;
                }
            }
            Durability::BeforeAnswer => self.promise(&request, answer, facts),
        }
    }

    /// Sends `answer` once `facts` are durable, and not at all when they cannot be.
    fn promise(&mut self, request: &Request, answer: Option<Answer>, facts: Vec<Fact>) {
        let lease = (request.mac, request.xid);
        let node = facts.first().and_then(Fact::node);
        let whose = if node.is_some() { Whose::Node } else { Whose::Stranger };
        if self.in_flight.len() >= LEASES_IN_FLIGHT_MAX
            || whose == Whose::Stranger && self.strangers_in_flight >= STRANGERS_IN_FLIGHT_MAX
        {
            return self.complain("too many DHCP leases wait for the journal; clients have to ask again");
        }
        if !self.in_flight.insert(lease) {
            return;
        }
        let (socket, sender) = (Arc::clone(&self.socket), self.facts.clone());
        let refused = |detail| DhcpEvent::Ignored { reason: DhcpRefusal::NotDurable { detail } };
        if whose == Whose::Stranger {
            self.strangers_in_flight = self.strangers_in_flight.saturating_add(1);
        }
        let request = request.clone();
        self.leases.spawn(async move {
            match sender.submit(facts).await {
                Ok(_) => {
                    if let Some(answer) = answer {
                        send(&socket, answer).await;
                    }
                }
                Err(SubmitError::NotDurable { detail }) => {
                    tracing::error!(mac = %request.mac, detail, "a DHCP lease could not be stored, so it is not given");
                    sender.offer(facts::exchange(&request, node, refused(detail), facts::told_by(&request)));
                }
                Err(error @ SubmitError::Stopped) => {
                    tracing::info!(mac = %request.mac, %error, "a DHCP lease was not given");
                }
            }
            (lease, whose)
        });
    }

    fn leave(&mut self, ended: Result<((Mac, Xid), Whose), JoinError>) {
        match ended {
            Ok((lease, whose)) => {
                if whose == Whose::Stranger {
                    self.strangers_in_flight = self.strangers_in_flight.saturating_sub(1);
                }
                self.in_flight.remove(&lease);
            }
            Err(error) => tracing::error!(%error, "a DHCP lease ended by a fault of the server"),
        }
    }

    /// Offers a fact, unless the same was said a moment ago.
    fn say(&mut self, fact: Fact) {
        let quiet = if fact.node().is_some() { &mut self.quiet_nodes } else { &mut self.quiet_strangers };
        match quiet.judge(&fact, Instant::now()) {
            Verdict::Say => self.facts.offer(fact),
            Verdict::Repeated => self.not_said = self.not_said.saturating_add(1),
            Verdict::Full => {
                self.not_said = self.not_said.saturating_add(1);
                self.complain("too many machines send DHCP that is not answered; not all of them are recorded");
            }
        }
    }

    fn complain(&mut self, of: &'static str) {
        let now = Instant::now();
        if self.complained.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAINT_PAUSE) {
            self.complained = Some(now);
            tracing::warn!(
                interface = self.socket.link().interface,
                not_said = self.not_said,
                of,
                "DHCP is at a bound"
            );
        }
    }
}

/// The time, in milliseconds since 1970.
fn now_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Sends an answer. One that cannot be sent is like one that is lost on its way: the client asks again.
async fn send(socket: &LinkSocket, answer: Answer) {
    let Answer { message, destination } = answer;
    let bytes = match codec::encode(&message) {
        Ok(bytes) => bytes,
        Err(error) => return tracing::error!(%error, "a DHCP answer could not be encoded"),
    };
    if let Err(error) = socket.send(message.server_id, destination, &bytes).await {
        tracing::warn!(%error, mac = %message.mac, ?destination, "a DHCP answer could not be sent");
    }
}
