//! What agents told, folded.

use std::sync::Arc;

use super::inventory;
use super::node::{Mark, Node, StateSource};
use crate::fact::{AgentEvent, AgentFact, Scope};
use crate::model::schema::check_value;
use crate::model::{UnixMs, Value, VarPath};

pub(super) fn apply(node: &mut Node, at: UnixMs, fact: &AgentFact) {
    match &fact.event {
        AgentEvent::Joined { certificate } => {
            node.token = None;
            node.waits_with = None;
            node.agent.certificate = Some(*certificate);
            node.agent.session = None;
            node.agent.boot_seen_since = None;
            node.mark(at, Mark::AgentJoined);
            node.forget_run();
            agent_seen(node, at);
        }
        AgentEvent::JoinRefused { refusal } => {
            node.last.join_refused = Some((at, format!("join from {} refused: {refusal}", fact.peer).into()));
            node.last.join_refusal = Some(*refusal);
        }
        AgentEvent::Connected { session } => {
            node.agent.session = Some(*session);
            node.agent.peer = Some(fact.peer);
            node.agent.heard_at = Some(at);
            node.agent.boot_seen_since = None;
            agent_seen(node, at);
        }
        AgentEvent::Observed { scope, variables, .. } => {
            node.agent.heard_at = Some(at);
            if *scope == Scope::Full {
                node.drop_observed(|path, seen| {
                    let agents =
                        is_agents(path) && seen.source == StateSource::Agent && !path.as_str().ends_with(".mac");
                    agents && !variables.iter().any(|v| v.path == *path)
                });
            }
            for reported in variables.iter().filter(|v| is_agents(&v.path)) {
                match &reported.value {
                    Some(value) if check_value(&reported.path, value).is_ok() => {
                        node.observe(at, reported.path.clone(), value.clone(), StateSource::Agent);
                    }
                    _ => node.forget(&reported.path),
                }
            }
        }
        AgentEvent::Hardware { hardware } => {
            inventory::apply(node, at, hardware);
            node.hardware = Some(Arc::new((**hardware).clone()));
        }
        AgentEvent::Console { lines } => Arc::make_mut(&mut node.last.console).push(at, lines),
        AgentEvent::Left { session } => {
            if node.agent.session == Some(*session) {
                node.agent.session = None;
                node.mark(at, Mark::AgentLeft);
            }
        }
        AgentEvent::Lost { session, .. } => {
            if node.agent.session == Some(*session) {
                node.mark(at, Mark::AgentLost);
                node.agent_gone(at);
            }
        }
    }
}

/// The variables that an agent may speak of; what else it says is not taken in.
fn is_agents(path: &VarPath) -> bool {
    *path == VarPath::run()
        || *path == VarPath::busy()
        || path.as_image().is_some()
        || path.as_str().starts_with("net.")
}

fn agent_seen(node: &mut Node, at: UnixMs) {
    // Whatever the BMC says or does not say: a machine that speaks has power.
    node.observe(at, VarPath::power(), Value::symbol("on"), StateSource::Implied);
    node.observe(at, VarPath::boot(), Value::symbol("agent"), StateSource::Agent);
}
