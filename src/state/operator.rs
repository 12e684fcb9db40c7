//! What operators asked for, folded: descriptions, goals, requests, switches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::needs::needs;
use super::node::{Aim, Desired, DesiredSource, Needs, Node, RetryState, StateSource};
use super::{Request, State, Token};
use crate::fact::{BootFile, FileEvent, FileFact, OperatorEvent};
use crate::model::boot::LOCAL;
use crate::model::schema::Setting;
use crate::model::{CakeSpec, Name, NodeId, NodeSpec, Revision, Template, UnixMs, Value, VarPath};

pub(super) fn apply(state: &mut State, at: UnixMs, event: &OperatorEvent) {
    match event {
        OperatorEvent::ClusterNamed { name } => state.cluster = Some(name.clone()),
        OperatorEvent::NetworkDescribed { spec } => {
            state.networks.insert(spec.name.clone(), Arc::new(spec.clone()));
        }
        OperatorEvent::NetworkRemoved { name } => {
            state.networks.remove(name);
        }
        OperatorEvent::CakeDescribed { spec } => {
            state.cakes.insert(spec.name.clone(), Arc::new(spec.clone()));
            settle_where(state, at, |node| node.spec.cake.as_ref() == Some(&spec.name));
        }
        OperatorEvent::CakeRemoved { name } => {
            state.cakes.remove(name);
            settle_where(state, at, |node| node.spec.cake.as_ref() == Some(name));
        }
        OperatorEvent::DefaultsDescribed { spec } => {
            state.defaults = Arc::new((**spec).clone());
            settle_where(state, at, |_| true);
        }
        OperatorEvent::PoolDescribed { spec } => {
            state.pools.insert(spec.name.clone(), Arc::new((**spec).clone()));
            settle_where(state, at, |node| node.spec.pool.as_ref() == Some(&spec.name));
        }
        OperatorEvent::PoolRemoved { name } => {
            state.pools.remove(name);
        }
        OperatorEvent::ExtensionDescribed { spec } => {
            // One that contradicts the schema was refused before it became a fact.
            if state.schema.add(spec.clone()).is_ok() {
                settle_where(state, at, |_| true);
            }
        }
        OperatorEvent::TargetDescribed { spec } => {
            state.targets.insert(spec.name.clone(), Arc::new((**spec).clone()));
        }
        OperatorEvent::TargetRemoved { name } => {
            state.targets.remove(name);
        }
        OperatorEvent::ExtensionRemoved { name } => {
            state.schema.remove(name);
            settle_where(state, at, |_| true);
        }
        OperatorEvent::NodeDescribed { node, spec } => describe_node(state, at, *node, spec),
        OperatorEvent::NodeRemoved { node, name } => remove_node(state, *node, name),
        OperatorEvent::GoalSet { node, path, value } => {
            state.change(*node, |n| {
                if *path == VarPath::power() {
                    n.request = None;
                }
                match value {
                    Some(value) => n.by_hand.insert(path.clone(), value.clone()),
                    None => n.by_hand.remove(path),
                };
                n.disturb = None;
                n.revision = n.revision.next();
            });
            settle(state, at, *node);
        }
        OperatorEvent::DisturbanceAllowed { node } => state.change(*node, |n| {
            n.disturb = Some(at);
            n.at_goal = false;
        }),
        OperatorEvent::CycleAsked { node } => state.change(*node, |n| {
            if n.see_symbol(&VarPath::power()) != Some("off") {
                n.request = Some(Request::Cycle);
            }
            n.at_goal = false;
        }),
        OperatorEvent::Released { node } => state.change(*node, |n| {
            n.retry = RetryState::default();
            n.request = None;
            n.disturb = None;
        }),
        OperatorEvent::Frozen { node: Some(node) } => state.change(*node, |n| n.frozen = n.frozen.or(Some(at))),
        OperatorEvent::Thawed { node: Some(node) } => state.change(*node, |n| n.frozen = None),
        OperatorEvent::Frozen { node: None } => state.control.frozen = state.control.frozen.or(Some(at)),
        OperatorEvent::Thawed { node: None } => state.control.frozen = None,
        OperatorEvent::MutationSwitched { mutation, to } => state.control.switch_mutation(mutation, *to),
        OperatorEvent::ModuleSwitched { module, to } => state.control.switch_module(module, *to),
        OperatorEvent::TimeoutSet { mutation, timeout_ms } => state.control.set_timeout(mutation, *timeout_ms),
        OperatorEvent::LeaseReleased { ip } => {
            state.leases.release(*ip);
            if let Some(id) = state.by_ip.get(ip).copied() {
                state.change(id, |node| node.lease = None);
            }
        }
        OperatorEvent::MassEventCleared => state.control.mass_event_cleared(),
        OperatorEvent::TokenCreated { token } => {
            revoke(state, &token.name);
            state.tokens.insert(token.digest, Arc::new(Token { spec: token.clone(), created_at: at }));
        }
        OperatorEvent::TokenRevoked { name } => revoke(state, name),
        OperatorEvent::EnrollmentDescribed { rules } => state.enrollment = Arc::new(rules.clone()),
        OperatorEvent::MachineRefused { mac, reason } => state.refuse_machine(at, *mac, reason.clone()),
        OperatorEvent::MachineAdmitted { mac } => drop(state.refused.remove(mac)),
    }
}

/// A target that is done leads to the one that follows it, as if an operator had asked for that.
pub(super) fn target_done(state: &mut State, at: UnixMs, id: NodeId, fact: &FileFact) {
    let (BootFile::TargetDone { then: Some(then), .. }, FileEvent::Sent { .. }) = (&fact.file, &fact.event) else {
        return;
    };
    state.change(id, |node| {
        node.by_hand.insert(VarPath::target(), Value::Text(then.as_str().into()));
        node.metadata = None;
        // It restarts by itself, and its own disk is asked for nowhere.
        if then.as_str() == LOCAL && node.see_symbol(&VarPath::boot()) == Some("target") {
            let value = Value::Text(LOCAL.into());
            node.observe(at, VarPath::target(), value, StateSource::Implied);
        }
        node.revision = node.revision.next();
    });
    settle(state, at, id);
}

/// A name stands for one token at a time.
fn revoke(state: &mut State, name: &Name) {
    if let Some(digest) = state.token_named(name).map(|token| token.spec.digest) {
        state.tokens.remove(&digest);
    }
}

fn describe_node(state: &mut State, at: UnixMs, id: NodeId, spec: &NodeSpec) {
    if state.nodes.contains_key(&id) {
        forget_names(state, id);
        state.change(id, |node| redescribe(node, spec));
    } else {
        state.removed.forget(id);
        state.nodes.insert(id, Arc::new(Node::new(id, spec.clone())));
    }
    state.by_name.insert(spec.name.clone(), id);
    state.by_mac.insert(spec.mac, id);
    state.by_ip.insert(spec.ip, id);
    for identity in spec.matching.identities() {
        state.by_identity.insert(identity, id);
    }
    state.by_other_mac.remove(&spec.mac);
    state.leases.forget_mac(spec.mac);
    state.leases.release(spec.ip);
    if let Some(ip) = spec.ipv6.ip6 {
        state.by_ip6.insert(ip, id);
    }
    if let Some(duid) = &spec.ipv6.duid {
        state.by_duid.insert(duid.clone(), id);
    }
    let waits_with = state.unknown.remove(&spec.mac).and_then(|machine| machine.certificate);
    state.change(id, |node| node.waits_with = waits_with.or(node.waits_with));
    state.refused.remove(&spec.mac);
    state.change(id, |node| node.revision = node.revision.next());
    settle(state, at, id);
}

fn remove_node(state: &mut State, id: NodeId, name: &Name) {
    forget_names(state, id);
    state.removed.add(id, name.clone());
    state.nodes.remove(&id);
    state.control.node_is_well(id);
}

/// In one apply nodes may take over each other's names and addresses: only what is still this node's goes.
fn forget_names(state: &mut State, id: NodeId) {
    let Some(old) = state.nodes.get(&id).map(|node| node.spec.clone()) else { return };
    if state.by_name.get(&old.name) == Some(&id) {
        state.by_name.remove(&old.name);
    }
    if state.by_mac.get(&old.mac) == Some(&id) {
        state.by_mac.remove(&old.mac);
    }
    if state.by_ip.get(&old.ip) == Some(&id) {
        state.by_ip.remove(&old.ip);
    }
    for identity in old.matching.identities() {
        if state.by_identity.get(&identity) == Some(&id) {
            state.by_identity.remove(&identity);
        }
    }
    if let Some(mac) = state.nodes.get_mut(&id).and_then(|node| Arc::make_mut(node).other_mac.take()) {
        state.by_other_mac.remove(&mac);
    }
    if let Some(ip) = old.ipv6.ip6.filter(|ip| state.by_ip6.get(ip) == Some(&id)) {
        state.by_ip6.remove(&ip);
    }
    if let Some(duid) = old.ipv6.duid.as_ref().filter(|duid| state.by_duid.get(*duid) == Some(&id)) {
        state.by_duid.remove(duid);
    }
}

/// What a corrected description says of the way to a machine is tried at once, whatever failed before.
fn redescribe(node: &mut Node, spec: &NodeSpec) {
    let old = std::mem::replace(&mut node.spec, Arc::new(spec.clone()));
    if (old.mac, old.ip, &old.network, &old.bmc) != (spec.mac, spec.ip, &spec.network, &spec.bmc) {
        node.retry = RetryState::default();
    }
    if old.bmc != spec.bmc {
        node.last.bmc_problem = None;
        node.last.bmc_end = None;
        if node.agent.session.is_none() {
            node.forget(&VarPath::power());
        }
    }
}

fn settle_where(state: &mut State, at: UnixMs, concerned: impl Fn(&Node) -> bool) {
    let ids: Vec<NodeId> = state.nodes.values().filter(|node| concerned(node)).map(|node| node.id).collect();
    for id in ids {
        settle(state, at, id);
    }
}

pub(super) fn settle(state: &mut State, at: UnixMs, id: NodeId) {
    let Some(node) = state.nodes.get(&id) else { return };
    let wanted = wanted_of(state, node);
    state.change(id, |node| settle_desired(node, at, wanted));
}

/// Values by variable, each with who wants it, whether something has to be done for it, and what that needs.
type Wanted = BTreeMap<VarPath, (Value, DesiredSource, Aim, Needs)>;

/// What is wanted of a node, each later source standing before the ones above it: a described node is to run, in step;
/// then defaults of variables, of the cluster, of its pool, the node's own description, the images of its cake, and what
/// was set by hand.
fn wanted_of(state: &State, node: &Node) -> Wanted {
    let mut wanted = BTreeMap::new();
    let aim_of = |path: &VarPath| match state.schema.find(path) {
        Some((_, spec)) if spec.set == Setting::Goal => Aim::Goal,
        _ => Aim::Config,
    };
    let mut want = |path: VarPath, value: Value, source: DesiredSource| {
        let aim = aim_of(&path);
        let needs = needs(state, &path, &value);
        wanted.insert(path, (value, source, aim, needs));
    };
    want(VarPath::power(), Value::symbol("on"), DesiredSource::Default);
    want(VarPath::run(), Value::symbol("sync"), DesiredSource::Default);
    for (path, _, value) in state.schema.defaults() {
        want(path, value.clone(), DesiredSource::Extension);
    }
    let pool = node.spec.pool.as_ref().and_then(|pool| state.pools.get(pool));
    let templates: [(Option<&Template>, DesiredSource); 3] = [
        (Some(&state.defaults), DesiredSource::Cluster),
        (pool.map(|pool| &pool.template), pool.map_or(DesiredSource::Cluster, |p| DesiredSource::Pool(p.name.clone()))),
        (Some(&node.spec.own), DesiredSource::Node),
    ];
    for (path, value) in &node.spec.variables {
        let said = |(template, _): &&(Option<&Template>, _)| template.is_some_and(|t| t.variables.contains_key(path));
        let source = templates.iter().rev().find(said).map_or(DesiredSource::Node, |(_, source)| source.clone());
        want(path.clone(), value.clone(), source);
    }
    let cake: Option<(&Name, &Arc<CakeSpec>)> =
        node.spec.cake.as_ref().and_then(|cake| state.cakes.get(cake).map(|spec| (cake, spec)));
    for (name, image) in cake.iter().flat_map(|(name, cake)| cake.images.iter().map(move |image| (*name, image))) {
        let source = DesiredSource::Cake(name.clone());
        want(VarPath::image_state(&image.name), Value::symbol("active"), source.clone());
        want(VarPath::image_digest(&image.name), Value::Digest(image.digest), source);
    }
    for (path, value) in &node.by_hand {
        want(path.clone(), value.clone(), DesiredSource::Hand);
    }
    wanted
}

/// A new wish also lifts the failures of an earlier one: the operator has looked at the node.
fn settle_desired(node: &mut Node, at: UnixMs, wanted: Wanted) {
    let same_value = |path: &VarPath, value: &Value| node.wants(path) == Some(value);
    let changed =
        wanted.len() != node.desired.len() || !wanted.iter().all(|(path, (value, ..))| same_value(path, value));
    let old = std::mem::take(&mut node.desired);
    let new = wanted
        .into_iter()
        .map(|(path, (value, source, aim, needs))| {
            let before = old.get(&path);
            let desired = match before {
                Some(before) if before.value == value => {
                    Desired { value, at: before.at, revision: before.revision, source, aim, needs }
                }
                _ => {
                    let revision = before.map_or(Revision(1), |before| before.revision.next());
                    Desired { value, at, revision, source, aim, needs }
                }
            };
            (path, desired)
        })
        .collect();
    node.desired = Arc::new(new);
    if changed {
        node.at_goal = false;
        node.retry = RetryState::default();
        node.revision = node.revision.next();
    }
}
