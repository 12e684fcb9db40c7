//! From `bootes module new` to a running module: the skeletons as they are written, under the real appliance.

use std::net::SocketAddr;
use std::process::Command;

use bootes::model::{Name, VarPath};
use bootes::module::StartWhen;
use bootes::module::skeleton::{self, Language};
use serde_json::Value as Json;

use crate::orphans::{Ended, appliance_with, wait};
use crate::site::{Given, Site, light};

#[test]
fn the_python_skeleton_brings_about_what_is_asked_of_it() {
    let dir = tempfile::tempdir().unwrap();
    skeleton::write(&"lamp".parse().unwrap(), Language::Python, &dir.path().join("module")).unwrap();
    let lights = dir.path().join("lights");
    let config = serde_json::json!({ "folder": lights });
    let bmc = SocketAddr::from(([127, 0, 0, 1], 9));
    let words = vec!["./module/module.py".to_owned()];
    let site = Site::start(dir, Given { name: "lamp", words, config, bmc, start: StartWhen::Demand });
    site.until_light("off");
    site.want(&light(), "on");
    site.until_light("on");
    assert!(lights.join("n7").exists());
    site.want(&light(), "off");
    site.until_light("off");
    assert!(!lights.join("n7").exists());
}

#[test]
fn a_module_that_is_configured_no_more_takes_its_variables_along() {
    let dir = tempfile::tempdir().unwrap();
    skeleton::write(&"lamp".parse().unwrap(), Language::Python, &dir.path().join("module")).unwrap();
    let bmc = SocketAddr::from(([127, 0, 0, 1], 9));
    let words = vec!["./module/module.py".to_owned()];
    let config = serde_json::json!({ "folder": dir.path().join("lights") });
    let given = |name| Given { name, words: words.clone(), config: config.clone(), bmc, start: StartWhen::Demand };
    let site = Site::start(dir, given("lamp"));
    site.until_light("off");
    let site = Site::start(site.stop(), given("other"));
    site.forget_others(vec!["other".parse::<Name>().unwrap()]);
    let path: VarPath = "other.light".parse().unwrap();
    site.until("the other one is there", |state, _| state.schema.find(&path).is_some());
    let state = site.state.now();
    assert!(state.schema.find(&light()).is_none());
}

#[test]
fn a_module_under_the_real_appliance_is_listed_with_what_it_declares() {
    let dir = tempfile::tempdir().unwrap();
    let bootes = |words: &[&str]| {
        let api = format!("unix:{}/api.sock", dir.path().display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootes"));
        command.args(words).current_dir(dir.path()).env("BOOTES_API", api).env("HOME", dir.path());
        command.output().unwrap()
    };
    assert!(bootes(&["module", "new", "lamp"]).status.success());
    let module = "name = \"lamp\"\ncommand = [\"lamp/module.py\"]\nconfig = { folder = \"lights\" }";
    let _appliance = Ended(appliance_with(dir.path(), module));
    let lamp = || -> Option<Json> {
        let all: Json = serde_json::from_slice(&bootes(&["module", "list", "-o", "json"]).stdout).ok()?;
        all["items"].as_array()?.iter().find(|module| module["name"] == "lamp").cloned()
    };
    wait("the module has declared itself", || lamp().is_some_and(|lamp| lamp["version"] == "0.1.0"));
    let lamp = lamp().unwrap();
    assert_eq!(lamp["mutations"], serde_json::json!(["lamp.look", "lamp.switch-on", "lamp.switch-off"]));
    assert_eq!(lamp["variables"], serde_json::json!(["lamp.light"]));
    assert_eq!((&lamp["origin"], &lamp["failures"]), (&"outside".into(), &0.into()));
    let table = String::from_utf8(bootes(&["module", "list"]).stdout).unwrap();
    assert!(table.contains("power") && table.contains("lamp.switch-on"), "{table}");
}
