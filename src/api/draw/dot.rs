//! DOT, the language of graphviz (graphviz.org/doc/info/lang.html).

use std::fmt::Write;

use super::{details, span, step_number, title};
use crate::port::graph::{GraphDocument, GraphVariable};

/// The graph in DOT: a cluster for every variable, a node for every value, an edge for every way between two.
pub(in crate::api) fn dot(document: &GraphDocument) -> String {
    let name = document.node.as_ref().map_or("bootes", |way| way.name.as_str());
    let mut text = format!("digraph {} {{\n", quoted(name));
    text.push_str("  graph [rankdir=LR fontname=\"sans-serif\"];\n");
    text.push_str("  node [shape=box style=rounded fontname=\"sans-serif\"];\n");
    text.push_str("  edge [fontname=\"sans-serif\" fontsize=10];\n");
    for (number, variable) in document.variables.iter().enumerate() {
        cluster(&mut text, number, variable);
    }
    for mutation in &document.mutations {
        let step = step_number(document, mutation);
        for change in &mutation.changes {
            let label = match step {
                Some(number) => format!("{number}. {} {}", title(mutation), span(mutation.expected_ms)),
                None => format!("{} {}", title(mutation), span(mutation.expected_ms)),
            };
            let mut looks = vec![format!("label={}", quoted(&label))];
            looks.push(format!("tooltip={}", quoted(&details(mutation, &change.variable))));
            looks.extend(step.map(|_| "penwidth=3".to_owned()));
            looks.extend((!mutation.enabled).then(|| "style=dashed".to_owned()));
            looks.extend((mutation.disruptive).then(|| "color=\"#c2410c\"".to_owned()));
            for (from, to) in change.from.iter().flat_map(|from| change.to.iter().map(move |to| (from, to))) {
                let (from, to) = (id(&change.variable, from), id(&change.variable, to));
                let _ = writeln!(text, "  {from} -> {to} [{}];", looks.join(" "));
            }
        }
    }
    text.push_str("}\n");
    text
}

fn cluster(text: &mut String, number: usize, variable: &GraphVariable) {
    let _ = writeln!(text, "  subgraph cluster_{number} {{\n    label={};", quoted(&variable.path));
    for value in &variable.values {
        let mut looks = vec![format!("label={}", quoted(value))];
        if variable.now.as_ref() == Some(value) {
            looks.push("style=\"rounded,filled\" fillcolor=\"#bfdbfe\"".to_owned());
        }
        if variable.goal.as_ref() == Some(value) {
            looks.push("peripheries=2".to_owned());
        }
        let _ = writeln!(text, "    {} [{}];", id(&variable.path, value), looks.join(" "));
    }
    text.push_str("  }\n");
}

fn id(variable: &str, value: &str) -> String {
    quoted(&format!("{variable}={value}"))
}

/// A quoted string. A backslash would begin an escape of graphviz, and a control character ends up as a space.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace(|c: char| c.is_control(), " ");
    format!("\"{escaped}\"")
}
