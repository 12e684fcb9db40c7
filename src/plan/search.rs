//! The quickest way from what is observed to what is wanted: Dijkstra's search over the values of a node's finite
//! variables, with expected durations as lengths.
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
use super::graph::{Condition, Graph, Mutation, Subject, UNKNOWN};
use crate::fact::StepName;
use crate::model::limits::PLAN_STATES_MAX;
use crate::model::{Name, VarPath};
use crate::state::Node;

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
    /// The search grew beyond its bound.
    #[error(
        "the search for a plan visited {PLAN_STATES_MAX} states and was given up: the node's cake has too many images that change at once"
    )]
    TooLarge,
}

/// A row of values: 0 is unknown, n is the subject's n-th value. Power, boot, run, then images in order of name.
type Situation = Vec<u8>;

const IMAGES_FROM: usize = 3;

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

/// A plan in terms of its class: mutations by index, images by position.
type ClassPlan = Result<Arc<[(usize, Option<usize>)]>, NoPlan>;

/// Finds plans, and remembers them by situation.
#[derive(Debug)]
pub struct Planner {
    graph: Graph,
    remembered: HashMap<Class, ClassPlan>,
}

/// Situations that are remembered; beyond it all are forgotten and searched anew when they come up.
const CLASSES_MAX: usize = 10_000;

impl Planner {
    /// A planner over `graph`.
    #[must_use]
    pub fn new(graph: Graph) -> Self {
        Planner { graph, remembered: HashMap::new() }
    }

    /// The graph that is planned over.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The quickest plan for `node`.
    ///
    /// # Errors
    /// When no sequence of mutations leads to the goal, or the search grew beyond its bound.
    pub fn plan(&mut self, node: &Node) -> Result<Plan, NoPlan> {
        let images = node.images();
        let class = classify(node, &images, &goal(node));
        if self.remembered.len() >= CLASSES_MAX {
            self.remembered.clear();
        }
        let graph = &self.graph;
        let found = self.remembered.entry(class).or_insert_with_key(|class| search(graph, class)).clone()?;
        let mutations = self.graph.mutations();
        let step = |(index, image): &(usize, Option<usize>)| {
            let image = image.and_then(|i| images.get(i).cloned());
            mutations.get(*index).map(|m| (StepName { mutation: m.name.into(), image }, m.expected_ms))
        };
        let (steps, durations): (Vec<_>, Vec<_>) = found.iter().filter_map(step).unzip();
        Ok(Plan { steps, expected_ms: durations.iter().sum() })
    }
}

fn classify(node: &Node, images: &[Name], goal: &Goal) -> Class {
    let code = |subject: Subject, value: Option<&str>| encode(subject, value.unwrap_or(UNKNOWN));
    let seen = |subject, path: VarPath| code(subject, node.see_symbol(&path));
    let mut situation = vec![
        seen(Subject::Power, VarPath::power()),
        seen(Subject::Boot, VarPath::boot()),
        seen(Subject::Run, VarPath::run()),
    ];
    let mut wanted = vec![code(Subject::Power, goal.power), 0, code(Subject::Run, goal.run)];
    for image in images {
        situation.push(code(Subject::EachImage, image_seen(node, image)));
        wanted.push(code(Subject::EachImage, goal.images.get(image).copied()));
    }
    let power_control = match node.spec.bmc {
        Some(_) => PowerControl::ByBmc,
        None => PowerControl::ByHand,
    };
    Class { situation, goal: wanted, power_control }
}

fn encode(subject: Subject, value: &str) -> u8 {
    let position = subject.values().iter().position(|v| *v == value);
    position.and_then(|p| u8::try_from(p + 1).ok()).unwrap_or(0)
}

fn search(graph: &Graph, class: &Class) -> ClassPlan {
    let goal_met = |s: &Situation| s.iter().zip(&class.goal).all(|(seen, want)| *want == 0 || seen == want);
    let edges = instantiate(graph, class);
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
        for (index, edge) in edges.iter().enumerate() {
            for next in edge.follow(&situation) {
                let next_cost = cost.saturating_add(edge.mutation.expected_ms.max(1));
                if best.get(&next).is_none_or(|known| next_cost < *known) {
                    best.insert(next.clone(), next_cost);
                    came_from.insert(next.clone(), (situation.clone(), index));
                    frontier.push(Reverse((next_cost, next)));
                }
            }
        }
    }
    Err(NoPlan::Unreachable)
}

fn walk_back(
    edges: &[Edge<'_>],
    came_from: &HashMap<Situation, (Situation, usize)>,
    end: Situation,
) -> Arc<[(usize, Option<usize>)]> {
    let mut steps = Vec::new();
    let mut at = &end;
    while let Some((before, index)) = came_from.get(at) {
        steps.extend(edges.get(*index).map(|e| (e.index, e.image)));
        at = before;
    }
    steps.reverse();
    steps.into()
}

/// One mutation as it applies to one node: for all-image conditions every image, for the others its own.
struct Edge<'a> {
    mutation: &'a Mutation,
    index: usize,
    image: Option<usize>,
    image_count: usize,
}

fn instantiate<'a>(graph: &'a Graph, class: &Class) -> Vec<Edge<'a>> {
    let image_count = class.situation.len().saturating_sub(IMAGES_FROM);
    let needs_bmc = |m: &Mutation| m.module == POWER_MODULE;
    let mut edges = Vec::new();
    for (index, mutation) in graph.mutations().iter().enumerate() {
        if class.power_control == PowerControl::ByHand && needs_bmc(mutation) {
            continue;
        }
        if mutation.is_each_image() {
            let each = (0..image_count).map(|i| Edge { mutation, index, image: Some(i), image_count });
            edges.extend(each);
        } else {
            edges.push(Edge { mutation, index, image: None, image_count });
        }
    }
    edges
}

impl Edge<'_> {
    fn places(&self, subject: Subject) -> std::ops::Range<usize> {
        match (subject, self.image) {
            (Subject::Power, _) => 0..1,
            (Subject::Boot, _) => 1..2,
            (Subject::Run, _) => 2..3,
            (Subject::EachImage, Some(i)) => IMAGES_FROM + i..IMAGES_FROM + i + 1,
            (Subject::EachImage, None) => 0..0,
            (Subject::AllImages, _) => IMAGES_FROM..IMAGES_FROM + self.image_count,
        }
    }

    fn has_one_of(&self, situation: &Situation, place: usize, subject: Subject, any_of: &[&str]) -> bool {
        situation.get(place).is_some_and(|seen| any_of.iter().any(|v| encode(subject, v) == *seen))
    }

    fn allows(&self, situation: &Situation) -> bool {
        let changes = self
            .mutation
            .changes
            .iter()
            .all(|c| self.places(c.subject).all(|p| self.has_one_of(situation, p, c.subject, c.from)));
        let holds_for_all =
            |c: &Condition| self.places(c.subject).all(|p| self.has_one_of(situation, p, c.subject, c.any_of));
        let holds_for_one =
            |c: &Condition| self.places(c.subject).any(|p| self.has_one_of(situation, p, c.subject, c.any_of));
        changes && self.mutation.requires.iter().all(holds_for_all) && !self.mutation.excludes.iter().any(holds_for_one)
    }

    /// The situations that the edge may lead to from `situation`: none when it does not start there.
    fn follow(&self, situation: &Situation) -> Vec<Situation> {
        if !self.allows(situation) {
            return Vec::new();
        }
        let mut base = situation.clone();
        let set = |situation: &mut Situation, subject: Subject, value: &str| {
            for place in self.places(subject) {
                if let Some(slot) = situation.get_mut(place) {
                    *slot = encode(subject, value);
                }
            }
        };
        for consequence in &self.mutation.consequences {
            set(&mut base, consequence.subject, consequence.becomes);
        }
        let mut ends = vec![base];
        for change in &self.mutation.changes {
            ends = ends
                .iter()
                .flat_map(|end| change.to.iter().map(move |to| (end.clone(), to)))
                .map(|(mut end, to)| {
                    set(&mut end, change.subject, to);
                    end
                })
                .collect();
        }
        ends
    }
}
