//! Applying a description, or only showing what that would change.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::act::{read, submit};
use super::auth::Caller;
use super::describe::{describe, resolve_images};
use super::reply::{Body, Refusal, json};
use super::whatif;
use crate::engine::now;
use crate::fact::OperatorEvent;
use crate::plan::diff;
use crate::port::describe::ApplyRequest;
use crate::port::document::ApplyAnswer;
use crate::state::State;

/// Whether the changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// They are only shown.
    Show,
    /// They are made.
    Do,
}

pub(super) async fn apply(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
    intent: Intent,
) -> Result<Response<Body>, Refusal> {
    let approved = whatif::approval(&request)?;
    let request: ApplyRequest = read(request).await?;
    let images = resolve_images(&api.context.image_store, &request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let description = describe(&state, &api.context.vault, request, &images)?;
    let (changes, events) = diff(&state, &description).map_err(Refusal::invalid)?;
    check_templates(api, &state, &events).await?;
    let plan = whatif::what_if(api, &state, &events);
    whatif::check(approved.as_deref(), &plan)?;
    let applied = intent == Intent::Do && !events.is_empty();
    if applied {
        submit(api, caller, events).await?;
    }
    Ok(json(&ApplyAnswer { changes, applied, plan: Some(plan) }))
}

/// Whether every template that a node would be given can be filled in for it, as the cluster would be.
async fn check_templates(api: &Api, state: &State, events: &[OperatorEvent]) -> Result<(), Refusal> {
    let (offers, state, events) = (api.context.boot.offers.clone(), state.clone(), events.to_vec());
    let check = move || {
        let after = state.supposing(now(), &events);
        if after.targets.is_empty() {
            return Ok(());
        }
        after.nodes.values().try_for_each(|node| {
            let checked = offers.check(&after, node);
            checked.map_err(|error| Refusal::invalid(format!("node {}: {error}", node.spec.name)))
        })
    };
    tokio::task::spawn_blocking(check).await.map_err(Refusal::internal)?
}
