//! Nodes by what would happen to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Class, NodeChange, PlannedStep, Waiting, WaitsFor, Warning, goal_warnings};
use crate::fact::{Retry, StepName};
use crate::model::mutation::Mutation;
use crate::model::{Name, NodeSet, Revision};
use crate::plan::decide::Policy;
use crate::plan::hold::{Hold, hold};
use crate::plan::search::{NoPlan, Plan, Planner};
use crate::state::{Control, Node, State};

/// What was found.
pub(super) struct Found {
    pub(super) classes: Vec<Class>,
    pub(super) warnings: Vec<Warning>,
    /// The revisions of the nodes that there are already.
    pub(super) revisions: Vec<(Name, Revision)>,
}

/// A class while its nodes are gathered.
#[derive(Default)]
struct Gathered {
    nodes: Vec<Name>,
    expected_ms: u64,
    waiting: Vec<(WaitsFor, Vec<Name>)>,
}

/// The names of nodes by something that is said of them.
type Said<T> = BTreeMap<T, Vec<Name>>;

pub(super) fn classes(before: &State, after: &State, planner: &mut Planner, policy: &Policy) -> Found {
    let mut order: Vec<(NodeChange, Vec<PlannedStep>)> = Vec::new();
    let mut gathered: HashMap<(NodeChange, Vec<PlannedStep>), Gathered> = HashMap::new();
    let mut revisions = Vec::new();
    let (mut no_way, mut gives_up, mut lifted): (Said<String>, Said<StepName>, Vec<Name>) = Default::default();
    let mut staying: Vec<&Node> = Vec::new();
    let gone = before.nodes.values().filter(|node| !after.nodes.contains_key(&node.id));
    let mut concerned: Vec<(&Arc<Node>, NodeChange)> = gone.map(|node| (node, NodeChange::Removed)).collect();
    concerned.extend(after.nodes.values().filter_map(|node| match before.node(node.id) {
        None => Some((node, NodeChange::Created)),
        Some(old) if !Arc::ptr_eq(old, node) && is_changed(old, node) => Some((node, NodeChange::Changed)),
        Some(_) => None,
    }));
    concerned.sort_by(|(a, _), (b, _)| a.spec.name.cmp(&b.spec.name));
    for (node, change) in concerned {
        let name = &node.spec.name;
        let old = before.node(node.id);
        revisions.extend(old.map(|old| (old.spec.name.clone(), old.revision)));
        let mut plan = Plan { steps: Vec::new(), expected_ms: 0 };
        if change != NodeChange::Removed {
            staying.push(node);
            let steps_before = old.and_then(|old| planner.plan(old).ok());
            match planner.plan(node) {
                // It goes on as it does.
                Ok(same) if steps_before.as_ref() == Some(&same) => {}
                Ok(other) => plan = other,
                Err(NoPlan::Unreachable) if node.spec.bmc.is_none() => {
                    let why = "its description has no BMC, so somebody has to power it on or off by hand";
                    no_way.entry(why.to_owned()).or_default().push(name.clone());
                }
                Err(why) => no_way.entry(why.to_string()).or_default().push(name.clone()),
            }
            let flight = node.in_flight.as_ref().map(|flight| &flight.step);
            if let Some(step) = flight.filter(|step| !plan.steps.is_empty() && plan.steps.first() != Some(*step)) {
                gives_up.entry(step.clone()).or_default().push(name.clone());
            }
            let quarantined = |node: &Node| node.retry.next == Some(Retry::Quarantined);
            if old.is_some_and(|old| quarantined(old) && !quarantined(node)) {
                lifted.push(name.clone());
            }
        }
        let mutations: Vec<&Mutation> =
            plan.steps.iter().filter_map(|step| planner.graph().get(&step.mutation)).collect();
        let waits = waits_for(node, &after.control, policy, &mutations);
        let disruptions = mutations.iter().map(|mutation| mutation.disruption);
        let steps: Vec<PlannedStep> = plan
            .steps
            .iter()
            .cloned()
            .zip(disruptions)
            .map(|(step, disruption)| PlannedStep { step, disruption })
            .collect();
        let key = (change, steps);
        if !gathered.contains_key(&key) {
            order.push(key.clone());
        }
        let class = gathered.entry(key).or_default();
        class.nodes.push(name.clone());
        class.expected_ms = plan.expected_ms;
        if let Some(what) = waits {
            match class.waiting.iter_mut().find(|(known, _)| said_alike(known, &what)) {
                Some((_, names)) => names.push(name.clone()),
                None => class.waiting.push((what, vec![name.clone()])),
            }
        }
    }
    let classes = order
        .into_iter()
        .filter_map(|key| gathered.remove(&key).map(|class| (key, class)))
        .map(|((change, steps), class)| Class {
            nodes: set(&class.nodes),
            count: class.nodes.len(),
            change,
            steps,
            expected_ms: class.expected_ms,
            waiting: class
                .waiting
                .into_iter()
                .map(|(what, names)| Waiting { nodes: set(&names), count: names.len(), what })
                .collect(),
        })
        .collect();
    let mut warnings: Vec<Warning> =
        no_way.into_iter().map(|(why, names)| Warning::NoWay { nodes: set(&names), why }).collect();
    warnings.extend(gives_up.into_iter().map(|(step, names)| Warning::GivesUp { nodes: set(&names), step }));
    if !lifted.is_empty() {
        warnings.push(Warning::LiftsQuarantine { nodes: set(&lifted) });
    }
    warnings.extend(goal_warnings(staying, planner.graph()));
    Found { classes, warnings, revisions }
}

fn set(names: &[Name]) -> String {
    NodeSet::fold(names.iter().map(Name::as_str))
}

/// A request that says again what was said before changes a node's count of changes, and nothing else.
fn is_changed(old: &Node, new: &Node) -> bool {
    let wanted = |node: &Node| node.desired.iter().map(|(path, d)| (path.clone(), d.value.clone())).collect::<Vec<_>>();
    old.spec != new.spec
        || old.by_hand != new.by_hand
        || old.request != new.request
        || old.disturb.is_some() != new.disturb.is_some()
        || wanted(old) != wanted(new)
}

/// What would hold the plan: its first step, or the first one that disturbs. That others are first is no such thing: the
/// rounds tell it.
fn waits_for(node: &Node, control: &Control, policy: &Policy, mutations: &[&Mutation]) -> Option<WaitsFor> {
    if !mutations.is_empty() && node.retry.next == Some(Retry::Quarantined) {
        return Some(WaitsFor::Quarantined);
    }
    let holds = mutations.iter().filter_map(|mutation| hold(node, control, policy, mutation));
    let mut others = holds.filter(|hold| !matches!(hold, Hold::Queued { .. }));
    others.next().map(|hold| WaitsFor::Held { hold })
}

/// Nodes that were frozen one after another wait for the same.
fn said_alike(one: &WaitsFor, other: &WaitsFor) -> bool {
    let frozen = |what: &WaitsFor| matches!(what, WaitsFor::Held { hold: Hold::NodeFrozen { .. } });
    one == other || (frozen(one) && frozen(other))
}
