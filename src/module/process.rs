//! One run of a module's program: its guard, its pipes, and what comes out of them.
//!
//! Invariants: every queue is bounded, so a program that says more than is taken is made to wait by its own pipe; a line
//! is never longer in memory than [`MODULE_LINE_BYTES_MAX`]; when the value is dropped the program and all its descendants
//! are ended. The thread that starts a run must live at least as long: the kernel ends the run with it.
//! Absent on purpose: what lines mean, and starting again.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::guard;
use crate::model::limits::MODULE_LINE_BYTES_MAX;

/// Lines that wait for the program to read them.
const LINES_OUT_MAX: usize = 128;
/// Lines of the program that wait to be looked at; more wait in its pipe.
const LINES_IN_MAX: usize = 64;
/// Bytes of one line on the program's standard error; the rest is cut.
const COMPLAINT_BYTES_MAX: usize = 1_024;
/// How long the guard may take to end the program's descendants before it is ended itself.
const GUARD_WAIT: Duration = Duration::from_secs(5);
/// How long pipes may stay open once the guard has ended: nobody is left who should hold them.
const PIPES_WAIT: Duration = Duration::from_secs(1);
/// What a program finds in its environment of the appliance's own: nothing else, since the rest may hold secrets.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// What is run.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program and its arguments; never empty.
    pub words: Vec<String>,
    /// The folder that it is started in.
    pub folder: PathBuf,
    /// The binary that the guard is made of, usually [`guard::THIS_BINARY`].
    pub guard: PathBuf,
}

/// What comes out of a program.
#[derive(Debug)]
pub enum Heard {
    /// A line on its standard output, without its end.
    Line(Vec<u8>),
    /// A line that was too long; what followed it is lost.
    TooLong,
    /// A line on its standard error.
    Complaint(String),
    /// It has ended, and so have its descendants; the last that is heard of it. How, in words.
    Ended(String),
}

/// A run.
#[derive(Debug)]
pub struct Process {
    lines: Option<mpsc::Sender<Zeroizing<Vec<u8>>>>,
    heard: mpsc::Receiver<Heard>,
    /// Dropped to end the run at once.
    life: Option<mpsc::Sender<()>>,
    /// The guard's process id.
    pub pid: u32,
}

impl Process {
    /// Starts a run. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn start(what: &Command) -> io::Result<Self> {
        let mut command = guard::command(&what.guard, &what.words);
        let kept: Vec<(&str, OsString)> =
            ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (*name, value))).collect();
        command.env_clear().envs(kept).current_dir(&what.folder);
        let mut child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().unwrap_or_default();
        let (told, heard) = mpsc::channel(LINES_IN_MAX);
        let (lines, queue) = mpsc::channel(LINES_OUT_MAX);
        let (life, end) = mpsc::channel(1);
        if let Some(stdin) = child.stdin.take() {
            tokio::spawn(write(stdin, queue));
        }
        let answers = child.stdout.take().map(|pipe| tokio::spawn(read(pipe, told.clone())));
        let complaints = child.stderr.take().map(|pipe| tokio::spawn(read_complaints(pipe, told.clone())));
        tokio::spawn(async move {
            let how = wait(child, end).await;
            for reader in [answers, complaints].into_iter().flatten() {
                let abort = reader.abort_handle();
                if timeout(PIPES_WAIT, reader).await.is_err() {
                    abort.abort();
                }
            }
            // Nobody listens where the run was dropped.
            let _ = told.send(Heard::Ended(how)).await;
        });
        Ok(Process { lines: Some(lines), heard, life: Some(life), pid })
    }

    /// Hands a line to the program, unless too many wait already or it was told to end.
    ///
    /// # Errors
    /// The line comes back when there is no room for it.
    pub fn tell(&self, line: Zeroizing<Vec<u8>>) -> Result<(), Zeroizing<Vec<u8>>> {
        match &self.lines {
            Some(lines) => lines.try_send(line).map_err(mpsc::error::TrySendError::into_inner),
            None => Err(line),
        }
    }

    /// How many lines wait for the program to read them.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.lines.as_ref().map_or(0, |lines| LINES_OUT_MAX - lines.capacity())
    }

    /// Closes its standard input once all lines are written: the sign to end.
    pub fn close(&mut self) {
        self.lines = None;
    }

    /// Ends it and its descendants at once; [`Heard::Ended`] follows.
    pub fn kill(&mut self) {
        self.life = None;
    }

    /// What it has said already.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// What it says next. After [`Heard::Ended`] there is nothing more, and this is to be called no more.
    pub async fn next(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or_else(|| Heard::Ended("it is gone".into()))
    }
}

/// Waits for the guard's end; when the run's owner lets go, the guard is told to end all.
async fn wait(mut child: Child, mut end: mpsc::Receiver<()>) -> String {
    let status = tokio::select! {
        status = child.wait() => status,
        // Nothing is ever sent: this is the other end being dropped.
        _ = end.recv() => {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                // Not waited for yet, so the number is still that of the guard.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            match timeout(GUARD_WAIT, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    let _ = child.start_kill();
                    child.wait().await
                }
            }
        }
    };
    status.map_or_else(|error| error.to_string(), guard::in_words)
}

async fn write(mut stdin: ChildStdin, mut queue: mpsc::Receiver<Zeroizing<Vec<u8>>>) {
    while let Some(line) = queue.recv().await {
        // A program that has closed its end is about to end, which is told elsewhere.
        if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// Whether a line came to its end.
enum Taken {
    Whole,
    Cut,
    Nothing,
}

/// Reads up to and with the next line's end, and keeps at most `limit` bytes of it. With [`Taken::Cut`] the rest of the
/// line is still to be read.
async fn take_line<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    line: &mut Vec<u8>,
    limit: usize,
) -> io::Result<Taken> {
    line.clear();
    loop {
        let room = limit - line.len();
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(if line.is_empty() { Taken::Nothing } else { Taken::Whole });
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let wanted = end.unwrap_or(buffer.len());
        let taken = wanted.min(room);
        line.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        let whole = end.is_some() && taken == wanted;
        reader.consume(taken + usize::from(whole));
        if whole {
            return Ok(Taken::Whole);
        }
        if line.len() == limit {
            return Ok(Taken::Cut);
        }
    }
}

async fn read(pipe: impl AsyncRead + Unpin, told: mpsc::Sender<Heard>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(taken) = take_line(&mut reader, &mut line, MODULE_LINE_BYTES_MAX).await {
        let heard = match taken {
            Taken::Whole => Heard::Line(std::mem::take(&mut line)),
            Taken::Cut => Heard::TooLong,
            Taken::Nothing => return,
        };
        let last = matches!(heard, Heard::TooLong);
        if told.send(heard).await.is_err() || last {
            return;
        }
    }
}

async fn read_complaints(pipe: impl AsyncRead + Unpin, told: mpsc::Sender<Heard>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    let mut inside = false;
    while let Ok(taken) = take_line(&mut reader, &mut line, COMPLAINT_BYTES_MAX).await {
        if matches!(taken, Taken::Nothing) {
            return;
        }
        // What follows a cut is the rest of the same line.
        let begins = !inside;
        inside = matches!(taken, Taken::Cut);
        if begins && !line.is_empty() {
            let text = String::from_utf8_lossy(&line).into_owned();
            if told.send(Heard::Complaint(text)).await.is_err() {
                return;
            }
        }
    }
}
