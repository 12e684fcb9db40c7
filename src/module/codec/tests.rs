//! The protocol's lines: what is read, what is refused and how, and that nothing makes the reader panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(line: &serde_json::Value) -> Result<FromModule, LineError> {
    decode(line.to_string().as_bytes())
}

fn id(n: u64) -> RequestId {
    RequestId(n)
}

#[test]
fn messages_to_a_module_are_written_as_they_are_documented() {
    let node: NodeCard = serde_json::from_value(json!({
        "id": "00000000-0000-0000-0000-000000000007", "name": "n7", "ip": "10.0.0.7", "labels": {"rack": "r1"},
        "bmc": {"driver": "ipmi", "address": "10.0.1.7:623", "user": "admin", "password": "calvin"},
        "desired": {"lamp.light": "on"}, "observed": {"power": "on"},
    }))
    .unwrap();
    let config = serde_json::Map::from_iter([("every_s".to_owned(), json!(60))]);
    let card = concat!(
        r#"{"id":"00000000-0000-0000-0000-000000000007","name":"n7","ip":"10.0.0.7","labels":{"rack":"r1"},"#,
        r#""bmc":{"driver":"ipmi","address":"10.0.1.7:623","user":"admin","password":"calvin"},"#,
        r#""desired":{"lamp.light":"on"},"observed":{"power":"on"}}"#
    );
    let action = ToModule::Action { id: id(2), mutation: "lamp.on".into(), deadline_ms: 5_000, node: node.clone() };
    for (message, line) in [
        (
            ToModule::Hello { protocol: 1, module: "lamp".parse().unwrap(), config },
            r#"{"type":"hello","protocol":1,"module":"lamp","config":{"every_s":60}}"#.to_owned(),
        ),
        (ToModule::Discover { id: id(1), node }, format!(r#"{{"type":"discover","id":1,"node":{card}}}"#)),
        (action, format!(r#"{{"type":"action","id":2,"mutation":"lamp.on","deadline_ms":5000,"node":{card}}}"#)),
        (ToModule::Cancel { id: id(2) }, r#"{"type":"cancel","id":2}"#.to_owned()),
        (ToModule::Error { detail: "no".into() }, r#"{"type":"error","detail":"no"}"#.to_owned()),
        (ToModule::Bye, r#"{"type":"bye"}"#.to_owned()),
    ] {
        let shown = format!("{message:?}");
        assert!(!shown.contains("calvin"), "{shown}");
        assert_eq!(String::from_utf8(message.encode().unwrap().to_vec()).unwrap(), line + "\n");
    }
}

#[test]
fn messages_of_a_module_are_read_and_what_is_not_known_in_them_is_ignored() {
    let seen =
        json!({"type": "observe", "node": NodeId(uuid::Uuid::nil()), "variable": "lamp.x", "value": [1], "x": 2});
    assert!(matches!(read(&seen), Ok(FromModule::Observe(seen)) if seen.value == json!([1])));
    let outcome = |fields| match read(&fields) {
        Ok(FromModule::Outcome { id: RequestId(3), failure }) => failure,
        other => panic!("{other:?}"),
    };
    assert_eq!(outcome(json!({"type": "outcome", "id": 3, "ok": true, "detail": "in 3 s"})), None);
    assert_eq!(outcome(json!({"type": "outcome", "id": 3, "ok": false, "detail": "no"})), Some("no".into()));
    assert_eq!(outcome(json!({"type": "outcome", "id": 3, "ok": false})), Some("the module gave no reason".into()));
    assert_eq!(read(&json!({"type": "ready"})), Ok(FromModule::Ready));
    assert!(matches!(read(&json!({"type": "log", "level": "warn", "text": "x"})), Ok(FromModule::Log { .. })));
    assert!(matches!(read(&json!({"type": "declare", "protocol": 1})), Ok(FromModule::Declare(d)) if d.at_once == 1));
}

#[test]
fn a_message_of_a_newer_module_is_told_from_a_wrong_one() {
    let newer = read(&json!({"type": "sing"})).unwrap_err();
    assert!(newer.is_newer() && newer.to_string().contains("'sing'"), "{newer}");
    for wrong in
        [json!({}), json!(7), json!({"type": 7}), json!({"type": "outcome"}), json!({"type": "observe", "node": 1})]
    {
        assert!(!read(&wrong).unwrap_err().is_newer(), "{wrong}");
    }
    assert!(matches!(decode(&vec![b' '; MODULE_LINE_BYTES_MAX]), Err(LineError::TooLong)));
    let deep = "[".repeat(60_000);
    assert!(matches!(decode(deep.as_bytes()), Err(LineError::NotJson { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = decode(&line) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_damage_to_a_declaration_is_read_or_refused_without_a_panic(at in 0..400_usize, byte in any::<u8>()) {
        let mut line = include_bytes!("tests/declare.json").to_vec();
        let at = at % line.len();
        line[at] = byte;
        if let Ok(FromModule::Declare(declared)) = decode(&line) {
            let _ = crate::module::facts::accept(&"lamp".parse().unwrap(), &serde_json::Map::new(), &declared);
        }
    }
}
