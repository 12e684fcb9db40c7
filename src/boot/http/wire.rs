//! A connection's socket, plain or under TLS, and how bytes get into it.
//!
//! Purpose: answers go out head first, then body. A file on a plain connection goes from the system's page cache into the
//! socket by sendfile(2) and is never copied here; under TLS it is read in pieces and encrypted.
//!
//! Invariants:
//! - A client that takes nothing for [`STALL_MAX`] is an error.
//! - No thread that serves others waits for a disk: what is not in memory yet is read on the threads for that, first.
//! - After each piece others get their turn, however fast this client is.
//!
//! Specification: sendfile(2), preadv2(2) `RWF_NOWAIT`, tcp(7) `MSG_MORE`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::sendfile::sendfile;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::body::AnswerBody;
use super::files::{Held, Opened};
use super::ticket::Line;
use crate::boot::tftp::files::Disk;

/// How long a client may take nothing of an answer before its connection is closed.
pub const STALL_MAX: Duration = Duration::from_secs(60);
/// How much of a file is handed to the system at once, in bytes.
const PIECE_BYTES: u64 = 1 << 20;
/// How much of a file is read and encrypted at once, in bytes.
const TLS_PIECE_BYTES: u64 = 128 << 10;
/// How long, and how much of, what a client still sends is thrown away after the last answer, so that the system does not
/// cut the connection before the client has read that answer.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 256 << 10;

/// The socket.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Whether more follows at once, so that a packet need not go out half full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    More,
    Nothing,
}

impl Wire {
    /// Reads what is there into `buffer`, at least one byte; none at the end.
    pub(super) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read_buf(buffer).await,
            Wire::Tls(stream) => stream.read_buf(buffer).await,
        }
    }

    /// Sends a head and its body. The body's ticket tells how that went; what goes wrong is noted on the line.
    pub(super) async fn send(&mut self, head: &[u8], mut body: AnswerBody, disk: &Disk, line: &Line) -> io::Result<()> {
        let sent = self.send_all(head, &mut body, disk, line).await;
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::TimedOut
        {
            line.note(format!("the client took nothing for {} s", STALL_MAX.as_secs()));
        }
        sent?;
        body.sent();
        Ok(())
    }

    async fn send_all(&mut self, head: &[u8], body: &mut AnswerBody, disk: &Disk, line: &Line) -> io::Result<()> {
        let follows = if body.left_bytes() == 0 { Follows::Nothing } else { Follows::More };
        self.write(head, follows, |_| {}).await?;
        let opened = Arc::clone(&body.opened);
        match (opened.held(), &mut *self) {
            (Held::Memory(bytes), _) => {
                let span = usize::try_from(body.at).ok().zip(usize::try_from(body.end).ok());
                let bytes = span.and_then(|(at, end)| bytes.get(at..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
                self.write(bytes, Follows::Nothing, |taken| body.taken(taken)).await?;
            }
            (Held::File(file), Wire::Plain(socket)) => {
                let sent = send_file(socket, file, body, disk).await;
                sent.inspect_err(|error| note_unreadable(error, line))?;
            }
            (Held::File(_), Wire::Tls(_)) => {
                while body.left_bytes() > 0 {
                    let length = usize::try_from(body.left_bytes().min(TLS_PIECE_BYTES)).unwrap_or(0);
                    let piece = read_piece(&opened, body.at, length, disk).await;
                    let piece = piece.inspect_err(|error| note_unreadable(error, line))?;
                    self.write(&piece, Follows::More, |taken| body.taken(taken)).await?;
                    tokio::task::yield_now().await;
                }
            }
        }
        if let Wire::Tls(stream) = self {
            timeout(STALL_MAX, stream.flush()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        }
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8], follows: Follows, mut taken: impl FnMut(usize)) -> io::Result<()> {
        while !bytes.is_empty() {
            let length = match self {
                Wire::Plain(socket) => {
                    let flags = if follows == Follows::More { libc::MSG_MORE } else { 0 };
                    let send = || SockRef::from(&*socket).send_with_flags(bytes, flags | libc::MSG_NOSIGNAL);
                    match socket.try_io(Interest::WRITABLE, send) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            may_write(socket).await?;
                            continue;
                        }
                        sent => sent?,
                    }
                }
                Wire::Tls(stream) => {
                    timeout(STALL_MAX, stream.write(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)??
                }
            };
            if length == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            taken(length);
            bytes = bytes.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the connection so that the client can read all that was sent.
    pub(super) async fn finish(mut self) {
        let ended = async {
            match &mut self {
                Wire::Plain(socket) => socket.shutdown().await,
                Wire::Tls(stream) => stream.shutdown().await,
            }?;
            let (mut rest, mut length_bytes) = (Vec::with_capacity(4 << 10), 0_usize);
            while length_bytes < LINGER_BYTES_MAX {
                rest.clear();
                match self.read(&mut rest).await? {
                    0 => break,
                    more => length_bytes = length_bytes.saturating_add(more),
                }
            }
            Ok::<(), io::Error>(())
        };
        // Whichever way this ends, so does the connection.
        let _ = timeout(LINGER_MAX, ended).await;
    }
}

async fn may_write(socket: &TcpStream) -> io::Result<()> {
    timeout(STALL_MAX, socket.writable()).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// What went wrong with a file, as against the client.
fn note_unreadable(error: &io::Error, line: &Line) {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
    if !matches!(error.kind(), TimedOut | BrokenPipe | ConnectionReset) {
        tracing::warn!(%error, "a file that is being sent cannot be read on");
        line.note(format!("the file could not be read on ({error}); replace served files by renaming"));
    }
}

/// Sends a span of a file from the page cache.
async fn send_file(socket: &TcpStream, file: &Arc<File>, body: &mut AnswerBody, disk: &Disk) -> io::Result<()> {
    while body.left_bytes() > 0 {
        let length = usize::try_from(body.left_bytes().min(PIECE_BYTES)).unwrap_or(0);
        bring_in(file, body.at, length, disk).await?;
        let mut left = length;
        while left > 0 {
            let mut offset = i64::try_from(body.at).map_err(|_| io::ErrorKind::FileTooLarge)?;
            let send = || Ok(sendfile(socket.as_fd(), file.as_fd(), Some(&mut offset), left)?);
            match socket.try_io(Interest::WRITABLE, send) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(taken) => {
                    body.taken(taken);
                    left = left.saturating_sub(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => may_write(socket).await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Sees that a piece of a file is in memory, so that whoever sends it does not wait for the disk.
async fn bring_in(file: &Arc<File>, offset_bytes: u64, length: usize, disk: &Disk) -> io::Result<()> {
    let last = offset_bytes.saturating_add(u64::try_from(length).unwrap_or(0)).saturating_sub(1);
    let mut byte = [0];
    if [offset_bytes, last].into_iter().all(|at| read_now(file, at, &mut byte).is_ok_and(|length| length == 1)) {
        return Ok(());
    }
    let file = Arc::clone(file);
    let read = move || {
        use std::os::unix::fs::FileExt;
        file.read_exact_at(&mut vec![0; length], offset_bytes)
    };
    disk.read(read).await?
}

/// A piece of a file in memory of its own.
async fn read_piece(opened: &Arc<Opened>, offset_bytes: u64, length: usize, disk: &Disk) -> io::Result<Bytes> {
    if let Held::File(file) = opened.held() {
        let mut piece = vec![0; length];
        if read_now(file, offset_bytes, &mut piece).is_ok_and(|got| got == length) {
            return Ok(piece.into());
        }
    }
    let opened = Arc::clone(opened);
    disk.read(move || opened.read(offset_bytes, length)).await?
}

/// Reads what is in memory already; an error where that is nothing.
fn read_now(file: &File, offset_bytes: u64, into: &mut [u8]) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: the descriptor is open for as long as `file` lives, and the one part is memory that `into` lends for the call.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, offset, libc::RWF_NOWAIT) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
