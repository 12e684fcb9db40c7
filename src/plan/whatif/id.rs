//! A plan's id: what was asked, how the nodes stand, and what would be done.

use serde_json::{Value, json};

use super::Class;
use crate::fact::OperatorEvent;
use crate::model::{Digest, Name, Revision};

/// Hexadecimal digits of an id: enough that two plans of one cluster do not share one, few enough to copy.
const DIGITS: usize = 16;

pub(super) fn id(events: &[OperatorEvent], revisions: &[(Name, Revision)], classes: &[Class]) -> String {
    let events: Vec<Value> = events.iter().map(asked).collect();
    let steps: Vec<Value> = classes
        .iter()
        .map(|class| json!({ "nodes": class.nodes, "change": class.change, "steps": class.steps }))
        .collect();
    let whole = json!({ "events": events, "revisions": revisions, "classes": steps });
    Digest::of(whole.to_string().as_bytes()).hex().chars().take(DIGITS).collect()
}

/// A request without what is made up anew each time it is made: a new node's id, and the sealed form of a secret.
fn asked(event: &OperatorEvent) -> Value {
    // A request that has no JSON could not have been journaled either.
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let (OperatorEvent::NodeDescribed { .. }, Some(map)) = (event, value.as_object_mut()) {
        map.remove("node");
    }
    without_secrets(&mut value);
    value
}

fn without_secrets(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, below) in map.iter_mut() {
                match key.as_str() {
                    "password" | "secret" => *below = Value::Null,
                    _ => without_secrets(below),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_secrets),
        _ => {}
    }
}
