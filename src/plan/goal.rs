//! What a node should be right now: its desired state, less what cannot be while something else is wanted.
//!
//! A node that should be powered off cannot be asked to run; an image cannot run on a node that should not be in
//! step. So `power=off` sets the goals aside that need power, and taking it back restores them. What needs none stays a
//! goal, and its turn comes when the power is off, so that nothing of it keeps a machine from being powered off.
//! A target that is not layer 0 takes the place of `run` and the images. Goals are lenient: what is not asked for is free.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::target::{REACHED, is_layer0, next_boot};
use crate::model::{Name, Symbol, Value, VarPath};
use crate::state::{Aim, DesiredSource, Needs, Node, Request};

/// The finite goals of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Goal {
    /// What variables should be, `power` and `run` among them.
    pub variables: BTreeMap<VarPath, Symbol>,
    /// What the images' states should be, by name.
    pub images: BTreeMap<Name, &'static str>,
}

impl Goal {
    fn power_off() -> Self {
        Goal { variables: BTreeMap::from([(VarPath::power(), "off".into())]), images: BTreeMap::new() }
    }

    /// What the variable at `path` should be.
    #[must_use]
    pub fn of(&self, path: &VarPath) -> Option<&str> {
        self.variables.get(path).map(Symbol::as_str)
    }
}

/// What `node` should be right now.
#[must_use]
pub fn goal(node: &Node) -> Goal {
    if node.request == Some(Request::Cycle) {
        return Goal::power_off();
    }
    if wants_off(node) {
        let mut goal = Goal::power_off();
        if node.see_symbol(&VarPath::power()) == Some("off") {
            goal.variables.extend(wanted(node).filter(|(.., needs)| *needs == Needs::Nothing).map(|(p, v, _)| (p, v)));
        }
        return goal;
    }
    let mut variables = BTreeMap::new();
    for (path, desired) in node.desired.iter() {
        let (Aim::Goal, Value::Symbol(symbol), None) = (desired.aim, &desired.value, path.as_image()) else { continue };
        variables.insert(path.clone(), symbol.clone());
    }
    if !is_layer0(node) {
        // Nothing can be asked of an operating system that is not ours but that it was started.
        variables.retain(|path, _| *path == VarPath::power());
        variables.insert(VarPath::boot(), REACHED.into());
        return Goal { variables, images: BTreeMap::new() };
    }
    if variables.get(&VarPath::run()).is_some_and(|run| run.as_str() != "sync") {
        variables.insert(VarPath::run(), "init".into());
    }
    let in_sync = variables.get(&VarPath::run()).is_some_and(|run| run.as_str() == "sync");
    let images = node
        .images()
        .into_iter()
        .map(|image| {
            // An image that nobody asks for any more is stopped, as every image of a node that should not be in step.
            let active = in_sync && node.wants_symbol(&VarPath::image_state(&image)) == Some("active");
            (image, if active { "active" } else { "idle" })
        })
        // Before the agent speaks, an image that should not run is no reason to ask it.
        .filter(|(image, state)| *state == "active" || node.see(&VarPath::image_state(image)).is_some())
        .collect();
    Goal { variables, images }
}

fn wants_off(node: &Node) -> bool {
    node.wants_symbol(&VarPath::power()) == Some("off")
}

/// What is wanted of finite variables, images among them, and what reaching it needs.
fn wanted(node: &Node) -> impl Iterator<Item = (VarPath, Symbol, Needs)> {
    node.desired.iter().filter_map(|(path, desired)| match (desired.aim, &desired.value) {
        (Aim::Goal, Value::Symbol(symbol)) => Some((path.clone(), symbol.clone(), desired.needs)),
        _ => None,
    })
}

/// A goal that waits while `power=off` is wanted, since it cannot be reached without power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetAside {
    /// The variable.
    pub path: VarPath,
    /// What is wanted of it.
    pub wanted: Symbol,
}

/// The goals of `node` that are set aside while `power=off` is wanted. That every node is to run, with the images of its
/// cake, goes without saying.
#[must_use]
pub fn set_aside(node: &Node) -> Vec<SetAside> {
    if !wants_off(node) {
        return Vec::new();
    }
    let said = |path: &VarPath| {
        let source = node.desired.get(path).map(|desired| &desired.source);
        !matches!(source, None | Some(DesiredSource::Default | DesiredSource::Cake(_)))
    };
    // `run=init` and an idle image are so by themselves.
    let is_off = |path: &VarPath, value: &Symbol| match path.as_image() {
        Some(_) => value.as_str() == "idle",
        None => *path == VarPath::power() || *path == VarPath::run() && value.as_str() == "init",
    };
    wanted(node)
        .filter(|(path, value, needs)| *needs == Needs::Power && said(path) && !is_off(path, value))
        .map(|(path, wanted, _)| SetAside { path, wanted })
        .collect()
}

/// The value of an image's state for planning: an active image of another digest than the desired one is stale.
#[must_use]
pub fn image_seen<'a>(node: &'a Node, image: &Name) -> Option<&'a str> {
    let state = node.see_symbol(&VarPath::image_state(image))?;
    let digest = VarPath::image_digest(image);
    match (state, node.wants(&digest), node.see(&digest)) {
        ("active", Some(wanted), Some(seen)) if wanted != seen => Some("stale"),
        _ => Some(state),
    }
}

/// Whether every goal of `node` is met.
#[must_use]
pub fn goal_reached(node: &Node) -> bool {
    let Goal { variables, images } = goal(node);
    node.request.is_none()
        && next_boot(node).is_none()
        && variables.iter().all(|(path, wanted)| node.see_symbol(path) == Some(wanted.as_str()))
        && images.iter().all(|(image, wanted)| image_seen(node, image) == Some(*wanted))
}
