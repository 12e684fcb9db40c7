//! The TFTP server: boot programs for firmware that speaks nothing better.
//!
//! Purpose: serve files, read-only, to many machines at once. [`bind`] takes the port, [`Bound::run`] serves until it
//! is told to stop. Specification: RFC 1350, RFC 2347 (options), RFC 2348 (`blksize`), RFC 2349 (`tsize`, `timeout`),
//! RFC 7440 (`windowsize`), RFC 1123 §4.2.
//!
//! From a packet, read downward: `socket` (the datagram and the address that was asked) → `codec` (the request) →
//! `admission` (does it begin a transfer) → `transfer` (open, then loop) → `reply` (terms, or an ERROR) → `session`
//! (what to send when). `files` and `roots` say what a name means; `facts` is what the rest of the program learns.
//!
//! Invariants:
//! - The port for requests never waits for a file, for a client or for a full table.
//! - Transfers are bounded in number ([`TRANSFERS_MAX`], [`TRANSFERS_PER_CLIENT_MAX`]); a request beyond a bound gets no
//!   answer, and the client asks again. A transfer holds one packet and [`files::READ_AHEAD_BYTES`] at most.
//! - When [`Bound::run`] returns, every transfer has ended and has been reported.
//!
//! Deliberately absent: writing; multicast (RFC 2090); access rules (the caller's [`Files`] sees the client's address).
//! TFTP has no authentication, so nothing secret may be served.

mod admission;
pub mod codec;
pub mod facts;
pub mod files;
pub mod names;
pub mod netascii;
pub mod reply;
pub mod report;
pub mod roots;
pub mod session;
mod socket;
mod transfer;

pub use facts::TransferEvent;
pub use files::{Files, OpenError, Source};
pub use roots::{Roots, RootsError};

use admission::{Bounds, Table, Verdict};
use codec::Packet;
use facts::{MalformedReason, RefuseReason};
use files::Disk;
use socket::{Arrival, Asked, REQUEST_MAX_BYTES, RequestSocket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use transfer::{Control, Order, Shared, Wish};

/// How many transfers run at once. A further request gets no answer; the client asks again.
/// Each transfer uses one file descriptor, and one more for a large file.
pub const TRANSFERS_MAX: usize = 512;
/// How many transfers run at once for one client address. A further request gets no answer; the client asks again.
pub const TRANSFERS_PER_CLIENT_MAX: usize = 8;
/// Longest window that is granted, in blocks. A client that asks for more is granted this.
pub const WINDOWSIZE_MAX_BLOCKS: u16 = 64;
/// Pause after the port for requests failed to read, so that a lasting fault does not take a processor.
const RECEIVE_FAULT_PAUSE: Duration = Duration::from_millis(100);

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// Largest block that is granted.
    pub blksize_max: BlksizeMax,
    /// Longest window that is granted, in blocks.
    pub windowsize_max_blocks: u16,
    /// How many transfers run at once.
    pub transfers_max: usize,
    /// How many transfers run at once for one client address.
    pub transfers_per_client_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            blksize_max: BlksizeMax::Unfragmented,
            windowsize_max_blocks: WINDOWSIZE_MAX_BLOCKS,
            transfers_max: TRANSFERS_MAX,
            transfers_per_client_max: TRANSFERS_PER_CLIENT_MAX,
        }
    }
}

/// The largest block that is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlksizeMax {
    /// What reaches the client without fragments, by the MTU of the route to it.
    Unfragmented,
    /// This many bytes.
    Bytes(u16),
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TftpError {
    /// The address cannot be taken.
    #[error("TFTP cannot listen on {listen}; stop what holds the port, or name another address (69 needs privilege)")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A server that holds its port and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    socket: RequestSocket,
    local: SocketAddr,
    options: ServerOptions,
}

/// Takes the port. Must be called inside a tokio runtime.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(listen: SocketAddr, options: ServerOptions) -> Result<Bound, TftpError> {
    let bound = RequestSocket::bind(listen).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (local, socket) = bound.map_err(|source| TftpError::Bind { listen, source })?;
    Ok(Bound { socket, local, options })
}

impl Bound {
    /// The address that is bound, with the port that the system chose where none was named.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until `shutdown`. `events` is called from many tasks and must not block.
    pub async fn run(
        self,
        files: Arc<dyn Files>,
        events: impl Fn(TransferEvent) + Send + Sync + 'static,
        shutdown: CancellationToken,
    ) {
        let shared = Arc::new(Shared {
            files,
            disk: Disk::new(),
            events: Box::new(events),
            blksize_max: self.options.blksize_max,
            windowsize_max_blocks: self.options.windowsize_max_blocks,
            shutdown: shutdown.clone(),
        });
        let bounds =
            Bounds { transfers_max: self.options.transfers_max, per_client_max: self.options.transfers_per_client_max };
        let mut desk = Desk { shared, table: Table::new(bounds), transfers: JoinSet::new() };
        let mut buffer = vec![0; REQUEST_MAX_BYTES];
        tracing::info!(listen = %self.local, "serving TFTP");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = desk.transfers.join_next_with_id() => desk.leave(ended),
                arrival = self.socket.receive(&mut buffer) => match arrival {
                    Ok(arrival) => {
                        let datagram = buffer.get(..arrival.length_bytes).unwrap_or_default();
                        desk.take(&arrival, datagram).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, listen = %self.local, "TFTP requests cannot be read");
                        tokio::time::sleep(RECEIVE_FAULT_PAUSE).await;
                    }
                },
            }
        }
        while let Some(ended) = desk.transfers.join_next_with_id().await {
            desk.leave(ended);
        }
        tracing::info!(listen = %self.local, "stopped serving TFTP");
    }
}

/// What the loop over requests keeps.
struct Desk {
    shared: Arc<Shared>,
    table: Table<task::Id, Control>,
    transfers: JoinSet<()>,
}

impl Desk {
    async fn take(&mut self, arrival: &Arrival, datagram: &[u8]) {
        let client = arrival.client;
        // RFC 1123 §4.2.3.5; a request whose answer could go nowhere is no better.
        let Asked::Own(asked_at) = arrival.asked else {
            return;
        };
        if client.port() == 0 {
            return;
        }
        let (request, wish) = match codec::decode(datagram) {
            Ok(Packet::Read(request)) => {
                let wish = Wish::read(request.mode);
                (request, wish)
            }
            Ok(Packet::Write(request)) => (request, Wish::Write),
            Ok(_) => {
                return (self.shared.events)(TransferEvent::Malformed { client, reason: MalformedReason::NotARequest });
            }
            Err(reason) => {
                if let Some(error) = reply::malformed(reason) {
                    answer_with_error(asked_at, client, &error).await;
                }
                return (self.shared.events)(TransferEvent::Malformed { client, reason: reason.into() });
            }
        };
        let refused = match self.table.judge(client, datagram) {
            Verdict::Repeated => return,
            Verdict::Admit => None,
            Verdict::Busy => Some(RefuseReason::Busy { limit: self.table.bounds().transfers_max }),
            Verdict::ClientBusy => Some(RefuseReason::ClientBusy { limit: self.table.bounds().per_client_max }),
        };
        let name = request.name.to_owned();
        if let Some(reason) = refused {
            return (self.shared.events)(TransferEvent::Refused { client, request: name, reason });
        }
        let control = Control::default();
        let order = Order { client, asked_at, name, wish, options: request.options, control: control.clone() };
        let task = self.transfers.spawn(transfer::serve(Arc::clone(&self.shared), order));
        self.table.enter(task.id(), client, datagram, control);
    }

    fn leave(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        match ended {
            Ok((id, ())) => self.table.leave(id),
            Err(error) => {
                self.table.leave(error.id());
                tracing::error!(%error, "a TFTP transfer ended by a fault of the server");
            }
        }
    }
}

/// Answers a request that begins no transfer, from a port of its own as every answer.
async fn answer_with_error(asked_at: IpAddr, client: SocketAddr, error: &reply::ErrorReply) {
    if let Ok(socket) = socket::open_transfer(asked_at, client).await {
        transfer::send_error(&socket, error).await;
    }
}
