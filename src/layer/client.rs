//! One HTTP/1.1 connection to an address, for fetching images and for health checks.
//!
//! Invariants: every wait has a limit; dropping the connection ends its task. Addresses only, no names: a static binary
//! has no resolver. Deliberately absent: TLS (images are checked by digest), proxies, redirects, pools.
//! Specification: RFC 9110 (section 14 for Range), RFC 9112.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT_ENCODING, HOST, RANGE};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What was being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The TCP connection.
    Connect,
    /// The head of the answer.
    Answer,
    /// More of the body.
    Body,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "to connect",
            Self::Answer => "for an answer",
            Self::Body => "for more of the body",
        })
    }
}

#[derive(Debug)]
pub(super) enum ClientError {
    Refused { source: io::Error },
    TimedOut { wait: Wait, after: Duration },
    Cut { source: hyper::Error },
    Request { source: hyper::http::Error },
}

pub(super) struct Connection {
    peer: SocketAddr,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

pub(super) async fn connect(peer: SocketAddr, limit: Duration) -> Result<Connection, ClientError> {
    let late = |_| ClientError::TimedOut { wait: Wait::Connect, after: limit };
    let stream = tokio::time::timeout(limit, TcpStream::connect(peer)).await.map_err(late)?;
    let stream = stream.map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => late_by_kernel(limit),
        _ => ClientError::Refused { source },
    })?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|source| ClientError::Cut { source })?;
    // Its error is seen by whoever waits for the answer, so it is not reported a second time here.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { peer, sender, driver })
}

fn late_by_kernel(after: Duration) -> ClientError {
    ClientError::TimedOut { wait: Wait::Connect, after }
}

impl Connection {
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// GET; `range` is first and last byte, both included.
    pub(super) async fn get(
        &mut self,
        path: &str,
        range: Option<(u64, u64)>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::get(path).header(HOST, self.peer.to_string()).header(ACCEPT_ENCODING, "identity");
        if let Some((first, last)) = range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        let request = request.body(Empty::new()).map_err(|source| ClientError::Request { source })?;
        let late = |_| ClientError::TimedOut { wait: Wait::Answer, after: limit };
        let answer = tokio::time::timeout(limit, self.sender.send_request(request)).await.map_err(late)?;
        answer.map_err(|source| ClientError::Cut { source })
    }
}
