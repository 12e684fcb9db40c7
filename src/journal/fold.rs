//! From bytes to a state: the newest snapshot that is good, and the facts after it in order.
//!
//! Invariants: facts are folded without a gap; the first record that is damaged or missing ends the fold and is named.
//! Reading and decoding run on two threads, so that a start takes the longer of the two and not both.
//! Absent on purpose: what is done about damage (see `recover`, `salvage` and `travel`).

use std::sync::mpsc;

use rusqlite::Connection;

use super::JournalError;
use super::codec::{Damage, Record, SNAPSHOT_FORMAT};
use super::tables::{self, RECORD, SnapshotHead, stored};
use crate::model::UnixMs;
use crate::state::State;

/// Records that go from the reading to the decoding thread at once.
const BATCH_RECORDS: usize = 1_024;
/// Batches that wait for the decoding thread.
const BATCHES_MAX: usize = 8;

/// Where a fold begins.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) state: State,
    /// When the state's last fact was taken.
    pub(super) at: UnixMs,
}

/// How a fold ended.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// When the last folded fact was taken, if there was one.
    pub(super) last_at: Option<UnixMs>,
    /// The record that could not be folded, and why.
    pub(super) stopped: Option<(u64, Damage)>,
}

/// The newest good snapshot up to fact `at_most`, or the empty state where every fact is kept.
///
/// A snapshot of another format may lack what this version's states have, so it is used only where there is nothing
/// else: a cluster that is known almost whole is better than none.
///
/// # Errors
/// When facts were pruned and no snapshot can be read.
pub(super) fn base(connection: &Connection, at_most: u64) -> Result<Base, JournalError> {
    let failed = |source| JournalError::Read { source };
    let heads = tables::snapshots(connection, at_most).map_err(failed)?;
    let first = tables::bounds(connection).map_err(failed)?.map(|(first, _)| first);
    let (own, foreign): (Vec<_>, Vec<_>) = heads.into_iter().partition(|head| head.format == SNAPSHOT_FORMAT);
    if let Some(base) = own.iter().find_map(|head| open(connection, head)) {
        return Ok(base);
    }
    for head in &foreign {
        tracing::warn!(
            seq = head.seq,
            format = head.format,
            own_format = SNAPSHOT_FORMAT,
            "a snapshot of the journal was written by another version and is passed over"
        );
    }
    if first == Some(1) || (first.is_none() && own.is_empty() && foreign.is_empty()) {
        return Ok(Base { state: State::default(), at: UnixMs(0) });
    }
    let base = foreign.iter().find_map(|head| open(connection, head));
    base.inspect(|base| {
        tracing::warn!(
            seq = base.state.seq.0,
            "the facts before it were pruned, so this snapshot is used all the same"
        );
    })
    .ok_or(JournalError::NoSnapshot { first: first.unwrap_or_default() })
}

fn open(connection: &Connection, head: &SnapshotHead) -> Option<Base> {
    let read = tables::snapshot(connection, head.seq).map_err(|error| Damage::Unreadable(error.to_string()));
    match read.and_then(|snapshot| snapshot.open()) {
        Ok(state) => Some(Base { state, at: UnixMs(head.at_ms) }),
        Err(damage) => {
            tracing::warn!(seq = head.seq, %damage, "a snapshot of the journal is damaged and is passed over");
            None
        }
    }
}

/// Folds the facts after `state`'s last one, up to fact `up_to`.
///
/// # Errors
/// When the file cannot be read; what was read before that is folded.
pub(super) fn fold(connection: &Connection, state: &mut State, up_to: u64) -> rusqlite::Result<Folded> {
    let sql = format!("SELECT {RECORD} FROM facts WHERE seq > ?1 AND seq <= ?2 ORDER BY seq");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([stored(state.seq.0), stored(up_to)])?;
    std::thread::scope(|scope| {
        let (batches, queue) = mpsc::sync_channel(BATCHES_MAX);
        let folding = scope.spawn(move || take(state, &queue));
        let read = loop {
            let mut batch = Vec::with_capacity(BATCH_RECORDS);
            let ended = loop {
                match rows.next() {
                    Ok(Some(row)) => batch.push(read_one(row)),
                    Ok(None) => break Some(Ok(())),
                    Err(error) => break Some(Err(error)),
                }
                if batch.len() == BATCH_RECORDS {
                    break None;
                }
            };
            // The folding thread has stopped at a damaged record.
            let nobody = batches.send(batch).is_err();
            match ended {
                Some(ended) => break ended,
                None if nobody => break Ok(()),
                None => {}
            }
        };
        drop(batches);
        let folded = match folding.join() {
            Ok(folded) => folded,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        read.map(|()| folded)
    })
}

type ReadOne = Result<Record, (u64, Damage)>;

fn read_one(row: &rusqlite::Row) -> ReadOne {
    tables::record(row).map_err(|error| {
        let seq = row.get::<_, i64>(0).unwrap_or_default().unsigned_abs();
        (seq, Damage::Unreadable(error.to_string()))
    })
}

fn take(state: &mut State, queue: &mpsc::Receiver<Vec<ReadOne>>) -> Folded {
    let mut folded = Folded::default();
    for read in queue.iter().flatten() {
        let opened = read.and_then(|record| {
            let after = state.seq.0;
            if record.seq != after + 1 {
                return Err((record.seq, Damage::Gap { after }));
            }
            record.open().map_err(|damage| (record.seq, damage))
        });
        match opened {
            Ok(stamped) => {
                state.apply(&stamped);
                folded.last_at = Some(stamped.at);
            }
            Err(stopped) => {
                folded.stopped = Some(stopped);
                break;
            }
        }
    }
    folded
}
