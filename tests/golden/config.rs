//! What is made of configuration files, and what is said about wrong ones; the reference page.

use std::fs;
use std::path::Path;

use bootes::config::{Appliance, cluster, ports, reference};

use crate::pairs;

#[test]
fn every_file_is_read_or_refused_as_its_golden_file_says() {
    let dir = tempfile::tempdir().unwrap();
    pairs::check("config", |stem, given| {
        let kind = if stem.starts_with("appliance") { "appliance.toml" } else { "cluster.toml" };
        let path = dir.path().join(kind);
        fs::write(&path, given).unwrap();
        let told = match kind {
            "appliance.toml" => Appliance::read(&path).map(|value| format!("{value:#?}\n")),
            _ => cluster::read(&path).map(|value| serde_json::to_string_pretty(&value).unwrap() + "\n"),
        };
        let told = told.unwrap_or_else(|error| format!("{error}\n"));
        told.replace(&format!("{}/", dir.path().display()), "")
    });
}

#[test]
fn the_reference_pages_are_what_the_tables_in_the_code_say() {
    for (name, page) in [("CONFIGURATION", reference::page()), ("PORTS", ports::page())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{name}.md"));
        if std::env::var_os("BOOTES_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            fs::write(&path, &page).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        let word = name.to_lowercase();
        assert!(written == page, "docs/{name}.md is stale: bootes docs {word} >docs/{name}.md");
    }
}
