//! Applying a description, or only showing what that would change.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::act::{read, submit};
use super::auth::Caller;
use super::describe::{describe, resolve_images};
use super::reply::{Body, Refusal, json};
use super::whatif;
use crate::plan::diff;
use crate::port::describe::ApplyRequest;
use crate::port::document::ApplyAnswer;

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
    let plan = whatif::what_if(api, &state, &events);
    whatif::check(approved.as_deref(), &plan)?;
    let applied = intent == Intent::Do && !events.is_empty();
    if applied {
        submit(api, caller, events).await?;
    }
    Ok(json(&ApplyAnswer { changes, applied, plan: Some(plan) }))
}
