//! The guard: a small process between the appliance and a module's program, which sees to it that nothing of the program
//! outlives the appliance, however the appliance ends.
//!
//! The guard is this binary executed anew. The kernel tells it when the thread that started it is gone (`PR_SET_PDEATHSIG`),
//! which a kill -9 of the appliance cannot prevent. It is the reaper of all the program's descendants
//! (`PR_SET_CHILD_SUBREAPER`), so those that have left the program's process group, or lost their parent, are found and
//! ended too. When the guard itself is killed, the kernel kills the program.
//! Invariants: the guard ends with the program's own status and never before the program; when it ends, no descendant of
//! the program is left.
//! Absent on purpose: reading what the program says, and starting it again.
//! Specification: prctl(2), wait(2), proc(5).

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid};

/// The first argument of the binary when it is the guard; the next is the appliance's process id, the rest the program.
pub const GUARD_ARG: &str = "module-guard";
/// Status when the program cannot be started at all, as shells have it.
pub const EXIT_NOT_STARTED: u8 = 127;
/// Added to a signal's number where the program was ended by one, as shells do.
const EXIT_SIGNAL_BASE: i32 = 128;
/// Descendants are looked for at most so often; a program that makes new ones faster than they can be ended is left to
/// the kernel's limits.
const SWEEPS_MAX: usize = 10_000;

/// Runs as the guard. The binary's `main` calls this first of all, before any thread.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    match guard(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("the program cannot be started: {error}");
            ExitCode::from(EXIT_NOT_STARTED)
        }
    }
}

fn guard(arguments: &[String]) -> io::Result<u8> {
    let [parent, program, rest @ ..] = arguments else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
    };
    // Blocked before anything can send one of them, so that none is lost; the program begins with none blocked.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    prctl::set_child_subreaper(true)?;
    if getppid().to_string() != *parent {
        // The appliance ended before the kernel was asked to tell.
        return Ok(EXIT_NOT_STARTED);
    }
    let child = start(program, rest)?;
    let pid = pid_of(&child);
    let status = let_go_of_pipes().and_then(|()| watch(pid, &signals));
    end_descendants(pid);
    status
}

fn start(program: &str, arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    // SAFETY: between fork and exec only prctl(2) is called, which is safe there.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
    command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// The pipes are the program's alone: the appliance must see them end when the program has closed them.
fn let_go_of_pipes() -> io::Result<()> {
    let nothing = fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}

/// Waits for the program's end, or for word that it must end.
fn watch(program: Pid, signals: &SigSet) -> io::Result<u8> {
    loop {
        if signals.wait()? != Signal::SIGCHLD {
            return Ok(status_of(Signal::SIGKILL as i32 + EXIT_SIGNAL_BASE));
        }
        // One signal may stand for several children.
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == program => return Ok(status_of(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                    return Ok(status_of(EXIT_SIGNAL_BASE + signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn status_of(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// What a guard's exit status says of the program, in words.
#[must_use]
pub fn in_words(status: std::process::ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code > EXIT_SIGNAL_BASE && code < EXIT_SIGNAL_BASE + 65 => {
            let number = code - EXIT_SIGNAL_BASE;
            let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
            format!("it was ended by the signal {name}")
        }
        (Some(code), _) if code == i32::from(EXIT_NOT_STARTED) => "it could not be started".into(),
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, signal) => format!("its guard was ended by the signal {}", signal.unwrap_or_default()),
    }
}

/// Ends what is left: the program's process group, and every descendant wherever it went. Those whose parent is ended
/// become children of the guard, so each round finds the next generation.
fn end_descendants(program: Pid) {
    for _ in 0..SWEEPS_MAX {
        // Whoever is gone already needs no signal.
        let _ = killpg(program, Signal::SIGKILL);
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        if waitpid(None, None) == Err(Errno::ECHILD) {
            return;
        }
    }
}

/// The processes whose parent is this one, read from /proc, which every kernel has.
fn children() -> Vec<Pid> {
    let own = getpid().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let child = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // pid (comm) state ppid …; the command's name may hold anything, also brackets.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
        (parent == own).then_some(Pid::from_raw(pid))
    };
    entries.flatten().filter_map(child).collect()
}

/// Where the binary is that the guard is made of: the one that runs now, even where the file was replaced since.
pub const THIS_BINARY: &str = "/proc/self/exe";

/// The appliance's side of the guard: its standard streams are pipes, and a signal to the appliance's process group is
/// not one to it.
#[must_use]
pub fn command(binary: &std::path::Path, words: &[String]) -> Command {
    let mut command = Command::new(binary);
    command.arg(GUARD_ARG).arg(std::process::id().to_string()).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}
