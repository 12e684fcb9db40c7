//! What nodes are made of: pools, networks, cakes, extensions and their variables, as they are described.

use std::collections::BTreeMap;

use hyper::Response;

use super::Api;
use super::reply::{Body, json};
use crate::model::{Name, NodeSet};
use crate::port::describe::{PoolDocument, TemplateRequest, VariableDocument};
use crate::port::document::Items;

pub(super) fn pools(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    let mut members: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
    for node in state.nodes.values() {
        if let Some(pool) = &node.spec.pool {
            members.entry(pool).or_default().push(node.spec.name.as_str());
        }
    }
    let document = |(name, pool): (&Name, &std::sync::Arc<crate::model::PoolSpec>)| {
        let nodes = members.get(name).cloned().unwrap_or_default();
        let count = nodes.len();
        let template = TemplateRequest::from(&pool.template);
        PoolDocument { name: pool.name.clone(), template, nodes: NodeSet::fold(nodes), count }
    };
    json(&Items { items: state.pools.iter().map(document).collect() })
}

pub(super) fn defaults(api: &Api) -> Response<Body> {
    json(&TemplateRequest::from(api.context.state.now().defaults.as_ref()))
}

pub(super) fn networks(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    json(&Items { items: state.networks.values().map(AsRef::as_ref).collect() })
}

pub(super) fn targets(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    json(&Items { items: state.targets.values().map(AsRef::as_ref).collect() })
}

pub(super) fn cakes(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    json(&Items { items: state.cakes.values().map(AsRef::as_ref).collect() })
}

pub(super) fn extensions(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    json(&Items { items: state.schema.extensions().collect() })
}

pub(super) fn variables(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    let all = state.schema.extensions().flat_map(|e| e.variables.iter().map(move |spec| (e, spec)));
    let items = all.map(|(extension, spec)| VariableDocument {
        path: spec.path.clone(),
        extension: extension.name.clone(),
        kind: spec.kind.to_string(),
        of: spec.kind.clone(),
        goals: spec.goals.clone(),
        set: spec.set,
        default: spec.default.as_ref().map(ToString::to_string),
        doc: spec.doc.clone(),
    });
    json(&Items { items: items.collect() })
}
