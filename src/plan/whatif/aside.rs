//! Goals about which nothing will be done, which whoever asks for them should know at once.

use std::collections::BTreeMap;

use super::Warning;
use crate::model::mutation::Subject;
use crate::model::{Name, NodeSet, Symbol, VarPath};
use crate::plan::goal::{SetAside, goal, set_aside};
use crate::plan::graph::Graph;
use crate::state::Node;

/// What is to be known of the goals of `nodes`: those that are set aside, and those that nothing leads to.
#[must_use]
pub fn goal_warnings<'a>(nodes: impl IntoIterator<Item = &'a Node>, graph: &Graph) -> Vec<Warning> {
    let mut aside: BTreeMap<Vec<SetAside>, Vec<&Name>> = BTreeMap::new();
    let mut unreached: BTreeMap<(VarPath, Symbol), Vec<&Name>> = BTreeMap::new();
    for node in nodes {
        let name = &node.spec.name;
        let waiting = set_aside(node);
        let all = goal(node).variables.into_iter().chain(waiting.iter().map(|g| (g.path.clone(), g.wanted.clone())));
        for (path, wanted) in all.filter(|(path, wanted)| !is_reached(graph, path, wanted)) {
            unreached.entry((path, wanted)).or_default().push(name);
        }
        let waiting: Vec<SetAside> =
            waiting.into_iter().filter(|goal| is_reached(graph, &goal.path, &goal.wanted)).collect();
        if !waiting.is_empty() {
            aside.entry(waiting).or_default().push(name);
        }
    }
    let set = |names: Vec<&Name>| NodeSet::fold(names.into_iter().map(Name::as_str));
    let aside = aside.into_iter().map(|(goals, names)| Warning::SetAside { nodes: set(names), goals });
    let unreached =
        unreached.into_iter().map(|((path, wanted), names)| Warning::NoMutation { nodes: set(names), path, wanted });
    aside.chain(unreached).collect()
}

/// Whether some mutation leads to this value, by its change or by its consequence.
fn is_reached(graph: &Graph, path: &VarPath, wanted: &Symbol) -> bool {
    let subject = match path.as_image() {
        Some(_) => Subject::EachImage,
        None => Subject::Var(path.clone()),
    };
    graph.mutations().iter().any(|mutation| {
        mutation.changes.iter().any(|change| change.subject == subject && change.to.contains(wanted))
            || mutation.consequences.iter().any(|c| c.subject == subject && c.becomes == *wanted)
    })
}
