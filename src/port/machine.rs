//! The API's documents about machines: those that are no node, those that were refused, those that nodes are made of; and
//! about making nodes of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::hardware::Hardware;
use crate::model::machine::{serial_of, uuid_of};
use crate::model::{Mac, Name, Neighbour, SwitchPort};
use crate::plan::Change;
use crate::plan::enroll::Verdict;
use crate::state::{MachineStage, Node, RefusedMachine, State, UnknownMachine};

/// What a machine is to the appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is no node.
    Unknown,
    /// It is a node.
    Node,
    /// An operator refused it.
    Refused,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MachineDocument {
    /// The hardware address of the interface that it boots from.
    pub mac: Mac,
    /// What it is to the appliance.
    pub standing: Standing,
    /// The node that it is.
    pub node: Option<Name>,
    /// How far it has come, where it is no node.
    pub stage: Option<MachineStage>,
    /// Every hardware address that it is known to have.
    pub macs: Vec<Mac>,
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// Its serial number, in lower case.
    pub serial: Option<String>,
    /// Its maker and model.
    pub vendor: Option<String>,
    /// Its vendor class, as it told it by DHCP.
    pub vendor_class: Option<String>,
    /// What asked last.
    pub client: Option<String>,
    /// The network that it is on.
    pub network: Option<Name>,
    /// Its address.
    pub ip: Option<Ipv4Addr>,
    /// The switch ports that it is plugged into, by LLDP and option 82.
    pub ports: Vec<SwitchPort>,
    /// What it heard by LLDP; nothing while it listens.
    pub neighbours: Option<Vec<Neighbour>>,
    /// Its hardware, as it reported it.
    pub hardware: Option<Hardware>,
    /// When it was first seen.
    pub first_seen: Option<String>,
    /// When it was last seen.
    pub last_seen: Option<String>,
    /// What would become of it by the rules and by what it looks like.
    pub proposal: Option<Verdict>,
    /// Why its last join was refused.
    pub join_refused: Option<String>,
    /// Why an operator refused it.
    pub refused: Option<String>,
}

impl MachineDocument {
    fn new(mac: Mac, standing: Standing) -> Self {
        MachineDocument {
            mac,
            standing,
            node: None,
            stage: None,
            macs: vec![mac],
            uuid: None,
            serial: None,
            vendor: None,
            vendor_class: None,
            client: None,
            network: None,
            ip: None,
            ports: Vec::new(),
            neighbours: None,
            hardware: None,
            first_seen: None,
            last_seen: None,
            proposal: None,
            join_refused: None,
            refused: None,
        }
    }

    /// The document of a machine that is no node.
    #[must_use]
    pub fn unknown(state: &State, mac: Mac, machine: &UnknownMachine, proposal: Option<Verdict>) -> Self {
        let hardware = machine.hardware.as_deref();
        MachineDocument {
            stage: Some(machine.stage),
            macs: machine.macs(mac),
            uuid: machine.identity(),
            serial: machine.serial(),
            vendor: hardware.and_then(vendor_of),
            vendor_class: machine.vendor_class.clone(),
            client: Some(machine.client.to_string()),
            network: state.network_of_machine(machine).cloned(),
            ip: machine.lease.as_ref().map(|lease| lease.ip),
            ports: machine.ports(mac),
            neighbours: machine.neighbours.clone(),
            hardware: hardware.cloned(),
            first_seen: Some(machine.first_seen.to_string()),
            last_seen: Some(machine.last_seen.to_string()),
            proposal,
            join_refused: machine.join_refusal.as_ref().map(ToString::to_string),
            ..MachineDocument::new(mac, Standing::Unknown)
        }
    }

    /// The document of a machine that was refused, with what was known of it then.
    #[must_use]
    pub fn refused(state: &State, mac: Mac, refused: &RefusedMachine) -> Self {
        let known = refused.machine.as_deref().map(|machine| MachineDocument::unknown(state, mac, machine, None));
        let reason = refused.reason.clone().unwrap_or_default();
        MachineDocument {
            standing: Standing::Refused,
            stage: None,
            refused: Some(reason),
            ..known.unwrap_or_else(|| MachineDocument::new(mac, Standing::Refused))
        }
    }

    /// The document of the machine that a node is.
    #[must_use]
    pub fn of_node(node: &Node) -> Self {
        let hardware = node.hardware.as_deref();
        let reported = hardware.into_iter().flat_map(|hardware| hardware.interfaces.iter().map(|i| i.mac));
        let mut macs: Vec<Mac> = std::iter::once(node.spec.mac).chain(reported).collect();
        macs.sort();
        macs.dedup();
        MachineDocument {
            node: Some(node.spec.name.clone()),
            macs,
            uuid: hardware.and_then(uuid_of),
            serial: hardware.and_then(serial_of),
            vendor: hardware.and_then(vendor_of),
            client: node.last.dhcp.as_ref().map(|(_, client, _)| client.to_string()),
            network: Some(node.spec.network.clone()),
            ip: Some(node.spec.ip),
            ports: crate::plan::enroll::ports_of(node),
            hardware: hardware.cloned(),
            last_seen: node.agent.heard_at.map(|at| at.to_string()),
            ..MachineDocument::new(node.spec.mac, Standing::Node)
        }
    }
}

fn vendor_of(hardware: &Hardware) -> Option<String> {
    let parts = [&hardware.system.vendor, &hardware.system.product];
    let text = parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
    Some(text).filter(|text| !text.is_empty())
}

/// What one machine is to become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// The new node's name; without it, and without a node to replace, the rules say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The node of which a part was replaced: it keeps all that it is, and boots from this machine from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Name>,
    /// The new node's address; any free one of its network where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// The new node's network; where it is not given its pool's, the defaults', or the one that the machine is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Name>,
    /// The new node's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// The new node's cake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    /// The new node's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether it is a new node although it looks like one that there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// Whether it is only shown what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// All machines that rules fit are to become what these say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrollAllRequest {
    /// Whether it is only shown what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// When a machine that was enrolled becomes the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TakesEffect {
    /// It waits in layer 0, and goes on as the node.
    Now,
    /// It waits in layer 0 of another network, and starts over.
    StartsOver,
    /// It is not heard: whenever it boots next.
    NextBoot,
}

/// What became, or would become, of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnrolledDocument {
    /// The machine.
    pub mac: Mac,
    /// What it is plugged into, where that is known.
    pub port: Option<SwitchPort>,
    /// What the rules and its looks say.
    pub proposal: Verdict,
    /// The node that it becomes; nothing where it is left alone.
    pub node: Option<Name>,
    /// The node's address.
    pub ip: Option<Ipv4Addr>,
    /// When.
    pub takes_effect: Option<TakesEffect>,
}

/// What enrolling did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnrollAnswer {
    /// One for each machine that was looked at.
    pub machines: Vec<EnrolledDocument>,
    /// What changes of the description.
    pub changes: Vec<Change>,
    /// Whether it was done.
    pub applied: bool,
}

/// A machine is not to be answered any more, or again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RefuseRequest {
    /// Why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether an earlier refusal is taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub take_back: bool,
}
