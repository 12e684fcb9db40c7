//! What holds for all nodes together: freeze, thaw, switches, timeouts, mass events, the overview.
//!
//! Invariant: what is so already is not asked again, so that saying a thing twice is saying it once.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::act::{read, submit};
use super::ask::decode;
use super::auth::Caller;
use super::reply::{Body, Refusal, json};
use super::select::{Unselected, selected};
use crate::fact::{OperatorEvent, Switch};
use crate::model::NodeSet;
use crate::model::limits::TIMEOUT_MS_MAX;
use crate::plan::Graph;
use crate::port::control::{
    ClusterDocument, FreezeAnswer, FreezeRequest, MassEventDocument, MutationDocument, SwitchAnswer, SwitchRequest,
    TimeoutRequest, frozen_nodes,
};
use crate::port::document::{BareRequest, Items, Selection};
use crate::state::State;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    /// Nothing is started any more.
    Freeze,
    /// It is started again.
    Thaw,
}

pub(super) async fn freeze(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
    motion: Motion,
) -> Result<Response<Body>, Refusal> {
    let FreezeRequest { all, nodes } = read(request).await?;
    if all && nodes != Selection::default() {
        return Err(Refusal::invalid(
            "everything was asked for, and some nodes as well; leave out the one or the other",
        ));
    }
    if all {
        caller.check_all()?;
    }
    let state = api.context.state.now();
    let event = |node| match motion {
        Motion::Freeze => OperatorEvent::Frozen { node },
        Motion::Thaw => OperatorEvent::Thawed { node },
    };
    let is_so = |frozen: bool| frozen == (motion == Motion::Freeze);
    let (named, events) = match all {
        true if is_so(state.control.frozen.is_some()) => (None, vec![]),
        true => (None, vec![event(None)]),
        false => {
            let found = selected(&state, &nodes, Unselected::Refused)?;
            let names = NodeSet::fold(found.iter().map(|node| node.spec.name.as_str()));
            let others = found.iter().filter(|node| !is_so(node.frozen.is_some()));
            (Some(names), others.map(|node| event(Some(node.id))).collect())
        }
    };
    let changed = events.len();
    if changed > 0 {
        submit(api, caller, events).await?;
    }
    let after = api.context.state.now();
    let (frozen_nodes, all_frozen) = (frozen_nodes(&after), after.control.frozen.is_some());
    Ok(json(&FreezeAnswer { nodes: named, changed, frozen_nodes, all_frozen }))
}

/// The graph with what modules from outside declare.
fn graph(api: &Api, state: &State) -> Graph {
    api.context.graph.with_modules(state)
}

pub(super) fn mutations(api: &Api) -> Response<Body> {
    let state = api.context.state.now();
    let graph = graph(api, &state);
    let document = |mutation| MutationDocument::new(mutation, &graph, &state.control, &api.context.policy);
    json(&Items { items: graph.mutations().iter().map(document).collect() })
}

fn mutation_named(graph: &Graph, part: &str) -> Result<String, Refusal> {
    let name = decode(part)?;
    match graph.get(&name) {
        Some(_) => Ok(name),
        None => Err(Refusal::no_such(
            "mutation",
            format!("there is no mutation {name}; 'bootes mutation list' lists those that there are"),
        )),
    }
}

pub(super) async fn switch_mutation(
    api: &Api,
    caller: &Caller,
    part: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let SwitchRequest { to } = read(request).await?;
    let state = api.context.state.now();
    let graph = graph(api, &state);
    let name = mutation_named(&graph, part)?;
    let module = graph.get(&name).map(|m| m.module.to_string()).unwrap_or_default();
    if to == Switch::Enabled && !graph.is_enabled(&name, &module) {
        return Err(Refusal::invalid(format!(
            "{name} is switched off in the appliance's configuration; take it out of [engine] disabled_mutations or disabled_modules there, and restart the appliance"
        )));
    }
    let was = if state.control.disabled_mutations.contains(name.as_str()) { Switch::Disabled } else { Switch::Enabled };
    if was != to {
        submit(api, caller, vec![OperatorEvent::MutationSwitched { mutation: name.clone(), to }]).await?;
    }
    Ok(json(&SwitchAnswer { name, to, changed: was != to }))
}

pub(super) async fn set_timeout(
    api: &Api,
    caller: &Caller,
    part: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let TimeoutRequest { timeout_ms } = read(request).await?;
    let state = api.context.state.now();
    let name = mutation_named(&graph(api, &state), part)?;
    if timeout_ms.is_some_and(|ms| ms == 0 || ms > TIMEOUT_MS_MAX) {
        return Err(Refusal::invalid("a timeout is from 1 ms to 7 days; write for instance 90s"));
    }
    if state.control.timeouts_ms.get(name.as_str()).copied() != timeout_ms {
        submit(api, caller, vec![OperatorEvent::TimeoutSet { mutation: name.clone(), timeout_ms }]).await?;
    }
    let after = api.context.state.now();
    let graph = graph(api, &after);
    match graph.get(&name) {
        Some(mutation) => Ok(json(&MutationDocument::new(mutation, &graph, &after.control, &api.context.policy))),
        None => Err(Refusal::internal("the mutation went while its timeout was set; ask again")),
    }
}

pub(super) async fn switch_module(
    api: &Api,
    caller: &Caller,
    part: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let SwitchRequest { to } = read(request).await?;
    let state = api.context.state.now();
    let name = decode(part)?;
    let graph = graph(api, &state);
    let from_outside = api.context.roster.all().into_keys();
    let declared = state.control.modules.keys().cloned().chain(from_outside).any(|module| module.as_str() == name);
    let is_off = state.control.disabled_modules.contains(name.as_str());
    if !declared && !is_off && !graph.mutations().iter().any(|m| m.module.as_ref() == name) {
        let detail = format!("there is no module {name}; 'bootes module list' lists those that there are");
        return Err(Refusal::no_such("module", detail));
    }
    if to == Switch::Enabled && !graph.is_module_enabled(&name) {
        return Err(Refusal::invalid(format!(
            "the module {name} is switched off in the appliance's configuration; take it out of [engine] disabled_modules there, and restart the appliance"
        )));
    }
    let was = if is_off { Switch::Disabled } else { Switch::Enabled };
    if was != to {
        submit(api, caller, vec![OperatorEvent::ModuleSwitched { module: name.clone(), to }]).await?;
    }
    Ok(json(&SwitchAnswer { name, to, changed: was != to }))
}

pub(super) fn mass_event(api: &Api) -> Response<Body> {
    json(&MassEventDocument::new(&api.context.state.now()))
}

/// The answer is the mass event that was cleared.
pub(super) async fn clear_mass_event(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let BareRequest {} = read(request).await?;
    caller.check_all()?;
    let document = MassEventDocument::new(&api.context.state.now());
    if document.present {
        submit(api, caller, vec![OperatorEvent::MassEventCleared]).await?;
    }
    Ok(json(&document))
}

pub(super) fn cluster(api: &Api) -> Response<Body> {
    json(&ClusterDocument::new(&api.context.state.now(), &api.context.graph, &api.context.policy))
}
