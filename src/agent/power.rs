//! The end: power off or restart this machine.
//!
//! Invariants: filesystems are asked to write out first, but a disk that never answers delays the end only by a bound.
//! Process 1 never unwinds out: a panic is written to the console, and after a pause the machine restarts. Staying up
//! instead would keep a machine that no longer hears its parent, and starting the agent anew in place cannot join again,
//! since its token was for one use; a restart brings the node back by the way that is tested at every boot. The pause
//! lets a person read the console and keeps a machine that panics at every start from hammering its boot servers.
//! Deliberately absent: stopping what runs (the caller's business, before), the BMC's way of doing this, and the ACPI
//! power button.
//! Specification: reboot(2), sync(2), signal(7); the signals are those of sysvinit and BusyBox init.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::reboot::RebootMode;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console;

/// How long filesystems may take to write out before the end comes anyway.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last words stay on the console before the machine restarts.
pub const LAST_WORDS_PAUSE: Duration = Duration::from_secs(20);

/// What somebody on this machine, or the kernel, asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Stop what runs, then switch the power off: SIGUSR1, SIGUSR2, SIGPWR.
    PowerOff,
    /// Stop what runs, then restart: SIGTERM, SIGINT (which Ctrl-Alt-Del becomes).
    Restart,
}

/// The requests of this machine.
#[derive(Debug)]
pub struct Requests {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    user2: Signal,
    power: Signal,
}

impl Requests {
    /// Takes the signals; from then on none of them ends this process. Needs a running runtime.
    ///
    /// # Errors
    /// A signal cannot be taken.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            power: signal(SignalKind::from_raw(nix::libc::SIGPWR))?,
        })
    }

    /// The next request. Dropping the future loses none.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Restart,
            _ = self.interrupt.recv() => Request::Restart,
            _ = self.user1.recv() => Request::PowerOff,
            _ = self.user2.recv() => Request::PowerOff,
            _ = self.power.recv() => Request::PowerOff,
        }
    }
}

/// The end of process 1: writes `words` to the console, waits [`LAST_WORDS_PAUSE`], and restarts the machine. If even
/// that is refused, stays for ever, since the kernel dies with process 1. Uses neither the runtime nor the log.
pub fn last_words(words: &str) -> ! {
    let words = console::one_line(&words.replace('\n', " "));
    let line = format!("bootes: {words}; this machine restarts in {} s\n", LAST_WORDS_PAUSE.as_secs());
    match OpenOptions::new().write(true).open("/dev/console") {
        Ok(mut console) => drop(console.write_all(line.as_bytes())),
        Err(_) => drop(io::stderr().write_all(line.as_bytes())),
    }
    std::thread::sleep(LAST_WORDS_PAUSE);
    let Err(_) = reboot();
    loop {
        std::thread::park();
    }
}

/// Makes every panic of this process its [`last_words`]. For process 1 alone.
pub fn restart_on_panic() {
    std::panic::set_hook(Box::new(|panic| last_words(&format!("process 1 hit a defect: {panic}"))));
}

/// The kernel refused to end.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused to {action}; process 1 needs CAP_SYS_BOOT, and the BMC can do it instead")]
pub struct PowerError {
    /// What was asked for.
    pub action: &'static str,
    /// Why not.
    pub source: Errno,
}

/// Writes out filesystems and switches the power off. Blocks for at most ten seconds.
///
/// # Errors
/// The kernel refused; on success this does not return.
pub fn power_off() -> Result<Infallible, PowerError> {
    end("power off", RebootMode::RB_POWER_OFF)
}

/// Writes out filesystems and restarts the machine through its firmware. Blocks for at most ten seconds.
///
/// # Errors
/// The kernel refused; on success this does not return.
pub fn reboot() -> Result<Infallible, PowerError> {
    end("restart", RebootMode::RB_AUTOBOOT)
}

fn end(action: &'static str, mode: RebootMode) -> Result<Infallible, PowerError> {
    let (done, wait) = mpsc::channel();
    let writer = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
        nix::unistd::sync();
        let _ = done.send(());
    });
    if writer.is_ok() {
        let _ = wait.recv_timeout(SYNC_TIMEOUT);
    }
    nix::sys::reboot::reboot(mode).map_err(|source| PowerError { action, source })
}

/// Makes Ctrl-Alt-Del a signal (SIGINT) to process 1 rather than an immediate restart.
///
/// # Errors
/// The kernel refused.
pub fn take_ctrl_alt_del() -> Result<(), PowerError> {
    nix::sys::reboot::set_cad_enabled(false).map_err(|source| PowerError { action: "hand over Ctrl-Alt-Del", source })
}
