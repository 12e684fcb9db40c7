//! One run of a program through its pipes, without any conversation.

use std::path::{Path, PathBuf};

use bootes::model::limits::MODULE_LINE_BYTES_MAX;
use bootes::module::process::{Command, Heard, Process};

/// The program `words`, started in `folder`.
pub fn command(words: &[&str], folder: &Path) -> Command {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Command { words, folder: folder.to_owned(), guard: PathBuf::from(env!("CARGO_BIN_EXE_bootes")) }
}

/// A shell's script as a program.
pub fn shell(script: &str) -> Command {
    command(&["sh", "-c", script], Path::new("/"))
}

/// Everything that is heard until the end.
async fn heard(mut process: Process) -> (Vec<String>, String) {
    let mut lines = Vec::new();
    loop {
        match process.next().await {
            Heard::Line(line) => lines.push(format!("out: {}", String::from_utf8_lossy(&line))),
            Heard::TooLong => lines.push("out: too long".into()),
            Heard::Complaint(text) => lines.push(format!("err: {text}")),
            Heard::Ended(how) => return (lines, how),
        }
    }
}

#[tokio::test]
async fn lines_come_out_and_the_end_comes_last() {
    let process = Process::start(&shell("echo one; echo two; printf three; exit 3")).unwrap();
    let (lines, how) = heard(process).await;
    assert_eq!(lines, ["out: one", "out: two", "out: three"]);
    assert_eq!(how, "it ended with exit code 3");
}

#[tokio::test]
async fn what_goes_in_comes_in_and_its_end_ends_the_program() {
    let mut process = Process::start(&command(&["cat"], Path::new("/"))).unwrap();
    process.tell(b"a line\n".to_vec().into()).unwrap();
    process.close();
    assert_eq!(heard(process).await, (vec!["out: a line".to_owned()], "it ended with exit code 0".to_owned()));
}

#[tokio::test]
async fn a_line_without_end_is_cut_and_told() {
    let script = format!("head -c {} /dev/zero; sleep 1000", MODULE_LINE_BYTES_MAX * 3);
    let mut process = Process::start(&shell(&script)).unwrap();
    assert!(matches!(process.next().await, Heard::TooLong));
    process.kill();
    assert!(matches!(process.next().await, Heard::Ended(_)));
}

#[tokio::test]
async fn a_long_complaint_is_one_cut_line() {
    let script = "head -c 5000 /dev/zero | tr '\\0' x >&2; echo >&2; echo next >&2";
    let (lines, _) = heard(Process::start(&shell(script)).unwrap()).await;
    let lengths: Vec<usize> = lines.iter().map(String::len).collect();
    assert_eq!(lengths, [1_024 + 5, 4 + 5], "{lines:?}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_by_name() {
    let (lines, how) = heard(Process::start(&command(&["/no/such/program"], Path::new("/"))).unwrap()).await;
    assert!(lines.concat().contains("/no/such/program"), "{lines:?}");
    assert_eq!(how, "it could not be started");
}

#[tokio::test]
async fn a_signal_that_ends_the_program_is_told_by_name() {
    let (_, how) = heard(Process::start(&shell("kill -SEGV $$")).unwrap()).await;
    assert_eq!(how, "it was ended by the signal SIGSEGV");
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_pipe_open_does_not_hide_the_end() {
    // In a session of its own, so that the program's process group does not reach it.
    let (lines, how) = heard(Process::start(&shell("setsid sleep 1000 & echo started; exit 0")).unwrap()).await;
    assert_eq!((lines, how.as_str()), (vec!["out: started".to_owned()], "it ended with exit code 0"));
}

#[tokio::test]
async fn nothing_of_the_appliances_own_environment_reaches_a_program() {
    let (lines, _) = heard(Process::start(&command(&["env"], Path::new("/"))).unwrap()).await;
    let names: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("out: ")?.split('=').next()).collect();
    assert!(names.contains(&"PATH"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
}

#[tokio::test]
async fn a_program_that_reads_nothing_fills_its_queue_and_no_more() {
    let process = Process::start(&shell("sleep 1000")).unwrap();
    let line = vec![b'x'; MODULE_LINE_BYTES_MAX];
    let refused = (0..1_000).find(|_| process.tell(line.clone().into()).is_err());
    assert!(refused.is_some(), "a thousand lines were taken");
}
