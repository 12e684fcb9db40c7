//! What a node should be right now: its desired state, less what cannot be while something else is wanted.
//!
//! A node that should be powered off cannot be asked to run; an image cannot run on a node that should not be in
//! step. So `power=off` set by hand silences the goals that the node's cake still states, and taking it back
//! restores them. A target that is not layer 0 takes the place of `run` and the images. Goals are lenient: what is not asked for is free.

use std::collections::BTreeMap;

use super::target::{REACHED, is_layer0, next_boot};
use crate::model::{Name, Symbol, Value, VarPath};
use crate::state::{Aim, Node, Request};

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
    if node.request == Some(Request::Cycle) || node.wants_symbol(&VarPath::power()) == Some("off") {
        return Goal::power_off();
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
