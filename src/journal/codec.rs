//! Facts and states as bytes: what a record and a snapshot are made of, wherever they are kept.
//!
//! A fact is JSON, so that a journal outlives versions of the program and can be read with the `sqlite3` command at
//! three in the morning. A state is JSON too, compressed (zstd, RFC 8878): it holds enums that say in a field which
//! variant they are, which only a format that names its fields can read back.
//! Both carry a checksum (CRC-32) over everything that is stored of them: a bit that turned on the disk is found
//! when it is read, not when it has done harm.
//!
//! Pure. Absent on purpose: where the bytes are, and what is done about damage.

use thiserror::Error;

use crate::fact::{Fact, Stamped};
use crate::model::{FactSeq, UnixMs};
use crate::state::State;

/// The version of a snapshot's content. It goes up whenever [`State`] keeps something that it did not keep before, or
/// folds a fact otherwise: an older snapshot would then lack what a replay of the facts has.
pub const SNAPSHOT_FORMAT: u32 = 1;
/// Bytes that an uncompressed snapshot may have; one that claims more is damaged.
const STATE_BYTES_MAX: usize = 4 << 30;
/// zstd's quickest level; the higher ones take several times as long and save little.
const COMPRESSION_LEVEL: i32 = 1;

/// What is wrong with stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// They are not those that were written.
    #[error("its checksum is wrong")]
    Checksum,
    /// They are those that were written, and this version cannot read them.
    #[error("it is not understood: {0}")]
    NotUnderstood(String),
    /// The one before it is missing.
    #[error("it follows record {after}")]
    Gap {
        /// The record that it should not follow.
        after: u64,
    },
    /// The storage did not give it.
    #[error("it could not be read: {0}")]
    Unreadable(String),
}

/// What could not be encoded.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// A value that JSON has no form for.
    #[error("it could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The compression failed.
    #[error("it could not be compressed: {0}")]
    Compress(#[from] std::io::Error),
}

/// A fact as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub seq: u64,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// The node that it is about, for filters.
    pub node: Option<String>,
    /// Its source, for filters.
    pub kind: String,
    /// The fact, as JSON.
    pub fact: String,
    /// The checksum of all of the above.
    pub checksum: u32,
}

impl Record {
    /// The record of a fact.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn of(stamped: &Stamped<Fact>) -> Result<Self, EncodeError> {
        let fact = serde_json::to_string(&stamped.fact)?;
        let node = stamped.fact.node().map(|node| node.to_string());
        let (seq, at_ms, kind) = (stamped.seq.0, stamped.at.0, stamped.fact.kind());
        let checksum = checksum(seq, at_ms, node.as_deref(), kind, &fact);
        Ok(Record { seq, at_ms, node, kind: kind.to_owned(), fact, checksum })
    }

    /// Whether this is what was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.checksum == checksum(self.seq, self.at_ms, self.node.as_deref(), &self.kind, &self.fact)
    }

    /// The fact of a record.
    ///
    /// # Errors
    /// When the checksum is wrong, or the JSON is of no fact that is known.
    pub fn open(&self) -> Result<Stamped<Fact>, Damage> {
        if !self.is_sound() {
            return Err(Damage::Checksum);
        }
        let fact = serde_json::from_str(&self.fact).map_err(|error| Damage::NotUnderstood(error.to_string()))?;
        Ok(Stamped { seq: FactSeq(self.seq), at: UnixMs(self.at_ms), fact })
    }
}

/// Lengths stand before texts, so that no two different records give the same bytes.
fn checksum(seq: u64, at_ms: u64, node: Option<&str>, kind: &str, fact: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(&at_ms.to_le_bytes());
    hasher.update(&[u8::from(node.is_some())]);
    for text in [node.unwrap_or_default(), kind, fact] {
        hasher.update(&text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize()
}

/// A state as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last fact that is in it.
    pub seq: u64,
    /// When that fact was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// The version of its content, [`SNAPSHOT_FORMAT`] when it was written.
    pub format: u32,
    /// Bytes of the JSON.
    pub json_bytes: u64,
    /// The JSON, compressed.
    pub data: Vec<u8>,
    /// The checksum of all of the above.
    pub checksum: u32,
}

impl Snapshot {
    /// The snapshot of a state whose last fact was taken at `at`.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn of(state: &State, at: UnixMs) -> Result<Self, EncodeError> {
        let json = serde_json::to_vec(state)?;
        let data = zstd::bulk::compress(&json, COMPRESSION_LEVEL)?;
        let (seq, at_ms, json_bytes) = (state.seq.0, at.0, json.len() as u64);
        let checksum = snapshot_checksum(seq, at_ms, SNAPSHOT_FORMAT, json_bytes, &data);
        Ok(Snapshot { seq, at_ms, format: SNAPSHOT_FORMAT, json_bytes, data, checksum })
    }

    /// The state of a snapshot. What its format means is for the caller to judge.
    ///
    /// # Errors
    /// When the checksum is wrong, or the content is of no state that is known.
    pub fn open(&self) -> Result<State, Damage> {
        self.check()?;
        let json_bytes = usize::try_from(self.json_bytes).unwrap_or(usize::MAX);
        if json_bytes > STATE_BYTES_MAX {
            return Err(Damage::Checksum);
        }
        let json = zstd::bulk::decompress(&self.data, json_bytes).map_err(|_| Damage::Checksum)?;
        let state: State = serde_json::from_slice(&json).map_err(|error| Damage::NotUnderstood(error.to_string()))?;
        match state.seq.0 == self.seq {
            true => Ok(state),
            false => Err(Damage::NotUnderstood(format!("it is of fact {}", state.seq.0))),
        }
    }

    /// Whether these are the bytes that were written.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&self) -> Result<(), Damage> {
        match self.checksum == snapshot_checksum(self.seq, self.at_ms, self.format, self.json_bytes, &self.data) {
            true => Ok(()),
            false => Err(Damage::Checksum),
        }
    }
}

fn snapshot_checksum(seq: u64, at_ms: u64, format: u32, json_bytes: u64, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in [seq, at_ms, u64::from(format), json_bytes] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(data);
    hasher.finalize()
}
