//! The start: the state as the journal holds it, with a damaged tail cut off at the last good record.
//!
//! Invariants: the state is the fold of what the journal holds after the cut; what was cut off is in the table
//! `cut_facts` before it is out of the table `facts`; a cut is told as a fact exactly once.

use rusqlite::{Connection, params};

use super::JournalError;
use super::by_node;
use super::codec::Damage;
use super::fold;
use super::tables::{self, stored};
use crate::fact::ApplianceFact;
use crate::model::{FactSeq, UnixMs};
use crate::state::State;

/// What a start found.
#[derive(Debug)]
pub struct Recovered {
    /// The state.
    pub state: State,
    /// When its last fact was taken.
    pub at: UnixMs,
    /// What must be journaled about the journal itself.
    pub notes: Vec<ApplianceFact>,
}

/// Folds what is there, and cuts off what cannot be.
pub(super) fn recover(connection: &mut Connection) -> Result<Recovered, JournalError> {
    let failed = |source| JournalError::Read { source };
    let fold::Base { mut state, at } = fold::base(connection, i64::MAX.unsigned_abs())?;
    let folded = fold::fold(connection, &mut state, i64::MAX.unsigned_abs()).map_err(failed)?;
    if let Some((seq, damage)) = &folded.stopped {
        cut(connection, state.seq, *seq, damage)?;
    }
    let notes = untold(connection).map_err(failed)?;
    Ok(Recovered { state, at: folded.last_at.unwrap_or(at), notes })
}

fn cut(connection: &mut Connection, last_good: FactSeq, bad: u64, damage: &Damage) -> Result<(), JournalError> {
    let failed = |source| JournalError::Append { source };
    let transaction = connection.transaction().map_err(failed)?;
    let after = stored(last_good.0);
    let count = "SELECT count(*) FROM facts WHERE seq > ?1";
    let records: i64 = transaction.query_row(count, [after], |row| row.get(0)).map_err(failed)?;
    let reason = format!("record {bad} is damaged: {damage}");
    let sql = "INSERT INTO cuts (after_seq, records, reason, kept_in) VALUES (?1, ?2, ?3, '')";
    transaction.execute(sql, params![after, records, reason]).map_err(failed)?;
    let number = transaction.last_insert_rowid();
    let kept_in = format!("table cut_facts of {}, cut {number}", tables::FILE_NAME);
    let kept = || {
        transaction.execute("UPDATE cuts SET kept_in = ?2 WHERE cut = ?1", params![number, kept_in])?;
        let columns = tables::RECORD;
        let copy = format!("INSERT INTO cut_facts (cut, {columns}) SELECT ?1, {columns} FROM facts WHERE seq > ?2");
        transaction.execute(&copy, params![number, after])?;
        transaction.execute("DELETE FROM facts WHERE seq > ?1", [after])?;
        by_node::forget_after(&transaction, last_good.0)?;
        transaction.execute("DELETE FROM snapshots WHERE seq > ?1", [after])?;
        transaction.execute("DELETE FROM snapshot_parts WHERE seq > ?1", [after])
    };
    kept().map_err(failed)?;
    transaction.commit().map_err(failed)?;
    tracing::error!(
        last_good = last_good.0,
        records,
        reason,
        kept_in,
        "the journal's end was damaged and has been cut off; what it told is forgotten"
    );
    Ok(())
}

/// Notes that what came after `last` up to `reached`, which had been acknowledged, is not there; what is to be told then.
pub(super) fn note_missing(
    connection: &mut Connection,
    last: FactSeq,
    reached: FactSeq,
    kept_in: &str,
) -> Result<Vec<ApplianceFact>, JournalError> {
    let failed = |source| JournalError::Append { source };
    let records = reached.0.saturating_sub(last.0);
    let reason = format!(
        "its log ends there, and facts up to {} had been acknowledged: the log was damaged or shortened since",
        reached.0
    );
    let sql = "INSERT INTO cuts (after_seq, records, reason, kept_in) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![stored(last.0), stored(records), reason, kept_in]).map_err(failed)?;
    tracing::error!(
        last_good = last.0,
        records,
        reason,
        kept_in,
        "the journal's end is missing; what it told is forgotten"
    );
    untold(connection).map_err(|source| JournalError::Read { source })
}

fn untold(connection: &Connection) -> rusqlite::Result<Vec<ApplianceFact>> {
    let sql = "SELECT after_seq, records, reason, kept_in FROM cuts WHERE told = 0 ORDER BY cut";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let last_good = FactSeq(row.get::<_, i64>(0)?.unsigned_abs());
        let records = row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs);
        Ok(ApplianceFact::JournalCut { last_good, records, reason: row.get(2)?, kept_in: row.get(3)? })
    })?;
    rows.collect()
}

/// How often something was cut off.
pub(super) fn cuts(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM cuts", [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Notes that the cuts have been told; a part of the transaction that tells them.
pub(super) fn told(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE cuts SET told = 1 WHERE told = 0", []).map(|_| ())
}
