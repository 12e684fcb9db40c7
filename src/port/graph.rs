//! The mutation graph as a document: variables with their values, mutations with what they need and how long they take,
//! and for one node where it stands and the way to its goal.
//!
//! Invariants: a value that is not known is the word `unknown`, and the first of every variable; of one node every image
//! is a variable of its own, and so is every mutation of an image.
//! Absent on purpose: how a graph looks (see `api::draw`).

use serde::{Deserialize, Serialize};

use crate::fact::StepName;
use crate::model::mutation::{Budget, Change, Condition, Consequence, Context, Disruption, Mutation, Subject, Work};
use crate::model::schema::IMAGE_VALUES;
use crate::model::{Name, UnixMs};
use crate::plan::{Graph, Planner, Policy, expected_ms, goal, goal_reached, image_seen, timeout_ms};
use crate::state::{Control, Node};

pub use crate::model::mutation::UNKNOWN;

/// The graph: of everything, or of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphDocument {
    /// The variables between whose values mutations lead.
    pub variables: Vec<GraphVariable>,
    /// The mutations, in the order in which they were declared.
    pub mutations: Vec<GraphMutation>,
    /// The node that it is about, and its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeWay>,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphVariable {
    /// Its path.
    pub path: String,
    /// Its values, `unknown` first.
    pub values: Vec<String>,
    /// The node's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// The value that the node should have, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
}

/// One mutation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphMutation {
    /// Its name.
    pub name: String,
    /// The image that it is about, in the graph of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Name>,
    /// The module that declares it and carries it out.
    pub module: String,
    /// What it changes.
    pub changes: Vec<GraphChange>,
    /// What must be so for it to start.
    pub requires: Vec<GraphCondition>,
    /// What must not be so for it to start.
    pub excludes: Vec<GraphCondition>,
    /// What else is so when it is done.
    pub consequences: Vec<GraphConsequence>,
    /// What is believed when it has failed.
    pub fail_to: Vec<GraphConsequence>,
    /// How long it is expected to take, in milliseconds: as planned with.
    pub expected_ms: u64,
    /// How long it is declared to take, in milliseconds.
    pub declared_ms: u64,
    /// How long it took, when it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedDuration>,
    /// When it is taken for failed, in milliseconds: as it is in force.
    pub timeout_ms: u64,
    /// When it is declared to be taken for failed, in milliseconds.
    pub declared_timeout_ms: u64,
    /// Whether it interrupts a node's users.
    pub disruptive: bool,
    /// Whether it is planned with.
    pub enabled: bool,
    /// Where it is carried out.
    pub context: Context,
    /// Whether somebody acts for it.
    pub work: Work,
    /// Whether its failures count.
    pub budget: Budget,
}

/// How long a mutation took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LearnedDuration {
    /// How often it was seen.
    pub count: u64,
    /// The mean in milliseconds, what is newer counting more.
    pub mean_ms: u64,
}

/// One variable's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphChange {
    /// The variable.
    pub variable: String,
    /// The values from which it may start.
    pub from: Vec<String>,
    /// The values to which it may lead.
    pub to: Vec<String>,
}

/// A condition: the variable has one of the values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphCondition {
    /// The variable.
    pub variable: String,
    /// The values.
    pub any_of: Vec<String>,
}

/// What a variable is afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphConsequence {
    /// The variable.
    pub variable: String,
    /// Its value.
    pub becomes: String,
}

/// A node's way to its goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeWay {
    /// The node's name.
    pub name: Name,
    /// Whether every goal is met.
    pub goal_reached: bool,
    /// The steps that are left, in order.
    pub steps: Vec<WayStep>,
    /// How long they should take together, in milliseconds.
    pub expected_ms: u64,
    /// Since when the first of them is under way, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way_since: Option<UnixMs>,
    /// Why there is no way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WayStep {
    /// The mutation's name.
    pub mutation: String,
    /// The image that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Name>,
    /// How long it is expected to take, in milliseconds.
    pub expected_ms: u64,
    /// Whether it interrupts the node's users.
    pub disruptive: bool,
}

impl GraphDocument {
    /// The graph of everything.
    #[must_use]
    pub fn whole(graph: &Graph, control: &Control, policy: &Policy) -> Self {
        let image = (Subject::EachImage.to_string(), with_unknown(IMAGE_VALUES));
        let variables = named(graph).chain([image]).map(|(path, values)| variable(path, values));
        let mutations = graph.mutations().iter().map(|m| mutation(m, None, control, policy));
        GraphDocument { variables: variables.collect(), mutations: mutations.collect(), node: None }
    }

    /// The graph of `node`.
    #[must_use]
    pub fn of_node(node: &Node, graph: &Graph, control: &Control, policy: &Policy) -> Self {
        let (images, goal) = (node.images(), goal(node));
        let mut variables = Vec::new();
        for (path, values) in graph.variables() {
            variables.push(GraphVariable {
                path: path.to_string(),
                values: with_unknown(values),
                now: Some(node.see_symbol(path).unwrap_or(UNKNOWN).to_owned()),
                goal: goal.of(path).map(str::to_owned),
            });
        }
        for image in &images {
            variables.push(GraphVariable {
                path: image_path(image),
                values: with_unknown(IMAGE_VALUES),
                now: Some(image_seen(node, image).unwrap_or(UNKNOWN).to_owned()),
                goal: goal.images.get(image).map(|value| (*value).to_owned()),
            });
        }
        let each = |m: &Mutation| -> Vec<GraphMutation> {
            match m.is_each_image() {
                true => images.iter().map(|image| mutation(m, Some(image), control, policy)).collect(),
                false => vec![mutation(m, None, control, policy)],
            }
        };
        let mutations = graph.mutations().iter().flat_map(each).collect();
        GraphDocument { variables, mutations, node: Some(way(node, graph, control)) }
    }
}

fn way(node: &Node, graph: &Graph, control: &Control) -> NodeWay {
    let mut planner = Planner::following(graph.clone(), control);
    let (plan, problem) = match planner.plan(node) {
        Ok(plan) => (Some(plan), None),
        Err(none) => (None, Some(none.to_string())),
    };
    let step = |step: &StepName| {
        let mutation = graph.get(&step.mutation);
        WayStep {
            mutation: step.mutation.to_string(),
            image: step.image.clone(),
            expected_ms: mutation.map_or(0, |m| expected_ms(m, control)),
            disruptive: mutation.is_some_and(|m| m.disruption == Disruption::Disruptive),
        }
    };
    NodeWay {
        name: node.spec.name.clone(),
        goal_reached: goal_reached(node),
        steps: plan.iter().flat_map(|plan| plan.steps.iter().map(step)).collect(),
        expected_ms: plan.map_or(0, |plan| plan.expected_ms),
        under_way_since: node.in_flight.as_ref().map(|flight| flight.started_at),
        problem,
    }
}

fn named(graph: &Graph) -> impl Iterator<Item = (String, Vec<String>)> {
    graph.variables().map(|(path, values)| (path.to_string(), with_unknown(values)))
}

fn variable(path: String, values: Vec<String>) -> GraphVariable {
    GraphVariable { path, values, now: None, goal: None }
}

fn with_unknown<T: ToString>(values: &[T]) -> Vec<String> {
    std::iter::once(UNKNOWN.to_owned()).chain(values.iter().map(ToString::to_string)).collect()
}

fn image_path(image: &Name) -> String {
    format!("image.{image}.state")
}

fn mutation(m: &Mutation, image: Option<&Name>, control: &Control, policy: &Policy) -> GraphMutation {
    let variable = |subject: &Subject| match (subject, image) {
        (Subject::EachImage, Some(image)) => image_path(image),
        (subject, _) => subject.to_string(),
    };
    let change = |c: &Change| GraphChange { variable: variable(&c.subject), from: texts(&c.from), to: texts(&c.to) };
    let condition = |c: &Condition| GraphCondition { variable: variable(&c.subject), any_of: texts(&c.any_of) };
    let consequence =
        |c: &Consequence| GraphConsequence { variable: variable(&c.subject), becomes: c.becomes.to_string() };
    let learned = control.learned.get(&m.name);
    GraphMutation {
        name: m.name.to_string(),
        image: image.cloned(),
        module: m.module.to_string(),
        changes: m.changes.iter().map(change).collect(),
        requires: m.requires.iter().map(condition).collect(),
        excludes: m.excludes.iter().map(condition).collect(),
        consequences: m.consequences.iter().map(consequence).collect(),
        fail_to: m.fail_to.iter().map(consequence).collect(),
        expected_ms: expected_ms(m, control),
        declared_ms: m.expected_ms,
        learned: learned.map(|learned| LearnedDuration { count: learned.count, mean_ms: learned.mean_ms }),
        timeout_ms: timeout_ms(m, control, policy),
        declared_timeout_ms: m.timeout_ms,
        disruptive: m.disruption == Disruption::Disruptive,
        enabled: control.is_enabled(&m.name, &m.module),
        context: m.context,
        work: m.work,
        budget: m.budget,
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
