//! The documents that the API speaks, for both of its ends: the appliance that answers and the command line that asks.
//!
//! A list is always `{"items": […]}`. Times are given as text for people and in milliseconds for programs.
//! No document holds a secret, except those of [`super::describe`] on their way in.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::control::HeldDocument;
use crate::fact::{Fact, PowerState, Stamped};
use crate::model::hardware::Hardware;
use crate::model::{BmcDriver, FactSeq, Given, Mac, Name, NodeId, Revision, UnixMs, VarPath};
use crate::plan::{Change, Stage, Warning, WhatIf, goal_reached};
use crate::state::{Node, State};

pub use super::describe::{ApplyRequest, BmcRequest, CakeRequest, NodeRequest};
/// The API's description, OpenAPI 3.1: made of `api::routes` and the documents' types, and checked, by the API's tests.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Items<T> {
    /// What is in it.
    pub items: Vec<T>,
}

/// The appliance's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VersionDocument {
    /// The version.
    pub version: String,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeDocument {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub id: NodeId,
    /// Whether every goal is met.
    pub goal_reached: bool,
    /// What is wanted, by variable path.
    pub desired: BTreeMap<String, String>,
    /// What was seen, by variable path; what is unknown is not in it.
    pub observed: BTreeMap<String, String>,
    /// How far it has come, in one word.
    pub stage: String,
    /// For how many seconds; nothing where that is not known.
    pub stage_s: Option<f64>,
    /// The step under way, if there is one.
    pub step: Option<String>,
    /// Whether it is quarantined.
    pub quarantined: bool,
    /// Counts the changes of its description and of what is wanted of it.
    #[serde(default)]
    pub revision: Revision,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// Its processor architecture, as described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// What kind of machine it is, as described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The nodes that may be its parent, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Name>,
    /// Its network.
    pub network: Name,
    /// Its hardware address.
    pub mac: Mac,
    /// Its fixed address.
    pub ip: Ipv4Addr,
    /// Its cake.
    pub cake: Option<Name>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its BMC.
    pub bmc: Option<BmcDocument>,
    /// Its agent.
    pub agent: AgentDocument,
    /// Until when its lease is valid.
    pub lease_until: Option<String>,
    /// Its hardware.
    pub hardware: Option<Hardware>,
}

/// A node's BMC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BmcDocument {
    /// The protocol.
    pub driver: BmcDriver,
    /// The address.
    pub address: SocketAddr,
    /// The account.
    pub user: String,
}

/// A node's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentDocument {
    /// Whether its session is up.
    pub connected: bool,
    /// Where it last connected from.
    pub peer: Option<SocketAddr>,
    /// When it was last heard.
    pub heard_at: Option<String>,
}

impl NodeDocument {
    /// The document of `node` at `now`.
    #[must_use]
    pub fn new(node: &Node, now: UnixMs) -> Self {
        let (stage, since) = stage_of(node);
        #[allow(clippy::cast_precision_loss)]
        let stage_s = since.map(|at| (now.since(at) / 100) as f64 / 10.0);
        let spec = &node.spec;
        NodeDocument {
            name: spec.name.clone(),
            id: node.id,
            goal_reached: goal_reached(node),
            desired: node.desired.iter().map(|(path, desired)| (path.to_string(), desired.value.to_string())).collect(),
            observed: node.observed.iter().map(|(path, seen)| (path.to_string(), seen.value.to_string())).collect(),
            stage,
            stage_s,
            step: node.in_flight.as_ref().map(|flight| flight.step.to_string()),
            quarantined: node.retry.next == Some(crate::fact::Retry::Quarantined),
            revision: node.revision,
            pool: spec.pool.clone(),
            arch: spec.arch.as_ref().map(ToString::to_string),
            platform: spec.platform.as_ref().map(ToString::to_string),
            parents: spec.parents.clone(),
            network: spec.network.clone(),
            mac: spec.mac,
            ip: spec.ip,
            cake: spec.cake.clone(),
            labels: spec.labels.clone(),
            bmc: spec.bmc.as_ref().map(|bmc| BmcDocument {
                driver: bmc.driver,
                address: bmc.address,
                user: bmc.user.clone(),
            }),
            agent: AgentDocument {
                connected: node.agent.session.is_some(),
                peer: node.agent.peer,
                heard_at: node.agent.heard_at.map(|at| at.to_string()),
            },
            lease_until: node.lease.as_ref().map(|lease| lease.until.to_string()),
            hardware: node.hardware.as_deref().cloned(),
        }
    }
}

/// How far a node has come: the last thing that is known of power, boot and run, in this order of precedence from
/// the end, with the time since which it is so.
pub(super) fn stage_of(node: &Node) -> (String, Option<UnixMs>) {
    use crate::model::VarPath;
    let seen = |path: VarPath| node.observed.get(&path).map(|o| (o.value.to_string(), o.at));
    if goal_reached(node) {
        let since = node.marks.last().map(|m| m.at);
        let word = match node.see_symbol(&VarPath::power()) {
            Some("off") => "off",
            _ => "running",
        };
        return (word.to_owned(), since);
    }
    match (seen(VarPath::power()), seen(VarPath::boot()), seen(VarPath::run())) {
        (Some((power, at)), boot, _) if power == "off" => match boot {
            Some((boot, at)) if boot == "armed" => (boot, Some(at)),
            _ => (power, Some(at)),
        },
        (_, Some((boot, _)), Some((run, at))) if boot == "agent" => (run, Some(at)),
        (_, Some((boot, at)), _) => (boot, Some(at)),
        _ => ("unknown".to_owned(), node.marks.last().map(|m| m.at)),
    }
}

/// What an apply changes, or would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApplyAnswer {
    /// The changes; empty when there is nothing to do.
    pub changes: Vec<Change>,
    /// Whether they were made.
    pub applied: bool,
    /// What nodes would do then, or do now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<WhatIf>,
}

/// Which nodes a request is about: those that are in all that is given. At least one of them must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Selection {
    /// A node set, all of whose nodes must exist; nothing for every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// The nodes of this pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The nodes with these labels, as in `rack=r1,gpu,!old`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// The nodes of which all these conditions hold, as in `run!=sync`.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub wheres: Vec<String>,
}

/// Goals to set by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GoalsRequest {
    /// The nodes.
    #[serde(flatten)]
    pub nodes: Selection,
    /// Values by variable path; nothing takes back what was set by hand.
    pub goals: BTreeMap<String, Option<Given>>,
    /// Refused unless every node still has this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<Revision>,
    /// Whether the nodes may be disturbed for it although they are busy or guarded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub even_if_busy: bool,
}

/// What values by hand would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedGoals {
    /// What would be done.
    #[serde(flatten)]
    pub plan: WhatIf,
    /// The values, as they were understood; nothing where one would be taken back, and of a secret that it is one.
    pub goals: BTreeMap<VarPath, Option<Given>>,
}

/// What to do with the power of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PowerVerb {
    /// Power on, and run what the cake says.
    On,
    /// Stop what runs, and power off.
    Off,
    /// Off, then on again.
    Cycle,
}

/// A request about the power of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PowerRequest {
    /// The nodes.
    #[serde(flatten)]
    pub nodes: Selection,
    /// What to do.
    pub power: PowerVerb,
    /// Whether the nodes may be disturbed for it although they are busy or guarded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub even_if_busy: bool,
}

/// A request that needs nothing but nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NodesRequest {
    /// The nodes.
    #[serde(flatten)]
    pub nodes: Selection,
}

/// A request that needs nothing but to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BareRequest {}

/// A request was journaled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Accepted {
    /// The nodes that it is about, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
    /// The journal's last fact of it.
    pub seq: FactSeq,
    /// The values that were asked for by hand, as they were understood; nothing where one was taken back, and of a secret
    /// that it is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub goals: BTreeMap<VarPath, Option<Given>>,
    /// Those of them whose next step is held back, and by what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldDocument>,
    /// What should be known of their goals: that some are set aside, or that nothing leads to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// What a BMC just said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PowerDocument {
    /// The node.
    pub name: Name,
    /// What its BMC said.
    pub power: Option<PowerState>,
    /// Why it did not say anything.
    pub problem: Option<String>,
}

/// The stages of a node's last boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimelineDocument {
    /// The node.
    pub name: Name,
    /// Its id.
    pub id: NodeId,
    /// The stages.
    pub stages: Vec<Stage>,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventDocument {
    /// Its place in the journal.
    pub seq: FactSeq,
    /// When it was taken.
    pub at: String,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: UnixMs,
    /// The node's name, also when it was removed since; its id when its name is not known any more.
    pub node: Option<String>,
    /// Its source.
    pub kind: String,
    /// One sentence.
    pub what: String,
    /// All of it.
    pub fact: Fact,
}

impl EventDocument {
    /// The document of `stamped`, with the node's name from `state`.
    #[must_use]
    pub fn new(state: &State, stamped: &Stamped<Fact>) -> Self {
        let name = |id: NodeId| state.name_of(id).map_or_else(|| id.to_string(), ToString::to_string);
        EventDocument {
            seq: stamped.seq,
            at: stamped.at.to_string(),
            at_ms: stamped.at,
            node: stamped.fact.node().map(name),
            kind: stamped.fact.kind().to_owned(),
            what: stamped.fact.sentence(),
            fact: stamped.fact.clone(),
        }
    }
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModuleDocument {
    /// Its name.
    pub name: String,
    /// Where it comes from: `built_in` or `outside`.
    pub origin: String,
    /// How it fares: `running`, `asleep` until it is needed, `starting`, `failed`, or `stopped`.
    pub state: String,
    /// For how many seconds; nothing for what is built in.
    pub for_s: Option<u64>,
    /// The process id of its guard, while there is one.
    pub pid: Option<u32>,
    /// How often its program has failed since the appliance started.
    pub failures: u64,
    /// What was last wrong with it; empty when nothing was.
    pub detail: String,
    /// Its own version.
    pub version: String,
    /// What it is for.
    pub doc: String,
    /// The variables that it has declared.
    pub variables: Vec<String>,
    /// The mutations that it has declared.
    pub mutations: Vec<String>,
    /// Whether its mutations are planned with.
    pub enabled: bool,
}

/// Something that could not be done (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// What kind of problem, as a stable word under `urn:bootes:problem:`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to what, and what to do.
    pub detail: String,
    /// What there is now, where a request was refused because it knew something older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<serde_json::Value>,
}
