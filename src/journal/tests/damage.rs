//! Crashes and damage: whatever is cut off or turned over, the state is that of a prefix, and nothing is lost silently.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::story::{stamped, state_after, story, time_of};
use super::{all, start};
use crate::fact::{ApplianceFact, Fact, Stamped};
use crate::journal::codec::Snapshot;
use crate::journal::reached::MARK_NAME;
use crate::journal::tables::insert_snapshot;
use crate::journal::turnstile::Turnstile;
use crate::journal::{FILE_NAME, Journal, JournalError};
use crate::model::FactSeq;

/// Appends the story in batches, with a snapshot after these facts.
fn write(dir: &Path, length: u64, batch: usize, snapshots_after: &[u64]) -> Journal {
    let (mut journal, _) = start(dir);
    for batch in story(length).chunks(batch) {
        journal.append(batch).unwrap();
        let last = batch.last().unwrap().seq.0;
        for seq in snapshots_after.iter().filter(|seq| last - (batch.len() as u64) < **seq && **seq <= last) {
            let snapshot = Snapshot::of(&state_after(*seq), time_of(*seq)).unwrap();
            insert_snapshot(&journal.connection, &snapshot, &Turnstile::default()).unwrap();
        }
    }
    journal
}

/// The files as a kill would leave them: copied while the journal is open.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal"), MARK_NAME.to_owned()] {
        if dir.join(&name).exists() {
            fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
        }
    }
    copy
}

/// A closed journal: everything is in the one file.
fn closed(length: u64, snapshots_after: &[u64]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(write(dir.path(), length, 10, snapshots_after));
    assert!(!dir.path().join(format!("{FILE_NAME}-wal")).exists());
    dir
}

fn damaged_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".damaged-")).collect()
}

#[test]
fn a_damaged_record_ends_the_journal_there_and_what_is_cut_off_is_kept_and_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = write(dir.path(), 40, 10, &[10]);
    journal.connection.execute("UPDATE facts SET fact = replace(fact, 'e', 'f') WHERE seq = 31", []).unwrap();
    drop(journal);
    let (journal, recovered) = start(dir.path());
    assert_eq!(recovered.state, state_after(30));
    let [note @ ApplianceFact::JournalCut { last_good, records, reason, kept_in }] = recovered.notes.as_slice() else {
        panic!("{:?}", recovered.notes);
    };
    assert_eq!((*last_good, *records), (FactSeq(30), Some(10)));
    assert_eq!(reason, "record 31 is damaged: its checksum is wrong");
    assert_eq!(kept_in, "table cut_facts of journal.sqlite, cut 1");
    let kept: i64 =
        journal.connection.query_row("SELECT count(*) FROM cut_facts WHERE cut = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 10);
    assert_eq!(journal.health().borrow().cuts, 1);
    drop(journal);
    let (mut journal, again) = start(dir.path());
    assert_eq!(again.notes.len(), 1, "what was not journaled is told again");
    let told = Stamped { seq: FactSeq(31), at: time_of(31), fact: Fact::Appliance(note.clone()) };
    journal.append(std::slice::from_ref(&told)).unwrap();
    drop(journal);
    let (_journal, last) = start(dir.path());
    assert_eq!((last.notes.len(), last.state.seq), (0, FactSeq(31)));
}

#[test]
fn a_missing_record_ends_the_journal_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = write(dir.path(), 40, 10, &[]);
    journal.connection.execute("DELETE FROM facts WHERE seq = 21", []).unwrap();
    drop(journal);
    let (_journal, recovered) = start(dir.path());
    assert_eq!(recovered.state, state_after(20));
    let told = Fact::Appliance(recovered.notes[0].clone()).sentence();
    assert!(told.contains("cut 19 records after fact 20: record 22 is damaged: it follows record 20"), "{told}");
}

#[test]
fn a_file_with_missing_pages_is_saved_up_to_its_last_good_record_and_kept_aside() {
    let dir = closed(400, &[100]);
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() * 3 / 4]).unwrap();
    let (mut journal, recovered) = start(dir.path());
    let seq = recovered.state.seq.0;
    assert!((100..400).contains(&seq), "{seq}");
    assert_eq!(recovered.state, state_after(seq));
    assert_eq!(damaged_files(dir.path()), ["journal.sqlite.damaged-1"]);
    assert_eq!(fs::read(dir.path().join("journal.sqlite.damaged-1")).unwrap(), &whole[..whole.len() * 3 / 4]);
    let told = Fact::Appliance(recovered.notes[0].clone()).sentence();
    assert!(told.contains("kept in journal.sqlite.damaged-1") && told.contains("the file is damaged"), "{told}");
    journal.append(&[stamped(seq + 1)]).unwrap();
    drop(journal);
    assert_eq!(start(dir.path()).1.state, state_after(seq + 1));
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_left_where_it_is() {
    let dir = closed(50, &[]);
    let path = dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..].fill(0x55);
    fs::write(&path, &bytes).unwrap();
    let refused = Journal::open(dir.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Lost { .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_change_of_files_that_was_interrupted_is_gone_on_with() {
    let dir = closed(400, &[100]);
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() * 3 / 4]).unwrap();
    let (journal, recovered) = start(dir.path());
    drop(journal);
    // As if the kill had come right before the new file took the journal's name, and then before the old one lost it.
    let aside = dir.path().join("journal.sqlite.damaged-1");
    fs::rename(&path, dir.path().join("journal.sqlite.saved")).unwrap();
    assert_eq!(start(dir.path()).1.state, recovered.state);
    fs::rename(&path, dir.path().join("journal.sqlite.saved")).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(start(dir.path()).1.state, recovered.state);
    assert_eq!(damaged_files(dir.path()), ["journal.sqlite.damaged-1"]);
}

#[test]
fn a_journal_that_meets_damage_while_it_runs_is_looked_through_at_the_next_start() {
    let dir = closed(400, &[]);
    let path = dir.path().join(FILE_NAME);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'facts_by_time'";
    let page: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    drop(connection);
    let mut file = fs::read(&path).unwrap();
    let at = usize::try_from((page - 1) * bytes).unwrap();
    file[at..at + 64].fill(0xff);
    fs::write(&path, file).unwrap();
    let (mut journal, recovered) = start(dir.path());
    assert_eq!(recovered.state, state_after(400), "an index is not needed for a start");
    let refused = journal.append(&[stamped(401)]).unwrap_err();
    assert_eq!(journal.health().borrow().writing, crate::port::health::Writing::Damaged, "{refused}");
    drop(journal);
    let (mut journal, recovered) = start(dir.path());
    assert_eq!(recovered.state, state_after(400));
    assert_eq!(damaged_files(dir.path()), ["journal.sqlite.damaged-1"]);
    journal.append(&[stamped(401)]).unwrap();
    assert_eq!(all(dir.path()).len(), 401);
}

#[test]
fn a_log_that_was_damaged_is_kept_aside_and_what_is_missing_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = write(dir.path(), 200, 10, &[]);
    let copy = copy_of(dir.path());
    let wal = copy.path().join(format!("{FILE_NAME}-wal"));
    let mut bytes = fs::read(&wal).unwrap();
    let quarter = bytes.len() / 4;
    bytes[quarter..quarter + 4].fill(0x55);
    fs::write(&wal, &bytes).unwrap();
    let (mut journal, recovered) = start(copy.path());
    let seq = recovered.state.seq.0;
    assert!(seq < 200);
    assert_eq!(journal.health().borrow().cuts, 1);
    let [note @ ApplianceFact::JournalCut { last_good, records, kept_in, .. }] = recovered.notes.as_slice() else {
        panic!("{:?}", recovered.notes);
    };
    assert_eq!((last_good.0, *records, kept_in.as_str()), (seq, Some(200 - seq), "journal.sqlite-wal.damaged-1"));
    assert_eq!(fs::read(copy.path().join(kept_in)).unwrap(), bytes);
    let told = Stamped { seq: FactSeq(seq + 1), at: time_of(seq + 1), fact: Fact::Appliance(note.clone()) };
    journal.append(std::slice::from_ref(&told)).unwrap();
    drop(journal);
    assert!(start(copy.path()).1.notes.is_empty());
}

#[test]
fn a_batch_that_was_never_acknowledged_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = write(dir.path(), 40, 10, &[]);
    let copy = copy_of(dir.path());
    // As a power failure leaves it: the log has more than the mark, which was not flushed.
    journal.reached.write(FactSeq(30)).unwrap();
    fs::copy(dir.path().join(MARK_NAME), copy.path().join(MARK_NAME)).unwrap();
    let (journal, recovered) = start(copy.path());
    assert_eq!((recovered.state.seq, recovered.notes.len()), (FactSeq(40), 0));
    assert_eq!(journal.reached.read(), Some(FactSeq(40)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_log_that_is_cut_anywhere_gives_a_prefix_of_whole_batches(
        length in 1_u64..120,
        batch in 1_usize..20,
        mark in 1_u64..120,
        cut in 0.0_f64..1.0,
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let _journal = write(dir.path(), length, batch, &[mark]);
        let copy = copy_of(dir.path());
        let wal = copy.path().join(format!("{FILE_NAME}-wal"));
        let mut bytes = fs::read(&wal).unwrap();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        bytes.extend_from_slice(&garbage);
        fs::write(&wal, bytes).unwrap();
        let (mut journal, recovered) = start(copy.path());
        let seq = recovered.state.seq.0;
        prop_assert!(seq <= length && (seq == length || seq.is_multiple_of(batch as u64)), "{}", seq);
        prop_assert_eq!(&recovered.state, &state_after(seq));
        prop_assert_eq!(recovered.notes.is_empty(), seq == length, "what was acknowledged is missing without a word");
        prop_assert!(seq == length || cut * 100.0 < 1.0 || damaged_files(copy.path()).len() == 1);
        journal.append(&[stamped(seq + 1)]).unwrap();
        drop(journal);
        prop_assert_eq!(start(copy.path()).1.state, state_after(seq + 1));
    }

    #[test]
    fn a_file_that_is_cut_or_overwritten_anywhere_gives_a_prefix_or_a_plain_refusal(
        length in 50_u64..300,
        marks in proptest::collection::btree_set(1_u64..300, 0..3),
        place in 0.0_f64..1.0,
        damage in prop_oneof![
            Just(None),
            proptest::collection::vec(any::<u8>(), 1..6_000).prop_map(Some),
        ],
    ) {
        let marks: Vec<u64> = marks.into_iter().collect();
        let dir = closed(length, &marks);
        let path = dir.path().join(FILE_NAME);
        let mut bytes = fs::read(&path).unwrap();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (bytes.len() as f64 * place) as usize;
        match damage {
            None => bytes.truncate(at),
            Some(over) => {
                let end = bytes.len().min(at + over.len());
                bytes[at..end].copy_from_slice(&over[..end - at]);
            }
        }
        fs::write(&path, &bytes).unwrap();
        let started = Journal::open(dir.path()).and_then(|mut journal| {
            let recovered = journal.recover()?;
            Ok((journal, recovered))
        });
        match started {
            Ok((journal, recovered)) => {
                let seq = recovered.state.seq.0;
                prop_assert!(seq <= length);
                prop_assert_eq!(&recovered.state, &state_after(seq));
                let told = !recovered.notes.is_empty();
                prop_assert!(told || seq == length || bytes.is_empty(), "{} of {} facts without a word", seq, length);
                let seq = recovered.state.seq;
                drop(journal);
                prop_assert_eq!(start(dir.path()).1.state.seq, seq, "the same again");
            }
            Err(error) => {
                let plain = ["nothing can be read of the journal", "damaged", "cannot open the journal", "is not a journal", "could not be read", "no snapshot"];
                let text = error.to_string();
                prop_assert!(plain.iter().any(|word| text.contains(word)), "{}", text);
                prop_assert_eq!(fs::read(&path).unwrap(), bytes, "what cannot be read is left as it is");
            }
        }
    }
}
