//! Fetching an image to a node: manifest, then the blob by ranges, each chunk checked as it comes.
//!
//! Invariants: nothing is published that does not hash to the digest asked for; a source is trusted with nothing but its
//! bytes; a cut costs one chunk per connection; all waits and all tries are bounded. Sources are asked in the order given
//! (parent first, then upward), see [`schedule`].
//! Deliberately absent: choosing sources, serving to children, compression, TLS (the digest authenticates the bytes).
//! Specification: RFC 9110 sections 10.2.3 (Retry-After), 14 (Range) and 15.6.4 (503).

mod error;
mod part;
pub mod schedule;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_RANGE, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::error::{FetchError, Hashes};
use self::part::PartFile;
use self::schedule::{Next, Pace, Schedule};
pub use super::client::Wait;
use super::client::{self, ClientError, Connection};
use super::manifest::{Chunk, MANIFEST_MAX_BYTES, Manifest};
use super::route::ImageRoute;
use crate::model::{Digest, Digester};

/// Most connections that one fetch opens.
pub const IN_FLIGHT_MAX: usize = 8;
/// What a busy source that names no time is taken to mean.
const RETRY_AFTER_DEFAULT_MS: u64 = 1000;

/// How to go about a fetch.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Chunks in flight at a time, each on a connection of its own; kept within 1 and [`IN_FLIGHT_MAX`].
    pub in_flight: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest time without a byte.
    pub stall_timeout: Duration,
    /// Tries and rests.
    pub pace: Pace,
}

impl Default for Policy {
    fn default() -> Self {
        let pace = Pace { failures_max: 20, backoff_min_ms: 250, backoff_max_ms: 10_000, jitter_seed: 0 };
        let (connect_timeout, stall_timeout) = (Duration::from_secs(3), Duration::from_secs(10));
        Self { in_flight: 2, connect_timeout, stall_timeout, pace }
    }
}

/// What to fetch, from where, to where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image.
    pub image: Digest,
    /// HTTP sources, most preferred first.
    pub sources: Vec<SocketAddr>,
    /// The blob's file; its folder exists and is best on tmpfs.
    pub destination: PathBuf,
    /// How to go about it.
    pub policy: Policy,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there and right.
    pub done_bytes: u64,
    /// Length of the blob.
    pub total_bytes: u64,
}

/// What was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The manifest, hashed to the image's digest.
    pub manifest: Manifest,
    /// The verified blob.
    pub blob: PathBuf,
    /// Bytes that came over the network; less than the whole where an earlier fetch was taken up.
    pub fetched_bytes: u64,
}

enum Ended {
    Done,
    GaveUp,
    Failed(FetchError),
}

struct Shared {
    request: Request,
    schedule: Mutex<Schedule>,
    last_failure: Mutex<Option<FetchError>>,
    start: Instant,
}

struct Blob {
    shared: Arc<Shared>,
    part: PartFile,
    pending: Mutex<VecDeque<Chunk>>,
    total_bytes: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half changed under these locks, so a poisoned one is as good as another.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches an image. Calls `progress` once at the start and after each chunk, from this task. Dropping the future stops
/// everything and leaves the part file, which the next call takes up. The error is the last failure.
pub async fn fetch(request: Request, mut progress: impl FnMut(Progress)) -> Result<Fetched, FetchError> {
    let schedule = Schedule::new(request.sources.len(), request.policy.pace);
    let shared = Arc::new(Shared {
        schedule: Mutex::new(schedule),
        last_failure: Mutex::new(None),
        start: Instant::now(),
        request,
    });
    let manifest = fetch_manifest(&shared).await?;
    let total_bytes = manifest.size_bytes;
    let destination = shared.request.destination.clone();
    let part = PartFile::open(&destination, total_bytes)?;
    let (mut pending, mut done_bytes, mut buffer) = (VecDeque::new(), 0_u64, Vec::new());
    for chunk in manifest.chunks() {
        if part.holds(&chunk, &mut buffer) {
            done_bytes = done_bytes.saturating_add(u64::from(chunk.len_bytes));
        } else {
            pending.push_back(chunk);
        }
        // Hashing what is there takes long for a large image; other tasks run in between.
        tokio::task::yield_now().await;
    }
    drop(buffer);
    progress(Progress { done_bytes, total_bytes });

    let resumed_bytes = done_bytes;
    let workers = shared.request.policy.in_flight.clamp(1, IN_FLIGHT_MAX).min(pending.len());
    let blob = Arc::new(Blob { shared, part, pending: Mutex::new(pending), total_bytes });
    let (events, mut arrived) = mpsc::channel(IN_FLIGHT_MAX);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        tasks.spawn(work(Arc::clone(&blob), events.clone()));
    }
    drop(events);
    // Leaving early drops the set, which ends the other workers.
    loop {
        tokio::select! {
            Some(bytes) = arrived.recv() => {
                done_bytes = done_bytes.saturating_add(u64::from(bytes));
                progress(Progress { done_bytes, total_bytes });
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ended::Done) => {}
                Ok(Ended::GaveUp) => return Err(blob.shared.give_up()),
                Ok(Ended::Failed(error)) => return Err(error),
                Err(source) => return Err(FetchError::Task { image: blob.shared.request.image, source }),
            },
            else => break,
        }
    }
    blob.part.publish()?;
    let fetched_bytes = done_bytes.saturating_sub(resumed_bytes);
    Ok(Fetched { manifest, blob: destination, fetched_bytes })
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The next source to ask, after waiting for it where all rest; none when it is time to give up.
    async fn source(&self) -> Option<(usize, SocketAddr)> {
        loop {
            let next = locked(&self.schedule).next(self.now_ms());
            match next {
                Next::Try(index) => return self.request.sources.get(index).map(|peer| (index, *peer)),
                Next::WaitMs(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Next::GiveUp => return None,
            }
        }
    }

    /// Notes a failure. Gives the error back where no other try can help.
    fn failed(&self, index: usize, error: FetchError) -> Result<(), FetchError> {
        let Some(failure) = error.failure() else { return Err(error) };
        tracing::warn!(image = %self.request.image, error = %error, "An image source failed");
        locked(&self.schedule).failed(index, failure, self.now_ms());
        *locked(&self.last_failure) = Some(error);
        Ok(())
    }

    fn give_up(&self) -> FetchError {
        locked(&self.last_failure).take().unwrap_or(FetchError::NoSource { image: self.request.image })
    }
}

async fn fetch_manifest(shared: &Shared) -> Result<Manifest, FetchError> {
    while let Some((index, peer)) = shared.source().await {
        match manifest_from(shared, peer).await {
            Ok(manifest) => {
                locked(&shared.schedule).succeeded(index);
                return Ok(manifest);
            }
            Err(error) => shared.failed(index, error)?,
        }
    }
    Err(shared.give_up())
}

async fn manifest_from(shared: &Shared, peer: SocketAddr) -> Result<Manifest, FetchError> {
    let (image, policy) = (shared.request.image, &shared.request.policy);
    let mut connection = open(peer, policy).await?;
    let path = ImageRoute::Manifest(image).to_string();
    let answer = connection.get(&path, None, policy.stall_timeout).await;
    let answer = answer.map_err(|error| FetchError::client(peer, error))?;
    expect_status(&answer, StatusCode::OK, image, peer)?;
    let expected_bytes = hyper::body::Body::size_hint(answer.body()).exact();
    let limit_bytes = u64::try_from(MANIFEST_MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let mut body = Body::new(answer, peer, policy.stall_timeout, expected_bytes.unwrap_or(0));
    while let Some(data) = body.next().await? {
        bytes.extend_from_slice(&data);
        if body.got_bytes > limit_bytes {
            return Err(FetchError::TooLong { limit_bytes, peer });
        }
    }
    let got = Digest::of(&bytes);
    if got != image {
        return Err(FetchError::ManifestAltered { image, got, peer });
    }
    Manifest::decode(&bytes).map_err(|source| FetchError::Manifest { image, peer, source })
}

async fn open(peer: SocketAddr, policy: &Policy) -> Result<Connection, FetchError> {
    client::connect(peer, policy.connect_timeout).await.map_err(|error| FetchError::client(peer, error))
}

fn expect_status(
    answer: &Response<Incoming>,
    expected: StatusCode,
    image: Digest,
    peer: SocketAddr,
) -> Result<(), FetchError> {
    match answer.status() {
        status if status == expected => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::NotFound { image, peer }),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let text = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            // The form with a date is not read: a node's clock is not to be trusted at boot.
            let seconds = text.and_then(|text| text.trim().parse::<u64>().ok());
            let retry_after_ms = seconds.map_or(RETRY_AFTER_DEFAULT_MS, |seconds| seconds.saturating_mul(1000));
            Err(FetchError::Busy { peer, retry_after_ms })
        }
        status => Err(FetchError::Status { peer, status: status.as_u16() }),
    }
}

/// A body that is read with a limit on each wait, and that counts what came.
struct Body {
    incoming: Incoming,
    peer: SocketAddr,
    stall_timeout: Duration,
    expected_bytes: u64,
    got_bytes: u64,
}

impl Body {
    fn new(answer: Response<Incoming>, peer: SocketAddr, stall_timeout: Duration, expected_bytes: u64) -> Self {
        Self { incoming: answer.into_body(), peer, stall_timeout, expected_bytes, got_bytes: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let peer = self.peer;
        loop {
            let late = |_| FetchError::TimedOut { peer, wait: client::Wait::Body, after: self.stall_timeout };
            match tokio::time::timeout(self.stall_timeout, self.incoming.frame()).await.map_err(late)? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    // Trailers mean nothing here.
                    let Ok(data) = frame.into_data() else { continue };
                    self.got_bytes = self.got_bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    return Ok(Some(data));
                }
                Some(Err(source)) if source.is_incomplete_message() || source.is_body_write_aborted() => {
                    return Err(self.truncated());
                }
                Some(Err(source)) => return Err(FetchError::Cut { peer, source }),
            }
        }
    }

    fn truncated(&self) -> FetchError {
        FetchError::Truncated { expected_bytes: self.expected_bytes, got_bytes: self.got_bytes, peer: self.peer }
    }
}

/// One worker: takes chunks in order until none is left, on one connection for as long as that is good.
async fn work(blob: Arc<Blob>, events: mpsc::Sender<u32>) -> Ended {
    let mut kept: Option<Connection> = None;
    loop {
        let Some(chunk) = locked(&blob.pending).pop_front() else { return Ended::Done };
        loop {
            let Some((index, peer)) = blob.shared.source().await else { return Ended::GaveUp };
            let connection = kept.take().filter(|connection| connection.peer() == peer);
            match chunk_from(&blob, chunk, peer, connection).await {
                Ok(connection) => {
                    kept = Some(connection);
                    locked(&blob.shared.schedule).succeeded(index);
                    // Nobody listens when the fetch was dropped, and then this task is being aborted as well.
                    let _ = events.send(chunk.len_bytes).await;
                    break;
                }
                Err(error) => {
                    if let Err(error) = blob.shared.failed(index, error) {
                        return Ended::Failed(error);
                    }
                }
            }
        }
    }
}

async fn chunk_from(
    blob: &Blob,
    chunk: Chunk,
    peer: SocketAddr,
    connection: Option<Connection>,
) -> Result<Connection, FetchError> {
    let (image, policy) = (blob.shared.request.image, &blob.shared.request.policy);
    let expected_bytes = u64::from(chunk.len_bytes);
    let (first, last) = (chunk.offset_bytes, chunk.offset_bytes.saturating_add(expected_bytes).saturating_sub(1));
    let path = ImageRoute::Blob(image).to_string();
    let (connection, answer) = request(connection, peer, &path, (first, last), policy).await?;
    if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(FetchError::Truncated { expected_bytes, got_bytes: 0, peer });
    }
    expect_status(&answer, StatusCode::PARTIAL_CONTENT, image, peer)?;
    let range = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    match range.and_then(parse_content_range) {
        Some((from, _, total)) if from == first && total < blob.total_bytes => {
            let got_bytes = total.saturating_sub(first).min(expected_bytes);
            return Err(FetchError::Truncated { expected_bytes, got_bytes, peer });
        }
        Some(got) if got == (first, last, blob.total_bytes) => {}
        _ => return Err(FetchError::Range { peer }),
    }
    let mut digester = Digester::new();
    let mut body = Body::new(answer, peer, policy.stall_timeout, expected_bytes);
    let mut at = first;
    while let Some(data) = body.next().await? {
        if body.got_bytes > expected_bytes {
            return Err(FetchError::TooLong { limit_bytes: expected_bytes, peer });
        }
        digester.update(&data);
        blob.part.write(&data, at)?;
        at = first.saturating_add(body.got_bytes);
    }
    if body.got_bytes < expected_bytes {
        return Err(body.truncated());
    }
    let got = digester.finish();
    if got != chunk.digest {
        let hashes = Box::new(Hashes { expected: chunk.digest, got });
        return Err(FetchError::ChunkAltered { image, chunk: chunk.index, hashes, peer });
    }
    Ok(connection)
}

/// Asks on the connection that was kept, or on a new one. A server may close an idle connection at any time, which is no
/// failure of it: then the question is asked once more, on a new one.
async fn request(
    kept: Option<Connection>,
    peer: SocketAddr,
    path: &str,
    range: (u64, u64),
    policy: &Policy,
) -> Result<(Connection, Response<Incoming>), FetchError> {
    if let Some(mut connection) = kept {
        match connection.get(path, Some(range), policy.stall_timeout).await {
            Ok(answer) => return Ok((connection, answer)),
            Err(ClientError::Cut { .. }) => {}
            Err(error) => return Err(FetchError::client(peer, error)),
        }
    }
    let mut connection = open(peer, policy).await?;
    let answer = connection.get(path, Some(range), policy.stall_timeout).await;
    answer.map(|answer| (connection, answer)).map_err(|error| FetchError::client(peer, error))
}

/// `bytes FIRST-LAST/TOTAL`; the forms with `*` are of no use here.
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests;
