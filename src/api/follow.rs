//! What a stream tells, one event after the other: facts from the journal and then from the feed, and nodes as they
//! change.
//!
//! The journal is the truth and the feed only says that there is more: whoever falls behind is served from the journal
//! again. Nodes are compared with what was told of them before, so of many changes in a row a slow client gets the last.
//! Nothing is made before it is asked for, so a client that takes nothing costs one batch of facts at most.
//!
//! Invariants: the cursor that goes with an event says exactly up to where everything was told.
//! Absent on purpose: how events are written (see `sse` and `socket_stream`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::Api;
use super::ask::{kinds, read_journal};
use super::reply::Refusal;
use super::select::{Unselected, matcher, selected};
use crate::engine::now;
use crate::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use crate::journal::{Filter, Keep};
use crate::model::limits::{API_CATCH_UP_MAX, API_NODES_CATCH_UP_MAX};
use crate::model::{FactSeq, Name, NodeId, NodeSet, UnixMs};
use crate::plan::select::Matcher;
use crate::port::document::{EventDocument, NodeDocument, Selection};
use crate::port::stream::{Behind, Cursor, Heartbeat, Lost, NodeChange, StreamEvent, StreamQuery, StreamType};
use crate::state::{Node, State};

/// After so much silence there is a heartbeat, when the client does not say.
const HEARTBEAT_S: u64 = 15;
/// The longest and the shortest silence that a client may ask for.
const HEARTBEAT_S_MAX: u64 = 300;

/// What is asked for, checked.
#[derive(Debug)]
struct Want {
    types: BTreeSet<StreamType>,
    nodes: Option<Chosen>,
    kinds: BTreeSet<String>,
    heartbeat: Duration,
}

/// Some nodes: by what they are like, and by name, so that one that comes back under its name is among them.
#[derive(Debug)]
struct Chosen {
    matcher: Matcher,
    names: Option<BTreeSet<String>>,
    /// The ids of those that there were, for what is told of them when they are gone.
    ids: BTreeSet<NodeId>,
}

impl Want {
    fn new(query: &StreamQuery, state: &State) -> Result<Self, Refusal> {
        let nodes = match &query.nodes {
            all if *all == Selection::default() => None,
            selection => {
                let ids = selected(state, selection, Unselected::All)?.iter().map(|node| node.id).collect();
                let set: Option<NodeSet> =
                    selection.nodes.as_ref().map(|text| text.parse()).transpose().map_err(Refusal::bad_request)?;
                let names = set.map(|set| set.iter().map(str::to_owned).collect());
                let matcher = matcher(state, selection).map_err(Refusal::invalid)?;
                Some(Chosen { matcher, names, ids })
            }
        };
        let kinds = kinds(query.kinds.iter().map(String::as_str))?.into_iter().collect();
        let heartbeat_s = query.heartbeat_s.unwrap_or(HEARTBEAT_S);
        if !(1..=HEARTBEAT_S_MAX).contains(&heartbeat_s) {
            return Err(Refusal::bad_request(format!("a heartbeat comes after 1 to {HEARTBEAT_S_MAX} s of silence")));
        }
        let types = match query.types.is_empty() {
            true => BTreeSet::from([StreamType::Fact, StreamType::Node]),
            false => query.types.iter().copied().collect(),
        };
        Ok(Want { types, nodes, kinds, heartbeat: Duration::from_secs(heartbeat_s) })
    }

    /// The ids that nodes chosen by name have or had; none where that says too little.
    fn ids(&self, state: &State) -> Vec<NodeId> {
        let Some(Chosen { names: Some(names), ids, .. }) = &self.nodes else { return Vec::new() };
        let named = names.iter().filter_map(|name| state.by_name.get(&name.parse::<Name>().ok()?).copied());
        ids.iter().copied().chain(named).collect::<BTreeSet<NodeId>>().into_iter().collect()
    }

    fn node(&self, node: &Node) -> bool {
        let of = |chosen: &Chosen| {
            let named = chosen.names.as_ref().is_none_or(|names| names.contains(node.spec.name.as_str()));
            named && chosen.matcher.matches(node)
        };
        self.nodes.as_ref().is_none_or(of)
    }

    fn fact(&self, fact: &Fact, state: &State) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(fact.kind());
        let of = |chosen: &Chosen| {
            fact.node().is_some_and(|id| match state.node(id) {
                Some(node) => self.node(node),
                None => chosen.ids.contains(&id),
            })
        };
        kind && self.nodes.as_ref().is_none_or(of)
    }
}

/// A node that is to be told.
#[derive(Debug)]
struct Due {
    id: NodeId,
    name: Option<Name>,
}

/// What one client of a stream is told.
#[derive(Debug)]
pub(super) struct Watch {
    api: Arc<Api>,
    want: Want,
    feed: broadcast::Receiver<Arc<Stamped<Fact>>>,
    states: watch::Receiver<Arc<State>>,
    cursor: Cursor,
    /// Facts from the journal, and up to where they and what was left out of them reach.
    ready: VecDeque<Stamped<Fact>>,
    ready_to: FactSeq,
    behind: bool,
    /// What is to be told before everything else.
    first: Option<StreamEvent>,
    /// The nodes as they were told, or are being told: those that are still due.
    told: Arc<State>,
    due: VecDeque<Due>,
}

impl Watch {
    /// Begins where `query` says.
    ///
    /// # Errors
    /// When it asks for nodes, kinds or a place that there are not.
    pub(super) async fn begin(api: Arc<Api>, query: &StreamQuery) -> Result<Self, Refusal> {
        // Subscribed before the state is read: what comes in between is in both, and told once.
        let feed = api.context.feed.0.subscribe();
        let mut states = api.context.state.0.clone();
        let state = states.borrow_and_update().clone();
        let want = Want::new(query, &state)?;
        let last = state.seq;
        let after = query.after.unwrap_or(Cursor { fact: last, node: None });
        if after.fact.max(after.node.unwrap_or(FactSeq(0))) > last {
            return Err(Refusal::bad_request(format!(
                "the stream has not come to {after} yet, its last fact is {}; begin without a place",
                last.0
            )));
        }
        let mut watch = Watch {
            want,
            feed,
            states,
            cursor: after,
            ready: VecDeque::new(),
            ready_to: after.fact,
            behind: after.fact < last,
            first: None,
            told: state.clone(),
            due: VecDeque::new(),
            api,
        };
        if watch.behind && watch.wants(StreamType::Fact) {
            watch.first = watch.lost().await?;
        }
        if watch.wants(StreamType::Node) {
            watch.due = watch.nodes_since(&state, after.node).await?;
            watch.settle_nodes();
        }
        Ok(watch)
    }

    fn wants(&self, of: StreamType) -> bool {
        self.want.types.contains(&of)
    }

    /// What the journal no longer has of what the client asks for.
    async fn lost(&self) -> Result<Option<StreamEvent>, Refusal> {
        let oldest = Filter { limit: 1, keep: Keep::Oldest, ..Filter::default() };
        let found = read_journal(&self.api.context, oldest).await?;
        let wanted = FactSeq(self.cursor.fact.0.saturating_add(1));
        let oldest = found.first().map_or(FactSeq(0), |stamped| stamped.seq);
        let last = FactSeq(oldest.0.saturating_sub(1));
        Ok((oldest > wanted).then_some(StreamEvent::Lost(Lost { first: wanted, last })))
    }

    /// The nodes that may have changed since; all of them when that cannot be told.
    async fn nodes_since(&self, state: &State, since: Option<FactSeq>) -> Result<VecDeque<Due>, Refusal> {
        let all = || {
            let wanted = state.nodes.values().filter(|node| self.want.node(node));
            wanted.map(|node| Due { id: node.id, name: Some(node.spec.name.clone()) }).collect()
        };
        let Some(since) = since else { return Ok(all()) };
        let filter = Filter { after: since, limit: API_NODES_CATCH_UP_MAX, keep: Keep::Oldest, ..Filter::default() };
        let facts = read_journal(&self.api.context, filter).await?;
        let whole =
            facts.first().is_none_or(|first| first.seq.0 == since.0 + 1) && facts.len() < API_NODES_CATCH_UP_MAX;
        let about_all = |fact: &Fact| match fact {
            Fact::Malformed(_) | Fact::Dhcp(_) | Fact::Dhcp6(_) | Fact::File(_) | Fact::Agent(_) => false,
            fact => fact.node().is_none(),
        };
        let removed = |stamped: &Stamped<Fact>| match &stamped.fact {
            Fact::Operator(OperatorFact { event: OperatorEvent::NodeRemoved { node, name }, .. }) => {
                Some((*node, name.clone()))
            }
            _ => None,
        };
        // What is about no node, such as a cake or a restart, may be about all of them; and who is gone must be told.
        if !whole || facts.iter().any(|stamped| about_all(&stamped.fact)) {
            let gone = facts.iter().filter_map(removed).filter(|(id, _)| state.node(*id).is_none());
            let gone = gone.map(|(id, name)| Due { id, name: Some(name) });
            return Ok(gone.chain(all()).collect());
        }
        let mut due: Vec<Due> = Vec::new();
        for id in facts.iter().filter_map(|stamped| stamped.fact.node()) {
            if due.iter().any(|known| known.id == id) {
                continue;
            }
            let name = match state.node(id) {
                Some(node) if self.want.node(node) => Some(node.spec.name.clone()),
                Some(_) => continue,
                None => facts.iter().filter_map(removed).find(|(gone, _)| *gone == id).map(|(_, name)| name),
            };
            due.push(Due { id, name });
        }
        Ok(due.into())
    }

    /// The next event, with the place that everything was told up to with it; nothing when the appliance stops.
    pub(super) async fn next(&mut self) -> Option<(Cursor, StreamEvent)> {
        let silence = Instant::now() + self.want.heartbeat;
        loop {
            if let Some(first) = self.first.take() {
                return Some((self.cursor, first));
            }
            if let Some(change) = self.next_node() {
                return Some((self.cursor, StreamEvent::Node(Box::new(change))));
            }
            if let Some(event) = self.next_fact() {
                return Some((self.cursor, event));
            }
            if self.behind && self.wants(StreamType::Fact) {
                self.catch_up().await?;
                continue;
            }
            let (facts, nodes) = (self.wants(StreamType::Fact), self.wants(StreamType::Node));
            tokio::select! {
                () = self.api.shutdown.cancelled() => return None,
                received = self.feed.recv(), if facts => match received {
                    Ok(stamped) => self.take(&stamped),
                    Err(RecvError::Lagged(facts)) => {
                        self.behind = true;
                        return Some((self.cursor, StreamEvent::Behind(Behind { facts })));
                    }
                    Err(RecvError::Closed) => return None,
                },
                changed = self.states.changed(), if nodes => match changed {
                    Ok(()) => self.compare(),
                    Err(_) => return None,
                },
                () = tokio::time::sleep_until(silence) => {
                    let at = now();
                    return Some((self.cursor, StreamEvent::Heartbeat(Heartbeat { at: at.to_string(), at_ms: at })));
                }
            }
        }
    }

    fn next_fact(&mut self) -> Option<StreamEvent> {
        let Some(stamped) = self.ready.pop_front() else {
            self.cursor.fact = self.cursor.fact.max(self.ready_to);
            return None;
        };
        self.cursor.fact = if self.ready.is_empty() { self.ready_to.max(stamped.seq) } else { stamped.seq };
        Some(StreamEvent::Fact(Box::new(EventDocument::new(&self.api.context.state.now(), &stamped))))
    }

    fn take(&mut self, stamped: &Arc<Stamped<Fact>>) {
        if stamped.seq <= self.cursor.fact {
            return;
        }
        if stamped.seq.0 > self.cursor.fact.0 + 1 {
            // Not in the feed: it is in the journal.
            self.behind = true;
            return;
        }
        self.ready_to = stamped.seq;
        if self.want.fact(&stamped.fact, &self.api.context.state.now()) {
            self.ready.push_back((**stamped).clone());
        }
    }

    async fn catch_up(&mut self) -> Option<()> {
        let state = self.api.context.state.now();
        let filter = Filter {
            nodes: self.want.ids(&state),
            kinds: self.want.kinds.iter().cloned().collect(),
            after: self.cursor.fact,
            limit: API_CATCH_UP_MAX,
            keep: Keep::Oldest,
            ..Filter::default()
        };
        let read = match read_journal(&self.api.context, filter).await {
            Ok(read) => read,
            Err(_) => {
                tracing::warn!("the journal could not be read for a stream; the stream ends");
                return None;
            }
        };
        self.behind = read.len() >= API_CATCH_UP_MAX;
        let last = read.last().map_or(self.cursor.fact, |stamped| stamped.seq);
        // All that was journaled before the state was looked at is in what was read, if that is not cut short.
        self.ready_to = if self.behind { last } else { last.max(state.seq) };
        self.ready = read.into_iter().filter(|stamped| self.want.fact(&stamped.fact, &state)).collect();
        Some(())
    }

    fn next_node(&mut self) -> Option<NodeChange> {
        let Due { id, name } = self.due.pop_front()?;
        let (seq, at) = (self.told.seq, now());
        let node = self.told.node(id).filter(|node| self.want.node(node)).map(|node| NodeDocument::new(node, at));
        self.settle_nodes();
        Some(NodeChange { seq, id, name, node })
    }

    /// Finds out which nodes look different now.
    fn compare(&mut self) {
        let new = self.states.borrow_and_update().clone();
        let at = now();
        self.due = changed(&self.told.nodes, &new.nodes, &self.want, at);
        self.told = new;
        self.settle_nodes();
    }

    /// When no node is due, all were told as they are.
    fn settle_nodes(&mut self) {
        if self.due.is_empty() {
            self.cursor.node = Some(self.told.seq);
            if !self.wants(StreamType::Fact) {
                self.cursor.fact = self.told.seq;
            }
        }
    }
}

fn changed(old: &OrdMap<NodeId, Arc<Node>>, new: &OrdMap<NodeId, Arc<Node>>, want: &Want, at: UnixMs) -> VecDeque<Due> {
    let mut due = VecDeque::new();
    for item in old.diff(new) {
        let (id, before, after) = match item {
            DiffItem::Add(id, node) => (id, None, Some(node)),
            DiffItem::Remove(id, node) => (id, Some(node), None),
            DiffItem::Update { old, new } => (new.0, Some(old.1), Some(new.1)),
        };
        let wanted = |node: &&Arc<Node>| want.node(node);
        let (before, after) = (before.filter(wanted), after.filter(wanted));
        let document = |node: &Arc<Node>| NodeDocument::new(node, at);
        if before.map(document) != after.map(document) {
            let name = after.or(before).map(|node| node.spec.name.clone());
            due.push_back(Due { id: *id, name });
        }
    }
    due
}
