//! The journal: facts on disk, durable before anybody is told, in one SQLite file of the state directory.
//!
//! One writer (the engine) appends batches, each one transaction with `synchronous=FULL`: a batch is on the disk
//! when [`Journal::append`] returns, or not there at all. Readers have connections of their own and never block
//! the writer (WAL). Facts are stored as JSON, so that a journal can be read with the `sqlite3` command at three
//! in the morning.
//!
//! Absent on purpose: snapshots and retention are not there yet; a start reads every fact.

use std::path::{Path, PathBuf};

use rusqlite::types::ToSql;
use rusqlite::{Connection, OpenFlags, params};
use thiserror::Error;

use crate::fact::{Fact, Stamped};
use crate::model::{FactSeq, NodeId, UnixMs};

#[cfg(test)]
mod tests;

/// The journal's file in the state directory.
pub const FILE_NAME: &str = "journal.sqlite";
/// Written into the file's header, so that another SQLite file is not taken for a journal.
const APPLICATION_ID: i32 = 0x626f_6f74;
/// The version of the tables.
const TABLES_VERSION: i32 = 1;

/// What went wrong with the journal.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be opened.
    #[error("cannot open the journal {}: {source}; check that the state directory exists, is writable and not full", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The file is something else, or of another version.
    #[error("{} is not a journal that this version can read ({found}); use the state directory of this version, or another one", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Facts could not be written.
    #[error("the journal could not be written: {source}; check the free space of the state directory")]
    Append {
        /// The cause.
        source: rusqlite::Error,
    },
    /// Facts could not be read.
    #[error("the journal could not be read: {source}")]
    Read {
        /// The cause.
        source: rusqlite::Error,
    },
    /// A record makes no sense.
    #[error(
        "record {seq} of the journal is damaged: {detail}; restore the state directory from a copy, or remove the records from {seq} on with sqlite3"
    )]
    Damaged {
        /// The record.
        seq: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A fact could not be encoded.
    #[error("a fact could not be encoded: {source}")]
    Encode {
        /// The cause.
        source: serde_json::Error,
    },
}

/// The writer's side.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
}

impl Journal {
    /// Opens the journal in `dir`, making it when it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened or made, or is no journal of this version.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| JournalError::Open { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(failed)?;
        let id: i32 = connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(failed)?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(failed)?;
        match (id, version) {
            (APPLICATION_ID, TABLES_VERSION) => {}
            (0, 0) => connection.execute_batch(TABLES).map_err(failed)?,
            _ => {
                let found = format!("application id {id:#x}, version {version}");
                return Err(JournalError::NotAJournal { path, found });
            }
        }
        connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;").map_err(failed)?;
        Ok(Journal { connection })
    }

    /// Appends a batch; it is durable when this returns.
    ///
    /// # Errors
    /// When it could not be stored; none of it is in the journal then.
    pub fn append(&mut self, batch: &[Stamped<Fact>]) -> Result<(), JournalError> {
        let failed = |source| JournalError::Append { source };
        let transaction = self.connection.transaction().map_err(failed)?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO facts (seq, at_ms, node, kind, fact) VALUES (?1, ?2, ?3, ?4, ?5)")
                .map_err(failed)?;
            for stamped in batch {
                let text = serde_json::to_string(&stamped.fact).map_err(|source| JournalError::Encode { source })?;
                let node = stamped.fact.node().map(|n| n.to_string());
                insert
                    .execute(params![stored(stamped.seq.0), stored(stamped.at.0), node, stamped.fact.kind(), text])
                    .map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }

    /// Hands every fact to `take`, in order.
    ///
    /// # Errors
    /// When a record cannot be read, makes no sense, or is missing.
    pub fn replay(&self, mut take: impl FnMut(Stamped<Fact>)) -> Result<(), JournalError> {
        let mut expected = 1;
        each(&self.connection, "SELECT seq, at_ms, fact FROM facts ORDER BY seq", &[], |stamped| {
            if stamped.seq.0 != expected {
                let detail = format!("it follows record {}", expected - 1);
                return Err(JournalError::Damaged { seq: stamped.seq.0, detail });
            }
            expected += 1;
            take(stamped);
            Ok(())
        })
    }
}

const TABLES: &str = "
    PRAGMA application_id=1651470196;
    PRAGMA user_version=1;
    CREATE TABLE facts (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        node TEXT,
        kind TEXT NOT NULL,
        fact TEXT NOT NULL
    );
    CREATE INDEX facts_by_node ON facts (node, seq) WHERE node IS NOT NULL;
";

/// Which facts to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only facts about these nodes; empty for all.
    pub nodes: Vec<NodeId>,
    /// Only facts of this kind.
    pub kind: Option<String>,
    /// Only facts after this one.
    pub after: FactSeq,
    /// Only facts from this time on.
    pub since: UnixMs,
    /// At most this many.
    pub limit: usize,
    /// Which ones, when there are more.
    pub keep: Keep,
}

/// Which facts are kept when more pass a filter than are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// The newest.
    #[default]
    Newest,
    /// The oldest, to go on from there.
    Oldest,
}

/// A reader's side: a connection of its own, which only reads.
#[derive(Debug)]
pub struct JournalReader {
    connection: Connection,
}

impl JournalReader {
    /// Opens the journal in `dir` for reading.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE_NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|source| JournalError::Open { path, source })?;
        Ok(JournalReader { connection })
    }

    /// The facts that pass `filter`, oldest first.
    ///
    /// # Errors
    /// When a record cannot be read or makes no sense.
    pub fn read(&self, filter: &Filter) -> Result<Vec<Stamped<Fact>>, JournalError> {
        let mut sql = String::from("SELECT seq, at_ms, fact FROM facts WHERE seq > ?1 AND at_ms >= ?2");
        let nodes: Vec<String> = filter.nodes.iter().map(ToString::to_string).collect();
        let (after, since) = (stored(filter.after.0), stored(filter.since.0));
        let mut values: Vec<&dyn ToSql> = vec![&after, &since];
        if let Some(kind) = &filter.kind {
            values.push(kind);
            sql.push_str(&format!(" AND kind = ?{}", values.len()));
        }
        if !nodes.is_empty() {
            let places: Vec<String> = nodes
                .iter()
                .map(|node| {
                    values.push(node);
                    format!("?{}", values.len())
                })
                .collect();
            sql.push_str(&format!(" AND node IN ({})", places.join(",")));
        }
        let order = match filter.keep {
            Keep::Newest => "DESC",
            Keep::Oldest => "ASC",
        };
        sql.push_str(&format!(" ORDER BY seq {order} LIMIT {}", filter.limit));
        let mut found = Vec::new();
        each(&self.connection, &sql, &values, |stamped| {
            found.push(stamped);
            Ok(())
        })?;
        found.sort_by_key(|stamped: &Stamped<Fact>| stamped.seq);
        Ok(found)
    }
}

/// SQLite's integers are signed; neither sequence numbers nor times come near the bound.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn each(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    mut take: impl FnMut(Stamped<Fact>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let failed = |source| JournalError::Read { source };
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query(values).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let seq = row.get::<_, i64>(0).map_err(failed)?.unsigned_abs();
        let at = row.get::<_, i64>(1).map_err(failed)?.unsigned_abs();
        let text = row.get_ref(2).map_err(failed)?;
        let damaged = |detail: String| JournalError::Damaged { seq, detail };
        let text = text.as_str().map_err(|e| damaged(e.to_string()))?;
        let fact = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        take(Stamped { seq: FactSeq(seq), at: UnixMs(at), fact })?;
    }
    Ok(())
}
