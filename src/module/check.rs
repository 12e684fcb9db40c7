//! `bootes module check`: a program held against the protocol, without an appliance. It is greeted, asked to look at a node,
//! asked for its mutations, told something that it cannot know, and told to end; once by `bye`, once by the end of its
//! standard input alone.
//!
//! Invariants: a mutation is asked for only where its conditions allow it, as an appliance would; a disruptive one not at
//! all, unless it is wanted.
//! Absent on purpose: judging what the module does to the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::codec::{Level, NodeCard, Observation, ToModule};
use super::facts::{self, Accepted};
use super::process::{Command, Heard, Process};
use super::session::{Session, Step};
use crate::fact::ModuleEvent;
use crate::model::mutation::{Condition, Disruption, Mutation, Subject, UNKNOWN};
use crate::model::schema::Origin;
use crate::model::{Extension, Name, Schema, Value, VarPath};
use crate::plan::Graph;

/// How long a program may take for one look at a node.
const LOOK_WAIT_MS: u64 = 60_000;
/// How long a program may take to end, as with the appliance.
const BYE_WAIT: Duration = Duration::from_secs(5);
/// Mutations that are asked for at most.
const ACTIONS_MAX: usize = 64;
/// What no version of the protocol has.
const FROM_THE_FUTURE: &[u8] = b"{\"type\":\"from-the-future\",\"id\":0}\n";

/// What is checked.
#[derive(Debug)]
pub struct Subjected {
    /// The module's name.
    pub name: Name,
    /// The program.
    pub command: Command,
    /// Its configuration.
    pub config: Map<String, Json>,
    /// The node that it is shown.
    pub node: NodeCard,
    /// Whether disruptive mutations are asked for.
    pub disruptive: Disruptive,
    /// What is built in, which its mutations must fit.
    pub graph: Graph,
    /// Takes what the program says for people.
    pub listen: fn(&str),
}

/// Whether disruptive mutations are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruptive {
    /// They are.
    Ask,
    /// They are left out.
    LeaveOut,
}

/// How one thing came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Wrong.
    Wrong,
    /// Not looked at.
    LeftOut,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen, or what is wrong and what would be right.
    pub detail: String,
}

/// A run of the program that is looked at.
struct Look<'a> {
    subject: &'a Subjected,
    process: Process,
    session: Session<String>,
    accepted: Option<Accepted>,
    seen: BTreeMap<VarPath, Value>,
    begun: Instant,
}

/// Why a look came to its end early.
type Broken = String;

/// Checks the program. Must be called in a tokio runtime; takes as long as the program takes.
pub async fn check(subject: &Subjected) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ended = first_run(subject, &mut findings).await;
    let handshake_failed = ended.is_err() && findings.is_empty();
    if let Err(broken) = ended {
        findings.push(wrong("the conversation", broken));
    }
    if !handshake_failed {
        let closed = second_run(subject).await;
        let what = "it ends when its standard input ends";
        findings.push(match closed {
            Ok(how) => good(what, how),
            Err(broken) => wrong(what, broken),
        });
    }
    findings
}

fn good(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict: Verdict::Good, detail: detail.into() }
}

fn wrong(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict: Verdict::Wrong, detail: detail.into() }
}

fn left_out(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict: Verdict::LeftOut, detail: detail.into() }
}

async fn first_run(subject: &Subjected, findings: &mut Vec<Finding>) -> Result<(), Broken> {
    let mut look = Look::start(subject)?;
    let declared = look.until_ready().await?;
    let Accepted { declaration, version, doc, .. } = &declared;
    let (variables, mutations) = (declaration.variables.len(), declaration.mutations.len());
    let about = format!("{doc} (version {version}; {variables} variables, {mutations} mutations)");
    findings.push(good("it declares itself", about));
    findings.push(match_graph(subject, &declared));
    look.send_raw(FROM_THE_FUTURE)?;
    // Those that lead out of unknown come before the look, which would leave nothing unknown.
    let mut left: BTreeSet<usize> = (0..mutations).collect();
    look.mutations(&declared, &mut left, findings).await?;
    findings.push(match (declared.discover_every_ms, look.ask(None).await?) {
        (_, None) => good("it looks at a node", look.in_words()),
        (None, Some(_)) => left_out("it looks at a node", "it declares no 'discover', so it is never asked to"),
        (Some(_), Some(failure)) => wrong("it looks at a node", failure),
    });
    findings.push(good("it survives a message that it cannot know", ""));
    look.mutations(&declared, &mut left, findings).await?;
    look.leave_out(&declared, &left, findings);
    findings.push(good("it ends after 'bye'", look.leave().await?));
    Ok(())
}

async fn second_run(subject: &Subjected) -> Result<String, Broken> {
    let mut look = Look::start(subject)?;
    look.until_ready().await?;
    look.process.close();
    look.until_end().await
}

/// Whether its variables and mutations can stand beside the built-in ones.
fn match_graph(subject: &Subjected, declared: &Accepted) -> Finding {
    let (name, variables) = (subject.name.clone(), declared.declaration.variables.clone());
    let extension = Extension { name: name.clone(), doc: String::new(), origin: Origin::Module(name), variables };
    let what = "it fits what is built in";
    let mut schema = Schema::default();
    if let Err(error) = schema.add(extension) {
        return wrong(what, error.to_string());
    }
    match subject.graph.with(&declared.declaration.mutations, &schema) {
        Ok(_) => good(what, ""),
        Err(error) => wrong(what, error.to_string()),
    }
}

impl<'a> Look<'a> {
    fn start(subject: &'a Subjected) -> Result<Self, Broken> {
        let process = Process::start(&subject.command).map_err(|error| format!("it cannot be started: {error}"))?;
        let (session, hello) = Session::begin(&subject.name, &subject.config, 0);
        let begun = Instant::now();
        let look = Look { subject, process, session, accepted: None, seen: BTreeMap::new(), begun };
        look.send(&hello)?;
        Ok(look)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn send(&self, message: &ToModule) -> Result<(), Broken> {
        let line = message.encode().map_err(|error| error.to_string())?;
        self.process.tell(line).map_err(|_| "it does not read its standard input".to_owned())
    }

    fn send_raw(&self, line: &[u8]) -> Result<(), Broken> {
        self.process.tell(Zeroizing::new(line.to_vec())).map_err(|_| "it does not read its standard input".to_owned())
    }

    /// What it says next, or what follows from its silence.
    async fn next(&mut self) -> Result<Vec<Step<String>>, Broken> {
        let due_ms = self.session.next_tick_ms().unwrap_or_else(|| self.now_ms().saturating_add(LOOK_WAIT_MS));
        let due = self.begun + Duration::from_millis(due_ms);
        match timeout_at(due, self.process.next()).await {
            Ok(Heard::Line(line)) => Ok(self.session.hear(&line)),
            Ok(Heard::TooLong) => Err(super::codec::LineError::TooLong.to_string()),
            Ok(Heard::Complaint(text)) => Ok(vec![Step::Logged(Level::Info, text)]),
            Ok(Heard::Ended(how)) => Err(how),
            Err(_) => {
                let now_ms = self.now_ms();
                Ok(self.session.tick(now_ms))
            }
        }
    }

    async fn until_ready(&mut self) -> Result<Accepted, Broken> {
        loop {
            for step in self.next().await? {
                match step {
                    Step::Declared(declared) => {
                        let accepted = facts::accept(&self.subject.name, &self.subject.config, &declared);
                        self.accepted = Some(accepted.map_err(|error| error.to_string())?);
                    }
                    Step::Ready => return self.accepted.clone().ok_or_else(|| "it declared nothing".to_owned()),
                    Step::Send(message) => self.send(&message)?,
                    Step::Logged(_, text) => (self.subject.listen)(&facts::cut(&text)),
                    Step::Break(why) => return Err(why),
                    Step::Observed(_) | Step::Finished(..) | Step::Late(_) => {}
                }
            }
        }
    }

    /// Asks for a mutation, or for a look at the node; gives why it failed, if it did.
    async fn ask(&mut self, mutation: Option<&Mutation>) -> Result<Option<String>, Broken> {
        let wait_ms = mutation.map_or(LOOK_WAIT_MS, |mutation| mutation.timeout_ms);
        let now_ms = self.now_ms();
        let asker = mutation.map_or_else(|| "discover".to_owned(), |mutation| mutation.name.to_string());
        let id = self.session.ask(asker, wait_ms, now_ms);
        let node = self.card();
        let message = match mutation {
            None => ToModule::Discover { id, node },
            Some(mutation) => ToModule::Action { id, mutation: mutation.name.to_string(), deadline_ms: wait_ms, node },
        };
        self.send(&message)?;
        loop {
            for step in self.next().await? {
                match step {
                    Step::Finished(_, failure) => return Ok(failure),
                    Step::Late(_) => return Ok(Some(format!("no outcome within {wait_ms} ms"))),
                    Step::Observed(observation) => self.observe(&observation)?,
                    Step::Send(message) => self.send(&message)?,
                    Step::Logged(_, text) => (self.subject.listen)(&facts::cut(&text)),
                    Step::Break(why) => return Err(why),
                    Step::Declared(_) | Step::Ready => {}
                }
            }
        }
    }

    /// The node, with what was seen of it so far.
    fn card(&self) -> NodeCard {
        let mut node = self.subject.node.clone();
        let seen = self.seen.iter().filter_map(|(path, value)| Some((path.to_string(), facts::json_of(value)?)));
        node.observed.extend(seen);
        node
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Broken> {
        let variables = self.accepted.as_ref().map(|a| a.declaration.variables.as_slice()).unwrap_or_default();
        let fact = facts::observed(&self.subject.name, variables, observation)?;
        let ModuleEvent::Observed { node, variable, value } = fact.event else { return Ok(()) };
        if node != self.subject.node.id {
            return Err(format!("it observed something of the node {node}, which it was never shown"));
        }
        match value {
            Some(value) => self.seen.insert(variable, value),
            None => self.seen.remove(&variable),
        };
        Ok(())
    }

    fn in_words(&self) -> String {
        let seen: Vec<String> = self.seen.iter().map(|(path, value)| format!("{path}={value}")).collect();
        if seen.is_empty() { "it saw nothing".to_owned() } else { seen.join(" ") }
    }

    fn symbol(&self, path: &VarPath) -> String {
        let given = || self.subject.node.observed.get(path.as_str()).and_then(Json::as_str).map(str::to_owned);
        let seen = self.seen.get(path).map(ToString::to_string);
        seen.or_else(given).unwrap_or_else(|| UNKNOWN.to_owned())
    }

    fn holds(&self, condition: &Condition) -> bool {
        match &condition.subject {
            Subject::Var(path) => condition.any_of.iter().any(|value| value.as_str() == self.symbol(path)),
            // The node that is shown has no images.
            Subject::EachImage | Subject::AllImages => true,
        }
    }

    /// Whether it may start now, and would change something.
    fn may_start(&self, mutation: &Mutation) -> bool {
        let starts = mutation.changes.iter().all(|change| match &change.subject {
            Subject::Var(path) => change.from.iter().any(|value| value.as_str() == self.symbol(path)),
            Subject::EachImage | Subject::AllImages => false,
        });
        starts
            && mutation.requires.iter().all(|condition| self.holds(condition))
            && !mutation.excludes.iter().any(|condition| self.holds(condition))
    }

    /// The change whose end was not seen, in words.
    fn missed(&self, mutation: &Mutation) -> Option<String> {
        mutation.changes.iter().find_map(|change| {
            let Subject::Var(path) = &change.subject else { return None };
            let now = self.symbol(path);
            let reached = change.to.iter().any(|value| value.as_str() == now);
            let wanted: Vec<&str> = change.to.iter().map(crate::model::Symbol::as_str).collect();
            (!reached).then(|| {
                format!(
                    "its outcome is good, and {path} is {now}, not {}; observe the new value first",
                    wanted.join(" or ")
                )
            })
        })
    }

    /// Asks for every mutation once, in an order in which one makes way for the next.
    async fn mutations(
        &mut self,
        declared: &Accepted,
        left: &mut BTreeSet<usize>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Broken> {
        for _ in 0..ACTIONS_MAX {
            let all = &declared.declaration.mutations;
            let allowed = |mutation: &Mutation| {
                mutation.disruption == Disruption::None || self.subject.disruptive == Disruptive::Ask
            };
            let next = left
                .iter()
                .copied()
                .find(|index| all.get(*index).is_some_and(|mutation| allowed(mutation) && self.may_start(mutation)));
            let Some((index, mutation)) = next.and_then(|index| Some((index, all.get(index)?))) else { break };
            left.remove(&index);
            let what = format!("mutation {}", mutation.name);
            findings.push(match self.ask(Some(mutation)).await? {
                Some(failure) => wrong(what, failure),
                None => match self.missed(mutation) {
                    Some(missed) => wrong(what, missed),
                    None => good(what, self.in_words()),
                },
            });
        }
        Ok(())
    }

    fn leave_out(&self, declared: &Accepted, left: &BTreeSet<usize>, findings: &mut Vec<Finding>) {
        for mutation in left.iter().filter_map(|index| declared.declaration.mutations.get(*index)) {
            let why = match mutation.disruption {
                Disruption::Disruptive if self.subject.disruptive == Disruptive::LeaveOut => {
                    "it is disruptive; --disruptive asks for it"
                }
                _ => "the node that is shown does not allow it; show another one with --node FILE",
            };
            findings.push(left_out(format!("mutation {}", mutation.name), why));
        }
    }

    async fn leave(&mut self) -> Result<String, Broken> {
        let bye = self.session.leave();
        self.send(&bye)?;
        self.process.close();
        self.until_end().await
    }

    async fn until_end(&mut self) -> Result<String, Broken> {
        let due = Instant::now() + BYE_WAIT;
        loop {
            match timeout_at(due, self.process.next()).await {
                Ok(Heard::Ended(how)) if how.ends_with("exit code 0") => return Ok(how),
                Ok(Heard::Ended(how)) => return Err(how),
                Ok(Heard::Complaint(text)) => (self.subject.listen)(&facts::cut(&text)),
                Ok(Heard::Line(_) | Heard::TooLong) => {}
                Err(_) => return Err(format!("it did not end within {} s", BYE_WAIT.as_secs())),
            }
        }
    }
}
