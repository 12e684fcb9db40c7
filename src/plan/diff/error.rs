//! What makes a description impossible: it contradicts itself, or the state.

use std::net::IpAddr;

use thiserror::Error;

use super::super::resolve::Unsaid;
use super::Described;
use crate::model::boot::{KernelArgumentError, TargetError};
use crate::model::limits::{
    ENROLL_RULES_MAX, IMAGES_PER_CAKE_MAX, NODES_MAX, POOLS_MAX, TARGETS_MAX, VARIABLES_PER_NODE_MAX,
};
use crate::model::schema::ExtensionError;
use crate::model::{Name, NetworkError, VarError, VarPath};

/// Why a description cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// Something refers to what is not described.
    #[error("{of}: there is no {what} '{name}'; describe it, or correct the name")]
    Missing {
        /// `node n1`, `pool gpu` or `the cluster's defaults`.
        of: String,
        /// What kind of thing.
        what: Described,
        /// The name.
        name: Name,
    },
    /// Something to be removed is still referred to.
    #[error("{what} {name} cannot be removed: {by} still needs it; change that in the same file, or before")]
    InUse {
        /// What kind of thing.
        what: Described,
        /// Its name.
        name: Name,
        /// Who needs it.
        by: String,
    },
    /// A description without a node would remove all of them.
    #[error(
        "the description names no node, and what it does not name is to be removed: that would be all {nodes} nodes; remove them with 'bootes delete node' if that is what you want"
    )]
    WouldRemoveAll {
        /// How many there are.
        nodes: usize,
    },
    /// A network that cannot be.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Two things of a kind with one name.
    #[error("{what} {name} is described twice; remove one of the two")]
    Twice {
        /// What kind of thing.
        what: Described,
        /// The name.
        name: Name,
    },
    /// Nobody says what a node needs.
    #[error(transparent)]
    Unsaid(#[from] Unsaid),
    /// A node that is its own parent.
    #[error("node {node} is among its own parents; remove it from them")]
    OwnParent {
        /// The node.
        node: Name,
    },
    /// Two nodes share what must be one node's alone.
    #[error("nodes {first} and {second} both have the {what} {value}; each node needs its own")]
    Shared {
        /// One node.
        first: Name,
        /// The other.
        second: Name,
        /// `MAC`, `address`, `DUID`, or `match`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The address is not one of the network's.
    #[error("node {node}: {ip} is not a machine's address in network {network} ({subnet})")]
    NotInNetwork {
        /// The node.
        node: Name,
        /// The address.
        ip: IpAddr,
        /// The network.
        network: Name,
        /// Its addresses.
        subnet: String,
    },
    /// No address is said, and none is left.
    #[error(
        "node {node}: it says no ip, and network {network} has no address left for it; say one, or give the network a range for nodes"
    )]
    NoAddress {
        /// The node.
        node: Name,
        /// The network.
        network: Name,
    },
    /// A value that its variable cannot have.
    #[error("{of}: {source}")]
    Variable {
        /// `node n1`, `pool gpu` or `the cluster's defaults`.
        of: String,
        /// What is wrong.
        #[source]
        source: VarError,
    },
    /// A variable that follows from the cake.
    #[error("{of}: {path} follows from the node's cake; name a cake instead, or ask for it by hand with 'bootes set'")]
    FollowsCake {
        /// `node n1`, `pool gpu` or `the cluster's defaults`.
        of: String,
        /// The variable.
        path: VarPath,
    },
    /// Too many rules of enrolment.
    #[error("there would be {rules} enrolment rules; there may be {ENROLL_RULES_MAX}")]
    TooManyRules {
        /// How many.
        rules: usize,
    },
    /// A rule of enrolment without names, or with one twice.
    #[error("{of} needs names, each of them once; write for instance names = \"n[001-128]\"")]
    RuleNames {
        /// Which rule.
        of: String,
    },
    /// Addresses of a rule of enrolment that do not go with its names.
    #[error("{of} has {ips} different addresses for {names} names; give one for each name, or none")]
    RuleAddresses {
        /// Which rule.
        of: String,
        /// How many addresses.
        ips: usize,
        /// How many names.
        names: usize,
    },
    /// An extension that cannot be.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// A boot target that cannot be.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A word that cannot stand on a kernel's command line.
    #[error("{of}: {source}")]
    Argument {
        /// `node n1`, `pool gpu` or `the cluster's defaults`.
        of: String,
        /// What is wrong.
        #[source]
        source: KernelArgumentError,
    },
    /// Too many boot targets.
    #[error("the cluster would have {targets} boot targets; there may be {TARGETS_MAX}")]
    TooManyTargets {
        /// How many.
        targets: usize,
    },
    /// Too many images.
    #[error("cake {cake} has {images} images; a cake may have {IMAGES_PER_CAKE_MAX}")]
    TooManyImages {
        /// The cake.
        cake: Name,
        /// How many.
        images: usize,
    },
    /// Too many nodes.
    #[error("the cluster would have {nodes} nodes; one appliance takes {NODES_MAX}")]
    TooManyNodes {
        /// How many.
        nodes: usize,
    },
    /// Too many pools.
    #[error("the cluster would have {pools} pools; there may be {POOLS_MAX}")]
    TooManyPools {
        /// How many.
        pools: usize,
    },
    /// Too many variables.
    #[error("node {node} would have values for {variables} variables; it may have {VARIABLES_PER_NODE_MAX}")]
    TooManyVariables {
        /// The node.
        node: Name,
        /// How many.
        variables: usize,
    },
}
