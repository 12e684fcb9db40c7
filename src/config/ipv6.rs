//! The IPv6 parts of cluster.toml: `[network.ipv6]`, and `ip6` and `duid` of nodes.
//!
//! Absent on purpose: whether a node's address lies in its network, which only the appliance knows.

use std::net::Ipv6Addr;

use super::error::{ConfigError, ValueError};
use super::expand;
use super::field::{Field, Table};
use super::keys::{Key, cluster as keys};
use crate::model::ipv6::{Advertise6, Flag, Pool6, Prefix6};
use crate::model::{NetworkIpv6, NodeIpv6, NodeSet};

/// The longest domain name, in bytes (RFC 1035, section 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// The longest label of one, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// What a network says of IPv6.
pub(super) fn network(network: &Table) -> Result<Option<Box<NetworkIpv6>>, ConfigError> {
    if network.get(&keys::IPV6).is_none() {
        return Ok(None);
    }
    let table = network.section(&keys::IPV6)?;
    let number = |key| Ok::<u32, ConfigError>(u32::try_from(table.number(key)?).unwrap_or(u32::MAX));
    let subnet = table.need(&keys::SUBNET6)?.parse()?;
    let advertise = Advertise6 {
        managed: flag(&table, &keys::MANAGED, Flag::Set)?,
        other: flag(&table, &keys::OTHER_FLAG, Flag::Set)?,
        on_link: flag(&table, &keys::ON_LINK, Flag::Set)?,
        autonomous: flag(&table, &keys::AUTONOMOUS, Flag::Clear)?,
        router_lifetime_s: u16::try_from(table.number(&keys::ROUTER_LIFETIME_S)?).unwrap_or(u16::MAX),
        mtu: number(&keys::MTU6)?,
    };
    Ok(Some(Box::new(NetworkIpv6 {
        subnet,
        pool: pool(&table, subnet)?,
        dns: addresses(&table, &keys::DNS6)?,
        search: domains(&table)?,
        ntp: addresses(&table, &keys::NTP6)?,
        boot_parameters: match table.get(&keys::BOOT_PARAMETERS) {
            None => Vec::new(),
            Some(field) => field.items()?.iter().map(|item| Ok(item.text()?.to_owned())).collect::<Result<_, _>>()?,
        },
        lease_s: number(&keys::LEASE_S)?,
        preference: u8::try_from(table.number(&keys::PREFERENCE)?).unwrap_or(u8::MAX),
        advertise,
    })))
}

/// What each of some nodes says of IPv6.
pub(super) fn nodes(table: &Table, set: &NodeSet) -> Result<Vec<NodeIpv6>, ConfigError> {
    let mut nodes = vec![NodeIpv6::default(); set.len()];
    if let Some(field) = table.get(&keys::IP6) {
        let addresses = expand::each(&field, set, ip6)?;
        nodes.iter_mut().zip(addresses).for_each(|(node, ip)| node.ip6 = Some(ip));
    }
    if let Some(field) = table.get(&keys::DUID) {
        let duids = expand::each(&field, set, |text| text.parse().map_err(ValueError::Duid))?;
        nodes.iter_mut().zip(duids).for_each(|(node, duid)| node.duid = Some(duid));
    }
    Ok(nodes)
}

fn pool(table: &Table, subnet: Prefix6) -> Result<Option<Pool6>, ConfigError> {
    if table.get(&keys::POOL6).is_none() {
        return Ok(None);
    }
    let table = table.section(&keys::POOL6)?;
    let (from, to) = (table.need(&keys::FROM6)?, table.need(&keys::TO6)?);
    let read = |field: &Field| {
        let ip = ip6(field.text()?).map_err(|error| field.bad(error))?;
        let outside = || ValueError::NotInSubnet { ip: ip.to_string(), subnet: subnet.to_string() };
        if subnet.is_host(ip) { Ok(ip) } else { Err(field.bad(outside())) }
    };
    let pool = Pool6 { from: read(&from)?, to: read(&to)? };
    if pool.size() == 0 {
        return Err(to.bad(ValueError::PoolOrder { from: pool.from.to_string(), to: pool.to.to_string() }));
    }
    Ok(Some(pool))
}

fn ip6(text: &str) -> Result<Ipv6Addr, ValueError> {
    text.parse().map_err(|_| ValueError::Ip6(text.to_owned()))
}

fn addresses(table: &Table, key: &Key) -> Result<Vec<Ipv6Addr>, ConfigError> {
    let Some(field) = table.get(key) else { return Ok(Vec::new()) };
    field.items()?.iter().map(|item| ip6(item.text()?).map_err(|error| item.bad(error))).collect()
}

fn domains(table: &Table) -> Result<Vec<String>, ConfigError> {
    let Some(field) = table.get(&keys::SEARCH6) else { return Ok(Vec::new()) };
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= LABEL_BYTES_MAX && label.chars().all(usable);
    let domain = |item: &Field| match item.text()? {
        text if text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label) => Ok(text.to_owned()),
        text => Err(item.bad(ValueError::HostName(text.to_owned()))),
    };
    field.items()?.iter().map(domain).collect()
}

fn flag(table: &Table, key: &Key, fallback: Flag) -> Result<Flag, ConfigError> {
    match table.get(key).map(|field| field.flag()).transpose()? {
        None => Ok(fallback),
        Some(true) => Ok(Flag::Set),
        Some(false) => Ok(Flag::Clear),
    }
}
