//! Modules: those built in, and those from outside with how their programs fare.

use std::collections::BTreeMap;

use hyper::Response;

use super::Api;
use super::reply::{Body, json};
use crate::plan::Mutation;
use crate::port::document::{Items, ModuleDocument};

pub(super) fn list(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    let mut built_in: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Mutation { module, name, .. } in api.context.graph.mutations() {
        built_in.entry(module).or_default().push(name.to_string());
    }
    let graph = &api.context.graph;
    let enabled = |name: &str| graph.is_module_enabled(name) && !state.control.disabled_modules.contains(name);
    let mut items: Vec<ModuleDocument> = Vec::new();
    for (name, mutations) in built_in {
        items.push(ModuleDocument {
            name: name.to_owned(),
            origin: "built_in".into(),
            state: "running".into(),
            for_s: None,
            pid: None,
            failures: 0,
            detail: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            doc: String::new(),
            variables: Vec::new(),
            mutations,
            enabled: enabled(name),
        });
    }
    for (name, status) in api.context.roster.all() {
        let declared = state.control.modules.get(&name);
        let variables = declared.iter().flat_map(|d| d.variables.iter().map(|v| v.path.clone())).collect();
        let mutations = declared.iter().flat_map(|d| d.mutations.iter().map(|m| m.name.to_string())).collect();
        items.push(ModuleDocument {
            origin: "outside".into(),
            state: status.standing.as_str().into(),
            for_s: Some(status.since.elapsed().as_secs()),
            pid: status.pid,
            failures: status.failures,
            detail: status.detail,
            version: status.version,
            doc: status.doc,
            variables,
            mutations,
            enabled: enabled(name.as_str()),
            name: name.to_string(),
        });
    }
    json(&Items { items })
}
