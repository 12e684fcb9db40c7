//! Nodes one by one: read with who says what, create, replace, patch, delete; several at once by selection.
//!
//! A node's entity tag is its revision. A writer who says with `If-Match` which one it has seen is refused with what
//! there is now when that is another one (RFC 9110, section 13.1.1). Patches are merge patches (RFC 7396) of the node's
//! own description: what its pool and the defaults say is not the node's to change.

use std::collections::BTreeMap;

use hyper::body::Incoming;
use hyper::header::{ETAG, HeaderValue, IF_MATCH};
use hyper::{Request, Response, StatusCode};
use serde_json::Value as Json;

use super::Api;
use super::act::{read, submit};
use super::ask::{Query, find};
use super::auth::Caller;
use super::describe::describe;
use super::reply::{Body, Refusal, json, json_with_status};
use super::select::{Unselected, selected, selection};
use crate::engine::now;
use crate::model::{Name, NodeSet};
use crate::plan::resolve::said_of;
use crate::plan::{Description, diff};
use crate::port::describe::{ApplyRequest, CreateRequest, NodeDetail, NodeRequest};
use crate::port::document::{Accepted, ApplyAnswer};
use crate::state::{Node, State};

/// What identifies a node among others: no patch of several nodes may change it.
const OF_ONE_NODE: &[&str] = &["name", "mac", "ip"];

pub(super) fn one(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let node = known(&state, name)?;
    Ok(tagged(json(&NodeDetail::new(&state, &node, now())), &node))
}

pub(super) async fn create(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let CreateRequest { items } = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let there: Vec<&str> =
        items.iter().map(|node| node.name.as_str()).filter(|name| find(&state, name).is_some()).collect();
    if !there.is_empty() {
        let there = NodeSet::fold(there);
        return Err(Refusal::conflict(format!("there is {there} already; patch it, or choose another name")));
    }
    let answer = make(api, caller, &state, items).await?;
    Ok(json_with_status(StatusCode::CREATED, &answer))
}

pub(super) async fn replace(
    api: &Api,
    caller: &Caller,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let seen = if_match(&request);
    let mut body: Json = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let before = find(&state, name);
    check(seen.as_deref(), &state, before.as_deref(), name)?;
    let name = before.as_ref().map_or_else(|| name.to_owned(), |node| node.spec.name.to_string());
    let other = body["name"].as_str().filter(|other| before.is_none() && *other != name);
    if let Some(other) = other {
        return Err(Refusal::invalid(format!(
            "the path names {name}, which there is not, and the description names {other}; name the same node in both"
        )));
    }
    if let Some(fields) = body.as_object_mut() {
        fields.entry("name").or_insert_with(|| Json::String(name.clone()));
    }
    let request = described(body, &name)?;
    make(api, caller, &state, vec![request]).await?;
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    after(api, &name, status)
}

pub(super) async fn patch(
    api: &Api,
    caller: &Caller,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let seen = if_match(&request);
    let patch: Json = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let node = known(&state, name)?;
    check(seen.as_deref(), &state, Some(&node), name)?;
    let request = patched(&state, &node, &patch)?;
    let name = request.name.to_string();
    make(api, caller, &state, vec![request]).await?;
    after(api, &name, StatusCode::OK)
}

pub(super) async fn remove(
    api: &Api,
    caller: &Caller,
    name: &str,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let seen = if_match(request);
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let node = known(&state, name)?;
    check(seen.as_deref(), &state, Some(&node), name)?;
    take_away(api, caller, &state, vec![node.spec.name.clone()]).await
}

pub(super) async fn patch_many(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    of_one_node(&request)?;
    let selection = selection(&Query::of(&request)?);
    let patch: Json = read(request).await?;
    if let Some(field) = OF_ONE_NODE.iter().find(|field| patch.get(field).is_some()) {
        return Err(Refusal::invalid(format!("{field} is one node's alone; patch that node at /api/v1/nodes/NAME")));
    }
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let nodes = selected(&state, &selection, Unselected::Refused)?;
    let requests = nodes.iter().map(|node| patched(&state, node, &patch)).collect::<Result<_, _>>()?;
    Ok(json(&make(api, caller, &state, requests).await?))
}

pub(super) async fn remove_many(
    api: &Api,
    caller: &Caller,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    of_one_node(request)?;
    let selection = selection(&Query::of(request)?);
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let nodes = selected(&state, &selection, Unselected::Refused)?;
    take_away(api, caller, &state, nodes.iter().map(|node| node.spec.name.clone()).collect()).await
}

async fn take_away(api: &Api, caller: &Caller, state: &State, names: Vec<Name>) -> Result<Response<Body>, Refusal> {
    let (nodes, count) = (NodeSet::fold(names.iter().map(Name::as_str)), names.len());
    let description = Description { removed_nodes: names.into_iter().collect(), ..Description::default() };
    let (_, events) = diff(state, &description).map_err(Refusal::invalid)?;
    let seq = submit(api, caller, events).await?;
    Ok(json(&Accepted { nodes, count, seq, goals: BTreeMap::new(), held: Vec::new(), warnings: Vec::new() }))
}

/// Describes nodes, newly or differently, as an apply would.
async fn make(api: &Api, caller: &Caller, state: &State, nodes: Vec<NodeRequest>) -> Result<ApplyAnswer, Refusal> {
    let request = ApplyRequest { nodes, ..ApplyRequest::default() };
    let description = describe(state, &api.context.vault, request, &Default::default())?;
    let (changes, events) = diff(state, &description).map_err(Refusal::invalid)?;
    let applied = !events.is_empty();
    if applied {
        submit(api, caller, events).await?;
    }
    Ok(ApplyAnswer { changes, applied, plan: None })
}

fn patched(state: &State, node: &Node, patch: &Json) -> Result<NodeRequest, Refusal> {
    if !patch.is_object() {
        return Err(Refusal::bad_request("a patch of a node is a JSON object"));
    }
    let mut document = serde_json::to_value(NodeRequest::of(&said_of(state, node))).map_err(Refusal::internal)?;
    merge(&mut document, patch);
    described(document, node.spec.name.as_str())
}

fn described(document: Json, name: &str) -> Result<NodeRequest, Refusal> {
    let request: NodeRequest = serde_json::from_value(document).map_err(Refusal::bad_request)?;
    if request.name.as_str() != name {
        return Err(Refusal::invalid(format!(
            "node {name} cannot become {}: a node keeps its name; create another one, and delete this one",
            request.name
        )));
    }
    Ok(request)
}

/// A JSON merge patch (RFC 7396, section 2).
fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Json::Null), value);
        }
    }
}

fn after(api: &Api, name: &str, status: StatusCode) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let node = known(&state, name)?;
    Ok(tagged(json_with_status(status, &NodeDetail::new(&state, &node, now())), &node))
}

pub(super) fn known(state: &State, name: &str) -> Result<std::sync::Arc<Node>, Refusal> {
    find(state, name).ok_or_else(|| Refusal::no_such_node(&[name.to_owned()]))
}

/// The answer with the node's entity tag.
pub(super) fn tagged(mut response: Response<Body>, node: &Node) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&tag_of(node)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn tag_of(node: &Node) -> String {
    format!("\"{}\"", node.revision.0)
}

/// What a writer has seen.
pub(super) fn if_match<B>(request: &Request<B>) -> Option<String> {
    let headers = request.headers().get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = headers.collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn of_one_node<B>(request: &Request<B>) -> Result<(), Refusal> {
    match if_match(request) {
        None => Ok(()),
        Some(_) => Err(Refusal::bad_request("If-Match is about one node; change it at /api/v1/nodes/NAME")),
    }
}

/// Refuses a writer who has seen another revision than the present one.
pub(super) fn check(seen: Option<&str>, state: &State, node: Option<&Node>, name: &str) -> Result<(), Refusal> {
    let Some(seen) = seen else { return Ok(()) };
    let Some(node) = node else { return Err(Refusal::no_such_node(&[name.to_owned()])) };
    let tag = tag_of(node);
    match seen.split(',').map(str::trim).any(|seen| seen == "*" || seen == tag) {
        true => Ok(()),
        false => Err(stale(state, node)),
    }
}

/// The refusal of a writer who has seen something older, with what there is now.
pub(super) fn stale(state: &State, node: &Node) -> Refusal {
    let current = serde_json::to_value(NodeDetail::new(state, node, now())).ok();
    Refusal::stale(&node.spec.name, node.revision, current, tag_of(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_does_what_the_examples_of_rfc_7396_say() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} with {patch}");
        }
    }
}
