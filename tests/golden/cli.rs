//! The command line as a process: arguments in, exit code, output and requests out.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::api::Api;
use crate::pairs;

pub fn bootes(api: &str, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootes"));
    command
        .env_clear()
        .env("BOOTES_API", api)
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// A folder with what the commands of the golden files read: descriptions, and a squashfs as far as a store looks.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data");
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut squashfs = vec![0_u8; 4096];
    squashfs[..4].copy_from_slice(b"hsqs");
    squashfs[28..30].copy_from_slice(&4_u16.to_le_bytes());
    squashfs[40..48].copy_from_slice(&4096_u64.to_le_bytes());
    fs::write(dir.path().join("hello.squashfs"), squashfs).unwrap();
    dir
}

/// What these commands, one a line, ask, print and end with.
pub fn told<'a>(api: &Api, lines: impl Iterator<Item = &'a str>) -> String {
    let url = api.url.clone();
    let dir = folder();
    let mut told = String::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let args = shell_words::split(line).unwrap();
        assert_eq!(args.first().map(String::as_str), Some("bootes"), "{line}");
        let output = bootes(&url, dir.path()).args(&args[1..]).output().unwrap();
        told.push_str(&format!("$ {line}\n"));
        for request in api.requests() {
            told.push_str(&format!("> {request}\n"));
        }
        told.push_str(std::str::from_utf8(&output.stdout).unwrap());
        for line in std::str::from_utf8(&output.stderr).unwrap().lines() {
            told.push_str(&format!("! {line}\n"));
        }
        told.push_str(&format!("exit code {}\n\n", output.status.code().unwrap()));
    }
    told.replace(&url, "API")
}

#[test]
fn every_command_prints_asks_and_ends_as_its_golden_file_says() {
    let api = Api::start();
    pairs::check("cli", |_, given| told(&api, given.lines()));
}

#[test]
fn an_appliance_that_is_not_there_is_told_with_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("unix:{}/api.sock", dir.path().display());
    let output = bootes(&url, Path::new(".")).args(["get", "nodes"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap().replace(&url, "API");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        told,
        "bootes: no appliance answers at API (no such file or directory); check that 'bootes serve' runs there, log in to another with 'bootes login URL', or name it with --api URL or BOOTES_API\n"
    );
    let version = bootes(&url, Path::new(".")).arg("version").output().unwrap();
    assert!(version.status.success(), "one's own version needs no appliance");
}

#[test]
fn a_reader_that_closes_its_end_is_no_error() {
    let api = Api::start();
    let url = api.url.clone();
    let mut child = bootes(&url, Path::new("."))
        .args(["events", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(0), ""));
}

/// Reads so many lines of a command that does not end by itself, then ends it.
fn first_lines(api: &Api, args: &[&str], count: usize) -> Vec<String> {
    let url = api.url.clone();
    let mut command = bootes(&url, Path::new("."));
    let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().take(count).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    lines
}

#[test]
fn following_goes_on_where_it_was_when_the_stream_breaks() {
    let api = Api::start();
    let lines = first_lines(&api, &["events", "--follow", "--limit", "3"], 3);
    let last = crate::cluster::cluster().journal.last().unwrap().seq.0;
    assert!(lines[0].contains("2026-11-21T"), "{lines:?}");
    // The stream of the small API ends at once, so the next request is made a moment later.
    let mut child = bootes(&api.url, Path::new("."))
        .args(["events", "--follow", "-o", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let again = format!("GET /api/v1/stream?types=fact (after {last})");
    let mut seen = Vec::new();
    while !seen.iter().any(|request: &String| request.contains(&again)) {
        seen.extend(api.requests());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn watching_without_a_terminal_prints_every_node_once_and_then_what_changes() {
    let api = Api::start();
    let lines = first_lines(&api, &["get", "nodes", "n[1-3]", "--watch"], 4);
    let names: Vec<&str> = lines.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["NAME", "n1", "n2", "n3"]);
}

#[test]
fn every_shells_completion_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = bootes("unix:/nowhere", Path::new(".")).args(["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("timeline") && script.contains("squashfs"), "{shell}");
    }
}

#[test]
fn the_manual_pages_are_one_for_each_command_and_are_rendered_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let api = "unix:/nowhere";
    let run = |args: &[&str]| bootes(api, dir.path()).args(args).output().unwrap();
    assert!(run(&["man", "pages"]).status.success());
    let page = String::from_utf8(run(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH bootes 1") && page.contains("Exit codes"), "{page}");
    let mut pages: Vec<_> =
        fs::read_dir(dir.path().join("pages")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let names: Vec<&str> = pages.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    for name in ["bootes.1", "bootes-get.1", "bootes-get-nodes.1", "bootes-token-create.1", "bootes-login.1"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(text.contains(part), "{path:?} has no {part}");
        }
        // Where there is no groff the structure is all that can be looked at.
        let Ok(rendered) = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-Kutf8", "-z"]).arg(&path).output()
        else {
            continue;
        };
        let said = String::from_utf8_lossy(&rendered.stderr).into_owned();
        assert!(rendered.status.success() && said.is_empty(), "{path:?}: {said}");
    }
}

#[test]
fn the_command_lines_page_names_every_command_and_every_exit_code() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLI.md")).unwrap();
    let help = bootes("unix:/nowhere", Path::new(".")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 10, "{help}");
    for name in names {
        assert!(page.contains(&format!("bootes {name}")), "docs/CLI.md does not name 'bootes {name}'");
    }
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |"] {
        assert!(page.contains(code), "docs/CLI.md does not name the exit code {code}");
    }
}
