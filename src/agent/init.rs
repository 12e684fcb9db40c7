//! The face of process 1: starts up, lives with the parent, and ends the machine when it is asked to.
//!
//! Invariants: it never returns and never exits; one thread runs everything that waits, and a few more what blocks.
//! Deliberately absent: every step of its own; see `start` and `link`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cmdline::BootArguments;
use super::console::{Console, chain};
use super::lines::Lines;
use super::link::{self, Agent};
use super::lldp::Heard;
use super::machine::Outcome;
use super::network::{Interface, NetworkError};
use super::power::{self, Request, Requests};
use super::runner::{ContainerRunner, Places};
use super::start::{self, Started};
use super::{lldp, machine, modules, network, rootfs, surroundings};
use crate::model::hardware::Hardware;

/// Threads for what blocks: mounting and starting images, a few at a time.
const BLOCKING_THREADS_MAX: usize = 4;
/// Their stacks, in bytes; they call little.
const THREAD_STACK_BYTES: usize = 512 << 10;

/// When the agent's memory is looked at first: after it has joined and run its images, as a rule.
const MEMORY_FIRST: Duration = Duration::from_secs(20);
/// And how often from then on.
const MEMORY_PAUSE: Duration = Duration::from_secs(3_600);

/// Whether this process is to be process 1's face, or the kernel's module helper: by its number and its name.
#[must_use]
pub fn is_called(arguments: &[String]) -> bool {
    let name = arguments.first().and_then(|program| program.rsplit('/').next());
    std::process::id() == 1 || name == Some("init") || modules::helper_request(arguments).is_some()
}

/// Process 1, or the kernel's module helper. Call it first of all in `main`, before any thread, when [`is_called`].
pub fn main(arguments: &[String]) -> ! {
    if let Some(name) = modules::helper_request(arguments) {
        std::process::exit(modules::answer_helper_request(name));
    }
    if std::process::id() != 1 {
        eprintln!("bootes: this is the init of layer 0, which only process 1 can be; use another name to run bootes");
        std::process::exit(1);
    }
    let root = start::enter().unwrap_or_else(|error| power::last_words(&chain(&error)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(THREAD_STACK_BYTES)
        .build();
    let runtime = runtime.unwrap_or_else(|error| power::last_words(&error.to_string()));
    runtime.block_on(live(root))
}

async fn live(root: rootfs::Root) -> ! {
    let started = start::start(root).await.unwrap_or_else(|error| power::last_words(&chain(&error)));
    let Started { mut arguments, hardware, mut interface, reaper, console, mut requests, .. } = started;
    let lines = Lines::default();
    tokio::spawn(forward(console, lines.clone()));
    tokio::spawn(watch_memory());
    let heard = lldp::start(interface.name.clone());
    if machine::is_machine(&arguments) {
        (arguments, interface) = wait(arguments, &hardware, interface, heard.clone(), &mut requests).await;
    }
    let runner = Arc::new(ContainerRunner::new(&arguments, reaper, lines.clone(), Places::default()));
    let seen = surroundings::start(interface.address.address, Path::new("/")).await;
    let seen = surroundings::with_neighbours(seen, heard);
    let stop = CancellationToken::new();
    let agent = link::run(Agent { arguments, hardware, runner, lines, seen, stop: stop.clone() });
    let mut agent = std::pin::pin!(agent);
    let request = tokio::select! {
        ended = &mut agent => match ended {
            // Nobody asked it to stop.
            Ok(()) => power::last_words("the agent ended without being asked to"),
            Err(error) => power::last_words(&chain(&error)),
        },
        request = requests.next() => request,
    };
    tracing::warn!(?request, "this machine was asked to end; images are stopped first");
    stop.cancel();
    if tokio::time::timeout(link::STOP_LIMIT.saturating_mul(2), agent).await.is_err() {
        tracing::error!("the agent did not end in time");
    }
    end(request)
}

fn end(request: Request) -> ! {
    let Err(error) = match request {
        Request::PowerOff => power::power_off(),
        Request::Restart => power::reboot(),
    };
    power::last_words(&chain(&error))
}

/// The life of a machine that is no node, until it is one: then with the node's arguments and address.
async fn wait(
    arguments: BootArguments,
    hardware: &Hardware,
    interface: Interface,
    heard: watch::Receiver<Heard>,
    requests: &mut Requests,
) -> (BootArguments, Interface) {
    if let Err(error) = network::bring_all_up().await {
        tracing::warn!(error = chain(&error), "only the interface that this machine booted from is up");
    }
    let stop = CancellationToken::new();
    let waited = tokio::select! {
        waited = machine::wait(&arguments, hardware, heard, stop) => waited,
        request = requests.next() => end(request),
    };
    let outcome = waited.unwrap_or_else(|error| power::last_words(&chain(&error)));
    let Outcome::Node(node) = outcome else {
        tracing::warn!("this machine is a node of another network; it starts over to boot as that");
        end(Request::Restart);
    };
    tracing::info!(name = node.name, ip = %node.address, "this machine is a node now, and goes on as it");
    let moved = async {
        network::take_address(&interface).await?;
        let moved = network::bring_up(&node).await?;
        network::name_host(Path::new("/"), &node)?;
        Ok::<_, NetworkError>(moved)
    };
    match moved.await {
        Ok(interface) => (*node, interface),
        Err(error) => power::last_words(&chain(&error)),
    }
}

/// Says now and then how much memory process 1 has come to use: it is taken from the node's work.
async fn watch_memory() {
    let mut pause = MEMORY_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = MEMORY_PAUSE;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        tracing::debug!(peak = peak.map_or("unknown", str::trim), "the agent's memory");
    }
}

/// Hands what the agent says on to the lines for the parent.
async fn forward(console: Console, lines: Lines) {
    loop {
        let batch = console.heard().await;
        lines.lost(batch.dropped);
        for line in batch.lines {
            lines.push(&format!("[{:>5}.{:03}] {}", line.uptime.as_secs(), line.uptime.subsec_millis(), line.text));
        }
    }
}
