//! The fold: everything that is known of the cluster, as the sum of its facts.
//!
//! [`State::apply`] is the only thing that changes a [`State`], and it depends on the fact alone: the same
//! journal gives the same state, always. Maps are persistent (they share what did not change), so a snapshot
//! for a reader costs one pointer and a turn of the engine can be taken back when the journal refuses it.
//!
//! Absent on purpose: decisions. That a node is at its goal, or what is to be done, is `plan`'s to say.

mod agent;
mod boot;
pub mod compare;
mod control;
mod engine;
mod inventory;
mod last;
pub mod lease;
mod lease6;
pub mod machine;
mod module;
mod needs;
mod node;
mod observe;
mod operator;
mod removed;
mod suppose;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

pub use control::{Control, LEARNED_MIN, Learned, MassEvent};
pub use last::{BmcEnd, ConsoleTail, DhcpEnd, FileEnd, FileKind, Last};
pub use lease::{Leases, MachineLease};
pub use lease6::{Holder6, Lease6, Leases6, PoolLease6};
pub use machine::{MachineStage, RefusedMachine, UnknownMachine};
pub use node::{
    AgentLink, Aim, Attempt, Desired, DesiredSource, InFlight, Lease, Mark, Marked, MetadataGrant, Needs, Node,
    Observed, Request, RetryState, StateSource,
};
pub use removed::Removed;

use crate::fact::{ApplianceFact, DhcpEvent, DhcpFact, Fact, Stamped, Told};
use crate::model::ipv6::mac_in_address;
use crate::model::{
    CakeSpec, Digest, Duid, EnrollRule, FactSeq, Identity, Mac, Name, NetworkSpec, NodeId, PoolSpec, Schema,
    TargetSpec, Template, TokenSpec, UnixMs,
};

/// Everything that is known, up to one fact.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last fact that is in it.
    pub seq: FactSeq,
    /// The cluster's name, once it was described.
    pub cluster: Option<Name>,
    /// Networks by name.
    pub networks: OrdMap<Name, Arc<NetworkSpec>>,
    /// Cakes by name.
    pub cakes: OrdMap<Name, Arc<CakeSpec>>,
    /// Boot targets by name, besides the built-in ones.
    #[serde(default)]
    pub targets: OrdMap<Name, Arc<TargetSpec>>,
    /// What all nodes have in common, unless their pool or they say otherwise.
    #[serde(default)]
    pub defaults: Arc<Template>,
    /// Pools by name.
    #[serde(default)]
    pub pools: OrdMap<Name, Arc<PoolSpec>>,
    /// Which variables there are.
    #[serde(default)]
    pub schema: Schema,
    /// What holds for all nodes together.
    #[serde(default)]
    pub control: Control,
    /// Nodes by id.
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    /// Node ids by name.
    pub by_name: OrdMap<Name, NodeId>,
    /// Node ids by hardware address.
    pub by_mac: OrdMap<Mac, NodeId>,
    /// Node ids by fixed address.
    pub by_ip: OrdMap<Ipv4Addr, NodeId>,
    /// Node ids by what else they are described by.
    #[serde(default)]
    pub by_identity: OrdMap<Identity, NodeId>,
    /// Node ids by a hardware address that they were seen with and that is not the described one.
    #[serde(default)]
    pub by_other_mac: OrdMap<Mac, NodeId>,
    /// Addresses of machines that are no node.
    #[serde(default)]
    pub leases: Leases,
    /// Node ids by fixed IPv6 address.
    #[serde(default)]
    pub by_ip6: OrdMap<Ipv6Addr, NodeId>,
    /// Node ids by the identifier that their description names.
    #[serde(default)]
    pub by_duid: OrdMap<Duid, NodeId>,
    /// Addresses of IPv6 pools that are given out.
    #[serde(default)]
    pub leases6: Leases6,
    /// Nodes that were removed.
    #[serde(default)]
    pub removed: Removed,
    /// Machines that asked for an address and are no node.
    pub unknown: OrdMap<Mac, UnknownMachine>,
    /// Machines that an operator refused.
    #[serde(default)]
    pub refused: OrdMap<Mac, RefusedMachine>,
    /// The rules by which machines become nodes, in their order.
    #[serde(default)]
    pub enrollment: Arc<Vec<EnrollRule>>,
    /// Tokens of the API, by the digest of their text.
    #[serde(default)]
    pub tokens: OrdMap<Digest, Arc<Token>>,
    /// When the appliance was last started.
    pub started_at: UnixMs,
}

/// A token of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is.
    pub spec: TokenSpec,
    /// When it was given out.
    pub created_at: UnixMs,
}

impl State {
    /// Takes in one fact.
    pub fn apply(&mut self, stamped: &Stamped<Fact>) {
        self.seq = stamped.seq;
        let at = stamped.at;
        match &stamped.fact {
            Fact::Appliance(ApplianceFact::Started { .. }) => self.appliance_started(at),
            Fact::Appliance(_) | Fact::Malformed(_) | Fact::Outcome(_) => {}
            Fact::Operator(fact) => operator::apply(self, at, &fact.event),
            Fact::Dhcp(fact) => match fact.node {
                Some(node) => {
                    self.note_other_mac(node, fact);
                    self.change(node, |n| boot::apply_dhcp(n, at, fact));
                }
                None => {
                    self.leases.apply(at, fact);
                    self.note_unknown(at, fact);
                }
            },
            Fact::Dhcp6(fact) => self.dhcp6(at, fact),
            Fact::File(fact) => match fact.node {
                Some(node) => {
                    self.change(node, |n| boot::apply_file(n, at, fact));
                    operator::target_done(self, at, node, fact);
                }
                None => self.note_unknown_file(at, fact),
            },
            Fact::Power(fact) => self.watching(at, fact.node, |n| boot::apply_power(n, at, &fact.event)),
            Fact::Agent(fact) => {
                if let Some(node) = fact.node {
                    self.watching(at, node, |n| agent::apply(n, at, fact));
                }
            }
            Fact::Engine(fact) => engine::apply(self, at, fact),
            Fact::Fleet(fact) => self.control.fleet(at, fact),
            Fact::Module(fact) => module::apply(self, at, fact),
            Fact::Machine(fact) => self.apply_machine(at, fact),
        }
    }

    /// The node with this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// The node with this name.
    #[must_use]
    pub fn node_named(&self, name: &Name) -> Option<&Arc<Node>> {
        self.nodes.get(self.by_name.get(name)?)
    }

    /// The node that has this hardware address, described or seen.
    #[must_use]
    pub fn node_with_mac(&self, mac: Mac) -> Option<&Arc<Node>> {
        self.nodes.get(self.by_mac.get(&mac).or_else(|| self.by_other_mac.get(&mac))?)
    }

    /// The node that a machine is: by its hardware address, or else by what it and its relay say of it.
    #[must_use]
    pub fn node_of_machine(&self, mac: Mac, told: &Told) -> Option<&Arc<Node>> {
        if let Some(id) = self.by_mac.get(&mac) {
            return self.nodes.get(id);
        }
        if self.by_identity.is_empty() {
            return None;
        }
        self.nodes.get(told.identities().find_map(|identity| self.by_identity.get(&identity))?)
    }

    /// The node that has this fixed address.
    #[must_use]
    pub fn node_with_ip(&self, ip: Ipv4Addr) -> Option<&Arc<Node>> {
        self.nodes.get(self.by_ip.get(&ip)?)
    }

    /// The node that has this IPv6 address: it is fixed, it was leased from a pool, or it was made from its hardware
    /// address in its own network.
    #[must_use]
    pub fn node_with_ip6(&self, ip: Ipv6Addr) -> Option<&Arc<Node>> {
        if let Some(id) = self.by_ip6.get(&ip).or_else(|| self.leases6.node_at(ip)) {
            return self.nodes.get(id);
        }
        let node = self.node_with_mac(mac_in_address(ip)?)?;
        let subnet = self.network_of(node)?.ipv6.as_ref()?.subnet;
        (subnet.contains(ip) || ip.is_unicast_link_local()).then_some(node)
    }

    /// The name of a node, also of one that was removed.
    #[must_use]
    pub fn name_of(&self, id: NodeId) -> Option<&Name> {
        self.node(id).map(|node| &node.spec.name).or_else(|| self.removed.name(id))
    }

    /// The token with this name.
    #[must_use]
    pub fn token_named(&self, name: &Name) -> Option<&Arc<Token>> {
        self.tokens.values().find(|token| token.spec.name == *name)
    }

    /// The network that the node boots from.
    #[must_use]
    pub fn network_of(&self, node: &Node) -> Option<&Arc<NetworkSpec>> {
        self.networks.get(&node.spec.network)
    }

    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&id) {
            let node = Arc::make_mut(node);
            change(node);
            observe::forget_what_cannot_be_known(node, &self.schema);
        }
    }

    /// Changes a node, and notices when one that was at its goal lost its power or its agent by that.
    fn watching(&mut self, at: UnixMs, id: NodeId, change: impl FnOnce(&mut Node)) {
        let was_well = self.nodes.get(&id).is_some_and(|node| node.is_well());
        self.change(id, change);
        if was_well && self.nodes.get(&id).is_some_and(|node| node.has_turned_bad()) {
            self.control.node_turned_bad(at, id);
        }
    }

    /// Connections ended with the process, and a machine may have lost its power meanwhile: both are looked at
    /// again before anything is done. How far a boot had come is kept; its next packet will correct it.
    fn appliance_started(&mut self, at: UnixMs) {
        self.started_at = at;
        self.forget_machines_sessions();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.change(id, |node| node.forget_what_may_have_changed());
        }
    }

    /// A machine that is a node by something else than its hardware address is known by that from then on.
    fn note_other_mac(&mut self, id: NodeId, fact: &DhcpFact) {
        let (mac, DhcpEvent::Leased { .. }) = (fact.mac, &fact.event) else { return };
        let Some(node) = self.nodes.get_mut(&id).filter(|node| !node.has_mac(mac)) else { return };
        if let Some(before) = Arc::make_mut(node).other_mac.replace(mac) {
            self.by_other_mac.remove(&before);
        }
        self.by_other_mac.insert(mac, id);
        self.leases.forget_mac(mac);
    }
}
