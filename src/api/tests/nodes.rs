//! Nodes and their variables by hand: creating, changing and removing them, concurrent writers, selections, secrets.

use hyper::header::{ETAG, IF_MATCH};

use super::*;

type Told = (StatusCode, Option<String>, Value);

impl Appliance {
    async fn change(&self, method: Method, path: &str, seen: Option<&str>, body: Option<Value>) -> Told {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("content-type", "application/merge-patch+json");
        if let Some(seen) = seen {
            request = request.header(IF_MATCH, seen);
        }
        let response = self.send(request.body(Full::new(body)).unwrap()).await;
        let tag = response.headers().get(ETAG).map(|tag| tag.to_str().unwrap().to_owned());
        let (status, document) = read(response).await;
        (status, tag, document)
    }

    async fn look(&self, path: &str) -> Value {
        let (status, document) = self.get(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {document}");
        document
    }

    async fn names(&self, query: &str) -> Vec<String> {
        let nodes = self.look(&format!("nodes?{query}")).await;
        nodes["items"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    }
}

const N1: &str = "/api/v1/nodes/n1";
const BOOT: &str = "/api/v1/nodes/n1/desired/power";

/// Two nodes of a pool, with a variable of each kind that matters here.
fn pooled() -> Value {
    let nodes = [1, 2].map(|n| {
        json!({
            "name": format!("n{n}"), "mac": format!("02:00:00:00:00:0{n}"), "ip": format!("10.0.0.{n}"),
            "pool": "gpu", "labels": {"slot": n.to_string()}, "bmc": {"address": "127.0.0.1:9"}
        })
    });
    let variable = |path: &str, kind: &str| json!({"path": path, "type": kind, "set": "config"});
    let racks = json!({"path": "site.rack", "type": "enum", "values": ["r1", "r2"], "set": "config"});
    let variables = json!([racks, variable("site.key", "secret"), variable("site.slots", "int")]);
    json!({
        "extensions": [{"name": "site", "variables": variables}],
        "networks": [{"name": "boot", "subnet": "10.0.0.0/24", "lease_s": 60}],
        "defaults": {"network": "boot", "bmc": {"driver": "ipmi", "user": "admin", "password": "hunter2-secret"}},
        "pools": [{"name": "gpu", "labels": {"gpu": ""}, "set": {"site.rack": "r1", "site.key": "hunter2-key"}}],
        "nodes": nodes
    })
}

async fn applied() -> Appliance {
    let api = appliance().await;
    let (status, answer) = api.post("/api/v1/apply", &pooled()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    api
}

#[tokio::test]
async fn a_description_with_pools_applied_again_changes_nothing_and_shows_no_secret() {
    let api = applied().await;
    let again = api.post("/api/v1/apply", &pooled()).await.1;
    assert_eq!((&again["changes"], &again["applied"]), (&json!([]), &json!(false)));
    assert_eq!(again["plan"]["classes"], json!([]));
    let paths = ["nodes/n1", "nodes", "pools", "defaults", "extensions", "variables", "networks", "cakes"];
    for path in paths.iter().copied().chain(["values?path=site.key,site.rack", "events?limit=1000"]) {
        let told = api.look(path).await.to_string();
        assert!(!told.contains("hunter2"), "{path}: {told}");
    }
    for entry in std::fs::read_dir(api.dir.path()).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{:?}", entry.path());
        }
    }
    let n1 = api.look("nodes/n1").await;
    assert_eq!(n1["said_by"]["network"], "cluster");
    assert_eq!(n1["said_by"]["labels.gpu"], json!({"pool": "gpu"}));
    assert_eq!(n1["variables"]["site.rack"]["desired"]["from"], "pool gpu");
    assert_eq!(n1["variables"]["site.key"]["desired"]["value"], "(secret)");
}

#[tokio::test]
async fn a_node_is_created_patched_replaced_and_removed_by_hand() {
    let api = applied().await;
    let n3 = json!({"name": "n3", "mac": "02:00:00:00:00:03", "ip": "10.0.0.3", "pool": "gpu"});
    let (status, _, made) = api.change(Method::POST, "/api/v1/nodes", None, Some(json!({"items": [n3.clone()]}))).await;
    assert_eq!((status, &made["changes"][0]["change"]), (StatusCode::CREATED, &json!("create")));
    let (status, _, twice) =
        api.change(Method::POST, "/api/v1/nodes", None, Some(json!({"items": [n3.clone()]}))).await;
    assert_eq!((status, &twice["type"]), (StatusCode::CONFLICT, &json!("urn:bootes:problem:conflict")));
    let patch = json!({"labels": {"old": "yes"}, "set": {"site.rack": "r2", "site.slots": 4}});
    let (status, _, patched) = api.change(Method::PATCH, "/api/v1/nodes/n3", None, Some(patch)).await;
    assert_eq!((status, &patched["desired"]["site.rack"]), (StatusCode::OK, &json!("r2")));
    assert_eq!(patched["variables"]["site.slots"]["desired"]["given"], 4);
    let (_, _, patched) = api.change(Method::PATCH, "/api/v1/nodes/n3", None, Some(json!({"set": null}))).await;
    assert_eq!((&patched["desired"]["site.rack"], &patched["labels"]["old"]), (&json!("r1"), &json!("yes")));
    let (status, _, put) = api.change(Method::PUT, "/api/v1/nodes/n3", None, Some(n3.clone())).await;
    assert_eq!((status, &put["labels"]), (StatusCode::OK, &json!({"gpu": ""})));
    let n4 = json!({"mac": "02:00:00:00:00:04", "ip": "10.0.0.4", "network": "boot"});
    assert_eq!(api.change(Method::PUT, "/api/v1/nodes/n4", None, Some(n4)).await.0, StatusCode::CREATED);
    for (path, body, status) in [
        ("/api/v1/nodes/n3", json!({"netwrok": "boot"}), 400),
        ("/api/v1/nodes/n3", json!({"name": "n9"}), 422),
        ("/api/v1/nodes/n3", json!({"ip": "10.0.0.1"}), 422),
        ("/api/v1/nodes/n3", json!({"set": {"site.rack": "r9"}}), 422),
        ("/api/v1/nodes/n3", json!([]), 400),
        ("/api/v1/nodes/n9", json!({}), 404),
    ] {
        let (got, _, problem) = api.change(Method::PATCH, path, None, Some(body.clone())).await;
        assert_eq!(got.as_u16(), status, "{body}: {problem}");
    }
    assert_eq!(api.change(Method::DELETE, "/api/v1/nodes/n3", None, None).await.0, StatusCode::OK);
    assert_eq!(api.names("").await, ["n1", "n2", "n4"]);
    assert_eq!(api.change(Method::DELETE, "/api/v1/nodes/n3", None, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_told_of_a_node_can_be_sent_back_and_keeps_its_secrets() {
    let api = applied().await;
    let own = json!({"set": {"site.key": "hunter2-own"}, "bmc": {"password": "hunter2-bmc"}});
    let (_, tag, patched) = api.change(Method::PATCH, N1, None, Some(own)).await;
    let told = patched["description"].clone();
    assert_eq!((&told["bmc"]["password"], &told["set"]["site.key"]), (&json!("(secret)"), &json!("(secret)")));
    let (status, again, _) = api.change(Method::PUT, N1, tag.as_deref(), Some(told)).await;
    assert_eq!((status, &again), (StatusCode::OK, &tag), "nothing has changed");
    let nothing = json!({"set": {"site.key": "(secret)"}});
    let (status, _, problem) = api.change(Method::PATCH, "/api/v1/nodes/n2", None, Some(nothing)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(!api.look("nodes/n1").await.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_writer_who_has_seen_something_older_is_refused_with_what_there_is() {
    let api = applied().await;
    let (_, seen, _) = api.change(Method::GET, N1, None, None).await;
    let seen = seen.unwrap();
    let patch = |rack: &str| Some(json!({"set": {"site.rack": rack}}));
    let (status, newer, _) = api.change(Method::PATCH, N1, Some(&seen), patch("r2")).await;
    assert_eq!(status, StatusCode::OK);
    for (method, path, body) in [
        (Method::PATCH, N1, patch("r1")),
        (Method::DELETE, N1, None),
        (Method::PUT, BOOT, Some(json!({"value": "off"}))),
        (Method::DELETE, BOOT, None),
    ] {
        let (status, tag, problem) = api.change(method.clone(), path, Some(&seen), body).await;
        assert_eq!((status, &tag), (StatusCode::PRECONDITION_FAILED, &newer), "{method} {path}: {problem}");
        assert_eq!(problem["current"]["desired"]["site.rack"], "r2");
        assert_eq!(problem["current"]["desired"]["power"], "on");
    }
    let revision: u64 = newer.as_deref().unwrap().trim_matches('"').parse().unwrap();
    let goals = |revision: u64| json!({"nodes": "n1", "goals": {"power": "off"}, "if_revision": revision});
    assert_eq!(api.post("/api/v1/goals", &goals(revision - 1)).await.0, StatusCode::PRECONDITION_FAILED);
    assert_eq!(api.post("/api/v1/goals", &goals(revision)).await.0, StatusCode::OK);
    assert_eq!(api.change(Method::DELETE, N1, Some("*"), None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn of_many_writers_who_have_seen_the_same_one_is_heard() {
    let api = Arc::new(applied().await);
    let (_, seen, _) = api.change(Method::GET, N1, None, None).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..16 {
        let (api, seen) = (api.clone(), seen.clone());
        writers.spawn(async move {
            let patch = json!({"labels": {"writer": number.to_string()}});
            let (status, _, told) = api.change(Method::PATCH, N1, seen.as_deref(), Some(patch)).await;
            (status, told["labels"]["writer"].clone())
        });
    }
    let told = writers.join_all().await;
    let heard: Vec<_> = told.iter().filter(|(status, _)| *status == StatusCode::OK).collect();
    assert_eq!(heard.len(), 1, "{told:?}");
    assert_eq!(api.look("nodes/n1").await["labels"]["writer"], heard[0].1);
    assert!(told.iter().all(|(status, _)| [200, 412].contains(&status.as_u16())), "{told:?}");
}

#[tokio::test]
async fn a_variable_is_set_read_and_taken_back_by_its_path() {
    let api = applied().await;
    let rack = "/api/v1/nodes/n1/desired/site.rack";
    let (_, _, before) = api.change(Method::GET, rack, None, None).await;
    assert_eq!((&before["value"], &before["source"]), (&json!("r1"), &json!({"pool": "gpu"})));
    let (status, tag, set) = api.change(Method::PUT, rack, None, Some(json!({"value": "r2"}))).await;
    assert_eq!((status, &set["value"], &set["from"]), (StatusCode::OK, &json!("r2"), &json!("by hand")));
    assert!(
        set["revision"].as_u64() > before["revision"].as_u64() && set["at_ms"].as_u64() >= before["at_ms"].as_u64()
    );
    let (status, _, back) = api.change(Method::DELETE, rack, tag.as_deref(), None).await;
    assert_eq!((status, &back["desired"]["value"]), (StatusCode::OK, &json!("r1")));
    let slots = "/api/v1/nodes/n1/desired/site.slots";
    for (method, path, body, status) in [
        (Method::DELETE, rack, None, 404),
        (Method::GET, slots, None, 404),
        (Method::PUT, slots, Some(json!({"value": "many"})), 422),
        (Method::PUT, slots, Some(json!({"value": 4})), 200),
        (Method::GET, "/api/v1/nodes/n1/desired/site.nothing", None, 404),
        (Method::GET, "/api/v1/nodes/n1/observed/power", None, 404),
        (Method::PUT, "/api/v1/nodes/n1/desired/boot", Some(json!({"value": "rom"})), 422),
        (Method::PUT, "/api/v1/nodes/n1/desired/image.typo.state", Some(json!({"value": "active"})), 422),
        (Method::PUT, "/api/v1/nodes/n9/desired/power", Some(json!({"value": "off"})), 404),
    ] {
        let (got, _, told) = api.change(method.clone(), path, None, body).await;
        assert_eq!(got.as_u16(), status, "{method} {path}: {told}");
    }
    let values = api.look("values?path=site.slots&path=site.rack&nodes=n1").await;
    assert_eq!(values["items"][0]["desired"]["given"], 4);
    assert_eq!((&values["items"][1]["path"], &values["items"][1]["node"]), (&json!("site.rack"), &json!("n1")));
    assert!(values["items"][0].get("observed").is_none());
}

#[tokio::test]
async fn nodes_are_selected_by_labels_variables_and_pool_in_questions_and_in_orders() {
    let api = applied().await;
    api.change(Method::PUT, "/api/v1/nodes/n2/desired/site.slots", None, Some(json!({"value": 8}))).await;
    for (query, names) in [
        ("labels=gpu", vec!["n1", "n2"]),
        ("labels=slot%3D1", vec!["n1"]),
        ("labels=slot!%3D1,!old", vec!["n2"]),
        ("pool=gpu&where=site.slots%3E4", vec!["n2"]),
        ("where=run!%3Dsync&where=!site.slots", vec!["n1"]),
        ("nodes=n1&where=site.slots%3D8", vec![]),
    ] {
        assert_eq!(api.names(query).await, names, "{query}");
    }
    for (query, status) in [("pool=none", 422), ("labels=%3D", 422), ("where=power%3Dpurple", 422), ("where=a.b", 422)]
    {
        assert_eq!(api.get(&format!("/api/v1/nodes?{query}")).await.0.as_u16(), status, "{query}");
    }
    let off = json!({"labels": "slot=2", "where": ["site.slots>=8"], "power": "off"});
    let (status, told) = api.post("/api/v1/power", &off).await;
    assert_eq!((status, &told["nodes"]), (StatusCode::OK, &json!("n2")), "{told}");
    let none = json!({"labels": "slot=3", "power": "off"});
    assert_eq!(api.post("/api/v1/power", &none).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(api.get("/api/v1/events?labels=slot%3D3").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let patch = Some(json!({"labels": {"slot": null, "rack": "r9"}}));
    let (status, _, told) = api.change(Method::PATCH, "/api/v1/nodes?labels=gpu", None, patch.clone()).await;
    assert_eq!((status, told["changes"].as_array().unwrap().len()), (StatusCode::OK, 2), "{told}");
    assert_eq!(api.names("labels=rack%3Dr9,!slot").await, ["n1", "n2"]);
    assert_eq!(api.change(Method::PATCH, "/api/v1/nodes", None, patch.clone()).await.0.as_u16(), 422);
    assert_eq!(api.change(Method::PATCH, "/api/v1/nodes?nodes=n1", Some("\"1\""), patch).await.0.as_u16(), 400);
    let mac = Some(json!({"mac": "02:00:00:00:00:09"}));
    assert_eq!(api.change(Method::PATCH, "/api/v1/nodes?labels=gpu", None, mac).await.0.as_u16(), 422);
    assert_eq!(api.change(Method::DELETE, "/api/v1/nodes", None, None).await.0.as_u16(), 422);
    let (_, _, gone) = api.change(Method::DELETE, "/api/v1/nodes?where=site.slots%3D8", None, None).await;
    assert_eq!((&gone["nodes"], &gone["count"]), (&json!("n2"), &json!(1)));
    assert_eq!(api.names("").await, ["n1"]);
}

#[tokio::test]
async fn a_whole_description_removes_what_it_does_not_name() {
    let api = applied().await;
    let mut whole = pooled();
    whole["unnamed"] = json!("removed");
    whole["nodes"].as_array_mut().unwrap().pop();
    let (_, plan) = api.post("/api/v1/plan", &whole).await;
    let removed = json!({"what": "node", "name": "n2", "change": "remove", "disrupts": [], "notes": ["left_as_it_is"]});
    assert_eq!(plan["changes"], json!([removed]));
    api.post("/api/v1/apply", &whole).await;
    assert_eq!(api.names("").await, ["n1"]);
    whole["networks"] = json!([]);
    let (status, refused) = api.post("/api/v1/apply", &whole).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused["detail"].as_str().unwrap().contains("the cluster's defaults"), "{refused}");
}

/// The command line prints what comes back, and the approval that it suggests.
#[tokio::test]
async fn what_was_asked_for_by_hand_is_told_as_it_was_understood_and_a_secret_is_not() {
    let api = applied().await;
    let goals = json!({"site.key": "hunter2-by-hand", "site.slots": 4, "site.rack": "r2", "power": null});
    let request = json!({"nodes": "n1", "goals": goals});
    for path in ["/api/v1/plan/goals", "/api/v1/goals"] {
        let (status, answer) = api.post(path, &request).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        let told = json!({"site.key": "(secret)", "site.slots": 4, "site.rack": "r2", "power": null});
        assert_eq!(answer["goals"], told, "{path}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    let n1 = api.look("nodes/n1").await;
    assert_eq!(n1["variables"]["site.slots"]["desired"]["given"], 4);
    let (status, problem) = api.post("/api/v1/goals", &json!({"nodes": "n1", "goals": {"site.slots": [1, 2]}})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
}

#[tokio::test]
async fn the_history_of_a_removed_node_is_had_by_its_name_and_by_its_id() {
    let api = applied().await;
    let id = api.look("nodes/n1").await["id"].as_str().unwrap().to_owned();
    let request = Request::delete(N1).header("host", "localhost").body(Full::default()).unwrap();
    assert_eq!(api.answered(Method::DELETE, N1, request).await.0, StatusCode::OK);
    let by_name = api.look("events?nodes=n1").await;
    let told: Vec<_> = by_name["items"].as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
    let is_the_end = |what: &Value| what.as_str().unwrap().starts_with("node n1 removed, by ");
    assert!(told.last().is_some_and(is_the_end), "{told:?}");
    assert!(by_name["items"].as_array().unwrap().iter().all(|event| event["node"] == "n1"), "{by_name}");
    assert_eq!(api.look(&format!("events?nodes={id}")).await, by_name);
    let both = api.look("events?nodes=n%5B1-2%5D").await;
    assert!(both["items"].as_array().unwrap().len() > told.len());
    for nobody in ["n1,n9", "00000000-0000-4000-8000-000000000000"] {
        assert_eq!(api.get(&format!("/api/v1/events?nodes={nobody}")).await.0, StatusCode::NOT_FOUND);
    }
    // Whoever has the name now is meant by it.
    let node = json!({"items": [{"name": "n1", "mac": "02:00:00:00:00:01", "ip": "10.0.0.1", "pool": "gpu"}]});
    assert_eq!(api.post("/api/v1/nodes", &node).await.0, StatusCode::CREATED);
    let now = api.look("events?nodes=n1").await;
    let told: Vec<_> = now["items"].as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
    assert!(!told.iter().any(is_the_end), "{told:?}");
    assert_eq!(api.look(&format!("events?nodes={id}")).await, by_name);
}

#[tokio::test]
async fn a_path_and_a_description_that_name_different_nodes_are_told_as_what_they_are() {
    let api = applied().await;
    let description = api.look("nodes/n1").await["description"].clone();
    let (status, _, problem) = api.change(Method::PUT, "/api/v1/nodes/n44", None, Some(description.clone())).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        status == 422 && detail.contains("names n44, which there is not, and the description names n1"),
        "{detail}"
    );
    let (_, _, problem) = api.change(Method::PUT, "/api/v1/nodes/n2", None, Some(description)).await;
    assert!(problem["detail"].as_str().unwrap().contains("node n2 cannot become n1"), "{problem}");
}

#[tokio::test]
async fn for_how_long_nothing_is_known_of_a_node_is_not_said_to_be_no_time() {
    let api = applied().await;
    let n1 = api.look("nodes/n1").await;
    assert_eq!((&n1["stage"], &n1["stage_s"]), (&json!("unknown"), &Value::Null), "{n1}");
}
