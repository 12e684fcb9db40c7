//! What follows from what a program says: declarations and observations become facts, outcomes go to the engine, lines for
//! people to the log.
//!
//! Invariants: an observation is durable before the outcome that follows it is looked at; what the state knows already is
//! not journaled again; nothing that holds a BMC's password is journaled or logged.

use super::{Asker, Run, Tally, Worker, outcome};
use crate::fact::{Fact, FailReason, ModuleEvent};
use crate::model::limits::{MODULE_REFUSALS_JOURNALED_PER_MINUTE_MAX, VARIABLES_PER_NODE_MAX};
use crate::model::schema::Origin;
use crate::model::{Extension, NodeId, Value, VarPath};
use crate::module::codec::{self, Level, LineError, Observation, ToModule};
use crate::module::facts::{self, Accepted};
use crate::module::process::Heard;
use crate::module::session::Step;
use crate::module::status::Standing;
use crate::port::Action;

/// Lines that share one durable commit.
const LINES_AT_ONCE_MAX: usize = 64;
/// The span in which refusals are counted.
const MINUTE_MS: u64 = 60_000;

/// What a batch of lines comes to.
#[derive(Default)]
struct Batch {
    facts: Vec<Fact>,
    answers: Vec<ToModule>,
    /// Actions that the program says it has done.
    done: Vec<Action>,
    broken: Option<String>,
}

impl Worker {
    /// Takes in something that came out of the program, and what has come out behind it.
    pub(super) async fn hear(&mut self, first: Heard) {
        let mut steps = Vec::new();
        let mut next = Some(first);
        while let Some(heard) = next {
            let now_ms = self.now_ms();
            self.lines.take(now_ms, 1_000, u32::MAX);
            let Some(run) = &mut self.run else { return };
            match heard {
                Heard::Line(line) => steps.extend(run.session.hear(&line)),
                Heard::TooLong => steps.push(Step::Break(LineError::TooLong.to_string())),
                Heard::Complaint(text) => steps.push(Step::Logged(Level::Info, text)),
                Heard::Ended(how) => {
                    let leaving = run.leave_by_ms.is_some();
                    self.follow(steps).await;
                    return if leaving { self.left().await } else { self.failed(how).await };
                }
            }
            let broken = matches!(steps.last(), Some(Step::Break(_)));
            next = if steps.len() < LINES_AT_ONCE_MAX && !broken { run.process.try_next() } else { None };
        }
        self.follow(steps).await;
    }

    /// Does what follows from the conversation.
    pub(super) async fn follow(&mut self, steps: Vec<Step<Asker>>) {
        let mut batch = Batch::default();
        for step in steps {
            self.step(step, &mut batch);
            if batch.broken.is_some() {
                break;
            }
        }
        self.submit(batch.facts).await;
        let unseen: Vec<Fact> = batch.done.into_iter().filter_map(|action| self.unseen(action)).collect();
        self.submit(unseen).await;
        for answer in batch.answers {
            self.send(&answer).await;
        }
        if let Some(why) = batch.broken {
            self.failed(why).await;
        }
    }

    fn step(&mut self, step: Step<Asker>, batch: &mut Batch) {
        match step {
            Step::Send(message) => batch.answers.push(message),
            Step::Logged(level, text) => self.log(level, &text),
            Step::Break(why) => batch.broken = Some(why),
            Step::Declared(declared) => match self.accept(&declared) {
                Ok(fact) => batch.facts.extend(fact),
                Err(why) => {
                    batch.answers.push(ToModule::Error { detail: why.clone() });
                    batch.facts.push(self.fact(ModuleEvent::Refused { reason: facts::cut(&why) }));
                    batch.broken = Some(format!("its declaration was refused: {why}"));
                }
            },
            Step::Ready => {
                self.ready();
                batch.facts.push(self.fact(ModuleEvent::Started));
            }
            Step::Observed(seen) => match self.observe(&seen, batch) {
                Ok(fact) => batch.facts.extend(fact),
                Err(why) => self.refused(why, batch),
            },
            Step::Finished(Asker::Action(action), None) => batch.done.push(action),
            Step::Finished(Asker::Action(action), Some(detail)) => {
                let detail = facts::cut(&self.cards.hide(&detail));
                let reason = FailReason::Module { module: self.program.name.to_string(), detail };
                batch.facts.push(outcome(action, reason));
            }
            Step::Finished(Asker::Look(node), failure) => self.looked(node, failure),
            // The engine has its own clock, and has stopped waiting too.
            Step::Late(Asker::Action(_)) => {}
            Step::Late(Asker::Look(node)) => self.looked(node, Some("it took too long".to_owned())),
        }
    }

    /// Takes a request to its end that was never sent.
    pub(super) async fn ended(&mut self, asker: Asker, failure: Option<String>) {
        self.follow(vec![Step::Finished(asker, failure)]).await;
    }

    fn log(&self, level: Level, text: &str) {
        let (module, text) = (&self.program.name, facts::cut(&self.cards.hide(text)));
        match level {
            Level::Debug => tracing::debug!(%module, text, "a module says"),
            Level::Info => tracing::info!(%module, text, "a module says"),
            Level::Warn => tracing::warn!(%module, text, "a module says"),
            Level::Error => tracing::error!(%module, text, "a module says"),
        }
    }

    /// A look that failed is told to those who ask for the module; many nodes that are off must not fill the log.
    fn looked(&self, node: NodeId, failure: Option<String>) {
        if let Some(detail) = failure {
            let detail = facts::cut(&self.cards.hide(&detail));
            tracing::debug!(module = %self.program.name, %node, detail, "a module could not look at a node");
            let state = self.context.state.now();
            let name = state.node(node).map_or_else(|| node.to_string(), |node| node.spec.name.to_string());
            self.roster.change(&self.program.name, |status| {
                status.detail = format!("last look that failed, at {name}: {detail}")
            });
        }
    }

    fn ready(&mut self) {
        let now_ms = self.now_ms();
        if let Some(Run { process, ready_at_ms, busy_at_ms, .. }) = &mut self.run {
            *ready_at_ms = Some(now_ms);
            *busy_at_ms = now_ms;
            self.roster.stand(&self.program.name, Standing::Running, Some(process.pid));
        }
        tracing::info!(module = %self.program.name, version = self.accepted.version, "a module's program is ready");
    }

    /// Takes a declaration, when it keeps the rules and fits what the others have declared; a fact when it is new.
    fn accept(&mut self, declared: &codec::Declaration) -> Result<Option<Fact>, String> {
        let name = &self.program.name;
        let accepted = facts::accept(name, &self.program.config, declared).map_err(|error| error.to_string())?;
        let state = self.context.state.now();
        let mut schema = state.schema.clone();
        let (origin, doc) = (Origin::Module(name.clone()), accepted.doc.clone());
        let variables = accepted.declaration.variables.clone();
        schema.add(Extension { name: name.clone(), doc, origin, variables }).map_err(|error| error.to_string())?;
        self.graph.with(&accepted.declaration.mutations, &schema).map_err(|error| error.to_string())?;
        let known = state.control.modules.get(name).is_some_and(|known| **known == accepted.declaration);
        let event = ModuleEvent::Declared { declaration: Box::new(accepted.declaration.clone()) };
        let fact = (!known).then(|| self.fact(event));
        self.introduce(accepted);
        Ok(fact)
    }

    fn introduce(&mut self, accepted: Accepted) {
        self.introduced = true;
        self.looks.every(accepted.discover_every_ms);
        self.roster.change(&self.program.name, |status| {
            status.version.clone_from(&accepted.version);
            status.doc.clone_from(&accepted.doc);
        });
        self.accepted = accepted;
    }

    /// An observation as a fact; nothing when it says nothing new.
    fn observe(&self, seen: &Observation, batch: &Batch) -> Result<Option<Fact>, String> {
        if self.cards.leaks(&seen.value.to_string()) {
            return Err(format!("the value of '{}' holds a BMC's password", facts::cut(&seen.variable)));
        }
        let fact = facts::observed(&self.program.name, &self.accepted.declaration.variables, seen)?;
        let ModuleEvent::Observed { node: id, variable, value } = &fact.event else { return Ok(None) };
        let state = self.context.state.now();
        let Some(node) = state.node(*id) else { return Err(format!("there is no node {id}")) };
        let before = batch.facts.iter().rev().find_map(|fact| said(fact, *id, variable));
        // While a step waits for it, even what is known already is told: the step may have made it so.
        let quiet = node.in_flight.is_none();
        if quiet && before.unwrap_or_else(|| node.see(variable).cloned()) == *value {
            return Ok(None);
        }
        if value.is_some() && node.see(variable).is_none() && node.observed.len() >= VARIABLES_PER_NODE_MAX {
            return Err(format!("the node {} has {VARIABLES_PER_NODE_MAX} variables already", node.spec.name));
        }
        Ok(Some(Fact::Module(fact)))
    }

    fn refused(&mut self, why: String, batch: &mut Batch) {
        let now_ms = self.now_ms();
        let reason = facts::cut(&self.cards.hide(&why));
        tracing::warn!(module = %self.program.name, reason, "what a module said was refused");
        if Tally::take(&mut self.refusals, now_ms, MINUTE_MS, MODULE_REFUSALS_JOURNALED_PER_MINUTE_MAX) {
            batch.facts.push(self.fact(ModuleEvent::Refused { reason: reason.clone() }));
        }
        batch.answers.push(ToModule::Error { detail: reason });
    }

    /// The failure of an action whose program says that it is done, where nothing of it is seen.
    fn unseen(&self, action: Action) -> Option<Fact> {
        self.patience_ms(&action)?;
        let state = self.context.state.now();
        let mutation = self.accepted.declaration.mutations.iter().find(|m| m.name == action.step.mutation)?;
        let node = state.node(action.node)?;
        let missed = mutation.changes.iter().find_map(|change| match &change.subject {
            crate::plan::Subject::Var(path) => {
                let seen = node.see_symbol(path);
                let reached = change.to.iter().any(|to| Some(to.as_str()) == seen);
                (!reached).then(|| format!("{path} is {}", seen.unwrap_or("unknown")))
            }
            _ => None,
        })?;
        let detail =
            format!("it says that this is done, and {missed}; it must observe the new value before the outcome");
        Some(outcome(action, FailReason::Module { module: self.program.name.to_string(), detail }))
    }
}

/// What a fact says of a node's variable.
fn said(fact: &Fact, of: NodeId, path: &VarPath) -> Option<Option<Value>> {
    match fact {
        Fact::Module(module) => match &module.event {
            ModuleEvent::Observed { node, variable, value } if *node == of && variable == path => Some(value.clone()),
            _ => None,
        },
        _ => None,
    }
}
