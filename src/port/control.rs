//! The documents about what holds for all nodes together: freezes, switches, timeouts, mass events, the overview.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::document::{Selection, stage_of};
use crate::fact::{Retry, Switch};
use crate::model::mutation::{Change, Condition, Consequence, Context, Disruption, Mutation};
use crate::model::{FactSeq, Name, NodeId, NodeSet, Symbol, UnixMs};
use crate::plan::{Decision, Graph, Planner, Policy, WaitsFor, ahead, decide, expected_ms, goal_reached, timeout_ms};
use crate::state::{Control, Node, State};

/// What is to be frozen or thawed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// Everything, nodes that are not described yet included; then no nodes are selected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The nodes, unless it is everything.
    #[serde(flatten)]
    pub nodes: Selection,
}

/// What was frozen or thawed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FreezeAnswer {
    /// The nodes, as a node set; nothing for everything.
    pub nodes: Option<String>,
    /// How many of them were otherwise before: nodes, or one for everything.
    pub changed: usize,
    /// Nodes that are frozen by themselves, as a node set.
    pub frozen_nodes: String,
    /// Whether everything is frozen.
    pub all_frozen: bool,
}

/// Nodes of which a step that is still to be started is held back, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldDocument {
    /// The nodes, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
    /// The step; nothing for any step behind the one under way.
    pub step: Option<String>,
    /// What they wait for.
    #[serde(flatten)]
    pub what: WaitsFor,
    /// The same in words.
    pub text: String,
}

/// A mutation as it is planned with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MutationDocument {
    /// Its name.
    pub name: String,
    /// Its module.
    pub module: String,
    /// What it changes, one text a variable, for instance `power: off to on`.
    pub changes: Vec<String>,
    /// What must be so for it to start.
    pub requires: Vec<String>,
    /// What must not be so for it to start.
    pub excludes: Vec<String>,
    /// What is believed when it has failed.
    pub fail_to: Vec<String>,
    /// Where it is carried out.
    pub context: Context,
    /// Whether it interrupts a node's users.
    pub disruptive: bool,
    /// Whether it is planned with.
    pub enabled: bool,
    /// What switches it off.
    pub disabled_by: Option<DisabledBy>,
    /// How long it should take, in milliseconds: as it was learned, or else as it is declared.
    pub expected_ms: u64,
    /// How many examples there were of its duration.
    pub examples: u64,
    /// When it is taken for failed, in milliseconds.
    pub timeout_ms: u64,
    /// Who says that.
    pub timeout_by: TimeoutBy,
}

/// What switches a mutation off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DisabledBy {
    /// An operator, the mutation itself.
    Operator,
    /// An operator, its module.
    OperatorModule,
    /// The configuration.
    Configuration,
}

/// Who says when a mutation is taken for failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimeoutBy {
    /// Its module.
    Declared,
    /// The configuration.
    Configured,
    /// An operator.
    Operator,
}

/// What is to be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// On or off.
    pub to: Switch,
}

/// What was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SwitchAnswer {
    /// The mutation or the module.
    pub name: String,
    /// How it is now.
    pub to: Switch,
    /// Whether it was otherwise before.
    pub changed: bool,
}

/// A timeout to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TimeoutRequest {
    /// In milliseconds; nothing for the configured or the declared one.
    pub timeout_ms: Option<u64>,
}

/// The mass event that holds disruptive steps back, and what could become one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MassEventDocument {
    /// Whether there is one.
    pub present: bool,
    /// When it was noticed.
    pub since: Option<String>,
    /// When it was noticed, in milliseconds since 1970.
    pub since_ms: Option<UnixMs>,
    /// How many nodes had turned bad then.
    pub bad: u64,
    /// How many there were.
    pub of: u64,
    /// The nodes that turned bad and are not well again, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
}

/// The cluster at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClusterDocument {
    /// Its name, once it was described.
    pub name: Option<Name>,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many are at their goal.
    pub at_goal: usize,
    /// Nodes that were given up, as a node set.
    pub quarantined: String,
    /// Nodes by how far they have come, most first.
    pub stages: Vec<StageCount>,
    /// Since when everything is frozen.
    pub frozen_since: Option<String>,
    /// Nodes that are frozen by themselves, as a node set.
    pub frozen_nodes: String,
    /// The mass event.
    pub mass_event: MassEventDocument,
    /// Mutations that operators switched off, each for itself.
    pub disabled_mutations: Vec<String>,
    /// Modules that operators switched off.
    pub disabled_modules: Vec<String>,
    /// Mutations that the configuration switches off, each for itself.
    #[serde(default)]
    pub configured_off_mutations: Vec<String>,
    /// Modules that the configuration switches off.
    #[serde(default)]
    pub configured_off_modules: Vec<String>,
    /// Nodes that are being disturbed, as a node set.
    pub disturbed_nodes: String,
    /// How many they are.
    pub disturbed: usize,
    /// How many may be at once; 0 for any number.
    pub disturbed_max: u64,
    /// When the appliance was started.
    pub started: String,
    /// The last fact that is in this.
    pub seq: FactSeq,
}

/// Nodes that have come equally far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StageCount {
    /// How far, in one word.
    pub stage: String,
    /// How many.
    pub count: usize,
    /// Which, as a node set.
    pub nodes: String,
}

/// Those of `nodes` of which something holds a step back at `now`: the next one, or one behind the step under way.
#[must_use]
pub fn held(state: &State, nodes: &[Arc<Node>], graph: &Graph, policy: &Policy, now: UnixMs) -> Vec<HeldDocument> {
    let mut planner = Planner::following(graph.with_modules(state), &state.control);
    let mut found: Vec<(Option<String>, WaitsFor, Vec<&str>)> = Vec::new();
    for node in nodes {
        let decision = decide(node, &state.control, &mut planner, policy, now);
        let plan = match decision {
            Decision::AtGoal => continue,
            _ => planner.plan(node).map(|plan| plan.steps).unwrap_or_default(),
        };
        let mut waits: Vec<(Option<String>, WaitsFor)> = Vec::new();
        if decision == Decision::Quarantined {
            waits.push((plan.first().map(ToString::to_string), WaitsFor::Quarantined));
        }
        let held = ahead(node, &state.control, policy, planner.graph(), &plan).into_iter();
        waits.extend(held.map(|held| (held.step.map(|step| step.to_string()), WaitsFor::Held { hold: held.hold })));
        let name = node.spec.name.as_str();
        for (step, what) in waits {
            match found.iter_mut().find(|(known, waits, _)| *known == step && *waits == what) {
                Some((_, _, names)) => names.push(name),
                None => found.push((step, what, vec![name])),
            }
        }
    }
    let document = |(step, what, names): (Option<String>, WaitsFor, Vec<&str>)| HeldDocument {
        nodes: NodeSet::fold(names.iter().copied()),
        count: names.len(),
        step,
        text: what.to_string(),
        what,
    };
    found.into_iter().map(document).collect()
}

/// The nodes of these ids that there are, as a node set.
fn names_of<'a>(state: &'a State, ids: impl IntoIterator<Item = &'a NodeId>) -> String {
    NodeSet::fold(ids.into_iter().filter_map(|id| state.node(*id)).map(|node| node.spec.name.as_str()))
}

/// Nodes that are frozen by themselves, as a node set.
#[must_use]
pub fn frozen_nodes(state: &State) -> String {
    NodeSet::fold(state.nodes.values().filter(|node| node.frozen.is_some()).map(|node| node.spec.name.as_str()))
}

impl MutationDocument {
    /// The document of `mutation` as it is planned with.
    #[must_use]
    pub fn new(mutation: &Mutation, graph: &Graph, control: &Control, policy: &Policy) -> Self {
        let (name, module) = (mutation.name.as_ref(), mutation.module.as_ref());
        let disabled_by = if control.disabled_mutations.contains(name) {
            Some(DisabledBy::Operator)
        } else if control.disabled_modules.contains(module) {
            Some(DisabledBy::OperatorModule)
        } else {
            (!graph.is_enabled(name, module)).then_some(DisabledBy::Configuration)
        };
        let timeout_by = match (control.timeouts_ms.contains_key(name), policy.timeouts_ms.contains_key(name)) {
            (true, _) => TimeoutBy::Operator,
            (false, true) => TimeoutBy::Configured,
            (false, false) => TimeoutBy::Declared,
        };
        let values = |values: &[Symbol]| values.iter().map(Symbol::as_str).collect::<Vec<_>>().join(" or ");
        let change = |c: &Change| format!("{}: {} to {}", c.subject, values(&c.from), values(&c.to));
        let condition = |c: &Condition| format!("{} {}", c.subject, values(&c.any_of));
        let consequence = |c: &Consequence| format!("{} {}", c.subject, c.becomes);
        MutationDocument {
            name: name.to_owned(),
            module: module.to_owned(),
            changes: mutation.changes.iter().map(change).collect(),
            requires: mutation.requires.iter().map(condition).collect(),
            excludes: mutation.excludes.iter().map(condition).collect(),
            fail_to: mutation.fail_to.iter().map(consequence).collect(),
            context: mutation.context,
            disruptive: mutation.disruption == Disruption::Disruptive,
            enabled: disabled_by.is_none(),
            disabled_by,
            expected_ms: expected_ms(mutation, control),
            examples: control.learned.get(name).map_or(0, |learned| learned.count),
            timeout_ms: timeout_ms(mutation, control, policy),
            timeout_by,
        }
    }
}

impl MassEventDocument {
    /// The document of `state`'s mass event.
    #[must_use]
    pub fn new(state: &State) -> Self {
        let control = &state.control;
        let since = control.mass_event.map(|event| event.at);
        MassEventDocument {
            present: control.mass_event.is_some(),
            since: since.map(|at| at.to_string()),
            since_ms: since,
            bad: control.mass_event.map_or(0, |event| event.bad),
            of: control.mass_event.map_or(0, |event| event.of),
            nodes: names_of(state, control.turned_bad.keys()),
            count: control.turned_bad.len(),
        }
    }
}

impl ClusterDocument {
    /// The document of `state`.
    #[must_use]
    pub fn new(state: &State, graph: &Graph, policy: &Policy) -> Self {
        let control = &state.control;
        let (mutations_off, modules_off) = graph.configured_off();
        let mut stages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for node in state.nodes.values() {
            stages.entry(stage_of(node).0).or_default().push(node.spec.name.as_str());
        }
        let count = |(stage, names): (String, Vec<&str>)| StageCount {
            stage,
            count: names.len(),
            nodes: NodeSet::fold(names.iter().copied()),
        };
        let mut stages: Vec<StageCount> = stages.into_iter().map(count).collect();
        stages.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.stage.cmp(&b.stage)));
        let given_up = state.nodes.values().filter(|node| node.retry.next == Some(Retry::Quarantined));
        ClusterDocument {
            name: state.cluster.clone(),
            nodes: state.nodes.len(),
            at_goal: state.nodes.values().filter(|node| goal_reached(node)).count(),
            quarantined: NodeSet::fold(given_up.map(|node| node.spec.name.as_str())),
            stages,
            frozen_since: control.frozen.map(|at| at.to_string()),
            frozen_nodes: frozen_nodes(state),
            mass_event: MassEventDocument::new(state),
            disabled_mutations: control.disabled_mutations.iter().map(ToString::to_string).collect(),
            disabled_modules: control.disabled_modules.iter().map(ToString::to_string).collect(),
            configured_off_mutations: mutations_off.iter().cloned().collect(),
            configured_off_modules: modules_off.iter().cloned().collect(),
            disturbed_nodes: names_of(state, &control.disrupted),
            disturbed: control.disrupted.len(),
            disturbed_max: policy.disrupted_max,
            started: state.started_at.to_string(),
            seq: state.seq,
        }
    }
}
