//! What operators asked for, folded: descriptions, goals, requests.

use std::sync::Arc;

use super::node::{Node, RetryState};
use super::{Request, State};
use crate::fact::OperatorEvent;
use crate::model::{CakeSpec, Name, NodeId, NodeSpec, UnixMs, Value, VarPath};

pub(super) fn apply(state: &mut State, _at: UnixMs, event: &OperatorEvent) {
    match event {
        OperatorEvent::ClusterNamed { name } => state.cluster = Some(name.clone()),
        OperatorEvent::NetworkDescribed { spec } => {
            state.networks.insert(spec.name.clone(), Arc::new(spec.clone()));
        }
        OperatorEvent::CakeDescribed { spec } => {
            state.cakes.insert(spec.name.clone(), Arc::new(spec.clone()));
            let users: Vec<NodeId> = state
                .nodes
                .values()
                .filter(|node| node.spec.cake.as_ref() == Some(&spec.name))
                .map(|node| node.id)
                .collect();
            for id in users {
                state.change(id, |node| settle_desired(node, Some(spec)));
            }
        }
        OperatorEvent::NodeDescribed { node, spec } => describe_node(state, *node, spec),
        OperatorEvent::GoalSet { node, path, value } => {
            let cake = cake_of(state, *node);
            state.change(*node, |n| {
                if *path == VarPath::power() {
                    n.request = None;
                }
                match value {
                    Some(value) => n.by_hand.insert(path.clone(), value.clone()),
                    None => n.by_hand.remove(path),
                };
                settle_desired(n, cake.as_deref());
            });
        }
        OperatorEvent::CycleAsked { node } => state.change(*node, |n| {
            if n.see_symbol(&VarPath::power()) != Some("off") {
                n.request = Some(Request::Cycle);
            }
            n.at_goal = false;
        }),
        OperatorEvent::Released { node } => state.change(*node, |n| {
            n.retry = RetryState::default();
            n.request = None;
        }),
    }
}

fn describe_node(state: &mut State, id: NodeId, spec: &NodeSpec) {
    if let Some(old) = state.nodes.get(&id).map(|node| node.spec.clone()) {
        // In one apply nodes may take over each other's names and addresses: only what is still this node's goes.
        if state.by_name.get(&old.name) == Some(&id) {
            state.by_name.remove(&old.name);
        }
        if state.by_mac.get(&old.mac) == Some(&id) {
            state.by_mac.remove(&old.mac);
        }
        if state.by_ip.get(&old.ip) == Some(&id) {
            state.by_ip.remove(&old.ip);
        }
        state.change(id, |node| redescribe(node, &old, spec));
    } else {
        state.nodes.insert(id, Arc::new(Node::new(id, spec.clone())));
    }
    state.by_name.insert(spec.name.clone(), id);
    state.by_mac.insert(spec.mac, id);
    state.by_ip.insert(spec.ip, id);
    state.unknown.remove(&spec.mac);
    let cake = cake_of(state, id);
    state.change(id, |node| settle_desired(node, cake.as_deref()));
}

/// What a corrected description says of the way to a machine is tried at once, whatever failed before.
fn redescribe(node: &mut Node, old: &NodeSpec, spec: &NodeSpec) {
    node.spec = Arc::new(spec.clone());
    if (old.mac, old.ip, &old.network, &old.bmc) != (spec.mac, spec.ip, &spec.network, &spec.bmc) {
        node.retry = RetryState::default();
    }
    if old.bmc != spec.bmc {
        node.last.bmc_problem = None;
        if node.agent.session.is_none() {
            node.forget(&VarPath::power());
        }
    }
}

fn cake_of(state: &State, id: NodeId) -> Option<Arc<CakeSpec>> {
    let cake: &Name = state.nodes.get(&id)?.spec.cake.as_ref()?;
    state.cakes.get(cake).cloned()
}

/// A described node is to run, in step, with the images of its cake; what was set by hand stands before that. A new
/// wish also lifts the failures of an earlier one: the operator has looked at the node.
fn settle_desired(node: &mut Node, cake: Option<&CakeSpec>) {
    let mut desired = std::collections::BTreeMap::from([
        (VarPath::power(), Value::symbol("on")),
        (VarPath::run(), Value::symbol("sync")),
    ]);
    for image in cake.iter().flat_map(|cake| &cake.images) {
        desired.insert(VarPath::image_state(&image.name), Value::symbol("active"));
        desired.insert(VarPath::image_digest(&image.name), Value::Digest(image.digest));
    }
    desired.extend(node.by_hand.iter().map(|(path, value)| (path.clone(), value.clone())));
    if desired != node.desired {
        node.desired = desired;
        node.at_goal = false;
        node.retry = RetryState::default();
    }
}
