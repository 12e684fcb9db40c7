//! Taking a TLS connection, and telling those who speak plain HTTP to the port that it is one for HTTPS.
//!
//! Specification: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 7301 (the name of what is spoken inside).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of every TLS connection: the record type of a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// How much of what a plain client still sends is read, so that it reads the answer before its connection ends.
const DRAINED_BYTES_MAX: u64 = 64 << 10;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
this port speaks HTTPS: write https:// instead of http:// (the fingerprint of its certificate is what 'bootes api fingerprint' prints on the appliance)\n";

/// The connection once it is secure; nothing when the client spoke plain HTTP and was told so.
///
/// # Errors
/// When the connection broke, or no common TLS was found.
pub(super) async fn accept(tls: Arc<ServerConfig>, mut socket: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0_u8; 1];
    if socket.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [first] = first;
    if first != HANDSHAKE && first.is_ascii_uppercase() {
        socket.write_all(USE_HTTPS.as_bytes()).await?;
        socket.shutdown().await?;
        let mut rest = socket.take(DRAINED_BYTES_MAX);
        // What it still says is of no interest.
        let _ = tokio::time::timeout(DRAINED_WITHIN, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        return Ok(None);
    }
    TlsAcceptor::from(tls).accept(socket).await.map(Some)
}
