//! The API's answers about the small cluster, over real HTTP on a unix socket, with every request noted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bootes::fact::OperatorEvent;
use bootes::model::{
    BmcTemplate, CakeSpec, Digest, FactSeq, Given, ImagePin, Moment, NodeId, NodeSet, Place, Role, Sealed, Template,
    UnixMs, VarPath,
};
use bootes::plan::enroll::{Proposal, propose};
use bootes::plan::resolve::NodeDescription;
use bootes::plan::{Description, Planner, WhatIf, diff, goal_warnings, what_if, why};
use bootes::port::access::{CertificateDocument, CreatedToken, TokenDocument};
use bootes::port::control::{ClusterDocument, FreezeAnswer, MassEventDocument, MutationDocument, SwitchAnswer, held};
use bootes::port::describe::{ApplyRequest, CreateRequest, NodeDetail, ValueDocument, VariableState};
use bootes::port::document::{
    Accepted, ApplyAnswer, EventDocument, Items, ModuleDocument, NodeDocument, PlannedGoals, PowerDocument, Problem,
};
use bootes::port::graph::GraphDocument;
use bootes::port::history::{DiffDocument, PastNodes, PlaceDocument};
use bootes::port::machine::MachineDocument;
use bootes::port::many::{Part, TimelinesDocument, WhyDocument};
use bootes::state::compare::compare;
use bootes::state::{Node, State};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use uuid::Uuid;

use crate::cluster::{Cluster, cluster};

/// A running API.
pub struct Api {
    pub url: String,
    _dir: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    pub fn start() -> Api {
        Api::of(cluster())
    }

    pub fn of(cluster: Cluster) -> Api {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let url = format!("unix:{}", path.display());
        let guard = runtime.enter();
        let listener = UnixListener::bind(path).unwrap();
        drop(guard);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (shared, noted) = (Arc::new(cluster), requests.clone());
        runtime.spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (cluster, noted) = (shared.clone(), noted.clone());
                let answer = service_fn(move |request| {
                    let (cluster, noted) = (cluster.clone(), noted.clone());
                    async move { Ok::<_, Infallible>(answer(&cluster, &noted, request).await) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        Api { url, _dir: dir, requests, _runtime: runtime }
    }

    /// The requests since this was last asked.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn answer(cluster: &Cluster, noted: &Mutex<Vec<String>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    noted
        .lock()
        .unwrap()
        .push(format!("{} {target} {}", parts.method, String::from_utf8_lossy(&body)).trim().to_owned());
    let query: Vec<(String, String)> = parts.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    let get = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let after = parts.headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
    if let (Some(after), Some(noted)) = (&after, noted.lock().unwrap().last_mut()) {
        noted.push_str(&format!(" (after {after})"));
    }
    let get = |key: &str| if key == "after" { after.as_deref().or(get(key)) } else { get(key) };
    let streamed = target.starts_with("/api/v1/stream");
    let kind = if streamed { "text/event-stream" } else { "application/json" };
    let (status, text) = match route(cluster, &parts.method, parts.uri.path(), &get, &body) {
        Ok(text) => (200, text),
        Err(problem) => (problem.status, serde_json::to_string(&problem).unwrap()),
    };
    let now = UNIX_EPOCH + Duration::from_millis(cluster.now.0);
    let response = Response::builder().status(status).header("date", httpdate::fmt_http_date(now));
    response.header("content-type", kind).body(Full::new(text.into())).unwrap()
}

fn pair(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let plain =
        value.replace("%5B", "[").replace("%5D", "]").replace("%2C", ",").replace("%3A", ":").replace("%3D", "=");
    Some((name.to_owned(), plain))
}

fn text(document: &impl Serialize) -> Result<String, Problem> {
    Ok(serde_json::to_string(document).unwrap())
}

fn problem(status: u16, kind: &str, detail: String) -> Problem {
    Problem { kind: format!("urn:bootes:problem:{kind}"), title: kind.to_owned(), status, detail, current: None }
}

/// The state as it was, folded from the journal.
fn past(cluster: &Cluster, moment: Option<&str>) -> Result<(State, UnixMs), Problem> {
    let place = moment.map(|text| text.parse::<Moment>().unwrap().resolve(cluster.now));
    let (mut state, mut at) = (State::default(), UnixMs(0));
    for stamped in &cluster.journal {
        let in_it = match place {
            None => true,
            Some(Place::At(at)) => stamped.at <= at,
            Some(Place::Seq(seq)) => stamped.seq <= seq,
        };
        if in_it {
            state.apply(stamped);
            at = stamped.at;
        }
    }
    match place {
        Some(Place::Seq(seq)) if seq > state.seq => {
            let detail = format!("there is no fact {} yet; the last one is {}", seq.0, state.seq.0);
            Err(problem(404, "not-known", detail))
        }
        _ => Ok((state, at)),
    }
}

fn nodes(cluster: &Cluster, set: Option<&str>) -> Result<Vec<Arc<Node>>, Problem> {
    nodes_of(cluster.core.state(), set)
}

fn nodes_of(state: &State, set: Option<&str>) -> Result<Vec<Arc<Node>>, Problem> {
    let Some(set) = set else {
        return Ok(state.by_name.values().map(|id| state.node(*id).unwrap().clone()).collect());
    };
    let set: NodeSet = set.parse().unwrap();
    let find = |name: &str| state.node_named(&name.parse().ok()?).cloned();
    let unknown: Vec<&str> = set.iter().filter(|name| find(name).is_none()).collect();
    if !unknown.is_empty() {
        let detail =
            format!("there is no node {}; 'bootes get nodes' lists those that there are", NodeSet::fold(unknown));
        return Err(problem(404, "no-such-node", detail));
    }
    Ok(set.iter().filter_map(find).collect())
}

fn route<'a>(
    cluster: &Cluster,
    method: &Method,
    path: &str,
    get: &impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
) -> Result<String, Problem> {
    let (state, now) = (cluster.core.state(), cluster.now);
    let asked = || -> Value { serde_json::from_slice(body).unwrap() };
    let accepted = || {
        let nodes = nodes(cluster, asked()["nodes"].as_str())?;
        let names = NodeSet::fold(nodes.iter().map(|node| node.spec.name.as_str()));
        let seq = FactSeq(state.seq.0 + nodes.len() as u64);
        let said = told(&asked()["goals"]);
        let asked: Vec<OperatorEvent> = match asked()["power"].as_str() {
            Some("off") => nodes.iter().map(|node| power_off(node)).collect(),
            _ if path.ends_with("release") => {
                nodes.iter().map(|node| OperatorEvent::Released { node: node.id }).collect()
            }
            _ if asked()["goals"].is_object() => goals(&nodes, &asked()),
            _ => vec![],
        };
        let after = state.supposing(now, &asked);
        let nodes: Vec<Arc<Node>> = nodes.iter().filter_map(|node| after.node(node.id).cloned()).collect();
        text(&Accepted {
            nodes: names,
            count: nodes.len(),
            seq,
            goals: said,
            held: held(&after, &nodes, &cluster.graph, &cluster.policy, now),
            warnings: goal_warnings(nodes.iter().map(Arc::as_ref), &cluster.graph),
        })
    };
    let what_if = |events: &[OperatorEvent]| {
        what_if(state, &state.supposing(now, events), events, &cluster.graph, &cluster.policy)
    };
    let approved = |plan: &WhatIf| match get("approve") {
        Some(id) if id != plan.id => Err(problem(
            409,
            "plan-moved",
            format!("plan {id} was approved, and what would be done by now is plan {}", plan.id),
        )),
        _ => Ok(()),
    };
    let part = || get("only").map_or(Part::Both, |word| word.parse().unwrap());
    match path {
        "/api/v1/nodes" if *method == Method::DELETE => {
            let nodes = nodes(cluster, get("nodes"))?;
            let names = NodeSet::fold(nodes.iter().map(|node| node.spec.name.as_str()));
            text(&Accepted {
                nodes: names,
                count: nodes.len(),
                seq: FactSeq(state.seq.0 + nodes.len() as u64),
                goals: Default::default(),
                held: Vec::new(),
                warnings: Vec::new(),
            })
        }
        "/api/v1/nodes" if *method == Method::POST => {
            let CreateRequest { items } = serde_json::from_slice(body).unwrap();
            let request = ApplyRequest { nodes: items, ..ApplyRequest::default() };
            let (changes, _) =
                diff(state, &description(request)).map_err(|error| problem(422, "invalid", error.to_string()))?;
            text(&ApplyAnswer { changes, applied: true, plan: None })
        }
        "/api/v1/version" => text(&json!({ "version": "0.1.0" })),
        "/api/v1/nodes" if get("at").is_some() => {
            let past = past(cluster, get("at"))?;
            let items = nodes_of(&past.0, get("nodes"))?.iter().map(|node| NodeDocument::new(node, past.1)).collect();
            text(&PastNodes { as_of: PlaceDocument::new(&past.0, past.1), items })
        }
        "/api/v1/diff" => {
            let (from, to) = (past(cluster, get("from"))?, past(cluster, get("to"))?);
            let ids = match get("nodes") {
                Some(set) => Some(nodes_of(&to.0, Some(set))?.iter().map(|node| node.id).collect()),
                None => None,
            };
            text(&DiffDocument {
                from: PlaceDocument::new(&from.0, from.1),
                to: PlaceDocument::new(&to.0, to.1),
                items: compare(&from.0, &to.0, ids.as_ref()),
            })
        }
        "/api/v1/nodes" => {
            let nodes = nodes(cluster, get("nodes"))?;
            text(&Items { items: nodes.iter().map(|node| NodeDocument::new(node, now)).collect() })
        }
        "/api/v1/why" => {
            let mut planner = Planner::new(cluster.graph.clone());
            let nodes = nodes(cluster, get("nodes"))?;
            let reports =
                nodes.iter().map(|node| why(node, &state.control, &mut planner, &cluster.policy, now)).collect();
            text(&WhyDocument::new(reports, part()))
        }
        "/api/v1/timeline" => text(&TimelinesDocument::new(&nodes(cluster, get("nodes"))?, part())),
        "/api/v1/machines" => {
            let document = |proposal: Proposal| {
                let machine = state.unknown.get(&proposal.mac)?;
                Some(MachineDocument::unknown(state, proposal.mac, machine, Some(proposal.verdict)))
            };
            let unknown = propose(state, &Default::default()).into_iter().filter_map(document);
            let nodes = state.by_name.values().filter_map(|id| state.node(*id));
            let nodes = nodes.map(|node| MachineDocument::of_node(node)).filter(|_| get("standing").is_none());
            text(&Items { items: unknown.chain(nodes).collect() })
        }
        "/api/v1/modules" => text(&Items { items: modules() }),
        "/api/v1/whoami" => text(&json!({"name": "ops", "role": "operator", "nodes": "n[1-3]", "expires_at": null})),
        "/api/v1/certificate" => text(&certificate()),
        "/api/v1/tokens" if body.is_empty() => text(&Items { items: tokens() }),
        "/api/v1/tokens" => {
            let about =
                TokenDocument { name: asked()["name"].as_str().unwrap().parse().unwrap(), ..tokens().remove(0) };
            text(&CreatedToken { token: "bootes_0123".into(), about })
        }
        "/api/v1/tokens/ci" => text(&tokens().remove(0)),
        "/api/v1/tokens/none" => Err(problem(
            404,
            "no-such-token",
            "there is no token none; 'bootes token list' lists those that there are".into(),
        )),
        "/api/v1/graph" | "/api/v1/nodes/n3/graph" => {
            let (graph, control, policy) = (crate::cluster::graph(), &state.control, crate::cluster::policy());
            let document = match path.contains("n3") {
                true => GraphDocument::of_node(&nodes(cluster, Some("n3"))?[0], &graph, control, &policy),
                false => GraphDocument::whole(&graph, control, &policy),
            };
            text(&document)
        }
        "/api/v1/events" => text(&Items { items: events(cluster, get)? }),
        "/api/v1/stream" => {
            let event = |event: &EventDocument| {
                let data = serde_json::to_string(event).unwrap();
                format!("event: fact\nid: {}\ndata: {data}\n\n", event.seq.0)
            };
            Ok(events(cluster, get)?.iter().map(event).collect())
        }
        "/api/v1/plan" | "/api/v1/apply" => {
            let request: ApplyRequest = serde_json::from_slice(body).unwrap();
            let (changes, events) =
                diff(state, &description(request)).map_err(|error| problem(422, "invalid", error.to_string()))?;
            let plan = what_if(&events);
            approved(&plan)?;
            let applied = path.ends_with("apply") && !changes.is_empty();
            text(&ApplyAnswer { changes, applied, plan: Some(plan) })
        }
        "/api/v1/plan/goals" => {
            let events = goals(&nodes(cluster, asked()["nodes"].as_str())?, &asked());
            text(&PlannedGoals { plan: what_if(&events), goals: told(&asked()["goals"]) })
        }
        "/api/v1/cluster" => text(&ClusterDocument::new(state, &cluster.graph, &cluster.policy)),
        "/api/v1/mass-event" | "/api/v1/mass-event/clear" => text(&MassEventDocument::new(state)),
        "/api/v1/mutations" => {
            let document = |mutation| MutationDocument::new(mutation, &cluster.graph, &state.control, &cluster.policy);
            text(&Items { items: cluster.graph.mutations().iter().map(document).collect() })
        }
        "/api/v1/mutations/none/switch" => Err(problem(
            404,
            "no-such-mutation",
            "there is no mutation none; 'bootes mutation list' lists those that there are".into(),
        )),
        "/api/v1/freeze" | "/api/v1/thaw" => {
            let set = asked()["nodes"].as_str().map(str::to_owned);
            let changed = match &set {
                Some(_) => nodes(cluster, set.as_deref())?.len(),
                None if asked()["all"] == true => usize::from(path.ends_with("freeze")),
                None => return Err(problem(422, "invalid", "no node is named".into())),
            };
            text(&FreezeAnswer { nodes: set, changed, frozen_nodes: "n6".into(), all_frozen: false })
        }
        "/api/v1/goals" => {
            if get("approve").is_some() {
                let events = goals(&nodes(cluster, asked()["nodes"].as_str())?, &asked());
                approved(&what_if(&events))?;
            }
            let seen = asked()["if_revision"].as_u64();
            let nodes = nodes(cluster, asked()["nodes"].as_str())?;
            if let Some(node) = nodes.iter().find(|node| seen.is_some_and(|seen| seen != node.revision.0)) {
                let detail = format!("node {} is at revision {} now", node.spec.name, node.revision.0);
                let current = serde_json::to_value(NodeDetail::new(state, node, now)).ok();
                return Err(Problem { current, ..problem(412, "stale", detail) });
            }
            for (path, value) in asked()["goals"].as_object().unwrap().iter().filter(|(path, _)| *path != SECRET) {
                let goal = path.parse().and_then(|path| match value.as_str() {
                    Some(text) => cluster.core.state().schema.parse_goal(&path, text).map(|_| ()),
                    None => Ok(()),
                });
                goal.map_err(|error| problem(422, "invalid", error.to_string()))?;
            }
            accepted()
        }
        "/api/v1/power" | "/api/v1/release" => accepted(),
        "/api/v1/values" => {
            let path: VarPath = get("path").unwrap().parse().unwrap();
            let value = |node: &Arc<Node>| ValueDocument {
                node: node.spec.name.clone(),
                id: node.id,
                path: path.clone(),
                state: VariableState::new(state, node, &path),
            };
            text(&Items { items: nodes(cluster, get("nodes"))?.iter().map(value).collect() })
        }
        "/api/v1/power/status" => {
            let document = |node: &Arc<Node>| {
                let name = node.spec.name.clone();
                let power = match node.see_symbol(&bootes::model::VarPath::power()) {
                    Some("on") => Some(bootes::fact::PowerState::On),
                    Some("off") => Some(bootes::fact::PowerState::Off),
                    _ => None,
                };
                let problem = power.is_none().then(|| "the BMC refuses the user or password".to_owned());
                PowerDocument { name, power, problem }
            };
            text(&Items { items: nodes(cluster, asked()["nodes"].as_str())?.iter().map(document).collect() })
        }
        other if other.ends_with("/switch") => {
            let to = serde_json::from_value(asked()["to"].clone()).unwrap();
            let name = other.split('/').rev().nth(1).unwrap().to_owned();
            text(&SwitchAnswer { name, to, changed: to == bootes::fact::Switch::Disabled })
        }
        other if other.ends_with("/timeout") => {
            let name = other.split('/').rev().nth(1).unwrap();
            let set = OperatorEvent::TimeoutSet { mutation: name.into(), timeout_ms: asked()["timeout_ms"].as_u64() };
            let after = state.supposing(now, &[set]);
            text(&MutationDocument::new(
                cluster.graph.get(name).unwrap(),
                &cluster.graph,
                &after.control,
                &cluster.policy,
            ))
        }
        other => match other.strip_prefix("/api/v1/nodes/") {
            Some(name) => text(&NodeDetail::new(state, nodes(cluster, Some(name))?.first().unwrap(), now)),
            None => Err(problem(404, "no-such-path", format!("there is nothing at {other}"))),
        },
    }
}

fn modules() -> Vec<ModuleDocument> {
    let built_in = ModuleDocument {
        name: "power".into(),
        origin: "built_in".into(),
        state: "running".into(),
        for_s: None,
        pid: None,
        failures: 0,
        detail: String::new(),
        version: "0.1.0".into(),
        doc: String::new(),
        variables: vec![],
        mutations: vec!["power.on".into(), "power.off".into()],
        enabled: true,
    };
    let lamp = ModuleDocument {
        name: "lamp".into(),
        origin: "outside".into(),
        state: "failed".into(),
        for_s: Some(7),
        failures: 3,
        detail: "it ended with exit code 3".into(),
        doc: "Switches a light.".into(),
        variables: vec!["lamp.light".into()],
        mutations: vec!["lamp.look".into()],
        enabled: false,
        ..built_in.clone()
    };
    vec![built_in, lamp]
}

fn power_off(node: &Node) -> OperatorEvent {
    let (path, value) = (bootes::model::VarPath::power(), bootes::model::Value::symbol("off"));
    OperatorEvent::GoalSet { node: node.id, path, value: Some(value) }
}

fn goals(nodes: &[Arc<Node>], asked: &Value) -> Vec<OperatorEvent> {
    let goal = |node: &Arc<Node>| {
        let id = node.id;
        asked["goals"].as_object().unwrap().iter().map(move |(path, value)| OperatorEvent::GoalSet {
            node: id,
            path: path.parse().unwrap(),
            value: value.as_str().map(bootes::model::Value::symbol),
        })
    };
    nodes.iter().flat_map(goal).collect()
}

/// A variable that is a secret here.
const SECRET: &str = "site.key";

/// Values by hand, as they are told.
fn told(goals: &Value) -> BTreeMap<VarPath, Option<Given>> {
    let value = |path: &str, value: &Value| match path {
        SECRET => Given::Text("(secret)".into()),
        _ => serde_json::from_value(value.clone()).unwrap(),
    };
    let told =
        |(path, given): (&String, &Value)| (path.parse().unwrap(), (!given.is_null()).then(|| value(path, given)));
    goals.as_object().into_iter().flatten().map(told).collect()
}

fn tokens() -> Vec<TokenDocument> {
    let at = |ms: u64| UnixMs(1_795_226_400_000 + ms);
    let token =
        |name: &str, role, nodes: Option<&str>, expires: Option<u64>, expired, used: Option<u64>| TokenDocument {
            name: name.parse().unwrap(),
            role,
            nodes: nodes.map(|nodes| nodes.parse().unwrap()),
            created_at: at(0).to_string(),
            expires_at: expires.map(|ms| at(ms).to_string()),
            expired,
            last_used: used.map(|ms| at(ms).to_string()),
            last_used_ms: used.map(at),
        };
    vec![
        token("ci", Role::Operator, Some("n[1-3]"), Some(7_776_000_000), false, Some(80_000)),
        token("grafana", Role::Viewer, None, None, false, None),
        token("old", Role::Admin, None, Some(1_000), true, Some(500)),
    ]
}

fn certificate() -> CertificateDocument {
    CertificateDocument {
        fingerprint: Digest::of(b"authority"),
        certificate: Digest::of(b"certificate"),
        names: vec!["localhost".into(), "10.77.0.1".into()],
        valid_until: UnixMs(1_829_440_800_000).to_string(),
        listen: "10.77.0.1:8081".into(),
    }
}

fn events<'a>(cluster: &Cluster, get: &impl Fn(&str) -> Option<&'a str>) -> Result<Vec<EventDocument>, Problem> {
    let place = |key| get(key).map(|text| text.parse::<Moment>().unwrap().resolve(cluster.now));
    let number = |key| get(key).map_or(0, |text| text.parse::<u64>().unwrap());
    let wanted = match get("nodes") {
        Some(set) => Some(nodes(cluster, Some(set))?.iter().map(|node| node.id).collect::<Vec<_>>()),
        None => None,
    };
    let found: Vec<EventDocument> = cluster
        .journal
        .iter()
        .filter(|stamped| stamped.seq.0 > number("after") && stamped.at.0 >= number("since_ms"))
        .filter(|stamped| match place("since") {
            Some(Place::Seq(seq)) => stamped.seq >= seq,
            Some(Place::At(at)) => stamped.at >= at,
            None => true,
        })
        .filter(|stamped| match place("until") {
            Some(Place::Seq(seq)) => stamped.seq <= seq,
            Some(Place::At(at)) => stamped.at <= at,
            None => true,
        })
        .filter(|stamped| get("kind").is_none_or(|kinds| kinds.split(',').any(|kind| kind == stamped.fact.kind())))
        .filter(|stamped| wanted.as_ref().is_none_or(|ids| stamped.fact.node().is_some_and(|id| ids.contains(&id))))
        .map(|stamped| EventDocument::new(cluster.core.state(), stamped))
        .collect();
    let limit = get("limit").map_or(200, |text| text.parse::<usize>().unwrap());
    Ok(found[found.len().saturating_sub(limit)..].to_vec())
}

fn description(request: ApplyRequest) -> Description {
    let pin =
        |name: &bootes::model::Name| ImagePin { name: name.clone(), digest: Digest::of(name.as_str().as_bytes()) };
    let cakes = request
        .cakes
        .iter()
        .map(|cake| CakeSpec { name: cake.name.clone(), images: cake.images.iter().map(pin).collect() });
    let nodes = request.nodes.into_iter().map(|node| {
        let (name, mac, ip, pool) = (node.name.clone(), node.mac, node.ip, node.pool.clone());
        let bmc = node.bmc.as_ref().and_then(|bmc| bmc.address);
        let of = node.into_template();
        let own = Template {
            network: of.network,
            cake: of.cake,
            labels: of.labels,
            bmc: of.bmc.map(|bmc| BmcTemplate {
                driver: bmc.driver,
                user: bmc.user,
                password: bmc.password.map(|text| Sealed(text.into_bytes())),
            }),
            ..Template::default()
        };
        (
            NodeId(Uuid::from_u128(99)),
            NodeDescription { name, mac, ip, matching: Default::default(), bmc, pool, own, ipv6: Default::default() },
        )
    });
    Description {
        cluster: request.cluster,
        networks: request.networks,
        cakes: cakes.collect(),
        nodes: nodes.collect(),
        unnamed: request.unnamed,
        ..Description::default()
    }
}
