//! Process 1 reaps: its own children, whose ends it hands to whoever waits for them, and every orphan of the machine.
//!
//! Invariants: a child is started and entered under one lock, and reaping takes the same lock, so an end can never come
//! before its entry; each end is delivered once; a waiter that went away costs nothing. Nobody else in this program may
//! wait for a child: `Command::status`, `output` and `Child::wait` would race with the reaper.
//! Deliberately absent: restarting what ended, process groups, cgroups.
//! Specification: waitpid(2), signal(7) (SIGCHLD stands for one end or for many).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{debug, warn};

/// How soon reaping is tried again while a child is being started.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Whether a round of reaping could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaping {
    Done,
    /// A child is being started; its entry must come first.
    Busy,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended by itself and said that all was well.
    #[must_use]
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(out, "exit code {code}"),
            Exit::Signal(signal) => write!(out, "signal {signal}"),
        }
    }
}

/// Reaping, or waiting, is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReaperError {
    /// The signal could not be taken.
    #[error("the end of children cannot be heard of; process 1 needs a runtime with signals")]
    Signal {
        /// Why not.
        source: io::Error,
    },
    /// A child could not be started.
    #[error("{program} could not be started")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The reaper was dropped while a child was waited for.
    #[error("the reaper stopped before process {pid} ended")]
    Stopped {
        /// The process.
        pid: i32,
    },
}

/// The one reaper of this process. Clones are the same reaper.
#[derive(Debug, Clone, Default)]
pub struct Reaper {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    waiters: HashMap<Pid, oneshot::Sender<Exit>>,
    orphans: u64,
}

/// A child that was entered with the reaper.
#[derive(Debug)]
pub struct Ending {
    pid: Pid,
    exit: oneshot::Receiver<Exit>,
}

/// A child, its pipes as its command asked for them, and its ending.
#[derive(Debug)]
pub struct Child {
    /// The child's standard input, if it is a pipe.
    pub stdin: Option<ChildStdin>,
    /// The child's standard output, if it is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The child's standard error, if it is a pipe.
    pub stderr: Option<ChildStderr>,
    /// Its end.
    pub ending: Ending,
}

impl Ending {
    /// The process. Once [`Ending::wait`] has answered, the kernel may give the number to another.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the end. May be dropped and called again; not after it has answered.
    ///
    /// # Errors
    /// The reaper stopped.
    pub async fn wait(&mut self) -> Result<Exit, ReaperError> {
        (&mut self.exit).await.map_err(|_| ReaperError::Stopped { pid: self.pid.as_raw() })
    }
}

impl Reaper {
    /// Starts reaping. Needs a running runtime; the task lives as long as that.
    ///
    /// # Errors
    /// SIGCHLD cannot be taken.
    pub fn start() -> Result<Self, ReaperError> {
        let mut children = signal(SignalKind::child()).map_err(|source| ReaperError::Signal { source })?;
        let reaper = Self::default();
        let task = reaper.clone();
        tokio::spawn(async move {
            // Once before the first signal: process 1 may have been executed anew, with children from before.
            loop {
                while task.reap() == Reaping::Busy {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                if children.recv().await.is_none() {
                    return;
                }
            }
        });
        Ok(reaper)
    }

    /// Starts `command` as a child.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, ReaperError> {
        let mut pipes = (None, None, None);
        let ending = self.enter(|| {
            // When the program cannot be executed, this call itself waits for the failed child: the lock keeps the
            // reaper from taking that end first.
            let mut child = command.spawn().map_err(|source| ReaperError::Start {
                program: command.get_program().to_string_lossy().into_owned(),
                source,
            })?;
            pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            // The kernel's numbers are never negative and end far below the bound of the type (proc(5), pid_max).
            Ok(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)))
        })?;
        let (stdin, stdout, stderr) = pipes;
        Ok(Child { stdin, stdout, stderr, ending })
    }

    /// Enters a child that `start` makes in its own way (`clone3(2)`, a container). `start` runs under the reaper's lock
    /// and must not use the reaper.
    ///
    /// # Errors
    /// What `start` says.
    pub fn enter<E>(&self, start: impl FnOnce() -> Result<Pid, E>) -> Result<Ending, E> {
        let mut table = self.lock();
        let pid = start()?;
        let (sender, exit) = oneshot::channel();
        table.waiters.insert(pid, sender);
        Ok(Ending { pid, exit })
    }

    /// How many processes were reaped that nobody waited for.
    #[must_use]
    pub fn orphans(&self) -> u64 {
        self.lock().orphans
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements, so a panic elsewhere does not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self) -> Reaping {
        // A container that is being started holds the table for longer than the runtime may stand still.
        let mut table = match self.table.try_lock() {
            Ok(table) => table,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Reaping::Busy,
        };
        loop {
            let (pid, exit) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Reaping::Done,
                // Stops and continues are not asked for; a signal that interrupts is no reason to stop.
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(errno) => {
                    warn!(%errno, "children cannot be reaped");
                    return Reaping::Done;
                }
            };
            match table.waiters.remove(&pid) {
                Some(waiter) => {
                    let _ = waiter.send(exit);
                }
                None => {
                    table.orphans = table.orphans.saturating_add(1);
                    debug!(pid = pid.as_raw(), %exit, "an orphan was reaped");
                }
            }
        }
    }
}
