//! The files that an installer or an installed image fetches with its boot's token: NoCloud's, Ignition's, a preseed.
//!
//! Pure. A target names each with the template that it is written from. Of NoCloud what a target does not name is made:
//! `meta-data` with the node's id and name, and an empty `vendor-data`, wherever there is `user-data`.
//! Specification: cloud-init's NoCloud datasource (`meta-data`, `user-data`, `vendor-data`, `network-config`); Ignition's
//! configuration specification 3.
//!
//! Invariants: a file whose name ends in `.ign` or `.json` is JSON when it leaves here; an Ignition configuration says a
//! version 3.
//!
//! Deliberately absent: who may have it (`http`).

use super::target::{HandError, ReadTemplate};
use super::template::{Place, Template, TemplateError, render};
use crate::model::TargetSpec;
use crate::state::{Node, State};

/// The name under which a machine says that its target is done.
pub const DONE: &str = "done";
const META_DATA: &str = "meta-data";
const USER_DATA: &str = "user-data";
const VENDOR_DATA: &str = "vendor-data";

/// The file `name` of the target's metadata for `node`; nothing when there is no such file.
///
/// # Errors
/// Its template cannot be read or filled in, or what came out of it is not what its name says.
pub fn made(
    name: &str,
    spec: &TargetSpec,
    node: &Node,
    state: &State,
    place: &Place,
    read: &ReadTemplate<'_>,
) -> Result<Option<String>, HandError> {
    let Some(template) = spec.metadata.get(name) else {
        let cloud = spec.metadata.contains_key(USER_DATA);
        return Ok(match name {
            META_DATA if cloud => Some(format!("instance-id: {}\nlocal-hostname: {}\n", node.id, node.spec.name)),
            VENDOR_DATA if cloud => Some(String::new()),
            _ => None,
        });
    };
    let unreadable = |reason| HandError::Unreadable { target: spec.name.clone(), name: template.clone(), reason };
    let text = read(template).map_err(unreadable)?;
    let made = render(Template { name: template, text: &text }, node, state, place)?;
    check(name, template, node, &made)?;
    Ok(Some(made))
}

fn check(name: &str, template: &str, node: &Node, made: &str) -> Result<(), TemplateError> {
    let wrong = |line: usize, detail: String| TemplateError::Failed {
        template: template.to_owned(),
        line,
        node: node.spec.name.to_string(),
        detail,
    };
    let ignition = name.ends_with(".ign");
    if !ignition && !name.ends_with(".json") {
        return Ok(());
    }
    let json: serde_json::Value = serde_json::from_str(made)
        .map_err(|error| wrong(error.line(), format!("what it makes is not JSON ({error})")))?;
    let version = json.pointer("/ignition/version").and_then(serde_json::Value::as_str);
    if ignition && !version.is_some_and(|version| version.starts_with("3.")) {
        return Err(wrong(1, "what it makes is no Ignition configuration of version 3 (ignition.version)".to_owned()));
    }
    Ok(())
}
