//! Freezes, switches, timeouts, mass events, and plans that are approved.

use serde_json::{Value, json};

use super::{appliance, description};

fn kinds(problem: &Value) -> String {
    problem["type"].as_str().unwrap().trim_start_matches("urn:bootes:problem:").to_owned()
}

async fn with_nodes() -> super::Appliance {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    api
}

async fn facts(api: &super::Appliance) -> usize {
    let (_, events) = api.get("/api/v1/events?kind=operator&limit=1000").await;
    events["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_is_frozen_or_thawed_already_is_not_asked_again() {
    let api = with_nodes().await;
    let before = facts(&api).await;
    let (_, answer) = api.post("/api/v1/freeze", &json!({"nodes": "n[1-2]"})).await;
    assert_eq!(answer, json!({"nodes": "n[1-2]", "changed": 2, "frozen_nodes": "n[1-2]", "all_frozen": false}));
    let (_, answer) = api.post("/api/v1/freeze", &json!({"nodes": "n[1-2]"})).await;
    assert_eq!(answer["changed"], 0);
    let (_, answer) = api.post("/api/v1/thaw", &json!({"nodes": "n1"})).await;
    assert_eq!((&answer["changed"], &answer["frozen_nodes"]), (&json!(1), &json!("n2")));
    for (path, changed) in [("freeze", 1), ("freeze", 0), ("thaw", 1), ("thaw", 0)] {
        let (_, answer) = api.post(&format!("/api/v1/{path}"), &json!({"all": true})).await;
        assert_eq!(answer["changed"], changed, "{path}");
    }
    assert_eq!(facts(&api).await, before + 5);
    let (status, _) = api.post("/api/v1/freeze", &json!({"nodes": "n9"})).await;
    assert_eq!(status.as_u16(), 404);
}

#[tokio::test]
async fn nodes_are_frozen_by_what_they_are_and_nothing_is_frozen_by_mistake() {
    let api = with_nodes().await;
    let (_, answer) = api.post("/api/v1/freeze", &json!({"where": ["ip=10.77.0.12"]})).await;
    assert!(answer["detail"].as_str().is_some(), "{answer}");
    let (status, answer) = api.post("/api/v1/freeze", &json!({"where": ["!run"], "nodes": "n2"})).await;
    assert_eq!((status.as_u16(), &answer["frozen_nodes"]), (200, &json!("n2")), "{answer}");
    for vague in [json!({}), json!({"all": true, "nodes": "n1"}), json!({"all": false})] {
        let (status, answer) = api.post("/api/v1/freeze", &vague).await;
        assert_eq!(status.as_u16(), 422, "{vague}: {answer}");
    }
    let (_, cluster) = api.get("/api/v1/cluster").await;
    assert_eq!((&cluster["frozen_nodes"], &cluster["frozen_since"]), (&json!("n2"), &Value::Null));
}

#[tokio::test]
async fn whoever_asks_for_power_off_is_told_at_once_what_holds_it() {
    let api = with_nodes().await;
    api.post("/api/v1/freeze", &json!({"all": true})).await;
    let (_, answer) = api.post("/api/v1/power", &json!({"nodes": "n[1-2]", "power": "off"})).await;
    let held = &answer["held"][0];
    assert_eq!((&held["nodes"], &held["hold"]), (&json!("n[1-2]"), &json!("all_frozen")), "{answer}");
    assert!(held["text"].as_str().unwrap().contains("thaw"), "{held}");
    api.post("/api/v1/thaw", &json!({"all": true})).await;
    let (_, answer) = api.post("/api/v1/power", &json!({"nodes": "n[1-2]", "power": "on"})).await;
    assert_eq!(answer.get("held"), None, "{answer}");
}

#[tokio::test]
async fn a_mutation_is_listed_switched_and_timed() {
    let api = with_nodes().await;
    let mutation = async |name: &str| {
        let (_, all) = api.get("/api/v1/mutations").await;
        all["items"].as_array().unwrap().iter().find(|m| m["name"] == name).cloned().unwrap()
    };
    let on = mutation("power.on").await;
    assert_eq!(
        (&on["enabled"], &on["timeout_by"], &on["disruptive"]),
        (&json!(true), &json!("declared"), &json!(false))
    );
    assert_eq!(on["changes"], json!(["power: off to on"]));
    for (to, changed) in [("disabled", true), ("disabled", false)] {
        let (_, answer) = api.post("/api/v1/mutations/power.on/switch", &json!({"to": to})).await;
        assert_eq!(answer, json!({"name": "power.on", "to": to, "changed": changed}));
    }
    assert_eq!(mutation("power.on").await["disabled_by"], "operator");
    api.post("/api/v1/mutations/power.on/switch", &json!({"to": "enabled"})).await;
    assert_eq!(mutation("power.on").await["enabled"], true);
    let (_, answer) = api.post("/api/v1/mutations/boot.rom/timeout", &json!({"timeout_ms": 90_000})).await;
    assert_eq!((&answer["timeout_ms"], &answer["timeout_by"]), (&json!(90_000), &json!("operator")));
    let (_, answer) = api.post("/api/v1/mutations/boot.rom/timeout", &json!({"timeout_ms": null})).await;
    assert_eq!(answer["timeout_by"], "declared");
    for (path, body, status, kind) in [
        ("mutations/none/switch", json!({"to": "disabled"}), 404, "no-such-mutation"),
        ("mutations/boot.rom/timeout", json!({"timeout_ms": 0}), 422, "invalid"),
        ("mutations/boot.rom/timeout", json!({"timeout_ms": u64::MAX}), 422, "invalid"),
        ("mutations/boot.rom/switch", json!({"to": "maybe"}), 400, "bad-request"),
        ("modules/none/switch", json!({"to": "disabled"}), 404, "no-such-module"),
    ] {
        let (got, problem) = api.post(&format!("/api/v1/{path}"), &body).await;
        assert_eq!((got.as_u16(), kinds(&problem).as_str()), (status, kind), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_module_that_is_switched_off_switches_its_mutations_off() {
    let api = with_nodes().await;
    let (_, answer) = api.post("/api/v1/modules/power/switch", &json!({"to": "disabled"})).await;
    assert_eq!(answer, json!({"name": "power", "to": "disabled", "changed": true}));
    let (_, all) = api.get("/api/v1/mutations").await;
    let off = all["items"].as_array().unwrap().iter().filter(|m| m["disabled_by"] == "operator_module").count();
    assert_eq!(off, 5);
    let (_, cluster) = api.get("/api/v1/cluster").await;
    assert_eq!(cluster["disabled_modules"], json!(["power"]));
    // A step that failed before has its pause first.
    let mut reason = json!(null);
    for _ in 0..600 {
        let (_, why) = api.get("/api/v1/why?nodes=n1").await;
        reason = why["items"][0]["reason"].clone();
        if reason["reason"] == "disabled" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("not disabled within a minute: {reason}");
}

#[tokio::test]
async fn clearing_a_mass_event_that_is_not_there_changes_nothing() {
    let api = with_nodes().await;
    let before = facts(&api).await;
    let (status, answer) = api.post("/api/v1/mass-event/clear", &json!({})).await;
    assert_eq!((status.as_u16(), &answer["present"]), (200, &json!(false)));
    assert_eq!(api.get("/api/v1/mass-event").await.1["count"], 0);
    assert_eq!(facts(&api).await, before);
}

#[tokio::test]
async fn the_overview_counts_nodes_by_how_far_they_have_come() {
    let api = with_nodes().await;
    let (_, cluster) = api.get("/api/v1/cluster").await;
    assert_eq!((&cluster["name"], &cluster["nodes"], &cluster["at_goal"]), (&json!("c"), &json!(2), &json!(0)));
    assert_eq!(cluster["stages"], json!([{"stage": "unknown", "count": 2, "nodes": "n[1-2]"}]));
    assert_eq!((&cluster["frozen_since"], &cluster["disturbed_max"]), (&Value::Null, &json!(0)));
}

#[tokio::test]
async fn a_plan_that_is_approved_is_done_and_one_that_has_moved_is_refused_with_the_new_one() {
    let api = with_nodes().await;
    let ask = json!({"nodes": "n[1-2]", "goals": {"power": "off"}});
    let (_, plan) = api.post("/api/v1/plan/goals", &ask).await;
    assert_eq!((&plan["nodes"], plan["classes"].as_array().unwrap().len()), (&json!(2), 1), "{plan}");
    let id = plan["id"].as_str().unwrap();
    let before = facts(&api).await;
    // Somebody else asks something of one of the nodes.
    api.post("/api/v1/goals", &json!({"nodes": "n2", "goals": {"busy": "busy"}})).await;
    let (status, problem) = api.post(&format!("/api/v1/goals?approve={id}"), &ask).await;
    assert_eq!((status.as_u16(), kinds(&problem).as_str()), (409, "plan-moved"));
    let (_, moved) = api.post("/api/v1/plan/goals", &ask).await;
    let new = moved["id"].as_str().unwrap();
    assert_ne!(new, id);
    assert!(problem["detail"].as_str().unwrap().contains(new), "{problem}");
    assert_eq!(facts(&api).await, before + 1, "nothing was done");
    let (status, _) = api.post(&format!("/api/v1/goals?approve={new}"), &ask).await;
    assert_eq!(status.as_u16(), 200);
    let (_, node) = api.get("/api/v1/nodes/n1").await;
    assert_eq!(node["desired"]["power"], "off");
}

#[tokio::test]
async fn a_description_is_applied_only_as_it_was_approved() {
    let api = appliance().await;
    let (_, first) = api.post("/api/v1/plan", &description()).await;
    let (_, same) = api.post("/api/v1/plan", &description()).await;
    let id = first["plan"]["id"].as_str().unwrap();
    assert_eq!(same["plan"]["id"], id, "ids of new nodes and sealed passwords are made up anew each time");
    let mut other = description();
    other["nodes"][0]["ip"] = json!("10.0.0.77");
    let (status, _) = api.post(&format!("/api/v1/apply?approve={id}"), &other).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(api.get("/api/v1/nodes").await.1, json!({"items": []}));
    let (status, applied) = api.post(&format!("/api/v1/apply?approve={id}"), &description()).await;
    assert_eq!((status.as_u16(), &applied["applied"]), (200, &json!(true)));
    let (status, _) = api.post(&format!("/api/v1/apply?approve={id}"), &description()).await;
    assert_eq!(status.as_u16(), 409, "it was done already, so it would be another plan by now");
}
