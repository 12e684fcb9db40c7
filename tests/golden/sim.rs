//! Scripts of the simulator beside what comes of them. A script's first line is a comment with the options that it is run
//! with.

use std::fs;
use std::path::Path;

use crate::cli::bootes;
use crate::pairs;

#[test]
fn every_script_gives_what_stands_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    pairs::check("sim", |_, script| {
        fs::write(dir.path().join("script.sim"), script).unwrap();
        let arguments = script.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap();
        let line = format!("sim {arguments} --script script.sim");
        let output =
            bootes("http://127.0.0.1:1", dir.path()).args(shell_words::split(&line).unwrap()).output().unwrap();
        let mut told = format!("$ bootes {line}\n");
        told.push_str(std::str::from_utf8(&output.stdout).unwrap());
        for line in std::str::from_utf8(&output.stderr).unwrap().lines() {
            // The wall's clock is not the same each time.
            if !line.starts_with("bootes: simulated ") {
                told.push_str(&format!("! {line}\n"));
            }
        }
        told.push_str(&format!("exit code {}\n", output.status.code().unwrap()));
        told
    });
}

#[test]
fn an_unknown_fault_is_told_with_those_that_there_are() {
    let output = bootes("http://127.0.0.1:1", Path::new(".")).args(["sim", "--fault", "gremlins=1"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("there is no fault 'gremlins'; there are packet-loss, packet-delay"), "{told}");
}
