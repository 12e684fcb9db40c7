//! `bootes get var`, `pools`, `extensions`, `variables`, `networks` and `cakes`: what nodes are made of.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::get::tone;
use super::nodes::Nodes;
use super::output::FormatArgs;
use super::select::{Selectors, query};
use super::table::{Cell, Table};
use crate::model::schema::{Origin, Setting};
use crate::model::{CakeSpec, Extension, NetworkSpec, TargetSpec, VarPath};
use crate::port::describe::{PoolDocument, ValueDocument, VariableDocument};
use crate::port::document::Items;

/// The word that stands for every node that the options leave.
const EVERY_NODE: &str = "-";

/// Which variables of whom.
#[derive(Debug, clap::Args)]
pub struct VarArgs {
    /// The nodes, for instance n[1-3]; - for every node that the options leave.
    #[arg(value_name = "NODESET", value_parser = nodes, allow_hyphen_values = true)]
    nodes: Whom,
    /// The variables, as in run or image.hello.state.
    #[arg(value_name = "VARIABLE", required = true)]
    paths: Vec<VarPath>,
    #[command(flatten)]
    selectors: Selectors,
    #[command(flatten)]
    format: FormatArgs,
}

/// Some nodes, or every one.
#[derive(Debug, Clone)]
enum Whom {
    Every,
    These(Nodes),
}

fn nodes(text: &str) -> Result<Whom, crate::model::nodeset::NodeSetError> {
    match text {
        EVERY_NODE => Ok(Whom::Every),
        text => text.parse().map(Whom::These),
    }
}

/// Asks for a list, and prints it as a document or as a table.
async fn list<T: Serialize + DeserializeOwned>(
    path: &str,
    asked: &Query,
    format: &FormatArgs,
    shell: &mut Shell,
    table: impl FnOnce(&[T]) -> Table,
) -> Result<Status, CliError> {
    let answer: Items<T> = shell.api.get(path, asked).await?.document;
    match format.format.structured() {
        Some(format) => shell.out.document(format, &answer)?,
        None => shell.out.table(&table(&answer.items))?,
    }
    Ok(Status::Done)
}

fn or_dash(text: Option<impl ToString>) -> Cell {
    text.map_or_else(|| "-".into(), Cell::from)
}

/// Lists values of variables.
pub async fn values(args: &VarArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let whom = match &args.nodes {
        Whom::Every => None,
        Whom::These(nodes) => Some(nodes),
    };
    let asked = query(&args.selectors.with(whom));
    let asked = args.paths.iter().fold(asked, |asked, path| asked.with("path", Some(path)));
    list("/api/v1/values", &asked, &args.format, shell, |values: &[ValueDocument]| {
        let mut table = Table::new(&["NAME", "VARIABLE", "DESIRED", "FROM", "OBSERVED", "SEEN BY", "SINCE"]);
        for value in values {
            let (desired, observed) = (&value.state.desired, &value.state.observed);
            table.row([
                value.node.clone().into(),
                value.path.clone().into(),
                or_dash(desired.as_ref().map(|d| &d.value)),
                or_dash(desired.as_ref().map(|d| &d.from)),
                observed.as_ref().map_or_else(|| "-".into(), |o| Cell::toned(&o.value, tone(&o.value))),
                or_dash(observed.as_ref().map(|o| &o.from)),
                or_dash(observed.as_ref().map(|o| &o.at)),
            ]);
        }
        table
    })
    .await
}

/// Lists pools.
pub async fn pools(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    list("/api/v1/pools", &Query::default(), format, shell, |pools: &[PoolDocument]| {
        let mut table = Table::new(&["NAME", ">COUNT", "NODES", "NETWORK", "CAKE", "SET"]);
        for pool in pools {
            let says = &pool.template;
            let set: Vec<String> = says.set.iter().map(|(path, value)| format!("{path}={value}")).collect();
            table.row([
                pool.name.clone().into(),
                pool.count.into(),
                or_dash(Some(&pool.nodes).filter(|nodes| !nodes.is_empty())),
                or_dash(says.network.as_ref()),
                or_dash(says.cake.as_ref()),
                or_dash(Some(set.join(" ")).filter(|set| !set.is_empty())),
            ]);
        }
        table
    })
    .await
}

/// Lists extensions.
pub async fn extensions(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    list("/api/v1/extensions", &Query::default(), format, shell, |extensions: &[Extension]| {
        let mut table = Table::new(&["NAME", "ORIGIN", ">VARIABLES", "WHAT FOR"]);
        for extension in extensions {
            let origin = match &extension.origin {
                Origin::BuiltIn => "built in".to_owned(),
                Origin::Described => "described".to_owned(),
                Origin::Module(module) => format!("module {module}"),
            };
            let (name, count) = (extension.name.clone(), extension.variables.len());
            table.row([name.into(), origin.into(), count.into(), extension.doc.clone().into()]);
        }
        table
    })
    .await
}

/// Lists variables.
pub async fn variables(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    list("/api/v1/variables", &Query::default(), format, shell, |variables: &[VariableDocument]| {
        let mut table = Table::new(&["VARIABLE", "EXTENSION", "SET", "VALUES", "DEFAULT", "WHAT IT SAYS"]);
        for variable in variables {
            let set = match variable.set {
                Setting::Observed => "observed",
                Setting::Goal => "goal",
                Setting::Config => "config",
            };
            table.row([
                variable.path.clone().into(),
                variable.extension.clone().into(),
                set.into(),
                variable.kind.clone().into(),
                or_dash(variable.default.as_ref()),
                variable.doc.clone().into(),
            ]);
        }
        table
    })
    .await
}

/// Lists networks.
pub async fn networks(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    list("/api/v1/networks", &Query::default(), format, shell, |networks: &[NetworkSpec]| {
        let mut table = Table::new(&["NAME", "SUBNET", "ROUTER", "DNS", ">LEASE"]);
        for network in networks {
            let dns: Vec<String> = network.dns.iter().map(ToString::to_string).collect();
            table.row([
                network.name.clone().into(),
                network.subnet.into(),
                or_dash(network.router),
                or_dash(Some(dns.join(",")).filter(|dns| !dns.is_empty())),
                format!("{} s", network.lease_s).into(),
            ]);
        }
        table
    })
    .await
}

/// Lists cakes.
pub async fn cakes(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    list("/api/v1/cakes", &Query::default(), format, shell, |cakes: &[CakeSpec]| {
        let mut table = Table::new(&["CAKE", "IMAGE", "DIGEST"]);
        for cake in cakes {
            for image in &cake.images {
                table.row([cake.name.clone().into(), image.name.clone().into(), image.digest.into()]);
            }
            if cake.images.is_empty() {
                table.row([cake.name.clone().into(), "-".into(), "-".into()]);
            }
        }
        table
    })
    .await
}

/// Lists boot targets.
pub async fn targets(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    list("/api/v1/targets", &Query::default(), format, shell, |targets: &[TargetSpec]| {
        let mut table = Table::new(&["TARGET", "BOOTS", "METADATA", "THEN"]);
        for target in targets {
            let files: Vec<&str> = target
                .files()
                .chain([&target.script, &target.grub].into_iter().flatten().map(String::as_str))
                .collect();
            let metadata: Vec<&str> = target.metadata.keys().map(String::as_str).collect();
            table.row([
                target.name.clone().into(),
                files.join(" ").into(),
                or_dash(Some(metadata.join(" ")).filter(|metadata| !metadata.is_empty())),
                or_dash(target.then.as_ref()),
            ]);
        }
        table
    })
    .await
}
