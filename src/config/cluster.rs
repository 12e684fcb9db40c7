//! cluster.toml: networks, cakes and nodes, with node sets expanded into single nodes.
//!
//! A file may describe a part of a cluster: what it does not name stays as it is.
//! Invariants: every node of the result has values of its own; no name is described twice.
//! Absent on purpose: what only the appliance knows, such as whether a network or an image exists.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;

use super::error::{ConfigError, Problem, ValueError};
use super::expand;
use super::field::{Document, Field, Table};
use super::keys::cluster as keys;
use super::source::Source;
use super::suggest;
use crate::model::{BmcDriver, Mac, Name, NetworkSpec, NodeSet};
use crate::port::document::{ApplyRequest, BmcRequest, CakeRequest, NodeRequest};

/// Reads the file at `path`, or the standard input when it is `-`.
///
/// # Errors
/// When it cannot be read, or something in it is wrong; the error says where.
pub fn read(path: &Path) -> Result<ApplyRequest, ConfigError> {
    parse(&Source::read(path)?)
}

/// Where each name was described first, by kind of thing.
#[derive(Default)]
struct Described {
    lines: HashMap<(&'static str, Name), usize>,
}

impl Described {
    fn note(&mut self, what: &'static str, name: &Name, field: &Field) -> Result<(), ConfigError> {
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
    for table in root.sections(&keys::NETWORK)? {
        request.networks.push(network(&table, &mut described)?);
    }
    for table in root.sections(&keys::CAKE)? {
        request.cakes.push(cake(&table, &mut described)?);
    }
    for table in root.sections(&keys::NODE)? {
        request.nodes.extend(nodes(&table, &mut described)?);
    }
    Ok(request)
}

fn network(table: &Table, described: &mut Described) -> Result<NetworkSpec, ConfigError> {
    let name_field = table.need(&keys::NETWORK_NAME)?;
    let name = name_field.parse()?;
    described.note("network", &name, &name_field)?;
    let address = |field: &Field| -> Result<Ipv4Addr, ConfigError> {
        expand::ip(field.text()?).map_err(|error| field.bad(error))
    };
    let dns = table.get(&keys::DNS).map(|field| field.items()).transpose()?.unwrap_or_default();
    Ok(NetworkSpec {
        name,
        subnet: table.need(&keys::SUBNET)?.parse()?,
        router: table.get(&keys::ROUTER).map(|field| address(&field)).transpose()?,
        dns: dns.iter().map(address).collect::<Result<_, _>>()?,
        lease_s: u32::try_from(table.number(&keys::LEASE_S)?).unwrap_or(u32::MAX),
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
    let network: Name = table.need(&keys::NODE_NETWORK)?.parse()?;
    let macs = expand::each(&table.need(&keys::MAC)?, &set, |text| Ok(text.parse::<Mac>()?))?;
    let ips = expand::each(&table.need(&keys::IP)?, &set, expand::ip)?;
    let cake: Option<Name> = table.get(&keys::NODE_CAKE).map(|field| field.parse()).transpose()?;
    let labels = table.get(&keys::LABELS).map(|field| labels(&field)).transpose()?.unwrap_or_default();
    let bmcs = bmcs(table, &set)?;
    let single = names.into_iter().zip(macs).zip(ips).zip(bmcs);
    Ok(single
        .map(|(((name, mac), ip), bmc)| NodeRequest {
            name,
            network: network.clone(),
            mac,
            ip,
            cake: cake.clone(),
            bmc,
            labels: labels.clone(),
        })
        .collect())
}

fn labels(field: &Field) -> Result<BTreeMap<String, String>, ConfigError> {
    let text = |(name, value): (String, Field)| Ok((name, value.as_kind(super::keys::Kind::Text).text()?.to_owned()));
    field.entries()?.into_iter().map(text).collect()
}

fn bmcs(table: &Table, set: &NodeSet) -> Result<Vec<Option<BmcRequest>>, ConfigError> {
    if table.get(&keys::BMC).is_none() {
        return Ok(vec![None; set.len()]);
    }
    let bmc = table.section(&keys::BMC)?;
    let driver = driver(&bmc.need(&keys::DRIVER)?)?;
    let addresses = expand::each(&bmc.need(&keys::ADDRESS)?, set, expand::bmc_address)?;
    let users = expand::each_or_one(&bmc.need(&keys::USER)?, set)?;
    let passwords = expand::each_or_one(&bmc.need(&keys::PASSWORD)?, set)?;
    let single = addresses.into_iter().zip(users).zip(passwords);
    Ok(single.map(|((address, user), password)| Some(BmcRequest { driver, address, user, password })).collect())
}

fn driver(field: &Field) -> Result<BmcDriver, ConfigError> {
    let known = [BmcDriver::Ipmi];
    let text = field.text()?;
    known.into_iter().find(|driver| driver.to_string() == text).ok_or_else(|| {
        let words: Vec<String> = known.iter().map(BmcDriver::to_string).collect();
        let advice = suggest::advice(text, words.iter().map(String::as_str));
        field.bad(ValueError::Choice { got: text.to_owned(), advice })
    })
}
