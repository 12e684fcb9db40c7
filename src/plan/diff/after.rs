//! The cluster as it would be after an apply, and whether it can be so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::super::resolve::{resolve, said_of};
use super::{ApplyError, Described, Description, Unnamed};
use crate::model::limits::{IMAGES_PER_CAKE_MAX, NODES_MAX, POOLS_MAX, TARGETS_MAX, VARIABLES_PER_NODE_MAX};
use crate::model::schema::{Origin, Setting};
use crate::model::{
    AddressRange, Extension, Identity, Mac, Name, NetworkSpec, NodeId, NodeSet, NodeSpec, PoolSpec, RangeUse, Schema,
    Target, TargetSpec, Template, Value, VarError, VarPath, boot,
};
use crate::state::State;

/// What is removed, by name.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) extensions: BTreeSet<Name>,
    pub(super) networks: BTreeSet<Name>,
    pub(super) cakes: BTreeSet<Name>,
    pub(super) targets: BTreeSet<Name>,
    pub(super) pools: BTreeSet<Name>,
    pub(super) nodes: BTreeSet<Name>,
}

/// The cluster as it would be.
#[derive(Debug)]
pub(super) struct After<'a> {
    pub(super) gone: Gone,
    /// The variables that there were.
    before: &'a Schema,
    /// The extensions that are new or different, in an order in which they can be added.
    pub(super) extensions: Vec<&'a Extension>,
    pub(super) schema: Schema,
    pub(super) networks: BTreeMap<&'a Name, &'a NetworkSpec>,
    pub(super) cakes: BTreeSet<&'a Name>,
    targets: BTreeMap<&'a Name, &'a TargetSpec>,
    pub(super) pools: BTreeMap<&'a Name, &'a PoolSpec>,
    pub(super) defaults: &'a Template,
    /// The nodes that are described, or for which a wider description may have changed.
    pub(super) resolved: Vec<(NodeId, NodeSpec)>,
    /// The nodes that stay as they are.
    kept: Vec<&'a NodeSpec>,
}

static NOTHING: std::sync::LazyLock<Template> = std::sync::LazyLock::new(Template::default);

/// Makes the cluster as it would be, and checks it.
pub(super) fn after<'a>(state: &'a State, description: &'a Description) -> Result<After<'a>, ApplyError> {
    check_twice(description)?;
    let gone = gone(state, description);
    let (extensions, schema) = extend(state, description, &gone)?;
    let pools = state.pools.iter().filter(|(name, _)| !gone.pools.contains(name)).map(|(name, spec)| (name, &**spec));
    let pools = pools.chain(description.pools.iter().map(|spec| (&spec.name, spec))).collect();
    let networks = state.networks.iter().filter(|(name, _)| !gone.networks.contains(name));
    let networks = networks.map(|(name, spec)| (name, &**spec));
    let networks: BTreeMap<_, _> = networks.chain(description.networks.iter().map(|spec| (&spec.name, spec))).collect();
    let cakes = state.cakes.keys().filter(|name| !gone.cakes.contains(*name));
    let cakes = cakes.chain(description.cakes.iter().map(|spec| &spec.name)).collect();
    let targets = state.targets.iter().filter(|(name, _)| !gone.targets.contains(*name));
    let targets = targets.map(|(name, spec)| (name, &**spec));
    let targets = targets.chain(description.targets.iter().map(|spec| (&spec.name, spec))).collect();
    let defaults = match (&description.defaults, description.unnamed) {
        (Some(defaults), _) => defaults,
        (None, Unnamed::Removed) => &NOTHING,
        (None, Unnamed::Kept) => state.defaults.as_ref(),
    };
    let (mut resolved, kept) = nodes(state, description, &gone, &pools, defaults)?;
    give_addresses(state, &networks, &kept, &mut resolved)?;
    let before = &state.schema;
    let after = After { gone, before, extensions, schema, networks, cakes, targets, pools, defaults, resolved, kept };
    after.check(state, description)?;
    Ok(after)
}

fn check_twice(description: &Description) -> Result<(), ApplyError> {
    let mut seen: BTreeSet<(Described, &Name)> = BTreeSet::new();
    let nodes = description.nodes.iter().map(|(_, node)| (Described::Node, &node.name));
    let named = nodes
        .chain(description.networks.iter().map(|spec| (Described::Network, &spec.name)))
        .chain(description.cakes.iter().map(|spec| (Described::Cake, &spec.name)))
        .chain(description.targets.iter().map(|spec| (Described::Target, &spec.name)))
        .chain(description.pools.iter().map(|spec| (Described::Pool, &spec.name)))
        .chain(description.extensions.iter().map(|spec| (Described::Extension, &spec.name)));
    for (what, name) in named {
        if !seen.insert((what, name)) {
            return Err(ApplyError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}

fn gone(state: &State, description: &Description) -> Gone {
    let mut gone = Gone { nodes: description.removed_nodes.clone(), ..Gone::default() };
    if description.unnamed == Unnamed::Kept {
        return gone;
    }
    let unnamed = |there: &mut dyn Iterator<Item = &Name>, named: &mut dyn Iterator<Item = &Name>| -> BTreeSet<Name> {
        let named: BTreeSet<&Name> = named.collect();
        there.filter(|name| !named.contains(name)).cloned().collect()
    };
    let described = state.schema.added().values().filter(|extension| extension.origin == Origin::Described);
    gone.extensions =
        unnamed(&mut described.map(|e| &e.name), &mut description.extensions.iter().map(|spec| &spec.name));
    gone.networks = unnamed(&mut state.networks.keys(), &mut description.networks.iter().map(|spec| &spec.name));
    gone.cakes = unnamed(&mut state.cakes.keys(), &mut description.cakes.iter().map(|spec| &spec.name));
    gone.targets = unnamed(&mut state.targets.keys(), &mut description.targets.iter().map(|spec| &spec.name));
    gone.pools = unnamed(&mut state.pools.keys(), &mut description.pools.iter().map(|spec| &spec.name));
    let nodes = unnamed(&mut state.by_name.keys(), &mut description.nodes.iter().map(|(_, node)| &node.name));
    gone.nodes.extend(nodes);
    gone
}

/// The schema with the described extensions. A variable may move from one of them to another, so each is added when the
/// others let it.
fn extend<'a>(
    state: &State,
    description: &'a Description,
    gone: &Gone,
) -> Result<(Vec<&'a Extension>, Schema), ApplyError> {
    let mut schema = state.schema.clone();
    for name in &gone.extensions {
        schema.remove(name);
    }
    let known = |extension: &&Extension| schema.added().get(&extension.name).map(AsRef::as_ref) != Some(*extension);
    let mut waiting: Vec<&Extension> = description.extensions.iter().filter(known).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut refused = None;
        waiting.retain(|extension| match schema.add((*extension).clone()) {
            Ok(()) => {
                ordered.push(*extension);
                false
            }
            Err(error) => {
                refused.get_or_insert(error);
                true
            }
        });
        if let Some(error) = refused.filter(|_| waiting.len() == before) {
            return Err(error.into());
        }
    }
    Ok((ordered, schema))
}

type Resolved<'a> = (Vec<(NodeId, NodeSpec)>, Vec<&'a NodeSpec>);

fn nodes<'a>(
    state: &'a State,
    description: &Description,
    gone: &Gone,
    pools: &BTreeMap<&Name, &PoolSpec>,
    defaults: &Template,
) -> Result<Resolved<'a>, ApplyError> {
    let described: BTreeSet<&Name> = description.nodes.iter().map(|(_, node)| &node.name).collect();
    let same_defaults = state.defaults.as_ref() == defaults;
    let same_pool = |name: &Name| state.pools.get(name).map(AsRef::as_ref) == pools.get(name).copied();
    let mut resolved = Vec::new();
    let mut kept = Vec::new();
    let pool_of = |spec_pool: &Option<Name>| spec_pool.as_ref().and_then(|name| pools.get(name).copied());
    for node in state.nodes.values() {
        let spec = &node.spec;
        if described.contains(&spec.name) || gone.nodes.contains(&spec.name) {
            continue;
        }
        if same_defaults && spec.pool.as_ref().is_none_or(same_pool) {
            kept.push(spec.as_ref());
            continue;
        }
        let said = said_of(state, node);
        resolved.push((node.id, resolve(&said, pool_of(&said.pool), defaults)?));
    }
    for (new_id, said) in &description.nodes {
        if let Some(pool) = said.pool.as_ref().filter(|pool| !pools.contains_key(pool)) {
            let of = format!("node {}", said.name);
            return Err(ApplyError::Missing { of, what: Described::Pool, name: pool.clone() });
        }
        let id = state.node_named(&said.name).map_or(*new_id, |known| known.id);
        resolved.push((id, resolve(said, pool_of(&said.pool), defaults)?));
    }
    Ok((resolved, kept))
}

/// Nodes that are described without an address keep theirs, or get one of a range of their network that is for nodes.
fn give_addresses(
    state: &State,
    networks: &BTreeMap<&Name, &NetworkSpec>,
    kept: &[&NodeSpec],
    resolved: &mut [(NodeId, NodeSpec)],
) -> Result<(), ApplyError> {
    let mut taken: BTreeSet<Ipv4Addr> =
        kept.iter().copied().chain(resolved.iter().map(|(_, spec)| spec)).map(|spec| spec.ip).collect();
    // Where the search of each range goes on: what was taken once in an apply stays taken.
    let mut searched: BTreeMap<Ipv4Addr, u32> = BTreeMap::new();
    for (id, spec) in resolved.iter_mut().filter(|(_, spec)| spec.ip.is_unspecified()) {
        // A network that is not there is told of when the node is checked.
        let Some(network) = networks.get(&spec.network) else { continue };
        let had = state.node(*id).map(|node| node.spec.ip);
        let mut found = had.filter(|ip| network.subnet.is_host(*ip) && !taken.contains(ip));
        let fits =
            |range: &&AddressRange| range.labels.iter().all(|(label, value)| spec.labels.get(label) == Some(value));
        for range in network.ranges_for(RangeUse::Nodes).filter(fits) {
            let next = searched.entry(range.from).or_insert_with(|| u32::from(range.from));
            while found.is_none() && *next <= u32::from(range.to) {
                let ip = Ipv4Addr::from(*next);
                *next = next.saturating_add(1);
                found = Some(ip).filter(|ip| {
                    !taken.contains(ip) && network.router != Some(*ip) && state.leases.of_ip(*ip).is_none()
                });
            }
        }
        let (node, network) = (spec.name.clone(), network.name.clone());
        spec.ip = found.ok_or(ApplyError::NoAddress { node, network })?;
        taken.insert(spec.ip);
    }
    Ok(())
}

impl After<'_> {
    fn all_nodes(&self) -> impl Iterator<Item = &NodeSpec> {
        self.kept.iter().copied().chain(self.resolved.iter().map(|(_, spec)| spec))
    }

    fn templates(&self) -> impl Iterator<Item = (String, &Template)> {
        let pools = self.pools.values().map(|pool| (format!("pool {}", pool.name), &pool.template));
        pools.chain([("the cluster's defaults".to_owned(), self.defaults)])
    }

    fn check(&self, state: &State, description: &Description) -> Result<(), ApplyError> {
        let count = self.kept.len() + self.resolved.len();
        if description.unnamed == Unnamed::Removed && description.nodes.is_empty() && !state.nodes.is_empty() {
            return Err(ApplyError::WouldRemoveAll { nodes: state.nodes.len() });
        }
        if count > NODES_MAX {
            return Err(ApplyError::TooManyNodes { nodes: count });
        }
        if self.pools.len() > POOLS_MAX {
            return Err(ApplyError::TooManyPools { pools: self.pools.len() });
        }
        if let Some(cake) = description.cakes.iter().find(|cake| cake.images.len() > IMAGES_PER_CAKE_MAX) {
            return Err(ApplyError::TooManyImages { cake: cake.name.clone(), images: cake.images.len() });
        }
        for network in &description.networks {
            network.check()?;
        }
        self.check_targets()?;
        self.check_used()?;
        let names: BTreeSet<&Name> = self.all_nodes().map(|spec| &spec.name).collect();
        for (of, template) in self.templates() {
            self.check_template(&of, template, &names)?;
        }
        for spec in self.all_nodes() {
            self.check_node(spec, &names)?;
        }
        self.check_by_hand(state)?;
        check_unshared(self.all_nodes())
    }

    fn check_targets(&self) -> Result<(), ApplyError> {
        if self.targets.len() > TARGETS_MAX {
            return Err(ApplyError::TooManyTargets { targets: self.targets.len() });
        }
        for spec in self.targets.values() {
            spec.check()?;
            if let Some(then) = &spec.then {
                self.check_target(&format!("target {}", spec.name), then.as_str())?;
            }
        }
        Ok(())
    }

    /// Whether there is such a target.
    fn check_target(&self, of: &str, text: &str) -> Result<(), ApplyError> {
        let wrong = |_| VarError::BadValue {
            path: VarPath::target(),
            value: text.to_owned(),
            allowed: "layer0, local, or the name of a described target".to_owned(),
        };
        let target = Target::of(Some(&Value::Text(text.into())));
        match target.map_err(wrong).map_err(|source| ApplyError::Variable { of: of.to_owned(), source })? {
            Target::Described(name) if !self.targets.contains_key(&name) => {
                Err(ApplyError::Missing { of: of.to_owned(), what: Described::Target, name })
            }
            _ => Ok(()),
        }
    }

    /// What is removed may not be needed by what stays.
    fn check_used(&self) -> Result<(), ApplyError> {
        let templates: Vec<(String, &Template)> = self.templates().collect();
        let refused = |what,
                       gone: &BTreeSet<Name>,
                       node: &dyn Fn(&NodeSpec, &Name) -> bool,
                       template: &dyn Fn(&Template, &Name) -> bool| {
            for name in gone {
                let nodes: Vec<&str> = self.all_nodes().filter(|n| node(n, name)).map(|n| n.name.as_str()).collect();
                let in_template = templates.iter().find(|(_, t)| template(t, name)).map(|(of, _)| of.clone());
                let by = in_template.or_else(|| (!nodes.is_empty()).then(|| format!("node {}", NodeSet::fold(nodes))));
                if let Some(by) = by {
                    return Err(ApplyError::InUse { what, name: name.clone(), by });
                }
            }
            Ok(())
        };
        let gone = &self.gone;
        refused(Described::Pool, &gone.pools, &|n, name| n.pool.as_ref() == Some(name), &|_, _| false)?;
        refused(Described::Network, &gone.networks, &|n, name| n.network == *name, &|t, name| {
            t.network.as_ref() == Some(name)
        })?;
        refused(Described::Cake, &gone.cakes, &|n, name| n.cake.as_ref() == Some(name), &|t, name| {
            t.cake.as_ref() == Some(name)
        })?;
        refused(Described::Node, &gone.nodes, &|n, name| n.parents.contains(name), &|t, name| t.parents.contains(name))
    }

    fn check_template(&self, of: &str, template: &Template, names: &BTreeSet<&Name>) -> Result<(), ApplyError> {
        let missing = |what, name: &Name| ApplyError::Missing { of: of.to_owned(), what, name: name.clone() };
        if let Some(network) = template.network.as_ref().filter(|name| !self.networks.contains_key(name)) {
            return Err(missing(Described::Network, network));
        }
        if let Some(cake) = template.cake.as_ref().filter(|name| !self.cakes.contains(name)) {
            return Err(missing(Described::Cake, cake));
        }
        if let Some(parent) = template.parents.iter().find(|name| !names.contains(name)) {
            return Err(missing(Described::Node, parent));
        }
        for (path, value) in &template.variables {
            self.check_value(of, path, value)?;
        }
        Ok(())
    }

    fn check_node(&self, spec: &NodeSpec, names: &BTreeSet<&Name>) -> Result<(), ApplyError> {
        let of = format!("node {}", spec.name);
        self.check_template(&of, &spec.own, names)?;
        let missing = |what, name: &Name| ApplyError::Missing { of: of.clone(), what, name: name.clone() };
        let network = self.networks.get(&spec.network).ok_or_else(|| missing(Described::Network, &spec.network))?;
        if !network.subnet.is_host(spec.ip) {
            return Err(ApplyError::NotInNetwork {
                node: spec.name.clone(),
                ip: spec.ip,
                network: spec.network.clone(),
                subnet: network.subnet.to_string(),
            });
        }
        if let Some(cake) = spec.cake.as_ref().filter(|cake| !self.cakes.contains(cake)) {
            return Err(missing(Described::Cake, cake));
        }
        if spec.parents.contains(&spec.name) {
            return Err(ApplyError::OwnParent { node: spec.name.clone() });
        }
        if spec.variables.len() > VARIABLES_PER_NODE_MAX {
            return Err(ApplyError::TooManyVariables { node: spec.name.clone(), variables: spec.variables.len() });
        }
        Ok(())
    }

    fn check_value(&self, of: &str, path: &VarPath, value: &Value) -> Result<(), ApplyError> {
        let wrong = |source: VarError| ApplyError::Variable { of: of.to_owned(), source };
        if path.as_image().is_some() {
            return Err(ApplyError::FollowsCake { of: of.to_owned(), path: path.clone() });
        }
        if let Err(error @ VarError::NoSuchVariable { .. }) = self.schema.spec(path) {
            return Err(self.removed_variable(path, of).unwrap_or_else(|| wrong(error)));
        }
        if self.schema.spec(path).map_err(wrong)?.set == Setting::Observed {
            return Err(wrong(VarError::NotAGoal { path: path.clone() }));
        }
        self.schema.check(path, value).map_err(wrong)?;
        if *path == VarPath::target() {
            return self.check_target(of, &value.to_string());
        }
        if path.as_str() == boot::ARGUMENTS {
            boot::arguments_of(Some(value)).map_err(|source| ApplyError::Argument { of: of.to_owned(), source })?;
        }
        Ok(())
    }

    /// The extension that goes although something still has a value for its variable.
    fn removed_variable(&self, path: &VarPath, of: &str) -> Option<ApplyError> {
        let (extension, _) = self.before.find(path)?;
        let gone = self.gone.extensions.contains(&extension.name);
        let by = format!("the value for {path} of {of}");
        gone.then(|| ApplyError::InUse { what: Described::Extension, name: extension.name.clone(), by })
    }

    /// What was set by hand must stay possible.
    fn check_by_hand(&self, state: &State) -> Result<(), ApplyError> {
        let same = self.extensions.is_empty() && self.gone.extensions.is_empty();
        if same && self.gone.targets.is_empty() {
            return Ok(());
        }
        for node in state.nodes.values().filter(|node| !self.gone.nodes.contains(&node.spec.name)) {
            let of = format!("node {} (by hand)", node.spec.name);
            for (path, value) in node.by_hand.iter().filter(|(path, _)| path.as_image().is_none()) {
                self.check_value(&of, path, value)?;
            }
        }
        Ok(())
    }
}

fn check_unshared<'a>(nodes: impl Iterator<Item = &'a NodeSpec>) -> Result<(), ApplyError> {
    let mut macs: BTreeMap<Mac, &Name> = BTreeMap::new();
    let mut ips: BTreeMap<Ipv4Addr, &Name> = BTreeMap::new();
    let mut identities: BTreeMap<Identity, &Name> = BTreeMap::new();
    for spec in nodes {
        let shared = |first: &Name, what, value: String| ApplyError::Shared {
            first: first.clone(),
            second: spec.name.clone(),
            what,
            value,
        };
        if let Some(first) = macs.insert(spec.mac, &spec.name) {
            return Err(shared(first, "MAC", spec.mac.to_string()));
        }
        if let Some(first) = ips.insert(spec.ip, &spec.name) {
            return Err(shared(first, "address", spec.ip.to_string()));
        }
        for identity in spec.matching.identities() {
            if let Some(first) = identities.insert(identity.clone(), &spec.name) {
                return Err(shared(first, "match", identity.to_string()));
            }
        }
    }
    Ok(())
}
