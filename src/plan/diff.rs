//! What an apply would change: a description against the state, as a list of changes and the facts that make them.
//!
//! Images are named in a description and pinned to digests in the state; passwords are compared by the caller,
//! who can open them, and arrive here sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fact::OperatorEvent;
use crate::model::limits::{IMAGES_PER_CAKE_MAX, NODES_MAX};
use crate::model::{CakeSpec, Mac, Name, NetworkSpec, NodeId, NodeSpec};
use crate::state::State;

/// A cluster's description, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The cluster's name.
    pub cluster: Option<Name>,
    /// Its networks.
    pub networks: Vec<NetworkSpec>,
    /// Its cakes.
    pub cakes: Vec<CakeSpec>,
    /// Its nodes, each with the id that it has when it is new.
    pub nodes: Vec<(NodeId, NodeSpec)>,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Described {
    /// The cluster's name.
    Cluster,
    /// A network.
    Network,
    /// A cake.
    Cake,
    /// A node.
    Node,
}

/// How it is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Create,
    /// It differs in these fields.
    Update {
        /// The fields' names.
        fields: Vec<String>,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What kind of thing.
    pub what: Described,
    /// Its name.
    pub name: Name,
    /// How.
    #[serde(flatten)]
    pub kind: ChangeKind,
    /// The nodes that will be disturbed: their image is replaced, or their boot begins anew.
    pub disrupts: Vec<Name>,
}

/// Why a description cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// A node refers to something that is not described.
    #[error("node {node}: there is no {what} '{name}'; describe it, or correct the name")]
    Missing {
        /// The node.
        node: Name,
        /// `network` or `cake`.
        what: &'static str,
        /// The name.
        name: Name,
    },
    /// Two nodes share what must be one node's alone.
    #[error("nodes {first} and {second} both have the {what} {value}; each node needs its own")]
    Shared {
        /// One node.
        first: Name,
        /// The other.
        second: Name,
        /// `name`, `MAC` or `address`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The address is not one of the network's.
    #[error("node {node}: {ip} is not a machine's address in network {network} ({subnet})")]
    NotInNetwork {
        /// The node.
        node: Name,
        /// The address.
        ip: Ipv4Addr,
        /// The network.
        network: Name,
        /// Its addresses.
        subnet: String,
    },
    /// Too many images.
    #[error("cake {cake} has {images} images; a cake may have {IMAGES_PER_CAKE_MAX}")]
    TooManyImages {
        /// The cake.
        cake: Name,
        /// How many.
        images: usize,
    },
    /// Too many nodes.
    #[error("the cluster would have {nodes} nodes; one appliance takes {NODES_MAX}")]
    TooManyNodes {
        /// How many.
        nodes: usize,
    },
}

/// The changes that applying `description` to `state` makes, and the facts that make them.
///
/// # Errors
/// When the description contradicts itself or the state; nothing of it is applied then.
pub fn diff(state: &State, description: &Description) -> Result<(Vec<Change>, Vec<OperatorEvent>), ApplyError> {
    check(state, description)?;
    let mut changes = Vec::new();
    let mut events = Vec::new();
    if let Some(name) = &description.cluster
        && state.cluster.as_ref() != Some(name)
    {
        let kind = kind_of(state.cluster.as_ref().map(|_| vec!["name".to_owned()]));
        changes.push(Change { what: Described::Cluster, name: name.clone(), kind, disrupts: vec![] });
        events.push(OperatorEvent::ClusterNamed { name: name.clone() });
    }
    for spec in &description.networks {
        let old = state.networks.get(&spec.name).map(|old| fields_that_differ(old.as_ref(), spec));
        if old.as_ref().is_none_or(|fields| !fields.is_empty()) {
            let name = spec.name.clone();
            changes.push(Change { what: Described::Network, name, kind: kind_of(old), disrupts: vec![] });
            events.push(OperatorEvent::NetworkDescribed { spec: spec.clone() });
        }
    }
    for spec in &description.cakes {
        let old = state.cakes.get(&spec.name).map(|old| fields_that_differ(old.as_ref(), spec));
        if old.as_ref().is_none_or(|fields| !fields.is_empty()) {
            let name = spec.name.clone();
            let disrupts = users_of(state, &name);
            changes.push(Change { what: Described::Cake, name, kind: kind_of(old), disrupts });
            events.push(OperatorEvent::CakeDescribed { spec: spec.clone() });
        }
    }
    for (new_id, spec) in &description.nodes {
        let known = state.node_named(&spec.name);
        let old = known.map(|old| fields_that_differ(old.spec.as_ref(), spec));
        if old.as_ref().is_none_or(|fields| !fields.is_empty()) {
            let name = spec.name.clone();
            let disrupting = |fields: &Vec<String>| fields.iter().any(|f| f == "cake");
            let disrupts = old.iter().filter(|f| disrupting(f)).map(|_| name.clone()).collect();
            changes.push(Change { what: Described::Node, name, kind: kind_of(old), disrupts });
            let node = known.map_or(*new_id, |node| node.id);
            events.push(OperatorEvent::NodeDescribed { node, spec: Box::new(spec.clone()) });
        }
    }
    Ok((changes, events))
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

fn users_of(state: &State, cake: &Name) -> Vec<Name> {
    let uses = |spec: &NodeSpec| spec.cake.as_ref() == Some(cake);
    state.nodes.values().filter(|n| uses(&n.spec)).map(|n| n.spec.name.clone()).collect()
}

fn check(state: &State, description: &Description) -> Result<(), ApplyError> {
    for cake in &description.cakes {
        if cake.images.len() > IMAGES_PER_CAKE_MAX {
            return Err(ApplyError::TooManyImages { cake: cake.name.clone(), images: cake.images.len() });
        }
    }
    let networks: BTreeMap<&Name, &NetworkSpec> = state
        .networks
        .iter()
        .map(|(name, spec)| (name, spec.as_ref()))
        .chain(description.networks.iter().map(|spec| (&spec.name, spec)))
        .collect();
    let cakes: BTreeSet<&Name> = state.cakes.keys().chain(description.cakes.iter().map(|spec| &spec.name)).collect();
    for (_, spec) in &description.nodes {
        let missing = |what, name: &Name| ApplyError::Missing { node: spec.name.clone(), what, name: name.clone() };
        let network = networks.get(&spec.network).ok_or_else(|| missing("network", &spec.network))?;
        if !network.subnet.is_host(spec.ip) {
            return Err(ApplyError::NotInNetwork {
                node: spec.name.clone(),
                ip: spec.ip,
                network: spec.network.clone(),
                subnet: network.subnet.to_string(),
            });
        }
        if let Some(cake) = &spec.cake
            && !cakes.contains(cake)
        {
            return Err(missing("cake", cake));
        }
    }
    check_unshared(state, description)
}

fn check_unshared(state: &State, description: &Description) -> Result<(), ApplyError> {
    let mut names: BTreeSet<&Name> = BTreeSet::new();
    for (_, spec) in &description.nodes {
        if !names.insert(&spec.name) {
            let (first, value) = (spec.name.clone(), spec.name.to_string());
            return Err(ApplyError::Shared { second: first.clone(), first, what: "name", value });
        }
    }
    let kept = state.nodes.values().map(|n| n.spec.as_ref()).filter(|s| !names.contains(&s.name));
    let all: Vec<&NodeSpec> = kept.chain(description.nodes.iter().map(|(_, s)| s)).collect();
    if all.len() > NODES_MAX {
        return Err(ApplyError::TooManyNodes { nodes: all.len() });
    }
    let mut macs: BTreeMap<Mac, &Name> = BTreeMap::new();
    let mut ips: BTreeMap<Ipv4Addr, &Name> = BTreeMap::new();
    for spec in all {
        let shared = |first: &Name, what, value: String| ApplyError::Shared {
            first: first.clone(),
            second: spec.name.clone(),
            what,
            value,
        };
        if let Some(first) = macs.insert(spec.mac, &spec.name) {
            return Err(shared(first, "MAC", spec.mac.to_string()));
        }
        if let Some(first) = ips.insert(spec.ip, &spec.name) {
            return Err(shared(first, "address", spec.ip.to_string()));
        }
    }
    Ok(())
}
