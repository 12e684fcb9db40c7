//! `[[enroll]]` of cluster.toml: rules by which machines become nodes, with node sets expanded.
//!
//! Absent on purpose: what only the appliance knows, such as whether a pool exists.

use std::net::Ipv4Addr;
use std::str::FromStr;

use super::cluster::labels;
use super::error::{ConfigError, ValueError};
use super::expand;
use super::field::{Field, Table};
use super::keys::cluster as keys;
use super::keys::{Key, Kind};
use super::suggest;
use crate::model::{Approve, EnrollMatch, EnrollRule, Name, NodeSet};

/// Reads one rule.
pub(super) fn read(table: &Table) -> Result<EnrollRule, ConfigError> {
    let names_field = table.need(&keys::ENROLL_NAMES)?;
    let set: NodeSet = names_field.parse()?;
    let name = |text: &str| text.parse::<Name>().map_err(|error| names_field.bad(ValueError::Name(error)));
    let names: Vec<Name> = set.iter().map(name).collect::<Result<_, _>>()?;
    let ips: Vec<Ipv4Addr> = match table.get(&keys::ENROLL_IPS) {
        Some(field) => expand::each(&field, &set, expand::ip)?,
        None => Vec::new(),
    };
    let text = |key| table.get(key).map(|field| field.text().map(str::to_owned)).transpose();
    let named = |key| table.get(key).map(|field| field.parse::<Name>()).transpose();
    let number = |key: &Key| table.get(key).map(|field| field.number()).transpose();
    let only = EnrollMatch {
        serials: texts(table, &keys::ENROLL_SERIALS)?,
        uuids: each(table, &keys::ENROLL_UUIDS, "a UUID, as in 4c4c4544-0042-4210-8052-b3c04f4d3732")?,
        macs: each(table, &keys::ENROLL_MACS, "the beginning of a hardware address, as in 52:54:00")?,
        vendor: text(&keys::ENROLL_VENDOR)?,
        switch: text(&keys::ENROLL_SWITCH)?,
        ports: ports(table)?,
        cpus_min: number(&keys::ENROLL_CPUS)?.map(|cpus| u32::try_from(cpus).unwrap_or(u32::MAX)),
        memory_mib_min: number(&keys::ENROLL_MEMORY)?,
        network: named(&keys::ENROLL_NETWORK)?,
    };
    Ok(EnrollRule {
        only,
        names,
        ips,
        pool: named(&keys::ENROLL_POOL)?,
        cake: named(&keys::ENROLL_CAKE)?,
        labels: table.get(&keys::ENROLL_LABELS).map(|field| labels(&field)).transpose()?.unwrap_or_default(),
        approve: approve(table)?,
    })
}

fn texts(table: &Table, key: &Key) -> Result<Vec<String>, ConfigError> {
    let items = table.get(key).map(|field| field.items()).transpose()?.unwrap_or_default();
    items.iter().map(|item| item.as_kind(Kind::Text).text().map(str::to_owned)).collect()
}

fn each<T: FromStr>(table: &Table, key: &Key, wanted: &'static str) -> Result<Vec<T>, ConfigError> {
    let items = table.get(key).map(|field| field.items()).transpose()?.unwrap_or_default();
    let item = |item: &Field| {
        let text = item.as_kind(Kind::Text).text()?;
        text.parse().map_err(|_| item.bad(ValueError::NotA { got: text.to_owned(), wanted }))
    };
    items.iter().map(item).collect()
}

/// Names of ports, which may stand for many: `Ethernet[1-48]`.
fn ports(table: &Table) -> Result<Vec<String>, ConfigError> {
    let Some(field) = table.get(&keys::ENROLL_PORTS) else { return Ok(Vec::new()) };
    let fields = if field.is_list() { field.items()? } else { vec![field] };
    let sets = fields.iter().map(|field| field.parse::<NodeSet>()).collect::<Result<Vec<_>, _>>()?;
    Ok(sets.iter().flat_map(|set| set.iter().map(str::to_owned)).collect())
}

fn approve(table: &Table) -> Result<Approve, ConfigError> {
    match table.text_or_default(&keys::ENROLL_APPROVE)?.as_str() {
        "automatic" => Ok(Approve::Automatic),
        "ask" => Ok(Approve::Ask),
        other => {
            let advice = suggest::advice(other, keys::APPROVALS.iter().copied());
            let field = table.need(&keys::ENROLL_APPROVE)?;
            Err(field.bad(ValueError::Choice { got: other.to_owned(), advice }))
        }
    }
}
