//! Snapshots, retention and time travel: whatever is kept, the state is the fold of the facts up to the moment asked for.

use proptest::prelude::*;

use super::story::{BEGIN, STEP_MS, node, stamped, state_after, story, time_of};
use super::{all, start};
use crate::journal::codec::{SNAPSHOT_FORMAT, Snapshot};
use crate::journal::tables::{forget_snapshot, insert_snapshot, snapshots};
use crate::journal::turnstile::Turnstile;
use crate::journal::{Filter, Journal, JournalError, JournalReader, KeepPolicy, by_node};
use crate::model::{FactSeq, Place, UnixMs};
use crate::state::compare::{Existence, compare};

/// A journal of `length` facts with snapshots after these of them.
fn journal_with(dir: &std::path::Path, length: u64, snapshots_after: &[u64]) -> Journal {
    let (mut journal, _) = start(dir);
    journal.append(&story(length)).unwrap();
    for seq in snapshots_after {
        let snapshot = Snapshot::of(&state_after(*seq), time_of(*seq)).unwrap();
        insert_snapshot(&journal.connection, &snapshot, &Turnstile::default()).unwrap();
    }
    journal
}

/// Hands states over as the engine does, and waits for each snapshot that is due.
fn run_with(dir: &std::path::Path, policy: KeepPolicy, length: u64) -> Journal {
    let mut journal = Journal::open_with(dir, policy).unwrap();
    let mut state = journal.recover().unwrap().state;
    let mut health = journal.health();
    let waiter = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seq in state.seq.0 + 1..=length {
        let stamped = stamped(seq);
        state.apply(&stamped);
        journal.append(std::slice::from_ref(&stamped)).unwrap();
        let due = seq - journal.snapshot_seq >= policy.snapshot_every_facts;
        while due && journal.snapshot_seq < seq {
            journal.keep(&state, stamped.at);
            std::thread::yield_now();
        }
        if due {
            waiter.block_on(health.wait_for(|health| health.snapshot_seq == Some(FactSeq(seq)))).unwrap();
        }
    }
    journal
}

#[test]
fn a_start_takes_the_newest_snapshot_and_the_facts_after_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(journal_with(dir.path(), 100, &[30, 60]));
    // What is before the snapshot is not needed, and not looked at.
    let connection = rusqlite::Connection::open(dir.path().join(crate::journal::FILE_NAME)).unwrap();
    connection.execute("UPDATE facts SET fact = '{' WHERE seq < 60", []).unwrap();
    let (_journal, recovered) = start(dir.path());
    assert_eq!(recovered.state, state_after(100));
    assert_eq!((recovered.at, recovered.notes.len()), (time_of(100), 0));
}

#[test]
fn a_snapshot_that_is_damaged_or_of_another_format_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal_with(dir.path(), 100, &[30, 60, 90]);
    let damage = "UPDATE snapshot_parts SET data = zeroblob(length(data)) WHERE seq = 60";
    journal.connection.execute(damage, []).unwrap();
    let foreign = Snapshot { format: SNAPSHOT_FORMAT + 1, ..Snapshot::of(&state_after(7), time_of(7)).unwrap() };
    forget_snapshot(&journal.connection, 90, &Turnstile::default()).unwrap();
    insert_snapshot(&journal.connection, &Snapshot { seq: 90, ..foreign }, &Turnstile::default()).unwrap();
    drop(journal);
    assert_eq!(start(dir.path()).1.state, state_after(100));
    let connection = rusqlite::Connection::open(dir.path().join(crate::journal::FILE_NAME)).unwrap();
    connection.execute("DELETE FROM snapshot_parts", []).unwrap();
    drop(connection);
    assert_eq!(start(dir.path()).1.state, state_after(100), "a full replay is left");
}

#[test]
fn a_snapshot_of_another_format_is_used_where_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal_with(dir.path(), 100, &[]);
    // As another version would have written it.
    let own = Snapshot::of(&state_after(50), time_of(50)).unwrap();
    insert_snapshot(&journal.connection, &own, &Turnstile::default()).unwrap();
    journal.connection.execute("DELETE FROM facts WHERE seq <= 50", []).unwrap();
    drop(journal);
    assert_eq!(start(dir.path()).1.state, state_after(100));
    let connection = rusqlite::Connection::open(dir.path().join(crate::journal::FILE_NAME)).unwrap();
    connection.execute("UPDATE snapshot_parts SET data = zeroblob(3)", []).unwrap();
    drop(connection);
    let refused = Journal::open(dir.path()).unwrap().recover().unwrap_err();
    assert!(matches!(refused, JournalError::NoSnapshot { first: 51 }), "{refused}");
}

#[test]
fn snapshots_are_written_while_facts_come_and_what_is_old_goes() {
    let dir = tempfile::tempdir().unwrap();
    let policy = KeepPolicy { snapshot_every_facts: 50, keep_days: None, keep_facts: Some(100) };
    let journal = run_with(dir.path(), policy, 1_000);
    let health = journal.health().borrow().clone();
    assert_eq!((health.snapshot_seq, health.last_seq), (Some(FactSeq(1_000)), FactSeq(1_000)));
    assert_eq!((health.known_from_seq, health.known_from), (FactSeq(900), Some(time_of(900))));
    assert_eq!(all(dir.path()).first().map(|stamped| stamped.seq), Some(FactSeq(901)));
    let kept: Vec<u64> = snapshots(&journal.connection, u64::MAX).unwrap().iter().map(|head| head.seq).collect();
    assert_eq!(kept, [1_000, 950, 900]);
    drop(journal);
    let (mut journal, recovered) = start(dir.path());
    assert_eq!(recovered.state, state_after(1_000));
    journal.append(&[stamped(1_001)]).unwrap();
    let reader = JournalReader::open(dir.path()).unwrap();
    assert_eq!(reader.state_at(Place::Seq(FactSeq(1_001))).unwrap().state, state_after(1_001));
    assert_eq!(reader.state_at(Place::Seq(FactSeq(900))).unwrap().state, state_after(900));
    for place in [Place::Seq(FactSeq(899)), Place::At(time_of(899))] {
        let refused = reader.state_at(place).unwrap_err().to_string();
        let from = format!("it goes back to fact 900, {}", time_of(900));
        assert!(refused.contains(&from), "{refused}");
    }
    assert_eq!(reader.state_at(Place::At(UnixMs(time_of(900).0 + 1))).unwrap().state, state_after(900));
}

#[test]
fn facts_that_are_too_old_go_by_their_age() {
    let dir = tempfile::tempdir().unwrap();
    let policy = KeepPolicy { snapshot_every_facts: 100, keep_days: Some(1), keep_facts: None };
    assert_eq!(run_with(dir.path(), policy, 400).health().borrow().known_from_seq, FactSeq(0), "nothing is old yet");
    let mut journal = Journal::open_with(dir.path(), policy).unwrap();
    let mut state = journal.recover().unwrap().state;
    let late = crate::fact::Stamped { at: UnixMs(time_of(350).0 + 86_400_000), ..stamped(401) };
    journal.append(std::slice::from_ref(&late)).unwrap();
    state.apply(&late);
    journal.snapshot_seq = 0;
    let mut health = journal.health();
    while journal.snapshot_seq == 0 {
        journal.keep(&state, late.at);
    }
    let waiter = tokio::runtime::Builder::new_current_thread().build().unwrap();
    waiter.block_on(health.wait_for(|health| health.snapshot_seq == Some(FactSeq(401)))).unwrap();
    assert_eq!(health.borrow().known_from_seq, FactSeq(300));
}

#[test]
fn a_place_that_is_not_there_yet_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = journal_with(dir.path(), 10, &[]);
    let reader = JournalReader::open(dir.path()).unwrap();
    let refused = reader.state_at(Place::Seq(FactSeq(11))).unwrap_err();
    assert!(matches!(refused, JournalError::NotYet { seq: 11, last: 10 }), "{refused}");
    assert_eq!(reader.state_at(Place::At(UnixMs(u64::MAX))).unwrap().state, state_after(10));
    assert_eq!(reader.state_at(Place::At(UnixMs(1))).unwrap().state, state_after(0), "before the first fact");
}

#[test]
fn a_damaged_record_of_the_past_is_named_and_what_is_after_the_next_snapshot_is_not_touched_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal_with(dir.path(), 100, &[50, 90]);
    journal.connection.execute("UPDATE facts SET at_ms = at_ms + 1 WHERE seq = 60", []).unwrap();
    let reader = JournalReader::open(dir.path()).unwrap();
    assert!(reader.state_at(Place::Seq(FactSeq(59))).is_ok());
    let refused = reader.state_at(Place::Seq(FactSeq(70))).unwrap_err();
    assert!(matches!(refused, JournalError::Damaged { seq: 60, .. }), "{refused}");
    assert_eq!(reader.state_at(Place::Seq(FactSeq(95))).unwrap().state, state_after(95));
    let told = all(dir.path())[59].fact.sentence();
    assert!(told.contains("record of this fact is damaged"), "{told}");
}

#[test]
fn two_states_differ_in_what_was_described_wanted_and_seen() {
    let (early, late) = (state_after(4), state_after(8));
    let changes = compare(&early, &late, None);
    let of = |number| changes.iter().find(|change| change.id == node(number)).unwrap();
    assert_eq!(of(2).change, Existence::Created);
    assert!(!of(2).described.iter().any(|field| field.to.as_deref().is_some_and(|to| to.contains("[1,2,3]"))));
    let password = of(2).described.iter().find(|field| field.path == "bmc.password").unwrap();
    assert_eq!((password.from.as_deref(), password.to.as_deref()), (None, Some("(sealed)")));
    let back = compare(&late, &early, Some(&[node(2)].into()));
    assert_eq!((back.len(), back[0].change), (1, Existence::Removed));
    assert_eq!(compare(&late, &late, None), []);
    let seen = compare(&state_after(5), &state_after(8), None);
    let power = seen.iter().flat_map(|node| &node.observed).find(|value| value.path == "power").unwrap();
    assert_eq!((power.from.as_deref(), power.to.as_deref()), (None, Some("off")));
}

#[test]
fn the_facts_of_a_node_are_found_whether_they_are_noted_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal_with(dir.path(), 90, &[]);
    let reader = JournalReader::open(dir.path()).unwrap();
    let found = || {
        let filter = Filter { nodes: vec![node(1)], limit: 1_000, ..Filter::default() };
        reader.read(&filter).unwrap().iter().map(|stamped| stamped.seq.0).collect::<Vec<_>>()
    };
    let expected: Vec<u64> =
        story(90).iter().filter(|stamped| stamped.fact.node() == Some(node(1))).map(|stamped| stamped.seq.0).collect();
    assert_eq!(found(), expected);
    for up_to in [40, 41, 90] {
        by_node::note(&journal.connection, up_to, &Turnstile::default(), &|| false).unwrap();
        assert_eq!((by_node::noted(&journal.connection).unwrap(), found()), (up_to, expected.clone()));
    }
    by_node::forget_up_to(&journal.connection, 50, &Turnstile::default(), &|| false).unwrap();
    let rows = "SELECT min(seq) FROM facts_by_node";
    let first: i64 = journal.connection.query_row(rows, [], |row| row.get(0)).unwrap();
    assert!(first > 50, "{first}");
    by_node::forget_after(&journal.connection, 80).unwrap();
    assert_eq!(by_node::noted(&journal.connection).unwrap(), 80);
    let late: Vec<u64> = expected.into_iter().filter(|seq| *seq > 50).collect();
    assert_eq!(found(), late, "what is after the mark is looked for among the facts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_state_at_any_moment_is_the_fold_of_the_facts_up_to_it(
        length in 1_u64..150,
        marks in proptest::collection::btree_set(1_u64..150, 0..4),
        asked in 0_u64..150,
        offset_ms in 0..STEP_MS,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let marks: Vec<u64> = marks.into_iter().filter(|mark| *mark <= length).collect();
        let _journal = journal_with(dir.path(), length, &marks);
        let reader = JournalReader::open(dir.path()).unwrap();
        let asked = asked.min(length);
        let expected = state_after(asked);
        prop_assert_eq!(&reader.state_at(Place::Seq(FactSeq(asked))).unwrap().state, &expected);
        let time = UnixMs(BEGIN + asked * STEP_MS + offset_ms);
        let past = reader.state_at(Place::At(time)).unwrap();
        prop_assert_eq!(&past.state, &expected);
        prop_assert_eq!(past.at, if asked == 0 { UnixMs(0) } else { time_of(asked) });
    }
}
