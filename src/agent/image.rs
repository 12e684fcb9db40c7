//! One image on this node: a task that brings it up, watches it, and takes it down, one thing after the other.
//!
//! Invariants: what is reported is what is so: `active` only after the image was seen healthy, `idle` only when nothing of
//! it is left, `failed` as soon as it has ended by itself, before it is cleaned up. A failure is told before the state
//! that it leads to. A newer request replaces an older one; a request for what is so already is answered by telling it
//! again. When nobody can give requests any more, the image is taken down.
//! Deliberately absent: how an image is run ([`Runner`]), and which images a node should run.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::console::chain;
use crate::model::{Digest, Name};
use crate::sync::mutations::names;

/// Requests that wait for one image.
const REQUESTS_MAX: usize = 16;
/// The pause before an image that ended by itself is brought up again; it doubles with each time.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest such pause: well below what the engine grants an activation.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// An image that ran for this long before it ended has had a good life, and is brought up again without a pause.
const GOOD_LIFE: Duration = Duration::from_secs(300);

/// How images are run.
pub trait Runner: Send + Sync + 'static {
    /// An image that runs.
    type Running: Running;
    /// Why an image could not be run.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Brings up the content `digest` as `image` and waits until it is seen healthy. When `cancel` is cancelled it stops
    /// soon and fails. After a failure nothing of it is left, as far as that can be had.
    fn activate(
        &self,
        image: Name,
        digest: Digest,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Self::Running, Self::Error>> + Send;
}

/// An image that runs.
pub trait Running: Send + Sync + 'static {
    /// Why it could not be stopped.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Waits until it has ended by itself, and says how. Dropping the future loses nothing.
    fn ended(&self) -> impl Future<Output = String> + Send;

    /// Stops it and removes everything of it. May be called again after a failure, and after it has ended.
    fn stop(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What an image is asked for.
#[derive(Debug)]
pub enum Request {
    /// Run this content.
    Activate {
        /// The content.
        digest: Digest,
        /// Which request.
        generation: u64,
    },
    /// Stop, and remove everything.
    Deactivate {
        /// Which request.
        generation: u64,
    },
    /// Clean up after a failure.
    Reset {
        /// Which request.
        generation: u64,
    },
    /// Stop, and say when it is done.
    Stop {
        /// Where to.
        done: oneshot::Sender<Result<(), String>>,
    },
}

/// What is so of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing of it is there.
    Idle,
    /// It runs, and was seen healthy.
    Active(Digest),
    /// It ended by itself, or could not be brought up or taken down.
    Failed,
}

/// What an image's task tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageEvent {
    /// This is so, now or still.
    Seen {
        /// The image.
        image: Name,
        /// What is so.
        seen: Seen,
    },
    /// A request could not be done.
    Failed {
        /// The mutation that was asked for.
        mutation: &'static str,
        /// The image.
        image: Name,
        /// Which request.
        generation: u64,
        /// Why, with all causes.
        detail: String,
    },
}

type Work<R> = Pin<Box<dyn Future<Output = Result<<R as Runner>::Running, <R as Runner>::Error>> + Send>>;

enum State<R: Runner> {
    Idle,
    Starting { digest: Digest, generation: u64, cancel: CancellationToken, work: Work<R> },
    Active { digest: Digest, since: Instant, running: R::Running },
    Failed { left: Option<R::Running> },
}

enum Happened<R: Runner> {
    Asked(Option<Request>),
    Started(Result<R::Running, R::Error>),
    Ended(String),
}

struct Image<R: Runner> {
    name: Name,
    runner: Arc<R>,
    events: mpsc::Sender<ImageEvent>,
    state: State<R>,
    pause: Duration,
}

/// Starts the task of an image. It ends, and takes the image down, when the sender is dropped.
pub fn spawn<R: Runner>(name: Name, runner: Arc<R>, events: mpsc::Sender<ImageEvent>) -> mpsc::Sender<Request> {
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let image = Image { name, runner, events, state: State::Idle, pause: Duration::ZERO };
    tokio::spawn(image.run(asked));
    requests
}

impl<R: Runner> Image<R> {
    async fn run(mut self, mut asked: mpsc::Receiver<Request>) {
        loop {
            let happened: Happened<R> = match &mut self.state {
                State::Starting { work, .. } => tokio::select! {
                    biased;
                    request = asked.recv() => Happened::Asked(request),
                    result = work => Happened::Started(result),
                },
                State::Active { running, .. } => tokio::select! {
                    biased;
                    request = asked.recv() => Happened::Asked(request),
                    how = running.ended() => Happened::Ended(how),
                },
                State::Idle | State::Failed { .. } => Happened::Asked(asked.recv().await),
            };
            match happened {
                Happened::Asked(Some(request)) => self.asked(request).await,
                Happened::Asked(None) => {
                    let _ = self.take_down().await;
                    return;
                }
                Happened::Started(result) => self.started(result).await,
                Happened::Ended(how) => self.ended(how).await,
            }
        }
    }

    async fn asked(&mut self, request: Request) {
        match request {
            Request::Activate { digest, generation } => self.activate(digest, generation).await,
            Request::Deactivate { generation } => self.deactivate(names::DEACTIVATE, generation).await,
            Request::Reset { generation } => match self.state {
                // What was taken for failed has come up meanwhile.
                State::Active { .. } => self.tell_state().await,
                _ => self.deactivate(names::RESET, generation).await,
            },
            Request::Stop { done } => {
                let result = self.take_down().await;
                self.tell_state().await;
                // Whoever asked may have been replaced by a newer request.
                let _ = done.send(result);
            }
        }
    }

    async fn activate(&mut self, digest: Digest, generation: u64) {
        match &mut self.state {
            State::Active { digest: runs, .. } if *runs == digest => return self.tell_state().await,
            State::Starting { digest: starts, generation: asked, .. } if *starts == digest => {
                *asked = generation;
                return;
            }
            _ => {}
        }
        if let Err(detail) = self.take_down().await {
            self.tell_failure(names::ACTIVATE, generation, detail).await;
            return self.tell_state().await;
        }
        let cancel = CancellationToken::new();
        let (runner, image, cancelled, pause) = (self.runner.clone(), self.name.clone(), cancel.clone(), self.pause);
        let work = async move {
            // The runner itself answers a cancellation, so the pause only has to end.
            let _ = tokio::time::timeout(pause, cancelled.cancelled()).await;
            runner.activate(image, digest, cancelled).await
        };
        self.state = State::Starting { digest, generation, cancel, work: Box::pin(work) };
    }

    async fn deactivate(&mut self, mutation: &'static str, generation: u64) {
        if let Err(detail) = self.take_down().await {
            self.tell_failure(mutation, generation, detail).await;
        }
        self.tell_state().await;
    }

    async fn started(&mut self, result: Result<R::Running, R::Error>) {
        let State::Starting { digest, generation, .. } = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        match result {
            Ok(running) => {
                tracing::info!(image = %self.name, %digest, "an image runs");
                self.state = State::Active { digest, since: Instant::now(), running };
            }
            Err(error) => {
                let detail = chain(&error);
                tracing::error!(image = %self.name, %digest, error = detail, "an image could not be run");
                self.state = State::Failed { left: None };
                self.tell_failure(names::ACTIVATE, generation, detail).await;
            }
        }
        self.tell_state().await;
    }

    async fn ended(&mut self, how: String) {
        let State::Active { running, since, .. } = std::mem::replace(&mut self.state, State::Idle) else { return };
        tracing::error!(image = %self.name, how, "an image ended by itself");
        self.pause = match since.elapsed() {
            long if long >= GOOD_LIFE => Duration::ZERO,
            _ => self.pause.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX),
        };
        self.state = State::Failed { left: Some(running) };
        self.tell_state().await;
        // The state stays: it is for whoever asks for a reset to say that the failure was noticed.
        if let State::Failed { left } = &mut self.state {
            clean(&self.name, left).await;
        }
    }

    /// Brings the image to idle from wherever it is.
    async fn take_down(&mut self) -> Result<(), String> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let left = match state {
            State::Idle => None,
            State::Starting { cancel, work, .. } => {
                cancel.cancel();
                work.await.ok()
            }
            State::Active { running, .. } => Some(running),
            State::Failed { left } => left,
        };
        let Some(mut running) = left else { return Ok(()) };
        match running.stop().await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::error!(image = %self.name, error = chain(&error), "an image could not be stopped");
                self.state = State::Failed { left: Some(running) };
                Err(chain(&error))
            }
        }
    }

    async fn tell_state(&mut self) {
        let seen = match &self.state {
            State::Idle | State::Starting { .. } => Seen::Idle,
            State::Active { digest, .. } => Seen::Active(*digest),
            State::Failed { .. } => Seen::Failed,
        };
        self.tell(ImageEvent::Seen { image: self.name.clone(), seen }).await;
    }

    async fn tell_failure(&mut self, mutation: &'static str, generation: u64, detail: String) {
        self.tell(ImageEvent::Failed { mutation, image: self.name.clone(), generation, detail }).await;
    }

    async fn tell(&mut self, event: ImageEvent) {
        if self.events.send(event).await.is_err() {
            // The agent ends; nobody is there to be told.
            pending::<()>().await;
        }
    }
}

async fn clean<R: Running>(image: &Name, left: &mut Option<R>) {
    if let Some(running) = left {
        match running.stop().await {
            Ok(()) => *left = None,
            Err(error) => tracing::error!(%image, error = chain(&error), "an image that ended could not be cleaned up"),
        }
    }
}
