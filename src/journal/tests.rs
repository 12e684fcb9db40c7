//! The journal on a real disk: order, durability, and what is damaged or foreign.

mod damage;
mod past;
mod story;

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

/// Every fact, as a reader sees them.
fn all(dir: &Path) -> Vec<Stamped<Fact>> {
    JournalReader::open(dir).unwrap().read(&Filter { limit: 100_000, ..Filter::default() }).unwrap()
}

/// Opens a journal and takes its state, as a start does.
fn start(dir: &Path) -> (Journal, Recovered) {
    let mut journal = Journal::open(dir).unwrap();
    let recovered = journal.recover().unwrap();
    (journal, recovered)
}

#[test]
fn what_was_appended_is_there_after_the_journal_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let facts = vec![started(1), of_node(2, 7), started(3)];
    Journal::open(dir.path()).unwrap().append(&facts).unwrap();
    let (_journal, recovered) = start(dir.path());
    assert_eq!((all(dir.path()), recovered.state.seq), (facts, FactSeq(3)));
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.append(&[started(1)]).unwrap();
    assert!(journal.append(&[started(2), started(1)]).is_err(), "a sequence number may not repeat");
    assert_eq!(all(dir.path()), [started(1)]);
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
    assert_eq!(start(copy.path()).1.state.seq, FactSeq(20));
    assert_eq!(all(copy.path()).len(), 20);
}

#[test]
fn a_foreign_file_is_not_taken_for_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "these are not the bytes of a database, and there are some of them")
        .unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Lost { .. })));
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
    assert_eq!(seqs(Filter { kinds: vec!["appliance".into()], ..every.clone() }), [1, 5]);
    let two = |other: &str| Filter { kinds: vec!["appliance".into(), other.into()], ..every.clone() };
    assert_eq!((seqs(two("engine")), seqs(two("power"))), (vec![1, 2, 3, 4, 5], vec![1, 5]));
    assert_eq!(seqs(Filter { after: FactSeq(3), ..every.clone() }), [4, 5]);
    assert_eq!(seqs(Filter { since: UnixMs(1_004), ..every.clone() }), [4, 5]);
    assert_eq!(seqs(Filter { until: Some(UnixMs(1_002)), ..every.clone() }), [1, 2]);
    assert_eq!(seqs(Filter { since: UnixMs(1_002), until: Some(UnixMs(1_003)), ..every.clone() }), [2, 3]);
    assert_eq!(seqs(Filter { since: UnixMs(9_999), ..every.clone() }), [0; 0]);
    assert_eq!(seqs(Filter { last: Some(FactSeq(2)), ..every.clone() }), [1, 2]);
    assert_eq!(seqs(Filter { limit: 2, keep: Keep::Oldest, ..every.clone() }), [1, 2]);
    assert_eq!(seqs(Filter { limit: 2, ..every.clone() }), [4, 5]);
    let some = Filter { since: UnixMs(1_002), until: Some(UnixMs(1_004)), kinds: vec!["engine".into()], ..every };
    let passing: Vec<u64> = all(dir.path()).iter().filter(|s| some.passes(s)).map(|s| s.seq.0).collect();
    assert_eq!((seqs(some), passing), (vec![2, 3, 4], vec![2, 3, 4]));
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
    assert_eq!(all(dir.path()), [stamped]);
}

#[test]
fn a_journal_in_memory_keeps_whole_batches_as_long_as_there_is_space() {
    let mut journal = memory::MemoryJournal::default();
    journal.capacity = Some(30);
    let facts = story::story(40);
    journal.append(&facts[..25]).unwrap();
    assert!(matches!(journal.append(&facts[25..]), Err(memory::MemoryError::Full)));
    assert_eq!(journal.replay().unwrap(), story::state_after(25));
    journal.snapshot(&story::state_after(25), UnixMs(1)).unwrap();
    assert!(journal.is_empty());
    journal.append(&facts[25..]).unwrap();
    assert_eq!(journal.replay().unwrap(), story::state_after(40));
}

#[test]
fn a_full_disk_refuses_facts_says_so_and_takes_them_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = start(dir.path());
    let health = journal.health();
    journal.append(&story::story(10)).unwrap();
    let pages: i64 = journal.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    journal.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
    let mut next = 11;
    let refused = loop {
        match journal.append(&[story::stamped(next)]) {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Append { .. }), "{refused}");
    {
        let health = health.borrow();
        assert_eq!((health.writing, health.last_seq), (Writing::Full, FactSeq(next - 1)));
        assert_eq!(health.refusing_since, Some(story::time_of(next)));
        assert!(health.detail.as_ref().unwrap().contains("no space left"), "{health:?}");
    }
    assert_eq!(all(dir.path()).len() as u64, next - 1, "what was acknowledged can be read meanwhile");
    journal.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    journal.append(&[story::stamped(next)]).unwrap();
    assert_eq!(health.borrow().writing, Writing::Ok);
    assert_eq!(health.borrow().detail, None);
    drop(journal);
    assert_eq!(start(dir.path()).1.state, story::state_after(next));
}

proptest::proptest! {
    #[test]
    fn a_record_with_any_bit_turned_is_found(seq in 1_u64..200, byte in 0_usize..10_000, bit in 0_u8..8) {
        let record = codec::Record::of(&story::stamped(seq)).unwrap();
        proptest::prop_assert_eq!(record.open().unwrap(), story::stamped(seq));
        let mut bytes = record.fact.clone().into_bytes();
        let at = byte % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(fact) = String::from_utf8(bytes) {
            let turned = codec::Record { fact, ..record };
            proptest::prop_assert_eq!(turned.open().unwrap_err(), Damage::Checksum);
        }
    }

    #[test]
    fn a_snapshot_with_any_bit_turned_is_found(seq in 0_u64..200, byte in 0_usize..100_000, bit in 0_u8..8) {
        let state = story::state_after(seq);
        let mut snapshot = codec::Snapshot::of(&state, UnixMs(7)).unwrap();
        proptest::prop_assert_eq!(&snapshot.open().unwrap(), &state);
        let at = byte % snapshot.data.len();
        snapshot.data[at] ^= 1 << bit;
        proptest::prop_assert_eq!(snapshot.open().unwrap_err(), Damage::Checksum);
    }
}

/// The names and kinds of the fields of a JSON value, one a line: two values of one shape have the same.
fn note_shape(path: &str, json: &serde_json::Value, shape: &mut std::collections::BTreeMap<String, &'static str>) {
    use serde_json::Value;
    let kind = match json {
        Value::Null => "nothing",
        Value::Bool(_) => "yes or no",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    };
    shape.insert(path.to_owned(), kind);
    match json {
        Value::Array(items) => items.iter().for_each(|item| note_shape(&format!("{path}[]"), item, shape)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !VARIABLES.contains(&&**name);
                note_shape(&format!("{path}.{}", if plain { name } else { "*" }), field, shape);
            }
        }
        _ => {}
    }
}

/// Keys of maps with free keys that look like fields.
const VARIABLES: [&str; 5] = ["power", "run", "boot", "rack", "busy"];

#[test]
fn what_a_snapshot_holds_changes_only_with_its_format() {
    let mut shape = std::collections::BTreeMap::new();
    note_shape("", &serde_json::to_value(story::state_after(60)).unwrap(), &mut shape);
    let lines: String = shape.into_iter().map(|(path, kind)| format!("{path}: {kind}\n")).collect();
    let got = format!("format {}\n{lines}", codec::SNAPSHOT_FORMAT);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/journal/tests/shape.txt");
    if std::env::var_os("BOOTES_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, &got).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        got, wanted,
        "the state holds something else than before: raise SNAPSHOT_FORMAT in src/journal/codec.rs once it was released with the \
         old one, and write this file anew with BOOTES_UPDATE_GOLDEN=1"
    );
}

#[test]
fn turns_are_given_in_the_order_in_which_they_were_asked_for() {
    let turnstile = Turnstile::default();
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let first = turnstile.turn();
        let mut asked = 1;
        for number in 0..5 {
            let (turnstile, told) = (&turnstile, told.clone());
            scope.spawn(move || {
                let _turn = turnstile.turn();
                told.send(number).unwrap();
            });
            asked += 1;
            while turnstile.asked() < asked {
                std::thread::yield_now();
            }
        }
        drop(first);
    });
    drop(told);
    assert_eq!(heard.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}
