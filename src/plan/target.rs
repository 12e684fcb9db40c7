//! What a node boots, as the planner sees it: layer 0 leads to `run`; any other target is the end of the way.
//!
//! A target is for the next boot. A machine that runs something else meanwhile is left alone until an operator asks for its
//! power ([`next_boot`]): what it runs may be somebody's work, and nobody here can see whether it is.
//!
//! Absent on purpose: what a target is made of (`model::boot`), and what is served of it (`boot`).

use crate::model::VarPath;
use crate::model::boot::{LAYER0, LOCAL};
use crate::state::{Node, Request};

/// The value of `boot` at which a node has reached a target that is not layer 0: the last of its files was sent.
pub const REACHED: &str = "target";

/// The target that is wanted of `node`.
#[must_use]
pub fn wanted(node: &Node) -> String {
    node.wants(&VarPath::target()).map_or_else(|| LAYER0.to_owned(), ToString::to_string)
}

/// Whether layer 0 is wanted of `node`.
#[must_use]
pub fn is_layer0(node: &Node) -> bool {
    wanted(node) == LAYER0
}

/// What the machine runs, or may run, when that is not its target and it has not been asked to boot again.
#[must_use]
pub fn next_boot(node: &Node) -> Option<String> {
    let asked = node.request == Some(Request::Cycle) || node.wants_symbol(&VarPath::power()) == Some("off");
    if asked || node.see_symbol(&VarPath::power()) != Some("on") {
        return None;
    }
    let wanted = wanted(node);
    let runs = match node.see_symbol(&VarPath::boot()) {
        Some("agent") => LAYER0.to_owned(),
        Some(REACHED) => node.see(&VarPath::target())?.to_string(),
        // Firmware that was told to boot its disk may have done so without a word.
        Some("stuck") if wanted == LOCAL => "something that is not known".to_owned(),
        None if wanted != LAYER0 => "something that is not known".to_owned(),
        _ => return None,
    };
    (runs != wanted).then_some(runs)
}
