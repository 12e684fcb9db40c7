//! The API's document of what a machine would be told to boot, and why.

use serde::{Deserialize, Serialize};

use crate::model::Mac;

/// What a machine would be told, step by step, without a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BootAnswerDocument {
    /// The node that the machine is; nothing for one that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its hardware address.
    pub mac: Mac,
    /// What asks, as the services understand it.
    pub client: String,
    /// What the node boots.
    pub target: String,
    /// What DHCP tells it: a sentence.
    pub answer: String,
    /// The boot file's name or URL; nothing when it is told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The server to fetch it from, where that is told apart from the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The loader's reason, or what to do where there is none.
    pub because: String,
    /// Whether the machine boots: false when it is refused.
    pub boots: bool,
    /// What follows, in order.
    pub then: Vec<String>,
    /// The words that the description adds to the kernel's command line.
    pub arguments: Vec<String>,
}
