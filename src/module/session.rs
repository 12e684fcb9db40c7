//! One run of a module's program as a conversation: which message may come when, which requests are under way, and when
//! patience ends. Pure: lines and times go in, steps come out.
//!
//! Invariants: the first message is `declare`, the second `ready` (`log` and `error` may come at any time); every request
//! is finished exactly once, by its outcome, its deadline or the end of the run; after [`Step::Break`] the run is ended and
//! nothing more is asked of it.
//! Absent on purpose: what a declaration or an observation means, and what is asked when.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::codec::{Declaration, FromModule, Level, Observation, PROTOCOL, RequestId, ToModule, decode};
use crate::model::Name;
use crate::model::limits::MODULE_BAD_LINES_MAX;

/// How long a program may take from its start until it is ready.
pub const HELLO_WAIT_MS: u64 = 10_000;
/// How long a program may take to give the outcome of a request that is not waited for any more. One that does not is
/// taken for hung, since it would hold its place for ever.
pub const CANCEL_WAIT_MS: u64 = 10_000;

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has been greeted; its declaration is waited for.
    Greeted,
    /// It has declared itself; its word that it is ready is waited for.
    Declared,
    /// It takes requests.
    Ready,
    /// It was told to end.
    Leaving,
}

/// What follows from a line, or from time passing.
#[derive(Debug)]
pub enum Step<T> {
    /// A message for the program.
    Send(ToModule),
    /// The program has declared itself.
    Declared(Box<Declaration>),
    /// The program takes requests.
    Ready,
    /// A value was seen.
    Observed(Observation),
    /// A request is over: nothing when it was done, else why not.
    Finished(T, Option<String>),
    /// A request has run out of time; the program was told.
    Late(T),
    /// A line for people.
    Logged(Level, String),
    /// The program has broken the protocol, or hangs; it must be ended. Why.
    Break(String),
}

#[derive(Debug)]
struct Request<T> {
    /// Nothing once it is over for whoever asked.
    asker: Option<T>,
    /// When patience ends: until `Late`, then until `Break`.
    until_ms: u64,
}

/// A conversation. `T` says who waits for a request.
#[derive(Debug)]
pub struct Session<T> {
    phase: Phase,
    ready_until_ms: u64,
    requests: BTreeMap<RequestId, Request<T>>,
    next: u64,
    bad_lines: u32,
}

impl<T> Session<T> {
    /// The beginning, and the first message.
    #[must_use]
    pub fn begin(module: &Name, config: &Map<String, Json>, now_ms: u64) -> (Self, ToModule) {
        let hello = ToModule::Hello { protocol: PROTOCOL, module: module.clone(), config: config.clone() };
        let session = Session {
            phase: Phase::Greeted,
            ready_until_ms: now_ms.saturating_add(HELLO_WAIT_MS),
            requests: BTreeMap::new(),
            next: 1,
            bad_lines: 0,
        };
        (session, hello)
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Requests whose outcome is still to come, also those that nobody waits for any more.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.requests.len()
    }

    /// Those who still wait, with their requests.
    pub fn askers(&self) -> impl Iterator<Item = (RequestId, &T)> {
        self.requests.iter().filter_map(|(id, request)| Some((*id, request.asker.as_ref()?)))
    }

    /// Takes the place of a request that is to be sent now and to be over within `wait_ms`; gives its number.
    pub fn ask(&mut self, asker: T, wait_ms: u64, now_ms: u64) -> RequestId {
        let id = RequestId(self.next);
        self.next = self.next.saturating_add(1);
        self.requests.insert(id, Request { asker: Some(asker), until_ms: now_ms.saturating_add(wait_ms) });
        id
    }

    /// Nobody waits for this request any more: gives who did, and what to say to the program.
    pub fn cancel(&mut self, id: RequestId, now_ms: u64) -> Option<(T, ToModule)> {
        let request = self.requests.get_mut(&id)?;
        let asker = request.asker.take()?;
        request.until_ms = now_ms.saturating_add(CANCEL_WAIT_MS);
        Some((asker, ToModule::Cancel { id }))
    }

    /// Frees the place of a request that was never sent.
    pub fn forget(&mut self, id: RequestId) {
        self.requests.remove(&id);
    }

    /// The last message. Nothing is asked after it.
    pub fn leave(&mut self) -> ToModule {
        self.phase = Phase::Leaving;
        ToModule::Bye
    }

    /// Those who still wait when the run has ended.
    #[must_use]
    pub fn end(self) -> Vec<T> {
        self.requests.into_values().filter_map(|request| request.asker).collect()
    }

    /// What follows from a line of the program.
    #[must_use]
    pub fn hear(&mut self, line: &[u8]) -> Vec<Step<T>> {
        let message = match decode(line) {
            Ok(message) => message,
            Err(error) if error.is_newer() => return vec![Step::Send(ToModule::Error { detail: error.to_string() })],
            Err(error) => return self.bad(error.to_string()),
        };
        match (message, self.phase) {
            (FromModule::Log { level, text }, _) => vec![Step::Logged(level, text)],
            (FromModule::Error { detail }, _) => {
                vec![Step::Logged(Level::Warn, format!("it could not use what it was sent: {detail}"))]
            }
            // What was on its way when it was told to end is still of use.
            (FromModule::Observe(observation), Phase::Ready | Phase::Leaving) => vec![Step::Observed(observation)],
            (FromModule::Outcome { id, failure }, Phase::Ready | Phase::Leaving) => self.outcome(id, failure),
            (FromModule::Declare(declaration), Phase::Greeted) => {
                self.phase = Phase::Declared;
                vec![Step::Declared(declaration)]
            }
            (FromModule::Ready, Phase::Declared) => {
                self.phase = Phase::Ready;
                vec![Step::Ready]
            }
            (message, phase) => vec![Step::Break(out_of_turn(&message, phase))],
        }
    }

    fn outcome(&mut self, id: RequestId, failure: Option<String>) -> Vec<Step<T>> {
        match self.requests.remove(&id) {
            Some(Request { asker: Some(asker), .. }) => vec![Step::Finished(asker, failure)],
            Some(Request { asker: None, .. }) => Vec::new(),
            None => self.bad(format!(
                "there is no request {} under way: an outcome is given once, with the request's own id",
                id.0
            )),
        }
    }

    fn bad(&mut self, detail: String) -> Vec<Step<T>> {
        self.bad_lines = self.bad_lines.saturating_add(1);
        if self.phase == Phase::Greeted || self.phase == Phase::Declared {
            return vec![Step::Break(detail)];
        }
        if self.bad_lines > MODULE_BAD_LINES_MAX {
            return vec![Step::Break(format!(
                "more than {MODULE_BAD_LINES_MAX} lines could not be used; the last: {detail}"
            ))];
        }
        vec![Step::Logged(Level::Warn, detail.clone()), Step::Send(ToModule::Error { detail })]
    }

    /// What follows from the time.
    #[must_use]
    pub fn tick(&mut self, now_ms: u64) -> Vec<Step<T>> {
        if matches!(self.phase, Phase::Greeted | Phase::Declared) {
            let waited_for = if self.phase == Phase::Greeted { "declare" } else { "ready" };
            let detail = format!("it did not send '{waited_for}' within {} s after 'hello'", HELLO_WAIT_MS / 1_000);
            return if now_ms >= self.ready_until_ms { vec![Step::Break(detail)] } else { Vec::new() };
        }
        let mut steps = Vec::new();
        for (id, request) in self.requests.iter_mut().filter(|(_, request)| now_ms >= request.until_ms) {
            match request.asker.take() {
                Some(asker) => {
                    request.until_ms = now_ms.saturating_add(CANCEL_WAIT_MS);
                    steps.push(Step::Send(ToModule::Cancel { id: *id }));
                    steps.push(Step::Late(asker));
                }
                None => {
                    let patience_s = CANCEL_WAIT_MS / 1_000;
                    let detail = format!("it gave no outcome of request {} within {patience_s} s after 'cancel'", id.0);
                    return vec![Step::Break(detail)];
                }
            }
        }
        steps
    }

    /// When [`Session::tick`] has something to say next, unless something else happens before.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Greeted | Phase::Declared => Some(self.ready_until_ms),
            Phase::Ready | Phase::Leaving => self.requests.values().map(|request| request.until_ms).min(),
        }
    }
}

fn out_of_turn(message: &FromModule, phase: Phase) -> String {
    let kind = match message {
        FromModule::Declare(_) => "declare",
        FromModule::Ready => "ready",
        FromModule::Observe(_) => "observe",
        FromModule::Outcome { .. } => "outcome",
        FromModule::Log { .. } => "log",
        FromModule::Error { .. } => "error",
    };
    let due = match phase {
        Phase::Greeted => "'declare' is due first",
        Phase::Declared => "'ready' is due first",
        Phase::Ready | Phase::Leaving => "it was sent already, and once is all",
    };
    format!("it sent '{kind}' out of turn: {due}")
}
