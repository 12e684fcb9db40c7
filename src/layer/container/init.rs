//! The processes inside a container: stage 1, which makes the namespaces; stage 2, PID 1 of the new PID namespace; the
//! entrypoint.
//!
//! Stage 1 is this binary executed anew, so nothing of the agent's memory, threads or descriptors comes along. It makes
//! stage 2 as its own sibling (`CLONE_PARENT`), so that the agent is the parent of PID 1 and reaps it, then ends. Stage 2
//! makes the inside, starts the entrypoint, reaps orphans, passes signals on, and ends with the entrypoint's status; when
//! it ends, the kernel kills whatever is left in its PID namespace.
//! Invariants: descriptors above 2 are closed; every failure is reported with its step; nothing here returns.
//! Specification: clone(2), pid_namespaces(7), sigwait(3).

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execve, fork, setsid};
use serde::{Deserialize, Serialize};

use super::setup::{self, Fault, fault};
use super::spec::{ContainerSpec, Report, SPEC_MAX_BYTES, SetupStep};

/// Status of a container whose set-up failed.
const EXIT_SETUP_FAILED: i32 = 125;
/// Added to a signal's number where the entrypoint was killed by one, as shells do.
const EXIT_SIGNAL_BASE: i32 = 128;
/// What PID 1 passes on to the entrypoint.
const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// What stage 1 reads: the specification, and the control group to enter.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) spec: ContainerSpec,
    pub(super) cgroup_procs: Option<std::path::PathBuf>,
}

/// Where reports go: the socket that the order came by.
struct Reports(File);

impl Reports {
    fn send(&mut self, report: &Report) {
        // If nobody listens any more there is nobody to tell, and the exit status says the rest.
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            let _ = self.0.write_all(&line);
        }
    }

    fn fail(mut self, fault: Fault) -> ! {
        let Fault { step, what, errno } = fault;
        self.send(&Report::Failed { step, what, errno });
        std::process::exit(EXIT_SETUP_FAILED)
    }
}

/// Runs as stage 1. The binary's `main` calls this first of all, before any thread, when its first argument is
/// [`super::CONTAINER_INIT_ARG`]. Descriptor 0 is the socket of the agent that started it.
pub fn container_main() -> ! {
    let mut reports = match take_socket() {
        Ok(file) => Reports(file),
        Err(_) => std::process::exit(EXIT_SETUP_FAILED),
    };
    let order = match read_order(&mut reports.0) {
        Ok(order) => order,
        Err(fault) => reports.fail(fault),
    };
    match enter_and_clone(&order) {
        Err(fault) => reports.fail(fault),
        Ok(0) => first_process(&order.spec, reports),
        Ok(pid) => {
            reports.send(&Report::Init(pid));
            std::process::exit(0)
        }
    }
}

/// Moves descriptor 0 out of the way of the entrypoint and closes all others that were inherited.
fn take_socket() -> io::Result<File> {
    // SAFETY: plain system calls on descriptor numbers; no descriptor above 2 is owned by anything in this process yet.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        let socket = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = File::from_raw_fd(socket);
        let null = File::open("/dev/null")?;
        match libc::dup2(null.as_raw_fd(), 0) {
            0 => Ok(socket),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn read_order(socket: &mut File) -> Result<Order, Fault> {
    let invalid = |error: io::Error| fault(SetupStep::ReadSpec, error.to_string(), error);
    let mut bytes = Vec::new();
    socket.take(SPEC_MAX_BYTES).read_to_end(&mut bytes).map_err(invalid)?;
    let order: Order = serde_json::from_slice(&bytes).map_err(|error| invalid(error.into()))?;
    order.spec.check().map_err(|error| invalid(io::Error::other(error)))?;
    Ok(order)
}

/// Answers the new process's id to stage 1, and 0 to the new process.
fn enter_and_clone(order: &Order) -> Result<i32, Fault> {
    if let Some(procs) = &order.cgroup_procs {
        // Before the cgroup namespace is made, so that this group is its root.
        fs::write(procs, "0").map_err(|error| fault(SetupStep::JoinCgroup, procs.display(), error))?;
    }
    let namespaces = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).map_err(|errno| fault(SetupStep::Unshare, "pid, mount, uts, ipc, cgroup", errno))?;
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack this is fork(); the process has one thread, so the child may go on
    // as a normal process. The arguments beyond the flags are zero on every architecture, whatever their order.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
    match i32::try_from(pid) {
        Ok(pid) if pid >= 0 => Ok(pid),
        _ => Err(fault(SetupStep::Fork, "PID 1 of the container", io::Error::last_os_error())),
    }
}

/// PID 1 inside.
fn first_process(spec: &ContainerSpec, reports: Reports) -> ! {
    // Blocked before the entrypoint exists, so that none of its signals is lost. As PID 1 has no default actions, a signal
    // from outside is seen only by waiting for it.
    let waited = SigSet::all();
    let blocked = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&waited), None);
    if let Err(errno) = blocked {
        reports.fail(fault(SetupStep::Fork, "blocking signals", errno));
    }
    if let Err(fault) = setup::make(spec) {
        reports.fail(fault);
    }
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        Err(errno) => reports.fail(fault(SetupStep::Fork, "the entrypoint", errno)),
        Ok(ForkResult::Child) => execute(spec, reports),
        Ok(ForkResult::Parent { child }) => {
            // The agent knows by the end of the reports that the entrypoint runs, so this copy must go.
            drop(reports);
            rename_process();
            tend(child, &waited)
        }
    }
}

fn rename_process() {
    // SAFETY: the name is a C string that lives through the call. A failure leaves the old name, which does no harm.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"bootes-init".as_ptr(), 0, 0, 0) };
}

fn execute(spec: &ContainerSpec, mut reports: Reports) -> ! {
    let program = spec.entrypoint.first().map_or("", String::as_str);
    let what = Path::new(program).display().to_string();
    let executed = (|| -> io::Result<std::convert::Infallible> {
        // The runtime of this binary ignores SIGPIPE, and ignored signals are inherited.
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of this process.
        unsafe { sigaction(Signal::SIGPIPE, &default) }?;
        setsid()?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        let words = spec.entrypoint.iter().map(|word| CString::new(word.as_str()));
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let env = spec.env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        let env = env.collect::<Result<Vec<_>, _>>()?;
        let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
        reports.send(&Report::Executing);
        Ok(execve(program, &words, &env)?)
    })();
    match executed {
        Ok(never) => match never {},
        Err(error) => reports.fail(fault(SetupStep::Exec, what, error)),
    }
}

/// Reaps and passes signals on until the entrypoint ends.
fn tend(entrypoint: Pid, waited: &SigSet) -> ! {
    loop {
        match waited.wait() {
            Ok(Signal::SIGCHLD) => reap(entrypoint),
            Ok(signal) if FORWARDED.contains(&signal) => {
                // It may have ended a moment ago; then its SIGCHLD is on the way.
                let _ = kill(entrypoint, signal);
            }
            // Others mean nothing to an init; an interrupted wait is waited again.
            Ok(_) | Err(_) => {}
        }
    }
}

fn reap(entrypoint: Pid) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == entrypoint => std::process::exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == entrypoint => {
                std::process::exit(EXIT_SIGNAL_BASE.saturating_add(signal as i32))
            }
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
