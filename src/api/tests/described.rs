//! What the API really does, held against what its description says: every route is walked, and every answer that any of
//! these tests gets is looked up and checked.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;

use super::*;
use crate::api::routes::{Found, Handler, ROUTES, find};

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(crate::port::document::OPENAPI).unwrap());
static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// Checks a value against a schema of the description.
pub(super) fn conforms(schema: &Value, value: &Value, what: &str) {
    let mut validators = VALIDATORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = validators.entry(schema.to_string()).or_insert_with(|| {
        let mut whole = json!({"components": {"schemas": DESCRIPTION["components"]["schemas"]}});
        whole["allOf"] = json!([schema]);
        jsonschema::validator_for(&whole).unwrap()
    });
    let wrong: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{what} is not as described: {wrong:#?}\n{value:#}");
}

/// Checks an answer: its status is described for its route, and so are its media type and its document.
pub(super) fn check(method: &Method, path: &str, status: StatusCode, kind: &str, document: &Value) {
    let path = path.split('?').next().unwrap();
    let Found::Row(row, _) = find(method, path) else { return };
    let what = format!("{method} {path}: {status}");
    let operation = &DESCRIPTION["paths"][row.path][row.method.as_str().to_lowercase()];
    let response = &operation["responses"][status.as_str()];
    assert!(response.is_object(), "{what} is not described: {document}");
    let content = &response["content"][kind];
    assert!(content.is_object(), "{what} is described with {}, and comes as {kind}", response["content"]);
    conforms(&content["schema"], document, &what);
}

fn node(name: &str) -> Value {
    let last = name.trim_start_matches('n');
    json!({"name": name, "network": "boot", "mac": format!("02:00:00:00:00:0{last}"), "ip": format!("10.0.0.{last}")})
}

/// What stands behind a path of a good request: the parameters without which there is no answer.
fn query(handler: Handler) -> &'static str {
    match handler {
        Handler::Diff => "?from=seq:0",
        Handler::BootAnswer => "?node=n1&arch=7",
        Handler::Values => "?path=power",
        Handler::PatchNodes => "?nodes=n1",
        Handler::DeleteNodes => "?nodes=n7",
        _ => "",
    }
}

/// A good request to each route, and what it is answered with.
fn good(handler: Handler) -> (&'static str, Value) {
    let nodes = json!({"nodes": "n1"});
    match handler {
        Handler::Node | Handler::NodeGraph | Handler::ExplainLease => ("n1", Value::Null),
        Handler::Plan | Handler::Apply => ("", description()),
        Handler::Goals => ("", json!({"nodes": "n1", "goals": {"power": "off", "run": null}})),
        Handler::Power => ("", json!({"nodes": "n[1-2]", "power": "cycle"})),
        Handler::PowerStatus | Handler::Release => ("", nodes),
        Handler::CreateToken => ("", json!({"name": "ci", "role": "operator", "nodes": "n1", "expires_s": 60})),
        Handler::RevokeToken => ("ci", Value::Null),
        Handler::PlanGoals => ("", json!({"nodes": "n1", "goals": {"power": "off"}})),
        Handler::Freeze | Handler::Thaw => ("", json!({"nodes": "n1"})),
        Handler::SwitchMutation => ("power.on", json!({"to": "disabled"})),
        Handler::SwitchModule => ("power", json!({"to": "enabled"})),
        Handler::SetTimeout => ("power.on", json!({"timeout_ms": 90_000})),
        Handler::ClearMassEvent => ("", json!({})),
        Handler::ReleaseLease => ("", json!({"ip": "10.0.0.1"})),
        Handler::CreateNodes => ("", json!({"items": [node("n7")]})),
        Handler::PutNode => ("n8", node("n8")),
        Handler::PatchNode => ("n1", json!({"labels": {"rack": "r2"}})),
        Handler::PatchNodes => ("", json!({"labels": {"row": "1"}})),
        Handler::DeleteNode => ("n8", Value::Null),
        Handler::Desired | Handler::Observed => ("n1", Value::Null),
        Handler::SetDesired => ("n1", json!({"value": "off"})),
        Handler::TakeBackDesired => ("n1", Value::Null),
        Handler::Machine => ("n1", Value::Null),
        Handler::EnrollMachine => ("n1", json!({"name": "n9"})),
        Handler::EnrollMachines => ("", json!({"dry_run": true})),
        Handler::RefuseMachine => ("02:00:00:00:00:09", json!({"reason": "not ours"})),
        _ => ("", Value::Null),
    }
}

/// What is answered, and not with what was asked for: nothing was seen of any machine here.
const UNSEEN: [Handler; 2] = [Handler::Observed, Handler::EnrollMachine];

/// What cannot be asked with one request and one answer has tests of its own.
const STREAMS: [Handler; 2] = [Handler::Stream, Handler::WebSocket];

#[tokio::test]
async fn every_route_answers_as_it_is_described() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let waiting = json!({"name": "waiting", "role": "viewer"});
    api.post("/api/v1/tokens", &waiting).await;
    for row in ROUTES.iter().filter(|row| !STREAMS.contains(&row.handler)) {
        let (name, body) = good(row.handler);
        let path =
            row.path.replace("{name}", name).replace("{machine}", name).replace("{path}", "power") + query(row.handler);
        let request =
            Request::builder().method(row.method.clone()).uri(&path).header("content-type", "application/json");
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let response = api.send(request.body(Full::from(body)).unwrap()).await;
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (status, document) = read(response).await;
        let seen = !UNSEEN.contains(&row.handler);
        assert!(status.is_success() == seen, "{} {path}: {document}", row.method);
        check(&row.method, &path, status, &kind, &document);
    }
}

/// A misspelt field must not be taken for one that is left out: the token would be good for all nodes, for ever.
#[tokio::test]
async fn a_field_that_there_is_not_is_refused_by_every_route_and_nothing_is_done() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let before = api.get("/api/v1/health").await.1["journal"]["last_seq"].clone();
    for row in ROUTES.iter().filter(|row| !good(row.handler).1.is_null()) {
        let (name, mut body) = good(row.handler);
        body["if_revison"] = json!(1);
        let path =
            row.path.replace("{name}", name).replace("{machine}", name).replace("{path}", "power") + query(row.handler);
        let request =
            Request::builder().method(row.method.clone()).uri(&path).header("content-type", "application/json");
        let (status, problem) = read(api.send(request.body(Full::from(body.to_string())).unwrap()).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{} {path}: {problem}", row.method);
        assert!(problem["detail"].as_str().unwrap().contains("if_revison"), "{path}: {problem}");
    }
    let mut pool = description();
    pool["pools"] = json!([{"name": "c", "network": "boot", "cakee": "hello"}]);
    let (status, problem) = api.post("/api/v1/apply", &pool).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert_eq!(api.get("/api/v1/health").await.1["journal"]["last_seq"], before);
}

#[tokio::test]
async fn every_event_of_a_stream_is_as_it_is_described() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("?after=0&heartbeat_s=1", None).await;
    for event in stream.until(|event| event.name == "heartbeat").await {
        let document = json!({"event": event.name, "data": event.data});
        conforms(&json!({"$ref": "#/components/schemas/StreamEvent"}), &document, &event.name);
    }
}

#[test]
fn the_check_can_fail() {
    let reference = json!({"$ref": "#/components/schemas/Problem"});
    let caught = std::panic::catch_unwind(|| conforms(&reference, &json!({"type": "x"}), "a torn problem"));
    assert!(caught.is_err());
}
