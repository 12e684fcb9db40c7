//! What operators ask for: the cluster's description, goals, and one-off requests.

use serde::{Deserialize, Serialize};

use crate::model::{CakeSpec, Name, NetworkSpec, NodeId, NodeSpec, Value, VarPath};

/// An operator's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorFact {
    /// What was asked.
    #[serde(flatten)]
    pub event: OperatorEvent,
}

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The node's quarantine and failure count are lifted.
    Released {
        /// The node.
        node: NodeId,
    },
}

impl OperatorFact {
    pub(super) fn node(&self) -> Option<NodeId> {
        match &self.event {
            OperatorEvent::ClusterNamed { .. }
            | OperatorEvent::NetworkDescribed { .. }
            | OperatorEvent::CakeDescribed { .. } => None,
            OperatorEvent::NodeDescribed { node, .. }
            | OperatorEvent::GoalSet { node, .. }
            | OperatorEvent::CycleAsked { node }
            | OperatorEvent::Released { node } => Some(*node),
        }
    }

    pub(super) fn sentence(&self) -> String {
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
            OperatorEvent::Released { .. } => "released from quarantine".into(),
        }
    }
}
