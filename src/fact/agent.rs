//! What agents told: joining, observed state, hardware, console lines, leaving.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::hardware::Hardware;
use crate::model::{Digest, NodeId, Revision, Value, VarPath};

/// Something learned from an agent, or from someone who says to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentFact {
    /// The node; nothing when it is not known which.
    pub node: Option<NodeId>,
    /// Where the connection came from.
    pub peer: SocketAddr,
    /// What was learned.
    #[serde(flatten)]
    pub event: AgentEvent,
}

/// Whether a report replaces what was reported before or adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything that the agent observes: what is not in it is unknown.
    Full,
    /// What has changed.
    Delta,
}

/// One variable in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reported {
    /// The variable.
    pub path: VarPath,
    /// Its value; nothing when it is not known any more.
    pub value: Option<Value>,
}

/// What can be learned from an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AgentEvent {
    /// It joined: its token was good, and from now on this certificate is the node's.
    Joined {
        /// The digest of its certificate.
        certificate: Digest,
    },
    /// A join was refused.
    JoinRefused {
        /// Why.
        refusal: JoinRefusal,
    },
    /// Its session is up.
    Connected {
        /// Tells this session from the node's other ones.
        session: u64,
    },
    /// It reported state.
    Observed {
        /// Counts its reports.
        revision: Revision,
        /// Whether this is all or only what changed.
        scope: Scope,
        /// The variables.
        variables: Vec<Reported>,
    },
    /// It reported the machine's hardware.
    Hardware {
        /// The hardware.
        hardware: Box<Hardware>,
    },
    /// Lines of its console.
    Console {
        /// The lines, oldest first.
        lines: Vec<String>,
    },
    /// It said good-bye.
    Left {
        /// The session that ended.
        session: u64,
    },
    /// Its session ended without a good-bye.
    Lost {
        /// The session that ended.
        session: u64,
        /// Why, as far as can be told.
        reason: String,
    },
}

/// Why a join was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum JoinRefusal {
    /// No node is described with the id that it gives.
    UnknownNode,
    /// No token is open for the node: it was never booted by us, or its token was used.
    NoTokenOpen,
    /// The token is not the one that this boot was given.
    WrongToken,
    /// The certificate request could not be understood.
    BadRequest,
    /// The certificate is of an earlier boot.
    OldCertificate,
    /// An operator refused the machine.
    Refused,
}

impl fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinRefusal::UnknownNode => "no node has this id; describe it and apply",
            JoinRefusal::NoTokenOpen => "the token was used already; boot the node again to get a new one",
            JoinRefusal::WrongToken => "the token is not the one given to this node's boot",
            JoinRefusal::BadRequest => "the certificate request is malformed",
            JoinRefusal::OldCertificate => "the certificate is not the one of this node's last join",
            JoinRefusal::Refused => "an operator refused this machine; 'bootes refuse --take-back' answers it again",
        })
    }
}

impl AgentFact {
    pub(super) fn sentence(&self) -> String {
        match &self.event {
            AgentEvent::Joined { .. } => format!("agent joined from {}", self.peer),
            AgentEvent::JoinRefused { refusal } => {
                format!("join from {} refused: {refusal}", self.peer)
            }
            AgentEvent::Connected { .. } => format!("agent connected from {}", self.peer),
            AgentEvent::Observed { variables, .. } => {
                let told: Vec<String> = variables
                    .iter()
                    .map(|v| match &v.value {
                        Some(value) => format!("{}={value}", v.path),
                        None => format!("{} unknown", v.path),
                    })
                    .collect();
                format!("agent reports {}", told.join(" "))
            }
            AgentEvent::Hardware { hardware } => format!("agent reports hardware: {}", hardware.summary()),
            AgentEvent::Console { lines } => {
                format!("console: {}", lines.last().map_or("", String::as_str))
            }
            AgentEvent::Left { .. } => "agent left".into(),
            AgentEvent::Lost { reason, .. } => format!("agent lost: {reason}"),
        }
    }
}
