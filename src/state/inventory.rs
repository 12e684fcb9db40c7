//! A hardware report as variables, so that it can be selected by and seen in one way with everything else.
//!
//! The whole report stays beside them; the variables are what people ask for.

use super::node::{Node, StateSource};
use crate::model::hardware::{Carrier, Hardware};
use crate::model::{UnixMs, Value, VarPath};

pub(super) fn apply(node: &mut Node, at: UnixMs, hardware: &Hardware) {
    let system = &hardware.system;
    let text = |text: &Option<String>| text.as_deref().map(|text| Value::Text(text.into()));
    let count = |count: usize| Some(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)));
    let memory_mib = i64::try_from(hardware.memory_bytes >> 20).unwrap_or(i64::MAX);
    let uuid = system.uuid.as_deref().and_then(|uuid| uuid.parse().ok()).map(Value::Uuid);
    let values = [
        ("vendor", text(&system.vendor)),
        ("product", text(&system.product)),
        ("serial", text(&system.serial)),
        ("uuid", uuid),
        ("cpus", Some(Value::Int(i64::from(hardware.processor.threads)))),
        ("memory_mib", Some(Value::Int(memory_mib))),
        ("disks", count(hardware.disks.len())),
        ("interfaces", count(hardware.interfaces.len())),
    ];
    for (field, value) in values {
        set(node, at, &format!("hardware.{field}"), value);
    }
    node.drop_observed(|path, _| path.as_str().starts_with("net.") && path.as_str().ends_with(".mac"));
    for interface in &hardware.interfaces {
        let state = match interface.carrier {
            Carrier::Present => Some(Value::symbol("up")),
            Carrier::Absent => Some(Value::symbol("down")),
            Carrier::Unknown => None,
        };
        // A name that is no part of a path, such as one with a colon, has no variables.
        set(node, at, &format!("net.{}.mac", interface.name), Some(Value::Mac(interface.mac)));
        // The report is of the start; what the agent has seen since is newer.
        let path = format!("net.{}.state", interface.name);
        if path.parse().is_ok_and(|path| node.see(&path).is_none()) {
            set(node, at, &path, state);
        }
    }
}

fn set(node: &mut Node, at: UnixMs, path: &str, value: Option<Value>) {
    let Ok(path) = path.parse::<VarPath>() else { return };
    match value {
        Some(value) => node.observe(at, path, value, StateSource::Agent),
        None => node.forget(&path),
    }
}
