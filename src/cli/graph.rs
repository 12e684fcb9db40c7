//! `bootes graph`: the mutations that the appliance plans with, and a node's way through them, as a table, JSON, DOT for
//! graphviz, or a picture.

use clap::ValueEnum;

use super::Shell;
use super::client::{Query, encoded};
use super::clock::span;
use super::error::{CliError, Status};
use super::output::Structured;
use super::table::{Cell, Table, Tone};
use crate::model::Name;
use crate::port::graph::{GraphChange, GraphDocument, GraphMutation};

/// How the graph is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Picture {
    /// For people.
    Table,
    /// JSON (RFC 8259).
    Json,
    /// YAML 1.2.
    Yaml,
    /// DOT, for graphviz.
    Dot,
    /// SVG, for a browser.
    Svg,
}

/// Of what, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node whose way is shown; without it the whole graph.
    #[arg(value_name = "NODE")]
    node: Option<Name>,
    /// How the graph is printed.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value = "table")]
    format: Picture,
}

/// Shows.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let path = match &args.node {
        Some(node) => format!("/api/v1/nodes/{}/graph", encoded(node.as_str())),
        None => "/api/v1/graph".to_owned(),
    };
    let structured = match args.format {
        Picture::Dot | Picture::Svg => {
            let form = if args.format == Picture::Dot { "text/vnd.graphviz" } else { "image/svg+xml" };
            let text = shell.api.text(&path, form).await?;
            shell.out.text(&text)?;
            return Ok(Status::Done);
        }
        Picture::Table => None,
        Picture::Json => Some(Structured::Json),
        Picture::Yaml => Some(Structured::Yaml),
    };
    let graph: GraphDocument = shell.api.get(&path, &Query::default()).await?.document;
    match (structured, &graph.node) {
        (Some(format), _) => shell.out.document(format, &graph)?,
        (None, None) => shell.out.table(&mutations(&graph))?,
        (None, Some(_)) => shell.out.text(&way(&graph))?,
    }
    Ok(Status::Done)
}

fn mutations(graph: &GraphDocument) -> Table {
    let mut table = Table::new(&["MUTATION", "MODULE", "CHANGES", "EXPECTED", "TIMEOUT", "NOTES"]);
    for mutation in &graph.mutations {
        let changes: Vec<String> = mutation.changes.iter().map(change).collect();
        let mut notes: Vec<&str> = Vec::new();
        notes.extend(mutation.disruptive.then_some("disruptive"));
        notes.extend((mutation.timeout_ms != mutation.declared_timeout_ms).then_some("timeout set"));
        notes.extend((mutation.expected_ms != mutation.declared_ms).then_some("learned"));
        notes.extend((!mutation.enabled).then_some("switched off"));
        let tone = if mutation.enabled { Tone::Plain } else { Tone::Bad };
        let notes = if notes.is_empty() { "-".to_owned() } else { notes.join(", ") };
        table.row([
            Cell::toned(&mutation.name, tone),
            mutation.module.clone().into(),
            changes.join(", ").into(),
            span_exact(mutation.expected_ms).into(),
            span_exact(mutation.timeout_ms).into(),
            notes.into(),
        ]);
    }
    table
}

fn change(change: &GraphChange) -> String {
    format!("{} {} to {}", change.variable, change.from.join("|"), change.to.join("|"))
}

/// Where the node stands, and the steps that are left.
fn way(graph: &GraphDocument) -> String {
    let Some(way) = &graph.node else { return String::new() };
    let mut lines = Vec::new();
    for variable in graph.variables.iter().filter(|variable| variable.goal.is_some() || variable.now.is_some()) {
        let now = variable.now.as_deref().unwrap_or("unknown");
        lines.push(match &variable.goal {
            Some(goal) if goal != now => format!("{}={now}, should be {goal}", variable.path),
            _ => format!("{}={now}", variable.path),
        });
    }
    lines.extend(way.problem.clone());
    for (number, step) in way.steps.iter().enumerate() {
        let image = step.image.as_ref().map(|image| format!(" {image}")).unwrap_or_default();
        let disturbs = if step.disruptive { ", disruptive" } else { "" };
        let changes = |m: &GraphMutation| m.changes.iter().map(change).collect::<Vec<_>>().join(", ");
        let same = |m: &&GraphMutation| m.name == step.mutation && m.image == step.image;
        let changes = graph.mutations.iter().find(same).map(changes).unwrap_or_default();
        let expected = span_exact(step.expected_ms);
        lines.push(format!("{}. {}{image}: {changes}; {expected}{disturbs}", number + 1, step.mutation));
    }
    if !way.steps.is_empty() {
        lines.push(format!("together {}", span(way.expected_ms)));
    }
    lines.iter().map(|line| super::table::printable(line) + "\n").collect()
}

/// Short spans to the millisecond, others as elsewhere.
fn span_exact(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { span(ms) }
}
