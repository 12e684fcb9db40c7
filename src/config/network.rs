//! Networks in cluster.toml: what is told to machines there, classes of clients, and ranges of addresses; and DHCP options
//! wherever they stand.
//!
//! Invariants: an option that was read has a value of its type; what a network names in it lies in it. An error has the place of
//! the value that it is about.

use std::net::Ipv4Addr;

use super::cluster::{Described, choice, labels};
use super::error::{ConfigError, ValueError};
use super::expand;
use super::field::{Field, Table};
use super::ipv6;
use super::keys::Kind;
use super::keys::cluster as keys;
use crate::model::{AddressRange, Authority, ClassSpec, DhcpOptions, NetworkSpec, OptionValue, RangeUse};

pub(super) fn network(table: &Table, described: &mut Described) -> Result<NetworkSpec, ConfigError> {
    let name_field = table.need(&keys::NETWORK_NAME)?;
    let name = name_field.parse()?;
    described.note("network", &name, &name_field)?;
    let address = |field: &Field| -> Result<Ipv4Addr, ConfigError> {
        expand::ip(field.text()?).map_err(|error| field.bad(error))
    };
    let addresses = |key| -> Result<Vec<Ipv4Addr>, ConfigError> {
        let items = table.get(key).map(|field: Field| field.items()).transpose()?.unwrap_or_default();
        items.iter().map(address).collect()
    };
    let routes = table.get(&keys::ROUTES).map(|field| field.items()).transpose()?.unwrap_or_default();
    let authority = match table.get(&keys::AUTHORITATIVE).map(|field| field.flag()).transpose()? {
        None | Some(true) => Authority::Full,
        Some(false) => Authority::Shared,
    };
    let spec = NetworkSpec {
        router: table.get(&keys::ROUTER).map(|field| address(&field)).transpose()?,
        dns: addresses(&keys::DNS)?,
        lease_s: seconds(table.number(&keys::LEASE_S)?),
        lease_min_s: table.get(&keys::LEASE_MIN_S).map(|field| field.number().map(seconds)).transpose()?,
        lease_max_s: table.get(&keys::LEASE_MAX_S).map(|field| field.number().map(seconds)).transpose()?,
        domain: table.get(&keys::DOMAIN).map(|field| field.text().map(str::to_owned)).transpose()?,
        ntp: addresses(&keys::NTP)?,
        mtu: table.get(&keys::MTU).map(|field| field.number()).transpose()?.and_then(|mtu| u16::try_from(mtu).ok()),
        routes: routes.iter().map(Field::parse).collect::<Result<_, _>>()?,
        authority,
        relays: addresses(&keys::RELAYS)?,
        options: options(table)?,
        classes: table.sections(&keys::CLASS)?.iter().map(class).collect::<Result<_, _>>()?,
        ranges: table.sections(&keys::RANGE)?.iter().map(range).collect::<Result<_, _>>()?,
        ipv6: ipv6::network(table)?,
        ..NetworkSpec::new(name, table.need(&keys::SUBNET)?.parse()?)
    };
    spec.check().map_err(|error| name_field.bad(ValueError::Network(error)))?;
    Ok(spec)
}

fn seconds(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn class(table: &Table) -> Result<ClassSpec, ConfigError> {
    let text = |key| table.get(key).map(|field| field.text().map(str::to_owned)).transpose();
    let list = |key| -> Result<Vec<Field>, ConfigError> {
        Ok(table.get(key).map(|field| field.items()).transpose()?.unwrap_or_default())
    };
    let arch = list(&keys::CLASS_ARCH)?;
    let arch = arch.iter().map(|item| item.as_kind(Kind::Number { min: 0, max: 65_535 }).number());
    let arch = arch.map(|number| number.map(|number| u16::try_from(number).unwrap_or(u16::MAX)));
    Ok(ClassSpec {
        name: table.need(&keys::CLASS_NAME)?.parse()?,
        arch: arch.collect::<Result<_, _>>()?,
        vendor_class: text(&keys::VENDOR_CLASS)?,
        user_class: text(&keys::USER_CLASS)?,
        mac: list(&keys::CLASS_MAC)?.iter().map(|item| item.text().map(str::to_owned)).collect::<Result<_, _>>()?,
        options: options(table)?,
    })
}

/// DHCP options by name or number, each with its own place in an error.
pub(super) fn options(table: &Table) -> Result<DhcpOptions, ConfigError> {
    let mut options = DhcpOptions::default();
    let Some(field) = table.get(&keys::OPTIONS) else { return Ok(options) };
    for (name, value) in field.entries()? {
        let written = option_value(&value)?;
        options.set(&name, written).map_err(|error| value.bad(ValueError::Option(error)))?;
    }
    Ok(options)
}

fn option_value(field: &Field) -> Result<OptionValue, ConfigError> {
    if field.is_list() {
        return Ok(OptionValue::List(field.items()?.iter().map(option_value).collect::<Result<_, _>>()?));
    }
    let expected = || field.as_kind(Kind::Any);
    match field.json()? {
        serde_json::Value::Bool(flag) => Ok(OptionValue::Flag(flag)),
        serde_json::Value::Number(number) if number.is_i64() => {
            Ok(OptionValue::Number(number.as_i64().unwrap_or_default()))
        }
        serde_json::Value::String(text) => Ok(OptionValue::Text(text)),
        _ => expected().given().map(|given| OptionValue::Text(given.to_string())),
    }
}

fn range(table: &Table) -> Result<AddressRange, ConfigError> {
    let address = |key| -> Result<Ipv4Addr, ConfigError> {
        let field = table.need(key)?;
        expand::ip(field.text()?).map_err(|error| field.bad(error))
    };
    let serves = match table.get(&keys::FOR) {
        None => RangeUse::default(),
        Some(field) => choice(&field, &[RangeUse::Discovery, RangeUse::Nodes])?,
    };
    Ok(AddressRange {
        serves,
        class: table.get(&keys::RANGE_CLASS).map(|field| field.parse()).transpose()?,
        labels: table.get(&keys::RANGE_LABELS).map(|field| labels(&field)).transpose()?.unwrap_or_default(),
        lease_s: table.get(&keys::RANGE_LEASE_S).map(|field| field.number().map(seconds)).transpose()?,
        options: options(table)?,
        ..AddressRange::new(address(&keys::FROM)?, address(&keys::TO)?)
    })
}
