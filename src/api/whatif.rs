//! What a request would do, and requests that are made only when they would still do what was approved.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::act::{goal_events, read, told};
use super::ask::Query;
use super::auth::Caller;
use super::reply::{Body, Refusal, json};
use crate::engine::now;
use crate::fact::OperatorEvent;
use crate::plan::WhatIf;
use crate::port::document::{GoalsRequest, PlannedGoals};
use crate::state::State;

/// What `events` would do to `state`.
pub(super) fn what_if(api: &Api, state: &State, events: &[OperatorEvent]) -> WhatIf {
    let after = state.supposing(now(), events);
    crate::plan::what_if(state, &after, events, &api.context.graph, &api.context.policy)
}

/// The plan that the request approves, where it approves one (`?approve=ID`).
pub(super) fn approval<B>(request: &Request<B>) -> Result<Option<String>, Refusal> {
    Ok(Query::of(request)?.get("approve").map(str::to_owned))
}

/// Refuses what would not do what was approved.
pub(super) fn check(approved: Option<&str>, plan: &WhatIf) -> Result<(), Refusal> {
    match approved {
        Some(id) if id != plan.id => Err(Refusal::plan_moved(format!(
            "plan {id} was approved, and what would be done by now is plan {}: the request, the nodes or what they would have to do have changed; nothing was done. Look at it again with 'bootes plan', then approve {}",
            plan.id, plan.id
        ))),
        _ => Ok(()),
    }
}

/// What setting goals by hand would do.
pub(super) async fn goals(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let request: GoalsRequest = read(request).await?;
    let state = api.context.state.now();
    let (nodes, goals, events) = goal_events(api, &state, request)?;
    caller.check(super::routes::Permission::Operate, nodes.iter().map(|node| node.spec.name.as_str()))?;
    Ok(json(&PlannedGoals { plan: what_if(api, &state, &events), goals: told(&goals) }))
}
