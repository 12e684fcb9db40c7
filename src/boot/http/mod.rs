//! The HTTP boot server: scripts, kernel, layer 0, network boot programs and images, for machines that boot.
//!
//! From a connection, read downward: `mod` (accept, bounds) → `connection` (requests in, answers out) → `codec` (heads) →
//! `exchange` (one request) → `route` (what a path asks for) → `encoding` (in which form) → `reply` (how much of it) →
//! `files` (the open file) → `gate` and `admission` (when an image may go) → `body` → `wire` (the socket) → `ticket` (what
//! became of it). `facts` is what the rest of the program learns, `desk` what all connections share.
//! Specification: RFC 9112 in `codec`, RFC 9110 §12, §13 and §14 in `encoding` and `reply`, RFC 8446 and 5246 by rustls.
//!
//! Invariants:
//! - Connections are bounded in number ([`CONNECTIONS_MAX`], [`CONNECTIONS_PER_CLIENT_MAX`]) and in what each may hold: a
//!   head, and under TLS a piece of a body. A client that says nothing or takes nothing is closed after a while.
//! - What is not HTTP is answered with 400 and told as a malformed message; nobody else notices.
//! - Scripts, kernels, layer 0 and loaders never wait for an image.
//! - When [`Bound::run`] returns, every connection has ended and every answer has been told of.
//!
//! Deliberately absent: authentication. The firmware that asks here can neither be known nor keep a secret, so nothing
//! secret is served but the join token, which works once and goes to the node's own address alone. TLS, where it is
//! switched on, tells the firmware that it speaks with this cluster, and nobody in between what is said.

pub mod admission;
mod authority;
mod body;
pub mod codec;
mod connection;
mod desk;
pub mod encoding;
mod exchange;
pub mod facts;
mod files;
mod gate;
pub mod reply;
pub mod route;
mod ticket;
mod wire;

pub use admission::Bounds;
pub use connection::HEAD_TIMEOUT;
pub use files::{Authority, ImageFiles};
pub use gate::WAIT_MAX;
pub use route::ImageFile;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::script::BootSettings;
use super::tftp::{Roots, RootsError};
use crate::port::{FactSender, StateReader};
use desk::Desk;
use files::Library;
use gate::Gate;

/// How many connections are open at once, images that wait among them. Further ones wait in the system's queue of
/// [`BACKLOG`].
pub const CONNECTIONS_MAX: usize = 8_192;
/// How many connections one client address may have. A further one is closed at once, and the client asks again.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 64;
/// Connections that wait to be accepted; beyond it a client's first packet is dropped, and TCP sends it again.
const BACKLOG: i32 = 4_096;
/// Images, or parts of one, that are on their way at once, where the configuration says nothing.
pub const IMAGE_TRANSFERS_MAX: usize = 64;
/// Requests for more that wait, where the configuration says nothing. With all of them, half of the connections are left
/// for machines that boot.
pub const IMAGE_QUEUE_MAX: usize = 4_096;
/// How long answers may go on after the server was told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// Pause after a connection could not be accepted, so that a lasting fault does not take a processor.
const ACCEPT_FAULT_PAUSE: Duration = Duration::from_millis(100);

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Where it listens in plain.
    pub listen: Vec<SocketAddr>,
    /// Where it listens with TLS, and with which certificate.
    pub tls: Option<Tls>,
    /// The certificate that clients may want to trust, given out in plain as `/ca.pem` and `/ca.der`.
    pub authority: Option<Authority>,
    /// What machines are told, and which files they get.
    pub settings: Arc<BootSettings>,
    /// How many connections are open at once.
    pub connections_max: usize,
    /// How many connections one client address may have.
    pub connections_per_client_max: usize,
    /// How many images are on their way at once, and how many wait.
    pub images: Bounds,
    /// How long a request for an image waits before it is told to come again.
    pub image_wait_max: Duration,
}

/// HTTPS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The certificate and its key.
    pub config: Arc<ServerConfig>,
}

impl HttpOptions {
    /// The usual bounds.
    #[must_use]
    pub fn new(listen: SocketAddr, settings: Arc<BootSettings>) -> Self {
        HttpOptions {
            listen: vec![listen],
            tls: None,
            authority: None,
            settings,
            connections_max: CONNECTIONS_MAX,
            connections_per_client_max: CONNECTIONS_PER_CLIENT_MAX,
            images: Bounds { transfers_max: IMAGE_TRANSFERS_MAX, queue_max: IMAGE_QUEUE_MAX },
            image_wait_max: WAIT_MAX,
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

/// A server that holds its ports and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    doors: Vec<Listening>,
    loaders: Roots,
    options: HttpOptions,
}

/// One port.
struct Listening {
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("local", &self.local).field("tls", &self.tls.is_some()).finish()
    }
}

/// Takes the ports, and sees that the files are there. Must be called inside a tokio runtime.
///
/// # Errors
/// See [`HttpError`].
pub fn bind(options: HttpOptions) -> Result<Bound, HttpError> {
    let settings = &options.settings;
    for path in [&settings.kernel, &settings.initramfs] {
        File::open(path).map_err(|source| HttpError::Unreadable { path: path.clone(), source })?;
    }
    let loaders = Roots::new([settings.loaders.clone()]).map_err(|source| HttpError::Loaders { source })?;
    let mut doors = Vec::new();
    let plain = options.listen.iter().map(|listen| (*listen, None));
    let tls = options.tls.iter().flat_map(|tls| tls.listen.iter().map(|listen| (*listen, Some(&tls.config))));
    for (listen, config) in plain.chain(tls) {
        let bound = listen_on(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local, listener) = bound.map_err(|source| HttpError::Bind { listen, source })?;
        doors.push(Listening { listener, local, tls: config.map(|config| TlsAcceptor::from(Arc::clone(config))) });
    }
    Ok(Bound { doors, loaders, options })
}

fn listen_on(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    // An appliance that is started again must not wait for the connections of the one before it to be forgotten.
    socket.set_reuse_address(true)?;
    if listen.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listened on, and a client's address has one form.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Bound {
    /// The addresses that are bound, with the ports that the system chose where none was named: the plain ones in the order
    /// of the options, then those with TLS.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|door| door.local).collect()
    }

    /// Serves until `shutdown`; answers under way then get [`SHUTDOWN_GRACE`] to end.
    pub async fn run(self, context: HttpContext, shutdown: CancellationToken) {
        let Bound { doors, loaders, options } = self;
        let HttpContext { facts, state, images } = context;
        let library = Library::new(&options.settings, loaders, images, options.authority.clone());
        let gate = Gate::new(options.images, options.image_wait_max);
        let desk = Desk::new(library, gate, Arc::clone(&options.settings), (state, facts), shutdown.clone());
        let mut hall =
            Hall { desk: Arc::new(desk), options, shutdown, connections: JoinSet::new(), clients: Clients::default() };
        for door in &doors {
            let protocol = if door.tls.is_some() { "HTTPS" } else { "HTTP" };
            tracing::info!(listen = %door.local, protocol, "serving HTTP boot");
        }
        if doors.is_empty() {
            return hall.shutdown.cancelled().await;
        }
        loop {
            let may_accept = hall.connections.len() < hall.options.connections_max;
            let knocks = doors.iter().map(|door| Box::pin(async move { (door.listener.accept().await, door) }));
            tokio::select! {
                () = hall.shutdown.cancelled() => break,
                Some(ended) = hall.connections.join_next_with_id() => hall.leave(ended),
                ((accepted, door), _, _) = select_all(knocks), if may_accept => match accepted {
                    Ok((socket, client)) => hall.enter(socket, client, door.tls.clone()),
                    Err(error) => {
                        tracing::warn!(%error, listen = %door.local, "HTTP connections cannot be accepted");
                        tokio::time::sleep(ACCEPT_FAULT_PAUSE).await;
                    }
                },
            }
        }
        drop(doors);
        let grace = tokio::time::sleep(SHUTDOWN_GRACE);
        tokio::pin!(grace);
        loop {
            tokio::select! {
                ended = hall.connections.join_next_with_id() => match ended {
                    Some(ended) => hall.leave(ended),
                    None => break,
                },
                () = &mut grace => break,
            }
        }
        hall.connections.shutdown().await;
        tracing::info!("stopped serving HTTP boot");
    }
}

/// Which clients have how many connections.
#[derive(Default)]
struct Clients {
    of: HashMap<task::Id, IpAddr>,
    count: HashMap<IpAddr, usize>,
}

/// What the loop over connections keeps.
struct Hall {
    desk: Arc<Desk>,
    options: HttpOptions,
    shutdown: CancellationToken,
    connections: JoinSet<()>,
    clients: Clients,
}

impl Hall {
    fn enter(&mut self, socket: TcpStream, client: SocketAddr, tls: Option<TlsAcceptor>) {
        let ip = client.ip().to_canonical();
        let count = self.clients.count.entry(ip).or_default();
        if *count >= self.options.connections_per_client_max {
            tracing::debug!(%client, "an HTTP connection is closed, the client has too many");
            return;
        }
        *count = count.saturating_add(1);
        let desk = Arc::clone(&self.desk);
        let task = self.connections.spawn(connection::serve(desk, socket, tls, ip, self.shutdown.clone()));
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
