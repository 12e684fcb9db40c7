//! What is learned of machines that are no node, beside their packets: they got a script, joined, reported, left.
//!
//! A machine is named by the interface that it booted from. A fact of a packet is DHCP's and the file services' own.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::JoinRefusal;
use crate::model::hardware::Hardware;
use crate::model::{Digest, Mac, Neighbour, NodeId, SwitchPort};

/// Something learned of a machine that is no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MachineFact {
    /// The interface that it booted from.
    pub mac: Mac,
    /// Where it spoke from.
    pub peer: IpAddr,
    /// What was learned.
    #[serde(flatten)]
    pub event: MachineEvent,
}

/// What can be learned of a machine that is no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MachineEvent {
    /// It was sent a script that leads to layer 0.
    ScriptSent {
        /// The digest of the token in it.
        token: Digest,
    },
    /// Its token was good: it may report and wait, with this certificate.
    Joined {
        /// The digest of its certificate.
        certificate: Digest,
    },
    /// It may not.
    JoinRefused {
        /// Why.
        refusal: JoinRefusal,
    },
    /// It waits.
    Waits {
        /// Tells this session from its other ones.
        session: u64,
    },
    /// It still waits: its lease goes on.
    StillWaits,
    /// It reported its hardware.
    Hardware {
        /// The hardware.
        hardware: Box<Hardware>,
    },
    /// It reported what the switches said that it is plugged into; nothing when it listened in vain.
    Neighbours {
        /// One for each interface that heard something.
        neighbours: Vec<Neighbour>,
    },
    /// It was told that it is a node, and given that node's token.
    Told {
        /// The node.
        node: NodeId,
        /// The digest of the token.
        token: Digest,
    },
    /// It waits no longer.
    Left {
        /// The session that ended.
        session: u64,
        /// Why, as far as can be told.
        reason: String,
    },
}

impl MachineFact {
    pub(super) fn node(&self) -> Option<NodeId> {
        match self.event {
            MachineEvent::Told { node, .. } => Some(node),
            _ => None,
        }
    }

    pub(super) fn sentence(&self) -> String {
        let MachineFact { mac, peer, event } = self;
        match event {
            MachineEvent::ScriptSent { .. } => format!("unknown machine {mac} was sent its script, at {peer}"),
            MachineEvent::Joined { .. } => format!("unknown machine {mac} joined from {peer}"),
            MachineEvent::JoinRefused { refusal } => format!("unknown machine {mac} at {peer} was refused: {refusal}"),
            MachineEvent::Waits { .. } => format!("unknown machine {mac} at {peer} waits to be enrolled"),
            MachineEvent::StillWaits => format!("unknown machine {mac} still waits, and keeps its address"),
            MachineEvent::Hardware { hardware } => {
                format!("unknown machine {mac} reports hardware: {}", hardware.summary())
            }
            MachineEvent::Neighbours { neighbours } if neighbours.is_empty() => {
                format!("unknown machine {mac} hears no switch by LLDP")
            }
            MachineEvent::Neighbours { neighbours } => {
                let ports: Vec<String> =
                    neighbours.iter().map(|n| format!("{} ({})", SwitchPort::from(n), n.interface)).collect();
                format!("unknown machine {mac} is plugged into {}", ports.join(", "))
            }
            MachineEvent::Told { .. } => format!("machine {mac} at {peer} was told that it is this node"),
            MachineEvent::Left { reason, .. } => format!("unknown machine {mac} waits no longer: {reason}"),
        }
    }
}
