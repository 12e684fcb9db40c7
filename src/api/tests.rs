//! The API over real sockets, with the real engine and journal behind it, asked by a plain HTTP client: here over the
//! unix socket, as root; in `access` over TLS, with tokens.

mod access;
mod control;
mod described;
mod machines;
mod openapi;
mod refusals;
mod resources;
mod streams;
mod web_socket;

mod nodes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::{Context, Options, bind, certificate};
use crate::engine::Engine;
use crate::fact::{Declaration, Fact, ModuleEvent, ModuleFact};
use crate::journal::Journal;
use crate::plan::{Graph, Mutation, Policy};
use crate::port::{FactFeed, FactSender, StateReader, fact_channel};
use crate::power::PowerModule;
use crate::power::vault::Vault;
use crate::sync::identity::Identity;

struct Appliance {
    address: SocketAddr,
    socket: PathBuf,
    identity: Arc<Identity>,
    shutdown: CancellationToken,
    facts: FactSender,
    state: StateReader,
    dir: tempfile::TempDir,
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn appliance() -> Appliance {
    let dir = tempfile::tempdir().unwrap();
    let mutations = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
    ];
    let graph = Graph::build(mutations.concat(), &crate::model::Schema::default()).unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let engine = Engine::replay(journal, graph.clone(), Policy::default()).unwrap();
    let (facts, receiver) = fact_channel();
    let shutdown = CancellationToken::new();
    let vault = Arc::new(Vault::open(dir.path()).unwrap());
    let (sender, state) = (facts.clone(), StateReader(engine.snapshots()));
    let (_module, power) = PowerModule::new(vault.clone(), std::time::Duration::from_secs(60));
    let context = Context {
        facts,
        state: StateReader(engine.snapshots()),
        feed: FactFeed(engine.feed()),
        power,
        vault,
        graph,
        policy: Policy::default(),
        roster: Default::default(),
        boot: Default::default(),
        image_store: dir.path().join("images"),
        state_dir: dir.path().to_owned(),
        journal_health: engine.journal_health(),
    };
    let identity = Arc::new(Identity::open(dir.path()).unwrap());
    let socket = dir.path().join("api.sock");
    let certificate = certificate::Source { state_dir: dir.path().to_owned(), own: None, names: vec![] };
    let options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), socket: socket.clone(), certificate };
    let bound = bind(options, identity.clone()).await.unwrap();
    let address = bound.local_addr();
    tokio::spawn(engine.run(receiver, shutdown.clone()));
    tokio::spawn(bound.run(context, shutdown.clone()));
    Appliance { address, socket, identity, shutdown, facts: sender, state, dir }
}

impl Appliance {
    async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Response<hyper::body::Incoming> {
        let socket = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header("host", "localhost").body(Full::default()).unwrap();
        self.answered(Method::GET, path, request).await
    }

    /// The answer, which must be one that is described.
    async fn answered(&self, method: Method, path: &str, request: Request<Full<Bytes>>) -> (StatusCode, Value) {
        let response = self.send(request).await;
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let (status, document) = read(response).await;
        described::check(&method, path, status, &kind.unwrap_or_default(), &document);
        (status, document)
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let body = Full::new(Bytes::from(body.to_string()));
        let request =
            Request::post(path).header("host", "localhost").header("content-type", "application/json").body(body);
        self.answered(Method::POST, path, request.unwrap()).await
    }
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn description() -> Value {
    let nodes = [1, 2].map(|n| {
        json!({
            "name": format!("n{n}"), "network": "boot", "mac": format!("02:00:00:00:00:0{n}"), "ip": format!("10.0.0.{n}"),
            "cake": null, "labels": {"rack": "r1"},
            "bmc": {"driver": "ipmi", "address": "127.0.0.1:9", "user": "admin", "password": "hunter2-secret"}
        })
    });
    let networks = json!([{"name": "boot", "subnet": "10.0.0.0/24", "lease_s": 60}]);
    json!({"cluster": "c", "networks": networks, "cakes": [], "nodes": nodes})
}

#[tokio::test]
async fn a_description_is_planned_applied_and_then_changes_nothing() {
    let api = appliance().await;
    let (status, plan) = api.post("/api/v1/plan", &description()).await;
    assert_eq!((status, plan["applied"].as_bool()), (StatusCode::OK, Some(false)));
    assert_eq!(plan["changes"].as_array().unwrap().len(), 4, "{plan}");
    assert_eq!(api.get("/api/v1/nodes").await.1, json!({"items": []}), "a plan changes nothing");
    let (_, applied) = api.post("/api/v1/apply", &description()).await;
    assert_eq!(applied["applied"], true);
    let (_, again) = api.post("/api/v1/apply", &description()).await;
    assert_eq!(
        (&again["changes"], &again["applied"], &again["plan"]["classes"]),
        (&json!([]), &json!(false), &json!([]))
    );
    let (_, nodes) = api.get("/api/v1/nodes?nodes=n%5B1-2%5D").await;
    let node = &nodes["items"][0];
    assert_eq!(node["name"], "n1");
    assert_eq!(node["desired"], json!({"power": "on", "run": "sync"}));
    assert_eq!(node["goal_reached"], false);
}

#[tokio::test]
async fn reasons_are_given_by_the_same_mutations_as_decisions() {
    let api = appliance().await;
    let discover = crate::power::mutations::mutations().into_iter().find(|m| m.name.as_ref() == "power.discover");
    let look = Mutation { name: "look.power".into(), module: "relay".into(), expected_ms: 1, ..discover.unwrap() };
    let declaration = Box::new(Declaration { mutations: vec![look], ..Declaration::default() });
    let event = ModuleEvent::Declared { declaration };
    api.facts.submit(vec![Fact::Module(ModuleFact { module: "relay".parse().unwrap(), event })]).await.unwrap();
    api.post("/api/v1/apply", &description()).await;
    let (_, why) = api.get("/api/v1/why?nodes=n1").await;
    assert_eq!(why["items"][0]["plan"][0]["mutation"], "look.power", "{why}");
    assert_eq!(why["groups"][0]["nodes"], "n1", "{why}");
    let (_, together) = api.get("/api/v1/why?only=together").await;
    assert_eq!((&together["items"], &together["groups"][0]["count"]), (&json!([]), &json!(2)), "{together}");
    assert_eq!(api.get("/api/v1/why?only=half").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_password_comes_back_from_nowhere() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    for path in
        ["nodes", "nodes/n1", "events?limit=1000", "why", "timeline", "machines", "tokens", "whoami", "certificate"]
    {
        let (status, answer) = api.get(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!answer.to_string().contains("hunter2"), "{path}");
    }
    for entry in std::fs::read_dir(api.dir.path()).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{:?}", entry.path());
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_a_problem_document() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let power = |nodes: &str| json!({"nodes": nodes, "power": "off"});
    let missing = json!({"cluster": null, "networks": [], "cakes": [{"name": "c", "images": ["none"]}], "nodes": []});
    for (path, body, status, kind) in [
        ("goals", json!({"nodes": "n1", "goals": {"power": "purple"}}), 422, "invalid"),
        ("goals", json!({"nodes": "n1", "goals": {"boot": "rom"}}), 422, "invalid"),
        ("goals", json!({"nodes": "n1", "goals": {"image.typo.state": "active"}}), 422, "invalid"),
        ("goals", json!({"nodes": "n9", "goals": {"power": "off"}}), 404, "no-such-node"),
        ("power", power("n[1-"), 400, "bad-request"),
        ("power", json!({"nodes": 3}), 400, "bad-request"),
        ("apply", missing, 422, "invalid"),
        ("power", json!({"power": "off"}), 422, "invalid"),
        ("nodes", json!({}), 400, "bad-request"),
        ("why", json!({}), 405, "method-not-allowed"),
        ("nothing", json!({}), 404, "no-such-path"),
    ] {
        let (got, problem) = api.post(&format!("/api/v1/{path}"), &body).await;
        assert_eq!(got.as_u16(), status, "{path} {body}: {problem}");
        assert_eq!(problem["type"], format!("urn:bootes:problem:{kind}"), "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_change_that_does_not_say_that_it_is_json_is_refused() {
    let api = appliance().await;
    let body = Full::new(Bytes::from_static(br#"{"nodes":"n1","power":"off"}"#));
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/power")
        .header("host", "localhost")
        .header("content-type", "text/plain");
    let (status, _) = read(api.send(request.body(body).unwrap()).await).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_past_is_answered_from_the_journal() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let before = api.get("/api/v1/health").await.1["journal"]["last_seq"].as_u64().unwrap();
    api.post("/api/v1/power", &json!({"nodes": "n1", "power": "off"})).await;
    let (_, now) = api.get("/api/v1/nodes?nodes=n1").await;
    assert_eq!(now["items"][0]["desired"]["power"], "off");
    let (_, then) = api.get(&format!("/api/v1/nodes?nodes=n1&at=seq:{before}")).await;
    assert_eq!(then["items"][0]["desired"]["power"], "on", "{then}");
    assert_eq!(then["as_of"]["seq"], before);
    let (_, diff) = api.get(&format!("/api/v1/diff?from=seq:{before}")).await;
    let changed = json!([{"path": "power", "from": "on", "to": "off"}]);
    assert_eq!((&diff["items"][0]["name"], &diff["items"][0]["desired"][0]), (&json!("n1"), &changed[0]), "{diff}");
    let (_, none) = api.get(&format!("/api/v1/diff?from=seq:{before}&nodes=n2")).await;
    assert_eq!(none["items"], json!([]), "{none}");
    for (selected, count) in
        [("labels=rack%3Dr1", 1), ("labels=!rack", 0), ("where=power", 0), ("nodes=n1&labels=rack", 1)]
    {
        let (status, some) = api.get(&format!("/api/v1/diff?from=seq:{before}&{selected}")).await;
        assert_eq!(
            (status, some["items"].as_array().map(Vec::len)),
            (StatusCode::OK, Some(count)),
            "{selected}: {some}"
        );
    }
    let (_, created) = api.get("/api/v1/diff?from=seq:0&labels=rack%3Dr1").await;
    assert_eq!(created["items"].as_array().unwrap().len(), 2, "who has the label at one of the two moments");
    let (_, created) = api.get("/api/v1/diff?from=seq:0&to=now&nodes=n2").await;
    assert_eq!(created["items"][0]["change"], "created");
    assert!(!created.to_string().contains("hunter2") && created.to_string().contains("(sealed"), "{created}");
    let (_, events) = api.get(&format!("/api/v1/events?since=seq:{}&kind=operator", before + 1)).await;
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    let (_, both) = api.get(&format!("/api/v1/events?since=seq:{}&kind=operator,malformed", before + 1)).await;
    assert_eq!(both, events, "several kinds are asked for at once");
    let (_, events) = api.get("/api/v1/events?until=seq:3&limit=1000").await;
    assert_eq!(events["items"].as_array().unwrap().len(), 3);
    for (path, status, kind) in [
        ("nodes?at=seq:100000", 404, "not-known"),
        ("nodes?at=never", 400, "bad-request"),
        ("nodes?at=seq:1&nodes=n1", 404, "no-such-node"),
        ("diff", 400, "bad-request"),
        ("diff?from=seq:0&nodes=n9", 404, "no-such-node"),
        ("diff?from=seq:0&pool=none", 422, "invalid"),
        ("events?until=x", 400, "bad-request"),
        ("events?kind=nope", 400, "bad-request"),
        ("events?kind=power,nope", 400, "bad-request"),
    ] {
        let (got, problem) = api.get(&format!("/api/v1/{path}")).await;
        assert_eq!(
            (got.as_u16(), problem["type"].as_str()),
            (status, Some(&*format!("urn:bootes:problem:{kind}"))),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_health_page_tells_of_the_journal() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let (status, health) = api.get("/api/v1/health").await;
    assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("ok")), "{health}");
    assert_eq!((&health["journal"]["writing"], &health["journal"]["known_from_seq"]), (&json!("ok"), &json!(0)));
}
