//! Which nodes a request is about: a node set, a pool, labels, conditions; those that are in all of them.

use std::sync::Arc;

use super::ask::{Query, find};
use super::reply::Refusal;
use crate::model::{Name, NodeId, NodeSet};
use crate::plan::select::{Matcher, SelectError, Selector};
use crate::port::document::Selection;
use crate::state::{Node, State};

/// What it means when a request selects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unselected {
    /// Every node.
    All,
    /// A mistake: something is to be done with them.
    Refused,
}

/// The selection in a request's query.
pub(super) fn selection(query: &Query) -> Selection {
    let one = |key| query.get(key).map(str::to_owned);
    let wheres = query.all("where").map(str::to_owned).collect();
    Selection { nodes: one("nodes"), pool: one("pool"), labels: one("labels"), wheres }
}

/// The nodes that are selected, in the order of the node set, or of their names.
pub(super) fn selected(
    state: &State,
    selection: &Selection,
    unselected: Unselected,
) -> Result<Vec<Arc<Node>>, Refusal> {
    if unselected == Unselected::Refused && *selection == Selection::default() {
        return Err(Refusal::invalid("no node is named; give a node set, a pool, labels or a condition"));
    }
    let matcher = matcher(state, selection).map_err(Refusal::invalid)?;
    let mut found = match &selection.nodes {
        Some(text) => nodes_of(state, text)?,
        None => state.by_name.values().filter_map(|id| state.node(*id).cloned()).collect(),
    };
    found.retain(|node| matcher.matches(node));
    if unselected == Unselected::Refused && found.is_empty() {
        return Err(Refusal::invalid("no node is like that; 'bootes get nodes' with the same words shows none"));
    }
    Ok(found)
}

/// What the nodes of a selection are like, apart from their names.
pub(super) fn matcher(state: &State, selection: &Selection) -> Result<Matcher, SelectError> {
    let parse = |pool: &str| pool.parse::<Name>().map_err(|_| SelectError::Pool(pool.to_owned()));
    let pool = selection.pool.as_deref().map(parse).transpose()?;
    if let Some(pool) = pool.as_ref().filter(|pool| !state.pools.contains_key(*pool)) {
        return Err(SelectError::Pool(pool.to_string()));
    }
    let labels = selection.labels.as_deref().map(str::parse).transpose()?.unwrap_or_default();
    let wheres = selection.wheres.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    Selector { pool, labels, wheres }.compile(&state.schema)
}

/// The nodes that a node set names, by name or id; each must exist, or have existed. A name stands for the node that has
/// it, and for those that had it where none has it now.
pub(super) fn nodes_that_were(state: &State, text: &str) -> Result<Vec<NodeId>, Refusal> {
    let set: NodeSet = text.parse().map_err(Refusal::bad_request)?;
    let mut found = Vec::with_capacity(set.len());
    let mut missing = Vec::new();
    for name in set.iter() {
        let before = found.len();
        match (find(state, name), name.parse::<NodeId>(), name.parse::<Name>()) {
            (Some(node), ..) => found.push(node.id),
            (None, Ok(id), _) if state.removed.name(id).is_some() => found.push(id),
            (None, _, Ok(name)) => found.extend(state.removed.named(&name)),
            _ => {}
        }
        if found.len() == before {
            missing.push(name);
        }
    }
    match missing.is_empty() {
        true => Ok(found),
        false => Err(Refusal::no_such_node(&[NodeSet::fold(missing)])),
    }
}

/// The nodes that a node set names, all of which must exist.
fn nodes_of(state: &State, text: &str) -> Result<Vec<Arc<Node>>, Refusal> {
    let set: NodeSet = text.parse().map_err(Refusal::bad_request)?;
    let mut found = Vec::with_capacity(set.len());
    let mut missing = Vec::new();
    for name in set.iter() {
        match find(state, name) {
            Some(node) => found.push(node),
            None => missing.push(name),
        }
    }
    match missing.is_empty() {
        true => Ok(found),
        false => Err(Refusal::no_such_node(&[NodeSet::fold(missing)])),
    }
}
