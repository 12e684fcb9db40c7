//! What to do, as commands that work as they stand: with the names of the nodes, and with the switch that is meant.
//!
//! Absent on purpose: which advice is given, which the report says.

use crate::plan::{HeldStep, Hold, OffBy, Reason, Suggestion, SwitchedOff};

/// What to do about `nodes`, a node set: about the reason first, then about what else holds their steps.
pub(super) fn advice(nodes: &str, reason: &Reason, suggestion: Option<Suggestion>, held: &[HeldStep]) -> Vec<String> {
    let first = suggestion.map(|suggestion| {
        let text = about(nodes, reason, suggestion);
        match reason {
            // What to do when the step does not come to its end.
            Reason::InProgress { .. } => format!("if this lasts: {text}"),
            _ => text,
        }
    });
    let mut all: Vec<String> = first.into_iter().collect();
    for text in held.iter().map(|held| lift(nodes, &held.hold)) {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn about(nodes: &str, reason: &Reason, suggestion: Suggestion) -> String {
    match (suggestion, reason) {
        (_, Reason::Held { hold, .. }) => lift(nodes, hold),
        (Suggestion::Enable | Suggestion::EnableInConfiguration, Reason::Disabled { off, .. }) if !off.is_empty() => {
            let mut ways: Vec<String> = Vec::new();
            for way in off.iter().map(switch_on) {
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            ways.join("; ")
        }
        (Suggestion::Release, _) => format!("remove the cause, then '{}'", release(nodes)),
        (Suggestion::BootAgain, _) => {
            format!("boot it again with 'bootes power cycle {}': a new boot gets a new token", word(nodes))
        }
        _ => suggestion.to_string(),
    }
}

/// The command that lets quarantined `nodes` be tried again.
pub(super) fn release(nodes: &str) -> String {
    format!("bootes release {}", word(nodes))
}

/// What lifts `hold` from `nodes`.
fn lift(nodes: &str, hold: &Hold) -> String {
    match hold {
        Hold::NodeFrozen { .. } => format!("'bootes thaw {}' lets steps start again", word(nodes)),
        Hold::AllFrozen { .. } => "'bootes thaw --all' lets steps start again".to_owned(),
        Hold::Guarded { variable, .. } if variable.as_str() == "busy" => {
            format!(
                "nothing to do: it goes on when the node is free; 'bootes set {} busy=free' if that is wrong",
                word(nodes)
            )
        }
        Hold::Guarded { variable, value, .. } => {
            format!("nothing to do: it goes on when {variable} is something else than {value}")
        }
        Hold::NextBoot { .. } => format!("'bootes power cycle {}' when what it runs may end", word(nodes)),
        Hold::MassEvent { .. } => Suggestion::LookIntoMassEvent.to_string(),
        Hold::Queued { .. } => Suggestion::WaitForTurn.to_string(),
    }
}

fn switch_on(off: &SwitchedOff) -> String {
    let mutation = &off.mutation;
    match &off.by {
        OffBy::Operator => format!("'bootes mutation enable {mutation}' switches it on again"),
        OffBy::OperatorModule { module } => format!("'bootes module enable {module}' switches it on again"),
        OffBy::Configuration => {
            format!(
                "take \"{mutation}\" out of disabled_mutations under [engine] in appliance.toml, and restart the appliance"
            )
        }
        OffBy::ConfigurationModule { module } => {
            format!(
                "take \"{module}\" out of disabled_modules under [engine] in appliance.toml, and restart the appliance"
            )
        }
    }
}

/// A node set as one word of a shell, for which brackets are a pattern.
fn word(nodes: &str) -> String {
    let plain = nodes.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ','));
    if plain { nodes.to_owned() } else { format!("\"{nodes}\"") }
}
