//! `bootes get leases`, `bootes release-lease`, `bootes explain-lease`.

use std::net::Ipv4Addr;

use super::Shell;
use super::client::{Query, encoded};
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use super::table::{Cell, Table, Tone};
use crate::model::Name;
use crate::port::document::Items;
use crate::port::lease::{LeaseDocument, LeaseExplained, LeaseStanding, ReleaseLeaseAnswer, ReleaseLeaseRequest};

/// Which lease.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The address, for instance 10.77.0.200.
    #[arg(value_name = "ADDRESS")]
    ip: Ipv4Addr,
    #[command(flatten)]
    format: FormatArgs,
}

/// Whose lease, and asked by what.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The node.
    #[arg(value_name = "NODE")]
    node: Name,
    /// As a client of this architecture (a number of option 93) is told.
    #[arg(long, value_name = "NUMBER")]
    arch: Option<u16>,
    /// As a client of this vendor class is told.
    #[arg(long, value_name = "TEXT")]
    vendor_class: Option<String>,
    /// As a client of this user class is told.
    #[arg(long, value_name = "TEXT")]
    user_class: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Lists leases.
pub async fn list(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let leases: Items<LeaseDocument> = shell.api.get("/api/v1/leases", &Query::default()).await?.document;
    if let Some(format) = format.format.structured() {
        shell.out.document(format, &leases)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["ADDRESS", "STANDING", "NODE", "MAC", "CLIENT", "HOSTNAME", "PORT", "UNTIL"]);
    let or_dash = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
    for lease in leases.items {
        table.row([
            lease.ip.into(),
            match lease.standing {
                LeaseStanding::Active => Cell::toned("active", Tone::Good),
                LeaseStanding::Ended => Cell::toned("ended", Tone::Plain),
                LeaseStanding::Quarantined => Cell::toned("quarantined", Tone::Bad),
            },
            or_dash(lease.node.map(|node| node.to_string())),
            or_dash(lease.mac.map(|mac| mac.to_string())),
            or_dash(lease.client),
            or_dash(lease.hostname),
            or_dash(lease.port),
            lease.until.into(),
        ]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}

/// Ends a lease.
pub async fn release(args: ReleaseArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let request = ReleaseLeaseRequest { ip: args.ip };
    let answer: ReleaseLeaseAnswer = shell.api.post("/api/v1/leases/release", &request).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &answer)?,
        None if answer.released => shell.out.text(&format!("released: {}\n", answer.ip))?,
        None => shell.out.text(&format!("{} is not leased; nothing was changed\n", answer.ip))?,
    }
    Ok(Status::Done)
}

/// Explains a lease.
pub async fn explain(args: ExplainArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let path = format!("/api/v1/nodes/{}/lease", encoded(args.node.as_str()));
    let query = Query::default()
        .with("arch", args.arch)
        .with("vendor_class", args.vendor_class)
        .with("user_class", args.user_class);
    let explained: LeaseExplained = shell.api.get(&path, &query).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &explained)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&[">CODE", "OPTION", "VALUE", "FROM", "INSTEAD OF"]);
    for option in &explained.options {
        let others: Vec<String> = option.instead_of.iter().map(ToString::to_string).collect();
        let others = if others.is_empty() { "-".to_owned() } else { others.join(", ") };
        table.row([
            Cell::from(option.code.to_string()),
            Cell::from(option.name.clone()),
            Cell::from(option.value.to_string()),
            Cell::from(option.from.clone()),
            Cell::from(others),
        ]);
    }
    shell.out.table(&table)?;
    let LeaseExplained { node, ip, network, lease_s, classes, .. } = &explained;
    let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
    let classes = if classes.is_empty() { String::new() } else { format!("; classes: {}", classes.join(", ")) };
    tell(&format!("{node} has {ip} of network {network} for {lease_s} s{classes}"));
    Ok(Status::Done)
}
