//! A session of the tree protocol as state machines, one for each role, with time passed in.
//!
//! Each side owns variables (a parent what is desired, a child what is observed) in a [`Ledger`], and keeps a copy of
//! the other's in a [`Mirror`]. Changes are told at once as a delta with the next revision. A delta that does not follow
//! the copy's revision, and a heartbeat whose digest is not the copy's, are answered with a request for all of it.
//! A side that is not heard for the dead interval is taken for lost.
//!
//! Invariants: what is told is always told in the order in which it happened, and before the heartbeat that covers it;
//! a copy is either what the owner had at one revision, or known to be wrong; nothing here can be made to grow without
//! bound by a peer. Times are milliseconds since any fixed point, and never go back.
//! Deliberately absent: sockets, clocks, what variables mean, and who may connect.

mod child;
mod parent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

pub use self::child::{ChildEvent, ChildSession};
pub use self::parent::{ParentEvent, ParentSession};
use super::codec::{Pulse, Report, WireScope, WireValue, WireVariable};
use crate::model::Digest;
use crate::model::limits::VARIABLES_PER_NODE_MAX;

/// How often the sides are heard, and how long a silence is taken for loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A heartbeat is sent this often, in milliseconds.
    pub hello_interval_ms: u32,
    /// After a silence of this many milliseconds the other side is taken for lost.
    pub dead_interval_ms: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { hello_interval_ms: 1_000, dead_interval_ms: 5_000 }
    }
}

impl Timing {
    /// What can be worked with: at least 10 ms, and a dead interval of at least two hello intervals.
    #[must_use]
    pub fn bounded(self) -> Self {
        let hello_interval_ms = self.hello_interval_ms.clamp(10, 3_600_000);
        let dead_interval_ms = self.dead_interval_ms.max(hello_interval_ms.saturating_mul(2));
        Timing { hello_interval_ms, dead_interval_ms }
    }
}

/// Why a session ends, from the side that ends it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionEnd {
    /// Nothing was heard.
    #[error("nothing was heard for {silent_ms} ms")]
    Silent {
        /// For how long, in milliseconds.
        silent_ms: u64,
    },
    /// A message came where none of its kind may.
    #[error("it sent {what}, which has no place there")]
    Unexpected {
        /// The message's name.
        what: &'static str,
    },
    /// A report is larger than any node's.
    #[error("it reported more than {VARIABLES_PER_NODE_MAX} variables")]
    TooManyVariables,
}

/// Variables, with the images' order where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// Values by path.
    pub values: BTreeMap<String, WireValue>,
    /// Images in the order in which they are to be started.
    pub order: Vec<String>,
}

impl Variables {
    /// What both sides compare: a digest of paths, values and order.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        // Writing to memory cannot fail; were it to, both sides would agree on the digest of nothing.
        let bytes = postcard::to_stdvec(&(&self.values, &self.order)).unwrap_or_default();
        *Digest::of(&bytes).as_bytes()
    }
}

/// The owner's side: its variables, and what of them it has told.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    revision: u64,
    variables: Variables,
    untold: BTreeSet<String>,
    order_untold: bool,
    told: [u8; 32],
}

impl Ledger {
    /// A ledger of `variables`, of which nothing was told.
    #[must_use]
    pub fn new(variables: Variables) -> Self {
        let untold = variables.values.keys().cloned().collect();
        Ledger { untold, variables, ..Ledger::default() }
    }

    /// The variables.
    #[must_use]
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Takes in that the variable at `path` has this value, or is not known any more.
    pub fn set(&mut self, path: &str, value: Option<WireValue>) {
        let changed = match value {
            Some(value) if self.variables.values.get(path) != Some(&value) => {
                self.variables.values.insert(path.to_owned(), value);
                true
            }
            Some(_) => false,
            None => self.variables.values.remove(path).is_some(),
        };
        if changed {
            self.touch(path);
        }
    }

    /// The variable at `path` is told again, although it has not changed: somebody asked for it.
    pub fn touch(&mut self, path: &str) {
        self.untold.insert(path.to_owned());
    }

    /// Takes in all variables anew.
    pub fn replace(&mut self, variables: Variables) {
        let gone: Vec<String> =
            self.variables.values.keys().filter(|path| !variables.values.contains_key(*path)).cloned().collect();
        for path in gone {
            self.set(&path, None);
        }
        for (path, value) in variables.values {
            self.set(&path, Some(value));
        }
        if self.variables.order != variables.order {
            self.variables.order = variables.order;
            self.order_untold = true;
        }
    }

    /// What has not been told yet.
    pub fn delta(&mut self) -> Option<Report> {
        if self.untold.is_empty() && !self.order_untold {
            return None;
        }
        let variables = std::mem::take(&mut self.untold)
            .into_iter()
            .map(|path| WireVariable { value: self.variables.values.get(&path).cloned(), path })
            .collect();
        Some(self.report(WireScope::Delta, variables))
    }

    /// All of it.
    pub fn full(&mut self) -> Report {
        self.untold.clear();
        let all = self.variables.values.iter();
        let variables =
            all.map(|(path, value)| WireVariable { path: path.clone(), value: Some(value.clone()) }).collect();
        self.report(WireScope::Full, variables)
    }

    fn report(&mut self, scope: WireScope, variables: Vec<WireVariable>) -> Report {
        self.order_untold = false;
        self.revision = self.revision.saturating_add(1);
        self.told = self.variables.digest();
        Report { revision: self.revision, scope, variables, order: self.variables.order.clone() }
    }

    /// What was told so far.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse { revision: self.revision, digest: self.told }
    }
}

/// The other side's copy of a [`Ledger`].
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    /// The revision of the copy; nothing while it is known to be wrong, or empty.
    revision: Option<u64>,
    variables: Variables,
    digest: [u8; 32],
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The copy is what the owner had when it said so.
    InStep,
    /// Something before it was missed, so the copy is as it was.
    Missed,
}

impl Mirror {
    /// The copy.
    #[must_use]
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Takes in a report.
    ///
    /// # Errors
    /// When it is larger than any node's, or makes the copy so.
    pub fn take(&mut self, report: &Report) -> Result<Taken, SessionEnd> {
        if report.variables.len() > VARIABLES_PER_NODE_MAX || report.order.len() > VARIABLES_PER_NODE_MAX {
            return Err(SessionEnd::TooManyVariables);
        }
        match report.scope {
            WireScope::Full => self.variables = Variables::default(),
            WireScope::Delta if self.revision.and_then(|r| r.checked_add(1)) == Some(report.revision) => {}
            WireScope::Delta => {
                self.revision = None;
                return Ok(Taken::Missed);
            }
        }
        for variable in &report.variables {
            match &variable.value {
                Some(value) => self.variables.values.insert(variable.path.clone(), value.clone()),
                None => self.variables.values.remove(&variable.path),
            };
        }
        if self.variables.values.len() > VARIABLES_PER_NODE_MAX {
            return Err(SessionEnd::TooManyVariables);
        }
        self.variables.order.clone_from(&report.order);
        self.revision = Some(report.revision);
        self.digest = self.variables.digest();
        Ok(Taken::InStep)
    }

    /// The copy is known to be wrong: what was taken in last could not be kept.
    pub fn distrust(&mut self) {
        self.revision = None;
    }

    /// Whether the copy is what the owner has told, by its heartbeat.
    #[must_use]
    pub fn agrees(&self, pulse: &Pulse) -> bool {
        match self.revision {
            Some(revision) => revision == pulse.revision && self.digest == pulse.digest,
            // An owner that has told nothing has nothing to be missed.
            None => pulse.revision == 0,
        }
    }
}

/// What the clock asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    Nothing,
    Heartbeat,
    Dead(SessionEnd),
}

/// When each side was heard, and when the copy's owner was last asked for all of it.
#[derive(Debug, Clone)]
struct Liveness {
    timing: Timing,
    heard_ms: u64,
    spoke_ms: u64,
    asked_ms: Option<u64>,
}

impl Liveness {
    fn new(timing: Timing, now_ms: u64) -> Self {
        Liveness { timing: timing.bounded(), heard_ms: now_ms, spoke_ms: now_ms, asked_ms: None }
    }

    fn heard(&mut self, now_ms: u64) {
        self.heard_ms = self.heard_ms.max(now_ms);
    }

    fn due(&mut self, now_ms: u64) -> Due {
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        if silent_ms >= u64::from(self.timing.dead_interval_ms) {
            return Due::Dead(SessionEnd::Silent { silent_ms });
        }
        if now_ms.saturating_sub(self.spoke_ms) >= u64::from(self.timing.hello_interval_ms) {
            self.spoke_ms = now_ms;
            return Due::Heartbeat;
        }
        Due::Nothing
    }

    /// When to look again.
    fn next_ms(&self) -> u64 {
        let speak = self.spoke_ms.saturating_add(self.timing.hello_interval_ms.into());
        speak.min(self.heard_ms.saturating_add(self.timing.dead_interval_ms.into()))
    }

    /// Whether to ask for all of it now: not again while an earlier request may still be under way.
    fn may_ask(&mut self, now_ms: u64) -> bool {
        let interval_ms = u64::from(self.timing.hello_interval_ms);
        if self.asked_ms.is_some_and(|asked_ms| now_ms.saturating_sub(asked_ms) < interval_ms) {
            return false;
        }
        self.asked_ms = Some(now_ms);
        true
    }
}
