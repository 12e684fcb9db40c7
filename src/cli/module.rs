//! `bootes module`: begin one, check one, list them all, switch one on and off.

use std::io::Read;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::client::Query;
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use super::table::{Cell, Table, Tone};
use super::{Shell, switch};
use crate::config::module::is_built_in;
use crate::fact::Switch;
use crate::model::{Name, NodeId, Schema};
use crate::module::check::{Disruptive, Finding, Subjected, Verdict, check};
use crate::module::codec::NodeCard;
use crate::module::guard::THIS_BINARY;
use crate::module::process;
use crate::module::skeleton::{self, Language};
use crate::plan::Graph;
use crate::port::document::{Items, ModuleDocument};

/// Bytes of a file that describes a node.
const NODE_BYTES_MAX: u64 = 1 << 20;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a working module to start from.
    New(NewArgs),
    /// Hold a program against the protocol; exit code 1 when it is wrong.
    Check(CheckArgs),
    /// List modules, built in and from outside, and how they fare.
    List(FormatArgs),
    /// Plan with a module's mutations again.
    Enable(switch::Args),
    /// Plan without a module's mutations from now on; steps under way end.
    Disable(switch::Args),
}

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Python 3, nothing but its standard library.
    Python,
    /// Rust, with serde_json.
    Rust,
}

/// What to write.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// The module's name, with which its variables and mutations begin.
    #[arg(value_name = "NAME")]
    name: Name,
    /// The language.
    #[arg(long, value_enum, default_value = "python")]
    lang: Lang,
    /// The folder; by default one of the module's name, here.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The name by which the module is told that it is known.
    #[arg(long, default_value = "sample", value_name = "NAME")]
    name: Name,
    /// Its configuration, a JSON object.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    config: JsonObject,
    /// A file with the node that it is shown, a JSON object as in a request; - is the standard input.
    #[arg(long, value_name = "FILE")]
    node: Option<PathBuf>,
    /// Ask also for mutations that it declares disruptive.
    #[arg(long)]
    disruptive: bool,
    #[command(flatten)]
    format: FormatArgs,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// An object of JSON.
#[derive(Debug, Clone)]
pub struct JsonObject(Map<String, Json>);

impl std::str::FromStr for JsonObject {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
            .map(JsonObject)
            .map_err(|error| format!("{error}; write it as in {{\"every_s\": 60}}"))
    }
}

/// Does it.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::New(args) => new(args, shell),
        Command::Check(args) => check_program(args, shell).await,
        Command::List(args) => list(&args, shell).await,
        Command::Enable(args) => switch::run("modules", args, Switch::Enabled, shell).await,
        Command::Disable(args) => switch::run("modules", args, Switch::Disabled, shell).await,
    }
}

fn new(args: NewArgs, shell: &mut Shell) -> Result<Status, CliError> {
    if is_built_in(&args.name) {
        let name = &args.name;
        return Err(CliError::Usage(format!("'{name}' is the name of something built in; choose another one")));
    }
    let folder = args.dir.unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let language = match args.lang {
        Lang::Python => Language::Python,
        Lang::Rust => Language::Rust,
    };
    let written = skeleton::write(&args.name, language, &folder).map_err(|error| CliError::Usage(error.to_string()))?;
    let mut text: String = written.iter().map(|path| format!("{}\n", path.display())).collect();
    text.push_str(&format!("try it: {}\n", folder.join("check").display()));
    shell.out.text(&text)?;
    Ok(Status::Done)
}

/// A node for modules that look at nothing but its name.
fn made_up(module: &Name) -> NodeCard {
    NodeCard {
        id: NodeId(uuid::Uuid::from_u128(1)),
        name: "n1".parse().unwrap_or_else(|_| module.clone()),
        ip: Some(std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
        labels: Default::default(),
        bmc: None,
        desired: Default::default(),
        observed: Default::default(),
    }
}

async fn check_program(args: CheckArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let node = match &args.node {
        None => made_up(&args.name),
        Some(path) => read_node(path)?,
    };
    let folder = std::env::current_dir().map_err(|source| CliError::Runtime { source })?;
    let all = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
    ];
    let graph = Graph::build(all.concat(), &Schema::default()).map_err(|error| CliError::Usage(error.to_string()))?;
    let subject = Subjected {
        name: args.name,
        command: process::Command { words: args.command, folder, guard: PathBuf::from(THIS_BINARY) },
        config: args.config.0,
        node,
        disruptive: if args.disruptive { Disruptive::Ask } else { Disruptive::LeaveOut },
        graph,
        listen: |text| tell(&format!("it says: {text}")),
    };
    let findings = check(&subject).await;
    show(&findings, &args.format, shell)?;
    let wrong = findings.iter().any(|finding| finding.verdict == Verdict::Wrong);
    Ok(if wrong { Status::Failed } else { Status::Done })
}

fn read_node(path: &std::path::Path) -> Result<NodeCard, CliError> {
    let refused =
        |detail: String| CliError::Usage(format!("{}: {detail}; see docs/WRITING-A-MODULE.md", path.display()));
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().take(NODE_BYTES_MAX).read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(NODE_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|error| refused(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refused(error.to_string()))
}

fn show(findings: &[Finding], format: &FormatArgs, shell: &mut Shell) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Found<'a> {
        items: &'a [Finding],
    }
    if let Some(format) = format.format.structured() {
        return shell.out.document(format, &Found { items: findings });
    }
    let mut table = Table::new(&["", "WHAT", "DETAIL"]);
    for Finding { what, verdict, detail } in findings {
        let (word, tone) = match verdict {
            Verdict::Good => ("good", Tone::Good),
            Verdict::Wrong => ("WRONG", Tone::Bad),
            Verdict::LeftOut => ("left out", Tone::Waiting),
        };
        table.row([Cell::toned(word, tone), what.into(), detail.into()]);
    }
    shell.out.table(&table)
}

async fn list(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let modules: Items<ModuleDocument> = shell.api.get("/api/v1/modules", &Query::default()).await?.document;
    if let Some(format) = format.format.structured() {
        shell.out.document(format, &modules)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["NAME", "ORIGIN", "STATE", ">FAILURES", "VERSION", "MUTATIONS", "DETAIL"]);
    for module in modules.items {
        let tone = match module.state.as_str() {
            "running" | "asleep" => Tone::Good,
            "starting" => Tone::Waiting,
            _ => Tone::Bad,
        };
        let state = if module.enabled { module.state } else { format!("{}, disabled", module.state) };
        table.row([
            module.name.into(),
            module.origin.replace('_', " ").into(),
            Cell::toned(&state, tone),
            module.failures.into(),
            module.version.into(),
            module.mutations.join(" ").into(),
            module.detail.into(),
        ]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}
