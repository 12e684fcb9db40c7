//! Events as they happen: one JSON document a line, first what is in the journal, then what comes.
//!
//! The journal is the truth and the feed only says that there is more: a follower that falls behind is served from
//! the journal again, so it never misses a fact.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::ask::{Query, event_filter, read_journal};
use super::reply::{Body, Refusal, respond};
use crate::fact::{Fact, Stamped};
use crate::journal::{Filter, Keep};
use crate::model::FactSeq;
use crate::port::document::EventDocument;

/// An empty line is sent after this much silence, so that both ends see a connection that has died.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Facts read from the journal at once when a follower fell behind.
const CATCH_UP_MAX: usize = 10_000;

struct Follower {
    api: Arc<Api>,
    filter: Filter,
    feed: broadcast::Receiver<Arc<Stamped<Fact>>>,
    ready: Vec<Stamped<Fact>>,
    last: FactSeq,
    behind: bool,
}

pub(super) async fn follow(api: &Arc<Api>, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    // Subscribed before the journal is read: what comes in between is in both, and told once.
    let feed = api.context.feed.0.subscribe();
    let filter = event_filter(&api.context.state.now(), &Query::of(request)?)?;
    // Before the journal is read: what is journaled meanwhile is in the feed.
    let known = api.context.state.now().seq;
    let mut ready = match filter.limit {
        0 => Vec::new(),
        _ => read_journal(&api.context, filter.clone()).await?,
    };
    let resumed = filter.keep == Keep::Oldest;
    let last = ready.last().map_or(if resumed { filter.after } else { known }, |stamped| stamped.seq).max(filter.after);
    let limit = filter.limit;
    ready.reverse();
    let follower = Follower { api: api.clone(), filter, feed, behind: resumed && ready.len() >= limit, ready, last };
    let lines = stream::unfold(follower, |mut follower| async move {
        let line = follower.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Frame::data(line)), follower))
    });
    Ok(respond(StatusCode::OK, "application/x-ndjson", BodyExt::boxed(StreamBody::new(lines))))
}

impl Follower {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(stamped) = self.ready.pop() {
                self.last = self.last.max(stamped.seq);
                let document = EventDocument::new(&self.api.context.state.now(), &stamped);
                let mut line = serde_json::to_vec(&document).ok()?;
                line.push(b'\n');
                return Some(line.into());
            }
            let received = tokio::select! {
                () = self.api.shutdown.cancelled() => return None,
                received = tokio::time::timeout(HEARTBEAT, self.feed.recv()) => received,
            };
            match received {
                Err(_) => return Some(Bytes::from_static(b"\n")),
                // The journal may hold more between the last fact that was told and this one.
                Ok(Ok(stamped)) if self.behind && stamped.seq > self.last => self.catch_up().await?,
                Ok(Ok(stamped)) if stamped.seq > self.last && self.filter.passes(&stamped) => {
                    self.ready.push((*stamped).clone());
                }
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(_))) => {
                    self.behind = true;
                    self.catch_up().await?;
                }
                Ok(Err(RecvError::Closed)) => return None,
            }
        }
    }

    async fn catch_up(&mut self) -> Option<()> {
        let filter = Filter { after: self.last, limit: CATCH_UP_MAX, keep: Keep::Oldest, ..self.filter.clone() };
        self.ready = read_journal(&self.api.context, filter).await.ok()?;
        self.behind = self.ready.len() >= CATCH_UP_MAX;
        self.ready.reverse();
        Some(())
    }
}
