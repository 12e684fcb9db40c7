//! One connection: requests in, answers out, one after another, until one side has enough.
//!
//! Invariants: what is not HTTP is answered with the status that says so, told once, and ends the connection. A client that
//! does not finish a head within [`HEAD_TIMEOUT`], or asks nothing for so long, is closed without a word. Between two
//! requests a connection holds its socket and a KiB.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{Response, StatusCode};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::body::AnswerBody;
use super::codec::{self, After, DecodeError, HEAD_MAX_BYTES, Head};
use super::desk::Desk;
use super::exchange;
use super::files::Opened;
use super::ticket::Line;
use super::wire::Wire;

/// How long a client may take to send a request, to be idle between two, or to agree on TLS.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Room for a head, at first.
const HEAD_USUAL_BYTES: usize = 1 << 10;

enum Heard {
    Head(Box<Head>),
    Nonsense(DecodeError),
    Nothing,
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    desk: Arc<Desk>,
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    client: IpAddr,
    shutdown: CancellationToken,
) {
    // Heads and last pieces are short, and must not wait for an acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        return tracing::debug!(%error, %client, "an HTTP connection ended before it was served");
    }
    let mut wire = match tls {
        None => Wire::Plain(socket),
        Some(acceptor) => match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Wire::Tls(Box::new(stream)),
            Ok(Err(error)) => return desk.tell_malformed(client, format!("no TLS connection came about: {error}")),
            Err(_) => return,
        },
    };
    let (line, mut buffer) = (Line::default(), Vec::new());
    loop {
        let heard = tokio::select! {
            heard = tokio::time::timeout(HEAD_TIMEOUT, hear(&mut wire, &mut buffer)) => heard.unwrap_or(Heard::Nothing),
            () = shutdown.cancelled() => Heard::Nothing,
        };
        let (response, asked_after) = match heard {
            Heard::Head(head) => {
                buffer.drain(..head.length_bytes);
                let (desk, line) = (Arc::clone(&desk), line.clone());
                (exchange::answer(desk, line, client, head.request).await, head.after)
            }
            Heard::Nonsense(error) => {
                desk.tell_malformed(client, format!("it is not HTTP: {error}"));
                (nonsense(error), After::Close)
            }
            Heard::Nothing => return,
        };
        let after = if shutdown.is_cancelled() { After::Close } else { asked_after };
        let (parts, body) = response.into_parts();
        let mut head = Vec::with_capacity(HEAD_USUAL_BYTES);
        codec::encode(&parts, &httpdate::fmt_http_date(SystemTime::now()), after, &mut head);
        if let Err(error) = wire.send(&head, body, &desk.disk, &line).await {
            return tracing::debug!(%error, %client, "an HTTP connection ended early");
        }
        if after == After::Close {
            return wire.finish().await;
        }
        if buffer.is_empty() {
            buffer = Vec::new();
        }
    }
}

async fn hear(wire: &mut Wire, buffer: &mut Vec<u8>) -> Heard {
    loop {
        if !buffer.is_empty() {
            match codec::decode(buffer) {
                Ok(Some(head)) => return Heard::Head(Box::new(head)),
                Ok(None) => {}
                Err(error) => return Heard::Nonsense(error),
            }
        }
        if buffer.len() >= HEAD_MAX_BYTES {
            return Heard::Nonsense(DecodeError::TooLong);
        }
        buffer.reserve(HEAD_USUAL_BYTES);
        match wire.read(buffer).await {
            Ok(0) | Err(_) => return Heard::Nothing,
            Ok(_) => {}
        }
    }
}

fn nonsense(error: DecodeError) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    exchange::plain_text(status, Opened::text(format!("{error}\n")).into())
}
