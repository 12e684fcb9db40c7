//! How the mutation graph looks: SVG 1.1 to be seen in a browser, and DOT for graphviz. Pure.
//!
//! Every variable is a panel of its own. Its values are columns, from the left by how many mutations lead to them from
//! `unknown`; every mutation is a row with an arrow from the values that it starts from to those that it leads to, and
//! its conditions and times beside it. So no two labels ever overlap, and the same graph is always the same picture.
//! Of one node the present values are filled, the wanted ones have a double border, and the steps that are left are
//! numbered.
//!
//! Absent on purpose: a general layout of graphs; whoever wants another picture takes the DOT.

mod dot;
mod svg;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(super) use self::dot::dot;
pub(super) use self::svg::svg;
use crate::port::graph::{GraphDocument, GraphMutation, GraphVariable, UNKNOWN};

/// The values of a variable from left to right: by how many mutations lead to them from `unknown`, then as declared.
fn columns<'a>(variable: &'a GraphVariable, mutations: &[GraphMutation]) -> Vec<&'a str> {
    let mut layer: BTreeMap<&str, usize> = BTreeMap::from([(UNKNOWN, 0)]);
    for depth in 0..variable.values.len() {
        for change in mutations.iter().flat_map(|m| &m.changes).filter(|c| c.variable == variable.path) {
            if change.from.iter().any(|from| layer.get(from.as_str()) == Some(&depth)) {
                for to in &change.to {
                    layer.entry(to).or_insert(depth + 1);
                }
            }
        }
    }
    let mut values: Vec<&str> = variable.values.iter().map(String::as_str).collect();
    values.sort_by_key(|value| layer.get(value).copied().unwrap_or(usize::MAX));
    values
}

/// The number of a mutation among the steps that are left, from 1.
fn step_number(document: &GraphDocument, mutation: &GraphMutation) -> Option<usize> {
    let steps = &document.node.as_ref()?.steps;
    let same = |step: &crate::port::graph::WayStep| step.mutation == mutation.name && step.image == mutation.image;
    steps.iter().position(same).map(|at| at + 1)
}

/// A mutation's name, with its image.
fn title(mutation: &GraphMutation) -> String {
    match &mutation.image {
        Some(image) => format!("{} {image}", mutation.name),
        None => mutation.name.clone(),
    }
}

/// Milliseconds as people read them: `250 ms`, `1.5 s`, `45 s`, `10 min`.
fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 if !ms.is_multiple_of(1_000) => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        1_000..120_000 => format!("{} s", ms / 1_000),
        _ => format!("{} min", ms / 60_000),
    }
}

/// How long, under which conditions, and what else is to be known of a mutation, in a few words.
fn details(mutation: &GraphMutation, variable: &str) -> String {
    let mut words = vec![format!("{} of {}", span(mutation.expected_ms), span(mutation.timeout_ms))];
    if mutation.disruptive {
        words.push("disruptive".to_owned());
    }
    if !mutation.enabled {
        words.push("switched off".to_owned());
    }
    let all = |conditions: &[crate::port::graph::GraphCondition]| {
        let each = conditions.iter().map(|c| format!("{}={}", c.variable, c.any_of.join("|")));
        each.collect::<Vec<_>>().join(", ")
    };
    let others = mutation.changes.iter().filter(|c| c.variable != variable);
    words.extend(others.map(|c| format!("also {} to {}", c.variable, c.to.join("|"))));
    if !mutation.requires.is_empty() {
        words.push(format!("needs {}", all(&mutation.requires)));
    }
    if !mutation.excludes.is_empty() {
        words.push(format!("not while {}", all(&mutation.excludes)));
    }
    let then = mutation.consequences.iter().map(|c| format!("{}={}", c.variable, c.becomes)).collect::<Vec<_>>();
    if !then.is_empty() {
        words.push(format!("then {}", then.join(", ")));
    }
    words.join(" · ")
}
