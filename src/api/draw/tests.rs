//! The picture and the DOT: everything that is in the graph is in them, and can be read.

use std::process::{Command, Stdio};

use super::*;
use crate::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use crate::model::{FactSeq, NodeId, NodeSpec, Schema, UnixMs};
use crate::plan::{Graph, Mutation, Policy};
use crate::state::State;

fn graph(more: Vec<Mutation>) -> Graph {
    let mutations = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
        more,
    ];
    Graph::build(mutations.concat(), &Schema::default()).unwrap()
}

fn whole() -> GraphDocument {
    GraphDocument::whole(&graph(vec![]), &State::default().control, &Policy::default())
}

fn of_node() -> GraphDocument {
    let id = NodeId(uuid::Uuid::from_u128(1));
    let spec: NodeSpec = serde_json::from_value(serde_json::json!({
        "name": "n1", "network": "boot", "mac": "02:00:00:00:00:01", "ip": "10.0.0.1",
        "bmc": {"driver": "ipmi", "address": "10.0.0.2:623", "user": "admin", "password": "(secret)"}
    }))
    .unwrap();
    let mut state = State::default();
    let event = OperatorEvent::NodeDescribed { node: id, spec: Box::new(spec) };
    let fact = Fact::Operator(OperatorFact { event, by: None });
    state.apply(&Stamped { seq: FactSeq(1), at: UnixMs(1), fact });
    GraphDocument::of_node(state.node(id).unwrap(), &graph(vec![]), &state.control, &Policy::default())
}

/// Everything that there is to see stands in the picture, once, inside its borders, and no two labels of a row meet.
#[test]
fn every_value_and_mutation_is_in_the_picture_and_no_two_labels_meet() {
    for document in [whole(), of_node()] {
        let text = svg(&document);
        let xml = roxmltree::Document::parse(&text).unwrap();
        let size = |name: &str| xml.root_element().attribute(name).unwrap().parse::<usize>().unwrap();
        let (width, height) = (size("width"), size("height"));
        let mut labels: Vec<(usize, usize, usize, String)> = Vec::new();
        for label in xml.descendants().filter(|node| node.has_tag_name("text")) {
            let number = |name: &str| label.attribute(name).unwrap().parse::<usize>().unwrap();
            let (x, y, text) = (number("x"), number("y"), label.text().unwrap().to_owned());
            let letters = text.chars().count() * if label.attribute("class") == Some("small") { 7 } else { 8 };
            let left = if label.attribute("text-anchor") == Some("middle") { x - letters / 2 } else { x };
            assert!(left + letters <= width + 8 && y < height, "{text} is outside");
            labels.push((y, left, left + letters, text));
        }
        for (at, (y, left, right, text)) in labels.iter().enumerate() {
            for (other_y, other_left, other_right, other) in labels.iter().skip(at + 1) {
                let meet = y == other_y && left < other_right && other_left < right;
                assert!(!meet, "'{text}' and '{other}' overlap");
            }
        }
        let has = |wanted: &str| labels.iter().filter(|(.., text)| text == wanted).count();
        for variable in &document.variables {
            assert_eq!(has(&variable.path), 1, "{}", variable.path);
            assert!(variable.values.iter().all(|value| has(value) >= 1), "{variable:?}");
        }
        for mutation in &document.mutations {
            assert_eq!(has(&title(mutation)), mutation.changes.len(), "{}", mutation.name);
        }
    }
}

#[test]
fn of_a_node_the_present_the_goal_and_the_steps_are_marked() {
    let document = of_node();
    let way = document.node.as_ref().unwrap();
    assert!(way.steps.len() >= 2, "{way:?}");
    let text = svg(&document);
    assert_eq!(text.matches("class=\"value now\"").count(), document.variables.len());
    let goals = document.variables.iter().filter(|variable| variable.goal.is_some()).count();
    assert_eq!(text.matches("class=\"goal\"").count(), goals);
    assert_eq!(text.matches("class=\"number\"").count(), way.steps.len());
    let text = dot(&document);
    assert_eq!(text.matches("peripheries=2").count(), goals);
    assert!(text.contains("label=\"1. power.discover "), "{text}");
    assert!(!svg(&whole()).contains("class=\"number\""));
}

#[test]
fn columns_stand_in_the_order_in_which_values_are_reached() {
    let document = whole();
    let power = &document.variables[0];
    assert_eq!(columns(power, &document.mutations)[0], "unknown");
    let boot = columns(&document.variables[1], &document.mutations);
    let at = |value: &str| boot.iter().position(|known| *known == value).unwrap();
    assert!(at("armed") < at("rom") && at("rom") < at("loader") && at("loader") < at("kernel"), "{boot:?}");
}

#[test]
fn words_of_a_module_from_outside_stay_words() {
    let mut document = whole();
    let evil = "a\"b\\<script>&\u{0}\n-> {}";
    document.mutations[0].name = evil.to_owned();
    document.variables[0].path = evil.to_owned();
    document.mutations[0].changes[0].variable = evil.to_owned();
    let text = svg(&document);
    let xml = roxmltree::Document::parse(&text).unwrap();
    assert!(xml.descendants().any(|node| node.text() == Some("a\"b\\<script>&\u{fffd}\u{fffd}-> {}")));
    assert!(!xml.descendants().any(|node| node.has_tag_name("script")));
    let text = dot(&document);
    assert!(text.contains("label=\"a\\\"b\\\\<script>&  -> {}\""), "{text}");
}

/// Reads DOT as far as it is written here: quoted words, braces, arrows, lists of attributes.
fn statements(dot: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for line in dot.lines().map(str::trim).filter(|line| line.starts_with('"')) {
        let mut words = Vec::new();
        let mut rest = line;
        let end =
            |text: &str| text.char_indices().skip(1).find(|(at, c)| *c == '"' && &text[at - 1..*at] != "\\").unwrap().0;
        while rest.starts_with('"') {
            let at = end(rest);
            words.push(rest[1..at].to_owned());
            rest = rest[at + 1..].trim_start().trim_start_matches("-> ");
        }
        assert!(rest.starts_with('[') && rest.ends_with("];"), "{line}");
        match words.as_slice() {
            [node] => nodes.push(node.clone()),
            [from, to] => edges.push((from.clone(), to.clone())),
            other => panic!("{other:?}"),
        }
    }
    (nodes, edges)
}

#[test]
fn every_edge_of_the_dot_leads_between_values_that_are_declared_in_it() {
    let document = whole();
    let text = dot(&document);
    let (nodes, edges) = statements(&text);
    assert_eq!(nodes.len(), document.variables.iter().map(|variable| variable.values.len()).sum::<usize>());
    let pairs = |c: &crate::port::graph::GraphChange| c.from.len() * c.to.len();
    assert_eq!(edges.len(), document.mutations.iter().flat_map(|m| &m.changes).map(pairs).sum::<usize>());
    for (from, to) in edges {
        assert!(nodes.contains(&from) && nodes.contains(&to), "{from} -> {to}");
    }
    assert_eq!(text.matches('{').count(), text.matches('}').count());
}

#[test]
fn graphviz_reads_the_dot_where_it_is_installed() {
    if Command::new("dot").arg("-V").stderr(Stdio::null()).status().is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, document) in [("whole", whole()), ("node", of_node())] {
        let file = dir.path().join(name);
        std::fs::write(&file, dot(&document)).unwrap();
        let output = Command::new("dot").arg("-Tsvg").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
