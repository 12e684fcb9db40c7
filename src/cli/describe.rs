//! `bootes describe node`: everything that is known of one node.

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
use crate::port::describe::{NodeDetail, VariableState};

/// What to describe.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one node: its description, its variables with who wants and who saw what, its agent and its hardware.
    Node {
        /// The node.
        name: Name,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Show one machine: what tells it from others, where it is plugged in, what it is made of, what it may become.
    Machine {
        /// The machine: a MAC of it, its UUID, its serial number, its address, or its node's name.
        machine: String,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// Describes.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let (name, format) = match command {
        Command::Node { name, format } => (name, format),
        Command::Machine { machine, format } => return super::machine::show(&machine, &format, shell).await,
    };
    let path = format!("/api/v1/nodes/{}", encoded(name.as_str()));
    let node: NodeDetail = shell.api.get(&path, &Query::default()).await?.document;
    if let Some(format) = format.format.structured() {
        shell.out.document(format, &node)?;
        return Ok(Status::Done);
    }
    let paint = shell.out.paint();
    let mut text = facts(&node).render_rows(paint);
    text.push('\n');
    text.push_str(&variables(&node).render(paint));
    if let Some(hardware) = &node.node.hardware {
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
fn facts(detail: &NodeDetail) -> Table {
    let node = &detail.node;
    let labels: Vec<String> = node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let bmc = node.bmc.as_ref().map(|bmc| format!("{} {} as {}", bmc.driver, bmc.address, bmc.user));
    let agent = match (&node.agent.connected, &node.agent.peer) {
        (true, Some(peer)) => format!("connected from {peer}"),
        (true, None) => "connected".to_owned(),
        (false, _) => "not connected".to_owned(),
    };
    let parents: Vec<&str> = node.parents.iter().map(Name::as_str).collect();
    let some = |texts: Vec<String>| or_dash(Some(texts.join(" ")).filter(|text| !text.is_empty()));
    let since = node.stage_s.map(|seconds| clock::span((seconds.max(0.0) * 1_000.0) as u64));
    let since = since.map_or_else(String::new, |span| format!(", for {span}"));
    let mut table = Table::new(&["", "", ""]);
    let mut row = |name: &str, value: Cell, from: Option<String>| {
        table.row([name.into(), value, from.unwrap_or_default().into()]);
    };
    let by = |field: &str| detail.said_by.get(field).map(|who| format!("({who})"));
    row("name", node.name.clone().into(), None);
    row("id", node.id.into(), None);
    row("revision", node.revision.0.into(), None);
    row("goal reached", get::goal(node), None);
    row("stage", format!("{}{since}", node.stage).into(), None);
    row("step", or_dash(node.step.as_ref()), None);
    row("pool", or_dash(node.pool.as_ref()), by("pool"));
    row("network", node.network.clone().into(), by("network"));
    row("mac", node.mac.into(), by("mac"));
    row("ip", node.ip.into(), by("ip"));
    row("lease until", or_dash(node.lease_until.as_ref()), None);
    row("cake", or_dash(node.cake.as_ref()), by("cake"));
    row("arch", or_dash(node.arch.as_ref()), by("arch"));
    row("platform", or_dash(node.platform.as_ref()), by("platform"));
    row("parents", some(parents.iter().map(|&parent| parent.to_owned()).collect()), by("parents"));
    row("labels", some(labels), among(detail, "labels."));
    row("bmc", or_dash(bmc), among(detail, "bmc."));
    row("agent", agent.into(), None);
    row("agent heard", or_dash(node.agent.heard_at.as_ref()), None);
    table
}

/// Who says the parts of something: one name when it is one, else each part with its own.
fn among(detail: &NodeDetail, prefix: &str) -> Option<String> {
    let parts: Vec<(&str, String)> =
        detail.said_by.iter().filter_map(|(field, who)| Some((field.strip_prefix(prefix)?, who.to_string()))).collect();
    let (_, first) = parts.first()?;
    if parts.iter().all(|(_, who)| who == first) {
        return Some(format!("({first})"));
    }
    let each: Vec<String> = parts.iter().map(|(part, who)| format!("{part}: {who}")).collect();
    Some(format!("({})", each.join(", ")))
}

fn variables(detail: &NodeDetail) -> Table {
    let mut table = Table::new(&["VARIABLE", "DESIRED", "FROM", "OBSERVED", "SEEN BY", "SINCE"]);
    for (path, VariableState { desired, observed }) in &detail.variables {
        table.row([
            path.clone().into(),
            or_dash(desired.as_ref().map(|desired| &desired.value)),
            or_dash(desired.as_ref().map(|desired| &desired.from)),
            observed.as_ref().map_or_else(|| "-".into(), |seen| Cell::toned(&seen.value, get::tone(&seen.value))),
            or_dash(observed.as_ref().map(|seen| &seen.from)),
            or_dash(observed.as_ref().map(|seen| &seen.at)),
        ]);
    }
    table
}

pub(super) fn hardware_facts(hardware: &Hardware) -> Table {
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
