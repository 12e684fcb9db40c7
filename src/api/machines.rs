//! Machines: listed, enrolled by hand or by rule, refused; and the one who enrols by the rules that ask nobody.
//!
//! Invariants: whoever enrols is alone from reading the state until what follows is durable, so no name and no address is
//! given twice, by whichever way; what a dry run shows is what would be done. A machine that others claim to be is enrolled by
//! nobody.
//! Absent on purpose: which rule fits and who looks like whom (`plan::enroll`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use uuid::Uuid;

use super::Api;
use super::act::{read, submit};
use super::ask::{Query, find};
use super::auth::Caller;
use super::reply::{Body, Refusal, json};
use crate::fact::{Fact, OperatorEvent, OperatorFact};
use crate::model::limits::{REFUSED_MACHINES_MAX, TEXT_VALUE_BYTES_MAX};
use crate::model::machine::{same_uuid, telling};
use crate::model::{Approve, Mac, Name, NodeId, NodeIpv6, NodeMatch, Template};
use crate::plan::enroll::{Claimant, Enrollment, Proposal, Verdict, free_address, propose};
use crate::plan::resolve::{NodeDescription, said_of};
use crate::plan::{Change, Description, diff};
use crate::port::document::Items;
use crate::port::machine::{
    EnrollAllRequest, EnrollAnswer, EnrollRequest, EnrolledDocument, MachineDocument, RefuseRequest, Standing,
    TakesEffect,
};
use crate::state::{State, UnknownMachine};

/// Who enrols by the rules that ask nobody, in facts.
const BY_RULE: &str = "enrolment rules";
/// The shortest time between two looks at the rules: a rack reports within seconds, and is enrolled in a few goes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn list(api: &Api, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let query = Query::of(request)?;
    let wanted = match query.get("standing") {
        None => None,
        Some("unknown") => Some(Standing::Unknown),
        Some("node") => Some(Standing::Node),
        Some("refused") => Some(Standing::Refused),
        Some(other) => {
            return Err(Refusal::bad_request(format!("'standing' is '{other}': it may be unknown, node or refused")));
        }
    };
    let state = api.context.state.now();
    let mut items = documents(&state);
    items.retain(|machine| wanted.is_none_or(|wanted| machine.standing == wanted));
    Ok(json(&Items { items }))
}

pub(super) fn one(api: &Api, text: &str) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let found = match find(&state, text) {
        Some(node) => node.spec.mac,
        None => named(&state, text)?,
    };
    let document = documents(&state).into_iter().find(|machine| machine.mac == found);
    document.map(|document| json(&document)).ok_or_else(|| Refusal::no_such("machine", nobody(text)))
}

fn documents(state: &State) -> Vec<MachineDocument> {
    let proposals = propose(state, &own_addresses());
    let unknown = proposals.into_iter().filter_map(|Proposal { mac, verdict }| {
        let machine = state.unknown.get(&mac)?;
        Some(MachineDocument::unknown(state, mac, machine, Some(verdict)))
    });
    let refused = state.refused.iter().map(|(mac, refused)| MachineDocument::refused(state, *mac, refused));
    let nodes = state.by_name.values().filter_map(|id| state.node(*id)).map(|node| MachineDocument::of_node(node));
    unknown.chain(refused).chain(nodes).collect()
}

/// The addresses of this computer, which no node may have.
fn own_addresses() -> BTreeSet<Ipv4Addr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).collect()
}

/// The machine that a text names: by any hardware address of it, its UUID, its serial number, or its address.
fn named(state: &State, text: &str) -> Result<Mac, Refusal> {
    let refused = state.refused.iter().map(|(mac, refused)| (*mac, refused.machine.as_deref()));
    let known: Vec<(Mac, Option<&UnknownMachine>)> =
        state.unknown.iter().map(|(mac, machine)| (*mac, Some(machine))).chain(refused).collect();
    if let Ok(mac) = text.parse::<Mac>() {
        let has =
            |machine: &&(Mac, Option<&UnknownMachine>)| machine.1.is_some_and(|m| m.macs(machine.0).contains(&mac));
        let booted = known.iter().find(|(of, _)| *of == mac).or_else(|| known.iter().find(has));
        return booted.map(|(mac, _)| *mac).ok_or_else(|| Refusal::no_such("machine", nobody(text)));
    }
    let (uuid, ip, serial) = (text.parse::<Uuid>().ok(), text.parse::<Ipv4Addr>().ok(), telling(text));
    let is = |machine: &UnknownMachine| {
        uuid.zip(machine.identity()).is_some_and(|(one, other)| same_uuid(one, other))
            || ip.is_some() && machine.lease.as_ref().map(|lease| lease.ip) == ip
            || serial.is_some() && machine.serial() == serial
    };
    let found: Vec<Mac> = known.iter().filter(|(_, machine)| machine.is_some_and(is)).map(|(mac, _)| *mac).collect();
    match found.as_slice() {
        [mac] => Ok(*mac),
        [] => Err(Refusal::no_such("machine", nobody(text))),
        several => {
            let macs: Vec<String> = several.iter().map(Mac::to_string).collect();
            Err(Refusal::invalid(format!(
                "'{text}' is of {} machines: name one by its MAC: {}",
                macs.len(),
                macs.join(", ")
            )))
        }
    }
}

fn nobody(text: &str) -> String {
    format!(
        "there is no machine '{text}': name it by a MAC, its UUID, its serial number or its address; 'bootes get machines' \
         lists those that there are"
    )
}

pub(super) async fn enroll(
    api: &Api,
    caller: &Caller,
    text: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let request: EnrollRequest = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let mac = named(&state, text)?;
    let machine = state.unknown.get(&mac).ok_or_else(|| {
        Refusal::invalid(format!("machine {mac} was refused; 'bootes refuse --take-back {mac}' answers it again"))
    })?;
    let taken = own_addresses();
    let proposal = propose(&state, &taken).into_iter().find(|proposal| proposal.mac == mac);
    let verdict = proposal.map_or(Verdict::NoRule, |proposal| proposal.verdict);
    let description = by_hand(&state, &taken, mac, machine, &request, &verdict)?;
    let (changes, events) = diff(&state, &description).map_err(Refusal::invalid)?;
    let node = description.nodes.first().map(|(_, node)| node);
    let document = document(&state, mac, machine, verdict, node);
    let applied = !request.dry_run && !events.is_empty();
    if applied {
        submit(api, caller, events).await?;
    }
    Ok(json(&EnrollAnswer { machines: vec![document], changes, applied }))
}

/// The description that makes of one machine what an operator asks for.
fn by_hand(
    state: &State,
    taken: &BTreeSet<Ipv4Addr>,
    mac: Mac,
    machine: &UnknownMachine,
    request: &EnrollRequest,
    verdict: &Verdict,
) -> Result<Description, Refusal> {
    if let Verdict::Contested { with } = verdict {
        let with: Vec<String> = with.iter().map(Claimant::to_string).collect();
        return Err(Refusal::conflict(format!(
            "machine {mac} claims to be the same as {}: one of them is not what it says; take it off the network, refuse it \
             with 'bootes refuse', or correct its firmware's UUID and serial number",
            with.join(" and ")
        )));
    }
    match (&request.name, &request.replace, verdict) {
        (Some(_), Some(_), _) => Err(Refusal::invalid(
            "a machine is a new node or a part of one that there is: give a name or --replace, not both",
        )),
        (None, Some(node), _) => replacement(state, mac, node),
        (_, None, Verdict::Replaces { node, part, evidence }) if !request.new => {
            let why: Vec<String> = evidence.iter().map(ToString::to_string).collect();
            Err(Refusal::conflict(format!(
                "machine {mac} looks like {node} with another {part} (the same {}): confirm that with \
                 'bootes enroll {mac} --replace {node}', or say --new if it is another machine",
                why.join(", ")
            )))
        }
        (Some(name), None, _) => {
            if find(state, name.as_str()).is_some() {
                return Err(Refusal::conflict(format!(
                    "there is {name} already; choose another name, or say --replace {name} if this machine takes its place"
                )));
            }
            new_node(state, taken, mac, machine, name, request)
        }
        (None, None, Verdict::Enroll(node)) => Ok(of_rules(state, &[(mac, node.as_ref().clone())])),
        (None, None, verdict) => {
            Err(Refusal::invalid(format!("no rule says what machine {mac} is ({verdict}); give it a name")))
        }
    }
}

/// The node as it is, but for the interface that it boots from.
fn replacement(state: &State, mac: Mac, name: &Name) -> Result<Description, Refusal> {
    let node = state.node_named(name).ok_or_else(|| Refusal::no_such_node(&[name.to_string()]))?;
    if node.agent.session.is_some() {
        return Err(Refusal::conflict(format!(
            "{name} is heard right now, so this machine is not it; power {name} off first if it is to be replaced"
        )));
    }
    let said = NodeDescription { mac, ..said_of(state, node) };
    Ok(Description { nodes: vec![(node.id, said)], ..Description::default() })
}

fn new_node(
    state: &State,
    taken: &BTreeSet<Ipv4Addr>,
    mac: Mac,
    machine: &UnknownMachine,
    name: &Name,
    request: &EnrollRequest,
) -> Result<Description, Refusal> {
    let pool = request.pool.as_ref().and_then(|pool| state.pools.get(pool));
    let said = pool.and_then(|pool| pool.template.network.as_ref()).or(state.defaults.network.as_ref());
    let only = || state.networks.keys().next().filter(|_| state.networks.len() == 1);
    let network = request.network.as_ref().or(said).or_else(|| state.network_of_machine(machine)).or_else(only);
    let network =
        network.ok_or_else(|| Refusal::invalid("nobody says the machine's network; say it with --network"))?;
    let spec = state.networks.get(network).ok_or_else(|| {
        Refusal::invalid(format!("there is no network '{network}'; describe it, or correct the name"))
    })?;
    let free = || {
        free_address(state, spec, taken)
            .ok_or_else(|| Refusal::invalid(format!("network {network} has no free address; give one with --ip")))
    };
    let ip = request.ip.map_or_else(free, Ok)?;
    let own = Template {
        network: (said != Some(network)).then(|| network.clone()),
        cake: request.cake.clone(),
        labels: request.labels.clone(),
        ..Template::default()
    };
    let node = NodeDescription { own, ..described(name, mac, ip, request.pool.clone()) };
    Ok(Description { nodes: vec![(NodeId(Uuid::new_v4()), node)], ..Description::default() })
}

fn described(name: &Name, mac: Mac, ip: Ipv4Addr, pool: Option<Name>) -> NodeDescription {
    NodeDescription {
        name: name.clone(),
        mac,
        ip: Some(ip),
        matching: NodeMatch::default(),
        ipv6: NodeIpv6::default(),
        bmc: None,
        pool,
        own: Template::default(),
    }
}

/// The description that makes nodes of machines as rules say.
fn of_rules(state: &State, nodes: &[(Mac, Enrollment)]) -> Description {
    let node = |(mac, node): &(Mac, Enrollment)| {
        let pool = node.pool.as_ref().and_then(|pool| state.pools.get(pool));
        let said = pool.and_then(|pool| pool.template.network.as_ref()).or(state.defaults.network.as_ref());
        let own = Template {
            network: (said != Some(&node.network)).then(|| node.network.clone()),
            cake: node.cake.clone(),
            labels: node.labels.clone(),
            ..Template::default()
        };
        let said = NodeDescription { own, ..described(&node.name, *mac, node.ip, node.pool.clone()) };
        (NodeId(Uuid::new_v4()), said)
    };
    Description { nodes: nodes.iter().map(node).collect(), ..Description::default() }
}

fn document(
    state: &State,
    mac: Mac,
    machine: &UnknownMachine,
    proposal: Verdict,
    node: Option<&NodeDescription>,
) -> EnrolledDocument {
    let here = |node: &NodeDescription| {
        let at = machine
            .lease
            .as_ref()
            .and_then(|lease| state.networks.values().find(|network| network.subnet.contains(lease.ip)));
        at.is_some_and(|network| node.ip.is_some_and(|ip| network.subnet.contains(ip)))
    };
    let takes_effect = node.map(|node| match (machine.session, here(node)) {
        (Some(_), true) => TakesEffect::Now,
        (Some(_), false) => TakesEffect::StartsOver,
        (None, _) => TakesEffect::NextBoot,
    });
    EnrolledDocument {
        mac,
        port: machine.ports(mac).into_iter().next(),
        proposal,
        node: node.map(|node| node.name.clone()),
        ip: node.and_then(|node| node.ip),
        takes_effect,
    }
}

pub(super) async fn enroll_all(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let EnrollAllRequest { dry_run } = read(request).await?;
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let (answer, events) = by_rules(&state, |_| true).map_err(Refusal::invalid)?;
    let applied = !dry_run && !events.is_empty();
    if applied {
        submit(api, caller, events).await?;
    }
    Ok(json(&EnrollAnswer { applied, ..answer }))
}

type ByRules = (EnrollAnswer, Vec<OperatorEvent>);

/// What the rules make of all machines, of those of their nodes that are `wanted`.
fn by_rules(state: &State, wanted: impl Fn(&Enrollment) -> bool) -> Result<ByRules, crate::plan::ApplyError> {
    let proposals = propose(state, &own_addresses());
    let mut chosen: Vec<(Mac, Enrollment)> = Vec::new();
    for proposal in &proposals {
        if let Verdict::Enroll(node) = &proposal.verdict
            && wanted(node)
        {
            chosen.push((proposal.mac, node.as_ref().clone()));
        }
    }
    let description = of_rules(state, &chosen);
    let (changes, events): (Vec<Change>, _) = diff(state, &description)?;
    let machines = proposals.into_iter().filter_map(|Proposal { mac, verdict }| {
        let node = description.nodes.iter().map(|(_, node)| node).find(|node| node.mac == mac);
        Some(document(state, mac, state.unknown.get(&mac)?, verdict, node))
    });
    Ok((EnrollAnswer { machines: machines.collect(), changes, applied: false }, events))
}

pub(super) async fn refuse(
    api: &Api,
    caller: &Caller,
    text: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let RefuseRequest { reason, take_back } = read(request).await?;
    if reason.as_ref().is_some_and(|reason| reason.len() > TEXT_VALUE_BYTES_MAX) {
        return Err(Refusal::invalid(format!(
            "the reason is longer than {TEXT_VALUE_BYTES_MAX} bytes; say it shorter"
        )));
    }
    let _alone = api.alone().await;
    let state = api.context.state.now();
    // One that was never seen can be refused beforehand.
    let mac = named(&state, text).or_else(|refusal| text.parse().map_err(|_| refusal))?;
    if let Some(node) = state.node_with_mac(mac) {
        let detail = format!("machine {mac} is {}; remove the node first with 'bootes delete node'", node.spec.name);
        return Err(Refusal::conflict(detail));
    }
    if take_back && !state.refused.contains_key(&mac) {
        return Err(Refusal::invalid(format!("machine {mac} is not refused; there is nothing to take back")));
    }
    if !take_back && state.refused.len() >= REFUSED_MACHINES_MAX && !state.refused.contains_key(&mac) {
        let detail = format!(
            "{REFUSED_MACHINES_MAX} machines are refused already; take some back with 'bootes refuse --take-back'"
        );
        return Err(Refusal::conflict(detail));
    }
    let event = match take_back {
        true => OperatorEvent::MachineAdmitted { mac },
        false => OperatorEvent::MachineRefused { mac, reason },
    };
    submit(api, caller, vec![event]).await?;
    let state = api.context.state.now();
    Ok(json(&match state.refused.get(&mac) {
        Some(refused) => MachineDocument::refused(&state, mac, refused),
        None => {
            let never = UnknownMachine::never_seen();
            MachineDocument::unknown(&state, mac, state.unknown.get(&mac).unwrap_or(&never), None)
        }
    }))
}

/// Enrols by the rules that ask nobody, whenever something was learned of a machine or of the rules; until the API ends.
pub(super) async fn keep_enrolling(api: Arc<Api>) {
    let mut state = api.context.state.clone();
    let mut known = Arc::new(State::default());
    loop {
        let fresh = state.0.borrow_and_update().clone();
        let moved = !fresh.unknown.ptr_eq(&known.unknown) || fresh.enrollment != known.enrollment;
        known = fresh;
        if moved && known.enrollment.iter().any(|rule| rule.approve == Approve::Automatic) {
            enroll_by_itself(&api).await;
        }
        tokio::select! {
            changed = state.0.changed() => if changed.is_err() { return },
            () = api.shutdown.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = api.shutdown.cancelled() => return,
        }
    }
}

async fn enroll_by_itself(api: &Api) {
    let _alone = api.alone().await;
    let state = api.context.state.now();
    let found = by_rules(&state, |node| node.approve == Approve::Automatic);
    let events = match found {
        Ok((_, events)) => events,
        Err(error) => return tracing::warn!(%error, "the rules of enrolment cannot be followed"),
    };
    if events.is_empty() {
        return;
    }
    let nodes = events.len();
    let by = Some(BY_RULE.to_owned());
    let facts = events.into_iter().map(|event| Fact::Operator(OperatorFact { event, by: by.clone() })).collect();
    match api.context.facts.submit(facts).await {
        Ok(_) => tracing::info!(nodes, "machines were enrolled by rule"),
        Err(error) => {
            tracing::warn!(%error, nodes, "machines could not be enrolled; it is tried when the next is seen")
        }
    }
}
