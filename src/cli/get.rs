//! `bootes get`: nodes at a glance, once or as they change; machines; and what `catalog` lists.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::catalog;
use super::error::{CliError, Status, tell};
use super::machine;
use super::output::{FormatArgs, Structured};
use super::select::Filtered;
use super::table::{Cell, Table, Tone};
use super::{Shell, overview};
use crate::model::Moment;
use crate::port::document::{Items, NodeDocument};
use crate::port::history::PastNodes;

/// Between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[2J";
const COLUMNS: &[&str] = &["NAME", "POWER", "BOOT", "RUN", "IMAGES", "STAGE", ">SECONDS", "GOAL"];
const WIDE_COLUMNS: &[&str] =
    &["NAME", "POWER", "BOOT", "RUN", "IMAGES", "STAGE", ">SECONDS", "GOAL", "MAC", "IP", "BMC", "CAKE", "POOL", "ID"];

/// What to list.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List nodes with what was observed of them.
    Nodes(NodesArgs),
    /// Show what holds for all nodes together: stages, freezes, mass events, what is switched off.
    Cluster(FormatArgs),
    /// List machines: those that asked for an address and are no node, those that were refused, and those of nodes.
    Machines(machine::ListArgs),
    /// List addresses and who has them.
    Leases(FormatArgs),
    /// List values of variables, wanted and seen, with who wants and who saw them.
    Var(catalog::VarArgs),
    /// List pools.
    Pools(FormatArgs),
    /// List extensions.
    Extensions(FormatArgs),
    /// List the variables that there are, with their types.
    Variables(FormatArgs),
    /// List networks.
    Networks(FormatArgs),
    /// List cakes.
    Cakes(FormatArgs),
    /// List boot targets that are described.
    Targets(FormatArgs),
}

/// Which nodes, and how.
#[derive(Debug, clap::Args)]
pub struct NodesArgs {
    #[command(flatten)]
    nodes: Filtered,
    /// How the answer is printed.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value = "table")]
    format: NodesFormat,
    /// As it was then: a time in UTC ('2026-11-20 03:10', or RFC 3339), how long ago (10m, -10m, '10m ago'), or a fact
    /// (seq:123).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "watch")]
    at: Option<Moment>,
    /// Look again every second: redraw on a terminal, else print what has changed.
    #[arg(long)]
    watch: bool,
}

/// How nodes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NodesFormat {
    /// For people.
    Table,
    /// For people with a wide terminal.
    Wide,
    /// JSON (RFC 8259).
    Json,
    /// YAML 1.2.
    Yaml,
}

impl NodesFormat {
    fn structured(self) -> Option<Structured> {
        match self {
            NodesFormat::Table | NodesFormat::Wide => None,
            NodesFormat::Json => Some(Structured::Json),
            NodesFormat::Yaml => Some(Structured::Yaml),
        }
    }
}

/// Lists.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::Nodes(args) if args.watch => watch(&args, shell).await,
        Command::Nodes(args) if args.at.is_some() => past(&args, shell).await,
        Command::Nodes(args) => {
            let nodes = ask(&args, shell).await?;
            match args.format.structured() {
                Some(format) => shell.out.document(format, &nodes)?,
                None => shell.out.table(&table(&nodes.items, args.format))?,
            }
            if nodes.items.is_empty() && args.format.structured().is_none() {
                tell(match args.nodes.any() {
                    true => "no node is like that; 'bootes get nodes' alone shows all of them",
                    false => "there is no node yet; describe some in a file and apply it with 'bootes apply -f FILE'",
                });
            }
            Ok(Status::Done)
        }
        Command::Cluster(args) => overview::run(&args, shell).await,
        Command::Leases(args) => super::lease::list(&args, shell).await,
        Command::Machines(args) => machine::list(&args, shell).await,
        Command::Var(args) => catalog::values(&args, shell).await,
        Command::Pools(args) => catalog::pools(&args, shell).await,
        Command::Extensions(args) => catalog::extensions(&args, shell).await,
        Command::Variables(args) => catalog::variables(&args, shell).await,
        Command::Networks(args) => catalog::networks(&args, shell).await,
        Command::Targets(args) => catalog::targets(&args, shell).await,
        Command::Cakes(args) => catalog::cakes(&args, shell).await,
    }
}

async fn ask(args: &NodesArgs, shell: &Shell) -> Result<Items<NodeDocument>, CliError> {
    Ok(shell.api.get("/api/v1/nodes", &args.nodes.query()).await?.document)
}

async fn past(args: &NodesArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let query = args.nodes.query().with("at", args.at);
    let nodes: PastNodes = shell.api.get("/api/v1/nodes", &query).await?.document;
    match args.format.structured() {
        Some(format) => shell.out.document(format, &nodes)?,
        None => {
            shell.out.table(&table(&nodes.items, args.format))?;
            tell(&format!("as it was after fact {}, {}", nodes.as_of.seq.0, nodes.as_of.at));
        }
    }
    Ok(Status::Done)
}

/// Looks again and again. An appliance that is started again meanwhile is waited for.
async fn watch(args: &NodesArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let mut seen: BTreeMap<String, NodeDocument> = BTreeMap::new();
    let mut nodes = ask(args, shell).await?;
    let mut away = false;
    let redraw = shell.out.is_terminal() && args.format.structured().is_none();
    if !redraw && args.format.structured().is_none() {
        shell.out.text(&table(&[], args.format).render(shell.out.paint()))?;
    }
    loop {
        if redraw {
            let shown = table(&nodes.items, args.format).render(shell.out.paint());
            shell.out.text(&format!("{CLEAR_SCREEN}{shown}"))?;
        } else {
            print_changed(&nodes.items, &mut seen, args.format, shell)?;
        }
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            match ask(args, shell).await {
                Ok(again) => {
                    nodes = again;
                    away = false;
                    break;
                }
                Err(error @ (CliError::Unreachable { .. } | CliError::Broken { .. })) => {
                    if !std::mem::replace(&mut away, true) {
                        tell(&format!("{error}; waiting for it"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn print_changed(
    nodes: &[NodeDocument],
    seen: &mut BTreeMap<String, NodeDocument>,
    format: NodesFormat,
    shell: &mut Shell,
) -> Result<(), CliError> {
    for node in nodes {
        // Seconds pass without anything having changed.
        let still = NodeDocument { stage_s: None, ..node.clone() };
        if seen.get(node.name.as_str()) == Some(&still) {
            continue;
        }
        seen.insert(node.name.to_string(), still);
        match format.structured() {
            Some(format) => shell.out.one_of_many(format, node)?,
            None => {
                let row = table(std::slice::from_ref(node), format).render_rows(shell.out.paint());
                shell.out.text(&row)?;
            }
        }
    }
    Ok(())
}

fn table(nodes: &[NodeDocument], format: NodesFormat) -> Table {
    let wide = format == NodesFormat::Wide;
    let mut table = Table::new(if wide { WIDE_COLUMNS } else { COLUMNS });
    for node in nodes {
        let mut cells = vec![
            node.name.clone().into(),
            observed(node, "power"),
            observed(node, "boot"),
            observed(node, "run"),
            images(node),
            node.stage.clone().into(),
            node.stage_s.map_or_else(|| "-".into(), |seconds| format!("{seconds:.0}").into()),
            goal(node),
        ];
        if wide {
            let bmc = node.bmc.as_ref().map_or("-".to_owned(), |bmc| bmc.address.to_string());
            let cake = node.cake.as_ref().map_or("-".to_owned(), ToString::to_string);
            let pool = node.pool.as_ref().map_or("-".to_owned(), ToString::to_string);
            cells.extend([node.mac.into(), node.ip.into(), bmc.into(), cake.into(), pool.into(), node.id.into()]);
        }
        table.row(cells);
    }
    table
}

/// A variable's value, with its tone.
fn observed(node: &NodeDocument, path: &str) -> Cell {
    match node.observed.get(path).map(String::as_str) {
        None => Cell::from("-"),
        Some(value) => Cell::toned(value, tone(value)),
    }
}

pub(super) fn tone(value: &str) -> Tone {
    match value {
        "on" | "agent" | "sync" | "active" => Tone::Good,
        "armed" | "rom" | "loader" | "kernel" | "init" => Tone::Waiting,
        "stuck" | "lost" | "failed" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// Each image with its state, for instance `hello:active`.
fn images(node: &NodeDocument) -> Cell {
    let image = |(path, state): (&String, &String)| {
        let name = path.strip_prefix("image.")?.strip_suffix(".state")?;
        Some((format!("{name}:{state}"), tone(state)))
    };
    let images: Vec<(String, Tone)> = node.observed.iter().filter_map(image).collect();
    let texts: Vec<&str> = images.iter().map(|(text, _)| text.as_str()).collect();
    let all = |tone| !images.is_empty() && images.iter().all(|(_, of)| *of == tone);
    match texts.as_slice() {
        [] => Cell::from("-"),
        texts if images.iter().any(|(_, tone)| *tone == Tone::Bad) => Cell::toned(&texts.join(" "), Tone::Bad),
        texts if all(Tone::Good) => Cell::toned(&texts.join(" "), Tone::Good),
        texts => Cell::from(texts.join(" ")),
    }
}

/// Whether the goal is reached.
pub(super) fn goal(node: &NodeDocument) -> Cell {
    match (node.goal_reached, node.quarantined) {
        (true, _) => Cell::toned("yes", Tone::Good),
        (false, true) => Cell::toned("quarantined", Tone::Bad),
        (false, false) => Cell::toned("no", Tone::Waiting),
    }
}
