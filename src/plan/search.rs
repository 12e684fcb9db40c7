//! The quickest way from what is observed to what is wanted: Dijkstra's search over the values of a node's finite
//! variables, with expected durations as lengths, as they were declared or learned.
//!
//! A node's situation is a short row of small numbers, one a variable, so states compare and hash quickly. Plans
//! are remembered by situation: nodes in the same situation share one search. Where the way leads out of the
//! unknown, every answer that a discovery may give is tried, and the plan is the one for the best answer; another
//! answer is another situation, and so another plan.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use thiserror::Error;

use super::goal::{Goal, goal, image_seen};
use super::graph::{Domain, Graph, code};
use crate::fact::StepName;
use crate::model::limits::PLAN_STATES_MAX;
use crate::model::mutation::Subject;
use crate::model::{Mutation, Name, VarPath};
use crate::state::{Control, Node};

/// The steps from what is observed to what is wanted, in order; empty when there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<StepName>,
    /// How long they should take together, in milliseconds.
    pub expected_ms: u64,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoPlan {
    /// No sequence of mutations leads to the goal.
    #[error("no sequence of mutations leads from what is observed to the goal")]
    Unreachable,
    /// Only with mutations that are switched off.
    #[error("the way to the goal needs {}, which is disabled", names(mutations))]
    Disabled {
        /// Their names.
        mutations: Vec<Arc<str>>,
    },
    /// The search grew beyond its bound.
    #[error(
        "the search for a plan visited {PLAN_STATES_MAX} states and was given up: the node's cake has too many images that change at once"
    )]
    TooLarge,
}

fn names(mutations: &[Arc<str>]) -> String {
    mutations.join(", ")
}

/// A row of values: 0 is unknown, n is the variable's n-th value. The graph's variables, then images in order of name.
type Situation = Vec<u8>;

/// The module whose mutations need a BMC; a node without one is planned for without them.
pub const POWER_MODULE: &str = "power";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Class {
    situation: Situation,
    goal: Situation,
    power_control: PowerControl,
}

/// Whether the node's power can be controlled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum PowerControl {
    ByBmc,
    ByHand,
}

/// Whether mutations that are switched off are planned with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disabled {
    LeftOut,
    TakenIn,
}

/// A step in terms of a class: a mutation by index, an image by position.
type ClassStep = (usize, Option<usize>);

/// A plan in terms of its class.
type ClassPlan = Result<Arc<[ClassStep]>, NoPlan>;

/// Finds plans, and remembers them by situation.
#[derive(Debug)]
pub struct Planner {
    graph: Graph,
    /// By mutation: how long it takes in milliseconds, and whether it is planned with.
    weights: Vec<(u64, bool)>,
    followed: Option<u64>,
    remembered: HashMap<Class, ClassPlan>,
    /// The first steps of plans that were the quickest with earlier weights: a node may be in the middle of one.
    begun: HashMap<Class, Vec<ClassStep>>,
    searches: u64,
}

/// Situations that are remembered; beyond it all are forgotten and searched anew when they come up.
const CLASSES_MAX: usize = 10_000;

impl Planner {
    /// A planner over `graph`, with durations as declared.
    #[must_use]
    pub fn new(graph: Graph) -> Self {
        let enabled = |m: &Mutation| graph.is_enabled(&m.name, &m.module);
        let weights = graph.mutations().iter().map(|m| (m.expected_ms.max(1), enabled(m))).collect();
        Planner { graph, weights, followed: None, remembered: HashMap::new(), begun: HashMap::new(), searches: 0 }
    }

    /// A planner over `graph` that goes by what was learned and switched off.
    #[must_use]
    pub fn following(graph: Graph, control: &Control) -> Self {
        let mut planner = Planner::new(graph);
        planner.follow(control);
        planner
    }

    /// Goes by what was learned and switched off. Plans that were found with other weights are forgotten.
    pub fn follow(&mut self, control: &Control) {
        if self.followed == Some(control.revision) {
            return;
        }
        self.followed = Some(control.revision);
        let weights: Vec<(u64, bool)> = self
            .graph
            .mutations()
            .iter()
            .map(|m| {
                let enabled = self.graph.is_enabled(&m.name, &m.module) && control.is_enabled(&m.name, &m.module);
                (expected_ms(m, control), enabled)
            })
            .collect();
        if weights != self.weights {
            self.weights = weights;
            self.forget_plans();
        }
    }

    fn forget_plans(&mut self) {
        if self.begun.len() >= CLASSES_MAX {
            self.begun.clear();
        }
        for (class, plan) in self.remembered.drain() {
            let Some(first) = plan.ok().and_then(|steps| steps.first().copied()) else { continue };
            let firsts = self.begun.entry(class).or_default();
            if !firsts.contains(&first) {
                firsts.push(first);
            }
        }
    }

    /// Whether a plan for a node in this situation began with `step` when durations and switches were others. Such a
    /// step is let come to its end: whoever carries it out does not stop because another one would be quicker by now.
    #[must_use]
    pub fn once_began_with(&self, node: &Node, step: &StepName) -> bool {
        if self.begun.is_empty() {
            return false;
        }
        let images = node.images();
        let class = classify(self.graph.domain(), node, &images, &goal(node));
        let is_step = |(index, image): &ClassStep| {
            let mutation = self.graph.mutations().get(*index);
            mutation.is_some_and(|m| m.name == step.mutation)
                && image.and_then(|image| images.get(image)) == step.image.as_ref()
        };
        self.begun.get(&class).is_some_and(|firsts| firsts.iter().any(is_step))
    }

    /// The graph that is planned over.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many searches were made; what was remembered is none.
    #[must_use]
    pub fn searches(&self) -> u64 {
        self.searches
    }

    /// How long the mutation of this name takes, as it is planned with, in milliseconds.
    #[must_use]
    pub fn expected_ms(&self, name: &str) -> Option<u64> {
        let index = self.graph.mutations().iter().position(|m| m.name.as_ref() == name)?;
        self.weights.get(index).map(|(ms, _)| *ms)
    }

    /// The quickest plan for `node`.
    ///
    /// # Errors
    /// When no sequence of mutations leads to the goal, or the search grew beyond its bound.
    pub fn plan(&mut self, node: &Node) -> Result<Plan, NoPlan> {
        let images = node.images();
        let class = classify(self.graph.domain(), node, &images, &goal(node));
        if self.remembered.len() >= CLASSES_MAX {
            self.remembered.clear();
        }
        let (graph, weights, searches) = (&self.graph, &self.weights, &mut self.searches);
        let find = |class: &Class| {
            *searches += 1;
            search_with_reason(graph, weights, class)
        };
        let found = self.remembered.entry(class).or_insert_with_key(find).clone()?;
        let mutations = self.graph.mutations();
        let step = |(index, image): &ClassStep| {
            let image = image.and_then(|i| images.get(i).cloned());
            let (expected_ms, _) = self.weights.get(*index)?;
            mutations.get(*index).map(|m| (StepName { mutation: m.name.clone(), image }, *expected_ms))
        };
        let (steps, durations): (Vec<_>, Vec<_>) = found.iter().filter_map(step).unzip();
        Ok(Plan { steps, expected_ms: durations.iter().sum() })
    }
}

/// How long a mutation takes: as it was learned, or as it was declared.
#[must_use]
pub fn expected_ms(mutation: &Mutation, control: &Control) -> u64 {
    let learned = control.learned.get(&mutation.name).and_then(crate::state::Learned::believed_ms);
    learned.unwrap_or(mutation.expected_ms).max(1)
}

fn classify(domain: &Domain, node: &Node, images: &[Name], goal: &Goal) -> Class {
    let mut situation = Vec::with_capacity(domain.width() + images.len());
    let mut wanted = Vec::with_capacity(domain.width() + images.len());
    for (path, values) in &domain.variables {
        situation.push(node.see_symbol(path).map_or(0, |value| code(values, value)));
        wanted.push(goal.of(path).map_or(0, |value| code(values, value)));
    }
    for image in images {
        situation.push(image_seen(node, image).map_or(0, |value| code(&domain.image, value)));
        wanted.push(goal.images.get(image).map_or(0, |value| code(&domain.image, value)));
    }
    let power_control = match node.spec.bmc {
        Some(_) => PowerControl::ByBmc,
        None => PowerControl::ByHand,
    };
    Class { situation, goal: wanted, power_control }
}

/// The plan without what is switched off; when there is none, whether what is switched off is the reason.
fn search_with_reason(graph: &Graph, weights: &[(u64, bool)], class: &Class) -> ClassPlan {
    let found = search(graph, weights, class, Disabled::LeftOut);
    if found != Err(NoPlan::Unreachable) || weights.iter().all(|(_, enabled)| *enabled) {
        return found;
    }
    let Ok(steps) = search(graph, weights, class, Disabled::TakenIn) else { return found };
    let is_off = |index: &usize| weights.get(*index).is_some_and(|(_, enabled)| !enabled);
    let mut off: Vec<usize> = steps.iter().map(|(index, _)| *index).filter(is_off).collect();
    off.sort_unstable();
    off.dedup();
    let mutations = off.into_iter().filter_map(|index| graph.mutations().get(index).map(|m| m.name.clone()));
    Err(NoPlan::Disabled { mutations: mutations.collect() })
}

fn search(graph: &Graph, weights: &[(u64, bool)], class: &Class, disabled: Disabled) -> ClassPlan {
    let goal_met = |s: &Situation| s.iter().zip(&class.goal).all(|(seen, want)| *want == 0 || seen == want);
    let width = graph.domain().width();
    let edges = instantiate(graph, weights, class, disabled);
    let mut best: HashMap<Situation, u64> = HashMap::from([(class.situation.clone(), 0)]);
    let mut came_from: HashMap<Situation, (Situation, usize)> = HashMap::new();
    let mut frontier = BinaryHeap::from([Reverse((0u64, class.situation.clone()))]);
    while let Some(Reverse((cost, situation))) = frontier.pop() {
        if goal_met(&situation) {
            return Ok(walk_back(&edges, &came_from, situation));
        }
        if best.get(&situation).is_some_and(|known| *known < cost) {
            continue;
        }
        if best.len() > PLAN_STATES_MAX {
            return Err(NoPlan::TooLarge);
        }
        for (number, edge) in edges.iter().enumerate() {
            let Some(compiled) = graph.compiled().get(edge.index) else { continue };
            if !compiled.allows(&situation, edge.image, width) {
                continue;
            }
            for next in compiled.ends(&situation, edge.image, width) {
                let next_cost = cost.saturating_add(edge.expected_ms);
                if best.get(&next).is_none_or(|known| next_cost < *known) {
                    best.insert(next.clone(), next_cost);
                    came_from.insert(next.clone(), (situation.clone(), number));
                    frontier.push(Reverse((next_cost, next)));
                }
            }
        }
    }
    Err(NoPlan::Unreachable)
}

fn walk_back(edges: &[Edge], came_from: &HashMap<Situation, (Situation, usize)>, end: Situation) -> Arc<[ClassStep]> {
    let mut steps = Vec::new();
    let mut at = &end;
    while let Some((before, number)) = came_from.get(at) {
        steps.extend(edges.get(*number).map(|e| (e.index, e.image)));
        at = before;
    }
    steps.reverse();
    steps.into()
}

/// One mutation as it applies to one node: by itself, or to one of its images.
struct Edge {
    index: usize,
    image: Option<usize>,
    expected_ms: u64,
}

fn instantiate(graph: &Graph, weights: &[(u64, bool)], class: &Class, disabled: Disabled) -> Vec<Edge> {
    let image_count = class.situation.len().saturating_sub(graph.domain().width());
    let needs_bmc = |m: &Mutation| m.module.as_ref() == POWER_MODULE;
    // Whatever else is wanted: a machine that is to be off is not powered on for it.
    let to_be_off =
        graph.domain().variables.iter().zip(&class.goal).any(|((path, values), wanted)| {
            *path == VarPath::power() && *wanted != 0 && *wanted == code(values, "off")
        });
    let powers_on = |m: &Mutation| {
        let power = m.changes.iter().find(|change| change.subject == Subject::power());
        power.is_some_and(|change| change.to.iter().all(|to| to.as_str() == "on"))
    };
    let mut edges = Vec::new();
    for (index, ((mutation, compiled), (expected_ms, enabled))) in
        graph.mutations().iter().zip(graph.compiled()).zip(weights).enumerate()
    {
        let left_out = !enabled && disabled == Disabled::LeftOut || to_be_off && powers_on(mutation);
        if left_out || class.power_control == PowerControl::ByHand && needs_bmc(mutation) {
            continue;
        }
        let edge = |image| Edge { index, image, expected_ms: *expected_ms };
        if compiled.each_image {
            edges.extend((0..image_count).map(|image| edge(Some(image))));
        } else {
            edges.push(edge(None));
        }
    }
    edges
}
