//! Requests that change something about nodes: goals, power, release. Answered when they are durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use serde::de::DeserializeOwned;

use super::Api;
use super::auth::Caller;
use super::describe::{check_boot, take};
use super::nodes::stale;
use super::reply::{Body, Refusal, json};
use super::routes::Permission;
use super::select::{Unselected, selected};
use super::whatif;
use crate::engine::now;
use crate::fact::{Fact, OperatorEvent, OperatorFact};
use crate::model::limits::API_BODY_BYTES_MAX;
use crate::model::{FactSeq, Given, Name, NodeId, NodeSet, Value, VarPath};
use crate::plan::goal_warnings;
use crate::port::control::held;
use crate::port::document::{Accepted, GoalsRequest, Items, NodesRequest, PowerDocument, PowerRequest, PowerVerb};
use crate::state::{Node, State};

/// Reads a request's body as a document.
pub(super) async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !matches!(kind.split(';').next().map(str::trim), Some("application/json" | "application/merge-patch+json")) {
        return Err(Refusal::not_json());
    }
    let collected = Limited::new(request.into_body(), API_BODY_BYTES_MAX).collect().await;
    let bytes = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Refusal::too_large(API_BODY_BYTES_MAX),
        None => Refusal::bad_request(error),
    })?;
    serde_json::from_slice(&bytes.to_bytes()).map_err(Refusal::bad_request)
}

/// Journals what was asked, all of it or nothing.
///
/// Every change comes through here, so here is looked whether it is about nodes that the caller may change: what a
/// handler forgets to ask is not done all the same.
pub(super) async fn submit(api: &Api, caller: &Caller, events: Vec<OperatorEvent>) -> Result<FactSeq, Refusal> {
    if caller.scope.is_some() {
        let state = api.context.state.now();
        let named = |event: &OperatorEvent| state.node(event.node()?).map(|node| node.spec.name.clone());
        let Some(names) = events.iter().map(named).collect::<Option<Vec<_>>>() else {
            return caller.check_all().and(Err(Refusal::internal("a change without a node")));
        };
        caller.check(Permission::Operate, names.iter().map(Name::as_str))?;
    }
    let by = Some(caller.name.clone());
    let facts = events.into_iter().map(|event| Fact::Operator(OperatorFact { event, by: by.clone() })).collect();
    Ok(api.context.facts.submit(facts).await?)
}

/// Journals what was asked of nodes, and says whom something holds back from it.
async fn ask_of(
    api: &Api,
    caller: &Caller,
    nodes: &[Arc<Node>],
    events: Vec<OperatorEvent>,
    goals: Goals,
) -> Result<Response<Body>, Refusal> {
    let seq = submit(api, caller, events).await?;
    let state = api.context.state.now();
    let after: Vec<Arc<Node>> = nodes.iter().filter_map(|node| state.node(node.id).cloned()).collect();
    let held = held(&state, &after, &api.context.graph, &api.context.policy, now());
    let names = NodeSet::fold(nodes.iter().map(|node| node.spec.name.as_str()));
    let warnings = goal_warnings(after.iter().map(Arc::as_ref), &api.context.graph.with_modules(&state));
    Ok(json(&Accepted { nodes: names, count: nodes.len(), seq, goals: told(&goals), held, warnings }))
}

async fn for_each(
    api: &Api,
    caller: &Caller,
    nodes: &[Arc<Node>],
    event: impl Fn(NodeId) -> Vec<OperatorEvent>,
) -> Result<Response<Body>, Refusal> {
    let events = nodes.iter().flat_map(|node| event(node.id)).collect();
    ask_of(api, caller, nodes, events, Goals::new()).await
}

/// Refuses to ask for an image that a node does not have.
pub(super) fn check_image<'a>(path: &VarPath, nodes: impl IntoIterator<Item = &'a Arc<Node>>) -> Result<(), Refusal> {
    let Some((image, "state")) = path.as_image() else { return Ok(()) };
    let digest = VarPath::image_digest(&image);
    match nodes.into_iter().find(|node| !node.desired.contains_key(&digest)) {
        None => Ok(()),
        Some(node) => Err(Refusal::invalid(format!(
            "{} has no image '{image}' in its cake; correct the name or the cake",
            node.spec.name
        ))),
    }
}

pub(super) async fn goals(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let approved = whatif::approval(&request)?;
    let request: GoalsRequest = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let if_revision = request.if_revision;
    let (nodes, goals, events) = goal_events(api, &state, request)?;
    if let Some(node) = nodes.iter().find(|node| if_revision.is_some_and(|seen| seen != node.revision)) {
        return Err(stale(&state, node));
    }
    if approved.is_some() {
        whatif::check(approved.as_deref(), &whatif::what_if(api, &state, &events))?;
    }
    ask_of(api, caller, &nodes, events, goals).await
}

/// Values by hand, by variable; nothing takes one back.
pub(super) type Goals = BTreeMap<VarPath, Option<Value>>;

/// Values as they are told to whoever asked for them: a secret is not.
pub(super) fn told(goals: &Goals) -> BTreeMap<VarPath, Option<Given>> {
    goals.iter().map(|(path, value)| (path.clone(), value.as_ref().map(Given::from))).collect()
}

/// The nodes that a request sets goals of, the goals, and what it asks.
type Asked = (Vec<Arc<Node>>, Goals, Vec<OperatorEvent>);

/// What a request for goals asks of whom.
pub(super) fn goal_events(api: &Api, state: &State, request: GoalsRequest) -> Result<Asked, Refusal> {
    let GoalsRequest { nodes, goals, even_if_busy, .. } = request;
    if goals.is_empty() {
        return Err(Refusal::invalid("no goal is given; write for instance power=off"));
    }
    let mut parsed = Goals::new();
    for (path, value) in goals {
        let path: VarPath = path.parse().map_err(Refusal::invalid)?;
        let take = |given| take(&api.context.vault, &state.schema, &path, &given, None);
        let value = value.map(take).transpose()?;
        check_boot(state, &path, value.as_ref())?;
        parsed.insert(path, value);
    }
    let found = selected(state, &nodes, Unselected::Refused)?;
    for (path, _) in parsed.iter().filter(|(_, value)| value.is_some()) {
        check_image(path, &found)?;
    }
    let of_node = |node| {
        let set = move |(path, value): (&VarPath, &Option<Value>)| OperatorEvent::GoalSet {
            node,
            path: path.clone(),
            value: value.clone(),
        };
        parsed.iter().map(set).chain(even_if_busy.then_some(OperatorEvent::DisturbanceAllowed { node }))
    };
    let events = found.iter().flat_map(|node| of_node(node.id)).collect();
    Ok((found, parsed, events))
}

pub(super) async fn power(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let PowerRequest { nodes, power, even_if_busy } = read(request).await?;
    let _alone = api.alone().await;
    let found = selected(&api.context.state.now(), &nodes, Unselected::Refused)?;
    if power != PowerVerb::On {
        let by_hand = found.iter().filter(|node| node.spec.bmc.is_none()).map(|node| node.spec.name.as_str());
        let by_hand = NodeSet::fold(by_hand);
        if !by_hand.is_empty() {
            let detail = format!("{by_hand} cannot be powered off: there is no BMC in the description");
            return Err(Refusal::invalid(detail));
        }
    }
    let event = |node| {
        let asked = match power {
            PowerVerb::Cycle => OperatorEvent::CycleAsked { node },
            PowerVerb::On | PowerVerb::Off => {
                let value = Value::symbol(if power == PowerVerb::On { "on" } else { "off" });
                OperatorEvent::GoalSet { node, path: VarPath::power(), value: Some(value) }
            }
        };
        // A wish takes an earlier leave back, so the leave for this one comes after it.
        std::iter::once(asked).chain(even_if_busy.then_some(OperatorEvent::DisturbanceAllowed { node })).collect()
    };
    for_each(api, caller, &found, event).await
}

pub(super) async fn release(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let NodesRequest { nodes } = read(request).await?;
    let _alone = api.alone().await;
    let found = selected(&api.context.state.now(), &nodes, Unselected::Refused)?;
    for_each(api, caller, &found, |node| vec![OperatorEvent::Released { node }]).await
}

/// Asks all BMCs at once; the broker bounds how many are spoken to.
pub(super) async fn power_status(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let NodesRequest { nodes } = read(request).await?;
    let found = selected(&api.context.state.now(), &nodes, Unselected::Refused)?;
    caller.check(Permission::Operate, found.iter().map(|node| node.spec.name.as_str()))?;
    let ask = |node: &Arc<Node>| {
        let (power, name, id) = (api.context.power.clone(), node.spec.name.clone(), node.id);
        async move {
            match power.probe(id).await {
                Ok(power) => PowerDocument { name, power: Some(power), problem: None },
                Err(problem) => PowerDocument { name, power: None, problem: Some(problem) },
            }
        }
    };
    let items = futures_util::future::join_all(found.iter().map(ask)).await;
    Ok(json(&Items { items }))
}
