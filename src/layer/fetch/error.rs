//! What can go wrong while an image is fetched, and what each means for the schedule.
//!
//! Every error names the source (an address) that it came from, so that a bad mirror is found from the message alone.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::schedule::Failure;
use crate::layer::client::{ClientError, Wait};
use crate::layer::manifest::ManifestError;
use crate::model::Digest;

/// Why an image could not be fetched: the last failure, after all sources and tries were used up.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The list of sources was empty.
    #[error("there is no source to fetch {image} from; give the node a parent")]
    NoSource {
        /// The image.
        image: Digest,
    },
    /// The source does not have it.
    #[error("{peer} does not have {image}; add it with `bootes image add`, or correct the cake")]
    NotFound {
        /// The image.
        image: Digest,
        /// The source.
        peer: SocketAddr,
    },
    /// The manifest does not hash to the image's digest.
    #[error("{peer} sent a manifest of {image} that hashes to {got}; run `bootes image verify` there")]
    ManifestAltered {
        /// The image.
        image: Digest,
        /// What was sent.
        got: Digest,
        /// The source.
        peer: SocketAddr,
    },
    /// The manifest is the one asked for but this version cannot use it.
    #[error("the manifest of {image} from {peer} is not usable")]
    Manifest {
        /// The image.
        image: Digest,
        /// The source.
        peer: SocketAddr,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A chunk does not hash to what the manifest says.
    #[error("{peer} sent chunk {chunk} of {image} altered: it hashes to {}, not {}; run `bootes image verify` there", hashes.got, hashes.expected)]
    ChunkAltered {
        /// The image.
        image: Digest,
        /// Which chunk.
        chunk: u32,
        /// What it hashes to and should.
        hashes: Box<Hashes>,
        /// The source.
        peer: SocketAddr,
    },
    /// The answer ended early.
    #[error(
        "{peer} sent {got_bytes} of {expected_bytes} bytes and ended; the file there is cut, or the connection was"
    )]
    Truncated {
        /// What was asked for.
        expected_bytes: u64,
        /// What came.
        got_bytes: u64,
        /// The source.
        peer: SocketAddr,
    },
    /// The answer is longer than anything that was asked for.
    #[error("{peer} sent more than the {limit_bytes} bytes asked for; something else answers there")]
    TooLong {
        /// What was asked for.
        limit_bytes: u64,
        /// The source.
        peer: SocketAddr,
    },
    /// No connection.
    #[error("{peer} refused the connection or cannot be reached; is the appliance running?")]
    Refused {
        /// The source.
        peer: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A wait took too long.
    #[error("waited {} ms {wait} of {peer}; look at the network and the load there", after.as_millis())]
    TimedOut {
        /// The source.
        peer: SocketAddr,
        /// What for.
        wait: Wait,
        /// How long.
        after: Duration,
    },
    /// The connection broke or was not HTTP.
    #[error("the connection to {peer} broke")]
    Cut {
        /// The source.
        peer: SocketAddr,
        /// How.
        #[source]
        source: hyper::Error,
    },
    /// The source is busy.
    #[error("{peer} is busy and asks to come back in {retry_after_ms} ms")]
    Busy {
        /// The source.
        peer: SocketAddr,
        /// When to come back.
        retry_after_ms: u64,
    },
    /// Another status.
    #[error("{peer} answered with HTTP status {status}; is it a bootes appliance?")]
    Status {
        /// The source.
        peer: SocketAddr,
        /// The status.
        status: u16,
    },
    /// The range is not the one asked for.
    #[error("{peer} did not answer with the byte range asked for; something between alters HTTP")]
    Range {
        /// The source.
        peer: SocketAddr,
    },
    /// The request could not be built.
    #[error("no request to {peer} could be built")]
    Request {
        /// The source.
        peer: SocketAddr,
        /// Why.
        #[source]
        source: hyper::http::Error,
    },
    /// The image does not fit.
    #[error("no room for the {needed_bytes} bytes of {path}; give the node more memory or a smaller image")]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Its full length.
        needed_bytes: u64,
    },
    /// The system refused a file operation.
    #[error("{action} {path} failed")]
    File {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A worker ended without a result.
    #[error("a fetching task ended unexpectedly; fetch {image} again")]
    Task {
        /// The image.
        image: Digest,
        /// How it ended.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Two digests that should be one. Boxed in the error, because every success would carry their 64 bytes otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// What the manifest says.
    pub expected: Digest,
    /// What was sent.
    pub got: Digest,
}

impl FetchError {
    pub(super) fn client(peer: SocketAddr, error: ClientError) -> Self {
        match error {
            ClientError::Refused { source } => Self::Refused { peer, source },
            ClientError::TimedOut { wait, after } => Self::TimedOut { peer, wait, after },
            ClientError::Cut { source } => Self::Cut { peer, source },
            ClientError::Request { source } => Self::Request { peer, source },
        }
    }

    /// What the schedule makes of it; none where another try cannot help.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::NoSource { .. } | Self::NoSpace { .. } | Self::File { .. } | Self::Task { .. } => None,
            Self::Manifest { .. } | Self::Request { .. } => None,
            Self::NotFound { .. } => Some(Failure::Absent),
            Self::ManifestAltered { .. } | Self::ChunkAltered { .. } => Some(Failure::Altered),
            Self::Busy { retry_after_ms, .. } => Some(Failure::Busy { retry_after_ms: *retry_after_ms }),
            Self::Truncated { .. }
            | Self::TooLong { .. }
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Cut { .. }
            | Self::Status { .. }
            | Self::Range { .. } => Some(Failure::Transient),
        }
    }
}
