//! The steps that a parent asks for, handed to the images that they are about; and `run`, which is the agent's own.
//!
//! Invariants: nothing here waits, so heartbeats never wait behind a step; steps for different images go on side by side;
//! a step that cannot be handed on fails at once, with its reason.
//! Deliberately absent: sending (`link`), and running images (`image`, `runner`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::image::{self, ImageEvent, Request, Runner, Seen};
use crate::model::{Digest, Name, VarPath};
use crate::sync::codec::{WireStep, WireValue};
use crate::sync::mutations::names;
use crate::sync::session::{Ledger, Variables};

/// Events of images that wait to be taken in.
const EVENTS_MAX: usize = 64;

/// Whether the agent is in step with its parent: the variable `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It has joined, or has left; it runs nothing.
    Init,
    /// It runs what it is asked for.
    Sync,
}

impl Run {
    fn as_str(self) -> &'static str {
        match self {
            Run::Init => "init",
            Run::Sync => "sync",
        }
    }
}

/// Something that the parent must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A step could not be done.
    Failed {
        /// The step.
        step: WireStep,
        /// Which request.
        generation: u64,
        /// Why.
        detail: String,
    },
    /// Everything is stopped: the agent leaves.
    Leave,
}

/// What happened to a task.
#[derive(Debug)]
pub enum TaskEvent {
    /// To an image.
    Image(ImageEvent),
    /// Everything was to be stopped, and was, or not.
    Stopped {
        /// Which request; none when it was not the parent's.
        generation: Option<u64>,
        /// What could not be stopped.
        failed: Option<String>,
    },
}

/// The images of this node and what is under way.
pub struct Tasks<R: Runner> {
    runner: Arc<R>,
    run: Run,
    images: BTreeMap<Name, mpsc::Sender<Request>>,
    image_events: (mpsc::Sender<ImageEvent>, mpsc::Receiver<ImageEvent>),
    stopped: (mpsc::Sender<TaskEvent>, mpsc::Receiver<TaskEvent>),
    stopping: Option<AbortHandle>,
}

impl<R: Runner> Tasks<R> {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(runner: Arc<R>) -> Self {
        Tasks {
            runner,
            run: Run::Init,
            images: BTreeMap::new(),
            image_events: mpsc::channel(EVENTS_MAX),
            stopped: mpsc::channel(EVENTS_MAX),
            stopping: None,
        }
    }

    /// Takes in what is desired: an image that is not held is told to be idle, and one that is neither held nor desired is
    /// forgotten. `observed` is told of it.
    pub fn desired(&mut self, desired: &Variables, observed: &mut Ledger) {
        self.tell_run(observed);
        let wanted: Vec<Name> = images_of(desired);
        for image in &wanted {
            let path = VarPath::image_state(image);
            if !observed.variables().values.contains_key(path.as_str()) {
                observed.set(path.as_str(), Some(symbol("idle")));
            }
        }
        for image in images_of(observed.variables()) {
            let path = VarPath::image_state(&image);
            let idle = observed.variables().values.get(path.as_str()) == Some(&symbol("idle"));
            if idle && !wanted.contains(&image) {
                self.images.remove(&image);
                observed.set(path.as_str(), None);
                observed.set(VarPath::image_digest(&image).as_str(), None);
            }
        }
    }

    /// Starts a step. What can be said at once is told to `observed`, or returned.
    pub fn perform(
        &mut self,
        step: &WireStep,
        generation: u64,
        digest: Option<[u8; 32]>,
        observed: &mut Ledger,
    ) -> Option<Word> {
        let fail = |detail: &str| Some(Word::Failed { step: step.clone(), generation, detail: detail.to_owned() });
        let image = match step.image.as_deref().map(str::parse::<Name>) {
            None => None,
            Some(Ok(image)) => Some(image),
            Some(Err(error)) => return fail(&error.to_string()),
        };
        let request = match (step.mutation.as_str(), image, digest) {
            (names::SYNC, None, _) => {
                self.stay();
                self.run = Run::Sync;
                observed.touch(VarPath::run().as_str());
                self.tell_run(observed);
                return None;
            }
            (names::LEAVE, None, _) => {
                self.stop_all(Some(generation));
                return None;
            }
            (names::ACTIVATE, Some(_), _) if self.run != Run::Sync => {
                return fail("this agent is not in step; it must be asked for run.sync first");
            }
            (names::ACTIVATE, Some(_), None) => return fail("the step does not say which content is meant"),
            (names::ACTIVATE, Some(image), Some(digest)) => {
                (image, Request::Activate { digest: Digest::from_bytes(digest), generation })
            }
            (names::DEACTIVATE, Some(image), _) => (image, Request::Deactivate { generation }),
            (names::RESET, Some(image), _) => (image, Request::Reset { generation }),
            _ => return fail("this agent does not know such a step; is layer 0 of an older version?"),
        };
        let (image, request) = request;
        let (runner, events) = (&self.runner, &self.image_events.0);
        let task = self
            .images
            .entry(image)
            .or_insert_with_key(|image| image::spawn(image.clone(), runner.clone(), events.clone()));
        match task.try_send(request) {
            Ok(()) => None,
            Err(_) => fail("the image has too many requests that wait; a process of it may hang in the kernel"),
        }
    }

    /// Stops every image; [`TaskEvent::Stopped`] says when it is done. A newer call replaces an older one.
    pub fn stop_all(&mut self, generation: Option<u64>) {
        self.stay();
        let images: Vec<mpsc::Sender<Request>> = self.images.values().cloned().collect();
        let done = self.stopped.0.clone();
        let stopping = tokio::spawn(async move {
            let mut answers = Vec::new();
            for image in images {
                let (sender, answer) = oneshot::channel();
                if image.send(Request::Stop { done: sender }).await.is_ok() {
                    answers.push(answer);
                }
            }
            let mut failed = None;
            for answer in answers {
                if let Ok(Err(detail)) = answer.await {
                    failed = Some(detail);
                }
            }
            // The receiver lives as long as the agent.
            let _ = done.send(TaskEvent::Stopped { generation, failed }).await;
        });
        self.stopping = Some(stopping.abort_handle());
    }

    /// A changed mind: what is being stopped is stopped, and then it stays.
    fn stay(&mut self) {
        if let Some(stopping) = self.stopping.take() {
            stopping.abort();
            // An answer that was on its way already belongs to the request that is no more.
            while self.stopped.1.try_recv().is_ok() {}
        }
    }

    /// The next thing that happened. Dropping the future loses nothing.
    pub async fn next_event(&mut self) -> TaskEvent {
        let (images, stopped) = (&mut self.image_events.1, &mut self.stopped.1);
        // Both senders are held here as well, so neither channel ever ends. What images say comes before the word that
        // all of them have stopped.
        tokio::select! {
            biased;
            Some(event) = images.recv() => TaskEvent::Image(event),
            Some(event) = stopped.recv() => event,
            else => std::future::pending().await,
        }
    }

    /// Takes in what happened: `observed` is told of it, and what else the parent must hear is returned.
    pub fn take_in(&mut self, event: TaskEvent, observed: &mut Ledger) -> Option<Word> {
        match event {
            TaskEvent::Image(ImageEvent::Seen { image, seen }) => {
                tell_image(&image, seen, observed);
                None
            }
            TaskEvent::Image(ImageEvent::Failed { mutation, image, generation, detail }) => {
                let step = WireStep { mutation: mutation.to_owned(), image: Some(image.to_string()) };
                Some(Word::Failed { step, generation, detail })
            }
            TaskEvent::Stopped { generation, failed: Some(detail) } => {
                self.stopping = None;
                let step = WireStep { mutation: names::LEAVE.to_owned(), image: None };
                generation.map(|generation| Word::Failed { step, generation, detail })
            }
            TaskEvent::Stopped { failed: None, .. } => {
                self.stopping = None;
                self.run = Run::Init;
                self.tell_run(observed);
                Some(Word::Leave)
            }
        }
    }

    fn tell_run(&self, observed: &mut Ledger) {
        observed.set(VarPath::run().as_str(), Some(symbol(self.run.as_str())));
    }
}

fn tell_image(image: &Name, seen: Seen, observed: &mut Ledger) {
    let (state, digest) = match seen {
        Seen::Idle => ("idle", None),
        Seen::Active(digest) => ("active", Some(WireValue::Digest(*digest.as_bytes()))),
        Seen::Failed => ("failed", None),
    };
    let path = VarPath::image_state(image);
    observed.set(VarPath::image_digest(image).as_str(), digest);
    observed.set(path.as_str(), Some(symbol(state)));
    // The engine may have come to believe something else meanwhile, after a step that took too long.
    observed.touch(path.as_str());
}

fn symbol(text: &str) -> WireValue {
    WireValue::Symbol(text.to_owned())
}

fn images_of(variables: &Variables) -> Vec<Name> {
    let paths = variables.values.keys().filter_map(|path| path.parse::<VarPath>().ok());
    paths.filter_map(|path| path.as_image().filter(|(_, field)| *field == "state").map(|(name, _)| name)).collect()
}
