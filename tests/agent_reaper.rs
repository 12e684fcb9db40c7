//! The reaper with real children, in a process of its own: it reaps whatever ends in its process.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use bootes::agent::reaper::{Exit, Reaper, ReaperError};

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[tokio::test]
async fn every_child_reports_its_own_end_and_orphans_are_reaped() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let reaper = Reaper::start().unwrap();

    let mut endings = Vec::new();
    for code in 0..50 {
        endings.push((code, reaper.spawn(&mut sh(&format!("exit {code}"))).unwrap().ending));
    }
    for (code, ending) in &mut endings {
        assert_eq!(ending.wait().await.unwrap(), Exit::Code(*code));
    }

    let mut killed = reaper.spawn(&mut sh("kill -9 $$")).unwrap();
    assert_eq!(killed.ending.wait().await.unwrap(), Exit::Signal(9));

    let mut piped = reaper.spawn(sh("echo out").stdout(Stdio::piped())).unwrap();
    let mut text = String::new();
    piped.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n");
    assert!(piped.ending.wait().await.unwrap().success());

    for _ in 0..20 {
        match reaper.spawn(&mut Command::new("/nonexistent/program")) {
            Err(ReaperError::Start { program, source }) => {
                assert_eq!((program.as_str(), source.kind()), ("/nonexistent/program", io::ErrorKind::NotFound));
            }
            other => panic!("{other:?}"),
        }
    }

    let before = reaper.orphans();
    let mut parent = reaper.spawn(&mut sh("for i in 1 2 3; do (sleep 0.2; exit 1) & done")).unwrap();
    assert!(parent.ending.wait().await.unwrap().success());
    while reaper.orphans() < before + 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
