//! A journal in memory, with the records of the one on the disk: for a simulator, which crashes it and fills it up.
//!
//! Invariant: what is appended is encoded and what is replayed is decoded, by the same codec as on the disk.

use super::codec::{Damage, EncodeError, Record, Snapshot};
use crate::fact::{Fact, Stamped};
use crate::model::UnixMs;
use crate::state::State;

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    records: Vec<Record>,
    snapshot: Option<Snapshot>,
    /// Records that there is space for; nothing for any number.
    pub capacity: Option<usize>,
}

/// Why a batch was not taken; nothing of it is in the journal then.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A fact has no encoding.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There is no space.
    #[error("there is no space left for the journal")]
    Full,
}

impl MemoryJournal {
    /// Appends a batch, whole or not at all.
    ///
    /// # Errors
    /// When there is no space for it.
    pub fn append(&mut self, batch: &[Stamped<Fact>]) -> Result<(), MemoryError> {
        if self.capacity.is_some_and(|capacity| self.records.len() + batch.len() > capacity) {
            return Err(MemoryError::Full);
        }
        let records: Vec<Record> = batch.iter().map(Record::of).collect::<Result<_, _>>()?;
        self.records.extend(records);
        Ok(())
    }

    /// Keeps a snapshot, and the facts after it.
    ///
    /// # Errors
    /// When the state has no encoding.
    pub fn snapshot(&mut self, state: &State, at: UnixMs) -> Result<(), MemoryError> {
        self.snapshot = Some(Snapshot::of(state, at)?);
        self.records.retain(|record| record.seq > state.seq.0);
        Ok(())
    }

    /// Records that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The state as a start would find it.
    ///
    /// # Errors
    /// When a record is damaged, which in memory is a fault of the codec.
    pub fn replay(&self) -> Result<State, Damage> {
        let mut state = self.snapshot.as_ref().map(Snapshot::open).transpose()?.unwrap_or_default();
        for record in &self.records {
            state.apply(&record.open()?);
        }
        Ok(state)
    }
}
