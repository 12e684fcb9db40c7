//! The journal on a real disk: order, durability, and what is damaged or foreign.

use super::*;
use crate::fact::{ApplianceFact, EngineEvent, EngineFact, MalformedFact};
use crate::model::NodeId;

fn started(seq: u64) -> Stamped<Fact> {
    let fact = Fact::Appliance(ApplianceFact::Started { version: format!("v{seq}") });
    Stamped { seq: FactSeq(seq), at: UnixMs(1_000 + seq), fact }
}

fn of_node(seq: u64, node: u128) -> Stamped<Fact> {
    let fact = Fact::Engine(EngineFact { node: NodeId(uuid::Uuid::from_u128(node)), event: EngineEvent::GoalReached });
    Stamped { seq: FactSeq(seq), at: UnixMs(1_000 + seq), fact }
}

fn all(journal: &Journal) -> Vec<Stamped<Fact>> {
    let mut found = Vec::new();
    journal.replay(|stamped| found.push(stamped)).unwrap();
    found
}

#[test]
fn what_was_appended_is_there_after_the_journal_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let facts = vec![started(1), of_node(2, 7), started(3)];
    Journal::open(dir.path()).unwrap().append(&facts).unwrap();
    assert_eq!(all(&Journal::open(dir.path()).unwrap()), facts);
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.append(&[started(1)]).unwrap();
    assert!(journal.append(&[started(2), started(1)]).is_err(), "a sequence number may not repeat");
    assert_eq!(all(&journal), [started(1)]);
    journal.append(&[started(2)]).unwrap();
}

#[test]
fn a_kill_in_the_middle_of_a_write_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    for seq in 1..=20 {
        journal.append(&[started(seq)]).unwrap();
    }
    // What a kill leaves behind: the files as they are, with the writer never closed, and half a record after them.
    let copy = tempfile::tempdir().unwrap();
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
        std::fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let wal = copy.path().join(format!("{FILE_NAME}-wal"));
    let mut bytes = std::fs::read(&wal).unwrap();
    bytes.extend_from_slice(&[0x55; 1000]);
    std::fs::write(&wal, bytes).unwrap();
    assert_eq!(all(&Journal::open(copy.path()).unwrap()).len(), 20);
}

#[test]
fn a_record_that_makes_no_sense_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.append(&[started(1), started(2)]).unwrap();
    journal.connection.execute("UPDATE facts SET fact = '{' WHERE seq = 2", []).unwrap();
    let error = journal.replay(|_| {}).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { seq: 2, .. }), "{error}");
    journal.connection.execute("DELETE FROM facts WHERE seq = 1", []).unwrap();
    assert!(matches!(journal.replay(|_| {}).unwrap_err(), JournalError::Damaged { seq: 2, .. }));
}

#[test]
fn a_foreign_file_is_not_taken_for_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "these are not the bytes of a database, and there are some of them")
        .unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Open { .. })));
    let other = tempfile::tempdir().unwrap();
    let connection = Connection::open(other.path().join(FILE_NAME)).unwrap();
    connection.execute_batch("PRAGMA user_version=7; CREATE TABLE t (x);").unwrap();
    assert!(matches!(Journal::open(other.path()), Err(JournalError::NotAJournal { .. })));
}

#[test]
fn a_reader_filters_by_node_kind_place_and_time_and_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.append(&[started(1), of_node(2, 7), of_node(3, 8), of_node(4, 7), started(5)]).unwrap();
    let reader = JournalReader::open(dir.path()).unwrap();
    let seqs = |filter: Filter| reader.read(&filter).unwrap().iter().map(|stamped| stamped.seq.0).collect::<Vec<_>>();
    let every = Filter { limit: 100, ..Filter::default() };
    assert_eq!(seqs(every.clone()), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(Filter { nodes: vec![NodeId(uuid::Uuid::from_u128(7))], ..every.clone() }), [2, 4]);
    assert_eq!(seqs(Filter { kind: Some("appliance".into()), ..every.clone() }), [1, 5]);
    assert_eq!(seqs(Filter { after: FactSeq(3), ..every.clone() }), [4, 5]);
    assert_eq!(seqs(Filter { since: UnixMs(1_004), ..every.clone() }), [4, 5]);
    assert_eq!(seqs(Filter { limit: 2, ..every }), [4, 5]);
}

#[test]
fn a_fact_of_an_unknown_sender_survives_with_quotes_and_newlines() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let fact = Fact::Malformed(MalformedFact {
        service: "tftp".into(),
        sender: "10.0.0.1'; DROP TABLE facts; --".into(),
        reason: "line\n\"quoted\"\u{0}".into(),
    });
    let stamped = Stamped { seq: FactSeq(1), at: UnixMs(1), fact };
    journal.append(std::slice::from_ref(&stamped)).unwrap();
    assert_eq!(all(&journal), [stamped]);
}
