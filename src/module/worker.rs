//! The life of one module: its program is started when it is needed, given requests, listened to, and when it fails
//! started again after a pause that doubles.
//!
//! Invariants: an action that was taken is answered by the world (a variable that changed), by an outcome, or by the
//! engine's own timeout, whatever becomes of the program; a program that fails takes its own requests with it and nothing
//! else; at most one run of a program at a time.
//! Absent on purpose: what messages mean (see [`heard`]).

mod heard;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::card::Cards;
use super::codec::ToModule;
use super::facts::Accepted;
use super::looks::Looks;
use super::process::{Heard, Process};
use super::session::{Phase, Session};
use super::status::{Roster, Standing};
use super::{Program, StartWhen};
use crate::fact::{Fact, FailReason, ModuleEvent, ModuleFact, OutcomeFact};
use crate::model::NodeId;
use crate::model::limits::{MODULE_ACTIONS_WAITING_MAX, MODULE_LINES_PER_S_MAX};
use crate::plan::Graph;
use crate::port::{Action, ModuleContext};
use crate::state::State;

/// How long one look at a node may take.
const LOOK_WAIT_MS: u64 = 60_000;
/// The pause after a first failure; it doubles with each further one.
const PAUSE_FIRST_MS: u64 = 1_000;
/// The longest pause.
const PAUSE_MAX_MS: u64 = 300_000;
/// A program that was ready for so long has recovered: its next failure is a first one.
const RECOVERED_MS: u64 = 60_000;
/// How long a program may take to end after it was told to.
const BYE_WAIT_MS: u64 = 5_000;
/// The same when the appliance stops, which does not wait for long.
const LAST_BYE_WAIT: Duration = Duration::from_secs(3);
/// How long the guard may take to have ended everything.
const END_WAIT: Duration = Duration::from_secs(6);
/// Nodes that are new are noticed so often.
const FOLLOW_EVERY_MS: u64 = 1_000;
/// A wait that stands for ever: something else happens before.
const LONG_MS: u64 = 3_600_000;

/// Who waits for a request.
#[derive(Debug)]
enum Asker {
    /// The engine.
    Action(Action),
    /// Nobody but the table of looks.
    Look(NodeId),
}

/// An action that waits for its turn, and since when.
#[derive(Debug)]
struct Waiting {
    action: Action,
    since_ms: u64,
}

/// One run of the program.
#[derive(Debug)]
struct Run {
    process: Process,
    session: Session<Asker>,
    ready_at_ms: Option<u64>,
    busy_at_ms: u64,
    leave_by_ms: Option<u64>,
}

/// So many in one span of time.
#[derive(Debug, Default)]
struct Tally {
    begun_ms: u64,
    count: u32,
}

impl Tally {
    /// Counts one more, and says whether there was still room for it.
    fn take(&mut self, now_ms: u64, span_ms: u64, max: u32) -> bool {
        if now_ms.saturating_sub(self.begun_ms) >= span_ms {
            *self = Tally { begun_ms: now_ms, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= max
    }

    /// Until when nothing more is taken, when the span is full.
    fn full_until(&self, now_ms: u64, span_ms: u64, max: u32) -> Option<u64> {
        let end_ms = self.begun_ms.saturating_add(span_ms);
        (self.count >= max && now_ms < end_ms).then_some(end_ms)
    }
}

/// A module's worker.
pub(super) struct Worker {
    program: Program,
    graph: Graph,
    roster: Roster,
    context: ModuleContext,
    begun: Instant,
    /// What the module may say and do; until it has introduced itself what it declared before.
    accepted: Accepted,
    /// Whether it has declared itself since the appliance started.
    introduced: bool,
    cards: Cards,
    run: Option<Run>,
    waiting: VecDeque<Waiting>,
    looks: Looks,
    followed: (u64, Option<Arc<State>>),
    failures_in_a_row: u32,
    not_before_ms: u64,
    why_not: String,
    lines: Tally,
    refusals: Tally,
}

impl Worker {
    pub(super) fn new(program: Program, graph: Graph, roster: Roster, context: ModuleContext) -> Self {
        let before = context.state.now().control.modules.get(&program.name).map(|declared| (**declared).clone());
        let cards = Cards::new(program.bmc.clone());
        roster.stand(&program.name, Standing::Asleep, None);
        Worker {
            program,
            graph,
            roster,
            context,
            begun: Instant::now(),
            accepted: Accepted::remembered(before.unwrap_or_default()),
            introduced: false,
            cards,
            run: None,
            waiting: VecDeque::new(),
            looks: Looks::default(),
            followed: (0, None),
            failures_in_a_row: 0,
            not_before_ms: 0,
            why_not: String::new(),
            lines: Tally::default(),
            refusals: Tally::default(),
        }
    }

    /// Works until the appliance stops.
    pub(super) async fn work(mut self) {
        let shutdown = self.context.shutdown.clone();
        loop {
            self.follow_nodes();
            self.start_if_needed().await;
            self.hand_out().await;
            let due = self.begun + Duration::from_millis(self.next_due_ms());
            let listening = self.run.is_some() && self.full_until_ms().is_none();
            tokio::select! {
                () = shutdown.cancelled() => break,
                action = self.context.actions.recv() => match action {
                    Some(action) => self.take(action).await,
                    None => break,
                },
                heard = next_of(&mut self.run), if listening => self.hear(heard).await,
                changed = self.context.state.0.changed() => match changed {
                    Ok(()) => self.drop_unwanted().await,
                    Err(_) => break,
                },
                () = sleep_until(due) => self.tick().await,
            }
        }
        self.farewell().await;
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn full_until_ms(&self) -> Option<u64> {
        self.lines.full_until(self.now_ms(), 1_000, MODULE_LINES_PER_S_MAX)
    }

    /// Looks which nodes there are, no more often than is of use.
    fn follow_nodes(&mut self) {
        let now_ms = self.now_ms();
        if self.accepted.discover_every_ms.is_none() || now_ms < self.followed.0 {
            return;
        }
        let state = self.context.state.now();
        if !self.followed.1.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &state)) {
            self.looks.follow(state.nodes.keys().copied(), now_ms);
        }
        self.followed = (now_ms.saturating_add(FOLLOW_EVERY_MS), Some(state));
    }

    fn is_needed(&self) -> bool {
        let look_due = self.looks.next_ms().is_some_and(|due_ms| due_ms <= self.now_ms());
        !self.introduced || self.program.start == StartWhen::Always || !self.waiting.is_empty() || look_due
    }

    async fn start_if_needed(&mut self) {
        let now_ms = self.now_ms();
        if self.run.is_some() || now_ms < self.not_before_ms || !self.is_needed() {
            return;
        }
        let process = match Process::start(&self.program.command) {
            Ok(process) => process,
            Err(error) => return self.failed(format!("it cannot be started: {error}")).await,
        };
        self.roster.stand(&self.program.name, Standing::Starting, Some(process.pid));
        let (session, hello) = Session::begin(&self.program.name, &self.program.config, now_ms);
        self.run = Some(Run { process, session, ready_at_ms: None, busy_at_ms: now_ms, leave_by_ms: None });
        self.send(&hello).await;
    }

    /// When there is something to do though nothing happens.
    fn next_due_ms(&self) -> u64 {
        let now_ms = self.now_ms();
        let mut due_ms = now_ms.saturating_add(LONG_MS);
        let mut sooner = |at_ms: u64| due_ms = due_ms.min(at_ms);
        if self.accepted.discover_every_ms.is_some() {
            sooner(self.followed.0);
        }
        match &self.run {
            None if self.is_needed() => sooner(self.not_before_ms),
            None => {}
            Some(run) => {
                [run.session.next_tick_ms(), run.leave_by_ms, self.full_until_ms()]
                    .into_iter()
                    .flatten()
                    .for_each(&mut sooner);
                if run.session.under_way() < self.accepted.at_once {
                    self.looks.next_ms().into_iter().for_each(&mut sooner);
                }
                self.idle_at_ms(run).into_iter().for_each(&mut sooner);
            }
        }
        due_ms
    }

    /// When the program may be ended for want of work.
    fn idle_at_ms(&self, run: &Run) -> Option<u64> {
        let idle = run.session.phase() == Phase::Ready && run.session.under_way() == 0 && self.waiting.is_empty();
        let may = idle && self.program.start == StartWhen::Demand;
        self.accepted.idle_stop_ms.filter(|_| may).map(|idle_ms| run.busy_at_ms.saturating_add(idle_ms))
    }

    /// Takes an action in, or refuses it at once.
    async fn take(&mut self, action: Action) {
        let since_ms = self.now_ms();
        if self.run.is_none() && since_ms < self.not_before_ms {
            return self.refuse(vec![action], self.why_not.clone()).await;
        }
        if self.waiting.len() >= MODULE_ACTIONS_WAITING_MAX {
            return self
                .refuse(vec![action], format!("{MODULE_ACTIONS_WAITING_MAX} actions wait for it already"))
                .await;
        }
        self.waiting.push_back(Waiting { action, since_ms });
    }

    /// Tells the engine that actions cannot be done for want of the program.
    async fn refuse(&mut self, actions: Vec<Action>, detail: String) {
        let module = self.program.name.to_string();
        let reason = FailReason::ModuleUnavailable { module, detail };
        self.submit(actions.into_iter().map(|action| outcome(action, reason.clone())).collect()).await;
    }

    /// Gives the program what it can take.
    async fn hand_out(&mut self) {
        loop {
            let now_ms = self.now_ms();
            let Some(run) = &self.run else { return };
            if run.session.phase() != Phase::Ready || run.session.under_way() >= self.accepted.at_once {
                return;
            }
            if let Some(Waiting { action, since_ms }) = self.waiting.pop_front() {
                let waited_ms = now_ms.saturating_sub(since_ms);
                if let Some(patience_ms) = self.patience_ms(&action) {
                    self.ask(Asker::Action(action), patience_ms.saturating_sub(waited_ms).max(1)).await;
                }
            } else if let Some(node) = self.looks.take_due(now_ms) {
                self.ask(Asker::Look(node), LOOK_WAIT_MS).await;
            } else {
                return;
            }
        }
    }

    /// How long the engine waits for an action in all; nothing when it does not wait for it any more.
    fn patience_ms(&self, action: &Action) -> Option<u64> {
        let state = self.context.state.now();
        let flight = state.node(action.node)?.in_flight.as_ref()?;
        (flight.generation == action.generation).then(|| flight.deadline.since(flight.started_at))
    }

    async fn ask(&mut self, asker: Asker, wait_ms: u64) {
        let now_ms = self.now_ms();
        let node = match &asker {
            Asker::Action(action) => action.node,
            Asker::Look(node) => *node,
        };
        let card = match self.cards.card(&self.context.state.now(), node) {
            Ok(Some(card)) => card,
            Ok(None) => return,
            Err(detail) => return self.ended(asker, Some(detail)).await,
        };
        let Some(run) = &mut self.run else { return };
        run.busy_at_ms = now_ms;
        let mutation = match &asker {
            Asker::Action(action) => Some(action.step.mutation.to_string()),
            Asker::Look(_) => None,
        };
        let id = run.session.ask(asker, wait_ms, now_ms);
        let message = match mutation {
            Some(mutation) => ToModule::Action { id, mutation, deadline_ms: wait_ms, node: card },
            None => ToModule::Discover { id, node: card },
        };
        if let Err(error) = message.encode() {
            if let Some((asker, _)) = run.session.cancel(id, now_ms) {
                run.session.forget(id);
                self.ended(asker, Some(error.to_string())).await;
            }
            return;
        }
        self.send(&message).await;
    }

    /// What the engine does not wait for any more is not waited for here either.
    async fn drop_unwanted(&mut self) {
        let now_ms = self.now_ms();
        let Some(run) = &self.run else { return };
        let unwanted: Vec<_> = run
            .session
            .askers()
            .filter(|(_, asker)| matches!(asker, Asker::Action(action) if self.patience_ms(action).is_none()))
            .map(|(id, _)| id)
            .collect();
        for id in unwanted {
            let cancelled = self.run.as_mut().and_then(|run| run.session.cancel(id, now_ms));
            if let Some((_, message)) = cancelled {
                self.send(&message).await;
            }
        }
    }

    /// Hands a message to the program; one that does not read its messages is ended.
    async fn send(&mut self, message: &ToModule) {
        let Some(run) = &self.run else { return };
        let told = match message.encode() {
            Ok(line) => run.process.tell(line).map_err(|_| "it does not read its standard input".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = told {
            self.failed(why).await;
        }
    }

    async fn tick(&mut self) {
        let now_ms = self.now_ms();
        let Some(run) = &mut self.run else { return };
        if run.leave_by_ms.is_some_and(|by_ms| by_ms <= now_ms) {
            return self.failed(format!("it did not end within {} s after 'bye'", BYE_WAIT_MS / 1_000)).await;
        }
        let steps = run.session.tick(now_ms);
        self.follow(steps).await;
        let idle = self.run.as_ref().and_then(|run| self.idle_at_ms(run)).is_some_and(|at_ms| at_ms <= now_ms);
        if let Some(run) = self.run.as_mut().filter(|_| idle) {
            let bye = run.session.leave();
            run.leave_by_ms = Some(now_ms.saturating_add(BYE_WAIT_MS));
            self.send(&bye).await;
            if let Some(run) = &mut self.run {
                run.process.close();
            }
        }
    }

    /// The run is over, and was to be: the program was told to end.
    async fn left(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.failures_in_a_row = 0;
        self.roster.stand(&self.program.name, Standing::Asleep, None);
        let reason = "it was not needed; it is started again when it is".to_owned();
        self.submit(vec![self.fact(ModuleEvent::Ended { reason })]).await;
        let asked = run.session.end();
        self.refuse(actions_of(asked), "its program was ended".to_owned()).await;
    }

    /// The run is over, or has to be: the program has ended, hangs, or has broken the protocol.
    async fn failed(&mut self, why: String) {
        let now_ms = self.now_ms();
        let why = super::facts::cut(&self.cards.hide(&why));
        let mut asked = Vec::new();
        if let Some(mut run) = self.run.take() {
            if run.ready_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) >= RECOVERED_MS) {
                self.failures_in_a_row = 0;
            }
            asked = run.session.end();
            run.process.kill();
            // Two runs of one program must not work on the same nodes.
            if timeout(END_WAIT, until_end(&mut run.process)).await.is_err() {
                tracing::warn!(module = %self.program.name, "a module's program could not be ended in time");
            }
        }
        let pause_ms = PAUSE_FIRST_MS.saturating_mul(1 << self.failures_in_a_row.min(16)).min(PAUSE_MAX_MS);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.not_before_ms = self.now_ms().saturating_add(pause_ms);
        self.why_not = format!("{why}; its program is started again after a pause");
        tracing::warn!(module = %self.program.name, reason = why, pause_ms, "a module's program has failed");
        self.roster.stand(&self.program.name, Standing::Failed, None);
        self.roster.change(&self.program.name, |status| {
            status.failures = status.failures.saturating_add(1);
            status.detail.clone_from(&why);
        });
        let mut lost = actions_of(asked);
        lost.extend(self.waiting.drain(..).map(|waiting| waiting.action));
        self.submit(vec![self.fact(ModuleEvent::Ended { reason: why.clone() })]).await;
        self.refuse(lost, why).await;
    }

    async fn farewell(mut self) {
        let Some(mut run) = self.run.take() else { return };
        if let Ok(bye) = run.session.leave().encode() {
            // One that does not read is ended all the same.
            let _ = run.process.tell(bye);
        }
        run.process.close();
        if timeout_at(Instant::now() + LAST_BYE_WAIT, until_end(&mut run.process)).await.is_err() {
            run.process.kill();
            let _ = timeout(Duration::from_secs(1), until_end(&mut run.process)).await;
        }
        self.roster.stand(&self.program.name, Standing::Stopped, None);
    }

    fn fact(&self, event: ModuleEvent) -> Fact {
        Fact::Module(ModuleFact { module: self.program.name.clone(), event })
    }

    /// Waits until facts are durable and folded. When the journal refuses them, the engine's own timeouts cover that.
    async fn submit(&mut self, facts: Vec<Fact>) {
        if facts.is_empty() {
            return;
        }
        if let Err(error) = self.context.facts.submit(facts).await {
            tracing::warn!(module = %self.program.name, %error, "what a module said was not taken");
        }
    }
}

async fn next_of(run: &mut Option<Run>) -> Heard {
    match run {
        Some(run) => run.process.next().await,
        None => std::future::pending().await,
    }
}

async fn until_end(process: &mut Process) {
    while !matches!(process.next().await, Heard::Ended(_)) {}
}

fn actions_of(askers: Vec<Asker>) -> Vec<Action> {
    let action = |asker| match asker {
        Asker::Action(action) => Some(action),
        Asker::Look(_) => None,
    };
    askers.into_iter().filter_map(action).collect()
}

fn outcome(action: Action, reason: FailReason) -> Fact {
    let Action { node, step, generation, .. } = action;
    Fact::Outcome(OutcomeFact { node, step, generation, reason })
}
