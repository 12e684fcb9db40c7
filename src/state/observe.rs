//! What one observed value says about others: power off ends a boot, a boot's start ends what ran before.
//!
//! Every change of an observed variable goes through [`Node::observe`] or [`Node::forget`], so these rules hold
//! wherever a fact came from.

use std::sync::Arc;

use super::node::{Mark, Node, Observed, StateSource};
use crate::model::{Revision, Schema, Symbol, UnixMs, Value, VarPath};

/// Forgets the variables whose extension says that they are only known while another one has certain values.
pub(super) fn forget_what_cannot_be_known(node: &mut Node, schema: &Schema) {
    for (spec, condition) in schema.conditional() {
        let holds = node.see(&condition.variable).and_then(Value::as_symbol);
        if holds.is_some_and(|symbol| condition.any_of.iter().any(|value| value.as_str() == symbol)) {
            continue;
        }
        node.drop_observed(|path, _| spec.covers(path));
    }
}

impl Node {
    /// Takes in that the variable at `path` has this value, and what follows from it.
    pub(super) fn observe(&mut self, at: UnixMs, path: VarPath, value: Value, source: StateSource) {
        let symbol_of = |value: &Value| match value {
            Value::Symbol(symbol) => Some(symbol.clone()),
            _ => None,
        };
        let before = self.see(&path).and_then(symbol_of);
        let before = before.as_ref().map(Symbol::as_str);
        let changed = self.see(&path) != Some(&value);
        let symbol = symbol_of(&value);
        let symbol = symbol.as_ref().map_or("", Symbol::as_str);
        self.store(at, path.clone(), value, source);
        match path.as_str() {
            "power" => self.power_seen(at, before, symbol),
            "boot" if symbol != "agent" => {
                self.forget_run();
                self.forget(&VarPath::target());
            }
            "boot" if changed => self.forget(&VarPath::run()),
            "run" if changed && symbol == "sync" => self.mark(at, Mark::InSync),
            "run" if symbol == "lost" => self.forget_images(),
            _ => self.image_seen(at, &path, before, symbol),
        }
    }

    /// Takes in that the variable at `path` is not known any more.
    pub(super) fn forget(&mut self, path: &VarPath) {
        if self.observed.contains_key(path) {
            Arc::make_mut(&mut self.observed).remove(path);
        }
    }

    /// What may have changed while the appliance did not look: sessions, power, and what agents would have told.
    pub(super) fn forget_what_may_have_changed(&mut self) {
        self.in_flight = None;
        self.agent.session = None;
        self.at_goal = false;
        self.last.bmc_end = None;
        self.forget(&VarPath::power());
        self.forget_run();
    }

    /// The agent's session ended without a good-bye. What it told is no longer known; whether the machine still has
    /// power is the first thing to find out. What was seen of a new boot meanwhile now counts.
    pub(super) fn agent_gone(&mut self, at: UnixMs) {
        self.agent.session = None;
        self.forget_run();
        self.forget(&VarPath::power());
        if let Some(boot) = self.agent.boot_seen_since.take() {
            self.observe(at, VarPath::boot(), boot, StateSource::Boot);
        }
    }

    fn store(&mut self, at: UnixMs, path: VarPath, value: Value, source: StateSource) {
        let last = self.observed.get(&path);
        if last.is_some_and(|o| o.value == value) {
            return;
        }
        let revision = last.map_or(Revision(1), |o| o.revision.next());
        Arc::make_mut(&mut self.observed).insert(path, Observed { value, at, revision, source });
    }

    fn power_seen(&mut self, at: UnixMs, before: Option<&str>, now: &str) {
        let boot = self.see_symbol(&VarPath::boot()).map(str::to_owned);
        match (before, now) {
            (Some("off"), "off") | (Some("on"), "on") => {}
            // An order to boot from the network outlives an appliance that was restarted before it powered on.
            (None, "off") if boot.as_deref() == Some("armed") => self.forget_run(),
            (_, "off") => {
                self.agent.session = None;
                self.agent.boot_seen_since = None;
                self.store(at, VarPath::boot(), Value::symbol("idle"), StateSource::Implied);
                self.forget_run();
                if before.is_some() {
                    self.mark(at, Mark::PowerOff);
                }
            }
            // Somebody else powered it on: what it boots is not known.
            (_, "on") if boot.as_deref() == Some("idle") => self.forget(&VarPath::boot()),
            (Some("off"), "on") => self.mark(at, Mark::PowerOn),
            _ => {}
        }
    }

    fn image_seen(&mut self, at: UnixMs, path: &VarPath, before: Option<&str>, now: &str) {
        let Some((image, "state")) = path.as_image() else { return };
        match (before, now) {
            (Some("active"), "active") => {}
            (_, "active") => self.mark(at, Mark::ImageActive(image)),
            (Some("active"), "idle") => self.mark(at, Mark::ImageIdle(image)),
            _ => {}
        }
    }

    /// Whether it is at its goal, and that is to run.
    pub(super) fn is_well(&self) -> bool {
        self.at_goal && self.agent.session.is_some() && self.wants_symbol(&VarPath::run()) == Some("sync")
    }

    /// Whether one that was well has lost its agent although nobody asked for that.
    pub(super) fn has_turned_bad(&self) -> bool {
        self.at_goal && self.agent.session.is_none() && self.ordered_off_at.is_none() && self.request.is_none()
    }

    /// What an agent told of itself, its images and its network is not known any more.
    pub(super) fn forget_run(&mut self) {
        self.forget(&VarPath::run());
        self.forget_images();
        let agents = |path: &VarPath, seen: &Observed| seen.source == StateSource::Agent && is_passing(path);
        self.drop_observed(agents);
    }

    fn forget_images(&mut self) {
        self.drop_observed(|path, _| path.as_image().is_some());
    }

    /// Forgets the variables of which `drops` holds.
    pub(super) fn drop_observed(&mut self, drops: impl Fn(&VarPath, &Observed) -> bool) {
        if self.observed.iter().any(|(path, seen)| drops(path, seen)) {
            Arc::make_mut(&mut self.observed).retain(|path, seen| !drops(path, seen));
        }
    }
}

/// What an agent tells of the running system, as against the machine.
fn is_passing(path: &VarPath) -> bool {
    *path == VarPath::busy() || (path.as_str().starts_with("net.") && !path.as_str().ends_with(".mac"))
}
