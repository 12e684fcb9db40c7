//! A stream as server-sent events (the HTML standard, section 9.2): what `EventSource` and `curl -N` read.
//!
//! Every event carries the place up to which everything was told as its id, so a client that comes back with
//! `Last-Event-ID` misses nothing.
//! Invariants: a client that takes nothing for [`API_STALL_S`] loses its connection; of what it did not take a handful
//! of events is kept until then.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::mpsc;

use super::Api;
use super::ask::Query;
use super::follow::Watch;
use super::media::Form;
use super::reply::{Body, Refusal, respond, written};
use super::select::selection;
use crate::model::limits::{API_STALL_S, API_STREAMS_MAX};
use crate::port::stream::{Cursor, StreamEvent, StreamQuery};

/// Events that wait for a client to take them.
const WAITING_MAX: usize = 16;
/// What a browser waits before it comes back, in milliseconds.
const RETRY_MS: u64 = 1_000;

pub(super) async fn stream(api: &Arc<Api>, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let query = asked(request)?;
    let place = api.streams.clone().try_acquire_owned().map_err(|_| Refusal::too_many_streams(API_STREAMS_MAX))?;
    let mut watch = Watch::begin(api.clone(), &query).await?;
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
    tokio::spawn(async move {
        let _place = place;
        let mut text = Some(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
        while let Some(event) = text {
            let taken = tokio::time::timeout(Duration::from_secs(API_STALL_S), sender.send(event));
            match taken.await {
                Ok(Ok(())) => {}
                // The client is gone, or might as well be.
                Ok(Err(_)) | Err(_) => return,
            }
            let next = tokio::select! {
                next = watch.next() => next,
                () = sender.closed() => return,
            };
            text = next.and_then(|(cursor, event)| told(cursor, &event));
        }
    });
    let frames = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(event)), receiver))
    });
    let mut response = respond(StatusCode::OK, Form::Events.media_type(), BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One event, as it is sent. JSON has no line breaks of its own, so its data is one line.
fn told(cursor: Cursor, event: &StreamEvent) -> Option<Bytes> {
    let data = match event {
        StreamEvent::Fact(fact) => written(fact),
        StreamEvent::Node(node) => written(node),
        StreamEvent::Behind(behind) => written(behind),
        StreamEvent::Lost(lost) => written(lost),
        StreamEvent::Heartbeat(heartbeat) => written(heartbeat),
    };
    let data = String::from_utf8(data.ok()?).ok()?;
    Some(Bytes::from(format!("event: {}\nid: {cursor}\ndata: {data}\n\n", event.name())))
}

/// What the query and `Last-Event-ID` ask for; the header is of a client that comes back, so it stands before `after`.
fn asked(request: &Request<Incoming>) -> Result<StreamQuery, Refusal> {
    let query = Query::of(request)?;
    let words = |key: &str| -> Vec<String> {
        let words = query.get(key).unwrap_or_default().split(',').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let types: Result<Vec<_>, String> = words("types").iter().map(|word| word.parse()).collect();
    let last = request.headers().get("last-event-id").map(|value| value.to_str().map_err(Refusal::bad_request));
    let after = last.transpose()?.filter(|id| !id.is_empty()).or(query.get("after"));
    Ok(StreamQuery {
        types: types.map_err(Refusal::bad_request)?,
        nodes: selection(&query),
        kinds: words("kind"),
        after: after.map(str::parse).transpose().map_err(Refusal::bad_request)?,
        heartbeat_s: query.number("heartbeat_s")?,
    })
}
