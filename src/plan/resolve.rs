//! One node out of three descriptions: what the cluster's defaults say, its pool, and the node itself.
//!
//! The nearer one stands before the wider one; labels and variables add up, name by name. A [`NodeSpec`] is the result,
//! and keeps in `own` what the node says itself, so that it can be resolved again when a wider description changes.
//!
//! Absent on purpose: whether what is named exists (see `diff`), and goals by hand, which stand before all of this.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{BmcSpec, BmcTemplate, DhcpOptions, Mac, Name, NodeIpv6, NodeMatch, NodeSpec, PoolSpec, Template};
use crate::state::{Node, State};

/// What is said of one node alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDescription {
    /// Its name.
    pub name: Name,
    /// The hardware address of the interface that it boots from.
    pub mac: Mac,
    /// Its fixed address, where it is said.
    pub ip: Option<Ipv4Addr>,
    /// By what else it is known.
    pub matching: NodeMatch,
    /// Its BMC's address and port; without one its power is left to a human.
    pub bmc: Option<SocketAddr>,
    /// The pool that it belongs to.
    pub pool: Option<Name>,
    /// Whatever a pool could say too.
    pub own: Template,
    /// Its IPv6 address and identifier.
    pub ipv6: NodeIpv6,
}

/// Who says something of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SaidBy {
    /// The node's own description.
    Node,
    /// Its pool's.
    Pool(Name),
    /// The cluster's defaults.
    Cluster,
}

impl fmt::Display for SaidBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SaidBy::Node => f.pad("node"),
            SaidBy::Pool(pool) => f.pad(&format!("pool {pool}")),
            SaidBy::Cluster => f.pad("cluster defaults"),
        }
    }
}

/// Nobody says what every node needs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("node {node}: neither it, its pool nor the cluster's defaults say its {what}; say it in one of them")]
pub struct Unsaid {
    /// The node.
    pub node: Name,
    /// What is needed.
    pub what: &'static str,
}

/// The node as it is meant, its own word before its pool's, and that before the cluster's. An address that it does
/// not say is left unspecified (0.0.0.0), to be found for it.
///
/// # Errors
/// When nobody says its network, or what its BMC needs besides an address.
pub fn resolve(node: &NodeDescription, pool: Option<&PoolSpec>, defaults: &Template) -> Result<NodeSpec, Unsaid> {
    let layers = Layers { own: &node.own, pool, defaults };
    let unsaid = |what| Unsaid { node: node.name.clone(), what };
    let bmc = match node.bmc {
        None => None,
        Some(address) => Some(BmcSpec {
            driver: *layers.bmc(|bmc| bmc.driver.as_ref()).ok_or_else(|| unsaid("bmc.driver"))?.0,
            address,
            user: layers.bmc(|bmc| bmc.user.as_ref()).ok_or_else(|| unsaid("bmc.user"))?.0.clone(),
            password: layers.bmc(|bmc| bmc.password.as_ref()).ok_or_else(|| unsaid("bmc.password"))?.0.clone(),
        }),
    };
    let network = layers.nearest(|t| t.network.as_ref()).ok_or_else(|| unsaid("network"))?.0.clone();
    let mut spec = NodeSpec {
        name: node.name.clone(),
        network,
        mac: node.mac,
        ip: node.ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
        matching: node.matching.clone(),
        cake: layers.nearest(|t| t.cake.as_ref()).map(|(cake, _)| cake.clone()),
        bmc,
        labels: BTreeMap::new(),
        pool: node.pool.clone(),
        arch: layers.nearest(|t| t.arch.as_ref()).map(|(arch, _)| arch.clone()),
        platform: layers.nearest(|t| t.platform.as_ref()).map(|(platform, _)| platform.clone()),
        parents: layers.parents(&node.name).map(|(parents, _)| parents).unwrap_or_default(),
        variables: BTreeMap::new(),
        own: Box::new(node.own.clone()),
        ipv6: node.ipv6.clone(),
    };
    for (template, _) in layers.widest_first() {
        spec.labels.extend(template.labels.clone());
        spec.variables.extend(template.variables.clone());
    }
    Ok(spec)
}

/// What is said of a node alone, out of what it was resolved to.
#[must_use]
pub fn said_of(state: &State, node: &Node) -> NodeDescription {
    let spec = &node.spec;
    NodeDescription {
        name: spec.name.clone(),
        mac: spec.mac,
        ip: Some(spec.ip),
        matching: spec.matching.clone(),
        bmc: spec.bmc.as_ref().map(|bmc| bmc.address),
        pool: spec.pool.clone(),
        own: own_of(state, spec),
        ipv6: spec.ipv6.clone(),
    }
}

/// A node that was described before there were pools keeps everything as its own word: nobody else can have said its
/// network.
fn own_of(state: &State, spec: &NodeSpec) -> Template {
    let from_elsewhere = spec.pool.is_some() || state.defaults.network.is_some();
    if !spec.own.is_empty() || from_elsewhere {
        return (*spec.own).clone();
    }
    Template {
        network: Some(spec.network.clone()),
        cake: spec.cake.clone(),
        arch: spec.arch.clone(),
        platform: spec.platform.clone(),
        parents: spec.parents.clone(),
        labels: spec.labels.clone(),
        options: DhcpOptions::default(),
        variables: spec.variables.clone(),
        bmc: spec.bmc.as_ref().map(|bmc| BmcTemplate {
            driver: Some(bmc.driver),
            user: Some(bmc.user.clone()),
            password: Some(bmc.password.clone()),
        }),
    }
}

/// Who says which field of a node's description; what nobody says is not in it.
#[must_use]
pub fn said_by(state: &State, node: &Node) -> BTreeMap<String, SaidBy> {
    let said = said_of(state, node);
    let pool = node.spec.pool.as_ref().and_then(|pool| state.pools.get(pool)).map(AsRef::as_ref);
    let layers = Layers { own: &said.own, pool, defaults: &state.defaults };
    let mut by: BTreeMap<String, SaidBy> = BTreeMap::new();
    for field in ["name", "mac", "ip"] {
        by.insert(field.to_owned(), SaidBy::Node);
    }
    if said.pool.is_some() {
        by.insert("pool".to_owned(), SaidBy::Node);
    }
    let mut note = |field: &str, who: Option<SaidBy>| {
        if let Some(who) = who {
            by.insert(field.to_owned(), who);
        }
    };
    note("network", layers.nearest(|t| t.network.as_ref()).map(|(_, who)| who));
    note("cake", layers.nearest(|t| t.cake.as_ref()).map(|(_, who)| who));
    note("arch", layers.nearest(|t| t.arch.as_ref()).map(|(_, who)| who));
    note("platform", layers.nearest(|t| t.platform.as_ref()).map(|(_, who)| who));
    note("parents", layers.parents(&said.name).map(|(_, who)| who));
    if said.bmc.is_some() {
        note("bmc.address", Some(SaidBy::Node));
        note("bmc.driver", layers.bmc(|bmc| bmc.driver.as_ref()).map(|(_, who)| who));
        note("bmc.user", layers.bmc(|bmc| bmc.user.as_ref()).map(|(_, who)| who));
        note("bmc.password", layers.bmc(|bmc| bmc.password.as_ref()).map(|(_, who)| who));
    }
    for (template, who) in layers.widest_first() {
        for label in template.labels.keys() {
            note(&format!("labels.{label}"), Some(who.clone()));
        }
    }
    by
}

/// The descriptions that speak of one node.
struct Layers<'a> {
    own: &'a Template,
    pool: Option<&'a PoolSpec>,
    defaults: &'a Template,
}

impl<'a> Layers<'a> {
    fn widest_first(&self) -> impl Iterator<Item = (&'a Template, SaidBy)> + use<'a> {
        let pool = self.pool.map(|pool| (&pool.template, SaidBy::Pool(pool.name.clone())));
        [(self.defaults, SaidBy::Cluster)].into_iter().chain(pool).chain([(self.own, SaidBy::Node)])
    }

    fn nearest<T>(&self, get: impl Fn(&'a Template) -> Option<&'a T>) -> Option<(&'a T, SaidBy)> {
        self.widest_first().filter_map(|(template, who)| get(template).map(|value| (value, who))).last()
    }

    fn bmc<T: 'a>(&self, get: impl Fn(&'a BmcTemplate) -> Option<&'a T>) -> Option<(&'a T, SaidBy)> {
        self.nearest(|template| template.bmc.as_ref().and_then(&get))
    }

    /// The head of a pool is named as the parent of all of it, and is not its own.
    fn parents(&self, node: &Name) -> Option<(Vec<Name>, SaidBy)> {
        let (parents, who) = self.nearest(|t| (!t.parents.is_empty()).then_some(&t.parents))?;
        let inherited = who != SaidBy::Node;
        let parents: Vec<Name> = parents.iter().filter(|parent| !inherited || *parent != node).cloned().collect();
        (!parents.is_empty()).then_some((parents, who))
    }
}

#[cfg(test)]
mod tests;
