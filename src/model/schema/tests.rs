//! What the schema accepts, and what it refuses by name.

use super::*;
use crate::model::Mac;

fn path(text: &str) -> VarPath {
    text.parse().unwrap()
}

fn variable(path: &str, kind: VarType) -> VariableSpec {
    VariableSpec {
        path: path.to_owned(),
        kind,
        set: Setting::Config,
        goals: vec![],
        default: None,
        known_while: None,
        doc: String::new(),
    }
}

fn extension(name: &str, variables: Vec<VariableSpec>) -> Extension {
    Extension { name: name.parse().unwrap(), doc: String::new(), origin: Origin::Described, variables }
}

#[test]
fn the_built_in_extensions_contradict_nobody() {
    let mut names = std::collections::BTreeSet::new();
    for extension in built_in() {
        assert!(names.insert(extension.name.clone()), "{}", extension.name);
        for spec in &extension.variables {
            assert_eq!(types::check_spec(spec), Ok(()), "{}", spec.path);
        }
    }
    assert_eq!(names.len(), 7);
}

#[test]
fn a_goal_must_be_one_of_the_variables_own_values() {
    let power = VarPath::power();
    assert_eq!(parse_goal(&power, "off"), Ok(Value::symbol("off")));
    assert!(matches!(parse_goal(&power, "sync"), Err(VarError::BadValue { .. })));
    assert!(matches!(parse_goal(&VarPath::run(), "lost"), Err(VarError::BadValue { .. })));
    assert!(matches!(parse_goal(&VarPath::boot(), "rom"), Err(VarError::NotAGoal { .. })));
    assert!(matches!(parse_goal(&path("colour"), "red"), Err(VarError::NoSuchVariable { .. })));
}

#[test]
fn a_report_of_a_value_that_a_variable_cannot_have_is_refused() {
    assert!(check_value(&VarPath::run(), &Value::Int(3)).is_err());
    assert!(check_value(&VarPath::run(), &Value::symbol("sync")).is_ok());
    assert!(check_value(&path("net.eth0.mtu"), &Value::Int(9_000)).is_ok());
    assert!(check_value(&path("net.eth0.mtu"), &Value::Int(3)).is_err());
}

#[test]
fn every_type_reads_its_own_values_and_refuses_others() {
    let list = VarType::List { of: Box::new(VarType::Ip) };
    let map = VarType::Map { of: Box::new(VarType::Int { min: 0, max: 9 }) };
    let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
    for (kind, text, value) in [
        (VarType::symbols(&["a", "b"]), "b", Value::symbol("b")),
        (VarType::Int { min: -5, max: 5 }, "-5", Value::Int(-5)),
        (VarType::Text, "x y", Value::Text("x y".into())),
        (VarType::Ip, "::1", Value::Ip("::1".parse().unwrap())),
        (VarType::Mac, "02:00:00:00:00:01", Value::Mac(mac)),
        (VarType::Duration, "90s", Value::Duration(90_000)),
        (
            list,
            "10.0.0.1,10.0.0.2",
            Value::List(vec![Value::Ip("10.0.0.1".parse().unwrap()), Value::Ip("10.0.0.2".parse().unwrap())]),
        ),
        (map, "a=1", Value::Map([("a".to_owned(), Value::Int(1))].into())),
    ] {
        assert_eq!(kind.parse(text).as_ref(), Ok(&value));
        assert!(kind.allows(&value));
    }
    for (kind, text) in [
        (VarType::symbols(&["a"]), "c"),
        (VarType::Int { min: 0, max: 5 }, "6"),
        (VarType::Ip, "10.0.0"),
        (VarType::Uuid, "1"),
        (VarType::Secret, "x"),
        (VarType::Map { of: Box::new(VarType::Text) }, "a"),
    ] {
        assert!(kind.parse(text).is_err(), "{kind}: {text}");
    }
}

#[test]
fn an_added_variable_is_found_by_path_and_by_family() {
    let mut schema = Schema::default();
    let family = variable("disk.<name>.wear", VarType::Int { min: 0, max: 100 });
    schema.add(extension("disks", vec![family, variable("site.rack", VarType::Text)])).unwrap();
    assert_eq!(schema.parse_goal(&path("disk.sda.wear"), "7"), Ok(Value::Int(7)));
    assert!(schema.parse_goal(&path("disk.sda.wear.x"), "7").is_err());
    assert!(schema.parse_goal(&path("site.rack"), "r1").is_ok());
    schema.remove(&"disks".parse().unwrap());
    assert!(schema.find(&path("site.rack")).is_none());
}

#[test]
fn an_extension_that_contradicts_itself_or_another_is_refused_by_name() {
    let schema = Schema::default();
    let refused = |variables| schema.check_extension(&extension("mine", variables)).unwrap_err().to_string();
    assert!(refused(vec![variable("power", VarType::Text)]).contains("extension power has the variable power"));
    assert!(refused(vec![variable("image.x.state", VarType::Text)]).contains("image.<name>.state"));
    assert!(refused(vec![variable("a.<b>.<c>", VarType::Text)]).contains("one placeholder"));
    assert!(refused(vec![variable("a", VarType::symbols(&["unknown"]))]).contains("absent means unknown"));
    assert!(refused(vec![variable("a", VarType::symbols(&["x", "x"]))]).contains("the same"));
    let goal = VariableSpec { set: Setting::Goal, ..variable("a", VarType::Text) };
    assert!(refused(vec![goal]).contains("only an enum"));
    let wrong_default = VariableSpec { default: Some(Value::Int(1)), ..variable("a", VarType::Text) };
    assert!(refused(vec![wrong_default]).contains("default"));
    let taken = extension("power", vec![]);
    assert!(matches!(schema.check_extension(&taken), Err(ExtensionError::NameTaken { .. })));
}

#[test]
fn a_secret_prints_nothing_of_itself() {
    let value = Value::Secret(crate::model::Sealed(vec![1, 2, 3]));
    assert_eq!(value.to_string(), "(secret)");
    assert!(VarType::Secret.allows(&value));
}

#[test]
fn a_schema_keeps_only_what_was_added() {
    let mut schema = Schema::default();
    schema.add(extension("site", vec![variable("site.rack", VarType::Text)])).unwrap();
    let text = serde_json::to_string(&schema).unwrap();
    assert!(!text.contains("power"));
    assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
}
