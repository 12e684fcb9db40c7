//! Start-up as data: the steps of process 1, from the kernel's hand-over to a configured network and a known machine.
//!
//! [`enter`] comes first, before any runtime: it says the first line and leaves the initial root. [`start`] then walks
//! [`STEPS`] in one loop, and logs how long each took.
//!
//! Invariants: steps run one after the other, in the table's order; the first that fails ends the walk and is named. A step
//! uses only what earlier steps made.
//! Deliberately absent: what comes after (joining the parent), retries (a step's own business), and what to do about a
//! failure: the caller decides, and [`power::last_words`] is there for it.
//! Specification: Linux `Documentation/filesystems/ramfs-rootfs-initramfs.rst` (what an init of an initramfs owes).

use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tracing::{Level, info, warn};

use super::cmdline::{self, BootArguments, CmdlineError};
use super::console::{Console, chain, uptime};
use super::hotplug::Hotplug;
use super::modules::{self, Modules, ModulesError};
use super::mounts::{self, MountError};
use super::network::{self, Interface, NetworkError};
use super::power::{self, Requests};
use super::reaper::{Reaper, ReaperError};
use super::rootfs::{self, Root, RootfsError};
use crate::model::hardware::Hardware;

/// How the first line of process 1 begins, for whoever watches the console.
pub const MARKER: &str = "bootes: pid 1 started";
/// After how many seconds a kernel that panicked restarts the machine, unless `panic=` says otherwise.
const KERNEL_PANIC_SECONDS: &str = "20";

/// What start-up leaves to the rest of the agent.
#[derive(Debug)]
pub struct Started {
    /// What the command line said.
    pub arguments: BootArguments,
    /// What the machine is made of.
    pub hardware: Hardware,
    /// The interface that is up.
    pub interface: Interface,
    /// Whether the root was moved.
    pub root: Root,
    /// Starts children and reaps everyone's.
    pub reaper: Reaper,
    /// The console, and the lines to forward.
    pub console: Console,
    /// Requests to shut down.
    pub requests: Requests,
    /// How long each step took, in order.
    pub durations: Vec<(&'static str, Duration)>,
}

/// Start-up failed.
#[derive(Debug, thiserror::Error)]
#[error("start-up failed at the step `{step}`")]
pub struct StartError {
    /// The step, as [`STEPS`] names it.
    pub step: &'static str,
    /// Why.
    pub source: Box<StepError>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The initial root could not be left.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The command line could not be read.
    #[error("/proc/cmdline could not be read")]
    ReadCmdline(#[source] std::io::Error),
    /// The command line does not describe a node.
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    /// Children cannot be reaped.
    #[error(transparent)]
    Reaper(#[from] ReaperError),
    /// Signals cannot be taken.
    #[error("requests to shut down cannot be heard")]
    Requests(#[source] std::io::Error),
    /// Modules cannot be looked up.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// The network did not come up.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The table's order is wrong.
    #[error("it needs {needs}, which no earlier step made; this is a defect of the table of steps")]
    Order {
        /// What is missing.
        needs: &'static str,
    },
}

/// What the steps have made so far.
#[derive(Debug)]
pub struct Boot {
    console: Console,
    arguments: Option<BootArguments>,
    reaper: Option<Reaper>,
    requests: Option<Requests>,
    interface: Option<Interface>,
    hardware: Option<Hardware>,
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), StepError>> + 'a>>;

/// One step.
pub struct Step {
    /// Its name, as logs and errors say it.
    pub name: &'static str,
    /// What it does.
    pub run: for<'a> fn(&'a mut Boot) -> Outcome<'a>,
}

/// Every step after [`enter`], in order.
pub const STEPS: &[Step] = &[
    Step { name: "mounts", run: |boot| Box::pin(async { mount(boot) }) },
    Step { name: "kernel settings", run: |_| Box::pin(async { settings() }) },
    Step { name: "arguments", run: |boot| Box::pin(async { arguments(boot) }) },
    Step { name: "children and signals", run: |boot| Box::pin(async { children(boot) }) },
    Step { name: "modules", run: |_| Box::pin(async { load_modules() }) },
    Step {
        name: "names",
        run: |boot| Box::pin(async { Ok(network::name_host(Path::new("/"), known(&boot.arguments)?)?) }),
    },
    Step { name: "network", run: |boot| Box::pin(bring_up(boot)) },
    Step { name: "hardware", run: |boot| Box::pin(async { discover(boot) }) },
];

/// The first thing that process 1 does, before it starts a thread or a runtime: says [`MARKER`] with the time since the
/// kernel started, makes panics restart the machine, and leaves the initial root, from which this program starts again.
///
/// # Errors
/// The initial root could not be left.
pub fn enter() -> Result<Root, StartError> {
    power::restart_on_panic();
    let moved = std::env::var_os(rootfs::MARKER).is_some();
    if !moved {
        let uptime = uptime();
        // The kernel opened the console for us; /dev is empty yet. Where it had none, nobody is there to read this.
        let _ = writeln!(std::io::stderr(), "{MARKER} uptime={}.{:03}", uptime.as_secs(), uptime.subsec_millis());
    }
    rootfs::leave().map_err(|error| StartError { step: "root", source: Box::new(error.into()) })
}

/// Walks [`STEPS`]. Needs a runtime with I/O and time; `root` is what [`enter`] gave.
///
/// # Errors
/// The step that failed, and why. What earlier steps did stays.
pub async fn start(root: Root) -> Result<Started, StartError> {
    let mut boot = Boot {
        console: Console::open(Path::new("/dev")),
        arguments: None,
        reaper: None,
        requests: None,
        interface: None,
        hardware: None,
    };
    let mut durations = Vec::with_capacity(STEPS.len());
    for step in STEPS {
        let begun = Instant::now();
        let outcome = (step.run)(&mut boot).await;
        let took = begun.elapsed();
        durations.push((step.name, took));
        if let Err(source) = outcome {
            let error = StartError { step: step.name, source: Box::new(source) };
            boot.console.say(Level::ERROR, &chain(&error));
            return Err(error);
        }
        info!(step = step.name, ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "a step of start-up is done");
    }
    finish(boot, root, durations).map_err(|source| StartError { step: "end", source: Box::new(source) })
}

fn finish(boot: Boot, root: Root, durations: Vec<(&'static str, Duration)>) -> Result<Started, StepError> {
    let missing = |needs| StepError::Order { needs };
    Ok(Started {
        arguments: boot.arguments.ok_or(missing("the arguments"))?,
        hardware: boot.hardware.ok_or(missing("the hardware"))?,
        interface: boot.interface.ok_or(missing("the interface"))?,
        reaper: boot.reaper.ok_or(missing("the reaper"))?,
        requests: boot.requests.ok_or(missing("the requests"))?,
        console: boot.console,
        root,
        durations,
    })
}

fn known(arguments: &Option<BootArguments>) -> Result<&BootArguments, StepError> {
    arguments.as_ref().ok_or(StepError::Order { needs: "the arguments" })
}

fn mount(boot: &mut Boot) -> Result<(), StepError> {
    let skipped = mounts::mount_all(Path::new("/"), mounts::MOUNTS)?;
    // Only now is there a /dev.
    boot.console = Console::open(Path::new("/dev"));
    boot.console.install();
    for error in skipped {
        tracing::debug!(error = &error as &dyn std::error::Error, "an optional mount was skipped");
    }
    Ok(())
}

/// Makes the kernel tell us rather than act, and never stay dead. Each is a comfort, so a refusal is only said.
fn settings() -> Result<(), StepError> {
    if let Err(error) = power::take_ctrl_alt_del() {
        warn!(%error, "Ctrl-Alt-Del restarts this machine at once");
    }
    let panic = Path::new("/proc/sys/kernel/panic");
    if fs::read_to_string(panic).is_ok_and(|seconds| seconds.trim() == "0")
        && let Err(error) = fs::write(panic, KERNEL_PANIC_SECONDS)
    {
        warn!(%error, "this machine will stay down after a kernel panic");
    }
    if let Err(error) = modules::install_helper(Path::new("/"), Path::new("/init")) {
        warn!(error = &error as &dyn std::error::Error, "the kernel has no module helper");
    }
    Ok(())
}

fn arguments(boot: &mut Boot) -> Result<(), StepError> {
    let line = fs::read_to_string("/proc/cmdline").map_err(StepError::ReadCmdline)?;
    let parsed = cmdline::parse(&line)?;
    boot.console.set_level(parsed.arguments.log);
    for argument in parsed.unknown {
        warn!(%argument, "the kernel command line has an argument that this agent does not know");
    }
    let known = &parsed.arguments;
    info!(node = %known.node, name = %known.name, mac = %known.mac, ip = %known.address, "this node knows who it is");
    boot.arguments = Some(parsed.arguments);
    Ok(())
}

fn children(boot: &mut Boot) -> Result<(), StepError> {
    boot.reaper = Some(Reaper::start()?);
    boot.requests = Some(Requests::take().map_err(StepError::Requests)?);
    Ok(())
}

fn load_modules() -> Result<(), StepError> {
    let hotplug = Hotplug::open();
    let mut modules = Modules::new(Path::new("/"))?;
    let report = modules.cold_plug()?;
    report.log();
    info!(loaded = report.loaded.len(), failed = report.failed.len(), rounds = report.rounds, "drivers are loaded");
    match hotplug {
        Ok(hotplug) => drop(tokio::spawn(hotplug.run(modules))),
        Err(error) => warn!(error = &error as &dyn std::error::Error, "new devices are not heard of"),
    }
    Ok(())
}

async fn bring_up(boot: &mut Boot) -> Result<(), StepError> {
    let interface = network::bring_up(known(&boot.arguments)?).await?;
    info!(
        interface = %interface.name, mac = %interface.mac, ip = %interface.address,
        uptime_ms = u64::try_from(uptime().as_millis()).unwrap_or(u64::MAX), "the network is up"
    );
    boot.interface = Some(interface);
    Ok(())
}

fn discover(boot: &mut Boot) -> Result<(), StepError> {
    let hardware = super::hardware::collect(Path::new("/"));
    info!(
        product = hardware.system.product.as_deref().unwrap_or("unknown"),
        threads = hardware.processor.threads,
        memory_mib = hardware.memory_bytes >> 20,
        disks = hardware.disks.len(),
        interfaces = hardware.interfaces.len(),
        "the hardware is known"
    );
    boot.hardware = Some(hardware);
    Ok(())
}
