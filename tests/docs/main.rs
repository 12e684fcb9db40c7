//! The documentation's commands, run as they stand.
//!
//! In a page, a block marked `console` holds commands (lines that begin with `$ `, continued where the line before ends
//! with a backslash) and what they print, which is not compared: output has times and ids in it. Every command must end
//! with exit code 0, or with the one that a line `exit code N` below it names. A page's commands run in their order, in
//! one folder, each in a shell of its own. The page says what it needs in a comment, `<!-- runs with: … -->`:
//!
//! - `appliance`: a real `bootes serve` in a network namespace of its own, with the sample cluster applied (six nodes,
//!   whose BMCs do not answer); `bootes` speaks to it by its socket;
//! - `nothing`: only `bootes` itself.
//!
//! A block marked `toml NAME` is a file: it is written under that name before the page's commands run.
//!
//! A page with a `console` block and no such comment fails, and so does one with a comment and no block.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod page;
mod place;

use std::fs;
use std::path::{Path, PathBuf};

use page::Page;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    found.push(root.join("README.md"));
    found.sort();
    found
}

#[test]
fn every_command_in_the_documentation_runs() {
    let mut faults = Vec::new();
    let mut commands = 0;
    for path in pages() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match Page::parse(&fs::read_to_string(&path).unwrap()) {
            Err(fault) => faults.push(format!("{name}: {fault}")),
            Ok(None) => {}
            Ok(Some(page)) => {
                println!("{name}: {} commands", page.commands.len());
                commands += page.commands.len();
                faults.extend(place::run(&page).into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
    assert!(commands > 0, "no page has a command to run");
}
