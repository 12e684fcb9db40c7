//! How far the journal had come: the last fact that was acknowledged, in a small file beside the database.
//!
//! SQLite takes the first unsound page of its write-ahead log for the log's end, and goes on without a word: after a crash
//! that is right, since what follows was never acknowledged. When the log was damaged or shortened afterwards it is not, and
//! this mark is how a start notices.
//!
//! Invariants: the mark is written after a batch is durable, so it never names a fact that was not acknowledged. It is not
//! flushed: a power failure may leave an older one, which accuses nobody. A mark that cannot be read says nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::tables::FILE_NAME;
use crate::model::FactSeq;

/// The mark's file in the state directory.
pub(super) const MARK_NAME: &str = "journal.reached";
/// The fact's number and its CRC-32, little-endian.
const MARK_BYTES: usize = 12;

/// The mark.
#[derive(Debug)]
pub(super) struct Reached {
    file: File,
}

impl Reached {
    /// Opens the mark in `dir`, making it when it is not there.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(MARK_NAME))?;
        Ok(Reached { file })
    }

    /// The fact that it names.
    pub(super) fn read(&self) -> Option<FactSeq> {
        let mut bytes = [0; MARK_BYTES];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let (seq, checksum) = bytes.split_first_chunk::<8>()?;
        (crc32fast::hash(seq).to_le_bytes() == checksum).then(|| FactSeq(u64::from_le_bytes(*seq)))
    }

    /// Names this fact.
    pub(super) fn write(&self, seq: FactSeq) -> io::Result<()> {
        let seq = seq.0.to_le_bytes();
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&seq);
        bytes[8..].copy_from_slice(&crc32fast::hash(&seq).to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

/// Keeps the log aside as it is, before anything is written to it; the name of the copy, if there is a log.
pub(super) fn keep_log(dir: &Path) -> io::Result<Option<String>> {
    let log = dir.join(format!("{FILE_NAME}-wal"));
    if fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        return Ok(None);
    }
    let names = (1_u32..).map(|number| format!("{FILE_NAME}-wal.damaged-{number}"));
    let Some(name) = names.into_iter().find(|name| !dir.join(name).exists()) else { return Ok(None) };
    fs::copy(&log, dir.join(&name))?;
    File::open(dir.join(&name))?.sync_all()?;
    Ok(Some(name))
}
