//! cluster.toml: extensions, networks, cakes, defaults, pools and nodes, with node sets expanded into single nodes.
//!
//! A file may describe a part of a cluster: what it does not name stays as it is.
//! Invariants: every node of the result has values of its own; no name is described twice.
//! Absent on purpose: what only the appliance knows, such as whether a network or an image exists.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::enroll;
use super::error::{ConfigError, Problem, ValueError};
use super::expand;
use super::extension;
use super::field::{Document, Field, Table};

use super::ipv6;
use super::keys::cluster as keys;
use super::network;
use super::source::Source;
use super::suggest;
use crate::model::identity::OctetsError;
use crate::model::{BmcDriver, Given, Mac, Name, NodeIpv6, NodeMatch, NodeSet, Octets, Schema, VarPath};
use crate::port::describe::{ApplyRequest, BmcRequest, CakeRequest, NodeRequest, PoolRequest, TemplateRequest};

/// Reads the file at `path`, or the standard input when it is `-`.
///
/// # Errors
/// When it cannot be read, or something in it is wrong; the error says where.
pub fn read(path: &Path) -> Result<ApplyRequest, ConfigError> {
    parse(&Source::read(path)?)
}

/// Where each name was described first, by kind of thing.
#[derive(Default)]
pub(super) struct Described {
    lines: HashMap<(&'static str, Name), usize>,
}

impl Described {
    pub(super) fn note(&mut self, what: &'static str, name: &Name, field: &Field) -> Result<(), ConfigError> {
        match self.lines.insert((what, name.clone()), field.line()) {
            None => Ok(()),
            Some(first_line) => Err(field.error(Problem::Twice { what, name: name.to_string(), first_line })),
        }
    }
}

pub(super) fn parse(source: &Source) -> Result<ApplyRequest, ConfigError> {
    let document = Document::parse(source)?;
    let root = document.root(&keys::ROOT)?;
    let mut described = Described::default();
    let mut request = ApplyRequest::default();
    if root.get(&keys::CLUSTER).is_some() {
        request.cluster = Some(root.section(&keys::CLUSTER)?.need(&keys::CLUSTER_NAME)?.parse()?);
    }
    let mut schema = Schema::default();
    for table in root.sections(&keys::EXTENSION)? {
        let name = table.need(&keys::EXTENSION_NAME)?;
        described.note("extension", &name.parse()?, &name)?;
        request.extensions.push(extension::read(&table, &mut schema)?);
    }
    if root.get(&keys::DEFAULTS).is_some() {
        let table = root.section(&keys::DEFAULTS)?;
        request.defaults = Some(wide(&table, &keys::DEFAULTS_BMC)?);
    }
    for table in root.sections(&keys::POOL)? {
        let name_field = table.need(&keys::POOL_NAME)?;
        let name = name_field.parse()?;
        described.note("pool", &name, &name_field)?;
        request.pools.push(PoolRequest { name, template: wide(&table, &keys::POOL_BMC)? });
    }
    for table in root.sections(&keys::NETWORK)? {
        request.networks.push(network::network(&table, &mut described)?);
    }
    for table in root.sections(&keys::CAKE)? {
        request.cakes.push(cake(&table, &mut described)?);
    }
    for table in root.sections(&super::keys::target::TARGET)? {
        let target = super::target::read(&table)?;
        described.note("target", &target.name, &table.need(&super::keys::target::NAME)?)?;
        request.targets.push(target);
    }
    if root.get(&keys::ENROLL).is_some() {
        let rules = root.sections(&keys::ENROLL)?;
        request.enroll = Some(rules.iter().map(enroll::read).collect::<Result<_, _>>()?);
    }
    for table in root.sections(&keys::NODE)? {
        request.nodes.extend(nodes(&table, &mut described)?);
    }
    Ok(request)
}

/// One of some words.
pub(super) fn choice<T: Copy + ToString>(field: &Field, known: &[T]) -> Result<T, ConfigError> {
    let text = field.text()?;
    known.iter().copied().find(|one| one.to_string() == text).ok_or_else(|| {
        let words: Vec<String> = known.iter().map(T::to_string).collect();
        let advice = suggest::advice(text, words.iter().map(String::as_str));
        field.bad(ValueError::Choice { got: text.to_owned(), advice })
    })
}

fn cake(table: &Table, described: &mut Described) -> Result<CakeRequest, ConfigError> {
    let name_field = table.need(&keys::CAKE_NAME)?;
    let name = name_field.parse()?;
    described.note("cake", &name, &name_field)?;
    let images = table.need(&keys::CAKE_IMAGES)?.items()?;
    Ok(CakeRequest { name, images: images.iter().map(Field::parse).collect::<Result<_, _>>()? })
}

fn nodes(table: &Table, described: &mut Described) -> Result<Vec<NodeRequest>, ConfigError> {
    let names_field = match (table.get(&keys::NAMES), table.get(&keys::NAME)) {
        (Some(_), Some(name)) => return Err(name.error(Problem::NameAndNames)),
        (None, Some(name)) => name,
        _ => table.need(&keys::NAMES)?,
    };
    let set: NodeSet = names_field.parse()?;
    let mut names: Vec<Name> = Vec::new();
    for text in set.iter() {
        let name = text.parse().map_err(|error| names_field.bad(ValueError::Name(error)))?;
        described.note("node", &name, &names_field)?;
        names.push(name);
    }
    let macs = expand::each(&table.need(&keys::MAC)?, &set, |text| Ok(text.parse::<Mac>()?))?;
    let ips = match table.get(&keys::IP) {
        Some(field) => expand::each(&field, &set, expand::ip)?.into_iter().map(Some).collect(),
        None => vec![None; set.len()],
    };
    let pool: Option<Name> = table.get(&keys::NODE_POOL).map(|field| field.parse()).transpose()?;
    let TemplateRequest { network, cake, arch, platform, parents, labels, set: values, options, bmc: _ } =
        template(table)?;
    let bmcs = bmcs(table, &set)?;
    let matches = matches(table, &set)?;
    let single = names.into_iter().zip(macs).zip(ips).zip(bmcs).zip(matches).zip(ipv6::nodes(table, &set)?);
    Ok(single
        .map(|(((((name, mac), ip), bmc), matching), NodeIpv6 { ip6, duid })| NodeRequest {
            ip6,
            duid,
            name,
            pool: pool.clone(),
            network: network.clone(),
            mac,
            ip,
            matching,
            cake: cake.clone(),
            arch: arch.clone(),
            platform: platform.clone(),
            parents: parents.clone(),
            bmc,
            labels: labels.clone(),
            set: values.clone(),
            options: options.clone(),
        })
        .collect())
}

/// What the defaults, a pool or a node may say alike, but for BMCs.
fn template(table: &Table) -> Result<TemplateRequest, ConfigError> {
    let name = |key| table.get(key).map(|field| field.parse::<Name>()).transpose();
    let text = |key| table.get(key).map(|field| field.text().map(str::to_owned)).transpose();
    let parents = table.get(&keys::PARENTS).map(|field| field.items()).transpose()?.unwrap_or_default();
    Ok(TemplateRequest {
        network: name(&keys::NODE_NETWORK)?,
        cake: name(&keys::NODE_CAKE)?,
        arch: text(&keys::ARCH)?,
        platform: text(&keys::PLATFORM)?,
        parents: parents.iter().map(Field::parse).collect::<Result<_, _>>()?,
        labels: table.get(&keys::LABELS).map(|field| labels(&field)).transpose()?.unwrap_or_default(),
        set: table.get(&keys::VALUES_SET).map(|field| values(&field)).transpose()?.unwrap_or_default(),
        options: network::options(table)?,
        bmc: None,
    })
}

/// What the defaults or a pool say.
fn wide(table: &Table, bmc_key: &super::keys::Key) -> Result<TemplateRequest, ConfigError> {
    let bmc = match table.get(bmc_key) {
        None => None,
        Some(_) => {
            let bmc = table.section(bmc_key)?;
            let text = |key| bmc.get(key).map(|field| field.text().map(str::to_owned)).transpose();
            let (user, password) = (text(&keys::USER)?, text(&keys::PASSWORD)?);
            let driver = bmc.get(&keys::DRIVER).map(|field| driver(&field)).transpose()?;
            Some(BmcRequest { driver, address: None, user, password })
        }
    };
    Ok(TemplateRequest { bmc, ..template(table)? })
}

/// What is wanted of variables. Whether there are such variables and values only the appliance knows.
fn values(field: &Field) -> Result<BTreeMap<VarPath, Given>, ConfigError> {
    let value = |(path, value): (String, Field)| {
        let value = value.as_kind(super::keys::Kind::Any);
        let path = path.parse().map_err(|error| value.bad(ValueError::Path(error)))?;
        Ok((path, value.given()?))
    };
    field.entries()?.into_iter().map(value).collect()
}

pub(super) fn labels(field: &Field) -> Result<BTreeMap<String, String>, ConfigError> {
    let text = |(name, value): (String, Field)| Ok((name, value.as_kind(super::keys::Kind::Text).text()?.to_owned()));
    field.entries()?.into_iter().map(text).collect()
}

fn matches(table: &Table, set: &NodeSet) -> Result<Vec<NodeMatch>, ConfigError> {
    let mut matches = vec![NodeMatch::default(); set.len()];
    if table.get(&keys::MATCH).is_none() {
        return Ok(matches);
    }
    let table = table.section(&keys::MATCH)?;
    if let Some(field) = table.get(&keys::UUID) {
        let uuids = expand::each(&field, set, |text| text.parse().map_err(|_| ValueError::Uuid(text.to_owned())))?;
        matches.iter_mut().zip(uuids).for_each(|(one, uuid)| one.uuid = Some(uuid));
    }
    let octets = |text: &str| text.parse::<Octets>().map_err(ValueError::from);
    if let Some(field) = table.get(&keys::CLIENT_ID) {
        let ids = expand::each(&field, set, octets)?;
        matches.iter_mut().zip(ids).for_each(|(one, id)| one.client_id = Some(id));
    }
    if let Some(field) = table.get(&keys::CIRCUIT_ID) {
        let expanded = |text: &str| {
            if text.contains('[') { Err(ValueError::Octets(OctetsError(text.to_owned()))) } else { octets(text) }
        };
        let ids = expand::each(&field, set, expanded)?;
        matches.iter_mut().zip(ids).for_each(|(one, id)| one.circuit_id = Some(id));
    }
    if let Some(field) = table.get(&keys::REMOTE_ID) {
        let texts = expand::each_or_one(&field, set)?;
        for (one, text) in matches.iter_mut().zip(texts) {
            one.remote_id = Some(octets(&text).map_err(|error| field.bad(error))?);
        }
    }
    Ok(matches)
}

fn bmcs(table: &Table, set: &NodeSet) -> Result<Vec<Option<BmcRequest>>, ConfigError> {
    if table.get(&keys::BMC).is_none() {
        return Ok(vec![None; set.len()]);
    }
    let bmc = table.section(&keys::BMC)?;
    let driver = bmc.get(&keys::DRIVER).map(|field| driver(&field)).transpose()?;
    let addresses = expand::each(&bmc.need(&keys::ADDRESS)?, set, expand::bmc_address)?;
    let texts = |key| match bmc.get(key) {
        None => Ok(vec![None; set.len()]),
        Some(field) => Ok(expand::each_or_one(&field, set)?.into_iter().map(Some).collect()),
    };
    let single = addresses.into_iter().map(Some).zip(texts(&keys::USER)?).zip(texts(&keys::PASSWORD)?);
    Ok(single.map(|((address, user), password)| Some(BmcRequest { driver, address, user, password })).collect())
}

fn driver(field: &Field) -> Result<BmcDriver, ConfigError> {
    choice(field, &[BmcDriver::Ipmi])
}
