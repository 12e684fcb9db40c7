//! Where a transfer's bytes come from.
//!
//! Purpose: the seam between the TFTP server and whoever knows the files: [`Files`] resolves a name, a [`Source`] is
//! what it resolved to, a reader hands out blocks of it.
//!
//! Invariants:
//! - A source's length is fixed when it is opened; a file that turns out shorter later is an error, never a short block.
//! - A reader holds at most [`READ_AHEAD_BYTES`] of a file, and nothing of its own for bytes in memory.
//! - The disk is read on blocking threads, at most [`DISK_READS_MAX`] at a time, so that a slow disk holds up no packet.
//!
//! Deliberately absent: which folders are served (`roots`).

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How much of a file a transfer reads at once, in bytes. It holds any one block.
pub const READ_AHEAD_BYTES: usize = 128 * 1024;

/// How many reads may be under way at once; further ones wait. It bounds the threads that a slow disk can hold.
pub const DISK_READS_MAX: usize = 32;

/// Resolves the names that clients ask for.
pub trait Files: Send + Sync + 'static {
    /// Opens what `client` means by `name`. Called on a thread where blocking is allowed.
    ///
    /// # Errors
    /// See [`OpenError`].
    fn open(&self, client: SocketAddr, name: &str) -> Result<Source, OpenError>;
}

/// Why a name cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file.
    #[error("no declared root holds {name}; put the file there, or correct the boot file's name")]
    NotFound {
        /// The name, as asked for.
        name: String,
    },
    /// The name leads out of every root.
    #[error("{name} leads out of the declared roots; move the file inside, or declare its folder as a root")]
    OutsideRoots {
        /// The name, as asked for.
        name: String,
    },
    /// The name is a folder, a device or the like.
    #[error("{name} is not a plain file; ask for a file")]
    NotAFile {
        /// The name, as asked for.
        name: String,
    },
    /// It is not for this client, or cannot be made for it now.
    #[error("{name} is not given: {reason}")]
    Withheld {
        /// The name, as asked for.
        name: String,
        /// Why.
        reason: String,
    },
    /// The file is there and cannot be read.
    #[error("{name} cannot be read; check its permissions and the disk")]
    Unreadable {
        /// The name, as asked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The content of a file that is served.
#[derive(Debug, Clone)]
pub struct Source(Content);

#[derive(Debug, Clone)]
enum Content {
    Memory(Bytes),
    File { file: Arc<File>, length_bytes: u64 },
}

impl Source {
    /// Bytes in memory; transfers share them.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Memory(bytes.into()))
    }

    /// An open file, which is read as far as it reaches now.
    ///
    /// # Errors
    /// The file's length cannot be found.
    pub fn file(file: File) -> io::Result<Self> {
        let length_bytes = file.metadata()?.len();
        Ok(Self(Content::File { file: Arc::new(file), length_bytes }))
    }

    /// The length in bytes.
    pub fn length_bytes(&self) -> u64 {
        match &self.0 {
            Content::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Content::File { length_bytes, .. } => *length_bytes,
        }
    }

    /// The whole content. Blocks on the disk; the caller has checked the length.
    pub(super) fn read_whole(&self) -> io::Result<Bytes> {
        match &self.0 {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::File { file, length_bytes } => {
                let length = usize::try_from(*length_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
                let mut content = vec![0; length];
                file.read_exact_at(&mut content, 0)?;
                Ok(content.into())
            }
        }
    }
}

/// The way to the disk, shared by all transfers.
#[derive(Debug, Clone)]
pub(in crate::boot) struct Disk(Arc<Semaphore>);

impl Disk {
    pub(in crate::boot) fn new() -> Self {
        Self(Arc::new(Semaphore::new(DISK_READS_MAX)))
    }

    /// Runs `read` where blocking is allowed.
    pub(in crate::boot) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = read();
            // The place is free when the read is over, also when the transfer that wanted it has ended before.
            drop(permit);
            result
        });
        task.await.map_err(io::Error::other)
    }
}

/// Hands out blocks of a source.
#[derive(Debug)]
pub(super) struct Reader {
    source: Source,
    disk: Disk,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl Reader {
    pub(super) fn new(source: Source, disk: Disk) -> Self {
        Self { source, disk, chunk: Vec::new(), chunk_at: 0 }
    }

    /// The bytes at an offset. The caller stays within the source's length.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub(super) async fn block(&mut self, offset_bytes: u64, length_bytes: u16) -> io::Result<&[u8]> {
        let length = usize::from(length_bytes);
        match &self.source.0 {
            Content::Memory(bytes) => part(bytes, 0, offset_bytes, length).ok_or(io::ErrorKind::UnexpectedEof.into()),
            Content::File { file, length_bytes } => {
                if part(&self.chunk, self.chunk_at, offset_bytes, length).is_none() {
                    let left = length_bytes.saturating_sub(offset_bytes);
                    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(READ_AHEAD_BYTES);
                    let (file, mut chunk) = (Arc::clone(file), std::mem::take(&mut self.chunk));
                    let read = move || {
                        chunk.resize(wanted, 0);
                        file.read_exact_at(&mut chunk, offset_bytes).map(|()| chunk)
                    };
                    self.chunk = self.disk.read(read).await??;
                    self.chunk_at = offset_bytes;
                }
                part(&self.chunk, self.chunk_at, offset_bytes, length).ok_or(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

/// `length` bytes at `offset_bytes` of a content of which `held` starts at `held_at`.
fn part(held: &[u8], held_at: u64, offset_bytes: u64, length: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset_bytes.checked_sub(held_at)?).ok()?;
    held.get(start..start.checked_add(length)?)
}
