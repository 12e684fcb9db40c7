//! Reads the repository and holds it to the design's rules: what may import what, which files are pure, how long a
//! file may be, that every file says what it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folders of `src`, by rank: a file imports from lower ranks and its own folder alone.
const RANKS: &[&[&str]] = &[
    &["model"],
    &["fact"],
    &["state"],
    &["plan"],
    &["port"],
    &["journal", "boot", "power", "sync", "layer", "module"],
    &["agent", "engine"],
    &["sim"],
    &["config"],
    &["api", "cli"],
    &["serve"],
    &["main"],
];

/// Folders whose every file is pure, and file names that are pure wherever they stand.
const PURE_FOLDERS: &[&str] = &["model", "fact", "state", "plan"];
const PURE_NAMES: &[&str] = &["codec", "facts", "reply", "session"];

/// What a pure file does not speak of.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::net::Udp",
    "std::net::Tcp",
    "std::fs",
    "std::env::",
    "std::process",
    "SystemTime",
    "Instant::now",
    "tracing::",
    "std::thread",
    "SystemRandom",
    "new_v4",
    "println!",
    "eprintln!",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let src = root().join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&src).unwrap().to_owned(), text)
    };
    files_below(&src, ".rs").into_iter().map(read).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

/// The part of a file that is compiled into the product: what stands before an inline test module.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn folder_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn rank_of(folder: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&folder))
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_folder_has_a_rank() {
    let unknown = sources()
        .into_iter()
        .map(|(path, _)| folder_of(&path))
        .filter(|folder| folder != "lib" && rank_of(folder).is_none());
    none(unknown.collect());
}

#[test]
fn imports_run_downward() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let folder = folder_of(&path);
        let Some(rank) = rank_of(&folder) else { continue };
        if is_test(&path) {
            continue;
        }
        for (number, line) in code_lines(product(&text)) {
            for word in line.split("crate::").skip(1).chain(line.split("bootes::").skip(1)) {
                let target: String = word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let allowed = target == folder || rank_of(&target).is_none_or(|other| other < rank);
                if !allowed {
                    faults.push(format!("src/{}:{}: {folder} imports {target}", path.display(), number + 1));
                }
            }
        }
    }
    none(faults);
}

#[test]
fn pure_files_touch_nothing_outside_their_values() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inside = path.parent().unwrap().components().any(|c| PURE_NAMES.contains(&c.as_os_str().to_str().unwrap()));
        let pure = PURE_FOLDERS.contains(&folder_of(&path).as_str()) || PURE_NAMES.contains(&stem.as_str()) || inside;
        if !pure || is_test(&path) {
            continue;
        }
        for (number, line) in code_lines(product(&text)) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("src/{}:{}: a pure file speaks of {word}", path.display(), number + 1));
            }
        }
    }
    none(faults);
}

#[test]
fn every_file_says_what_it_is_for_and_none_is_too_long() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            faults.push(format!("src/{}: it does not begin with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("src/{}: {lines} lines, {LINES_MAX} are allowed", path.display()));
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if ["util", "utils", "common", "helper", "helpers"].contains(&stem) {
            faults.push(format!("src/{}: the name says nothing", path.display()));
        }
    }
    none(faults);
}

#[test]
fn nothing_is_left_undone_in_the_product() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (number, line) in product(&text).lines().enumerate() {
            for word in ["todo!", "unimplemented!", "FIXME", "XXX"] {
                if line.contains(word) {
                    faults.push(format!("src/{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    none(faults);
}

#[test]
fn only_the_engine_appends_and_only_replay_and_the_engine_apply() {
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let folder = folder_of(&path);
        for (number, line) in code_lines(product(&text)) {
            let appends = line.contains("journal.append(") && folder != "engine";
            let applies = line.contains("state.apply(") && !["engine", "journal"].contains(&folder.as_str());
            if appends || applies {
                faults.push(format!("src/{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    none(faults);
}

#[test]
fn no_committed_file_is_large() {
    let listed = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Ok(listed) = listed else { return };
    let names = String::from_utf8(listed.stdout).unwrap();
    let large = names.split('\0').filter(|name| !name.is_empty()).filter_map(|name| {
        let bytes = fs::metadata(root().join(name)).ok()?.len();
        (bytes > FILE_BYTES_MAX).then(|| format!("{name}: {bytes} bytes"))
    });
    none(large.collect());
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let mut faults = Vec::new();
    let mut pages = files_below(&root().join("docs"), ".md");
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !page.parent().unwrap().join(target).exists() {
                faults.push(format!("{}: {link}", page.display()));
            }
        }
    }
    none(faults);
}

#[test]
fn every_decision_record_is_numbered_once() {
    let mut numbers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files_below(&root().join("docs/adr"), ".md") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        numbers.entry(name.chars().take(4).collect()).or_default().push(name);
    }
    assert!(!numbers.is_empty());
    none(numbers.into_iter().filter(|(_, names)| names.len() > 1).map(|(_, names)| names.join(", ")).collect());
}
