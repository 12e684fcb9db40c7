//! The API's documents about what is described: a cluster on its way in, and nodes, pools and variables on their way out,
//! with who says what.
//!
//! What comes out can be sent back: a secret comes out as `(secret)`, which on its way in means the one that there is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::document::NodeDocument;
use crate::model::given::UNCHANGED_SECRET;
use crate::model::schema::Setting;
use crate::model::{
    BmcDriver, DhcpOptions, Duid, EnrollRule, Extension, Given, Mac, Name, NetworkSpec, NodeId, NodeIpv6, NodeMatch,
    Revision, Symbol, TargetSpec, Template, UnixMs, VarPath, VarType,
};
use crate::plan::Unnamed;
use crate::plan::resolve::{NodeDescription, SaidBy, said_by, said_of};
use crate::state::{Desired, DesiredSource, Node, Observed, State, StateSource};

/// A cluster's description, with node sets expanded and names not yet resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The cluster's name.
    #[serde(default)]
    pub cluster: Option<Name>,
    /// Its variables besides the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// Its networks.
    #[serde(default)]
    pub networks: Vec<NetworkSpec>,
    /// Its cakes.
    #[serde(default)]
    pub cakes: Vec<CakeRequest>,
    /// Its boot targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetSpec>,
    /// What all nodes have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<TemplateRequest>,
    /// Its pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolRequest>,
    /// The rules by which machines become nodes; nothing leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll: Option<Vec<EnrollRule>>,
    /// Its nodes.
    #[serde(default)]
    pub nodes: Vec<NodeRequest>,
    /// What becomes of what is not described here.
    #[serde(default, skip_serializing_if = "Unnamed::is_kept")]
    pub unnamed: Unnamed,
}

/// A cake, with its images by name or digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CakeRequest {
    /// Its name.
    pub name: Name,
    /// Its images.
    pub images: Vec<Name>,
}

/// What may be said of many nodes at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateRequest {
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Name>,
    /// The cake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    /// The architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Parent candidates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Name>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Values of variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<VarPath, Given>,
    /// DHCP options.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
    /// What BMCs have in common; an address is a node's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcRequest>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolRequest {
    /// Its name.
    pub name: Name,
    /// What its nodes have in common.
    #[serde(flatten)]
    pub template: TemplateRequest,
}

/// A node, with what is said of it alone. Its other keys are those of [`TemplateRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct NodeRequest {
    /// Its name.
    pub name: Name,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Name>,
    /// Its hardware address.
    pub mac: Mac,
    /// Its fixed address; without one it is given one of its network's, and keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// By what else it is known.
    #[serde(default, rename = "match", skip_serializing_if = "NodeMatch::is_empty")]
    pub matching: NodeMatch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cake: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcRequest>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<VarPath, Given>,
    /// Its fixed IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// The identifier by which it asks for its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duid: Option<Duid>,
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
}

/// A BMC with its password, or a part of that.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BmcRequest {
    /// The protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<BmcDriver>,
    /// The address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password, in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl fmt::Debug for BmcRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BmcRequest({:?} {:?}@{:?})", self.driver, self.user, self.address)
    }
}

impl NodeRequest {
    /// The part that a pool could say too.
    #[must_use]
    pub fn into_template(self) -> TemplateRequest {
        let NodeRequest { network, cake, arch, platform, parents, bmc, labels, set, options, .. } = self;
        TemplateRequest { network, cake, arch, platform, parents, labels, set, options, bmc }
    }

    /// What is described of `node` alone.
    #[must_use]
    pub fn of(said: &NodeDescription) -> Self {
        let TemplateRequest { network, cake, arch, platform, parents, labels, set, options, bmc } =
            TemplateRequest::from(&said.own);
        let address = said.bmc;
        let bmc = match bmc {
            None if address.is_none() => None,
            bmc => Some(BmcRequest { address, ..bmc.unwrap_or_default() }),
        };
        let (name, pool) = (said.name.clone(), said.pool.clone());
        let matching = said.matching.clone();
        let NodeIpv6 { ip6, duid } = said.ipv6.clone();
        NodeRequest {
            name,
            pool,
            network,
            mac: said.mac,
            ip: said.ip,
            matching,
            cake,
            arch,
            platform,
            parents,
            bmc,
            labels,
            set,
            ip6,
            duid,
            options,
        }
    }
}

impl From<&Template> for TemplateRequest {
    fn from(template: &Template) -> Self {
        TemplateRequest {
            network: template.network.clone(),
            cake: template.cake.clone(),
            arch: template.arch.as_ref().map(ToString::to_string),
            platform: template.platform.as_ref().map(ToString::to_string),
            parents: template.parents.clone(),
            labels: template.labels.clone(),
            options: template.options.clone(),
            set: template.variables.iter().map(|(path, value)| (path.clone(), Given::from(value))).collect(),
            bmc: template.bmc.as_ref().map(|bmc| BmcRequest {
                driver: bmc.driver,
                address: None,
                user: bmc.user.clone(),
                password: bmc.password.as_ref().map(|_| UNCHANGED_SECRET.to_owned()),
            }),
        }
    }
}

/// A pool, with its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolDocument {
    /// Its name.
    pub name: Name,
    /// What its nodes have in common.
    #[serde(flatten)]
    pub template: TemplateRequest,
    /// Its nodes, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
}

/// One variable that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VariableDocument {
    /// Its path, with a placeholder where it is a family.
    pub path: String,
    /// Its extension.
    pub extension: Name,
    /// What values it takes, for people.
    pub kind: String,
    /// Its type and values, for programs.
    #[serde(flatten)]
    pub of: VarType,
    /// Which values of an enum may be asked for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Symbol>,
    /// How operators may set it.
    pub set: Setting,
    /// What is wanted of it where nothing else says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it says.
    pub doc: String,
}

/// A value that is wanted, and who wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DesiredDocument {
    /// The value, for people.
    pub value: String,
    /// The value, as it would be given again.
    pub given: Given,
    /// Counts its changes.
    pub revision: Revision,
    /// Since when, as text.
    pub at: String,
    /// Since when, in milliseconds since 1970.
    pub at_ms: UnixMs,
    /// Who wants it, for people.
    pub from: String,
    /// Who wants it.
    pub source: DesiredSource,
}

/// A value that was seen, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ObservedDocument {
    /// The value, for people.
    pub value: String,
    /// The value, as it would be given again.
    pub given: Given,
    /// Counts its changes.
    pub revision: Revision,
    /// Since when, as text.
    pub at: String,
    /// Since when, in milliseconds since 1970.
    pub at_ms: UnixMs,
    /// Who saw it, for people.
    pub from: String,
    /// Who saw it.
    pub source: StateSource,
}

impl DesiredDocument {
    /// The document of what is wanted of the variable at `path`.
    #[must_use]
    pub fn new(state: &State, path: &VarPath, desired: &Desired) -> Self {
        let from = match &desired.source {
            DesiredSource::Default => "built in".to_owned(),
            DesiredSource::Extension => match state.schema.find(path) {
                Some((extension, _)) => format!("default of extension {}", extension.name),
                None => "default of an extension".to_owned(),
            },
            DesiredSource::Cluster => "cluster defaults".to_owned(),
            DesiredSource::Pool(pool) => format!("pool {pool}"),
            DesiredSource::Node => "node".to_owned(),
            DesiredSource::Cake(cake) => format!("cake {cake}"),
            DesiredSource::Hand => "by hand".to_owned(),
        };
        DesiredDocument {
            value: desired.value.to_string(),
            given: Given::from(&desired.value),
            revision: desired.revision,
            at: desired.at.to_string(),
            at_ms: desired.at,
            from,
            source: desired.source.clone(),
        }
    }
}

impl ObservedDocument {
    /// The document of what was seen.
    #[must_use]
    pub fn new(observed: &Observed) -> Self {
        let from = match observed.source {
            StateSource::Boot => "a boot service",
            StateSource::Bmc => "the BMC",
            StateSource::Agent => "the agent",
            StateSource::Engine => "the engine, from a failed step",
            StateSource::Implied => "follows from another value",
            StateSource::Module => "a module",
        };
        ObservedDocument {
            value: observed.value.to_string(),
            given: Given::from(&observed.value),
            revision: observed.revision,
            at: observed.at.to_string(),
            at_ms: observed.at,
            from: from.to_owned(),
            source: observed.source,
        }
    }
}

/// One node with who says and who saw what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeDetail {
    /// What every list of nodes tells.
    #[serde(flatten)]
    pub node: NodeDocument,
    /// What is described of it alone: what PUT takes, and PATCH changes.
    pub description: NodeRequest,
    /// Who says which field of it.
    pub said_by: BTreeMap<String, SaidBy>,
    /// Its variables, wanted or seen.
    pub variables: BTreeMap<VarPath, VariableState>,
}

/// Both copies of one variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VariableState {
    /// What is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<DesiredDocument>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedDocument>,
}

impl VariableState {
    /// Both copies of the variable at `path`.
    #[must_use]
    pub fn new(state: &State, node: &Node, path: &VarPath) -> Self {
        VariableState {
            desired: node.desired.get(path).map(|desired| DesiredDocument::new(state, path, desired)),
            observed: node.observed.get(path).map(ObservedDocument::new),
        }
    }
}

impl NodeDetail {
    /// The document of `node` at `now`.
    #[must_use]
    pub fn new(state: &State, node: &Node, now: UnixMs) -> Self {
        let paths = node.desired.keys().chain(node.observed.keys());
        NodeDetail {
            node: NodeDocument::new(node, now),
            description: NodeRequest::of(&said_of(state, node)),
            said_by: said_by(state, node),
            variables: paths.map(|path| (path.clone(), VariableState::new(state, node, path))).collect(),
        }
    }
}

/// One variable of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValueDocument {
    /// The node.
    pub node: Name,
    /// The node's id.
    pub id: NodeId,
    /// The variable.
    pub path: VarPath,
    /// Both copies.
    #[serde(flatten)]
    pub state: VariableState,
}

/// A value to be set by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ValueRequest {
    /// The value.
    pub value: Given,
}

/// Nodes to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// The nodes.
    pub items: Vec<NodeRequest>,
}
