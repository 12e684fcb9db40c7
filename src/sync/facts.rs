//! Between the wire and the rest of the program: reports become facts, state becomes what a child is told.
//!
//! Invariants: what an agent reports is taken only of the variables that are its own (`run`, `busy`, `image.…` and `net.…`
//! but for hardware addresses, which the hardware report has), and only with values that it can see, of the type that the
//! schema says and within the bounds of `limits`; whatever is wrong is an error that names it, and nothing of that report
//! is taken.
//! Deliberately absent: the wire's format (`codec`) and what follows from a fact.

use std::collections::BTreeSet;

use thiserror::Error;

use super::codec::{Report, WireItem, WireRefusal, WireScope, WireStep, WireValue};
use super::session::Variables;
use crate::fact::{JoinRefusal, Reported, Scope, StepName};
use crate::model::hardware::{DISKS_MAX, Hardware, INTERFACES_MAX};
use crate::model::limits::{
    CONSOLE_LINE_BYTES_MAX, IMAGES_PER_CAKE_MAX, REPORTED_LIST_VALUES_MAX, REPORTED_TEXT_BYTES_MAX, VAR_PATH_BYTES_MAX,
};
use crate::model::machine::{NEIGHBOURS_MAX, text_of};
use crate::model::schema::{VarError, check_value};
use crate::model::{Digest, Name, Neighbour, Schema, Value, VarPath};
use crate::state::{Node, State};

/// The most bytes of a failure's text that are kept.
const DETAIL_BYTES_MAX: usize = 4_096;
/// Images of one report: those of a whole cake, and of the one that it replaces. Each is a dimension of the planner's search.
const IMAGES_REPORTED_MAX: usize = 2 * IMAGES_PER_CAKE_MAX;
/// The most bytes that a machine's hardware may take in the wire's format: four times those of the largest honest report.
const HARDWARE_BYTES_MAX: usize = 512 << 10;

/// What is wrong with something that an agent said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadReport {
    /// More images than a node can have.
    #[error("{images} images are reported, and a node has at most {IMAGES_REPORTED_MAX}")]
    TooManyImages {
        /// How many.
        images: usize,
    },
    /// A variable or a value that there is not.
    #[error("it reported a variable wrongly: {0}")]
    Variable(#[from] VarError),
    /// A variable that is not the agent's to report.
    #[error("it reported {path}={value}, which an agent cannot observe; is it of another version?")]
    NotItsOwn {
        /// The variable.
        path: VarPath,
        /// The value.
        value: String,
    },
    /// A value beyond its bound.
    #[error(
        "it reported a value for {path} that is too large or not printable: a text has at most {REPORTED_TEXT_BYTES_MAX} bytes \
         and no control characters, a list at most {REPORTED_LIST_VALUES_MAX} values"
    )]
    Value {
        /// The variable.
        path: VarPath,
    },
    /// A step that names no image.
    #[error("it speaks of a step for the image '{image}', which is no image's name")]
    Image {
        /// The name.
        image: String,
    },
    /// More neighbours than interfaces.
    #[error("it reported {neighbours} neighbours, more than any machine has interfaces")]
    Neighbours {
        /// How many.
        neighbours: usize,
    },
    /// Hardware beyond every bound.
    #[error("it reported {disks} disks and {interfaces} interfaces in {len_bytes} bytes, more than any machine has")]
    Hardware {
        /// How many disks.
        disks: usize,
        /// How many interfaces.
        interfaces: usize,
        /// The size of the report.
        len_bytes: usize,
    },
}

/// What an agent reported, as a fact holds it.
///
/// # Errors
/// The first variable that is wrong.
pub fn reported(report: &Report) -> Result<(Scope, Vec<Reported>), BadReport> {
    let scope = match report.scope {
        WireScope::Full => Scope::Full,
        WireScope::Delta => Scope::Delta,
    };
    let variables = report.variables.iter().map(|variable| {
        let path: VarPath = cut(&variable.path, VAR_PATH_BYTES_MAX.saturating_add(1)).parse()?;
        let wire = variable.value.as_ref();
        if wire.is_some_and(|value| !is_within_bounds(value)) {
            return Err(BadReport::Value { path });
        }
        let value = wire.map(value_from_wire);
        match &value {
            Some(value) => check_value(&path, value)?,
            None => drop(Schema::default().spec(&path)?),
        }
        if !may_observe(&path, value.as_ref()) {
            let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            return Err(BadReport::NotItsOwn { path, value });
        }
        Ok(Reported { path, value })
    });
    let variables: Vec<Reported> = variables.collect::<Result<_, _>>()?;
    let images: BTreeSet<Name> = variables.iter().filter_map(|v| v.path.as_image()).map(|(name, _)| name).collect();
    if images.len() > IMAGES_REPORTED_MAX {
        return Err(BadReport::TooManyImages { images: images.len() });
    }
    Ok((scope, variables))
}

/// Whether an agent may say this of a variable. That the value is of the variable's type is for the schema to say.
fn may_observe(path: &VarPath, value: Option<&Value>) -> bool {
    let symbol = value.map(Value::as_symbol);
    match path.as_str() {
        "run" => matches!(symbol, None | Some(Some("init" | "sync"))),
        "busy" => true,
        text if text.starts_with("net.") => !text.ends_with(".mac"),
        _ => path.as_image().is_some() && matches!(symbol, None | Some(None | Some("idle" | "active" | "failed"))),
    }
}

fn is_within_bounds(value: &WireValue) -> bool {
    let text_is = |text: &str| text.len() <= REPORTED_TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    let item_is = |item: &WireItem| match item {
        WireItem::Text(text) => text_is(text),
        WireItem::Int(_) | WireItem::Ip(_) => true,
    };
    match value {
        WireValue::Text(text) => text_is(text),
        WireValue::List(items) => items.len() <= REPORTED_LIST_VALUES_MAX && items.iter().all(item_is),
        WireValue::Symbol(_) | WireValue::Digest(_) | WireValue::Int(_) | WireValue::Ip(_) => true,
    }
}

fn value_from_wire(value: &WireValue) -> Value {
    match value {
        WireValue::Symbol(text) => Value::symbol(&cut(text, VAR_PATH_BYTES_MAX)),
        WireValue::Digest(bytes) => Value::Digest(Digest::from_bytes(*bytes)),
        WireValue::Int(number) => Value::Int(*number),
        WireValue::Text(text) => Value::Text(text.as_str().into()),
        WireValue::Ip(ip) => Value::Ip(*ip),
        WireValue::List(items) => {
            let item = |item: &WireItem| match item {
                WireItem::Int(number) => Value::Int(*number),
                WireItem::Text(text) => Value::Text(text.as_str().into()),
                WireItem::Ip(ip) => Value::Ip(*ip),
            };
            Value::List(items.iter().map(item).collect())
        }
    }
}

/// Hardware that is within every bound.
///
/// # Errors
/// When it is not.
pub fn checked_hardware(hardware: Box<Hardware>) -> Result<Box<Hardware>, BadReport> {
    let (disks, interfaces) = (hardware.disks.len(), hardware.interfaces.len());
    let len_bytes = postcard::to_stdvec(&hardware).map_or(usize::MAX, |bytes| bytes.len());
    if disks > DISKS_MAX || interfaces > INTERFACES_MAX || len_bytes > HARDWARE_BYTES_MAX {
        return Err(BadReport::Hardware { disks, interfaces, len_bytes });
    }
    Ok(hardware)
}

/// Neighbours within every bound, as one report of a machine's interfaces: in the order of their names.
///
/// # Errors
/// When there are more than any machine has interfaces.
pub fn checked_neighbours(neighbours: Vec<Neighbour>) -> Result<Vec<Neighbour>, BadReport> {
    if neighbours.len() > NEIGHBOURS_MAX {
        return Err(BadReport::Neighbours { neighbours: neighbours.len() });
    }
    let text = |text: String| text_of(text.as_bytes());
    let mut within: Vec<Neighbour> = neighbours
        .into_iter()
        .map(|neighbour| Neighbour {
            interface: text(neighbour.interface),
            chassis: text(neighbour.chassis),
            port: text(neighbour.port),
            port_description: neighbour.port_description.map(text),
            system: neighbour.system.map(text),
        })
        .collect();
    within.sort();
    within.dedup();
    Ok(within)
}

/// A step as the engine names it.
///
/// # Errors
/// When the image's name is none.
pub fn step_from_wire(step: &WireStep) -> Result<StepName, BadReport> {
    let image = step
        .image
        .as_deref()
        .map(|image| image.parse::<Name>().map_err(|_| BadReport::Image { image: cut(image, VAR_PATH_BYTES_MAX) }));
    Ok(StepName { mutation: cut(&step.mutation, VAR_PATH_BYTES_MAX).into(), image: image.transpose()? })
}

/// A step as the wire names it.
#[must_use]
pub fn step_to_wire(step: &StepName) -> WireStep {
    WireStep { mutation: step.mutation.to_string(), image: step.image.as_ref().map(ToString::to_string) }
}

/// A refused join as the child is told of it.
#[must_use]
pub fn refusal_to_wire(refusal: JoinRefusal) -> WireRefusal {
    match refusal {
        JoinRefusal::UnknownNode => WireRefusal::UnknownNode,
        JoinRefusal::NoTokenOpen => WireRefusal::NoTokenOpen,
        JoinRefusal::WrongToken => WireRefusal::WrongToken,
        JoinRefusal::BadRequest => WireRefusal::BadRequest,
        JoinRefusal::OldCertificate => WireRefusal::OldCertificate,
        JoinRefusal::Refused => WireRefusal::Refused,
    }
}

/// What a node's agent is told of what is desired: `run`, its images, and their order, which is their cake's; images that
/// were asked for by hand come after those.
#[must_use]
pub fn desired_of(state: &State, node: &Node) -> Variables {
    let own = node.desired.iter().filter(|(path, _)| **path == VarPath::run() || path.as_image().is_some());
    let values = own.filter_map(|(path, desired)| {
        let value = match &desired.value {
            Value::Symbol(symbol) => WireValue::Symbol(symbol.to_string()),
            Value::Digest(digest) => WireValue::Digest(*digest.as_bytes()),
            _ => return None,
        };
        Some((path.to_string(), value))
    });
    let values = values.collect();
    let cake = node.spec.cake.as_ref().and_then(|cake| state.cakes.get(cake));
    let in_cake: Vec<&Name> = cake.iter().flat_map(|cake| cake.images.iter().map(|image| &image.name)).collect();
    let by_hand = node.desired.keys().filter_map(VarPath::as_image).filter(|(_, field)| *field == "state");
    let by_hand = by_hand.map(|(name, _)| name).filter(|name| !in_cake.contains(&name));
    let order = in_cake.iter().map(|name| name.to_string()).chain(by_hand.map(|name| name.to_string()));
    Variables { order: order.collect(), values }
}

/// The digest of the content that an image is desired to have.
#[must_use]
pub fn desired_digest(node: &Node, image: &Name) -> Option<Digest> {
    match node.wants(&VarPath::image_digest(image))? {
        Value::Digest(digest) => Some(*digest),
        _ => None,
    }
}

/// Console lines within their bound, with a word about those that are missing before them.
#[must_use]
pub fn console_lines(lines: &[String], dropped: u64) -> Vec<String> {
    let missing = (dropped > 0).then(|| format!("({dropped} lines were dropped here)"));
    missing.into_iter().chain(lines.iter().map(|line| cut(line, CONSOLE_LINE_BYTES_MAX))).collect()
}

/// A failure's text within its bound.
#[must_use]
pub fn detail(text: &str) -> String {
    cut(text, DETAIL_BYTES_MAX)
}

/// The longest beginning of `text` that has at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::sync::codec::WireVariable;

    fn report_of(path: &str, value: Option<WireValue>) -> Report {
        let variables = vec![WireVariable { path: path.into(), value }];
        Report { revision: 1, scope: WireScope::Delta, variables, order: vec![] }
    }

    #[test]
    fn an_agent_may_report_its_own_variables_and_no_others() {
        let symbol = |text: &str| Some(WireValue::Symbol(text.into()));
        let text = |text: &str| Some(WireValue::Text(text.into()));
        let list = |items: &[WireItem]| Some(WireValue::List(items.to_vec()));
        for (path, value) in [
            ("run", symbol("sync")),
            ("run", symbol("init")),
            ("run", None),
            ("image.hello.state", symbol("failed")),
            ("image.hello.digest", Some(WireValue::Digest([7; 32]))),
            ("image.hello.digest", None),
            ("busy", symbol("busy")),
            ("busy", symbol("free")),
            ("busy", None),
            ("net.hostname", text("n17")),
            ("net.dns", list(&[WireItem::Ip(Ipv4Addr::LOCALHOST.into())])),
            ("net.dns", list(&[])),
            ("net.routes", list(&[WireItem::Text("0.0.0.0/0 via 10.0.0.1".into())])),
            ("net.eth0.state", symbol("down")),
            ("net.eth0.ip", Some(WireValue::Ip(Ipv4Addr::LOCALHOST.into()))),
            ("net.eth0.mtu", Some(WireValue::Int(1_500))),
            ("net.eth0.mtu", None),
        ] {
            assert!(reported(&report_of(path, value.clone())).is_ok(), "{path} {value:?}");
        }
        for (path, value) in [
            ("power", symbol("off")),
            ("power", None),
            ("boot", symbol("agent")),
            ("run", symbol("lost")),
            ("run", Some(WireValue::Digest([7; 32]))),
            ("image.hello.state", symbol("stale")),
            ("image.hello.digest", symbol("idle")),
            ("image.hello.colour", symbol("idle")),
            ("Image", symbol("idle")),
            ("", None),
            ("busy", symbol("perhaps")),
            ("busy", text("busy")),
            ("hardware.vendor", text("ACME")),
            ("hardware.cpus", Some(WireValue::Int(4))),
            ("hardware.vendor", None),
            ("net", text("n17")),
            ("net.colour", text("n17")),
            ("net.colour", None),
            ("net.hostname", symbol("n17")),
            ("net.hostname", text(&"x".repeat(REPORTED_TEXT_BYTES_MAX + 1))),
            ("net.hostname", text("n17\u{1b}[2J")),
            ("net.dns", list(&[WireItem::Text("10.0.0.1".into())])),
            ("net.dns", Some(WireValue::Ip(Ipv4Addr::LOCALHOST.into()))),
            ("net.routes", list(&vec![WireItem::Text("x".into()); REPORTED_LIST_VALUES_MAX + 1])),
            ("net.routes", list(&[WireItem::Text("\n".into())])),
            ("net.eth0.mtu", Some(WireValue::Int(0))),
            ("net.eth0.mtu", text("1500")),
            ("net.eth0.mac", text("52:54:00:12:34:56")),
            ("net.eth0.mac", None),
        ] {
            assert!(reported(&report_of(path, value.clone())).is_err(), "{path} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_reported_is_taken_or_refused(path in ".{0,300}", text in ".{0,300}") {
            let _ = reported(&report_of(&path, Some(WireValue::Symbol(text.clone()))));
            let _ = step_from_wire(&WireStep { mutation: path, image: Some(text) });
        }

        #[test]
        fn a_text_is_cut_at_a_character(text in ".{0,50}", bytes_max in 0_usize..60) {
            let short = cut(&text, bytes_max);
            prop_assert!(short.len() <= bytes_max && text.starts_with(&short));
        }
    }
}
