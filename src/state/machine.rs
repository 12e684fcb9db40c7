//! Machines that are no node, folded: who they are, where they are plugged in, how far they have come; and those that an
//! operator refused.
//!
//! Invariants: at most [`UNKNOWN_MACHINES_MAX`] are remembered. At the bound the one that has come least far goes, of those the
//! one that was seen longest ago: a storm of made-up addresses drives out its own kind, and none that has reported itself.
//! What was refused is remembered apart, and is never driven out.
//! Absent on purpose: whether a machine is a node's, and what it may become (`plan::enroll`).

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::State;
use super::node::Lease;
use crate::fact::{
    BootClient, BootFile, DhcpEvent, DhcpFact, DhcpRefusal, FileEvent, FileFact, JoinRefusal, MachineEvent,
    MachineFact, Told,
};
use crate::model::hardware::Hardware;
use crate::model::limits::{REFUSED_MACHINES_MAX, UNKNOWN_MACHINES_MAX};
use crate::model::machine::{cut, serial_of, telling_uuid, uuid_of};
use crate::model::{Digest, Mac, Name, Neighbour, Octets, RelayPort, SwitchPort, UnixMs};

/// How far a machine that is no node has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MachineStage {
    /// It asks for an address and gets none.
    #[default]
    Asks,
    /// Its firmware has an address.
    Rom,
    /// Its loader has an address.
    Loader,
    /// It was sent its script.
    Script,
    /// It was sent the kernel.
    Kernel,
    /// It was in layer 0, and is not heard any more.
    Lost,
    /// It is in layer 0 and waits.
    Waits,
}

/// A machine that asked for an address and is no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownMachine {
    /// When it was first seen.
    pub first_seen: UnixMs,
    /// When it was last seen.
    pub last_seen: UnixMs,
    /// What asked.
    pub client: BootClient,
    /// How often it was seen, as far as it was journaled.
    pub times: u64,
    /// How far it has come.
    #[serde(default)]
    pub stage: MachineStage,
    /// Its UUID, as its firmware told it by DHCP.
    #[serde(default)]
    pub uuid: Option<Uuid>,
    /// The network that it asked on.
    #[serde(default)]
    pub network: Option<Name>,
    /// Its vendor class, as it told it by DHCP.
    #[serde(default)]
    pub vendor_class: Option<String>,
    /// The port that a relay named.
    #[serde(default)]
    pub relay: Option<RelayPort>,
    /// Its address.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// The digest of the token of its present boot, until it is used.
    #[serde(default)]
    pub token: Option<Digest>,
    /// The digest of the certificate that it was given.
    #[serde(default)]
    pub certificate: Option<Digest>,
    /// Its session, while it waits.
    #[serde(default)]
    pub session: Option<u64>,
    /// Its hardware, as it reported it.
    #[serde(default)]
    pub hardware: Option<Arc<Hardware>>,
    /// What it heard by LLDP; nothing while it listens.
    #[serde(default)]
    pub neighbours: Option<Vec<Neighbour>>,
    /// Why its last join was refused.
    #[serde(default)]
    pub join_refusal: Option<JoinRefusal>,
}

/// A machine that an operator refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMachine {
    /// When.
    pub at: UnixMs,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// What was known of it.
    #[serde(default)]
    pub machine: Option<Arc<UnknownMachine>>,
}

impl UnknownMachine {
    fn new(at: UnixMs, client: BootClient) -> Self {
        UnknownMachine {
            first_seen: at,
            last_seen: at,
            client,
            times: 0,
            stage: MachineStage::Asks,
            uuid: None,
            network: None,
            vendor_class: None,
            relay: None,
            lease: None,
            token: None,
            certificate: None,
            session: None,
            hardware: None,
            neighbours: None,
            join_refusal: None,
        }
    }

    /// A machine of which nothing is known.
    #[must_use]
    pub fn never_seen() -> Self {
        UnknownMachine::new(UnixMs(0), BootClient::Other)
    }

    /// The UUID that tells it from others, by its own report or its firmware's word.
    #[must_use]
    pub fn identity(&self) -> Option<Uuid> {
        self.hardware.as_deref().and_then(uuid_of).or_else(|| self.uuid.and_then(telling_uuid))
    }

    /// The serial number that tells it from others.
    #[must_use]
    pub fn serial(&self) -> Option<String> {
        self.hardware.as_deref().and_then(serial_of)
    }

    /// Every hardware address that it has: the one that it booted from, and those that it reported.
    #[must_use]
    pub fn macs(&self, booted_from: Mac) -> Vec<Mac> {
        let reported = self.hardware.iter().flat_map(|hardware| hardware.interfaces.iter().map(|i| i.mac));
        let mut macs: Vec<Mac> = std::iter::once(booted_from).chain(reported).collect();
        macs.sort();
        macs.dedup();
        macs
    }

    /// Where it is plugged in, as far as it is known: first what it heard by LLDP on the interface that it booted from.
    #[must_use]
    pub fn ports(&self, booted_from: Mac) -> Vec<SwitchPort> {
        let name = self.hardware.iter().flat_map(|hardware| &hardware.interfaces).find(|i| i.mac == booted_from);
        let heard = self.neighbours.iter().flatten();
        let mut heard: Vec<&Neighbour> = heard.collect();
        heard.sort_by_key(|n| Some(n.interface.as_str()) != name.map(|i| i.name.as_str()));
        let relayed = self.relay.as_ref().and_then(RelayPort::switch_port);
        heard.into_iter().map(SwitchPort::from).chain(relayed).collect()
    }
}

impl State {
    /// The machine that is no node and has this address.
    #[must_use]
    pub fn unknown_at(&self, ip: Ipv4Addr) -> Option<(Mac, &UnknownMachine)> {
        let mut at = self.unknown.iter().filter(|(_, m)| m.lease.as_ref().is_some_and(|lease| lease.ip == ip));
        // An address that was given on has two: the later one has it.
        let first = at.next()?;
        let last = at.fold(first, |last, next| if lease_at(next.1) > lease_at(last.1) { next } else { last });
        Some((*last.0, last.1))
    }

    /// The network that a machine that is no node asked on, or has its address on.
    #[must_use]
    pub fn network_of_machine(&self, machine: &UnknownMachine) -> Option<&Name> {
        let told = machine.network.as_ref().and_then(|name| self.networks.get(name));
        let at = machine.lease.as_ref().map(|lease| lease.ip);
        let here = || self.networks.values().find(|network| at.is_some_and(|ip| network.subnet.contains(ip)));
        told.or_else(here).map(|network| &network.name)
    }

    /// Takes in a DHCP exchange of a machine that is no node.
    pub(super) fn note_unknown(&mut self, at: UnixMs, fact: &DhcpFact) {
        if self.refused.contains_key(&fact.mac) || self.by_mac.contains_key(&fact.mac) {
            return;
        }
        let lease = match &fact.event {
            DhcpEvent::Leased { ip, lease_s, .. } => {
                Some(Lease { ip: *ip, at, until: at.plus(u64::from(*lease_s) * 1000) })
            }
            DhcpEvent::Offered { .. }
            | DhcpEvent::Ignored {
                reason: DhcpRefusal::UnknownMachine | DhcpRefusal::NoLoader | DhcpRefusal::NoAddressLeft { .. },
            } => None,
            _ => return,
        };
        let client = fact.client;
        let machine = self.meet(at, fact.mac, client);
        machine.last_seen = at;
        machine.client = client;
        machine.times += 1;
        machine.take_told(&fact.told);
        if let Some(lease) = lease {
            machine.lease = Some(lease);
            match client {
                BootClient::PxeRom(_) | BootClient::HttpRom(_) => machine.boots(MachineStage::Rom),
                BootClient::Ipxe(_) => machine.boots(MachineStage::Loader),
                BootClient::Other => {}
            }
        }
    }

    /// Takes in a file that was asked for from an address of no node.
    pub(super) fn note_unknown_file(&mut self, at: UnixMs, fact: &FileFact) {
        let std::net::IpAddr::V4(ip) = fact.client.to_canonical() else { return };
        let Some(mac) = self.unknown_at(ip).map(|(mac, _)| mac) else { return };
        let Some(machine) = self.unknown.get_mut(&mac) else { return };
        machine.last_seen = at;
        if let (BootFile::Kernel | BootFile::Initramfs, FileEvent::Sent { .. }) = (&fact.file, &fact.event) {
            machine.boots(MachineStage::Kernel);
        }
    }

    /// Takes in a DHCPv6 exchange of a machine that is no node.
    pub(super) fn note_unknown6(&mut self, at: UnixMs, mac: Mac, client: BootClient) {
        if self.refused.contains_key(&mac) || self.by_mac.contains_key(&mac) {
            return;
        }
        let machine = self.meet(at, mac, client);
        machine.last_seen = at;
        machine.client = client;
        machine.times = machine.times.saturating_add(1);
    }

    /// Takes in what was learned of a machine beside its packets.
    pub(super) fn apply_machine(&mut self, at: UnixMs, fact: &MachineFact) {
        if let MachineEvent::Told { node, token } = &fact.event {
            return self.change(*node, |node| node.token = Some(*token));
        }
        let Some(machine) = self.unknown.get_mut(&fact.mac) else { return };
        machine.last_seen = at;
        if let MachineEvent::Waits { .. } | MachineEvent::StillWaits = &fact.event {
            // Layer 0 does not ask for its address again.
            self.leases.keep(at, fact.mac);
            if let Some(lease) = &mut machine.lease {
                *lease = Lease { ip: lease.ip, at, until: at.plus(lease.until.since(lease.at)) };
            }
        }
        match &fact.event {
            MachineEvent::ScriptSent { token } => {
                machine.token = Some(*token);
                machine.boots(MachineStage::Script);
            }
            MachineEvent::Joined { certificate } => {
                machine.token = None;
                machine.certificate = Some(*certificate);
                machine.session = None;
                machine.join_refusal = None;
                // What was plugged in where may have changed since it was last here.
                machine.neighbours = None;
            }
            MachineEvent::JoinRefused { refusal } => machine.join_refusal = Some(*refusal),
            MachineEvent::Waits { session } => {
                machine.session = Some(*session);
                machine.stage = MachineStage::Waits;
            }
            MachineEvent::Hardware { hardware } => {
                machine.hardware = Some(Arc::new((**hardware).clone()));
                self.merge(fact.mac);
            }
            MachineEvent::Neighbours { neighbours } => machine.neighbours = Some(neighbours.clone()),
            MachineEvent::Left { session, .. } => {
                if machine.session == Some(*session) {
                    machine.session = None;
                    machine.stage = MachineStage::Lost;
                }
            }
            MachineEvent::StillWaits | MachineEvent::Told { .. } => {}
        }
    }

    /// Sessions ended with the process.
    pub(super) fn forget_machines_sessions(&mut self) {
        let with: Vec<Mac> = self.unknown.iter().filter(|(_, m)| m.session.is_some()).map(|(mac, _)| *mac).collect();
        for mac in with {
            if let Some(machine) = self.unknown.get_mut(&mac) {
                machine.session = None;
                machine.stage = MachineStage::Lost;
            }
        }
    }

    /// Answers a machine no more.
    pub(super) fn refuse_machine(&mut self, at: UnixMs, mac: Mac, reason: Option<String>) {
        let machine = self.unknown.remove(&mac).map(Arc::new);
        if self.refused.len() >= REFUSED_MACHINES_MAX && !self.refused.contains_key(&mac) {
            return;
        }
        self.refused.insert(mac, RefusedMachine { at, reason, machine });
    }

    fn meet(&mut self, at: UnixMs, mac: Mac, client: BootClient) -> &mut UnknownMachine {
        if self.unknown.len() >= UNKNOWN_MACHINES_MAX && !self.unknown.contains_key(&mac) {
            let least = self.unknown.iter().min_by_key(|(_, m)| (m.stage, m.last_seen)).map(|(mac, _)| *mac);
            if let Some(least) = least {
                self.unknown.remove(&least);
            }
        }
        self.unknown.entry(mac).or_insert_with(|| UnknownMachine::new(at, client))
    }

    /// A machine that has reported all of its interfaces is one, also when it asked from several of them.
    fn merge(&mut self, mac: Mac) {
        let Some(machine) = self.unknown.get(&mac) else { return };
        let mut first_seen = machine.first_seen;
        for other in machine.macs(mac).into_iter().filter(|other| *other != mac) {
            if self.unknown.get(&other).is_some_and(|m| m.session.is_none())
                && let Some(gone) = self.unknown.remove(&other)
            {
                first_seen = first_seen.min(gone.first_seen);
            }
        }
        if let Some(machine) = self.unknown.get_mut(&mac) {
            machine.first_seen = first_seen;
        }
    }
}

impl UnknownMachine {
    /// Firmware says more of itself than an operating system does, so what is not said again stays.
    fn take_told(&mut self, told: &Told) {
        let text = |octets: &Option<Octets>| octets.as_ref().map(|octets| cut(&octets.to_string()));
        self.uuid = told.uuid.or(self.uuid);
        self.network = told.network.clone().or(self.network.take());
        self.vendor_class = text(&told.vendor_class).or(self.vendor_class.take());
        let relay = RelayPort { circuit: text(&told.circuit_id), remote: text(&told.remote_id) };
        if relay != RelayPort::default() {
            self.relay = Some(relay);
        }
    }

    /// A packet shows how far a boot has come; while the machine is heard from layer 0 that counts.
    fn boots(&mut self, stage: MachineStage) {
        if self.session.is_none() {
            self.stage = stage;
        }
    }
}

fn lease_at(machine: &UnknownMachine) -> Option<UnixMs> {
    machine.lease.as_ref().map(|lease| lease.at)
}
