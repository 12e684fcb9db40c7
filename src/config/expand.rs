//! One value for each node of a set: a pattern that expands as node sets do, or a list.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::{ConfigError, Problem, ValueError};
use super::field::Field;
use crate::model::NodeSet;

/// The port of a BMC where none is written (IPMI 2.0, section 13.1.1).
const BMC_PORT: u16 = 623;

/// The values of `field`, one for each of `nodes`, in their order.
pub fn each<T>(
    field: &Field,
    nodes: &NodeSet,
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> Result<Vec<T>, ConfigError> {
    let mut values = Vec::new();
    match field.is_list() {
        true => {
            for item in field.items()? {
                for text in pattern(&item, &parse)? {
                    values.push(parse(&text).map_err(|error| item.bad(error))?);
                }
            }
        }
        false => {
            for text in pattern(field, &parse)? {
                values.push(parse(&text).map_err(|error| field.bad(error))?);
            }
        }
    }
    same_length(field, nodes, values)
}

/// The texts of `field`, one for each of `nodes`, or one for all. Nothing is expanded in them.
pub fn each_or_one(field: &Field, nodes: &NodeSet) -> Result<Vec<String>, ConfigError> {
    if !field.is_list() {
        return Ok(vec![field.text()?.to_owned(); nodes.len()]);
    }
    let values = field.items()?.iter().map(|item| Ok(item.text()?.to_owned())).collect::<Result<Vec<_>, _>>()?;
    same_length(field, nodes, values)
}

/// What a text stands for. A text that is a value as it is (an IPv6 address has brackets of its own) stands for itself.
fn pattern<T>(field: &Field, parse: impl Fn(&str) -> Result<T, ValueError>) -> Result<Vec<String>, ConfigError> {
    let text = field.text()?;
    if parse(text).is_ok() {
        return Ok(vec![text.to_owned()]);
    }
    let set: NodeSet = field.parse()?;
    Ok(set.iter().map(str::to_owned).collect())
}

fn same_length<T>(field: &Field, nodes: &NodeSet, values: Vec<T>) -> Result<Vec<T>, ConfigError> {
    if values.len() == nodes.len() {
        return Ok(values);
    }
    Err(field.error(Problem::Lengths {
        key: field.key().to_owned(),
        got: values.len(),
        wanted: nodes.len(),
        nodes: nodes.to_string(),
    }))
}

/// An IPv4 address.
pub fn ip(text: &str) -> Result<Ipv4Addr, ValueError> {
    text.parse().map_err(|_| ValueError::Ip(text.to_owned()))
}

/// A BMC's address, with or without its port.
pub fn bmc_address(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, BMC_PORT)))
        .map_err(|_| ValueError::BmcAddress(text.to_owned()))
}
