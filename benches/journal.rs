//! The journal at its design point: facts that become durable a second, and how long a start takes.
//!
//! `cargo bench --bench journal` prints figures of this machine, and asserts none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fleet;

use std::path::Path;
use std::time::{Duration, Instant};

use bootes::fact::{Fact, Stamped};
use bootes::journal::codec::Snapshot;
use bootes::journal::{Filter, Journal, JournalReader, KeepPolicy};
use bootes::model::limits::FACTS_PER_COMMIT_MAX;
use bootes::model::{FactSeq, Place, UnixMs};
use bootes::state::State;

const NODES: u64 = 10_000;
const FACTS: u64 = 1_000_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let facts: Vec<_> = fleet::facts(NODES, FACTS).collect();
    group_commit(&facts[..20_000], 64);
    group_commit(&facts[..200_000], FACTS_PER_COMMIT_MAX);
    let state = history(dir.path(), &facts);
    snapshot(&state);
    let node = *state.nodes.keys().next().unwrap();
    drop(facts);
    start(dir.path(), &state);
    start(dir.path(), &state);
    past(dir.path(), node);
}

fn said(what: &str, took: Duration, count: usize) {
    let a_second = count as f64 / took.as_secs_f64();
    println!("{what:<58} {:>9.1} ms  {a_second:>12.0} a second", took.as_secs_f64() * 1e3);
}

fn group_commit(facts: &[Stamped<Fact>], batch: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.recover().unwrap();
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for batch in facts.chunks(batch) {
        let began = Instant::now();
        journal.append(batch).unwrap();
        longest = longest.max(began.elapsed());
    }
    said(&format!("{} facts durable, {batch} a commit", facts.len()), began.elapsed(), facts.len());
    println!("{:<58} {:>9.1} ms", "  the longest commit", longest.as_secs_f64() * 1e3);
}

/// Appends as the engine does: fold, append, offer a snapshot.
fn history(dir: &Path, facts: &[Stamped<Fact>]) -> State {
    let mut journal = Journal::open_with(dir, KeepPolicy::default()).unwrap();
    let mut state = journal.recover().unwrap().state;
    let health = journal.health();
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    let mut snapshots = 0;
    for batch in facts.chunks(FACTS_PER_COMMIT_MAX) {
        for stamped in batch {
            state.apply(stamped);
        }
        let began = Instant::now();
        journal.append(batch).unwrap();
        longest = longest.max(began.elapsed());
        journal.keep(&state, batch.last().unwrap().at);
        let newest = health.borrow().snapshot_seq.map_or(0, |seq| seq.0);
        snapshots = snapshots.max(newest);
    }
    said("facts folded and durable, with snapshots", began.elapsed(), facts.len());
    println!("{:<58} {:>9.1} ms", "  the longest commit", longest.as_secs_f64() * 1e3);
    // A snapshot that is under way is finished, as an appliance that runs on would do.
    std::thread::sleep(Duration::from_secs(2));
    println!("{:<58} {:>9}", "  facts after the newest snapshot", FACTS - health.borrow().snapshot_seq.unwrap().0);
    drop(journal);
    let bytes = std::fs::metadata(dir.join(bootes::journal::FILE_NAME)).unwrap().len();
    println!("{:<58} {:>9} MiB", "  the file", bytes >> 20);
    state
}

fn snapshot(state: &State) {
    let began = Instant::now();
    let snapshot = Snapshot::of(state, UnixMs(1)).unwrap();
    said("a snapshot encoded (nodes)", began.elapsed(), state.nodes.len());
    println!("{:<58} {:>9} KiB of {} KiB", "  its size", snapshot.data.len() >> 10, snapshot.json_bytes >> 10);
    let began = Instant::now();
    assert_eq!(snapshot.open().unwrap(), *state);
    said("a snapshot decoded and compared (nodes)", began.elapsed(), state.nodes.len());
}

fn start(dir: &Path, expected: &State) {
    let began = Instant::now();
    let mut journal = Journal::open(dir).unwrap();
    let recovered = journal.recover().unwrap();
    said(&format!("a start with {FACTS} facts"), began.elapsed(), FACTS as usize);
    assert_eq!(recovered.state, *expected);
}

fn past(dir: &Path, node: bootes::model::NodeId) {
    let reader = JournalReader::open(dir).unwrap();
    let began = Instant::now();
    let past = reader.state_at(Place::Seq(FactSeq(FACTS / 2 - 1))).unwrap();
    said("the state as it was in the middle (nodes)", began.elapsed(), past.state.nodes.len());
    let filter = Filter { nodes: vec![node], limit: 200, ..Filter::default() };
    let began = Instant::now();
    let found = reader.read(&filter).unwrap();
    said("the events of one node", began.elapsed(), found.len());
    let filter = Filter { since: past.at, limit: 200, ..Filter::default() };
    let began = Instant::now();
    let found = reader.read(&filter).unwrap();
    said("the newest events since the middle", began.elapsed(), found.len());
}
