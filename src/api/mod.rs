//! The API: HTTP and JSON over TLS and over a unix socket, the only way in for operators and programs.
//!
//! Every answer is one of `port::document`'s or `port::access`'s documents; every refusal is a problem document (RFC
//! 9457). Requests that change something are answered when the change is durable. What there is to ask for is the table
//! [`routes::ROUTES`]; who may is [`permit::may`]; who asks is found out in `auth`.
//!
//! Invariants: closed by default: every request is somebody's, over the network by a token alone. A connection whose
//! token ends, ends with it.
//! Absent on purpose: plain HTTP, except to say that it is not spoken; client certificates.

mod about;
mod act;
mod apply;
mod ask;
mod auth;
mod boot_answer;
mod catalog;
pub mod certificate;
mod control;
mod describe;
mod draw;
mod failures;
mod follow;
mod history;
mod lease;
mod machines;
mod media;
mod modules;
mod nodes;
pub mod permit;
mod reply;
mod resources;
pub mod routes;
mod select;
mod socket;
mod sse;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod values;
mod whatif;

mod web_socket;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::auth::{Auth, Caller, Peer};
use self::certificate::{CertificateError, Certificates};
use self::reply::{Body, Refusal};
use self::routes::{Found, Handler};
use self::socket::Socket;
use crate::boot::answer::Services;
use crate::boot::offer::Offers;
use crate::engine::now;
use crate::model::Digest;
use crate::model::limits::{API_CONNECTIONS_MAX, API_STREAMS_MAX};
use crate::module::status::Roster;
use crate::plan::{Graph, Policy};
use crate::port::health::JournalHealth;
use crate::port::{FactFeed, FactSender, StateReader};
use crate::power::PowerHandle;
use crate::power::vault::Vault;
use crate::sync::identity::Identity;

/// How long a client may take to send a request's head, or to agree on TLS.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at whether the caller of a connection is still let in: a stream may last for days.
const CALLER_LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// What can go wrong when the API starts.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The address cannot be had.
    #[error("the API cannot listen on {listen}: {source}; is another appliance running?")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The socket cannot be had.
    #[error("the API cannot listen on the socket {}: {source}; is another appliance running? Each needs an [api] socket of its own", path.display())]
    Socket {
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The certificate cannot be had.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// What the API works with.
#[derive(Debug)]
pub struct Context {
    /// Where requests go.
    pub facts: FactSender,
    /// What is asked about.
    pub state: StateReader,
    /// What is followed.
    pub feed: FactFeed,
    /// BMCs, for a look right now.
    pub power: PowerHandle,
    /// Seals passwords on their way in.
    pub vault: Arc<Vault>,
    /// The mutations, for `why`.
    pub graph: Graph,
    /// The engine's policy, for `why`.
    pub policy: Policy,
    /// How modules from outside fare.
    pub roster: Roster,
    /// What machines are given to boot, for what an apply checks and `boot-answer` tells.
    pub boot: BootServices,
    /// Where images are.
    pub image_store: PathBuf,
    /// Where the journal is.
    pub state_dir: PathBuf,
    /// How the journal does.
    pub journal_health: watch::Receiver<JournalHealth>,
}

/// The boot services as the API knows them.
#[derive(Debug, Clone)]
pub struct BootServices {
    /// What machines are given.
    pub offers: Arc<Offers>,
    /// Where they find it.
    pub services: Services,
}

impl Default for BootServices {
    /// No folder, and addresses that nobody has.
    fn default() -> Self {
        let services = Services { tftp: Ipv4Addr::UNSPECIFIED, http: SocketAddr::from(([0, 0, 0, 0], 0)) };
        BootServices { offers: Arc::default(), services }
    }
}

/// The API on its way to a request: what it works with, and who may apply right now.
#[derive(Debug)]
struct Api {
    context: Context,
    certificates: Certificates,
    auth: Auth,
    /// Whoever writes what depends on what was read holds this; see [`Api::alone`].
    applying: Semaphore,
    /// Places for streams of both kinds.
    streams: Arc<Semaphore>,
    /// WebSocket connections, which outlive the HTTP connections that they were.
    sockets: TaskTracker,
    shutdown: CancellationToken,
}

impl Api {
    /// Waits until nobody else writes. A writer holds this from reading the state until what it wrote is durable.
    ///
    /// That is what makes a comparison (of a description with the state, of a revision with the one that a writer has
    /// seen) still true when its facts are folded: operators' facts are what changes descriptions, wishes and revisions;
    /// all of them come through the API; and the engine publishes the state that has a fact before it acknowledges it,
    /// so the next writer reads what this one wrote. What else changes meanwhile was merely seen, and no writer's
    /// revision counts that; a module's declaration may bring a default of its own, which overwrites nobody's word.
    async fn alone(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.applying.acquire().await.ok()
    }
}

/// Where the API answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address for TLS.
    pub listen: SocketAddr,
    /// The file of the socket.
    pub socket: PathBuf,
    /// The certificate.
    pub certificate: certificate::Source,
}

/// The API, bound and not yet running.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    socket: Socket,
    certificates: Certificates,
}

/// Binds the API.
///
/// # Errors
/// When the address or the socket cannot be had, or the certificate cannot be used.
pub async fn bind(options: Options, identity: Arc<Identity>) -> Result<Bound, ApiError> {
    let listen = options.listen;
    let failed = |source| ApiError::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let certificates = Certificates::open(options.certificate, identity, address, now())?;
    let socket = socket::bind(&options.socket).await?;
    Ok(Bound { listener, address, socket, certificates })
}

impl Bound {
    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The fingerprint that clients pin.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.certificates.shown().about.fingerprint
    }

    /// Serves until `shutdown`.
    pub async fn run(self, context: Context, shutdown: CancellationToken) {
        let Bound { listener, socket, certificates, .. } = self;
        let (auth, applying, sockets) = (Auth::default(), Semaphore::new(1), TaskTracker::new());
        let streams = Arc::new(Semaphore::new(API_STREAMS_MAX));
        let api = Arc::new(Api { context, certificates, auth, applying, streams, sockets, shutdown: shutdown.clone() });
        // Whoever fills one of the two does not keep root from the other.
        let (mut remote, mut local) = (JoinSet::new(), JoinSet::new());
        let enrolling = tokio::spawn(machines::keep_enrolling(api.clone()));
        let mut look = tokio::time::interval(certificate::LOOK_EVERY);
        look.reset();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = remote.join_next() => {}
                Some(_) = local.join_next() => {}
                _ = look.tick() => api.certificates.look(now()),
                accepted = listener.accept() => if let Some((stream, peer)) = room(accepted, &remote).await {
                    remote.spawn(serve_tls(api.clone(), stream, peer.ip()));
                },
                accepted = socket.listener.accept() => if let Some((stream, _)) = room(accepted, &local).await {
                    local.spawn(serve_local(api.clone(), stream));
                },
            }
        }
        while remote.join_next().await.is_some() {}
        while local.join_next().await.is_some() {}
        // It has heard of the end as well, and has nothing to report.
        let _ = enrolling.await;
        api.sockets.close();
        api.sockets.wait().await;
    }
}

/// A connection, if there is one and there is room for it.
async fn room<T>(accepted: io::Result<T>, connections: &JoinSet<()>) -> Option<T> {
    match accepted {
        Ok(accepted) if connections.len() < API_CONNECTIONS_MAX => Some(accepted),
        Ok(_) => {
            tracing::warn!("the API has too many connections; one was closed");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the API could not take a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn serve_tls(api: Arc<Api>, stream: TcpStream, peer: IpAddr) {
    let accepted = tokio::time::timeout(HEAD_WAIT, tls::accept(api.certificates.shown().tls.clone(), stream));
    match accepted.await {
        Ok(Ok(Some(stream))) => serve(api, Peer::Network(peer), TokioIo::new(stream)).await,
        Ok(Ok(None)) => tracing::debug!(%peer, "a client spoke plain HTTP to the API"),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "an API connection came to no TLS"),
        Err(_) => tracing::debug!(%peer, "an API connection was too slow"),
    }
}

async fn serve_local(api: Arc<Api>, stream: UnixStream) {
    match stream.peer_cred() {
        Ok(user) => serve(api, Peer::User(user.uid()), TokioIo::new(stream)).await,
        Err(error) => tracing::warn!(%error, "the kernel does not say who is at the API's socket"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(api: Arc<Api>, peer: Peer, stream: TokioIo<S>) {
    let shutdown = api.shutdown.clone();
    let last: Arc<Mutex<Option<Caller>>> = Arc::default();
    let answer = service_fn(|request| {
        let (api, last) = (api.clone(), last.clone());
        async move { Ok::<_, Infallible>(answer(api, peer, &last, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(stream, answer)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an API connection ended early");
            }
        }
        () = no_longer_let_in(&api, &last) => tracing::debug!("an API connection was closed: its token ended"),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A follower's stream hears the same token; what is left is at most one answer.
            let _ = tokio::time::timeout(Duration::from_secs(2), connection).await;
        }
    }
}

/// Ends when the last caller's token is revoked or expires.
async fn no_longer_let_in(api: &Api, last: &Mutex<Option<Caller>>) {
    loop {
        tokio::time::sleep(CALLER_LOOK_EVERY).await;
        let caller = last.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.as_ref().is_some_and(|caller| !caller.is_valid(&api.context.state.now(), now())) {
            return;
        }
    }
}

async fn answer(api: Arc<Api>, peer: Peer, last: &Mutex<Option<Caller>>, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let answered = match api.auth.caller(peer, request.headers(), &api.context.state.now(), now()) {
        Ok(caller) => {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(caller.clone());
            route(api, &caller, request).await
        }
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| {
        tracing::debug!(%method, path, status = refusal.status.as_u16(), "an API request was refused");
        refusal.into_response()
    })
}

/// Looks the request up, asks whether its caller may, and has it answered. Which nodes a change is about is known only to
/// those who answer: [`act::submit`] looks at that.
async fn route(api: Arc<Api>, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    let (row, parts) = match routes::find(request.method(), &path) {
        Found::Row(row, parts) => (row, parts),
        Found::OtherMethod(allow) if request.method() == Method::OPTIONS => return Ok(reply::options(&allow)),
        Found::OtherMethod(allow) => return Err(Refusal::method(&allow)),
        Found::Nothing => return Err(Refusal::no_such_path(&path)),
    };
    caller.check(row.permission, [])?;
    let form = about::check(row.handler, &request)?;
    let parts: Vec<String> = parts.into_iter().map(ask::decode).collect::<Result<_, _>>()?;
    let part = |at: usize| parts.get(at).map(String::as_str).unwrap_or_default();
    match row.handler {
        Handler::Version => Ok(ask::version()),
        Handler::Health => Ok(history::health(&api)),
        Handler::Nodes => history::nodes(&api, &request).await,
        Handler::Diff => history::diff(&api, &request).await,
        Handler::Node => nodes::one(&api, part(0)),
        Handler::CreateNodes => nodes::create(&api, caller, request).await,
        Handler::PatchNodes => nodes::patch_many(&api, caller, request).await,
        Handler::DeleteNodes => nodes::remove_many(&api, caller, &request).await,
        Handler::PutNode => nodes::replace(&api, caller, part(0), request).await,
        Handler::PatchNode => nodes::patch(&api, caller, part(0), request).await,
        Handler::DeleteNode => nodes::remove(&api, caller, part(0), &request).await,
        Handler::Desired => values::desired(&api, part(0), part(1)),
        Handler::SetDesired => values::set(&api, caller, part(0), part(1), request).await,
        Handler::TakeBackDesired => values::take_back(&api, caller, part(0), part(1), &request).await,
        Handler::Observed => values::observed(&api, part(0), part(1)),
        Handler::Values => values::many(&api, &request),
        Handler::Pools => Ok(catalog::pools(&api)),
        Handler::Defaults => Ok(catalog::defaults(&api)),
        Handler::Networks => Ok(catalog::networks(&api)),
        Handler::Cakes => Ok(catalog::cakes(&api)),
        Handler::BootAnswer => boot_answer::boot_answer(&api, &request),
        Handler::Targets => Ok(catalog::targets(&api)),
        Handler::Extensions => Ok(catalog::extensions(&api)),
        Handler::Variables => Ok(catalog::variables(&api)),
        Handler::Why => ask::why(&api, &request),
        Handler::Timeline => ask::timeline(&api, &request),
        Handler::Machines => machines::list(&api, &request),
        Handler::Machine => machines::one(&api, part(0)),
        Handler::EnrollMachine => machines::enroll(&api, caller, part(0), request).await,
        Handler::EnrollMachines => machines::enroll_all(&api, caller, request).await,
        Handler::RefuseMachine => machines::refuse(&api, caller, part(0), request).await,
        Handler::Leases => Ok(lease::all(&api)),
        Handler::ReleaseLease => lease::release(&api, caller, request).await,
        Handler::ExplainLease => lease::explain(&api, part(0), &request),
        Handler::Modules => Ok(modules::list(&api)),
        Handler::Events => ask::events(&api, &request).await,
        Handler::Stream => sse::stream(&api, &request).await,
        Handler::WebSocket => web_socket::open(&api, caller, request),
        Handler::Graph => Ok(resources::graph(&api, form)),
        Handler::NodeGraph => resources::node_graph(&api, part(0), form),
        Handler::Kinds => Ok(resources::kinds(&api)),
        Handler::OpenApi => Ok(resources::openapi()),
        Handler::Plan => apply::apply(&api, caller, request, apply::Intent::Show).await,
        Handler::Apply => apply::apply(&api, caller, request, apply::Intent::Do).await,
        Handler::Goals => act::goals(&api, caller, request).await,
        Handler::Power => act::power(&api, caller, request).await,
        Handler::PowerStatus => act::power_status(&api, caller, request).await,
        Handler::Release => act::release(&api, caller, request).await,
        Handler::PlanGoals => whatif::goals(&api, caller, request).await,
        Handler::Freeze => control::freeze(&api, caller, request, control::Motion::Freeze).await,
        Handler::Thaw => control::freeze(&api, caller, request, control::Motion::Thaw).await,
        Handler::Mutations => Ok(control::mutations(&api)),
        Handler::SwitchMutation => control::switch_mutation(&api, caller, part(0), request).await,
        Handler::SetTimeout => control::set_timeout(&api, caller, part(0), request).await,
        Handler::SwitchModule => control::switch_module(&api, caller, part(0), request).await,
        Handler::MassEvent => Ok(control::mass_event(&api)),
        Handler::ClearMassEvent => control::clear_mass_event(&api, caller, request).await,
        Handler::Cluster => Ok(control::cluster(&api)),
        Handler::Whoami => Ok(token::whoami(caller)),
        Handler::Certificate => Ok(reply::json(&api.certificates.shown().about)),
        Handler::Tokens => Ok(token::list(&api)),
        Handler::CreateToken => token::create(&api, caller, request).await,
        Handler::RevokeToken => token::revoke(&api, caller, part(0)).await,
    }
}
