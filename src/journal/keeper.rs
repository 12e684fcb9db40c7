//! The journal's keeper: a thread that writes snapshots, prunes what is old, and looks once through the whole file.
//!
//! It has a connection of its own, and holds the file in short transactions only, so that the engine never waits for
//! it longer than one piece of a snapshot takes.
//!
//! Invariants: a fact goes only when two snapshots cover it that were read back and found good, so that one of them may
//! rot; what is not finished when the appliance stops is as if it had not been begun.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::watch;

use super::codec::{Record, SNAPSHOT_FORMAT};
use super::tables::{self, RECORD, stored};
use super::travel::Known;
use super::turnstile::Turnstile;
use super::{JournalError, KeepPolicy, by_node, codec, salvage};
use crate::model::{FactSeq, UnixMs};
use crate::port::health::JournalHealth;
use crate::state::State;

/// How long after a start the whole file is looked through: then whoever waited for the start has been served.
const CHECK_AFTER: Duration = Duration::from_secs(60);
/// Facts that are pruned in one turn, or looked at before a pause.
const FACTS_AT_ONCE: u64 = 2_000;
/// Between two looks, so that they do not take a processor for themselves.
const PAUSE: Duration = Duration::from_millis(2);
const DAY_MS: u64 = 86_400_000;

/// The keeper, as the journal holds it.
pub(super) struct Keeper {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    interrupt: InterruptHandle,
}

impl Keeper {
    /// Starts the keeper of the journal in `dir`.
    pub(super) fn start(
        dir: &Path,
        policy: KeepPolicy,
        health: Arc<watch::Sender<JournalHealth>>,
        turnstile: Arc<Turnstile>,
    ) -> Result<Self, JournalError> {
        let path = tables::path_in(dir);
        let connection = tables::open_writer(&path)?;
        let interrupt = connection.get_interrupt_handle();
        let stop = Arc::new(AtomicBool::new(false));
        let (jobs, queue) = sync_channel(0);
        let work = Work { dir: dir.to_owned(), connection, policy, health, turnstile, stop: stop.clone() };
        let thread = std::thread::Builder::new().name("journal-keeper".into()).spawn(move || work.run(&queue));
        let thread = thread.map_err(|source| JournalError::Thread { source })?;
        Ok(Keeper { jobs: Some(jobs), thread: Some(thread), stop, interrupt })
    }

    /// Hands a state over to be written, unless the keeper is at work already.
    pub(super) fn offer(&self, state: &State, at: UnixMs, snapshot: Snapshot) -> Taken {
        let Some(jobs) = &self.jobs else { return Taken::No };
        match jobs.try_send(Box::new((state.clone(), at, snapshot))) {
            Ok(()) => Taken::Yes,
            Err(_) => Taken::No,
        }
    }
}

/// A state, when its last fact was taken, and whether it is to be written.
type Job = Box<(State, UnixMs, Snapshot)>;

/// Whether a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// It is.
    Due,
    /// Only the nodes of the facts are to be noted.
    NotDue,
}

/// Whether the keeper has taken a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It writes it now.
    Yes,
    /// It is at work.
    No,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        self.interrupt.interrupt();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported already.
            let _ = thread.join();
        }
    }
}

struct Work {
    dir: PathBuf,
    connection: Connection,
    policy: KeepPolicy,
    health: Arc<watch::Sender<JournalHealth>>,
    turnstile: Arc<Turnstile>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self, queue: &Receiver<Job>) {
        self.tell(self.sweep(), "what was left of an unfinished snapshot stays");
        let mut check_at = Some(Instant::now() + CHECK_AFTER);
        loop {
            let wait = check_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            match queue.recv_timeout(wait) {
                Ok(job) => {
                    let (state, at, snapshot) = *job;
                    // The snapshot first: a start waits for it, and nothing for the other.
                    if snapshot == Snapshot::Due {
                        self.tell(self.keep(&state, at), "no snapshot was written; the next start takes longer");
                    }
                    let consequence = "the facts of the nodes were not noted; events of a node take longer";
                    self.tell(self.note(state.seq.0), consequence);
                }
                Err(RecvTimeoutError::Timeout) => {
                    check_at = None;
                    self.check();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, done: Result<(), JournalError>, consequence: &'static str) {
        match done {
            Err(error) if !self.stopped() => tracing::warn!(%error, consequence, "the journal's keeper could not work"),
            _ => {}
        }
    }

    /// Notes which facts are about which node.
    fn note(&self, up_to: u64) -> Result<(), JournalError> {
        let noted = by_node::note(&self.connection, up_to, &self.turnstile, &|| self.stopped());
        noted.map_err(|source| JournalError::Append { source })
    }

    /// Removes what a stop in the middle of a snapshot left behind.
    fn sweep(&self) -> Result<(), JournalError> {
        let sql = "DELETE FROM snapshot_parts WHERE seq NOT IN (SELECT seq FROM snapshots)";
        let _turn = self.turnstile.turn();
        self.connection.execute(sql, []).map(|_| ()).map_err(|source| JournalError::Append { source })
    }

    /// Writes a snapshot, then prunes.
    fn keep(&self, state: &State, at: UnixMs) -> Result<(), JournalError> {
        let failed = |source| JournalError::Append { source };
        let snapshot = codec::Snapshot::of(state, at).map_err(|source| JournalError::Encode { source })?;
        tables::insert_snapshot(&self.connection, &snapshot, &self.turnstile).map_err(failed)?;
        tracing::info!(seq = snapshot.seq, bytes = snapshot.data.len(), "a snapshot of the state was written");
        let pruned = self.prune(snapshot.seq, at);
        let known = Known::of(&self.connection).map_err(|source| JournalError::Read { source })?;
        self.health.send_modify(|health| {
            health.snapshot_seq = Some(FactSeq(snapshot.seq));
            health.snapshot_at = Some(at);
            health.known_from_seq = FactSeq(known.from);
            health.known_from = (known.from > 0).then_some(UnixMs(known.from_at_ms));
        });
        pruned.map_err(failed)
    }

    /// Prunes the facts that the policy no longer wants, up to the newest snapshot that covers them all.
    fn prune(&self, newest: u64, now: UnixMs) -> rusqlite::Result<()> {
        let by_count = self.policy.keep_facts.map(|facts| newest.saturating_sub(facts));
        let by_age = match self.policy.keep_days {
            Some(days) => {
                let oldest = UnixMs(now.0.saturating_sub(days.saturating_mul(DAY_MS)));
                super::travel::last_fact_at(&self.connection, oldest)?
            }
            None => None,
        };
        let Some(horizon) = by_count.max(by_age).filter(|horizon| *horizon > 0) else { return Ok(()) };
        if tables::snapshot(&self.connection, newest)?.check().is_err() {
            tracing::error!(newest, "the snapshot that was just written reads back damaged; nothing is pruned");
            return Ok(());
        }
        let heads = tables::snapshots(&self.connection, horizon.min(newest.saturating_sub(1)))?;
        let good = |seq| Ok::<_, rusqlite::Error>(tables::snapshot(&self.connection, seq)?.open().is_ok());
        let mut floor = None;
        for head in heads.iter().filter(|head| head.format == SNAPSHOT_FORMAT) {
            if good(head.seq)? {
                floor = Some(head.seq);
                break;
            }
        }
        let Some(floor) = floor else { return Ok(()) };
        for head in heads.iter().filter(|head| head.seq < floor) {
            tables::forget_snapshot(&self.connection, head.seq, &self.turnstile)?;
        }
        self.prune_facts(floor)?;
        by_node::forget_up_to(&self.connection, floor, &self.turnstile, &|| self.stopped())
    }

    fn prune_facts(&self, up_to: u64) -> rusqlite::Result<()> {
        let Some((first, _)) = tables::bounds(&self.connection)? else { return Ok(()) };
        let mut from = first;
        while from <= up_to && !self.stopped() {
            let end = up_to.min(from + FACTS_AT_ONCE - 1);
            let _turn = self.turnstile.turn();
            self.connection.execute("DELETE FROM facts WHERE seq <= ?1", [stored(end)])?;
            from = end + 1;
        }
        if first <= up_to {
            tracing::info!(first, up_to, "old facts were pruned from the journal");
        }
        Ok(())
    }

    /// Looks through the whole file: its structure, then the checksum of every record.
    fn check(&mut self) {
        let found = match self.check_structure() {
            Ok(None) => self.check_records(),
            other => other,
        };
        match found {
            Ok(None) => {}
            Ok(Some(damage)) => {
                tracing::error!(damage, "the journal's file is damaged");
                self.health.send_modify(|health| health.damage = Some(damage));
            }
            Err(_) if self.stopped() => {}
            Err(error) => tracing::warn!(%error, "the journal's file could not be looked through"),
        }
    }

    fn check_structure(&self) -> rusqlite::Result<Option<String>> {
        match salvage::structure(&self.connection) {
            Ok(None) => Ok(None),
            Ok(Some(damage)) => {
                salvage::ask_for_check(&self.dir);
                Ok(Some(format!("{damage}; restart the appliance, which saves what can be read")))
            }
            Err(error) => Err(error),
        }
    }

    fn check_records(&self) -> rusqlite::Result<Option<String>> {
        let sql = format!("SELECT {RECORD} FROM facts WHERE seq > ?1 ORDER BY seq LIMIT {FACTS_AT_ONCE}");
        let mut last = 0;
        let mut bad: Vec<u64> = Vec::new();
        loop {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let read = |row: &rusqlite::Row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), tables::record(row).ok()));
            let records: Vec<(u64, Option<Record>)> =
                statement.query_map([stored(last)], read)?.collect::<Result<_, _>>()?;
            let Some((end, _)) = records.last() else { break };
            last = *end;
            let sound = |record: &Option<Record>| record.as_ref().is_some_and(Record::is_sound);
            bad.extend(records.iter().filter(|(_, record)| !sound(record)).map(|(seq, _)| *seq));
            if self.stopped() {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(bad.first().map(|first| {
            format!("{} records are damaged, the first is {first}: the state between the snapshots around them can no longer be asked for", bad.len())
        }))
    }
}
