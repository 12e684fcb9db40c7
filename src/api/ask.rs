//! Questions: nodes, why, timelines, events, unknown machines. All are answered from a snapshot or the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::reply::{Body, Refusal, json};
use super::select::{Unselected, nodes_that_were, selected, selection};
use super::{Api, Context};
use crate::engine::now;
use crate::fact::{Fact, Stamped};
use crate::journal::{Filter, JournalError, JournalReader, Keep};
use crate::model::{FactSeq, Moment, Name, NodeId, Place, UnixMs};
use crate::plan::{Planner, why as explain};
use crate::port::document::{EventDocument, Items, NodeDocument, Selection, VersionDocument};
use crate::port::health::JournalHealth;
use crate::port::many::{Part, TimelinesDocument, WhyDocument};
use crate::state::{Node, State};

/// Events in one answer, when the request does not say.
const EVENTS_DEFAULT: usize = 200;
/// Events in one answer at most.
const EVENTS_MAX: usize = 100_000;

pub(super) fn version() -> Response<Body> {
    json(&VersionDocument { version: env!("CARGO_PKG_VERSION").to_owned() })
}

pub(super) fn nodes(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let now = now();
    let nodes = asked_nodes(&state, &Query::of(request)?)?;
    let items = nodes.iter().map(|node| NodeDocument::new(node, now)).collect();
    Ok(json(&Items { items }))
}

pub(super) fn why(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let mut planner = Planner::new(api.context.graph.with_modules(&state));
    let query = Query::of(request)?;
    let nodes = asked_nodes(&state, &query)?;
    let now = now();
    let reports =
        nodes.iter().map(|node| explain(node, &state.control, &mut planner, &api.context.policy, now)).collect();
    Ok(json(&WhyDocument::new(reports, query.part()?)))
}

pub(super) fn timeline(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let query = Query::of(request)?;
    Ok(json(&TimelinesDocument::new(&asked_nodes(&state, &query)?, query.part()?)))
}

pub(super) async fn events(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let filter = event_filter(&state, &api.context.journal_health.borrow(), &Query::of(request)?)?;
    let found = read_journal(&api.context, filter).await?;
    let items = found.iter().map(|stamped| EventDocument::new(&state, stamped)).collect();
    Ok(json(&Items { items }))
}

/// Kinds of facts, each of which there must be: a misspelt one is not taken for one of which nothing happened.
pub(super) fn kinds<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Refusal> {
    let known = |kind: &str| match Fact::KINDS.contains(&kind) {
        true => Ok(kind.to_owned()),
        false => Err(Refusal::bad_request(format!("'{kind}' is no kind of fact: use {}", Fact::KINDS.join(", ")))),
    };
    let once: BTreeSet<String> = words.map(known).collect::<Result<_, _>>()?;
    Ok(once.into_iter().collect())
}

/// Reads the journal on a thread that may block.
pub(super) async fn read_journal(context: &Context, filter: Filter) -> Result<Vec<Stamped<Fact>>, Refusal> {
    let dir = context.state_dir.clone();
    let read = move || JournalReader::open(&dir).and_then(|journal| journal.read(&filter));
    tokio::task::spawn_blocking(read).await.map_err(Refusal::internal)?.map_err(Refusal::internal)
}

/// Which events a request asks for.
pub(super) fn event_filter(state: &State, health: &JournalHealth, query: &Query) -> Result<Filter, Refusal> {
    let nodes: Vec<NodeId> = match selection(query) {
        nothing if nothing == Selection::default() => Vec::new(),
        Selection { nodes: Some(named), pool: None, labels: None, wheres } if wheres.is_empty() => {
            nodes_that_were(state, &named)?
        }
        // Nodes that are selected and are none must not become all of them.
        some => selected(state, &some, Unselected::Refused)?.iter().map(|node| node.id).collect(),
    };
    let mut after = FactSeq(query.number("after")?.unwrap_or(0));
    let mut since = UnixMs(query.number("since_ms")?.unwrap_or(0));
    match query.moment("since")?.map(|moment| moment.resolve(now())) {
        Some(Place::At(at)) => since = since.max(at),
        Some(Place::Seq(seq)) => {
            kept(health, seq)?;
            after = after.max(FactSeq(seq.0.saturating_sub(1)));
        }
        None => {}
    }
    let (until, last) = match query.moment("until")?.map(|moment| moment.resolve(now())) {
        Some(Place::At(at)) => (Some(at), None),
        Some(Place::Seq(seq)) => {
            kept(health, seq)?;
            (None, Some(seq))
        }
        None => (None, None),
    };
    Ok(Filter {
        nodes,
        kinds: kinds(query.all("kind").flat_map(|kinds| kinds.split(',')))?,
        after,
        keep: if query.get("after").is_some() { Keep::Oldest } else { Keep::Newest },
        since,
        until,
        last,
        limit: query
            .number("limit")?
            .map_or(EVENTS_DEFAULT, |n| usize::try_from(n).unwrap_or(EVENTS_MAX).min(EVENTS_MAX)),
    })
}

/// Refuses a fact by number that was pruned, as a question about the state then is refused.
fn kept(health: &JournalHealth, seq: FactSeq) -> Result<(), Refusal> {
    match health.known_from {
        Some(at) if seq > FactSeq(0) && seq <= health.known_from_seq => {
            let (place, seq) = (Place::Seq(seq), health.known_from_seq.0);
            Err(Refusal::not_known(JournalError::TooEarly { place, seq, at }))
        }
        _ => Ok(()),
    }
}

/// A request's query, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let mut words = Vec::new();
        let query = request.uri().query().unwrap_or_default();
        for word in query.split('&').filter(|w| !w.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            words.push((decode(key)?, decode(value)?));
        }
        Ok(Query(words))
    }

    /// The names that are in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).last()
    }

    /// Every value of a key that may be given several times.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn part(&self) -> Result<Part, Refusal> {
        self.get("only").map_or(Ok(Part::Both), |text| text.parse().map_err(Refusal::bad_request))
    }

    pub(super) fn moment(&self, key: &str) -> Result<Option<Moment>, Refusal> {
        self.get(key).map(|text| text.parse().map_err(Refusal::bad_request)).transpose()
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let wrong = |text: &str| Refusal::bad_request(format!("'{text}' is not a number, which '{key}' must be"));
        self.get(key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }
}

/// Percent-decoding (RFC 3986, section 2.1), with `+` for a space.
pub(super) fn decode(text: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::bad_request(format!("'{text}' is not percent-encoded text"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2).ok_or_else(wrong)?;
                let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
                rest = behind;
            }
            plain => bytes.push(*plain),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

pub(super) fn asked_nodes(state: &State, query: &Query) -> Result<Vec<Arc<Node>>, Refusal> {
    selected(state, &selection(query), Unselected::All)
}

/// The node of this name or id.
pub(super) fn find(state: &State, name: &str) -> Option<Arc<Node>> {
    let by_name = name.parse::<Name>().ok().and_then(|name| state.node_named(&name));
    by_name.or_else(|| state.node(name.parse::<NodeId>().ok()?)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_by_number_that_was_pruned_is_refused_and_no_other() {
        let state = State::default();
        let pruned =
            JournalHealth { known_from_seq: FactSeq(900), known_from: Some(UnixMs(5)), ..JournalHealth::default() };
        let asked = |health: &JournalHealth, key: &str, value: &str| {
            event_filter(&state, health, &Query(vec![(key.to_owned(), value.to_owned())])).map(|_| ())
        };
        for key in ["since", "until"] {
            for gone in ["seq:1", "seq:900"] {
                let refusal = asked(&pruned, key, gone).unwrap_err();
                let detail = refusal.problem().detail;
                assert!(refusal.kind == "not-known" && detail.contains("goes back to fact 900"), "{detail}");
                assert_eq!(asked(&JournalHealth::default(), key, gone), Ok(()));
            }
            for kept in ["seq:901", "seq:0", "90d", "now"] {
                assert_eq!(asked(&pruned, key, kept), Ok(()), "{key}={kept}");
            }
        }
        assert_eq!(asked(&pruned, "after", "1"), Ok(()), "whoever goes on from there was told so far");
    }
}
