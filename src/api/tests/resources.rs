//! The graph, what there is to choose from, and that no secret is in any of it.

use super::*;
use crate::api::routes::ROUTES;
use crate::fact::Fact;
use crate::model::Sealed;
use crate::port::graph::GraphDocument;

impl Appliance {
    async fn text(&self, path: &str, accept: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).header("accept", accept).body(Full::default()).unwrap();
        let response = self.send(request).await;
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn the_graph_comes_in_the_form_that_is_asked_for() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    for path in ["/api/v1/graph", "/api/v1/nodes/n1/graph"] {
        for (accept, word, kind, begins) in [
            ("*/*", "json", "application/json", "{\"variables\":"),
            ("text/vnd.graphviz", "dot", "text/vnd.graphviz", "digraph "),
            ("image/svg+xml", "svg", "image/svg+xml", "<svg "),
        ] {
            let (status, got, text) = api.text(path, accept).await;
            assert_eq!((status, got.as_str()), (StatusCode::OK, kind), "{path}");
            assert!(text.starts_with(begins), "{text}");
            let by_word = api.text(&format!("{path}?format={word}"), "text/html").await;
            assert_eq!(by_word.2, text, "{path}");
        }
        assert_eq!(api.text(path, "text/html").await.0.as_u16(), 406);
        assert_eq!(api.text(&format!("{path}?format=png"), "*/*").await.0.as_u16(), 400);
    }
    assert_eq!(api.text("/api/v1/nodes/n9/graph", "*/*").await.0.as_u16(), 404);
}

#[tokio::test]
async fn the_graph_of_a_node_has_where_it_stands_and_the_way_to_its_goal() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let (_, document) = api.get("/api/v1/nodes/n1/graph").await;
    let graph: GraphDocument = serde_json::from_value(document).unwrap();
    let power = graph.variables.iter().find(|variable| variable.path == "power").unwrap();
    assert_eq!((power.now.as_deref(), power.goal.as_deref()), (Some("unknown"), Some("on")));
    let way = graph.node.unwrap();
    assert!(!way.goal_reached && way.problem.is_none());
    assert_eq!(way.steps.first().unwrap().mutation, "power.discover", "{:?}", way.steps);
    assert_eq!(way.expected_ms, way.steps.iter().map(|step| step.expected_ms).sum::<u64>());
    let whole: GraphDocument = serde_json::from_value(api.get("/api/v1/graph").await.1).unwrap();
    assert!(whole.node.is_none() && whole.mutations.iter().all(|m| m.enabled && m.timeout_ms == m.declared_timeout_ms));
    assert!(whole.mutations.iter().any(|m| m.disruptive), "{:?}", whole.mutations);
}

#[tokio::test]
async fn a_program_finds_every_variable_and_word_that_there_is_to_choose_from() {
    let api = appliance().await;
    let (_, variables) = api.get("/api/v1/variables").await;
    let power = variables["items"].as_array().unwrap().iter().find(|item| item["path"] == "power").unwrap();
    assert_eq!(
        (&power["type"], &power["values"], &power["set"]),
        (&json!("enum"), &json!(["off", "on"]), &json!("goal"))
    );
    let (_, extensions) = api.get("/api/v1/extensions").await;
    let paths = |item: &Value| item["variables"].as_array().unwrap().len();
    let all: usize = extensions["items"].as_array().unwrap().iter().map(paths).sum();
    assert_eq!(all, variables["items"].as_array().unwrap().len());
    let (_, kinds) = api.get("/api/v1/kinds").await;
    assert_eq!(kinds["roles"], json!(["viewer", "operator", "admin"]));
    for kind in kinds["events"].as_array().unwrap() {
        assert_eq!(api.get(&format!("/api/v1/events?kind={}", kind.as_str().unwrap())).await.0, StatusCode::OK);
    }
    let (_, nodes) = api.get("/api/v1/nodes").await;
    for node in nodes["items"].as_array().unwrap() {
        assert!(kinds["stages"].as_array().unwrap().contains(&node["stage"]), "{node}");
    }
}

/// All forms in which the journal's sealed bytes could be in an answer.
fn forms(sealed: &Sealed) -> Vec<String> {
    let text = serde_json::to_string(sealed).unwrap();
    let bytes = serde_json::to_string(&sealed.0).unwrap();
    [text.trim_matches('"').trim_start_matches("sealed:").to_owned(), bytes.trim_matches(['[', ']']).to_owned()].into()
}

#[tokio::test]
async fn no_answer_and_no_stream_holds_a_secret_not_even_a_sealed_one() {
    let api = appliance().await;
    let extension = json!({"name": "site", "doc": "", "origin": "described", "variables": [
        {"path": "site.key", "type": "secret", "set": "config", "doc": "A secret."}
    ]});
    let event = crate::fact::OperatorEvent::ExtensionDescribed { spec: serde_json::from_value(extension).unwrap() };
    let fact = Fact::Operator(crate::fact::OperatorFact { event, by: None });
    api.facts.submit(vec![fact]).await.unwrap();
    let mut stream = api.stream("?after=0", None).await;
    api.post("/api/v1/apply", &description()).await;
    let (status, answer) =
        api.post("/api/v1/goals", &json!({"nodes": "n1", "goals": {"site.key": "hunter3-secret"}})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let state = api.state.now();
    let mut secrets: Vec<Sealed> =
        state.nodes.values().map(|node| node.spec.bmc.as_ref().unwrap().password.clone()).collect();
    let node = state.node_named(&"n1".parse().unwrap()).unwrap();
    let Some(crate::model::Value::Secret(sealed)) = node.wants(&"site.key".parse().unwrap()) else {
        panic!("{node:?}")
    };
    secrets.push(sealed.clone());
    let needles: Vec<String> = secrets
        .iter()
        .flat_map(forms)
        .chain(["hunter2".to_owned(), "hunter3".to_owned(), "sealed:".to_owned()])
        .collect();
    let mut told = Vec::new();
    for row in ROUTES.iter().filter(|row| row.method == Method::GET && !row.path.ends_with("/stream")) {
        let path = row.path.replace("{name}", "n1").replace("{path}", "power");
        let (_, _, text) = api.text(&path, "*/*").await;
        told.push((path, text));
    }
    let (_, _, events) = api.text("/api/v1/events?limit=100000", "*/*").await;
    assert!(events.contains("\"password\":\"(secret)\"") && events.contains("(secret)"), "{events}");
    told.push(("events".to_owned(), events));
    let last = state.seq.0;
    let streamed = stream.until(|event| event.id.split('.').all(|part| part.parse::<u64>().unwrap() >= last)).await;
    assert!(streamed.iter().any(|event| event.data.to_string().contains("(secret)")));
    told.push(("stream".to_owned(), format!("{streamed:?}")));
    for (path, text) in &told {
        for needle in &needles {
            assert!(!text.contains(needle.as_str()), "{path} holds {needle}");
        }
    }
    let journal = crate::journal::JournalReader::open(api.dir.path()).unwrap();
    let filter = crate::journal::Filter { limit: 1_000, ..crate::journal::Filter::default() };
    let kept = serde_json::to_string(&journal.read(&filter).unwrap()).unwrap();
    assert!(secrets.iter().all(|sealed| kept.contains(&forms(sealed)[0])), "the journal has what the answers do not");
}
