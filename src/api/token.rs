//! Tokens: made, listed, revoked; who is asking, and with which certificate it is answered.

use hyper::body::Incoming;
use hyper::{Request, Response};
use ring::rand::{SecureRandom, SystemRandom};

use super::Api;
use super::act::{read, submit};
use super::ask::decode;
use super::auth::Caller;
use super::reply::{Body, Refusal, json};
use crate::engine::now;
use crate::fact::OperatorEvent;
use crate::model::limits::{NODES_MAX, TOKENS_MAX};
use crate::model::{Digest, Name, Role, TokenSpec, UnixMs};
use crate::port::access::{CallerDocument, CreatedToken, TokenDocument, TokenRequest};
use crate::port::document::Items;
use crate::state::Token;

/// What every token begins with, so that it is recognised where it should not be.
const PREFIX: &str = "bootes_";
const TOKEN_BYTES: usize = 32;
/// Seconds that a token may be valid: ten years.
const VALID_S_MAX: u64 = 10 * 365 * 86_400;

fn document(api: &Api, token: &Token, now: UnixMs) -> TokenDocument {
    let spec = &token.spec;
    let last_used = api.auth.last_use(spec.digest);
    TokenDocument {
        name: spec.name.clone(),
        role: spec.role,
        nodes: spec.nodes.clone(),
        created_at: token.created_at.to_string(),
        expires_at: spec.expires_at.map(|at| at.to_string()),
        expired: spec.is_expired(now),
        last_used: last_used.map(|at| at.to_string()),
        last_used_ms: last_used,
    }
}

pub(super) fn list(api: &Api) -> Response<Body> {
    let (state, now) = (api.context.state.now(), now());
    let mut items: Vec<TokenDocument> = state.tokens.values().map(|token| document(api, token, now)).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    json(&Items { items })
}

pub(super) async fn create(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let TokenRequest { name, role, nodes, expires_s } = read(request).await?;
    if nodes.is_some() && role != Role::Operator {
        return Err(Refusal::invalid(format!(
            "a token with the role {role} cannot be limited to nodes: a viewer changes none, and an admin changes more than nodes; use the role operator, or leave the nodes away"
        )));
    }
    if nodes.as_ref().is_some_and(|nodes| nodes.len() > NODES_MAX) {
        return Err(Refusal::invalid(format!("a token can be limited to at most {NODES_MAX} nodes; name fewer")));
    }
    if expires_s.is_some_and(|seconds| seconds == 0 || seconds > VALID_S_MAX) {
        return Err(Refusal::invalid("a token can be valid for 1 second to 10 years, or without an end"));
    }
    let text = make()?;
    let digest = Digest::of(text.as_bytes());
    let expires_at = expires_s.map(|seconds| now().plus(seconds.saturating_mul(1_000)));
    let token = TokenSpec { name: name.clone(), role, nodes, expires_at, digest };
    // The semaphore is never closed. Two of one name must not both find that there is none.
    let alone = api.applying.acquire().await;
    let state = api.context.state.now();
    if state.token_named(&name).is_some() {
        return Err(Refusal::conflict(format!(
            "there is a token {name} already; choose another name, or revoke that one first: bootes token revoke {name}"
        )));
    }
    if state.tokens.len() >= TOKENS_MAX {
        return Err(Refusal::conflict(format!("there are {TOKENS_MAX} tokens already; revoke one that nobody uses")));
    }
    submit(api, caller, vec![OperatorEvent::TokenCreated { token }]).await?;
    drop(alone);
    let state = api.context.state.now();
    let gone = || Refusal::conflict(format!("the token {name} was revoked as soon as it was made"));
    let about = document(api, state.tokens.get(&digest).ok_or_else(gone)?, now());
    Ok(json(&CreatedToken { token: text, about }))
}

fn make() -> Result<String, Refusal> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Refusal::internal("the operating system gave no randomness; try again"))?;
    Ok(format!("{PREFIX}{}", Digest::from_bytes(bytes).hex()))
}

pub(super) async fn revoke(api: &Api, caller: &Caller, name: &str) -> Result<Response<Body>, Refusal> {
    let name: Name = decode(name)?.parse().map_err(Refusal::bad_request)?;
    let _alone = api.applying.acquire().await;
    let state = api.context.state.now();
    let token = state.token_named(&name).ok_or_else(|| Refusal::no_such_token(&name))?;
    let about = document(api, token, now());
    submit(api, caller, vec![OperatorEvent::TokenRevoked { name }]).await?;
    api.auth.forget(token.spec.digest);
    Ok(json(&about))
}

pub(super) fn whoami(caller: &Caller) -> Response<Body> {
    json(&CallerDocument {
        name: caller.name.clone(),
        role: caller.role,
        nodes: caller.scope.clone(),
        expires_at: caller.expires_at.map(|at| at.to_string()),
    })
}
