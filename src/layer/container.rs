//! Running an image's entrypoint in namespaces of its own, from the side of the agent.
//!
//! New: PID, mount, UTS, IPC and cgroup namespaces, /proc, /sys (read-only), /dev. Shared: the network, because services
//! of a compute node answer at the node's address. [`spec`] says what an image is denied.
//! Invariants: the agent alone reaps. It hands each wait status of the container's [`Container::pid`] to
//! [`Container::exited`]; nothing here waits for a child that lives. Signals go by pidfd, so never to a stranger that got
//! the same number. After [`Container::stop`] every process of the container is dead, also those that left its session.
//! Dropping a [`Container`] ends nothing.
//! Deliberately absent: restart policy, health, mounting the root (see [`super::mount`]), resource limits.
//! Specification: namespaces(7), pidfd_open(2), cgroups(7).

mod cgroup;
mod init;
mod setup;
pub mod spec;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::sync::watch;

use self::cgroup::Cgroup;
use self::init::Order;
pub use self::init::container_main;
use self::spec::{ContainerSpec, Report, SPEC_MAX_BYTES, SetupStep, SpecFault};
use super::mount;

/// The first argument with which the binary is executed anew as a container's first process.
pub const CONTAINER_INIT_ARG: &str = "container-init";
/// The binary that runs now; what [`Container::start`] is given outside tests.
pub const SELF: &str = "/proc/self/exe";
/// Longest silence while a container is set up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the death of killed processes may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);
/// How often, 10 ms apart, an empty control group is tried to be removed.
const CGROUP_REMOVE_TRIES: u32 = 100;

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status. 128 + n: the entrypoint was killed by signal n.
    Code(i32),
    /// PID 1 itself was killed by this signal, and all with it.
    Signal(i32),
}

impl Exit {
    /// Reads the status that waitpid(2) gave. A stop is no end, so none.
    pub fn from_wait_status(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            Some(Self::Code(libc::WEXITSTATUS(status)))
        } else if libc::WIFSIGNALED(status) {
            Some(Self::Signal(libc::WTERMSIG(status)))
        } else {
            None
        }
    }
}

/// Why a container could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The specification is not usable.
    #[error("container {id} cannot be started as specified; correct the image or the node's name")]
    Spec {
        /// The container.
        id: String,
        /// What is wrong.
        #[source]
        source: SpecFault,
    },
    /// A step inside failed.
    #[error("setting up container {id} failed at {step}: {what}")]
    Setup {
        /// The container.
        id: String,
        /// Which step.
        step: SetupStep,
        /// On what.
        what: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The first process ended without a word.
    #[error("container {id} died while it was set up; look for the out-of-memory killer in the kernel's log")]
    Died {
        /// The container.
        id: String,
    },
    /// The agent's side failed.
    #[error("container {id}: {action} failed")]
    System {
        /// The container.
        id: String,
        /// What was done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Killed, and still not dead.
    #[error("container {id} does not die; a process in it hangs in the kernel, probably on a dead filesystem")]
    StillAlive {
        /// The container.
        id: String,
    },
}

/// A container that runs, or ran.
#[derive(Debug)]
pub struct Container {
    id: String,
    pid: i32,
    pidfd: OwnedFd,
    cgroup: Option<Cgroup>,
    output: Option<OwnedFd>,
    exit: watch::Sender<Option<Exit>>,
}

impl Container {
    /// Starts a container and answers when its entrypoint was executed. Blocks for some tens of milliseconds (at most
    /// until `SETUP_TIMEOUT` of silence); `program` is [`SELF`], or the bootes binary in tests.
    ///
    /// Call it from the thread that reaps, so that no status of the new child is reaped before its id is known. The
    /// short-lived stage 1 is reaped here; if the caller was faster, that is no error.
    pub fn start(program: &Path, spec: &ContainerSpec) -> Result<Self, ContainerError> {
        let id = spec.id.clone();
        spec.check().map_err(|source| ContainerError::Spec { id: id.clone(), source })?;
        let system = |action| {
            let id = id.clone();
            move |source| ContainerError::System { id, action, source }
        };
        let cgroup = mount::cgroup2().map(|hierarchy| Cgroup::create(&hierarchy, &id)).transpose();
        let cgroup = cgroup.map_err(system("making its control group"))?;
        let started = Launch::run(program, spec, cgroup.as_ref()).and_then(|launch| {
            let pidfd = pidfd_open(launch.init).map_err(system("opening its pidfd"))?;
            Ok((launch, pidfd))
        });
        match started {
            Ok((launch, pidfd)) => {
                let (pid, output, exit) = (launch.init, Some(launch.output), watch::Sender::new(None));
                Ok(Self { id, pid, pidfd, cgroup, output, exit })
            }
            Err(error) => {
                if let Some(cgroup) = cgroup {
                    let _ = cgroup.kill().and_then(|()| cgroup.remove());
                }
                Err(error)
            }
        }
    }

    /// The container's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its PID 1, as seen from outside: a child of this process, to be reaped by the caller.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The read end of the pipe that its standard output and error go to; once.
    pub fn take_output(&mut self) -> Option<OwnedFd> {
        self.output.take()
    }

    /// Takes in that [`Container::pid`] was reaped with this status.
    pub fn exited(&self, exit: Exit) {
        self.exit.send_replace(Some(exit));
    }

    /// How it ended, or none while it runs.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits until [`Container::exited`] was called.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        loop {
            if let Some(exit) = *exit.borrow_and_update() {
                return exit;
            }
            // The sender lives as long as `self`, so this cannot fail while anybody waits.
            if exit.changed().await.is_err() {
                return Exit::Signal(libc::SIGKILL);
            }
        }
    }

    /// Asks the entrypoint to end (SIGTERM), and after `grace` kills all that is left. Somebody else must go on reaping
    /// meanwhile. Also right for a container that ended by itself: then it clears up after it.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, ContainerError> {
        if self.exit().is_none() {
            self.signal(libc::SIGTERM)?;
            if tokio::time::timeout(grace, self.wait()).await.is_err() {
                tracing::warn!(container = %self.id, "A container did not end in time and is killed");
                self.kill()?;
            }
        }
        let exit = tokio::time::timeout(KILL_TIMEOUT, self.wait()).await;
        let exit = exit.map_err(|_| ContainerError::StillAlive { id: self.id.clone() })?;
        self.remove_cgroup().await?;
        Ok(exit)
    }

    /// Kills every process of it at once.
    pub fn kill(&self) -> Result<(), ContainerError> {
        if let Some(cgroup) = &self.cgroup
            && let Err(error) = cgroup.kill()
        {
            tracing::warn!(container = %self.id, error = %error, "A control group could not be killed");
        }
        // With its PID 1 the kernel ends the whole PID namespace, with or without control groups.
        self.signal(libc::SIGKILL)
    }

    fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        // SAFETY: the pidfd is open; a null siginfo means that of kill(2).
        let sent = unsafe {
            let no_info = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, no_info, 0)
        };
        match io::Error::last_os_error() {
            _ if sent == 0 => Ok(()),
            // Dead already.
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            source => Err(ContainerError::System { id: self.id.clone(), action: "signalling it", source }),
        }
    }

    async fn remove_cgroup(&self) -> Result<(), ContainerError> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        let mut tries = 0;
        loop {
            match cgroup.remove() {
                Ok(()) => return Ok(()),
                Err(_) if tries < CGROUP_REMOVE_TRIES => tries += 1,
                Err(source) => {
                    let action = "removing its control group";
                    return Err(ContainerError::System { id: self.id.clone(), action, source });
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The start of a container: stage 1 and what came of it.
struct Launch {
    init: i32,
    output: OwnedFd,
}

impl Launch {
    fn run(program: &Path, spec: &ContainerSpec, cgroup: Option<&Cgroup>) -> Result<Self, ContainerError> {
        let id = &spec.id;
        let system = |action| move |source| ContainerError::System { id: id.clone(), action, source };
        let (mut ours, theirs) = UnixStream::pair().map_err(system("making a socket"))?;
        let (output, input) = io::pipe().map_err(system("making a pipe"))?;
        let second = input.try_clone().map_err(system("making a pipe"))?;
        let limit = Some(SETUP_TIMEOUT);
        ours.set_read_timeout(limit)
            .and_then(|()| ours.set_write_timeout(limit))
            .map_err(system("setting up a socket"))?;
        let mut command = Command::new(program);
        command.arg(CONTAINER_INIT_ARG).env_clear().current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::from(input)).stderr(Stdio::from(second));
        let stage_1 = command.spawn().map_err(system("executing bootes anew"))?;
        // The command holds the other ends of socket and pipe; their ends can only be seen once it is gone.
        drop(command);
        let order = Order { spec: spec.clone(), cgroup_procs: cgroup.map(Cgroup::procs) };
        let sent = serde_json::to_vec(&order).map_err(io::Error::from).and_then(|bytes| {
            ours.write_all(&bytes)?;
            ours.shutdown(Shutdown::Write)
        });
        // Even where sending failed: what was reported says more.
        let mut text = String::new();
        let heard = (&mut ours).take(SPEC_MAX_BYTES).read_to_string(&mut text);
        let reports = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let (init, outcome) = judge(reports);
        let error = match outcome {
            Some(Report::Failed { step, what, errno }) => {
                let source = io::Error::from_raw_os_error(errno);
                Some(ContainerError::Setup { id: id.clone(), step, what, source })
            }
            _ => match sent.and(heard) {
                Err(source) => Some(system("talking to its first process")(source)),
                Ok(_) if outcome != Some(Report::Executing) => Some(ContainerError::Died { id: id.clone() }),
                Ok(_) => None,
            },
        };
        if error.is_some() {
            // Both are children that were not reaped yet, or this thread could not have got here.
            for pid in [i32::try_from(stage_1.id()).ok(), init].into_iter().flatten() {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                let _ = waitpid(Pid::from_raw(pid), None);
            }
        } else if let Ok(pid) = i32::try_from(stage_1.id()) {
            let _ = waitpid(Pid::from_raw(pid), None);
        }
        match (error, init) {
            (Some(error), _) => Err(error),
            (None, Some(init)) => Ok(Self { init, output: output.into() }),
            (None, None) => Err(ContainerError::Died { id: id.clone() }),
        }
    }
}

/// The id of PID 1, and the last report that decides: a failure, or that the entrypoint was executed.
fn judge(reports: impl Iterator<Item = Report>) -> (Option<i32>, Option<Report>) {
    let (mut init, mut outcome) = (None, None);
    for report in reports {
        match report {
            Report::Init(pid) => init = Some(pid),
            decisive => outcome = Some(decisive),
        }
    }
    (init, outcome)
}

fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only; the descriptor that it answers is new and owned by nobody else.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
