//! The protocol between the appliance and a module that is a program: one JSON object a line, in both directions.
//!
//! Invariants: a line is at most [`MODULE_LINE_BYTES_MAX`] bytes with its end; fields that are not known are ignored, so
//! that either side may be the newer one; a message of a type that is not known is told from one that is wrong. Nothing
//! that is read here is believed yet: [`super::facts`] holds it against the declaration.
//! Absent on purpose: pipes and time.
//! Specification: docs/WRITING-A-MODULE.md.

mod declaration;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::declaration::{
    ConfigSpec, ConfigType, Declaration, DeclaredChange, DeclaredCondition, DeclaredGuard, DeclaredMutation,
    DeclaredValue, DeclaredVariable, DiscoverSpec, Place,
};
use crate::model::limits::MODULE_LINE_BYTES_MAX;
use crate::model::{Name, NodeId};

/// The version of the protocol that this appliance speaks. It grows when a program that speaks the one before would be
/// misunderstood; a new field or a new type of message is no reason.
pub const PROTOCOL: u32 = 1;

/// A number that the appliance gives to a request; the outcome names it. Never used twice in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// What the appliance says to a module.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToModule {
    /// The first line: who speaks, and how the module is configured. Answered by `declare` and then `ready`.
    Hello {
        /// The version that the appliance speaks.
        protocol: u32,
        /// The name by which the appliance knows the module; all its variables and mutations begin with it.
        module: Name,
        /// The module's table of appliance.toml, as it stands there.
        config: Map<String, Json>,
    },
    /// A node to look at. Answered by any number of `observe`, and then by `outcome`.
    Discover {
        /// Which request.
        id: RequestId,
        /// The node.
        node: NodeCard,
    },
    /// A mutation to carry out. Answered by any number of `observe`, and then by `outcome`.
    Action {
        /// Which request.
        id: RequestId,
        /// The mutation's name.
        mutation: String,
        /// How long from now the appliance waits for the outcome.
        deadline_ms: u64,
        /// The node.
        node: NodeCard,
    },
    /// The outcome of this request is not waited for any more; an outcome is due all the same, and soon.
    Cancel {
        /// Which request.
        id: RequestId,
    },
    /// A line of the module's could not be used; nothing came of it.
    Error {
        /// Why, and what would be right.
        detail: String,
    },
    /// The module is to end; its standard input is closed after this.
    Bye,
}

/// A node as a module sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCard {
    /// Its id, which never changes; `observe` names the node by it.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// Its address on the boot network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its power control; only for a module that the configuration trusts with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcCard>,
    /// What is wanted of it, by variable.
    #[serde(default)]
    pub desired: BTreeMap<String, Json>,
    /// What was seen of it, by variable; what is not there is not known.
    #[serde(default)]
    pub observed: BTreeMap<String, Json>,
}

/// How to reach a node's BMC.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcCard {
    /// The protocol, for instance `ipmi`.
    pub driver: String,
    /// Where it answers.
    pub address: SocketAddr,
    /// The account.
    pub user: String,
    /// Its password.
    #[serde(serialize_with = "in_clear", deserialize_with = "from_clear")]
    pub password: Zeroizing<String>,
}

/// The pipe to the module is the one place where a password is written as it is.
fn in_clear<S: serde::Serializer>(password: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(password)
}

fn from_clear<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl fmt::Debug for BmcCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BmcCard { driver, address, user, .. } = self;
        f.debug_struct("BmcCard").field("driver", driver).field("address", address).field("user", user).finish()
    }
}

impl ToModule {
    /// The line, with its end. It is wiped when it is dropped, since it may hold a password.
    ///
    /// # Errors
    /// When it would be longer than a line may be.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, LineError> {
        let mut line = Zeroizing::new(Vec::with_capacity(1_024));
        serde_json::to_writer(&mut *line, self).map_err(|error| LineError::NotJson { detail: error.to_string() })?;
        line.push(b'\n');
        match line.len() {
            bytes if bytes > MODULE_LINE_BYTES_MAX => Err(LineError::TooLong),
            _ => Ok(line),
        }
    }
}

/// What a module says to the appliance.
#[derive(Debug, Clone, PartialEq)]
pub enum FromModule {
    /// What it has and can do; the answer to `hello`.
    Declare(Box<Declaration>),
    /// It takes requests from now on.
    Ready,
    /// It has seen a value of one of its variables.
    Observe(Observation),
    /// What became of a request.
    Outcome {
        /// Which.
        id: RequestId,
        /// Nothing when it was done, else why not.
        failure: Option<String>,
    },
    /// Something for people to read.
    Log {
        /// How important it is.
        level: Level,
        /// The text.
        text: String,
    },
    /// It could not use a line of the appliance's.
    Error {
        /// Why.
        detail: String,
    },
}

/// A value that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Observation {
    /// The node's id.
    pub node: NodeId,
    /// The variable.
    pub variable: String,
    /// The value; `null` where it cannot be known any more.
    pub value: Json,
}

/// How important a line of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For those who write the module.
    Debug,
    /// Of interest.
    Info,
    /// Something that may need attention.
    Warn,
    /// Something that needs it.
    Error,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// It is too long to be read at all.
    #[error("a line has more than {MODULE_LINE_BYTES_MAX} bytes; send several messages instead of one")]
    TooLong,
    /// It is no JSON object.
    #[error(
        "a line is not a JSON object ({detail}); print nothing but messages there, and everything else to the standard error"
    )]
    NotJson {
        /// What was expected where.
        detail: String,
    },
    /// It says not what it is.
    #[error("a message has no text in its field 'type'; give it one of {KNOWN}")]
    NoType,
    /// It is of a type that this appliance does not know.
    #[error("a message of type '{kind}' is not known here, and nothing came of it; known are {KNOWN}")]
    UnknownType {
        /// The type.
        kind: String,
    },
    /// Its fields are wrong.
    #[error("the message '{kind}' is wrong: {detail}; see docs/WRITING-A-MODULE.md")]
    BadFields {
        /// The type.
        kind: String,
        /// What is wrong.
        detail: String,
    },
}

impl LineError {
    /// Whether it only says that the module is newer than the appliance, which is no fault of the module's.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, LineError::UnknownType { .. })
    }
}

/// The types that a module may send.
const KNOWN: &str = "declare, ready, observe, outcome, log, error";
/// Characters of a type's name that are shown in an error.
const SHOWN_CHARS_MAX: usize = 40;

#[derive(Deserialize)]
struct OutcomeFields {
    id: RequestId,
    ok: bool,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
struct LogFields {
    level: Level,
    text: String,
}

#[derive(Deserialize)]
struct ErrorFields {
    detail: String,
}

/// Reads one line, without its end.
///
/// # Errors
/// When it is no message, or none that is known.
pub fn decode(line: &[u8]) -> Result<FromModule, LineError> {
    if line.len() >= MODULE_LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    let whole: Json = serde_json::from_slice(line).map_err(|error| LineError::NotJson { detail: error.to_string() })?;
    let Json::Object(fields) = &whole else {
        return Err(LineError::NotJson { detail: "it is another kind of value".into() });
    };
    let Some(Json::String(kind)) = fields.get("type") else { return Err(LineError::NoType) };
    let kind = kind.clone();
    match kind.as_str() {
        "declare" => Ok(FromModule::Declare(fields_of(&kind, whole)?)),
        "ready" => Ok(FromModule::Ready),
        "observe" => Ok(FromModule::Observe(fields_of(&kind, whole)?)),
        "outcome" => {
            let OutcomeFields { id, ok, detail } = fields_of(&kind, whole)?;
            let failure = match (ok, detail.is_empty()) {
                (true, _) => None,
                (false, false) => Some(detail),
                (false, true) => Some("the module gave no reason".into()),
            };
            Ok(FromModule::Outcome { id, failure })
        }
        "log" => fields_of(&kind, whole).map(|LogFields { level, text }| FromModule::Log { level, text }),
        "error" => fields_of(&kind, whole).map(|ErrorFields { detail }| FromModule::Error { detail }),
        _ => Err(LineError::UnknownType { kind: kind.chars().take(SHOWN_CHARS_MAX).collect() }),
    }
}

fn fields_of<T: for<'de> Deserialize<'de>>(kind: &str, whole: Json) -> Result<T, LineError> {
    serde_json::from_value(whole)
        .map_err(|error| LineError::BadFields { kind: kind.to_owned(), detail: error.to_string() })
}
