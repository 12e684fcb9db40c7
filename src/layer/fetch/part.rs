//! The file that an image is fetched into: `<destination>.part` until every chunk is right, then `<destination>`.
//!
//! Invariants: room is reserved before the first byte; a file under the destination's name was verified in full. What an
//! interrupted fetch left is hashed, and only what is wrong is fetched again. Writes go straight to the file, because it
//! is in memory (tmpfs): a write takes as long as a copy.
//! Deliberately absent: fsync; a node's images do not survive its power.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::FetchError;
use crate::layer::manifest::Chunk;
use crate::model::Digest;

pub(super) struct PartFile {
    file: File,
    path: PathBuf,
    destination: PathBuf,
    size_bytes: u64,
    /// Length that an earlier fetch left: what lies behind it need not be read to know that it is missing.
    inherited_bytes: u64,
}

impl PartFile {
    /// Opens the part file, taking over what an earlier fetch left, and reserves room for the whole image.
    pub(super) fn open(destination: &Path, size_bytes: u64) -> Result<Self, FetchError> {
        let mut name = destination.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        if !path.exists() && destination.exists() {
            fs::rename(destination, &path).map_err(|source| failed("renaming", destination, size_bytes, source))?;
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(|source| failed("opening", &path, size_bytes, source))?;
        let examined = file.metadata().map_err(|source| failed("examining", &path, size_bytes, source))?;
        let (destination, inherited_bytes) = (destination.to_owned(), examined.len());
        let part = Self { file, path, destination, size_bytes, inherited_bytes };
        if let Err(source) = part.reserve() {
            let error = failed("reserving room for", &part.path, size_bytes, source);
            if matches!(error, FetchError::NoSpace { .. }) {
                // What was reserved so far would only keep memory from whoever needs it.
                let _ = fs::remove_file(&part.path);
            }
            return Err(error);
        }
        Ok(part)
    }

    fn reserve(&self) -> io::Result<()> {
        self.file.set_len(self.size_bytes)?;
        let length = libc::off_t::try_from(self.size_bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        // SAFETY: the descriptor is open for writing for as long as `self` lives; no memory is passed.
        match unsafe { libc::fallocate(self.file.as_raw_fd(), 0, 0, length) } {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // A filesystem that cannot reserve: a lack of room then shows at the write.
                error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Whether the chunk is there already. A chunk that cannot be read is not there.
    pub(super) fn holds(&self, chunk: &Chunk, buffer: &mut Vec<u8>) -> bool {
        let end_bytes = chunk.offset_bytes.saturating_add(u64::from(chunk.len_bytes));
        let Ok(length) = usize::try_from(chunk.len_bytes) else { return false };
        if end_bytes > self.inherited_bytes {
            return false;
        }
        buffer.resize(length, 0);
        self.file.read_exact_at(buffer, chunk.offset_bytes).is_ok() && Digest::of(buffer) == chunk.digest
    }

    pub(super) fn write(&self, bytes: &[u8], offset_bytes: u64) -> Result<(), FetchError> {
        let written = self.file.write_all_at(bytes, offset_bytes);
        written.map_err(|source| failed("writing", &self.path, self.size_bytes, source))
    }

    /// Gives the file its name. Call it when every chunk is right.
    pub(super) fn publish(&self) -> Result<(), FetchError> {
        let renamed = fs::rename(&self.path, &self.destination);
        renamed.map_err(|source| failed("renaming", &self.path, self.size_bytes, source))
    }
}

fn failed(action: &'static str, path: &Path, needed_bytes: u64, source: io::Error) -> FetchError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            FetchError::NoSpace { path, needed_bytes }
        }
        _ => FetchError::File { action, path, source },
    }
}
