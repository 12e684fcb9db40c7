//! What an apply would change: a description against the state, as a list of changes and the facts that make them.
//!
//! Images are named in a description and pinned to digests in the state; passwords are compared by the caller,
//! who can open them, and arrive here sealed. A change of a pool or of the defaults is followed by the changes of the
//! nodes that it makes another of: whatever becomes of a node is on the node's own line.

mod after;
mod error;
mod rules;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::error::ApplyError;
use super::resolve::{NodeDescription, said_of};
use crate::fact::OperatorEvent;
use crate::model::{
    CakeSpec, EnrollRule, Extension, Name, NetworkSpec, NodeId, NodeSpec, PoolSpec, Schema, TargetSpec, Template,
    VarPath,
};
use crate::state::{Node, State};

/// What becomes of the things that a description does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// They stay as they are: the description is merged into what there is.
    #[default]
    Kept,
    /// They are removed: the description is the whole cluster.
    Removed,
}

impl Unnamed {
    /// Whether they stay as they are.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        *self == Unnamed::Kept
    }
}

/// A cluster's description, with its node sets expanded and its secrets sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The cluster's name.
    pub cluster: Option<Name>,
    /// Its variables besides the built-in ones.
    pub extensions: Vec<Extension>,
    /// Its networks.
    pub networks: Vec<NetworkSpec>,
    /// Its cakes.
    pub cakes: Vec<CakeSpec>,
    /// Its boot targets.
    pub targets: Vec<TargetSpec>,
    /// What all nodes have in common.
    pub defaults: Option<Template>,
    /// Its pools.
    pub pools: Vec<PoolSpec>,
    /// The rules by which machines become nodes; nothing leaves them as they are.
    pub enroll: Option<Vec<EnrollRule>>,
    /// Its nodes, each with the id that it has when it is new.
    pub nodes: Vec<(NodeId, NodeDescription)>,
    /// What becomes of the rest.
    pub unnamed: Unnamed,
    /// Nodes to be removed, whatever becomes of the rest.
    pub removed_nodes: BTreeSet<Name>,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Described {
    /// The cluster's name.
    Cluster,
    /// A set of variables.
    Extension,
    /// A network.
    Network,
    /// A cake.
    Cake,
    /// A boot target.
    Target,
    /// What all nodes have in common.
    Defaults,
    /// A pool.
    Pool,
    /// A node.
    Node,
    /// The rules by which machines become nodes.
    Enroll,
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Described::Cluster => "cluster",
            Described::Extension => "extension",
            Described::Network => "network",
            Described::Cake => "cake",
            Described::Target => "target",
            Described::Defaults => "defaults",
            Described::Pool => "pool",
            Described::Node => "node",
            Described::Enroll => "enroll",
        })
    }
}

/// How it is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Create,
    /// It differs in these fields.
    Update {
        /// The fields' names; `sources` when only who says what has changed.
        fields: Vec<String>,
    },
    /// It is removed.
    Remove,
}

/// What an operator should know of a change before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A running node is told of it at its next boot.
    AtNextBoot,
    /// The node's machine may be running, and nobody looks after it any more.
    LeftAsItIs,
    /// The node's machine may be on already.
    MayBePoweredOff,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Note::AtNextBoot => "running; takes the new address, network or MAC at its next boot",
            Note::LeftAsItIs => "no longer managed; the machine is left as it is, with its power and whatever it runs",
            Note::MayBePoweredOff => {
                "a machine that is on already, and in which no agent joins within the timeout of boot.discover, is powered off and booted"
            }
        })
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// What kind of thing.
    pub what: Described,
    /// Its name; the defaults are called `defaults`.
    pub name: Name,
    /// How.
    #[serde(flatten)]
    pub kind: ChangeKind,
    /// The nodes that will be disturbed: their image is replaced, or what should run on them is.
    pub disrupts: Vec<Name>,
    /// What should be known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// Changes and the facts that make them, as they are found.
#[derive(Default)]
struct Found {
    changes: Vec<Change>,
    events: Vec<OperatorEvent>,
}

impl Found {
    fn change(&mut self, what: Described, name: &Name, kind: ChangeKind) -> &mut Self {
        self.noted(what, name, kind, vec![], vec![])
    }

    fn noted(
        &mut self,
        what: Described,
        name: &Name,
        kind: ChangeKind,
        disrupts: Vec<Name>,
        notes: Vec<Note>,
    ) -> &mut Self {
        self.changes.push(Change { what, name: name.clone(), kind, disrupts, notes });
        self
    }

    fn by(&mut self, event: OperatorEvent) {
        self.events.push(event);
    }
}

/// The changes that applying `description` to `state` makes, and the facts that make them.
///
/// # Errors
/// When the description contradicts itself or the state; nothing of it is applied then.
pub fn diff(state: &State, description: &Description) -> Result<(Vec<Change>, Vec<OperatorEvent>), ApplyError> {
    let after = after::after(state, description)?;
    let gone = &after.gone;
    let mut found = Found::default();
    if let Some(name) = description.cluster.as_ref().filter(|name| state.cluster.as_ref() != Some(*name)) {
        let kind = kind_of(state.cluster.as_ref().map(|_| vec!["name".to_owned()]));
        found.change(Described::Cluster, name, kind).by(OperatorEvent::ClusterNamed { name: name.clone() });
    }
    // Nodes go first, since others may take over their addresses, and what they needed goes last.
    for name in &gone.nodes {
        let Some(node) = state.node_named(name) else { continue };
        let off = node.see_symbol(&VarPath::power()) == Some("off");
        let notes = if off { vec![] } else { vec![Note::LeftAsItIs] };
        let event = OperatorEvent::NodeRemoved { node: node.id, name: name.clone() };
        found.noted(Described::Node, name, ChangeKind::Remove, vec![], notes).by(event);
    }
    for name in &gone.extensions {
        let event = OperatorEvent::ExtensionRemoved { name: name.clone() };
        found.change(Described::Extension, name, ChangeKind::Remove).by(event);
    }
    for spec in &after.extensions {
        let old = state.schema.added().get(&spec.name).map(|old| fields_that_differ(old.as_ref(), *spec));
        let event = OperatorEvent::ExtensionDescribed { spec: (*spec).clone() };
        found.change(Described::Extension, &spec.name, kind_of(old)).by(event);
    }
    for spec in &description.networks {
        let old = state.networks.get(&spec.name).map(|old| fields_that_differ(old.as_ref(), spec));
        if is_change(&old) {
            let event = OperatorEvent::NetworkDescribed { spec: spec.clone() };
            found.change(Described::Network, &spec.name, kind_of(old)).by(event);
        }
    }
    for spec in &description.cakes {
        let old = state.cakes.get(&spec.name).map(|old| fields_that_differ(old.as_ref(), spec));
        if is_change(&old) {
            let users = users_of(state, &spec.name, &gone.nodes);
            let event = OperatorEvent::CakeDescribed { spec: spec.clone() };
            found.noted(Described::Cake, &spec.name, kind_of(old), users, vec![]).by(event);
        }
    }
    for spec in &description.targets {
        let old = state.targets.get(&spec.name).map(|old| fields_that_differ(old.as_ref(), spec));
        if is_change(&old) {
            let event = OperatorEvent::TargetDescribed { spec: Box::new(spec.clone()) };
            found.change(Described::Target, &spec.name, kind_of(old)).by(event);
        }
    }
    wider(state, description, &after, &mut found);
    rules(state, description, &mut found);
    for (id, spec) in &after.resolved {
        node(state, *id, spec, &after.schema, &mut found);
    }
    for name in &gone.pools {
        found.change(Described::Pool, name, ChangeKind::Remove).by(OperatorEvent::PoolRemoved { name: name.clone() });
    }
    for name in &gone.cakes {
        found.change(Described::Cake, name, ChangeKind::Remove).by(OperatorEvent::CakeRemoved { name: name.clone() });
    }
    for name in &gone.targets {
        let event = OperatorEvent::TargetRemoved { name: name.clone() };
        found.change(Described::Target, name, ChangeKind::Remove).by(event);
    }
    for name in &gone.networks {
        let event = OperatorEvent::NetworkRemoved { name: name.clone() };
        found.change(Described::Network, name, ChangeKind::Remove).by(event);
    }
    Ok((found.changes, found.events))
}

/// Defaults and pools.
fn wider(state: &State, description: &Description, after: &after::After<'_>, found: &mut Found) {
    if state.defaults.as_ref() != after.defaults
        && let Ok(name) = "defaults".parse()
    {
        let kind = match (state.defaults.is_empty(), after.defaults.is_empty()) {
            (true, _) => ChangeKind::Create,
            (_, true) => ChangeKind::Remove,
            _ => kind_of(Some(fields_that_differ(state.defaults.as_ref(), after.defaults))),
        };
        let event = OperatorEvent::DefaultsDescribed { spec: Box::new(after.defaults.clone()) };
        found.change(Described::Defaults, &name, kind).by(event);
    }
    for spec in &description.pools {
        let old = state.pools.get(&spec.name).map(|old| fields_that_differ(old.as_ref(), spec));
        if is_change(&old) {
            let event = OperatorEvent::PoolDescribed { spec: Box::new(spec.clone()) };
            found.change(Described::Pool, &spec.name, kind_of(old)).by(event);
        }
    }
}

/// The rules of enrolment, which are one thing.
fn rules(state: &State, description: &Description, found: &mut Found) {
    let fresh = match (&description.enroll, description.unnamed) {
        (Some(rules), _) => rules.clone(),
        (None, Unnamed::Removed) => Vec::new(),
        (None, Unnamed::Kept) => return,
    };
    let known = state.enrollment.as_ref();
    if *known == fresh {
        return;
    }
    if let Ok(name) = "rules".parse() {
        let kind = match (known.is_empty(), fresh.is_empty()) {
            (true, _) => ChangeKind::Create,
            (_, true) => ChangeKind::Remove,
            _ => {
                let differs = |at: &usize| known.get(*at) != fresh.get(*at);
                let numbers = (0..known.len().max(fresh.len())).filter(differs).map(|at| format!("rule {}", at + 1));
                ChangeKind::Update { fields: numbers.collect() }
            }
        };
        found.change(Described::Enroll, &name, kind).by(OperatorEvent::EnrollmentDescribed { rules: fresh });
    }
}

fn node(state: &State, id: NodeId, spec: &NodeSpec, schema: &Schema, found: &mut Found) {
    let name = &spec.name;
    let described = || OperatorEvent::NodeDescribed { node: id, spec: Box::new(spec.clone()) };
    let Some(known) = state.node(id) else {
        let notes = if spec.bmc.is_some() { vec![Note::MayBePoweredOff] } else { vec![] };
        return found.noted(Described::Node, name, ChangeKind::Create, vec![], notes).by(described());
    };
    let old = NodeSpec { own: Box::new(said_of(state, known).own), ..known.spec.as_ref().clone() };
    if old == *spec {
        return;
    }
    let mut fields = fields_that_differ(&old, spec);
    let resolved = fields.iter().any(|field| field != "own");
    fields.retain(|field| !resolved || field != "own");
    let options = old.own.options != spec.own.options;
    for field in fields.iter_mut().filter(|field| *field == "own") {
        if options { "options" } else { "sources" }.clone_into(field);
    }
    let has = |wanted: &[&str]| fields.iter().any(|field| wanted.contains(&field.as_str()));
    let disrupts = if has(&["cake"]) || goals_differ(schema, &old, spec) { vec![name.clone()] } else { vec![] };
    let mut notes = Vec::new();
    if has(&["ip", "mac", "network", "ipv6"]) && known.agent.session.is_some() {
        notes.push(Note::AtNextBoot);
    }
    if old.bmc.is_none() && spec.bmc.is_some() && is_unknown(known) {
        notes.push(Note::MayBePoweredOff);
    }
    found.noted(Described::Node, name, ChangeKind::Update { fields }, disrupts, notes).by(described());
}

fn is_unknown(node: &Node) -> bool {
    node.agent.session.is_none() && node.see(&VarPath::power()).is_none()
}

/// Whether another value is wanted of a variable that something has to be done for.
fn goals_differ(schema: &Schema, old: &NodeSpec, new: &NodeSpec) -> bool {
    let is_goal =
        |path: &VarPath| schema.find(path).is_some_and(|(_, spec)| spec.set == crate::model::schema::Setting::Goal);
    let paths: BTreeSet<&VarPath> = old.variables.keys().chain(new.variables.keys()).collect();
    paths.into_iter().any(|path| old.variables.get(path) != new.variables.get(path) && is_goal(path))
}

fn is_change(old: &Option<Vec<String>>) -> bool {
    old.as_ref().is_none_or(|fields| !fields.is_empty())
}

fn kind_of(old: Option<Vec<String>>) -> ChangeKind {
    match old {
        Some(fields) => ChangeKind::Update { fields },
        None => ChangeKind::Create,
    }
}

/// The top-level fields whose serialised forms differ.
fn fields_that_differ<T: Serialize>(old: &T, new: &T) -> Vec<String> {
    let map = |value: &T| match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (map(old), map(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

fn users_of(state: &State, cake: &Name, gone: &BTreeSet<Name>) -> Vec<Name> {
    let uses = |spec: &NodeSpec| spec.cake.as_ref() == Some(cake) && !gone.contains(&spec.name);
    state.nodes.values().filter(|n| uses(&n.spec)).map(|n| n.spec.name.clone()).collect()
}
