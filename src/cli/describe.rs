//! `bootes describe node`: everything that is known of one node.

use std::collections::BTreeSet;

use clap::Subcommand;

use super::Shell;
use super::client::{Query, encoded};
use super::clock;
use super::error::{CliError, Status};
use super::get;
use super::output::FormatArgs;
use super::table::{Cell, Table};
use crate::model::Name;
use crate::model::hardware::Hardware;
use crate::port::document::NodeDocument;

/// What to describe.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one node: its description, its variables, its agent and its hardware.
    Node {
        /// The node.
        name: Name,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// Describes.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let Command::Node { name, format } = command;
    let path = format!("/api/v1/nodes/{}", encoded(name.as_str()));
    let node: NodeDocument = shell.api.get(&path, &Query::default()).await?.document;
    if let Some(format) = format.format.structured() {
        shell.out.document(format, &node)?;
        return Ok(Status::Done);
    }
    let paint = shell.out.paint();
    let mut text = facts(&node).render_rows(paint);
    text.push('\n');
    text.push_str(&variables(&node).render(paint));
    if let Some(hardware) = &node.hardware {
        text.push('\n');
        text.push_str(&hardware_facts(hardware).render_rows(paint));
    }
    shell.out.text(&text)?;
    Ok(Status::Done)
}

fn pairs(rows: impl IntoIterator<Item = (&'static str, Cell)>) -> Table {
    let mut table = Table::new(&["", ""]);
    for (name, value) in rows {
        table.row([name.into(), value]);
    }
    table
}

fn or_dash(value: Option<impl ToString>) -> Cell {
    value.map_or_else(|| "-".into(), Cell::from)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn facts(node: &NodeDocument) -> Table {
    let labels: Vec<String> = node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let bmc = node.bmc.as_ref().map(|bmc| format!("{} {} as {}", bmc.driver, bmc.address, bmc.user));
    let agent = match (&node.agent.connected, &node.agent.peer) {
        (true, Some(peer)) => format!("connected from {peer}"),
        (true, None) => "connected".to_owned(),
        (false, _) => "not connected".to_owned(),
    };
    let stage_ms = (node.stage_s.max(0.0) * 1_000.0) as u64;
    pairs([
        ("name", node.name.clone().into()),
        ("id", node.id.into()),
        ("goal reached", get::goal(node)),
        ("stage", format!("{}, for {}", node.stage, clock::span(stage_ms)).into()),
        ("step", or_dash(node.step.as_ref())),
        ("network", node.network.clone().into()),
        ("mac", node.mac.into()),
        ("ip", node.ip.into()),
        ("lease until", or_dash(node.lease_until.as_ref())),
        ("cake", or_dash(node.cake.as_ref())),
        ("labels", if labels.is_empty() { "-".into() } else { labels.join(" ").into() }),
        ("bmc", or_dash(bmc)),
        ("agent", agent.into()),
        ("agent heard", or_dash(node.agent.heard_at.as_ref())),
    ])
}

fn variables(node: &NodeDocument) -> Table {
    let mut table = Table::new(&["VARIABLE", "DESIRED", "OBSERVED"]);
    let paths: BTreeSet<&String> = node.desired.keys().chain(node.observed.keys()).collect();
    for path in paths {
        table.row([path.into(), or_dash(node.desired.get(path)), get::observed(node, path)]);
    }
    table
}

fn hardware_facts(hardware: &Hardware) -> Table {
    let joined = |parts: &[&Option<String>]| {
        let known: Vec<&str> = parts.iter().filter_map(|part| part.as_deref()).collect();
        Some(known.join(" ")).filter(|text| !text.is_empty())
    };
    let (system, board, bios, cpu) = (&hardware.system, &hardware.board, &hardware.bios, &hardware.processor);
    let mut table = pairs([
        ("system", or_dash(joined(&[&system.vendor, &system.product, &system.version]))),
        ("serial", or_dash(system.serial.as_ref())),
        ("board", or_dash(joined(&[&board.vendor, &board.name]))),
        ("firmware", or_dash(joined(&[&bios.vendor, &bios.version, &bios.date]))),
        ("kernel", format!("{} {}", hardware.architecture, hardware.kernel).into()),
        ("processor", or_dash(cpu.model.as_ref())),
        ("cores", format!("{} in {} sockets, {} threads", cpu.cores, cpu.sockets, cpu.threads).into()),
        ("memory", size(hardware.memory_bytes).into()),
    ]);
    for disk in &hardware.disks {
        let model = disk.model.as_deref().unwrap_or("unknown model");
        table.row(["disk".into(), format!("{} {} {model}", disk.name, size(disk.size_bytes)).into()]);
    }
    for interface in &hardware.interfaces {
        let driver = interface.driver.as_deref().unwrap_or("unknown driver");
        table.row(["interface".into(), format!("{} {} {driver}", interface.name, interface.mac).into()]);
    }
    table
}

/// Bytes for people, in binary units.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        let whole = bytes >> shift;
        if whole > 0 {
            let tenth = ((bytes >> (shift - 10)) & 1_023) * 10 / 1_024;
            return format!("{whole}.{tenth} {unit}");
        }
    }
    format!("{bytes} B")
}
