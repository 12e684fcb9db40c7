//! One connection of the tree: frames of messages over an encrypted stream, read and written by two tasks of their own.
//!
//! Invariants: whoever holds a [`Link`] never waits for the peer to read: what is sent goes into a queue of bounded
//! length, and a peer that lets it fill up, or that takes no byte within the limit, ends the link. What arrives waits in
//! a bounded queue as well, and then in the kernel's, so a peer that talks too much is slowed down by itself. Dropping a
//! link ends its tasks and closes the connection.
//! Deliberately absent: what messages mean, and timeouts of silence (`session`).

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::codec::{CodecError, Frames, decode, encode};
use crate::model::limits::SYNC_FRAME_BYTES_MAX;

/// Messages that wait to be sent; at this bound the peer is taken to read no more, and the link ends.
pub const OUTGOING_MAX: usize = 64;
/// Messages that wait to be taken; at this bound no more is read.
const INCOMING_MAX: usize = 16;
/// How much is read at a time.
const READ_BYTES: usize = 8 << 10;

/// Why a link ended.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The peer closed it.
    #[error("the connection was closed")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// What arrived is no message.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The peer does not read.
    #[error("it does not read what it is sent")]
    Stalled,
    /// Nothing arrived in time.
    #[error("it said nothing within {} ms", after.as_millis())]
    Late {
        /// The limit.
        after: Duration,
    },
}

/// Both directions of a connection: `In` is what the peer says, `Out` what it is told.
#[derive(Debug)]
pub struct Link<In, Out> {
    incoming: mpsc::Receiver<Result<In, LinkError>>,
    outgoing: Option<mpsc::Sender<Vec<u8>>>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
    told: PhantomData<fn(Out)>,
}

impl<In, Out> Drop for Link<In, Out> {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl<In: DeserializeOwned + Send + 'static, Out: Serialize> Link<In, Out> {
    /// A link over `stream`. `frames` has what was already read of it; `write_limit` is how long one message may take to
    /// be taken by the kernel.
    pub fn new<S>(stream: S, mut frames: Frames, write_limit: Duration) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        frames.set_limit(SYNC_FRAME_BYTES_MAX);
        let (from, to) = tokio::io::split(stream);
        let (heard, incoming) = mpsc::channel(INCOMING_MAX);
        let (outgoing, told) = mpsc::channel(OUTGOING_MAX);
        let reader = tokio::spawn(read(from, frames, heard));
        let writer = tokio::spawn(write(to, told, write_limit));
        Link { incoming, outgoing: Some(outgoing), reader, writer, told: PhantomData }
    }

    /// The next message. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the link has ended; from then on always.
    pub async fn next(&mut self) -> Result<In, LinkError> {
        self.incoming.recv().await.unwrap_or(Err(LinkError::Closed))
    }

    /// Puts a message into the queue.
    ///
    /// # Errors
    /// When the queue is full or the link has ended.
    pub fn send(&self, message: &Out) -> Result<(), LinkError> {
        let frame = encode(message)?;
        let queue = self.outgoing.as_ref().ok_or(LinkError::Closed)?;
        queue.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LinkError::Stalled,
            mpsc::error::TrySendError::Closed(_) => LinkError::Closed,
        })
    }

    /// Sends what is in the queue and closes the connection, within `limit`.
    pub async fn finish(mut self, limit: Duration) {
        self.outgoing = None;
        // Whether the last words arrived cannot be known; the peer finds out about the end either way.
        let _ = tokio::time::timeout(limit, &mut self.writer).await;
    }
}

async fn read<S: AsyncRead, In: DeserializeOwned>(
    mut from: ReadHalf<S>,
    mut frames: Frames,
    heard: mpsc::Sender<Result<In, LinkError>>,
) {
    let ended = loop {
        match next_body(&mut from, &mut frames).await.and_then(|body| Ok(decode(&body)?)) {
            Ok(message) => {
                if heard.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            Err(error) => break error,
        }
    };
    let _ = heard.send(Err(ended)).await;
}

async fn next_body<S: AsyncRead + Unpin>(from: &mut S, frames: &mut Frames) -> Result<bytes::BytesMut, LinkError> {
    let mut buffer = [0; READ_BYTES];
    loop {
        if let Some(body) = frames.next_body()? {
            return Ok(body);
        }
        let count = from.read(&mut buffer).await.map_err(|error| match error.kind() {
            // A peer that goes away without the end-of-stream alert has been cut off or killed.
            io::ErrorKind::UnexpectedEof => LinkError::Closed,
            _ => LinkError::Broken(error),
        })?;
        if count == 0 {
            return Err(LinkError::Closed);
        }
        frames.push(buffer.get(..count).unwrap_or_default());
    }
}

async fn write<S: AsyncWrite>(mut to: WriteHalf<S>, mut told: mpsc::Receiver<Vec<u8>>, limit: Duration) {
    while let Some(frame) = told.recv().await {
        let written = async {
            to.write_all(&frame).await?;
            to.flush().await
        };
        match tokio::time::timeout(limit, written).await {
            Ok(Ok(())) => {}
            // Dropping the receiver is what tells the other end of the queue; the reader sees the reason.
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let _ = tokio::time::timeout(limit, to.shutdown()).await;
}

/// The body of a connection's first frame, within `limit`.
///
/// # Errors
/// When it does not arrive whole in time, or is too long.
pub async fn first_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    frames: &mut Frames,
    limit: Duration,
) -> Result<bytes::BytesMut, LinkError> {
    let body = tokio::time::timeout(limit, next_body(stream, frames)).await;
    body.unwrap_or(Err(LinkError::Late { after: limit }))
}

/// Sends one message and closes the sending side, within `limit`.
///
/// # Errors
/// When it could not be sent in time.
pub async fn send_last<S: AsyncWrite + Unpin, M: Serialize>(
    stream: &mut S,
    message: &M,
    limit: Duration,
) -> Result<(), LinkError> {
    let frame = encode(message)?;
    let sent = async {
        stream.write_all(&frame).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(limit, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(LinkError::Broken(error)),
        Err(_) => Err(LinkError::Stalled),
    }
}
