//! What BMCs answered, and what became of the orders that they were given.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::NodeId;

/// Whether a machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// Off.
    Off,
    /// On.
    On,
}

impl PowerState {
    /// The value of the variable `power`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PowerState::Off => "off",
            PowerState::On => "on",
        }
    }
}

/// What a BMC can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PowerOrder {
    /// Say whether the machine has power.
    Probe,
    /// Boot from the network at the next start.
    Arm,
    /// Power on.
    On,
    /// Power off.
    Off,
}

impl fmt::Display for PowerOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PowerOrder::Probe => "power status",
            PowerOrder::Arm => "boot from network",
            PowerOrder::On => "power on",
            PowerOrder::Off => "power off",
        })
    }
}

/// What is wrong with a BMC, as far as can be told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BmcProblem {
    /// Nothing answers at its address.
    NoAnswer,
    /// It refuses the user or the password.
    LoginRefused,
    /// It lets us in and refuses the order.
    OrderRefused,
    /// It has no session free.
    Busy,
    /// Its answer makes no sense.
    Malformed,
    /// It said yes, and the machine's power did not follow.
    NoEffect,
    /// The node's description has no BMC, or its password cannot be opened.
    NotConfigured,
}

impl fmt::Display for BmcProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BmcProblem::NoAnswer => "the BMC does not answer",
            BmcProblem::LoginRefused => "the BMC refuses the user or password",
            BmcProblem::OrderRefused => "the BMC refuses the order",
            BmcProblem::Busy => "the BMC has no free session",
            BmcProblem::Malformed => "the BMC's answer makes no sense",
            BmcProblem::NoEffect => "the BMC accepted the order and nothing happened",
            BmcProblem::NotConfigured => "the node's BMC is not usable as described",
        })
    }
}

/// Something learned from a node's BMC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PowerFact {
    /// The node.
    pub node: NodeId,
    /// What was learned.
    #[serde(flatten)]
    pub event: PowerEvent,
}

/// What can be learned from a BMC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PowerEvent {
    /// It said whether the machine has power.
    Status {
        /// What it said.
        power: PowerState,
    },
    /// It accepted an order.
    Accepted {
        /// The order.
        order: PowerOrder,
    },
    /// It did not do what it was told.
    Failed {
        /// The order.
        order: PowerOrder,
        /// What is wrong.
        problem: BmcProblem,
        /// The whole error, for people.
        detail: String,
    },
}

impl PowerFact {
    pub(super) fn sentence(&self) -> String {
        match &self.event {
            PowerEvent::Status { power } => format!("BMC says power is {}", power.as_str()),
            PowerEvent::Accepted { order } => format!("BMC accepted: {order}"),
            PowerEvent::Failed { order, detail, .. } => format!("BMC failed: {order}: {detail}"),
        }
    }
}
