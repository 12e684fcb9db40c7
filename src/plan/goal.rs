//! What a node should be right now: its desired state, less what cannot be while something else is wanted.
//!
//! A node that should be powered off cannot be asked to run; an image cannot run on a node that should not be in
//! step. So `power=off` set by hand silences the goals that the node's cake still states, and taking it back
//! restores them.

use std::collections::BTreeMap;

use crate::model::{Name, Value, VarPath};
use crate::state::{Node, Request};

/// The finite goals of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Goal {
    /// What `power` should be.
    pub power: Option<&'static str>,
    /// What `run` should be.
    pub run: Option<&'static str>,
    /// What the images' states should be, by name.
    pub images: BTreeMap<Name, &'static str>,
}

/// What `node` should be right now.
#[must_use]
pub fn goal(node: &Node) -> Goal {
    if node.request == Some(Request::Cycle) {
        return Goal { power: Some("off"), ..Goal::default() };
    }
    let wants = |path: &VarPath| node.desired.get(path).and_then(Value::as_symbol);
    if wants(&VarPath::power()) == Some("off") {
        return Goal { power: Some("off"), ..Goal::default() };
    }
    let power = wants(&VarPath::power()).map(|_| "on");
    let run = match wants(&VarPath::run()) {
        Some("sync") => Some("sync"),
        Some(_) => Some("init"),
        None => None,
    };
    let images = node
        .images()
        .into_iter()
        .map(|image| {
            // An image that nobody asks for any more is stopped, as every image of a node that should not be in step.
            let active = run == Some("sync") && wants(&VarPath::image_state(&image)) == Some("active");
            (image, if active { "active" } else { "idle" })
        })
        // Before the agent speaks, an image that should not run is no reason to ask it.
        .filter(|(image, state)| *state == "active" || node.see(&VarPath::image_state(image)).is_some())
        .collect();
    Goal { power, run, images }
}

/// The value of an image's state for planning: an active image of another digest than the desired one is stale.
#[must_use]
pub(super) fn image_seen<'a>(node: &'a Node, image: &Name) -> Option<&'a str> {
    let state = node.see_symbol(&VarPath::image_state(image))?;
    let digest = VarPath::image_digest(image);
    match (state, node.desired.get(&digest), node.see(&digest)) {
        ("active", Some(wanted), Some(seen)) if wanted != seen => Some("stale"),
        _ => Some(state),
    }
}

/// Whether every goal of `node` is met.
#[must_use]
pub fn goal_reached(node: &Node) -> bool {
    let Goal { power, run, images } = goal(node);
    let met = |wanted: Option<&str>, path: VarPath| wanted.is_none_or(|wanted| node.see_symbol(&path) == Some(wanted));
    node.request.is_none()
        && met(power, VarPath::power())
        && met(run, VarPath::run())
        && images.iter().all(|(image, wanted)| image_seen(node, image) == Some(*wanted))
}
