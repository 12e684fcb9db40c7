//! What operators ask for: the cluster's description, goals, and one-off requests.

use std::fmt;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::model::variable::duration_text;
use crate::model::{
    CakeSpec, EnrollRule, Extension, Mac, Name, NetworkSpec, NodeId, NodeSpec, PoolSpec, TargetSpec, Template,
    TokenSpec, Value, VarPath,
};

/// An operator's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OperatorFact {
    /// What was asked.
    #[serde(flatten)]
    pub event: OperatorEvent,
    /// Who asked: a token's name, or `root (socket)`; nothing where no caller stands behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl From<OperatorEvent> for OperatorFact {
    fn from(event: OperatorEvent) -> Self {
        OperatorFact { event, by: None }
    }
}

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum OperatorEvent {
    /// The cluster's name.
    ClusterNamed {
        /// The name.
        name: Name,
    },
    /// A network was described, newly or differently.
    NetworkDescribed {
        /// All of it.
        spec: NetworkSpec,
    },
    /// A cake was described, newly or differently.
    CakeDescribed {
        /// All of it.
        spec: CakeSpec,
    },
    /// A node was described, newly or differently.
    NodeDescribed {
        /// The node.
        node: NodeId,
        /// All of it.
        spec: Box<NodeSpec>,
    },
    /// A goal was set by hand; it stands before what the description says.
    GoalSet {
        /// The node.
        node: NodeId,
        /// The variable.
        path: VarPath,
        /// The value; nothing takes back what was set by hand.
        value: Option<Value>,
    },
    /// The node is to go through power off once and then back to its goal.
    CycleAsked {
        /// The node.
        node: NodeId,
    },
    /// The node may be disturbed although it is busy or guarded, until it is at its goal or something else is asked.
    DisturbanceAllowed {
        /// The node.
        node: NodeId,
    },
    /// The node's quarantine and failure count are lifted.
    Released {
        /// The node.
        node: NodeId,
    },
    /// What nodes have in common was described, newly or differently.
    DefaultsDescribed {
        /// All of it.
        spec: Box<Template>,
    },
    /// A pool was described, newly or differently.
    PoolDescribed {
        /// All of it.
        spec: Box<PoolSpec>,
    },
    /// Variables were described, newly or differently.
    ExtensionDescribed {
        /// All of it.
        spec: Extension,
    },
    /// A node is no node any more.
    NodeRemoved {
        /// The node.
        node: NodeId,
        /// Its name, for people: nobody knows it afterwards.
        name: Name,
    },
    /// A network is no longer described.
    NetworkRemoved {
        /// Its name.
        name: Name,
    },
    /// A cake is no longer described.
    CakeRemoved {
        /// Its name.
        name: Name,
    },
    /// A pool is no longer described.
    PoolRemoved {
        /// Its name.
        name: Name,
    },
    /// A boot target was described, newly or differently.
    TargetDescribed {
        /// All of it.
        spec: Box<TargetSpec>,
    },
    /// A boot target is no longer described.
    TargetRemoved {
        /// Its name.
        name: Name,
    },
    /// Variables are no longer described.
    ExtensionRemoved {
        /// The extension's name.
        name: Name,
    },
    /// No step is started any more.
    Frozen {
        /// Of this node; without one, of any node.
        node: Option<NodeId>,
    },
    /// Steps are started again.
    Thawed {
        /// Of this node; without one, of every node that is not frozen by itself.
        node: Option<NodeId>,
    },
    /// A mutation is planned with, or not.
    MutationSwitched {
        /// Its name.
        mutation: String,
        /// Whether it is.
        to: Switch,
    },
    /// A module's mutations are planned with, or not.
    ModuleSwitched {
        /// Its name.
        module: String,
        /// Whether they are.
        to: Switch,
    },
    /// A mutation has another timeout than its module declares.
    TimeoutSet {
        /// Its name.
        mutation: String,
        /// The timeout in milliseconds; nothing for the declared one.
        timeout_ms: Option<u64>,
    },
    /// A lease is ended, or an address that was in quarantine may be given again.
    LeaseReleased {
        /// The address.
        ip: Ipv4Addr,
    },
    /// The mass event was looked into: disruptive steps are started again.
    MassEventCleared,
    /// A token of the API was given out.
    TokenCreated {
        /// All of it but the token itself.
        token: TokenSpec,
    },
    /// A token of the API is valid no longer.
    TokenRevoked {
        /// Its name.
        name: Name,
    },
    /// The rules by which machines become nodes were described, all of them.
    EnrollmentDescribed {
        /// The rules, in their order.
        rules: Vec<EnrollRule>,
    },
    /// A machine is not answered any more.
    MachineRefused {
        /// The interface that it boots from.
        mac: Mac,
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// A refused machine is answered again.
    MachineAdmitted {
        /// The interface that it boots from.
        mac: Mac,
    },
}

/// Whether something is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is.
    Enabled,
    /// It is not.
    Disabled,
}

impl OperatorEvent {
    /// The node that it is about, if it is about one.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            OperatorEvent::ClusterNamed { .. }
            | OperatorEvent::NetworkDescribed { .. }
            | OperatorEvent::CakeDescribed { .. }
            | OperatorEvent::DefaultsDescribed { .. }
            | OperatorEvent::PoolDescribed { .. }
            | OperatorEvent::ExtensionDescribed { .. }
            | OperatorEvent::NetworkRemoved { .. }
            | OperatorEvent::CakeRemoved { .. }
            | OperatorEvent::PoolRemoved { .. }
            | OperatorEvent::ExtensionRemoved { .. }
            | OperatorEvent::TargetDescribed { .. }
            | OperatorEvent::TargetRemoved { .. }
            | OperatorEvent::MutationSwitched { .. }
            | OperatorEvent::ModuleSwitched { .. }
            | OperatorEvent::TimeoutSet { .. }
            | OperatorEvent::LeaseReleased { .. }
            | OperatorEvent::MassEventCleared => None,
            OperatorEvent::Frozen { node } | OperatorEvent::Thawed { node } => *node,
            OperatorEvent::TokenCreated { .. } | OperatorEvent::TokenRevoked { .. } => None,
            OperatorEvent::EnrollmentDescribed { .. }
            | OperatorEvent::MachineRefused { .. }
            | OperatorEvent::MachineAdmitted { .. } => None,
            OperatorEvent::NodeDescribed { node, .. }
            | OperatorEvent::GoalSet { node, .. }
            | OperatorEvent::CycleAsked { node }
            | OperatorEvent::DisturbanceAllowed { node }
            | OperatorEvent::NodeRemoved { node, .. }
            | OperatorEvent::Released { node } => Some(*node),
        }
    }
}
impl OperatorFact {
    pub(super) fn node(&self) -> Option<NodeId> {
        self.event.node()
    }

    pub(super) fn sentence(&self) -> String {
        match &self.by {
            Some(by) => format!("{}, by {by}", self.what()),
            None => self.what(),
        }
    }

    fn what(&self) -> String {
        match &self.event {
            OperatorEvent::ClusterNamed { name } => format!("cluster named {name}"),
            OperatorEvent::NetworkDescribed { spec } => {
                format!("network {} described: {}", spec.name, spec.subnet)
            }
            OperatorEvent::CakeDescribed { spec } => format!("cake {} described", spec.name),
            OperatorEvent::NodeDescribed { spec, .. } => {
                format!("node {} described: {} {}", spec.name, spec.mac, spec.ip)
            }
            OperatorEvent::GoalSet { path, value: Some(value), .. } => {
                format!("asked for {path}={value}")
            }
            OperatorEvent::GoalSet { path, value: None, .. } => {
                format!("took back what was asked for {path}")
            }
            OperatorEvent::CycleAsked { .. } => "asked for a power cycle".into(),
            OperatorEvent::DisturbanceAllowed { .. } => "may be disturbed although it is busy, once".into(),
            OperatorEvent::Released { .. } => "released from quarantine".into(),
            OperatorEvent::DefaultsDescribed { .. } => "defaults of all nodes described".into(),
            OperatorEvent::PoolDescribed { spec } => format!("pool {} described", spec.name),
            OperatorEvent::ExtensionDescribed { spec } => {
                format!("extension {} described: {} variables", spec.name, spec.variables.len())
            }
            OperatorEvent::NodeRemoved { name, .. } => format!("node {name} removed"),
            OperatorEvent::NetworkRemoved { name } => format!("network {name} removed"),
            OperatorEvent::CakeRemoved { name } => format!("cake {name} removed"),
            OperatorEvent::PoolRemoved { name } => format!("pool {name} removed"),
            OperatorEvent::ExtensionRemoved { name } => format!("extension {name} removed"),
            OperatorEvent::TargetDescribed { spec } => format!("boot target {} described", spec.name),
            OperatorEvent::TargetRemoved { name } => format!("boot target {name} removed"),
            OperatorEvent::Frozen { node: Some(_) } => "frozen".into(),
            OperatorEvent::Frozen { node: None } => "everything frozen".into(),
            OperatorEvent::Thawed { node: Some(_) } => "thawed".into(),
            OperatorEvent::Thawed { node: None } => "everything thawed".into(),
            OperatorEvent::MutationSwitched { mutation, to } => format!("mutation {mutation} {to}"),
            OperatorEvent::ModuleSwitched { module, to } => format!("module {module} {to}"),
            OperatorEvent::TimeoutSet { mutation, timeout_ms: Some(ms) } => {
                format!("timeout of {mutation} set to {}", duration_text(*ms))
            }
            OperatorEvent::TimeoutSet { mutation, timeout_ms: None } => format!("timeout of {mutation} as declared"),
            OperatorEvent::LeaseReleased { ip } => format!("lease of {ip} ended by hand"),
            OperatorEvent::MassEventCleared => "mass event looked into: disruptive steps may go on".into(),
            OperatorEvent::TokenCreated { token } => match &token.nodes {
                Some(nodes) => format!("token {} created: {} of {nodes}", token.name, token.role),
                None => format!("token {} created: {}", token.name, token.role),
            },
            OperatorEvent::TokenRevoked { name } => format!("token {name} revoked"),
            OperatorEvent::EnrollmentDescribed { rules } => format!("enrolment described: {} rules", rules.len()),
            OperatorEvent::MachineRefused { mac, reason: Some(reason) } => format!("machine {mac} refused: {reason}"),
            OperatorEvent::MachineRefused { mac, reason: None } => format!("machine {mac} refused"),
            OperatorEvent::MachineAdmitted { mac } => format!("machine {mac} is answered again"),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Switch::Enabled => "enabled",
            Switch::Disabled => "disabled",
        })
    }
}
