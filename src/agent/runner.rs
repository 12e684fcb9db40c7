//! Running images for real: fetch, mount, start, watch, stop, unmount.
//!
//! Invariants: nothing that blocks is done on the agent's one thread; one life of an image at a time, since they share a
//! folder; whatever fails or is cancelled half-way is taken down again. What an image says goes to the parent, bounded.
//! Deliberately absent: restarting, and watching an image's health once it was seen healthy.

use std::fs;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cmdline::BootArguments;
use super::image::{Runner, Running};
use super::lines::Lines;
use super::reaper::{self, Reaper};
use super::surroundings;
use crate::layer::container::spec::ContainerSpec;
use crate::layer::container::{Container, ContainerError, Exit, SELF};
use crate::layer::fetch::{self, FetchError, Fetched};
use crate::layer::health::{self, Unhealthy};
use crate::layer::manifest::HealthCheck;
use crate::layer::mount::{ImageMount, MountError, WRITABLE_DEFAULT};
use crate::model::{Digest, Name};

/// Where images are kept and mounted.
pub const FOLDER: &str = "/run/bootes/images";
/// How long an image may take from its start until it is seen healthy.
pub const HEALTHY_LIMIT: Duration = Duration::from_secs(120);
/// How long one question about its health may take.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// The pause between two such questions.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// How long an image without a health check must live to be taken for healthy.
const ALIVE_FOR: Duration = Duration::from_secs(1);
/// How long an image may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The longest line of an image, in bytes; what is longer is told as several.
const OUTPUT_LINE_BYTES_MAX: usize = 512;

/// Why an image could not be run, or not be stopped.
#[derive(Debug, Error)]
pub enum RunError {
    /// It could not be fetched.
    #[error("image {image} could not be fetched")]
    Fetch {
        /// The image.
        image: Name,
        /// Why not.
        source: FetchError,
    },
    /// It could not be mounted or unmounted.
    #[error("image {image} could not be mounted or unmounted")]
    Mount {
        /// The image.
        image: Name,
        /// Why not.
        source: MountError,
    },
    /// It could not be started or stopped.
    #[error("image {image} could not be started or stopped")]
    Container {
        /// The image.
        image: Name,
        /// Why not.
        source: ContainerError,
    },
    /// It ended before it was healthy.
    #[error("image {image} ended with {how} before it was seen healthy; read its lines on the console")]
    Ended {
        /// The image.
        image: Name,
        /// How.
        how: String,
    },
    /// It did not become healthy.
    #[error("image {image} was not seen healthy within {} s", HEALTHY_LIMIT.as_secs())]
    Unhealthy {
        /// The image.
        image: Name,
        /// What the last question was answered with.
        source: Unhealthy,
    },
    /// Its folder cannot be made or removed.
    #[error("{action} {} failed; the node may be out of memory", path.display())]
    Folder {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something else was asked for meanwhile.
    #[error("image {image} is not wanted any more")]
    Cancelled {
        /// The image.
        image: Name,
    },
    /// A thread ended without an answer.
    #[error("the work on image {image} ended unexpectedly")]
    Thread {
        /// The image.
        image: Name,
        /// How.
        source: tokio::task::JoinError,
    },
}

/// What a test puts elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where images are kept and mounted.
    pub folder: PathBuf,
    /// Where each image has a folder in which it can say something to the agent.
    pub said: PathBuf,
    /// The program that becomes a container's first process.
    pub program: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Places {
            folder: PathBuf::from(FOLDER),
            said: Path::new("/").join(surroundings::SAID),
            program: PathBuf::from(SELF),
        }
    }
}

/// Runs images in containers.
#[derive(Debug)]
pub struct ContainerRunner {
    places: Places,
    node: String,
    address: IpAddr,
    sources: Vec<SocketAddr>,
    resolv_conf: Option<String>,
    reaper: Reaper,
    lines: Lines,
    lives: std::sync::Mutex<std::collections::HashMap<Name, Arc<Mutex<()>>>>,
}

impl ContainerRunner {
    /// Runs images as `arguments` say, with `reaper` for their first processes.
    #[must_use]
    pub fn new(arguments: &BootArguments, reaper: Reaper, lines: Lines, places: Places) -> Self {
        let servers = arguments.name_servers.iter().map(|server| format!("nameserver {server}\n"));
        let resolv_conf: String = servers.collect();
        ContainerRunner {
            places,
            node: arguments.name.clone(),
            address: arguments.address.address,
            sources: vec![arguments.http],
            resolv_conf: (!resolv_conf.is_empty()).then_some(resolv_conf),
            reaper,
            lines,
            lives: std::sync::Mutex::default(),
        }
    }

    /// Waits until no earlier life of the image is left.
    async fn life(&self, image: &Name) -> OwnedMutexGuard<()> {
        let life = {
            let mut lives = self.lives.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // An image that nobody uses any more needs no place here.
            lives.retain(|_, life| Arc::strong_count(life) > 1);
            lives.entry(image.clone()).or_default().clone()
        };
        life.lock_owned().await
    }

    async fn fetch(&self, image: &Name, digest: Digest, blob: PathBuf) -> Result<Fetched, RunError> {
        let mut policy = fetch::Policy::default();
        // Every node waits a time of its own, so that those that were sent away do not come back as one.
        policy.pace.jitter_seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let request = fetch::Request { image: digest, sources: self.sources.clone(), destination: blob, policy };
        let fetched = fetch::fetch(request, |progress| {
            tracing::debug!(%image, done_bytes = progress.done_bytes, total_bytes = progress.total_bytes, "fetching");
        });
        fetched.await.map_err(|source| RunError::Fetch { image: image.clone(), source })
    }

    /// Starts the container, and has its end told to it.
    async fn start(&self, image: &Name, spec: ContainerSpec) -> Result<Arc<Container>, RunError> {
        let (reaper, program) = (self.reaper.clone(), self.places.program.clone());
        let started = blocking(image, move || {
            let mut container = None;
            let ending = reaper.enter(|| {
                let started = Container::start(&program, &spec)?;
                let pid = Pid::from_raw(started.pid());
                container = Some(started);
                Ok::<_, ContainerError>(pid)
            });
            ending.map(|ending| (container, ending))
        });
        let (container, mut ending) =
            started.await?.map_err(|source| RunError::Container { image: image.clone(), source })?;
        let Some(mut container) = container else {
            return Err(RunError::Ended { image: image.clone(), how: "nothing".into() });
        };
        if let Some(output) = container.take_output() {
            tokio::spawn(forward(image.clone(), output, self.lines.clone()));
        }
        let container = Arc::new(container);
        let ended = Arc::clone(&container);
        tokio::spawn(async move {
            match ending.wait().await {
                Ok(reaper::Exit::Code(code)) => ended.exited(Exit::Code(code)),
                Ok(reaper::Exit::Signal(signal)) => ended.exited(Exit::Signal(signal)),
                Err(error) => tracing::error!(%error, "the end of a container cannot be heard of"),
            }
        });
        Ok(container)
    }

    async fn healthy(&self, image: &Name, check: &HealthCheck, container: &Container) -> Result<(), RunError> {
        let ended = async {
            let how = told(container.wait().await);
            Err(RunError::Ended { image: image.clone(), how })
        };
        let well = async {
            if *check == HealthCheck::Alive {
                tokio::time::sleep(ALIVE_FOR).await;
                return Ok(());
            }
            let deadline = Instant::now() + HEALTHY_LIMIT;
            loop {
                match health::probe(check, self.address, PROBE_LIMIT).await {
                    Ok(()) => return Ok(()),
                    Err(source) if Instant::now() >= deadline => {
                        return Err(RunError::Unhealthy { image: image.clone(), source });
                    }
                    Err(_) => tokio::time::sleep(PROBE_PAUSE).await,
                }
            }
        };
        tokio::select! {
            biased;
            ended = ended => ended,
            well = well => well,
        }
    }

    /// Everything up to health, with what was set up so far in `run`. Mounting and starting are not cut short by
    /// `cancel`: half of either could not be taken down.
    async fn bring_up(
        &self,
        run: &mut ContainerRun,
        digest: Digest,
        cancel: &CancellationToken,
    ) -> Result<(), RunError> {
        let image = run.image.clone();
        make_folder(&run.folder)?;
        let fetched = unless(cancel, &image, self.fetch(&image, digest, run.folder.join("blob"))).await?;
        tracing::info!(%image, bytes = fetched.fetched_bytes, "an image was fetched");
        let (blob, place) = (fetched.blob, run.folder.join("mount"));
        let mounted = blocking(&image, move || ImageMount::mount(&blob, &place, WRITABLE_DEFAULT)).await?;
        let mounted = mounted.map_err(|source| RunError::Mount { image: image.clone(), source })?;
        let root = mounted.root();
        run.mounted = Some(mounted);
        let mut spec = ContainerSpec::new(digest, &fetched.manifest, &self.node, root);
        // The cake's name for it: the same content may be in a cake under two names.
        spec.id = image.to_string();
        spec.resolv_conf.clone_from(&self.resolv_conf);
        make_folder(&run.said)?;
        spec.says_in = Some(run.said.clone());
        let container = run.container.insert(self.start(&image, spec).await?);
        unless(cancel, &image, self.healthy(&image, &fetched.manifest.health, container)).await
    }
}

impl Runner for ContainerRunner {
    type Running = ContainerRun;
    type Error = RunError;

    async fn activate(&self, image: Name, digest: Digest, cancel: CancellationToken) -> Result<ContainerRun, RunError> {
        let life = self.life(&image).await;
        let folder = self.places.folder.join(image.as_str());
        let said = self.places.said.join(image.as_str());
        let mut run = ContainerRun { image: image.clone(), folder, said, mounted: None, container: None, _life: life };
        let result = self.bring_up(&mut run, digest, &cancel).await;
        match result {
            Ok(()) => Ok(run),
            Err(error) => {
                if let Err(left) = run.stop().await {
                    tracing::error!(%image, error = super::console::chain(&left), "a failed image could not be cleaned up");
                }
                Err(error)
            }
        }
    }
}

/// An image that runs in a container.
#[derive(Debug)]
pub struct ContainerRun {
    image: Name,
    folder: PathBuf,
    said: PathBuf,
    mounted: Option<ImageMount>,
    container: Option<Arc<Container>>,
    _life: OwnedMutexGuard<()>,
}

impl Running for ContainerRun {
    type Error = RunError;

    async fn ended(&self) -> String {
        match &self.container {
            Some(container) => told(container.wait().await),
            None => std::future::pending().await,
        }
    }

    async fn stop(&mut self) -> Result<(), RunError> {
        let image = self.image.clone();
        if let Some(container) = &self.container {
            let stopped = container.stop(STOP_GRACE).await;
            stopped.map_err(|source| RunError::Container { image: image.clone(), source })?;
            self.container = None;
        }
        if let Some(mounted) = self.mounted.take() {
            let unmounted = blocking(&image, move || mounted.unmount()).await?;
            unmounted.map_err(|source| RunError::Mount { image: image.clone(), source })?;
        }
        // What an image said, such as that the node is busy, ends with it.
        for folder in [self.said.clone(), self.folder.clone()] {
            let path = folder.clone();
            match blocking(&image, move || fs::remove_dir_all(folder)).await? {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(RunError::Folder { action: "removing", path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Does `work` unless it is cancelled first.
async fn unless<T>(
    cancel: &CancellationToken,
    image: &Name,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RunError::Cancelled { image: image.clone() }),
        result = work => result,
    }
}

fn make_folder(path: &Path) -> Result<(), RunError> {
    fs::create_dir_all(path).map_err(|source| RunError::Folder { action: "making", path: path.to_owned(), source })
}

async fn blocking<T: Send + 'static>(image: &Name, work: impl FnOnce() -> T + Send + 'static) -> Result<T, RunError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|source| RunError::Thread { image: image.clone(), source })
}

fn told(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    }
}

/// Hands an image's output on, line by line, until the image has closed it.
async fn forward(image: Name, output: OwnedFd, lines: Lines) {
    let mut output = match tokio::net::unix::pipe::Receiver::from_owned_fd(output) {
        Ok(output) => output,
        Err(error) => {
            tracing::warn!(%image, %error, "an image's output cannot be read");
            return;
        }
    };
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        for byte in buffer.iter().take(count) {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() >= OUTPUT_LINE_BYTES_MAX {
                say(&image, &lines, &mut line);
            }
        }
    }
    if !line.is_empty() {
        say(&image, &lines, &mut line);
    }
}

fn say(image: &Name, lines: &Lines, line: &mut Vec<u8>) {
    lines.push(&format!("{image}: {}", String::from_utf8_lossy(line).trim_end()));
    line.clear();
}
