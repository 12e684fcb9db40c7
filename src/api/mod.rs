//! The API: HTTP and JSON on a loopback address, the only way in for operators and programs.
//!
//! Every answer is one of `port::document`'s documents; every refusal is a problem document (RFC 9457). Requests
//! that change something are answered when the change is durable. A change must say that it is JSON, which a web
//! page of another origin cannot do without asking first, and nobody answers that question.
//!
//! Absent on purpose: TLS, tokens and roles are not there yet, which is why the API binds to loopback alone.

mod act;
mod apply;
mod ask;
mod reply;
pub mod routes;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::reply::{Body, Refusal};
use self::routes::{Found, Handler};
use crate::plan::{Graph, Policy};
use crate::port::{FactFeed, FactSender, StateReader};
use crate::power::PowerHandle;
use crate::power::vault::Vault;

/// Connections at once; a further one is closed at once.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// What can go wrong when the API starts.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The address is not one of this machine alone.
    #[error(
        "the API cannot listen on {listen}: it has no TLS and no login yet, so only a loopback address such as 127.0.0.1:8081 is allowed"
    )]
    NotLoopback {
        /// The address.
        listen: SocketAddr,
    },
    /// The address cannot be had.
    #[error("the API cannot listen on {listen}: {source}; is another appliance running?")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// The cause.
        source: io::Error,
    },
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
    /// Where images are.
    pub image_store: PathBuf,
    /// Where the journal is.
    pub state_dir: PathBuf,
}

/// The API on its way to a request: what it works with, and who may apply right now.
#[derive(Debug)]
struct Api {
    context: Context,
    /// A description is compared with the state and then applied: no other may come in between.
    applying: Semaphore,
    shutdown: CancellationToken,
}

/// The API, bound and not yet running.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds the API.
///
/// # Errors
/// When the address is not a loopback address, or cannot be had.
pub async fn bind(listen: SocketAddr) -> Result<Bound, ApiError> {
    if !listen.ip().is_loopback() {
        return Err(ApiError::NotLoopback { listen });
    }
    let failed = |source| ApiError::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub async fn run(self, context: Context, shutdown: CancellationToken) {
        let api = Arc::new(Api { context, applying: Semaphore::new(1), shutdown: shutdown.clone() });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, _)) if connections.len() < CONNECTIONS_MAX => {
                        connections.spawn(serve(api.clone(), TokioIo::new(socket)));
                    }
                    Ok(_) => tracing::warn!("the API has too many connections; one was closed"),
                    Err(error) => {
                        tracing::warn!(%error, "the API could not take a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

async fn serve(api: Arc<Api>, socket: TokioIo<tokio::net::TcpStream>) {
    let shutdown = api.shutdown.clone();
    let answer = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(answer(api, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(socket, answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an API connection ended early");
            }
        }
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A follower's stream hears the same token; what is left is at most one answer.
            let _ = tokio::time::timeout(Duration::from_secs(2), connection).await;
        }
    }
}

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let answered = route(api, request).await;
    answered.unwrap_or_else(|refusal| {
        tracing::debug!(%method, path, status = refusal.status.as_u16(), "an API request was refused");
        refusal.into_response()
    })
}

/// A web page can give its own name this machine's address and then speak as if from here; its name stays in the header.
fn host_is_local(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(hyper::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.parse::<SocketAddr>() {
        Ok(address) => return address.ip().is_loopback(),
        Err(_) => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

async fn route(api: Arc<Api>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    if !host_is_local(&request) {
        return Err(Refusal::foreign_host());
    }
    let path = request.uri().path().to_owned();
    let (row, parts) = match routes::find(request.method(), &path) {
        Found::Row(row, parts) => (row, parts),
        Found::OtherMethod(allow) => return Err(Refusal::method(&allow)),
        Found::Nothing => return Err(Refusal::no_such_path(&path)),
    };
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    match row.handler {
        Handler::Version => Ok(ask::version()),
        Handler::Nodes => ask::nodes(&api, &request),
        Handler::Node => ask::node(&api, part(0)),
        Handler::Why => ask::why(&api, &request),
        Handler::Timeline => ask::timeline(&api, &request),
        Handler::Machines => Ok(ask::machines(&api)),
        Handler::Events => ask::events(&api, &request).await,
        Handler::Follow => stream::follow(&api, &request).await,
        Handler::Plan => apply::apply(&api, request, apply::Intent::Show).await,
        Handler::Apply => apply::apply(&api, request, apply::Intent::Do).await,
        Handler::Goals => act::goals(&api, request).await,
        Handler::Power => act::power(&api, request).await,
        Handler::PowerStatus => act::power_status(&api, request).await,
        Handler::Release => act::release(&api, request).await,
    }
}
