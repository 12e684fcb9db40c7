//! Variables by path: what is wanted and what was seen, with revision, source and time; setting one by hand.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::act::{check_image, read, submit};
use super::ask::Query;
use super::auth::Caller;
use super::describe::{check_boot, take};
use super::nodes::{check, if_match, known, tagged};
use super::reply::{Body, Refusal, json};
use super::select::{Unselected, selected, selection};
use crate::fact::OperatorEvent;
use crate::model::VarPath;
use crate::port::describe::{DesiredDocument, ObservedDocument, ValueDocument, ValueRequest, VariableState};
use crate::port::document::Items;
use crate::state::State;

fn path_of(state: &State, text: &str) -> Result<VarPath, Refusal> {
    let path: VarPath = text.parse().map_err(Refusal::bad_request)?;
    state.schema.spec(&path).map_err(Refusal::no_such_variable)?;
    Ok(path)
}

/// Some variables of some nodes, in the order in which they were asked for.
pub(super) fn many(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let query = Query::of(request)?;
    let state = api.context.state.now();
    let paths: Vec<VarPath> = query
        .all("path")
        .flat_map(|paths| paths.split(','))
        .map(|path| path_of(&state, path))
        .collect::<Result<_, _>>()?;
    if paths.is_empty() {
        return Err(Refusal::bad_request("no variable is named; give path=VARIABLE"));
    }
    let nodes = selected(&state, &selection(&query), Unselected::All)?;
    let value = |node: &std::sync::Arc<crate::state::Node>, path: &VarPath| ValueDocument {
        node: node.spec.name.clone(),
        id: node.id,
        path: path.clone(),
        state: VariableState::new(&state, node, path),
    };
    let items = nodes.iter().flat_map(|node| paths.iter().map(move |path| value(node, path))).collect();
    Ok(json(&Items { items }))
}

pub(super) fn desired(api: &Api, name: &str, path: &str) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let (node, path) = (known(&state, name)?, path_of(&state, path)?);
    let desired = node.desired.get(&path);
    let desired = desired.ok_or_else(|| Refusal::no_value(format!("nothing is wanted of {path} of {name}")))?;
    Ok(tagged(json(&DesiredDocument::new(&state, &path, desired)), &node))
}

pub(super) fn observed(api: &Api, name: &str, path: &str) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let (node, path) = (known(&state, name)?, path_of(&state, path)?);
    let observed = node.observed.get(&path);
    let observed = observed.ok_or_else(|| Refusal::no_value(format!("{path} of {name} is not known")))?;
    Ok(tagged(json(&ObservedDocument::new(observed)), &node))
}

pub(super) async fn set(
    api: &Api,
    caller: &Caller,
    name: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let seen = if_match(&request);
    let ValueRequest { value } = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let (node, variable) = (known(&state, name)?, path_of(&state, path)?);
    check(seen.as_deref(), &state, Some(&node), name)?;
    let known = node.by_hand.get(&variable);
    let value = take(&api.context.vault, &state.schema, &variable, &value, known)?;
    check_boot(&state, &variable, Some(&value))?;
    check_image(&variable, [&node])?;
    submit(api, caller, vec![OperatorEvent::GoalSet { node: node.id, path: variable, value: Some(value) }]).await?;
    desired(api, name, path)
}

pub(super) async fn take_back(
    api: &Api,
    caller: &Caller,
    name: &str,
    path: &str,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let seen = if_match(request);
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let node = known(&state, name)?;
    let path: VarPath = path.parse().map_err(Refusal::bad_request)?;
    check(seen.as_deref(), &state, Some(&node), name)?;
    if !node.by_hand.contains_key(&path) {
        return Err(Refusal::no_value(format!("{path} of {name} was not set by hand")));
    }
    submit(api, caller, vec![OperatorEvent::GoalSet { node: node.id, path: path.clone(), value: None }]).await?;
    let state = api.context.state.now();
    let node = super::nodes::known(&state, name)?;
    Ok(tagged(json(&VariableState::new(&state, &node, &path)), &node))
}
