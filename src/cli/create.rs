//! `bootes create node`: one node or a few, without a file. A description in a file says more, and can be kept.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Shell;
use super::error::{CliError, Status, tell};
use super::output::{Format, FormatArgs};
use super::plan;
use crate::model::given::Given;
use crate::model::limits::TEXT_VALUE_BYTES_MAX;
use crate::model::{BmcDriver, Mac, Name, NodeSet, VarPath};
use crate::port::describe::{BmcRequest, CreateRequest, NodeRequest};
use crate::port::document::ApplyAnswer;

/// The port of a BMC where none is written (IPMI 2.0, section 13.1.1).
const BMC_PORT: u16 = 623;

/// What to create.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Describe new nodes; what is not said here their pool or the cluster's defaults say.
    Node(Box<NodeArgs>),
}

/// Which nodes.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// Their names, for instance n4 or n[4-6].
    #[arg(value_name = "NODESET")]
    names: NodeSet,
    /// Their hardware addresses, one for each: 52:54:00:b0:07:04 or 52:54:00:b0:07:[04-06].
    #[arg(long)]
    mac: NodeSet,
    /// Their fixed addresses, one for each: 10.77.0.14 or 10.77.0.[14-16].
    #[arg(long)]
    ip: NodeSet,
    /// The pool that they belong to.
    #[arg(long)]
    pool: Option<Name>,
    /// The network that they boot from.
    #[arg(long)]
    network: Option<Name>,
    /// The cake that they run.
    #[arg(long)]
    cake: Option<Name>,
    /// Their processor architecture.
    #[arg(long)]
    arch: Option<String>,
    /// What kind of machine they are.
    #[arg(long)]
    platform: Option<String>,
    /// A node that may be their parent; the first one is preferred.
    #[arg(long = "parent", value_name = "NODE")]
    parents: Vec<Name>,
    /// A label, as in rack=r1.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A value that is wanted of a variable, as in site.rack=r1.
    #[arg(long = "set", value_name = "VAR=VALUE", value_parser = value)]
    set: Vec<(VarPath, String)>,
    /// Their BMCs' addresses, one for each: 10.77.0.104 or 10.77.0.[104-106]:623.
    #[arg(long, value_name = "ADDRESS")]
    bmc: Option<NodeSet>,
    /// The BMCs' account.
    #[arg(long, value_name = "USER", requires = "bmc")]
    bmc_user: Option<String>,
    /// The file that the account's password is in; - reads the standard input.
    #[arg(long, value_name = "FILE", requires = "bmc")]
    bmc_password_file: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn value(text: &str) -> Result<(VarPath, String), String> {
    let (path, value) = text.split_once('=').ok_or("write VAR=VALUE")?;
    Ok((path.parse().map_err(|error: crate::model::VarError| error.to_string())?, value.to_owned()))
}

/// Creates.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let Command::Node(args) = command;
    let items = nodes(&args)?;
    let count = items.len();
    let answer: ApplyAnswer = shell.api.post("/api/v1/nodes", &CreateRequest { items }).await?.document;
    plan::print(&answer, args.format.format, shell)?;
    if args.format.format == Format::Table {
        let noun = if count == 1 { "node" } else { "nodes" };
        tell(&format!("{count} {noun} created; watch the nodes with 'bootes get nodes --watch'"));
    }
    Ok(Status::Done)
}

fn nodes(args: &NodeArgs) -> Result<Vec<NodeRequest>, CliError> {
    let names = each(args, "names", &args.names, |text| text.parse::<Name>().ok())?;
    let macs = each(args, "--mac", &args.mac, |text| text.parse::<Mac>().ok())?;
    let ips = each(args, "--ip", &args.ip, |text| text.parse::<Ipv4Addr>().ok())?;
    let bmcs: Vec<Option<SocketAddr>> = match &args.bmc {
        None => vec![None; names.len()],
        Some(bmcs) => each(args, "--bmc", bmcs, address)?.into_iter().map(Some).collect(),
    };
    let password = args.bmc_password_file.as_deref().map(password).transpose()?;
    let bmc = |address| BmcRequest {
        driver: Some(BmcDriver::Ipmi),
        address: Some(address),
        user: args.bmc_user.clone(),
        password: password.clone(),
    };
    let set: BTreeMap<VarPath, Given> =
        args.set.iter().map(|(path, text)| (path.clone(), Given::Text(text.clone()))).collect();
    let single = names.into_iter().zip(macs).zip(ips).zip(bmcs);
    Ok(single
        .map(|(((name, mac), ip), address)| NodeRequest {
            name,
            pool: args.pool.clone(),
            network: args.network.clone(),
            mac,
            ip: Some(ip),
            matching: Default::default(),
            ip6: None,
            duid: None,
            cake: args.cake.clone(),
            arch: args.arch.clone(),
            platform: args.platform.clone(),
            parents: args.parents.clone(),
            bmc: address.map(bmc),
            labels: args.labels.iter().cloned().collect(),
            set: set.clone(),
            options: Default::default(),
        })
        .collect())
}

fn each<T>(
    args: &NodeArgs,
    option: &str,
    texts: &NodeSet,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, CliError> {
    let wrong = |text: &str| CliError::Usage(format!("{option}: '{text}' is not what it should be; see --help"));
    let values: Vec<T> = texts.iter().map(|text| parse(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>()?;
    if values.len() != args.names.len() {
        let (got, wanted) = (values.len(), args.names.len());
        let detail = format!("{option} stands for {got} values, and the node set for {wanted}; give one for each node");
        return Err(CliError::Usage(detail));
    }
    Ok(values)
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, BMC_PORT)))
}

/// A password is not given on a command line, which every user of the machine can read.
fn password(path: &Path) -> Result<String, CliError> {
    let failed =
        |error: std::io::Error| CliError::Usage(format!("{}: the password cannot be read ({error})", path.display()));
    let mut input: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut text = String::new();
    let limit = u64::try_from(TEXT_VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    input.by_ref().take(limit).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
