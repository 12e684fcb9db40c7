//! The documents of streams: facts as they are journaled and nodes as they change, as server-sent events and over
//! WebSocket.
//!
//! Invariants: a [`Cursor`] says up to where everything was told, so whoever shows it again misses nothing; a fact is told
//! once; a node's document may be told again, never an older one after a newer one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::document::{EventDocument, NodeDocument, Problem, Selection};
use crate::model::{FactSeq, Name, NodeId, UnixMs};

/// Up to where a stream was told: facts up to one, and nodes as they were after another. As text `120.95`, or `120`
/// when nothing was told of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// The last fact that was told, or that nobody asked for.
    pub fact: FactSeq,
    /// Nodes were told as they were after this fact; nothing when they were not told as a whole yet.
    pub node: Option<FactSeq>,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no place in the stream: send the id of the last event as it was given, such as 120 or 120.95")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{}.{}", self.fact.0, node.0),
            None => write!(f, "{}", self.fact.0),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().ok().map(FactSeq),
            false => None,
        };
        let parsed = match text.split_once('.') {
            Some((fact, node)) => number(fact).zip(number(node)).map(|(fact, node)| (fact, Some(node))),
            None => number(text).map(|fact| (fact, None)),
        };
        let (fact, node) = parsed.ok_or_else(|| CursorError(text.chars().take(40).collect()))?;
        Ok(Cursor { fact, node })
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// What a stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StreamType {
    /// Facts as they are journaled.
    Fact,
    /// Nodes as they change, and at the beginning as they are.
    Node,
}

impl FromStr for StreamType {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fact" => Ok(StreamType::Fact),
            "node" => Ok(StreamType::Node),
            other => Err(format!("'{other}' is no type of event: use fact or node")),
        }
    }
}

/// One thing that a stream tells, with the name of its event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum StreamEvent {
    /// A fact was journaled.
    Fact(Box<EventDocument>),
    /// A node changed, or is told for the first time.
    Node(Box<NodeChange>),
    /// The client was too slow: what it missed comes from the journal now. Nothing is left out.
    Behind(Behind),
    /// The journal does not reach back to where the client was: what is named here is lost to it.
    Lost(Lost),
    /// Nothing happened for a while.
    Heartbeat(Heartbeat),
}

impl StreamEvent {
    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            StreamEvent::Fact(_) => "fact",
            StreamEvent::Node(_) => "node",
            StreamEvent::Behind(_) => "behind",
            StreamEvent::Lost(_) => "lost",
            StreamEvent::Heartbeat(_) => "heartbeat",
        }
    }
}

/// A node, as it is after a fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeChange {
    /// After this fact.
    pub seq: FactSeq,
    /// Its id.
    pub id: NodeId,
    /// Its name, where it is known.
    pub name: Option<Name>,
    /// The node; nothing when it was removed, or is not among those asked for any more.
    pub node: Option<NodeDocument>,
}

/// The client was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Behind {
    /// How many facts went by.
    pub facts: u64,
}

/// Facts that the journal does not hold any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lost {
    /// The first of them.
    pub first: FactSeq,
    /// The last of them.
    pub last: FactSeq,
}

/// Nothing happened for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Heartbeat {
    /// The appliance's time.
    pub at: String,
    /// The same in milliseconds since 1970.
    pub at_ms: UnixMs,
}

/// A subscription over WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Its name, chosen by the client.
    pub id: String,
    /// Of what; everything when it is empty.
    #[serde(default)]
    pub types: Vec<StreamType>,
    /// Of these nodes, as a node set.
    #[serde(default)]
    pub nodes: Option<String>,
    /// Of the nodes of this pool.
    #[serde(default)]
    pub pool: Option<String>,
    /// Of the nodes with these labels, as in `rack=r1,gpu,!old`.
    #[serde(default)]
    pub labels: Option<String>,
    /// Of the nodes of which all these conditions hold, as in `run!=sync`.
    #[serde(default, rename = "where")]
    pub wheres: Vec<String>,
    /// Facts of these kinds; all when it is empty.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// From here on; without it facts from now on, and nodes as they are now.
    #[serde(default)]
    pub after: Option<Cursor>,
    /// Seconds of silence after which there is a heartbeat.
    #[serde(default)]
    pub heartbeat_s: Option<u64>,
}

impl Subscription {
    /// Its name, and what it is of.
    #[must_use]
    pub fn split(self) -> (String, StreamQuery) {
        let Subscription { id, types, nodes, pool, labels, wheres, kinds, after, heartbeat_s } = self;
        let nodes = Selection { nodes, pool, labels, wheres };
        (id, StreamQuery { types, nodes, kinds, after, heartbeat_s })
    }
}

/// Which nodes, facts and types a stream tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamQuery {
    /// Of what; everything when it is empty.
    pub types: Vec<StreamType>,
    /// Of these nodes; of all, and of what is about no node, when nothing is selected.
    pub nodes: Selection,
    /// Facts of these kinds; all when it is empty.
    pub kinds: Vec<String>,
    /// From here on; without it facts from now on, and nodes as they are now.
    pub after: Option<Cursor>,
    /// Seconds of silence after which there is a heartbeat.
    pub heartbeat_s: Option<u64>,
}

/// What a client sends over WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Begins a subscription.
    Subscribe(Subscription),
    /// Ends a subscription.
    Unsubscribe {
        /// Its name.
        id: String,
    },
    /// Asks for a sign of life.
    Ping,
}

/// What the appliance sends over WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// What was asked for was done. After that of an unsubscribe nothing more comes of the subscription.
    Ack {
        /// The subscription's name.
        id: String,
        /// What was done.
        of: Acknowledged,
    },
    /// Something happened.
    Event {
        /// The subscription's name.
        id: String,
        /// Up to where the subscription was told with this: to go on after it, subscribe with it as `after`.
        cursor: Cursor,
        /// What.
        #[serde(flatten)]
        event: StreamEvent,
    },
    /// A sign of life.
    Pong,
    /// A message was refused; the connection goes on.
    Error {
        /// The subscription's name, when the message had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Why.
        problem: Problem,
    },
}

/// What an acknowledgement is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Acknowledged {
    /// A subscription has begun.
    Subscribe,
    /// A subscription has ended.
    Unsubscribe,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["0", "120", "120.95", "18446744073709551615.0"] {
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!(cursor.to_string(), text);
        }
        for text in ["", ".", "1.", ".1", "-1", "+1", "1.2.3", "x", "1 ", "18446744073709551616"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_subscription_is_one_flat_message() {
        let text = r#"{"type":"subscribe","id":"a","types":["fact"],"nodes":"n[1-2]","kinds":["power"],"after":"7.7"}"#;
        let ClientMessage::Subscribe(subscription) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
        let (id, query) = subscription.split();
        assert_eq!((id.as_str(), query.nodes.nodes.as_deref()), ("a", Some("n[1-2]")));
        assert_eq!(query.after, Some(Cursor { fact: FactSeq(7), node: Some(FactSeq(7)) }));
    }
}
