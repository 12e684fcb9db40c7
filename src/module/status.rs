//! How modules from outside fare, for those who ask.
//!
//! Absent on purpose: what they declare, which is part of the state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::model::Name;

/// How a module fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its program is started when it is needed.
    Asleep,
    /// Its program has been started and is not ready yet.
    Starting,
    /// Its program takes requests.
    Running,
    /// Its program has failed and is started again later.
    Failed,
    /// The appliance stops.
    Stopped,
}

impl Standing {
    /// The standing as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Asleep => "asleep",
            Standing::Starting => "starting",
            Standing::Running => "running",
            Standing::Failed => "failed",
            Standing::Stopped => "stopped",
        }
    }
}

/// What is known of a module's program.
#[derive(Debug, Clone)]
pub struct Status {
    /// How it fares.
    pub standing: Standing,
    /// Since when.
    pub since: Instant,
    /// The process id of its guard, while there is one.
    pub pid: Option<u32>,
    /// How often it has failed since the appliance started.
    pub failures: u64,
    /// What was last wrong with it; empty when nothing was.
    pub detail: String,
    /// Its own version.
    pub version: String,
    /// What it is for.
    pub doc: String,
}

/// All modules from outside, by name.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Mutex<BTreeMap<Name, Status>>>);

impl Roster {
    /// What is known now.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Name, Status> {
        // A thread that panicked here has left whole values behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known of one.
    pub(super) fn change(&self, module: &Name, change: impl FnOnce(&mut Status)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(module.clone()).or_insert_with(|| Status {
            standing: Standing::Asleep,
            since: Instant::now(),
            pid: None,
            failures: 0,
            detail: String::new(),
            version: String::new(),
            doc: String::new(),
        }));
    }

    /// Another standing.
    pub(super) fn stand(&self, module: &Name, standing: Standing, pid: Option<u32>) {
        self.change(module, |status| {
            if status.standing != standing {
                status.since = Instant::now();
            }
            status.standing = standing;
            status.pid = pid;
        });
    }
}
