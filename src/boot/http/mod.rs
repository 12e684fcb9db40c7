//! The HTTP boot server: scripts, kernel, layer 0, network boot programs and images, for machines that boot.
//!
//! From a connection, read downward: `mod` (accept, bounds) → `stream` (the socket) → hyper (HTTP/1.1) → `exchange` (one
//! request) → `route` (what a path asks for) → `reply` (how much of it) → `files` (the open file) → `body` (its pieces) →
//! `ticket` (what became of it). `facts` is what the rest of the program learns, `desk` what all connections share.
//! Specification: RFC 9110, RFC 9112 (both served by hyper), RFC 9110 §13 and §14 in `reply`.
//!
//! Invariants:
//! - Connections are bounded in number ([`CONNECTIONS_MAX`], [`CONNECTIONS_PER_CLIENT_MAX`]) and in what each may hold: a
//!   head of [`BUFFER_BYTES`], one piece of a body. A client that says nothing or takes nothing is closed after a while.
//! - What is not HTTP is answered with 400 and told as a malformed message; nobody else notices.
//! - When [`Bound::run`] returns, every connection has ended and every answer has been told of.
//!
//! Deliberately absent: TLS and authentication. The firmware that asks here can neither be known nor keep a secret, so
//! nothing secret is served but the join token, which works once and goes to the node's own address alone.

mod body;
mod desk;
mod exchange;
pub mod facts;
mod files;
pub mod reply;
pub mod route;
mod stream;
mod ticket;

pub use files::ImageFiles;
pub use route::ImageFile;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use super::script::BootSettings;
use super::tftp::{Roots, RootsError};
use crate::port::{FactSender, StateReader};
use desk::Desk;
use files::Library;
use stream::ClientStream;
use ticket::Line;

/// How many connections are open at once. Further ones wait in the system's queue of [`BACKLOG`].
pub const CONNECTIONS_MAX: usize = 2_048;
/// How many connections one client address may have. A further one is closed at once, and the client asks again.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 64;
/// Connections that wait to be accepted; beyond it a client's first packet is dropped, and TCP sends it again.
const BACKLOG: i32 = 1_024;
/// How long a client may take to send a request, or to be idle between two.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head of a request, and how much of an answer waits beside the piece that is being written, in bytes.
pub const BUFFER_BYTES: usize = 64 << 10;
/// How long answers may go on after the server was told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// Pause after a connection could not be accepted, so that a lasting fault does not take a processor.
const ACCEPT_FAULT_PAUSE: Duration = Duration::from_millis(100);

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What machines are told, and which files they get.
    pub settings: Arc<BootSettings>,
    /// How many connections are open at once.
    pub connections_max: usize,
    /// How many connections one client address may have.
    pub connections_per_client_max: usize,
}

impl HttpOptions {
    /// The usual bounds.
    #[must_use]
    pub fn new(listen: SocketAddr, settings: Arc<BootSettings>) -> Self {
        HttpOptions {
            listen,
            settings,
            connections_max: CONNECTIONS_MAX,
            connections_per_client_max: CONNECTIONS_PER_CLIENT_MAX,
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be taken.
    #[error("HTTP boot cannot listen on {listen}; stop what holds the port, or name another address")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file that every boot needs cannot be read.
    #[error("the boot file {} cannot be read; build layer 0, or correct its folder", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder of loaders cannot be used.
    #[error("the folder of network boot programs cannot be used; install them, or correct its name")]
    Loaders {
        /// Why.
        source: RootsError,
    },
}

/// What the server works with.
pub struct HttpContext {
    /// Where its facts go.
    pub facts: FactSender,
    /// What it reads.
    pub state: StateReader,
    /// Where the files of images are.
    pub images: Arc<dyn ImageFiles>,
}

/// A server that holds its port and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    local: SocketAddr,
    loaders: Roots,
    options: HttpOptions,
}

/// Takes the port, and sees that the files are there. Must be called inside a tokio runtime.
///
/// # Errors
/// See [`HttpError`].
pub fn bind(options: HttpOptions) -> Result<Bound, HttpError> {
    let settings = &options.settings;
    for path in [&settings.kernel, &settings.initramfs] {
        File::open(path).map_err(|source| HttpError::Unreadable { path: path.clone(), source })?;
    }
    let loaders = Roots::new([settings.loaders.clone()]).map_err(|source| HttpError::Loaders { source })?;
    let listen = options.listen;
    let bound = listen_on(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (local, listener) = bound.map_err(|source| HttpError::Bind { listen, source })?;
    Ok(Bound { listener, local, loaders, options })
}

fn listen_on(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    // An appliance that is started again must not wait for the connections of the one before it to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Bound {
    /// The address that is bound, with the port that the system chose where none was named.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until `shutdown`; answers under way then get [`SHUTDOWN_GRACE`] to end.
    pub async fn run(self, context: HttpContext, shutdown: CancellationToken) {
        let Bound { listener, local, loaders, options } = self;
        let HttpContext { facts, state, images } = context;
        let library = Library::new(&options.settings, loaders, images);
        let desk = Desk::new(library, Arc::clone(&options.settings), (state, facts), shutdown.clone());
        let mut door =
            Door { desk: Arc::new(desk), options, shutdown, connections: JoinSet::new(), clients: Clients::default() };
        tracing::info!(listen = %local, "serving HTTP boot");
        loop {
            let may_accept = door.connections.len() < door.options.connections_max;
            tokio::select! {
                () = door.shutdown.cancelled() => break,
                Some(ended) = door.connections.join_next_with_id() => door.leave(ended),
                accepted = listener.accept(), if may_accept => match accepted {
                    Ok((socket, client)) => door.enter(socket, client),
                    Err(error) => {
                        tracing::warn!(%error, listen = %local, "HTTP connections cannot be accepted");
                        tokio::time::sleep(ACCEPT_FAULT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let grace = tokio::time::sleep(SHUTDOWN_GRACE);
        tokio::pin!(grace);
        loop {
            tokio::select! {
                ended = door.connections.join_next_with_id() => match ended {
                    Some(ended) => door.leave(ended),
                    None => break,
                },
                () = &mut grace => break,
            }
        }
        door.connections.shutdown().await;
        tracing::info!(listen = %local, "stopped serving HTTP boot");
    }
}

/// Which clients have how many connections.
#[derive(Default)]
struct Clients {
    of: HashMap<task::Id, IpAddr>,
    count: HashMap<IpAddr, usize>,
}

/// What the loop over connections keeps.
struct Door {
    desk: Arc<Desk>,
    options: HttpOptions,
    shutdown: CancellationToken,
    connections: JoinSet<()>,
    clients: Clients,
}

impl Door {
    fn enter(&mut self, socket: TcpStream, client: SocketAddr) {
        let ip = client.ip().to_canonical();
        let count = self.clients.count.entry(ip).or_default();
        if *count >= self.options.connections_per_client_max {
            tracing::debug!(%client, "an HTTP connection is closed, the client has too many");
            return;
        }
        *count = count.saturating_add(1);
        let desk = Arc::clone(&self.desk);
        let task = self.connections.spawn(serve(desk, socket, ip, self.shutdown.clone()));
        self.clients.of.insert(task.id(), ip);
    }

    fn leave(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "an HTTP connection ended by a fault of the server");
                error.id()
            }
        };
        let Some(client) = self.clients.of.remove(&id) else { return };
        if let Some(count) = self.clients.count.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.clients.count.remove(&client);
            }
        }
    }
}

/// Serves one connection until it ends.
async fn serve(desk: Arc<Desk>, socket: TcpStream, client: IpAddr, shutdown: CancellationToken) {
    // Heads and last pieces are short, and must not wait for an acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, %client, "an HTTP connection ended before it was served");
        return;
    }
    let line = Line::default();
    let stream = TokioIo::new(ClientStream::new(socket, line.clone()));
    let service = service_fn(|request| {
        let (desk, line) = (Arc::clone(&desk), line.clone());
        async move { Ok::<_, Infallible>(exchange::answer(desk, line, client, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Err(error) if error.is_parse() => desk.tell_malformed(client, format!("it is not HTTP: {error}")),
        Err(error) => tracing::debug!(%error, %client, "an HTTP connection ended early"),
        Ok(()) => {}
    }
}
