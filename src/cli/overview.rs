//! `bootes get cluster`: everything that holds for all nodes together, on one screen.

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use super::table::{Cell, Table, Tone};
use crate::port::control::ClusterDocument;

/// Shows it.
pub async fn run(args: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let cluster: ClusterDocument = shell.api.get("/api/v1/cluster", &Query::default()).await?.document;
    if let Some(format) = args.format.structured() {
        shell.out.document(format, &cluster)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["WHAT", "STATE"]);
    let mut row = |what: &str, state: Cell| table.row([what.into(), state]);
    let bad_or_none = |text: &str| if text.is_empty() { "none".into() } else { Cell::toned(text, Tone::Bad) };
    row("cluster", cluster.name.as_ref().map_or("-".to_owned(), ToString::to_string).into());
    row("nodes", format!("{}, {} at their goal", cluster.nodes, cluster.at_goal).into());
    for stage in &cluster.stages {
        row(&format!("  {}", stage.stage), format!("{}: {}", stage.count, stage.nodes).into());
    }
    row("quarantined", bad_or_none(&cluster.quarantined));
    row("frozen", frozen(&cluster));
    row("mass event", mass_event(&cluster));
    row("disabled", bad_or_none(&disabled(&cluster)));
    row("disturbed", disturbed(&cluster).into());
    row("started", cluster.started.clone().into());
    shell.out.table(&table)?;
    Ok(Status::Done)
}

fn frozen(cluster: &ClusterDocument) -> Cell {
    match (&cluster.frozen_since, cluster.frozen_nodes.as_str()) {
        (Some(since), "") => Cell::toned(&format!("everything since {since}"), Tone::Bad),
        (Some(since), nodes) => Cell::toned(&format!("everything since {since}; each for itself: {nodes}"), Tone::Bad),
        (None, "") => "none".into(),
        (None, nodes) => Cell::toned(nodes, Tone::Waiting),
    }
}

fn mass_event(cluster: &ClusterDocument) -> Cell {
    let event = &cluster.mass_event;
    match &event.since {
        Some(since) => Cell::toned(&format!("since {since}: {} of {} nodes", event.bad, event.of), Tone::Bad),
        None => "none".into(),
    }
}

fn disabled(cluster: &ClusterDocument) -> String {
    let modules = cluster.disabled_modules.iter().map(|module| format!("module {module}"));
    let configured = cluster.configured_off_modules.iter().map(|module| format!("module {module}"));
    let configured = configured.chain(cluster.configured_off_mutations.iter().cloned());
    let by_operators = modules.chain(cluster.disabled_mutations.iter().cloned());
    by_operators.chain(configured.map(|name| format!("{name} (configuration)"))).collect::<Vec<_>>().join(", ")
}

fn disturbed(cluster: &ClusterDocument) -> String {
    let most = match cluster.disturbed_max {
        0 => String::new(),
        max => format!(" of at most {max}"),
    };
    let nodes =
        if cluster.disturbed_nodes.is_empty() { String::new() } else { format!(": {}", cluster.disturbed_nodes) };
    format!("{}{most}{nodes}", cluster.disturbed)
}
