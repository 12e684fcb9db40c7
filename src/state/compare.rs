//! What differs between two states, node by node: what was described, what is wanted, what was seen.
//!
//! Nodes are the same by id, so a renamed one is changed and not gone. Values are compared and told as text, as they are
//! printed everywhere.
//! Absent on purpose: secrets (that one differs is told, not how), and what changes with every packet, such as when a
//! node was last heard.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Node, State};
use crate::model::{Name, NodeId};

/// How a node differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeChange {
    /// Its name, the later one where it has changed.
    pub name: Name,
    /// Its id.
    pub id: NodeId,
    /// Whether it is new or gone.
    pub change: Existence,
    /// Fields of its description that differ, by path.
    pub described: Vec<ValueChange>,
    /// Wanted values that differ, by variable.
    pub desired: Vec<ValueChange>,
    /// Seen values that differ, by variable.
    pub observed: Vec<ValueChange>,
}

/// Whether a node is new or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Existence {
    /// It is new.
    Created,
    /// It is gone.
    Removed,
    /// It was there and still is.
    Changed,
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValueChange {
    /// The field or variable.
    pub path: String,
    /// What it was; nothing when it was not there, or not known.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
}

/// The nodes of `ids` that differ between two states, or of all nodes, by name.
#[must_use]
pub fn compare(from: &State, to: &State, ids: Option<&BTreeSet<NodeId>>) -> Vec<NodeChange> {
    let all: BTreeSet<NodeId> = from.nodes.keys().chain(to.nodes.keys()).copied().collect();
    let asked = all.into_iter().filter(|id| ids.is_none_or(|ids| ids.contains(id)));
    let mut changes: Vec<NodeChange> = asked.filter_map(|id| compare_node(from.node(id), to.node(id))).collect();
    changes.sort_by(|a, b| (a.name.as_str().len(), &a.name).cmp(&(b.name.as_str().len(), &b.name)));
    changes
}

fn compare_node(from: Option<&std::sync::Arc<Node>>, to: Option<&std::sync::Arc<Node>>) -> Option<NodeChange> {
    let shared = from.zip(to).is_some_and(|(from, to)| std::sync::Arc::ptr_eq(from, to));
    let newest = to.or(from).filter(|_| !shared)?;
    let change = match (from, to) {
        (None, _) => Existence::Created,
        (_, None) => Existence::Removed,
        _ => Existence::Changed,
    };
    let each = |values: fn(&Node) -> BTreeMap<String, String>| {
        differing(&from.map(|n| values(n)).unwrap_or_default(), &to.map(|n| values(n)).unwrap_or_default())
    };
    let described = each(described);
    let desired =
        each(|n| n.desired.iter().map(|(path, wanted)| (path.to_string(), wanted.value.to_string())).collect());
    let observed = each(|n| n.observed.iter().map(|(path, seen)| (path.to_string(), seen.value.to_string())).collect());
    let same = described.is_empty() && desired.is_empty() && observed.is_empty();
    let (name, id) = (newest.spec.name.clone(), newest.id);
    let found = NodeChange { name, id, change, described, desired, observed };
    (change != Existence::Changed || !same).then_some(found)
}

fn differing(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Vec<ValueChange> {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let differ = paths.into_iter().filter(|path| from.get(*path) != to.get(*path));
    let change = |path: &String| {
        let (from, to) = (from.get(path).cloned(), to.get(path).cloned());
        match path.rsplit('.').next() {
            Some(SECRET) => {
                let another = if from.is_some() { "(sealed, another)" } else { "(sealed)" };
                let sealed = |value: Option<String>, word: &str| value.map(|_| word.to_owned());
                ValueChange { path: path.clone(), from: sealed(from, "(sealed)"), to: sealed(to, another) }
            }
            _ => ValueChange { path: path.clone(), from, to },
        }
    };
    differ.map(change).collect()
}

/// The field of a description whose value is not told.
const SECRET: &str = "password";

/// The fields of a node's description, as paths and texts.
fn described(node: &Node) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    if let Ok(serde_json::Value::Object(mut json)) = serde_json::to_value(node.spec.as_ref()) {
        // Values are told as they are printed, so that a secret is not; and what the node itself adds to its pool is in
        // the other fields too.
        json.retain(|name, _| name != "variables" && name != "own");
        flatten("", &json.into(), &mut fields);
    }
    let variables = node.spec.variables.iter();
    fields.extend(variables.map(|(path, value)| (format!("variables.{path}"), value.to_string())));
    fields
}

fn flatten(path: &str, json: &serde_json::Value, fields: &mut BTreeMap<String, String>) {
    use serde_json::Value;
    match json {
        Value::Null => {}
        Value::Object(inner) => {
            for (name, value) in inner {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, fields);
            }
        }
        Value::String(text) => {
            fields.insert(path.to_owned(), text.clone());
        }
        other => {
            fields.insert(path.to_owned(), other.to_string());
        }
    }
}
