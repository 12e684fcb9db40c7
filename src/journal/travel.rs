//! Time travel: the state as it was, from the nearest snapshot before and the facts after it.
//!
//! Invariants: one question sees one version of the file, however long it takes; what cannot be known any more is
//! refused with the time from which on it can; a damaged record on the way is named, never skipped.

use rusqlite::Connection;

use super::codec::Damage;
use super::read::JournalReader;
use super::tables::{self, stored};
use super::{JournalError, fold};
use crate::model::{Place, UnixMs};
use crate::state::State;

/// A state of the past.
#[derive(Debug, Clone)]
pub struct Past {
    /// The state; its `seq` is the last fact that is in it.
    pub state: State,
    /// When that fact was taken; zero before the first.
    pub at: UnixMs,
}

impl JournalReader {
    /// The state as it was at `place`: after the last fact that was taken up to then, or right after that fact.
    ///
    /// # Errors
    /// When the journal no longer, or not yet, knows that place, or a record on the way to it is damaged.
    pub fn state_at(&self, place: Place) -> Result<Past, JournalError> {
        let failed = |source| JournalError::Read { source };
        let view = self.connection.unchecked_transaction().map_err(failed)?;
        let known = Known::of(&view).map_err(failed)?;
        let seq = match place {
            Place::Seq(seq) if seq.0 > known.last => {
                return Err(JournalError::NotYet { seq: seq.0, last: known.last });
            }
            Place::Seq(seq) => seq.0,
            Place::At(at) => match last_fact_at(&view, at).map_err(failed)? {
                Some(seq) => seq,
                None if known.from_at_ms <= at.0 => known.from,
                None => return Err(known.too_early(place)),
            },
        };
        if seq < known.from {
            return Err(known.too_early(place));
        }
        let past = state_after(&view, seq)?;
        view.finish().map_err(failed)?;
        Ok(past)
    }
}

/// Which places are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The earliest fact after which the state is known; zero when every fact is kept.
    pub(super) from: u64,
    pub(super) from_at_ms: u64,
    pub(super) last: u64,
}

impl Known {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Known> {
        let bounds = tables::bounds(connection)?;
        let oldest = tables::snapshots(connection, i64::MAX.unsigned_abs())?.last().copied();
        let last = bounds.map_or(0, |(_, last)| last).max(oldest.map_or(0, |oldest| oldest.seq));
        Ok(match (bounds, oldest) {
            (Some((first, _)), Some(oldest)) if first > 1 => Known { from: oldest.seq, from_at_ms: oldest.at_ms, last },
            (Some((first, _)), None) if first > 1 => Known { from: u64::MAX, from_at_ms: u64::MAX, last },
            (None, Some(oldest)) => Known { from: oldest.seq, from_at_ms: oldest.at_ms, last },
            _ => Known { from: 0, from_at_ms: 0, last },
        })
    }

    fn too_early(self, place: Place) -> JournalError {
        JournalError::TooEarly { place, seq: self.from, at: UnixMs(self.from_at_ms) }
    }
}

/// The last fact that was taken up to `at`.
pub(super) fn last_fact_at(connection: &Connection, at: UnixMs) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT seq FROM facts WHERE at_ms <= ?1 ORDER BY at_ms DESC, seq DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([stored(at.0)])?;
    rows.next()?.map(|row| row.get::<_, i64>(0).map(i64::unsigned_abs)).transpose()
}

/// The state right after a fact: the nearest good snapshot before it, and the facts up to it.
fn state_after(connection: &Connection, seq: u64) -> Result<Past, JournalError> {
    let base = fold::base(connection, seq)?;
    let (mut state, at) = (base.state, base.at);
    let folded = fold::fold(connection, &mut state, seq).map_err(|source| JournalError::Read { source })?;
    if let Some((seq, damage)) = folded.stopped {
        return Err(JournalError::Damaged { seq, damage });
    }
    if state.seq.0 < seq {
        let damage = Damage::Gap { after: state.seq.0 };
        return Err(JournalError::Damaged { seq, damage });
    }
    Ok(Past { state, at: folded.last_at.unwrap_or(at) })
}
