//! The tables of a journal's file, and its connections.
//!
//! Absent on purpose: migration. No version of the program has been released with other tables than these; a file of
//! another version is refused by name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};

use super::JournalError;
use super::codec::{Record, Snapshot};
use super::turnstile::Turnstile;

/// The journal's file in the state directory.
pub const FILE_NAME: &str = "journal.sqlite";
/// Written into the file's header, so that another SQLite file is not taken for a journal.
const APPLICATION_ID: i32 = 0x626f_6f74;
/// The version of the tables.
const TABLES_VERSION: i32 = 2;
/// Bytes of one piece of a snapshot. A piece is one transaction, and the engine waits for it at worst.
const SNAPSHOT_PART_BYTES: usize = 512 << 10;
/// How often a connection looks whether the other writer is done, a millisecond between two looks.
const BUSY_LOOKS_MAX: i32 = 10_000;
/// Pages of the write-ahead log after which the writer moves them into the file. A larger log is moved less often,
/// and pages that change often are then moved once.
const CHECKPOINT_PAGES: i32 = 4_000;

const TABLES: &str = "
    CREATE TABLE facts (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        node TEXT,
        kind TEXT NOT NULL,
        fact TEXT NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE TABLE facts_by_node (node TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (node, seq)) WITHOUT ROWID;
    CREATE TABLE facts_by_node_upto (seq INTEGER NOT NULL);
    INSERT INTO facts_by_node_upto VALUES (0);
    CREATE INDEX facts_by_time ON facts (at_ms);
    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        format INTEGER NOT NULL,
        json_bytes INTEGER NOT NULL,
        parts INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE TABLE snapshot_parts (
        seq INTEGER NOT NULL,
        part INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (seq, part)
    );
    CREATE TABLE cuts (
        cut INTEGER PRIMARY KEY,
        after_seq INTEGER NOT NULL,
        records INTEGER,
        reason TEXT NOT NULL,
        kept_in TEXT NOT NULL,
        told INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE cut_facts (cut INTEGER NOT NULL, seq, at_ms, node, kind, fact, checksum);
";

/// Opens the file for writing, making it when it is not there.
///
/// # Errors
/// When it cannot be opened or made, or is no journal of this version.
pub(super) fn open_writer(path: &Path) -> Result<Connection, JournalError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => JournalError::Lost { path: path.to_owned(), damage: source.to_string() },
        _ => JournalError::Open { path: path.to_owned(), source },
    };
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_handler(Some(look_again)).map_err(failed)?;
    let id: i32 = connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(failed)?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    match (id, version, tables) {
        (APPLICATION_ID, TABLES_VERSION, _) => {}
        (0, 0, 0) => {
            let marks = format!("PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={TABLES_VERSION};");
            connection.execute_batch(&format!("BEGIN; {marks} {TABLES} COMMIT;")).map_err(failed)?;
        }
        _ => {
            let found = format!("application id {id:#x}, version {version}");
            return Err(JournalError::NotAJournal { path: path.to_owned(), found });
        }
    }
    let settings = format!("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES};");
    connection.execute_batch("PRAGMA journal_mode=WAL;").map_err(failed)?;
    connection.execute_batch(&settings).map_err(failed)?;
    Ok(connection)
}

/// Opens the file for reading.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub(super) fn open_reader(path: &Path) -> Result<Connection, JournalError> {
    let failed = |source| JournalError::Open { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_handler(Some(look_again)).map_err(failed)?;
    Ok(connection)
}

/// SQLite's own waiting sleeps longer and longer; what is waited for here is done within milliseconds.
fn look_again(looks: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    looks < BUSY_LOOKS_MAX
}

/// Whether SQLite says that the file itself is not what it should be.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// SQLite's integers are signed; neither sequence numbers nor times come near the bound.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of [`record`], in order.
pub(super) const RECORD: &str = "seq, at_ms, node, kind, fact, checksum";

/// The record of a row with the columns of [`RECORD`].
pub(super) fn record(row: &Row) -> rusqlite::Result<Record> {
    Ok(Record {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        at_ms: row.get::<_, i64>(1)?.unsigned_abs(),
        node: row.get(2)?,
        kind: row.get(3)?,
        fact: row.get(4)?,
        checksum: u32::try_from(row.get::<_, i64>(5)?).unwrap_or_default(),
    })
}

/// Stores a record.
pub(super) fn insert(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let sql = "INSERT INTO facts (seq, at_ms, node, kind, fact, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (seq, at_ms) = (stored(record.seq), stored(record.at_ms));
    let values = params![seq, at_ms, record.node, record.kind, record.fact, record.checksum];
    connection.prepare_cached(sql)?.execute(values).map(|_| ())
}

/// Stores a snapshot piece by piece; it counts from its last statement on.
pub(super) fn insert_snapshot(
    connection: &Connection,
    snapshot: &Snapshot,
    turnstile: &Turnstile,
) -> rusqlite::Result<()> {
    let seq = stored(snapshot.seq);
    forget_snapshot(connection, snapshot.seq, turnstile)?;
    let mut parts = 0;
    for (part, data) in (0_i64..).zip(snapshot.data.chunks(SNAPSHOT_PART_BYTES)) {
        let sql = "INSERT INTO snapshot_parts (seq, part, data) VALUES (?1, ?2, ?3)";
        let _turn = turnstile.turn();
        connection.execute(sql, params![seq, part, data])?;
        parts = part + 1;
    }
    let sql = "INSERT INTO snapshots (seq, at_ms, format, json_bytes, parts, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (at_ms, json_bytes) = (stored(snapshot.at_ms), stored(snapshot.json_bytes));
    let _turn = turnstile.turn();
    connection.execute(sql, params![seq, at_ms, snapshot.format, json_bytes, parts, snapshot.checksum]).map(|_| ())
}

/// Removes a snapshot and its pieces.
pub(super) fn forget_snapshot(connection: &Connection, seq: u64, turnstile: &Turnstile) -> rusqlite::Result<()> {
    let _turn = turnstile.turn();
    connection.execute("DELETE FROM snapshots WHERE seq = ?1", [stored(seq)])?;
    connection.execute("DELETE FROM snapshot_parts WHERE seq = ?1", [stored(seq)]).map(|_| ())
}

/// What is known of a snapshot without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SnapshotHead {
    pub(super) seq: u64,
    pub(super) at_ms: u64,
    pub(super) format: u32,
}

/// The snapshots up to `at_most`, newest first.
pub(super) fn snapshots(connection: &Connection, at_most: u64) -> rusqlite::Result<Vec<SnapshotHead>> {
    let sql = "SELECT seq, at_ms, format FROM snapshots WHERE seq <= ?1 ORDER BY seq DESC";
    let head = |row: &Row| {
        let (seq, at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        let format = u32::try_from(row.get::<_, i64>(2)?).unwrap_or(u32::MAX);
        Ok(SnapshotHead { seq: seq.unsigned_abs(), at_ms: at_ms.unsigned_abs(), format })
    };
    connection.prepare_cached(sql)?.query_map([stored(at_most)], head)?.collect()
}

/// Reads a snapshot; whether it is good is for the codec to say.
pub(super) fn snapshot(connection: &Connection, seq: u64) -> rusqlite::Result<Snapshot> {
    let sql = "SELECT at_ms, format, json_bytes, checksum FROM snapshots WHERE seq = ?1";
    let mut snapshot = connection.query_row(sql, [stored(seq)], |row| {
        let number = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        let small = |at| number(at).map(|n| u32::try_from(n).unwrap_or_default());
        let (at_ms, format, json_bytes, checksum) = (number(0)?, small(1)?, number(2)?, small(3)?);
        Ok(Snapshot { seq, at_ms, format, json_bytes, data: Vec::new(), checksum })
    })?;
    let mut statement = connection.prepare_cached("SELECT data FROM snapshot_parts WHERE seq = ?1 ORDER BY part")?;
    let mut rows = statement.query([stored(seq)])?;
    while let Some(row) = rows.next()? {
        snapshot.data.extend_from_slice(row.get_ref(0)?.as_blob().unwrap_or_default());
    }
    Ok(snapshot)
}

/// The first and the last fact that are kept.
pub(super) fn bounds(connection: &Connection) -> rusqlite::Result<Option<(u64, u64)>> {
    let end = |sql| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    // Two questions, since SQLite answers each from an end of the table but both at once by reading all of it.
    let (first, last) = (end("SELECT min(seq) FROM facts")?, end("SELECT max(seq) FROM facts")?);
    Ok(first.zip(last).map(|(first, last)| (first.unsigned_abs(), last.unsigned_abs())))
}

/// The journal's file in `dir`.
pub(super) fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}
