//! Machines: `bootes get machines`, `describe machine`, `enroll` and `refuse`.

use std::net::Ipv4Addr;

use super::Shell;
use super::client::{Query, encoded};
use super::describe;
use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::table::{Cell, Table, Tone};
use crate::model::{Name, SwitchPort};
use crate::plan::enroll::Verdict;
use crate::port::document::Items;
use crate::port::machine::{
    EnrollAllRequest, EnrollAnswer, EnrollRequest, EnrolledDocument, MachineDocument, RefuseRequest, Standing,
    TakesEffect,
};
use crate::state::MachineStage;

/// Which machines to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only machines that are no node.
    #[arg(long)]
    unknown: bool,
    /// Only machines that were refused.
    #[arg(long, conflicts_with = "unknown")]
    refused: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Which machine to make a node of.
#[derive(Debug, clap::Args)]
pub struct EnrollArgs {
    /// The machine: a MAC of it, its UUID, its serial number or its address.
    #[arg(required_unless_present_any = ["all", "dry_run"])]
    machine: Option<String>,
    /// The node's name; the rules say it where it is not given.
    name: Option<Name>,
    /// Every machine that a rule fits, also those whose rule asks first.
    #[arg(long, conflicts_with_all = ["machine", "name", "replace", "ip", "network", "pool", "cake", "labels", "new"])]
    all: bool,
    /// It is this node with another network card, main board or machine: confirm that.
    #[arg(long, value_name = "NODE", conflicts_with_all = ["name", "ip", "network", "pool", "cake", "labels", "new"])]
    replace: Option<Name>,
    /// The node's address; any free one of its network where it is not given.
    #[arg(long)]
    ip: Option<Ipv4Addr>,
    /// The node's network; its pool's, the defaults', or the one that the machine is on, where it is not given.
    #[arg(long)]
    network: Option<Name>,
    /// The pool that it belongs to.
    #[arg(long)]
    pool: Option<Name>,
    /// The cake that it runs.
    #[arg(long)]
    cake: Option<Name>,
    /// A label, as in rack=r1.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::create::label)]
    labels: Vec<(String, String)>,
    /// It is a new node although it looks like one that there is.
    #[arg(long)]
    new: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Which machine to answer no more.
#[derive(Debug, clap::Args)]
pub struct RefuseArgs {
    /// The machine: a MAC of it, its UUID, its serial number or its address.
    machine: String,
    /// Why, for those who read it later.
    #[arg(long, value_name = "TEXT", conflicts_with = "take_back")]
    reason: Option<String>,
    /// Answer it again.
    #[arg(long)]
    take_back: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Lists.
pub async fn list(args: &ListArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let standing = match (args.unknown, args.refused) {
        (true, _) => Some("unknown"),
        (_, true) => Some("refused"),
        _ => None,
    };
    let query = Query::default().with("standing", standing);
    let machines: Items<MachineDocument> = shell.api.get("/api/v1/machines", &query).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &machines)?;
        return Ok(Status::Done);
    }
    let mut table =
        Table::new(&["MAC", "STATE", "MACHINE", "SERIAL", ">CPUS", ">MEMORY", "SWITCH PORT", "LAST-SEEN", "WHAT"]);
    for machine in &machines.items {
        let hardware = machine.hardware.as_ref();
        table.row([
            machine.mac.into(),
            state(machine),
            or_dash(machine.vendor.as_ref().or(machine.vendor_class.as_ref()).or(machine.client.as_ref())),
            or_dash(machine.serial.as_ref()),
            or_dash(hardware.map(|hardware| hardware.processor.threads)),
            or_dash(hardware.map(|hardware| describe::size(hardware.memory_bytes))),
            or_dash(machine.ports.first()),
            or_dash(machine.last_seen.as_ref()),
            what(machine),
        ]);
    }
    shell.out.table(&table)?;
    if machines.items.is_empty() {
        tell("there is no such machine; one is seen when it asks for an address on a network that is served");
    }
    Ok(Status::Done)
}

fn or_dash(value: Option<impl ToString>) -> Cell {
    value.map_or_else(|| "-".into(), Cell::from)
}

fn state(machine: &MachineDocument) -> Cell {
    match (machine.standing, machine.stage) {
        (Standing::Node, _) => Cell::toned("node", Tone::Good),
        (Standing::Refused, _) => Cell::toned("refused", Tone::Bad),
        (Standing::Unknown, stage) => Cell::toned(stage_word(stage), Tone::Waiting),
    }
}

fn stage_word(stage: Option<MachineStage>) -> &'static str {
    match stage {
        None | Some(MachineStage::Asks) => "asks",
        Some(MachineStage::Rom) => "rom",
        Some(MachineStage::Loader) => "loader",
        Some(MachineStage::Script) => "script",
        Some(MachineStage::Kernel) => "kernel",
        Some(MachineStage::Lost) => "lost",
        Some(MachineStage::Waits) => "waits",
    }
}

fn what(machine: &MachineDocument) -> Cell {
    match (machine.standing, &machine.node, &machine.proposal, &machine.refused) {
        (Standing::Node, Some(node), ..) => node.into(),
        (Standing::Unknown, _, Some(verdict), _) => Cell::toned(&verdict.to_string(), verdict_tone(verdict)),
        (Standing::Refused, _, _, Some(reason)) if !reason.is_empty() => reason.into(),
        _ => "-".into(),
    }
}

fn verdict_tone(verdict: &Verdict) -> Tone {
    match verdict {
        Verdict::Enroll(_) => Tone::Good,
        Verdict::Contested { .. } | Verdict::NoName { .. } | Verdict::NoAddress { .. } | Verdict::NoNetwork { .. } => {
            Tone::Bad
        }
        Verdict::Replaces { .. } | Verdict::NotYet { .. } => Tone::Waiting,
        Verdict::NoRule => Tone::Plain,
    }
}

/// Shows everything that is known of one machine.
pub async fn show(machine: &str, format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let path = format!("/api/v1/machines/{}", encoded(machine));
    let machine: MachineDocument = shell.api.get(&path, &Query::default()).await?.document;
    if let Some(format) = format.format.structured() {
        shell.out.document(format, &machine)?;
        return Ok(Status::Done);
    }
    let macs: Vec<String> = machine.macs.iter().map(ToString::to_string).collect();
    let ports: Vec<String> = machine.ports.iter().map(SwitchPort::to_string).collect();
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: Cell| table.row([name.into(), value]);
    row("mac", machine.mac.into());
    row("macs", macs.join(" ").into());
    row("state", state(&machine));
    row("what", what(&machine));
    row("uuid", or_dash(machine.uuid));
    row("serial", or_dash(machine.serial.as_ref()));
    row("vendor", or_dash(machine.vendor.as_ref()));
    row("vendor class", or_dash(machine.vendor_class.as_ref()));
    row("last asked", or_dash(machine.client.as_ref()));
    row("network", or_dash(machine.network.as_ref()));
    row("ip", or_dash(machine.ip));
    row("switch ports", or_dash(Some(ports.join(", ")).filter(|text| !text.is_empty())));
    for neighbour in machine.neighbours.iter().flatten() {
        let described = neighbour.port_description.as_ref().map_or_else(String::new, |text| format!(", {text}"));
        let said =
            format!("{}: {} ({}){described}", neighbour.interface, SwitchPort::from(neighbour), neighbour.chassis);
        row("heard by LLDP", said.into());
    }
    if let Some(Verdict::Replaces { evidence, .. }) = &machine.proposal {
        let same: Vec<String> = evidence.iter().map(ToString::to_string).collect();
        row("the same", same.join(", ").into());
    }
    row("first seen", or_dash(machine.first_seen.as_ref()));
    row("last seen", or_dash(machine.last_seen.as_ref()));
    if let Some(refusal) = &machine.join_refused {
        row("last join refused", refusal.into());
    }
    let paint = shell.out.paint();
    let mut text = table.render_rows(paint);
    if let Some(hardware) = &machine.hardware {
        text.push('\n');
        text.push_str(&describe::hardware_facts(hardware).render_rows(paint));
    }
    shell.out.text(&text)?;
    Ok(Status::Done)
}

/// Enrols.
pub async fn enroll(args: EnrollArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let Some(machine) = args.machine else {
        let request = EnrollAllRequest { dry_run: args.dry_run };
        let answer: EnrollAnswer = shell.api.post("/api/v1/machines/enroll", &request).await?.document;
        return print(&answer, args.format.format, shell);
    };
    let request = EnrollRequest {
        name: args.name,
        replace: args.replace,
        ip: args.ip,
        network: args.network,
        pool: args.pool,
        cake: args.cake,
        labels: args.labels.into_iter().collect(),
        new: args.new,
        dry_run: args.dry_run,
    };
    let path = format!("/api/v1/machines/{}/enroll", encoded(&machine));
    let answer: EnrollAnswer = shell.api.post(&path, &request).await?.document;
    print(&answer, args.format.format, shell)
}

fn print(answer: &EnrollAnswer, format: Format, shell: &mut Shell) -> Result<Status, CliError> {
    if let Some(format) = format.structured() {
        shell.out.document(format, answer)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["MAC", "SWITCH PORT", "NODE", "IP", "TAKES EFFECT", "BY"]);
    for machine in &answer.machines {
        let EnrolledDocument { mac, port, proposal, node, ip, takes_effect } = machine;
        let effect = match takes_effect {
            None => "-",
            Some(TakesEffect::Now) => "now",
            Some(TakesEffect::StartsOver) => "now, it starts over",
            Some(TakesEffect::NextBoot) => "at its next boot",
        };
        let by = match (node, proposal) {
            (Some(node), Verdict::Enroll(of_rule)) if of_rule.name == *node => format!("rule {}", of_rule.rule),
            (Some(_), Verdict::Replaces { .. }) => proposal.to_string(),
            (Some(_), _) => "hand".to_owned(),
            (None, proposal) => proposal.to_string(),
        };
        let node = or_dash(node.as_ref());
        table.row([(*mac).into(), or_dash(port.as_ref()), node, or_dash(ip.as_ref()), effect.into(), by.into()]);
    }
    shell.out.table(&table)?;
    let enrolled = answer.machines.iter().filter(|machine| machine.node.is_some()).count();
    let noun = if enrolled == 1 { "machine" } else { "machines" };
    match (enrolled, answer.applied) {
        (0, _) => tell("nothing to enrol; 'bootes get machines --unknown' says what each machine waits for"),
        (_, true) => tell(&format!("{enrolled} {noun} enrolled; watch the nodes with 'bootes get nodes --watch'")),
        (_, false) => tell(&format!("{enrolled} {noun} would be enrolled; nothing was changed")),
    }
    Ok(Status::Done)
}

/// Refuses.
pub async fn refuse(args: RefuseArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let request = RefuseRequest { reason: args.reason, take_back: args.take_back };
    let path = format!("/api/v1/machines/{}/refuse", encoded(&args.machine));
    let machine: MachineDocument = shell.api.post(&path, &request).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &machine)?,
        None if args.take_back => shell.out.text(&format!("{} is answered again\n", machine.mac))?,
        None => shell.out.text(&format!("{} is answered no more\n", machine.mac))?,
    }
    Ok(Status::Done)
}
