//! The journal: facts on disk, durable before anybody is told, in one SQLite file of the state directory.
//!
//! One writer (the engine) appends batches, each one transaction with `synchronous=FULL`: a batch is on the disk
//! when [`Journal::append`] returns, or not there at all. Readers have connections of their own and never block
//! the writer (WAL). Every record has a checksum; a start takes the newest good snapshot and the facts after it, and cuts
//! off a damaged end at the last good record, so a crash at any instant leaves a prefix of what was appended.
//! A thread writes snapshots and prunes what is old ([`keeper`]); the past can be asked for ([`travel`]).
//!
//! | file | holds |
//! | --- | --- |
//! | `codec` | records and snapshots as bytes, pure |
//! | `tables` | the SQLite tables and connections |
//! | `fold` | newest good snapshot and the facts after it, to a state |
//! | `recover`, `salvage` | a damaged end; a damaged file |
//! | `reached` | the last fact that was acknowledged, to notice a shortened log |
//! | `keeper` | snapshots, retention, a look through the whole file |
//! | `by_node` | which facts are about a node, noted many at a time |
//! | `turnstile` | the engine and the keeper write in turn |
//! | `read`, `travel` | facts by filter; the state as it was |
//! | `memory` | the same records in memory |
//!
//! Absent on purpose: a reserve of disk space. Nothing needs to be written for the journal to go on once there is space.

mod by_node;
pub mod codec;
mod fold;
mod keeper;
pub mod memory;
mod reached;
mod read;
mod recover;
mod salvage;
mod tables;
#[cfg(test)]
mod tests;
mod travel;
mod turnstile;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use thiserror::Error;
use tokio::sync::watch;

pub use self::read::{Filter, JournalReader, Keep};
pub use self::recover::Recovered;
pub use self::tables::FILE_NAME;
pub use self::travel::Past;

use self::codec::{Damage, EncodeError, Record};
use self::keeper::{Keeper, Snapshot, Taken};
use self::reached::Reached;
use self::travel::Known;
use self::turnstile::Turnstile;
use crate::fact::{ApplianceFact, Fact, Stamped};
use crate::model::{FactSeq, Place, UnixMs};
use crate::port::health::{JournalHealth, Writing};
use crate::state::State;

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
    /// A file of the state directory could not be moved or removed.
    #[error("the journal's files in {} could not be put in order: {source}; check that the state directory is writable", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Facts could not be written.
    #[error("the journal could not be written: {source}; check the free space of the state directory")]
    Append {
        /// The cause.
        source: rusqlite::Error,
    },
    /// Facts could not be read.
    #[error("the journal could not be read: {source}; restart the appliance, which saves what can be read")]
    Read {
        /// The cause.
        source: rusqlite::Error,
    },
    /// A record on the way to what was asked for is damaged.
    #[error(
        "record {seq} of the journal is damaged ({damage}), so what was after it cannot be known; ask for an earlier time, or for one after the next snapshot"
    )]
    Damaged {
        /// The record.
        seq: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// Facts were pruned and no snapshot stands for them.
    #[error(
        "the journal begins with fact {first}, and no snapshot of what was before it can be read; restore the state directory from a copy"
    )]
    NoSnapshot {
        /// The first fact.
        first: u64,
    },
    /// Nothing of a damaged file can be read.
    #[error("nothing can be read of the journal {} ({damage}); restore the state directory from a copy, or move the file away to begin anew", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: String,
    },
    /// A place before everything that is known.
    #[error(
        "the journal no longer knows {place}: it goes back to fact {seq}, {at}; '[journal] keep_days' and 'keep_facts' say how far it goes"
    )]
    TooEarly {
        /// What was asked for.
        place: Place,
        /// The earliest fact after which the state is known.
        seq: u64,
        /// When it was taken.
        at: UnixMs,
    },
    /// A fact that there is not yet.
    #[error("there is no fact {seq} yet; the last one is {last}")]
    NotYet {
        /// What was asked for.
        seq: u64,
        /// The last fact.
        last: u64,
    },
    /// A fact or a state could not be encoded.
    #[error("a fact or the state could not be encoded: {source}")]
    Encode {
        /// The cause.
        source: EncodeError,
    },
    /// The keeper's thread could not be started.
    #[error("the journal's keeper could not be started: {source}; check the limit of processes")]
    Thread {
        /// The cause.
        source: io::Error,
    },
}

impl JournalError {
    fn is_damage(&self) -> bool {
        match self {
            JournalError::Open { source, .. } | JournalError::Append { source } | JournalError::Read { source } => {
                tables::is_damage(source)
            }
            _ => false,
        }
    }
}

/// How often a snapshot is written, and how long facts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepPolicy {
    /// Facts between two snapshots.
    pub snapshot_every_facts: u64,
    /// Days that a fact is kept; nothing for any time.
    pub keep_days: Option<u64>,
    /// Facts that are kept; nothing for any number.
    pub keep_facts: Option<u64>,
}

impl Default for KeepPolicy {
    fn default() -> Self {
        KeepPolicy { snapshot_every_facts: 50_000, keep_days: None, keep_facts: None }
    }
}

/// The writer's side.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    policy: KeepPolicy,
    /// Before the connection, so that the one that is closed last is not the one that is interrupted: closing it moves the
    /// log into the file.
    keeper: Option<Keeper>,
    connection: Connection,
    reached: Reached,
    /// The last fact of the newest snapshot that was written or is being written.
    snapshot_seq: u64,
    /// Up to which fact the keeper has been asked to note the nodes.
    noted_seq: u64,
    health: Arc<watch::Sender<JournalHealth>>,
    turnstile: Arc<Turnstile>,
}

impl Journal {
    /// Opens the journal in `dir`, making it when it is not there. Its snapshots and retention are the default's.
    ///
    /// # Errors
    /// As [`Journal::open_with`].
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        Journal::open_with(dir, KeepPolicy::default())
    }

    /// Opens the journal in `dir`, making it when it is not there, and saving what can be read when it is damaged.
    ///
    /// # Errors
    /// When the file cannot be opened or made, is no journal of this version, or nothing of it can be read.
    pub fn open_with(dir: &Path, policy: KeepPolicy) -> Result<Self, JournalError> {
        salvage::finish(dir)?;
        let connection = match open_sound(dir) {
            Err(error) if error.is_damage() && is_sqlite(&tables::path_in(dir)) => {
                salvage::salvage(dir, &error.to_string())?;
                tables::open_writer(&tables::path_in(dir))?
            }
            opened => opened?,
        };
        let health = Arc::new(watch::Sender::new(JournalHealth::default()));
        let file = |source| JournalError::File { path: dir.join(reached::MARK_NAME), source };
        Ok(Journal {
            dir: dir.to_owned(),
            policy,
            keeper: None,
            connection,
            reached: Reached::open(dir).map_err(file)?,
            snapshot_seq: 0,
            noted_seq: 0,
            health,
            turnstile: Arc::default(),
        })
    }

    /// The state as the journal holds it. A damaged end is cut off; snapshots are written from now on.
    ///
    /// # Errors
    /// When the journal cannot be read, or not be put in order.
    pub fn recover(&mut self) -> Result<Recovered, JournalError> {
        let recovered = match recover::recover(&mut self.connection) {
            Err(error) if error.is_damage() => {
                let nothing = Connection::open_in_memory().map_err(|source| JournalError::Read { source })?;
                drop(std::mem::replace(&mut self.connection, nothing));
                salvage::salvage(&self.dir, &error.to_string())?;
                self.connection = tables::open_writer(&tables::path_in(&self.dir))?;
                recover::recover(&mut self.connection)?
            }
            recovered => recovered?,
        };
        let recovered = self.missed(recovered)?;
        let failed = |source| JournalError::Read { source };
        let newest = tables::snapshots(&self.connection, i64::MAX.unsigned_abs()).map_err(failed)?.first().copied();
        let known = Known::of(&self.connection).map_err(failed)?;
        let cuts = recover::cuts(&self.connection).map_err(failed)?;
        self.snapshot_seq = newest.map_or(0, |head| head.seq);
        self.noted_seq = by_node::noted(&self.connection).map_err(failed)?;
        self.health.send_replace(JournalHealth {
            last_seq: recovered.state.seq,
            known_from_seq: FactSeq(known.from),
            known_from: (known.from > 0).then_some(UnixMs(known.from_at_ms)),
            snapshot_seq: newest.map(|head| FactSeq(head.seq)),
            snapshot_at: newest.map(|head| UnixMs(head.at_ms)),
            cuts,
            ..JournalHealth::default()
        });
        self.keeper = Some(Keeper::start(&self.dir, self.policy, self.health.clone(), self.turnstile.clone())?);
        Ok(recovered)
    }

    /// Notices that the journal ends before what was acknowledged, and no damage that was found says why.
    fn missed(&mut self, mut recovered: Recovered) -> Result<Recovered, JournalError> {
        let file = |source| JournalError::File { path: self.dir.clone(), source };
        let last = recovered.state.seq;
        let reached = self.reached.read().unwrap_or(last);
        let is_told =
            |note: &ApplianceFact| matches!(note, ApplianceFact::JournalCut { last_good, .. } if *last_good == last);
        if reached > last && !recovered.notes.iter().any(is_told) {
            let kept_in = reached::keep_log(&self.dir).map_err(file)?.unwrap_or_default();
            recovered.notes = recover::note_missing(&mut self.connection, last, reached, &kept_in)?;
        }
        if reached != last {
            self.reached.write(last).map_err(file)?;
        }
        Ok(recovered)
    }

    /// Appends a batch; it is durable when this returns.
    ///
    /// # Errors
    /// When it could not be stored; none of it is in the journal then.
    pub fn append(&mut self, batch: &[Stamped<Fact>]) -> Result<(), JournalError> {
        let Some(last) = batch.last() else { return Ok(()) };
        let appended = self.store(batch);
        match &appended {
            Ok(()) => self.note_success(last.seq),
            Err(error) => self.note_refusal(error, last.at),
        }
        appended
    }

    fn store(&mut self, batch: &[Stamped<Fact>]) -> Result<(), JournalError> {
        let failed = |source| JournalError::Append { source };
        let encoded: Result<Vec<Record>, EncodeError> = batch.iter().map(Record::of).collect();
        let records = encoded.map_err(|source| JournalError::Encode { source })?;
        let _turn = self.turnstile.turn();
        let transaction = self.connection.transaction().map_err(failed)?;
        for (stamped, record) in batch.iter().zip(records) {
            tables::insert(&transaction, &record).map_err(failed)?;
            if matches!(stamped.fact, Fact::Appliance(ApplianceFact::JournalCut { .. })) {
                recover::told(&transaction).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)?;
        if let Some(last) = batch.last()
            && let Err(error) = self.reached.write(last.seq)
        {
            // The batch is durable all the same; only a damage that comes later could go unnoticed.
            tracing::debug!(%error, "how far the journal has come could not be noted");
        }
        Ok(())
    }

    fn note_success(&self, last: FactSeq) {
        self.health.send_if_modified(|health| {
            if health.writing != Writing::Ok {
                tracing::info!("the journal takes facts again");
                (health.writing, health.detail, health.refusing_since) = (Writing::Ok, None, None);
            }
            health.last_seq = last;
            true
        });
    }

    fn note_refusal(&self, error: &JournalError, at: UnixMs) {
        let writing = match error {
            JournalError::Append { source } => refusal(source),
            _ => Writing::Failing,
        };
        if writing == Writing::Damaged {
            salvage::ask_for_check(&self.dir);
        }
        self.health.send_modify(|health| {
            if health.writing != writing {
                let advice = writing.advice().unwrap_or_default();
                tracing::error!(%error, advice, "the journal takes no facts");
            }
            health.writing = writing;
            health.detail = writing.advice().map(|advice| format!("{advice} ({error})"));
            health.refusing_since.get_or_insert(at);
        });
    }

    /// Hands `state`, whose last fact was taken at `at`, over to be written as a snapshot when one is due. Costs a
    /// pointer: the writing is done elsewhere.
    pub fn keep(&mut self, state: &State, at: UnixMs) {
        let seq = state.seq.0;
        let snapshot = match seq.saturating_sub(self.snapshot_seq) >= self.policy.snapshot_every_facts {
            true => Snapshot::Due,
            false if seq.saturating_sub(self.noted_seq) >= by_node::FACTS_AT_ONCE => Snapshot::NotDue,
            false => return,
        };
        if self.keeper.as_ref().map(|keeper| keeper.offer(state, at, snapshot)) == Some(Taken::Yes) {
            self.noted_seq = seq;
            if snapshot == Snapshot::Due {
                self.snapshot_seq = seq;
            }
        }
    }

    /// How the journal does, now and from now on.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<JournalHealth> {
        self.health.subscribe()
    }
}

/// What a refusal of SQLite's means.
fn refusal(error: &rusqlite::Error) -> Writing {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Writing::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Writing::Damaged,
        _ => Writing::Failing,
    }
}

/// Opens the file, and looks through it where damage was met before. That pages are missing at its end SQLite says itself.
fn open_sound(dir: &Path) -> Result<Connection, JournalError> {
    let path = tables::path_in(dir);
    let failed = |source| JournalError::Open { path: path.clone(), source };
    let connection = tables::open_writer(&path)?;
    if salvage::check_is_wanted(dir) {
        if let Some(damage) = salvage::structure(&connection).map_err(failed)? {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(failed(rusqlite::Error::SqliteFailure(code, Some(damage))));
        }
        salvage::checked(dir)?;
    }
    Ok(connection)
}

/// A file that is no database at all is somebody else's, and not a damaged journal.
fn is_sqlite(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && &head == b"SQLite format 3\0"
}
