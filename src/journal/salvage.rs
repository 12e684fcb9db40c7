//! A journal whose file is damaged: what can be read goes into a new file, the damaged one is kept beside it.
//!
//! A bit that turned in a record is `recover`'s business; here the file itself is broken: pages are missing, or hold
//! something else. Everything is read record by record, and what is taken over is the longest unbroken history that
//! a state can be made of: the newest good snapshot and the records around it, up to the first one that is lost.
//!
//! Invariants: the damaged file is not written to; the new file is complete and on the disk before it takes the other's
//! name; a kill at any instant leaves one of the two to start from, and the start goes on where it was.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::JournalError;
use super::codec::{Record, SNAPSHOT_FORMAT, Snapshot};
use super::tables::{self, FILE_NAME, RECORD, SnapshotHead, stored};
use super::turnstile::Turnstile;

/// The new file while it is written.
const UNFINISHED: &str = "journal.sqlite.saving";
/// The new file once it is complete, until it takes the journal's name.
const FINISHED: &str = "journal.sqlite.saved";
/// There while the next start must look through the whole file.
const CHECK_WANTED: &str = "journal.check";
/// SQLite's files beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// Records that are read at once where nothing is damaged.
const RECORDS_AT_ONCE: u64 = 256;
/// Records that are looked for beyond the last one that was found.
const LOST_IN_A_ROW_MAX: u64 = 20_000;

/// What the structure of a file has against it, if anything.
pub(super) fn structure(connection: &Connection) -> rusqlite::Result<Option<String>> {
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(word) if word == "ok" => Ok(None),
        Ok(damage) => Ok(Some(damage)),
        Err(error) if tables::is_damage(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Makes the next start look through the whole file.
pub(super) fn ask_for_check(dir: &Path) {
    if let Err(error) = File::create(dir.join(CHECK_WANTED)) {
        tracing::warn!(%error, "the next start could not be asked to look through the journal");
    }
}

pub(super) fn check_is_wanted(dir: &Path) -> bool {
    dir.join(CHECK_WANTED).exists()
}

/// Goes on with a change of files that was interrupted.
pub(super) fn finish(dir: &Path) -> Result<(), JournalError> {
    match dir.join(FINISHED).exists() {
        true => swap(dir),
        false => Ok(()),
    }
}

/// Makes a new journal of what can be read of the damaged one.
///
/// # Errors
/// When nothing can be read, or the new file cannot be written; the damaged one is then where it was.
pub(super) fn salvage(dir: &Path, damage: &str) -> Result<(), JournalError> {
    tracing::error!(damage, "the journal's file is damaged; what can be read is saved into a new one");
    let path = tables::path_in(dir);
    let source = tables::open_reader(&path)?;
    // SQLite else reads nothing at all of a file with missing pages.
    source.execute_batch("PRAGMA writable_schema=ON").map_err(|source| JournalError::Read { source })?;
    let heads = tables::snapshots(&source, i64::MAX.unsigned_abs()).unwrap_or_default();
    let good: Vec<SnapshotHead> = heads.into_iter().filter(|head| is_good(&source, head)).collect();
    let ranges = readable(&source, good.first().map_or(0, |head| head.seq));
    let Some(kept) = choose(&good, &ranges) else {
        return Err(JournalError::Lost { path, damage: damage.to_owned() });
    };
    let unfinished = dir.join(UNFINISHED);
    remove(&unfinished)?;
    let mut target = tables::open_writer(&unfinished)?;
    let kept_in = free_name(dir);
    write(&mut target, &source, &good, &kept, damage, &kept_in)?;
    target.close().map_err(|(_, source)| JournalError::Append { source })?;
    let file = |source| JournalError::File { path: dir.to_owned(), source };
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(file)?;
    fs::rename(&unfinished, dir.join(FINISHED)).map_err(file)?;
    drop(source);
    swap(dir)?;
    tracing::error!(
        first = kept.records.start(),
        last = kept.end,
        kept_in,
        "the journal was saved up to its last good record"
    );
    Ok(())
}

/// What is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// The records; none when the range is empty.
    records: RangeInclusive<u64>,
    /// The last fact that the state will have.
    end: u64,
}

/// The history that reaches furthest: from a good snapshot, or from the first record, up to the first that is lost.
fn choose(good: &[SnapshotHead], ranges: &[RangeInclusive<u64>]) -> Option<Kept> {
    let own = good.iter().filter(|head| head.format == SNAPSHOT_FORMAT);
    let from = |base: u64| match ranges.iter().find(|range| range.contains(&(base + 1))) {
        Some(range) => Kept { records: range.clone(), end: *range.end() },
        // It may be the last record of its range.
        None => match ranges.iter().find(|range| base > 0 && range.contains(&base)) {
            Some(range) => Kept { records: *range.start()..=base, end: base },
            None => Kept { records: base + 1..=base, end: base },
        },
    };
    let beginning = ranges.iter().any(|range| range.contains(&1)).then(|| from(0));
    own.map(|head| from(head.seq)).chain(beginning).max_by_key(|kept| kept.end)
}

fn is_good(connection: &Connection, head: &SnapshotHead) -> bool {
    tables::snapshot(connection, head.seq).is_ok_and(|snapshot: Snapshot| snapshot.open().is_ok())
}

/// The records that can be read and are sound, as ranges without a gap.
fn readable(connection: &Connection, newest_snapshot: u64) -> Vec<RangeInclusive<u64>> {
    let bounds = tables::bounds(connection).ok().flatten();
    let hoped_for = bounds.map_or(newest_snapshot, |(_, last)| last).max(newest_snapshot);
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    let mut next = bounds.map_or(1, |(first, _)| first);
    let mut end = hoped_for.saturating_add(LOST_IN_A_ROW_MAX);
    while next <= end {
        let chunk = next..=next.saturating_add(RECORDS_AT_ONCE - 1).min(end);
        for record in sound(connection, &chunk) {
            end = end.max(record.seq.saturating_add(LOST_IN_A_ROW_MAX));
            match ranges.last_mut().filter(|range| *range.end() + 1 == record.seq) {
                Some(range) => *range = *range.start()..=record.seq,
                None => ranges.push(record.seq..=record.seq),
            }
        }
        next = *chunk.end() + 1;
    }
    ranges
}

/// The sound records of a range: all at once, or one by one where something is in the way.
fn sound(connection: &Connection, range: &RangeInclusive<u64>) -> Vec<Record> {
    let read = |first: u64, last: u64| -> rusqlite::Result<Vec<Record>> {
        let sql = format!("SELECT {RECORD} FROM facts WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq");
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_map([stored(first), stored(last)], tables::record)?.collect()
    };
    let found = read(*range.start(), *range.end())
        .unwrap_or_else(|_| range.clone().flat_map(|seq| read(seq, seq).unwrap_or_default()).collect());
    found.into_iter().filter(|record| record.open().is_ok()).collect()
}

fn write(
    target: &mut Connection,
    source: &Connection,
    good: &[SnapshotHead],
    kept: &Kept,
    damage: &str,
    kept_in: &str,
) -> Result<(), JournalError> {
    let failed = |source| JournalError::Append { source };
    let transaction = target.transaction().map_err(failed)?;
    let (first, last) = (*kept.records.start(), *kept.records.end());
    let mut next = first;
    while next <= last {
        let chunk = next..=last.min(next.saturating_add(RECORDS_AT_ONCE - 1));
        for record in sound(source, &chunk) {
            tables::insert(&transaction, &record).map_err(failed)?;
        }
        next = *chunk.end() + 1;
    }
    for head in good.iter().filter(|head| head.seq + 1 >= first && head.seq <= kept.end) {
        let snapshot = tables::snapshot(source, head.seq).map_err(|source| JournalError::Read { source })?;
        tables::insert_snapshot(&transaction, &snapshot, &Turnstile::default()).map_err(failed)?;
    }
    let sql = "INSERT INTO cuts (after_seq, reason, kept_in) VALUES (?1, ?2, ?3)";
    transaction
        .execute(sql, params![stored(kept.end), format!("the file is damaged: {damage}"), kept_in])
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Gives the damaged file the name that the new one tells, and the new one the journal's.
fn swap(dir: &Path) -> Result<(), JournalError> {
    let failed = |source| JournalError::File { path: dir.to_owned(), source };
    let finished = dir.join(FINISHED);
    let kept_in: String = {
        let saved = tables::open_reader(&finished)?;
        let sql = "SELECT kept_in FROM cuts ORDER BY cut DESC LIMIT 1";
        saved.query_row(sql, [], |row| row.get(0)).map_err(|source| JournalError::Read { source })?
    };
    for beside in BESIDE {
        remove(&dir.join(format!("{FINISHED}{beside}")))?;
    }
    // The log first: a database must never meet another one's log.
    for end in ["-wal", ""] {
        let (from, to) = (dir.join(format!("{FILE_NAME}{end}")), dir.join(format!("{kept_in}{end}")));
        match fs::metadata(&from) {
            // Left behind by whoever read the file last.
            Ok(metadata) if end == "-wal" && metadata.len() == 0 => remove(&from)?,
            Ok(_) => fs::rename(from, to).map_err(failed)?,
            Err(_) => {}
        }
    }
    remove(&dir.join(format!("{FILE_NAME}-shm")))?;
    fs::rename(&finished, tables::path_in(dir)).map_err(failed)?;
    remove(&dir.join(CHECK_WANTED))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn free_name(dir: &Path) -> String {
    let names = (1_u32..).map(|number| format!("{FILE_NAME}.damaged-{number}"));
    names.into_iter().find(|name| !dir.join(name).exists()).unwrap_or_else(|| format!("{FILE_NAME}.damaged"))
}

fn remove(path: &PathBuf) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JournalError::File { path: path.clone(), source: error })
        }
        _ => Ok(()),
    }
}

/// The whole file was looked through and is sound.
pub(super) fn checked(dir: &Path) -> Result<(), JournalError> {
    remove(&dir.join(CHECK_WANTED))
}
