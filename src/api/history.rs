//! Questions about the past, answered from the journal, and how the journal does.
//!
//! The past is read on a thread that may block, and by a few at a time: each holds a whole state.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::Semaphore;

use super::ask::{self, Query};
use super::reply::{Body, Refusal, json};
use super::select::{matcher, selection};
use super::{Api, Context};
use crate::engine::now;
use crate::journal::{JournalError, JournalReader, Past};
use crate::model::{Moment, Name, NodeId, NodeSet, UnixMs};
use crate::port::document::{NodeDocument, Selection};
use crate::port::history::{DiffDocument, HealthDocument, PastNodes, PlaceDocument};
use crate::state::State;
use crate::state::compare::compare;

/// Questions about the past that are worked on at once; further ones wait.
static TRAVELLERS: Semaphore = Semaphore::const_new(2);

pub(super) fn health(api: &Api) -> Response<Body> {
    json(&HealthDocument::new(api.context.journal_health.borrow().clone()))
}

/// Nodes as they are, or with `at` as they were.
pub(super) async fn nodes(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let query = Query::of(request)?;
    let Some(moment) = query.moment("at")? else { return ask::nodes(api, request) };
    let past = travel(&api.context, moment, now()).await?;
    let nodes = ask::asked_nodes(&past.state, &query)?;
    let items = nodes.iter().map(|node| NodeDocument::new(node, past.at)).collect();
    Ok(json(&PastNodes { as_of: PlaceDocument::new(&past.state, past.at), items }))
}

/// What changed between `from` and `to`, or between `from` and now.
pub(super) async fn diff(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let query = Query::of(request)?;
    let from = query.moment("from")?.ok_or_else(|| Refusal::bad_request("'from' must say since when"))?;
    let to = query.moment("to")?.unwrap_or(Moment::Ago(0));
    let now = now();
    let (from, to) = (travel(&api.context, from, now).await?, travel(&api.context, to, now).await?);
    let ids = ids_of(&[&from.state, &to.state], &selection(&query))?;
    Ok(json(&DiffDocument {
        from: PlaceDocument::new(&from.state, from.at),
        to: PlaceDocument::new(&to.state, to.at),
        items: compare(&from.state, &to.state, ids.as_ref()),
    }))
}

/// The nodes that are selected in any of these states; nothing for all.
fn ids_of(states: &[&State], selection: &Selection) -> Result<Option<BTreeSet<NodeId>>, Refusal> {
    if *selection == Selection::default() {
        return Ok(None);
    }
    let named = selection.nodes.as_deref().map(|text| named(states, text)).transpose()?;
    // What is selected by may have come or gone in between: it must be there once.
    let (mut ids, mut refused, mut understood) = (BTreeSet::new(), None, false);
    for state in states {
        match matcher(state, selection) {
            Ok(matcher) => {
                understood = true;
                ids.extend(state.nodes.values().filter(|node| matcher.matches(node)).map(|node| node.id));
            }
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if !understood => Err(Refusal::invalid(error)),
        _ => {
            ids.retain(|id| named.as_ref().is_none_or(|named| named.contains(id)));
            Ok(Some(ids))
        }
    }
}

/// The nodes that a node set names in any of these states; each must be in one of them.
fn named(states: &[&State], text: &str) -> Result<BTreeSet<NodeId>, Refusal> {
    let set: NodeSet = text.parse().map_err(Refusal::bad_request)?;
    let mut ids = BTreeSet::new();
    let mut missing = Vec::new();
    for name in set.iter() {
        let known = name.parse::<Name>().ok();
        let found: Vec<NodeId> =
            states.iter().filter_map(|state| state.node_named(known.as_ref()?).map(|node| node.id)).collect();
        if found.is_empty() {
            missing.push(name);
        }
        ids.extend(found);
    }
    match missing.is_empty() {
        true => Ok(ids),
        false => Err(Refusal::no_such_node(&[NodeSet::fold(missing)])),
    }
}

/// Ages are counted from `now`.
async fn travel(context: &Context, moment: Moment, now: UnixMs) -> Result<Past, Refusal> {
    if moment == Moment::Ago(0) {
        let state = Arc::unwrap_or_clone(context.state.now());
        return Ok(Past { state, at: now });
    }
    let _turn = TRAVELLERS.acquire().await.map_err(Refusal::internal)?;
    let (dir, place) = (context.state_dir.clone(), moment.resolve(now));
    let read = move || JournalReader::open(&dir).and_then(|journal| journal.state_at(place));
    let past = tokio::task::spawn_blocking(read).await.map_err(Refusal::internal)?;
    past.map_err(|error| match error {
        JournalError::TooEarly { .. } | JournalError::NotYet { .. } => Refusal::not_known(error),
        error => Refusal::internal(error),
    })
}
