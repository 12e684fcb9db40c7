//! Rules that need more than one example: defaults, folders, damage of any kind, secrets. Single messages are golden files.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::keys::{self, Fallback, Key, Kind, Section};
use super::source::Source;
use super::*;
use crate::plan::Policy;

const LEAST: &str = r#"
state_dir = "state"
dhcp.interfaces = ["boot0"]
tftp.listen = "10.77.0.1:69"
http.listen = "10.77.0.1:8080"
agents.listen = "10.77.0.1:8443"
boot.layer0 = "/layer0"
"#;

const CLUSTER: &str = r#"
[[node]]
names = "n[1-2]"
network = "boot"
mac = ["52:54:00:b0:07:01", "52:54:00:b0:07:02"]
ip = "10.77.0.[11-12]"
bmc = { driver = "ipmi", address = "10.77.0.[101-102]", user = "admin", password = "a-secret-word" }
set = { "site.key" = "a-secret-word" }

[[node]]
name = "n3"
mac = "52:54:00:b0:07:03"
ip = "10.77.0.13"
[node.set]
"site.key" = "a-secret-word"
"#;

fn source(text: &str) -> Source {
    Source { file: PathBuf::from("/etc/bootes/file.toml"), text: text.to_owned() }
}

#[test]
fn relative_folders_are_relative_to_the_files_own() {
    let appliance = Appliance::parse(&source(LEAST)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(appliance.state_dir, Path::new("/etc/bootes/state"));
    assert_eq!(appliance.images_store, Path::new("/etc/bootes/state/images"));
    assert_eq!(appliance.boot.layer0, Path::new("/layer0"));
}

#[test]
fn the_defaults_of_the_engine_are_those_of_the_planner() {
    let appliance = Appliance::parse(&source(LEAST)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(appliance.engine.policy(), Policy::default());
}

#[test]
fn every_default_number_is_within_its_own_bounds() {
    fn walk(section: &Section) {
        for Key { name, kind, fallback, .. } in section.keys {
            match (kind, fallback) {
                (Kind::Table(below) | Kind::Tables(below), _) => walk(below),
                (Kind::Number { min, max }, Fallback::Number(number)) => {
                    assert!((min..=max).contains(&number), "{name}")
                }
                _ => {}
            }
        }
    }
    walk(&keys::appliance::ROOT);
    walk(&keys::cluster::ROOT);
}

#[test]
fn a_file_that_is_not_text_or_not_there_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = dir.path().join("cluster.toml");
    let told = |path: &Path| cluster::read(path).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(told(&path).contains("cluster.toml: the file cannot be read"), "{}", told(&path));
    std::fs::write(&path, b"[cluster]\nname = \"\xff\"\n").unwrap_or_else(|error| panic!("{error}"));
    assert!(told(&path).contains("cluster.toml:2:9: this is not UTF-8 text"), "{}", told(&path));
}

#[test]
fn a_value_under_set_is_in_no_error_however_it_is_written() {
    for text in [
        "[defaults]\nset = { \"site.key\" = \"a-secret-word\", \"Bad.Path\" = 1 }",
        "[defaults]\nset = { \"site.key\" = \"a-secret-word\", on = true }",
        "[defaults.set]\nok = 1\n\"Bad.Key\" = \"a-secret-word\"",
        "[[node]]\n[node.set]\n\"site.key\" = \"a-secret-word\" oops",
        "[defaults]\nset.\"Bad.Key\" = \"a-secret-word\"",
        "defaults = { nonsense = 1, set = { \"site.key\" = \"a-secret-word\" } }",
    ] {
        let told = cluster::parse(&source(text)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!told.is_empty() && !told.contains("secret-word"), "{text}: {told}");
    }
    let shown = "[[extension]]\nname = \"a\"\noffset = 1";
    let told = cluster::parse(&source(shown)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains("offset = 1"), "{told}");
}

/// A file in which some bytes were replaced, removed or put in.
fn damaged(whole: &'static str) -> impl Strategy<Value = String> {
    let damage = (0..whole.len(), 0..8_usize, "[\\PC\n\"\\[\\]={}.,#']{0,6}");
    proptest::collection::vec(damage, 1..4).prop_map(move |all| {
        let mut text: Vec<char> = whole.chars().collect();
        for (at, removed, put_in) in all {
            let at = at.min(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, put_in.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}|[a-z0-9=\"\\[\\]{}.,#'\n -]{0,200}") {
        let _ = Appliance::parse(&source(&text)).map_err(|error| error.to_string());
        let _ = cluster::parse(&source(&text)).map_err(|error| error.to_string());
    }

    #[test]
    fn a_damaged_appliance_file_is_read_or_refused_with_its_place(text in damaged(LEAST)) {
        if let Err(error) = Appliance::parse(&source(&text)) {
            prop_assert!(error.place.is_some());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_damaged_cluster_file_is_read_or_refused_with_its_place(text in damaged(CLUSTER)) {
        if let Err(error) = cluster::parse(&source(&text)) {
            prop_assert!(error.place.is_some());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_error_about_a_file_shows_a_secret_in_it(key in "[a-z]{1,8}", at in 0..14_usize) {
        let mut lines: Vec<&str> = CLUSTER.lines().collect();
        let wrong = format!("{key} = 1");
        lines.insert(2 + at, &wrong);
        if let Err(error) = cluster::parse(&source(&lines.join("\n"))) {
            prop_assert!(!error.to_string().contains("a-secret-word"));
        }
    }
}
