//! What becomes of machines that are no node: which rule fits each, which name and address it would get, which node it may be
//! a part of, and which of them claim to be the same.
//!
//! Machines are taken in the order of their switch ports, and of their hardware addresses where no port is known; so what is
//! proposed depends on what is known and not on who came first. A condition about something that is not known yet is neither
//! true nor false: the machine waits, rather than fall to a later rule.
//! Invariants: no name and no address is proposed twice, or while a node has it; a machine that may be a node's is never
//! enrolled by a rule; of machines that claim the same identity none is.
//! Absent on purpose: making it so (an operator, or the API for rules that are `automatic`).

mod likeness;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use self::likeness::{Claimant, Evidence, Part, ports_of};
use crate::model::machine::same_uuid;
use crate::model::{Approve, EnrollRule, Mac, Name, NetworkSpec, SwitchPort};
use crate::state::{State, UnknownMachine};

/// What would become of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Proposal {
    /// The interface that it booted from.
    pub mac: Mac,
    /// What would become of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What would become of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// A rule makes a node of it.
    Enroll(Box<Enrollment>),
    /// It looks like a node that is not heard, of which a part was replaced.
    Replaces {
        /// The node.
        node: Name,
        /// What was replaced, by what has stayed the same.
        part: Part,
        /// What has stayed the same.
        evidence: Vec<Evidence>,
    },
    /// Others claim to be the same.
    Contested {
        /// Who.
        with: Vec<Claimant>,
    },
    /// A rule may fit it, once more is known.
    NotYet {
        /// The rule, counted from 1.
        rule: usize,
        /// What is not known yet.
        missing: Missing,
    },
    /// A rule fits it and has no name left.
    NoName {
        /// The rule, counted from 1.
        rule: usize,
    },
    /// A rule fits it, and its network has no address left.
    NoAddress {
        /// The rule, counted from 1.
        rule: usize,
        /// The network.
        network: Name,
    },
    /// A rule fits it, and nobody says in which network it is to be.
    NoNetwork {
        /// The rule, counted from 1.
        rule: usize,
    },
    /// No rule fits it.
    NoRule,
}

/// What is not known of a machine yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Its hardware: it has not come as far as layer 0.
    Hardware,
    /// Its switch port: it still listens.
    SwitchPort,
}

/// A node to be made of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Enrollment {
    /// The rule, counted from 1.
    pub rule: usize,
    /// Whether the rule enrols by itself.
    pub approve: Approve,
    /// The node's name.
    pub name: Name,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its network.
    pub network: Name,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// Its cake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Missing::Hardware => "hardware",
            Missing::SwitchPort => "switch port",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Enroll(node) => write!(f, "{} at {} (rule {}, {})", node.name, node.ip, node.rule, node.approve),
            Verdict::Replaces { node, part, .. } => write!(f, "replacement of {node} ({part})"),
            Verdict::Contested { with } => {
                let with: Vec<String> = with.iter().map(Claimant::to_string).collect();
                write!(f, "refused: claims to be the same as {}", with.join(", "))
            }
            Verdict::NotYet { rule, missing } => write!(f, "waits: rule {rule} needs its {missing}"),
            Verdict::NoName { rule } => write!(f, "rule {rule} has no name left for it"),
            Verdict::NoAddress { rule, network } => write!(f, "rule {rule}: no address is left in network {network}"),
            Verdict::NoNetwork { rule } => write!(f, "rule {rule}: nobody says its network"),
            Verdict::NoRule => f.write_str("no rule fits"),
        }
    }
}

/// What would become of every machine that is no node. `taken` are addresses that no node may have although the state does
/// not know them: the appliance's own.
#[must_use]
pub fn propose(state: &State, taken: &BTreeSet<Ipv4Addr>) -> Vec<Proposal> {
    let claims = likeness::claims(state);
    let mut desk = Desk::new(state, taken);
    in_order(state)
        .into_iter()
        .map(|(mac, machine)| {
            let verdict = claims.get(&mac).cloned().unwrap_or_else(|| desk.by_rules(mac, machine));
            Proposal { mac, verdict }
        })
        .collect()
}

/// The first address of `network` that nobody has.
#[must_use]
pub fn free_address(state: &State, network: &NetworkSpec, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    Desk::new(state, taken).address(network)
}

/// Machines by where they are plugged in, those of which it is not known last.
fn in_order(state: &State) -> Vec<(Mac, &UnknownMachine)> {
    let mut machines: Vec<(Option<SwitchPort>, Mac, &UnknownMachine)> =
        state.unknown.iter().map(|(mac, machine)| (machine.ports(*mac).into_iter().next(), *mac, machine)).collect();
    machines.sort_by(|a, b| (a.0.is_none(), &a.0, a.1).cmp(&(b.0.is_none(), &b.0, b.1)));
    machines.into_iter().map(|(_, mac, machine)| (mac, machine)).collect()
}

/// Names and addresses that are given out.
struct Desk<'a> {
    state: &'a State,
    taken: &'a BTreeSet<Ipv4Addr>,
    names: BTreeSet<Name>,
    ips: BTreeSet<Ipv4Addr>,
    /// Below it every address of a network is known to be taken.
    from: BTreeMap<Name, u32>,
}

/// Whether a condition holds.
enum Fit {
    Yes,
    No,
    Unknown(Missing),
}

impl<'a> Desk<'a> {
    fn new(state: &'a State, taken: &'a BTreeSet<Ipv4Addr>) -> Self {
        Desk { state, taken, names: BTreeSet::new(), ips: BTreeSet::new(), from: BTreeMap::new() }
    }

    fn by_rules(&mut self, mac: Mac, machine: &UnknownMachine) -> Verdict {
        let mut failed = None;
        for (index, rule) in self.state.enrollment.clone().iter().enumerate() {
            let number = index + 1;
            match fit(self.state, rule, mac, machine) {
                Fit::No => {}
                Fit::Unknown(missing) => return failed.unwrap_or(Verdict::NotYet { rule: number, missing }),
                Fit::Yes => match self.give(number, rule, mac, machine) {
                    Ok(node) => return Verdict::Enroll(Box::new(node)),
                    Err(verdict) => drop(failed.get_or_insert(verdict)),
                },
            }
        }
        failed.unwrap_or(Verdict::NoRule)
    }

    fn give(
        &mut self,
        number: usize,
        rule: &EnrollRule,
        mac: Mac,
        machine: &UnknownMachine,
    ) -> Result<Enrollment, Verdict> {
        let network = self.network(rule, machine).ok_or(Verdict::NoNetwork { rule: number })?;
        let at = self.name(rule, mac, machine).ok_or(Verdict::NoName { rule: number })?;
        let name = rule.names.get(at).cloned().ok_or(Verdict::NoName { rule: number })?;
        let ip = match rule.ips.get(at) {
            Some(ip) => *ip,
            None => self
                .address(&network)
                .ok_or_else(|| Verdict::NoAddress { rule: number, network: network.name.clone() })?,
        };
        self.names.insert(name.clone());
        self.ips.insert(ip);
        Ok(Enrollment {
            rule: number,
            approve: rule.approve,
            name,
            ip,
            network: network.name.clone(),
            pool: rule.pool.clone(),
            cake: rule.cake.clone(),
            labels: rule.labels.clone(),
        })
    }

    /// The place of the name in its rule: that of the machine's port where ports have names, else of the first free one.
    fn name(&self, rule: &EnrollRule, mac: Mac, machine: &UnknownMachine) -> Option<usize> {
        let is_free = |at: &usize| {
            let ip_is_free = rule.ips.get(*at).is_none_or(|ip| !self.is_taken(*ip));
            let name = rule.names.get(*at);
            ip_is_free && name.is_some_and(|name| !self.state.by_name.contains_key(name) && !self.names.contains(name))
        };
        if rule.only.ports.len() == rule.names.len() {
            let ports = machine.ports(mac);
            let place = |port: &SwitchPort| rule.only.ports.iter().position(|wanted| is_port(rule, port, wanted));
            return ports.iter().find_map(place).filter(is_free);
        }
        (0..rule.names.len()).find(is_free)
    }

    /// The network that a rule's nodes are in: their pool's, the defaults', or the one that the machine asked on.
    fn network(&self, rule: &EnrollRule, machine: &UnknownMachine) -> Option<NetworkSpec> {
        let pool = rule.pool.as_ref().and_then(|pool| self.state.pools.get(pool));
        let said = pool.and_then(|pool| pool.template.network.as_ref()).or(self.state.defaults.network.as_ref());
        let name = said.or_else(|| self.state.network_of_machine(machine))?;
        self.state.networks.get(name).map(|network| network.as_ref().clone())
    }

    fn address(&mut self, network: &NetworkSpec) -> Option<Ipv4Addr> {
        let first = u32::from(network.subnet.network()).saturating_add(1);
        let last = u32::from(network.subnet.broadcast());
        let from = self.from.get(&network.name).copied().unwrap_or(first);
        let free = |ip: &Ipv4Addr| !self.is_taken(*ip) && !is_reserved(network, *ip);
        let found = (from..last).map(Ipv4Addr::from).find(free)?;
        self.from.insert(network.name.clone(), u32::from(found));
        Some(found)
    }

    fn is_taken(&self, ip: Ipv4Addr) -> bool {
        self.state.by_ip.contains_key(&ip) || self.taken.contains(&ip) || self.ips.contains(&ip)
    }
}

/// Whether an address of the network is somebody's who is no node.
fn is_reserved(network: &NetworkSpec, ip: Ipv4Addr) -> bool {
    network.router == Some(ip) || network.dns.contains(&ip) || network.range_of(ip).is_some()
}

fn is_port(rule: &EnrollRule, port: &SwitchPort, wanted: &str) -> bool {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let switch = rule.only.switch.as_ref();
    let right_switch = switch.is_none_or(|wanted| port.switch.as_ref().is_some_and(|switch| same(switch, wanted)));
    right_switch && same(&port.port, wanted)
}

fn fit(state: &State, rule: &EnrollRule, mac: Mac, machine: &UnknownMachine) -> Fit {
    let mut missing = None;
    for condition in [
        on_network(state, rule, machine),
        in_identity(rule, mac, machine),
        in_hardware(rule, machine),
        in_place(rule, mac, machine),
    ] {
        match condition {
            Fit::No => return Fit::No,
            Fit::Unknown(what) => drop(missing.get_or_insert(what)),
            Fit::Yes => {}
        }
    }
    missing.map_or(Fit::Yes, Fit::Unknown)
}

fn holds(holds: bool) -> Fit {
    if holds { Fit::Yes } else { Fit::No }
}

fn on_network(state: &State, rule: &EnrollRule, machine: &UnknownMachine) -> Fit {
    let wanted = rule.only.network.as_ref();
    holds(wanted.is_none_or(|wanted| state.network_of_machine(machine) == Some(wanted)))
}

/// Serial number, UUID and hardware addresses. Of the addresses the one that it booted from is known at once, the others
/// after its report.
fn in_identity(rule: &EnrollRule, mac: Mac, machine: &UnknownMachine) -> Fit {
    let only = &rule.only;
    let reported = machine.hardware.is_some();
    let unless_reported = |known: bool| match (known, reported) {
        (true, _) => Fit::Yes,
        (false, true) => Fit::No,
        (false, false) => Fit::Unknown(Missing::Hardware),
    };
    let serial = only.serials.is_empty()
        || machine.serial().is_some_and(|serial| only.serials.iter().any(|s| s.trim().eq_ignore_ascii_case(&serial)));
    let uuid = only.uuids.is_empty()
        || machine.identity().is_some_and(|uuid| only.uuids.iter().any(|wanted| same_uuid(*wanted, uuid)));
    let macs = only.macs.is_empty()
        || machine.macs(mac).into_iter().any(|mac| only.macs.iter().any(|prefix| prefix.fits(mac)));
    unless_reported(serial && uuid && macs)
}

fn in_hardware(rule: &EnrollRule, machine: &UnknownMachine) -> Fit {
    let only = &rule.only;
    if only.vendor.is_none() && only.cpus_min.is_none() && only.memory_mib_min.is_none() {
        return Fit::Yes;
    }
    let Some(hardware) = &machine.hardware else { return Fit::Unknown(Missing::Hardware) };
    let makers = [&hardware.system.vendor, &hardware.system.product];
    let makers: Vec<String> = makers.into_iter().flatten().map(|text| text.to_lowercase()).collect();
    let vendor = only.vendor.as_ref().map(|vendor| vendor.to_lowercase());
    holds(
        vendor.is_none_or(|vendor| makers.iter().any(|maker| maker.contains(&vendor)))
            && only.cpus_min.is_none_or(|cpus| hardware.processor.threads >= cpus)
            && only.memory_mib_min.is_none_or(|mib| hardware.memory_bytes >> 20 >= mib),
    )
}

fn in_place(rule: &EnrollRule, mac: Mac, machine: &UnknownMachine) -> Fit {
    let only = &rule.only;
    if only.switch.is_none() && only.ports.is_empty() {
        return Fit::Yes;
    }
    let listed = |port: &SwitchPort| only.ports.iter().any(|wanted| is_port(rule, port, wanted));
    let plugged =
        |port: &SwitchPort| if only.ports.is_empty() { is_port(rule, port, &port.port) } else { listed(port) };
    // Option 82 and LLDP may name one port differently, so the answer is no only when both have had their word.
    match (machine.ports(mac).iter().any(plugged), &machine.neighbours) {
        (true, _) => Fit::Yes,
        (false, Some(_)) => Fit::No,
        (false, None) => Fit::Unknown(Missing::SwitchPort),
    }
}
