//! `bootes mass-event`: the mass event that holds disruptive steps back, and the word that lets them go on.

use clap::Subcommand;

use super::Shell;
use super::client::Query;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use crate::port::control::MassEventDocument;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show it, and the nodes that turned bad.
    Show(FormatArgs),
    /// Say that it was looked into: disruptive steps go on.
    Clear(FormatArgs),
}

/// Does it.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let (args, event): (_, MassEventDocument) = match command {
        Command::Show(args) => (args, shell.api.get("/api/v1/mass-event", &Query::default()).await?.document),
        Command::Clear(args) => {
            let event: MassEventDocument =
                shell.api.post("/api/v1/mass-event/clear", &serde_json::json!({})).await?.document;
            if args.format.structured().is_none() {
                let text = match event.present {
                    true => format!("cleared the mass event of {}: {}\n", since(&event), sentence(&event)),
                    false => "there is no mass event; nothing was changed\n".to_owned(),
                };
                shell.out.text(&text)?;
                return Ok(Status::Done);
            }
            (args, event)
        }
    };
    match args.format.structured() {
        Some(format) => shell.out.document(format, &event)?,
        None => shell.out.text(&shown(&event))?,
    }
    Ok(Status::Done)
}

fn since(event: &MassEventDocument) -> &str {
    event.since.as_deref().unwrap_or("-")
}

fn sentence(event: &MassEventDocument) -> String {
    format!("{} of {} nodes had turned bad", event.bad, event.of)
}

fn shown(event: &MassEventDocument) -> String {
    let nodes = if event.nodes.is_empty() { "none" } else { &event.nodes };
    match event.present {
        true => format!(
            "mass event since {}: {}\nnot well again: {nodes}\ndisruptive steps wait; look at the appliance and its network first, then 'bootes mass-event clear'\n",
            since(event),
            sentence(event)
        ),
        false => format!("no mass event; turned bad and not well again: {nodes}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mass_event_is_told_with_its_nodes_and_what_to_do() {
        let event = MassEventDocument {
            present: true,
            since: Some("2026-11-21T02:00:00.000Z".into()),
            since_ms: None,
            bad: 6,
            of: 20,
            nodes: "n[1-6]".into(),
            count: 6,
        };
        let told = shown(&event);
        for part in ["since 2026-11-21T02:00:00.000Z", "6 of 20 nodes", "n[1-6]", "bootes mass-event clear"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
