//! Which machines look like nodes that are not heard, and which claim to be somebody else.
//!
//! Two are the same when their UUIDs are, or their serial numbers where not both have a UUID: makers give one serial number to
//! all boards of a chassis more often than one UUID. A machine that shares its UUID or serial number with a node that is not
//! heard is that node with another network card; one that shares a network card is that node with another main board; one that
//! sits on its port is another machine in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Verdict;
use crate::model::machine::{same_uuid, serial_of, uuid_of};
use crate::model::{Mac, Name, SwitchPort};
use crate::state::{Node, State, UnknownMachine};

/// What was replaced of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of it: it is on the node's switch port.
    Machine,
    /// The main board: it has one of the node's network cards.
    Mainboard,
    /// The network card: it has the node's UUID or serial number.
    Nic,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Machine => "machine",
            Part::Mainboard => "mainboard",
            Part::Nic => "NIC",
        })
    }
}

/// What a machine has in common with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "same", rename_all = "snake_case")]
pub enum Evidence {
    /// The UUID.
    Uuid {
        /// It.
        uuid: Uuid,
    },
    /// The serial number.
    Serial {
        /// It.
        serial: String,
    },
    /// A network card.
    Mac {
        /// Its address.
        mac: Mac,
    },
    /// The switch port.
    Port {
        /// It.
        port: SwitchPort,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Uuid { uuid } => write!(f, "UUID {uuid}"),
            Evidence::Serial { serial } => write!(f, "serial number {serial}"),
            Evidence::Mac { mac } => write!(f, "MAC {mac}"),
            Evidence::Port { port } => write!(f, "switch port {port}"),
        }
    }
}

/// Somebody who claims an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "claimant", rename_all = "snake_case")]
pub enum Claimant {
    /// A machine that is no node.
    Machine {
        /// The interface that it booted from.
        mac: Mac,
    },
    /// A node.
    Node {
        /// Its name.
        node: Name,
    },
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claimant::Machine { mac } => write!(f, "machine {mac}"),
            Claimant::Node { node } => write!(f, "node {node}"),
        }
    }
}

/// What tells one machine from another.
#[derive(Default)]
struct Identity {
    uuid: Option<Uuid>,
    serial: Option<String>,
}

impl Identity {
    fn of_machine(machine: &UnknownMachine) -> Self {
        Identity { uuid: machine.identity(), serial: machine.serial() }
    }

    fn of_node(node: &Node) -> Self {
        let hardware = node.hardware.as_deref();
        Identity { uuid: hardware.and_then(uuid_of), serial: hardware.and_then(serial_of) }
    }

    fn shared(&self, other: &Identity) -> Option<Evidence> {
        match (self.uuid, other.uuid) {
            (Some(one), Some(two)) => same_uuid(one, two).then_some(Evidence::Uuid { uuid: two }),
            _ => {
                let serial = self.serial.clone().filter(|serial| Some(serial) == other.serial.as_ref())?;
                Some(Evidence::Serial { serial })
            }
        }
    }
}

/// Who has what: so that ten thousand nodes are not compared with each of a thousand machines.
#[derive(Default)]
struct Index {
    uuids: HashMap<Uuid, Vec<usize>>,
    serials: HashMap<String, Vec<usize>>,
    macs: HashMap<Mac, Vec<usize>>,
    ports: HashMap<SwitchPort, Vec<usize>>,
}

/// A UUID in one of the two orders that it is written in, whichever it was written in.
fn either_way(uuid: Uuid) -> Uuid {
    uuid.min(Uuid::from_bytes_le(*uuid.as_bytes()))
}

impl Index {
    fn identity(&mut self, of: usize, identity: &Identity) {
        if let Some(uuid) = identity.uuid {
            self.uuids.entry(either_way(uuid)).or_default().push(of);
        }
        if let Some(serial) = &identity.serial {
            self.serials.entry(serial.clone()).or_default().push(of);
        }
    }

    /// Those that may be the same.
    fn same(&self, identity: &Identity) -> BTreeSet<usize> {
        let uuids = identity.uuid.and_then(|uuid| self.uuids.get(&either_way(uuid)));
        let serials = identity.serial.as_ref().and_then(|serial| self.serials.get(serial));
        uuids.into_iter().chain(serials).flatten().copied().collect()
    }
}

/// What follows for machines that look like somebody: those that rules must leave alone.
pub(super) fn claims(state: &State) -> BTreeMap<Mac, Verdict> {
    let nodes: Vec<(&Node, Identity)> =
        state.nodes.values().map(|node| (node.as_ref(), Identity::of_node(node))).collect();
    let machines: Vec<(Mac, &UnknownMachine, Identity)> =
        state.unknown.iter().map(|(mac, machine)| (*mac, machine, Identity::of_machine(machine))).collect();
    let (mut of_nodes, mut of_machines) = (Index::default(), Index::default());
    if machines.is_empty() {
        return BTreeMap::new();
    }
    for (at, (node, identity)) in nodes.iter().enumerate() {
        of_nodes.identity(at, identity);
        for mac in macs_of(node) {
            of_nodes.macs.entry(mac).or_default().push(at);
        }
        for port in ports_of(node) {
            of_nodes.ports.entry(port).or_default().push(at);
        }
    }
    for (at, (.., identity)) in machines.iter().enumerate() {
        of_machines.identity(at, identity);
    }
    let mut verdicts = BTreeMap::new();
    let mut replacing: BTreeMap<Name, Vec<(Part, Mac)>> = BTreeMap::new();
    for (mac, machine, identity) in &machines {
        let others = of_machines.same(identity).into_iter().filter_map(|at| machines.get(at));
        let same = others.filter(|(other, _, its)| other != mac && identity.shared(its).is_some());
        let mut with: Vec<Claimant> = same.map(|(mac, ..)| Claimant::Machine { mac: *mac }).collect();
        let by_mac = machine.macs(*mac).into_iter().filter_map(|mac| of_nodes.macs.get(&mac)).flatten();
        let by_port = machine.ports(*mac).into_iter().filter_map(|port| of_nodes.ports.get(&port)).flatten();
        let mut candidates: BTreeSet<usize> = by_mac.chain(by_port).copied().collect();
        candidates.extend(of_nodes.same(identity));
        let mut likely: Vec<(Part, Name, Vec<Evidence>)> = Vec::new();
        for (node, its) in candidates.into_iter().filter_map(|at| nodes.get(at)) {
            let name = || node.spec.name.clone();
            if node.agent.session.is_none() {
                likely.extend(alike(*mac, machine, identity, node, its).map(|(part, why)| (part, name(), why)));
            } else if identity.shared(its).is_some() {
                with.push(Claimant::Node { node: name() });
            }
        }
        let best = likely.iter().map(|(part, ..)| *part).max();
        likely.retain(|(part, ..)| Some(*part) == best);
        if likely.len() > 1 {
            with.extend(likely.iter().map(|(_, node, _)| Claimant::Node { node: node.clone() }));
        }
        if !with.is_empty() {
            verdicts.insert(*mac, Verdict::Contested { with });
        } else if let Some((part, node, evidence)) = likely.pop() {
            replacing.entry(node.clone()).or_default().push((part, *mac));
            verdicts.insert(*mac, Verdict::Replaces { node, part, evidence });
        }
    }
    // Two machines cannot both be one node.
    for (node, macs) in replacing {
        let best = macs.iter().map(|(part, _)| *part).max();
        let rivals: Vec<Mac> = macs.iter().filter(|(part, _)| Some(*part) == best).map(|(_, mac)| *mac).collect();
        for (_, mac) in macs {
            let others = rivals.iter().filter(|other| **other != mac).map(|mac| Claimant::Machine { mac: *mac });
            let mut with: Vec<Claimant> = others.collect();
            if !with.is_empty() {
                with.push(Claimant::Node { node: node.clone() });
                verdicts.insert(mac, Verdict::Contested { with });
            }
        }
    }
    verdicts
}

/// What a machine has in common with a node that is not heard, and what was replaced then.
fn alike(
    mac: Mac,
    machine: &UnknownMachine,
    identity: &Identity,
    node: &Node,
    other: &Identity,
) -> Option<(Part, Vec<Evidence>)> {
    let same = identity.shared(other);
    let own = macs_of(node);
    let shared = machine.macs(mac).into_iter().filter(|mac| own.contains(mac));
    let macs: Vec<Evidence> = shared.map(|mac| Evidence::Mac { mac }).collect();
    let places = ports_of(node);
    let ports = machine.ports(mac).into_iter().filter(|port| places.contains(port));
    let ports: Vec<Evidence> = ports.map(|port| Evidence::Port { port }).collect();
    let part = match (&same, macs.is_empty(), ports.is_empty()) {
        (Some(_), ..) => Part::Nic,
        (None, false, _) => Part::Mainboard,
        (None, true, false) => Part::Machine,
        (None, true, true) => return None,
    };
    Some((part, same.into_iter().chain(macs).chain(ports).collect()))
}

/// Every hardware address of a node: the described one, and those that it reported.
fn macs_of(node: &Node) -> Vec<Mac> {
    let reported = node.hardware.iter().flat_map(|hardware| hardware.interfaces.iter().map(|i| i.mac));
    let mut macs: Vec<Mac> = std::iter::once(node.spec.mac).chain(reported).collect();
    macs.sort();
    macs.dedup();
    macs
}

/// The switch ports that a node was last seen on.
#[must_use]
pub fn ports_of(node: &Node) -> Vec<SwitchPort> {
    let text = |path: &str| {
        let value = node.see(&path.parse().ok()?)?;
        Some(value.to_string())
    };
    let ports = node.observed.keys().filter_map(|path| path.as_str().strip_prefix("net.")?.strip_suffix(".port"));
    let on = |interface: &str| {
        let port = text(&format!("net.{interface}.port"))?;
        Some(SwitchPort { switch: text(&format!("net.{interface}.switch")), port })
    };
    ports.filter_map(on).collect()
}
