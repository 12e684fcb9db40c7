//! Server-sent events, as a client takes them: what was, what comes, and what comes after a cut.

use std::time::Duration;

use super::*;

/// A client of a stream.
pub(super) struct Stream {
    body: hyper::body::Incoming,
    rest: String,
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: Value,
}

impl Appliance {
    pub(super) async fn stream(&self, query: &str, last: Option<&str>) -> Stream {
        let request = Request::get(format!("/api/v1/stream{query}")).header("accept", "text/event-stream");
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        let response = self.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { body: response.into_body(), rest: String::new() }
    }

    pub(super) async fn set_power(&self, node: &str, power: &str) {
        let (status, answer) = self.post("/api/v1/power", &json!({"nodes": node, "power": power})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

impl Stream {
    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                    line.unwrap_or_default()
                };
                let (name, id, data) = (field("event: "), field("id: "), field("data: "));
                self.rest = rest.to_owned();
                if !name.is_empty() {
                    return Event { name, id, data: serde_json::from_str(&data).unwrap() };
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await;
            let frame = frame.expect("nothing came").expect("the stream ended").unwrap();
            self.rest.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    /// The events up to the first of which this is true.
    pub(super) async fn until(&mut self, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await);
            if events.last().is_some_and(&last) {
                return events;
            }
        }
    }
}

fn says(what: &'static str) -> impl Fn(&Event) -> bool {
    move |event| event.data["what"].as_str().is_some_and(|said| said.contains(what))
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().filter(|event| event.name == "fact").map(|event| event.data["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_stream_gives_what_was_and_then_what_comes_without_a_gap() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("?types=fact&after=0", None).await;
    api.set_power("n1", "off").await;
    let events = stream.until(says("asked for power=off")).await;
    let expected: Vec<u64> = (1..=events.len() as u64).collect();
    assert_eq!(seqs(&events), expected);
}

#[tokio::test]
async fn a_stream_without_a_place_begins_now_and_tells_every_node_as_it_is() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("", None).await;
    let first = [stream.next().await, stream.next().await];
    let mut names: Vec<&str> = first.iter().map(|event| event.data["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["n1", "n2"]);
    assert_eq!(first[0].data["node"]["desired"]["power"], "on", "{first:?}");
    api.set_power("n1", "off").await;
    let events = stream.until(|event| event.name == "node" && event.data["node"]["desired"]["power"] == "off").await;
    assert_eq!(events.last().unwrap().data["name"], "n1");
    assert!(
        events.iter().all(|event| event.name != "fact" || event.data["seq"].as_u64() > first[0].data["seq"].as_u64())
    );
}

#[tokio::test]
async fn whoever_comes_back_with_the_last_id_misses_nothing_and_gets_no_fact_twice() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut told = Vec::new();
    let mut last = None;
    let mut nodes = std::collections::BTreeMap::new();
    for round in 0..6 {
        let mut stream = api.stream(if round == 0 { "?after=0" } else { "" }, last.as_deref()).await;
        let power = if round % 2 == 0 { "off" } else { "on" };
        // What happens while nobody listens is told too.
        api.set_power("n1", power).await;
        // Cut at another place each time, in the middle of what there is to tell.
        for _ in 0..=round {
            let event = stream.next().await;
            last = Some(event.id.clone());
            if event.name == "node" {
                nodes.insert(event.data["name"].to_string(), event.data["node"]["desired"]["power"].clone());
            }
            told.push(event);
        }
        drop(stream);
        api.set_power("n2", power).await;
    }
    let mut stream = api.stream("", last.as_deref()).await;
    api.set_power("n[1-2]", "cycle").await;
    let end = api.get("/api/v1/events?limit=1").await.1["items"][0]["seq"].as_u64().unwrap();
    let rest = stream.until(|event| event.id.split('.').all(|part| part.parse::<u64>().unwrap() >= end)).await;
    told.extend(rest);
    for event in told.iter().filter(|event| event.name == "node") {
        nodes.insert(event.data["name"].to_string(), event.data["node"]["desired"]["power"].clone());
    }
    let seqs = seqs(&told);
    let expected: Vec<u64> = (1..=*seqs.last().unwrap()).collect();
    assert_eq!(seqs, expected);
    assert!(*seqs.last().unwrap() >= end);
    assert_eq!(nodes.into_values().collect::<Vec<_>>(), ["on", "on"], "the last word about every node was told");
}

#[tokio::test]
async fn a_stream_tells_of_the_nodes_and_kinds_alone_that_were_asked_for() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("?types=fact&after=0&nodes=n2&kind=operator,power", None).await;
    api.set_power("n1", "off").await;
    api.set_power("n2", "off").await;
    let events = stream.until(says("asked for power=off")).await;
    for event in &events {
        assert_eq!((&event.data["node"], &event.data["kind"]), (&json!("n2"), &json!("operator")), "{event:?}");
    }
    let mut nodes = api.stream("?types=node&nodes=n2", None).await;
    api.set_power("n1", "on").await;
    api.set_power("n2", "on").await;
    let events = nodes.until(|event| event.data["node"]["desired"]["power"] == "on").await;
    assert!(events.iter().all(|event| event.name == "node" && event.data["name"] == "n2"), "{events:?}");
}

#[tokio::test]
async fn silence_is_broken_by_heartbeats_that_carry_the_place() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("?heartbeat_s=1&kind=malformed&types=fact", None).await;
    api.set_power("n1", "off").await;
    let seq = api.get("/api/v1/events?limit=1").await.1["items"][0]["seq"].as_u64().unwrap();
    let heartbeat = stream.until(|event| event.id.parse::<u64>().unwrap() >= seq).await.pop().unwrap();
    assert_eq!(heartbeat.name, "heartbeat");
    assert!(heartbeat.data["at_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_client_that_fell_behind_is_told_so_and_goes_on_from_the_journal() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let first = api.state.now().seq.0 + 1;
    let mut stream = api.stream("?types=fact&heartbeat_s=300", None).await;
    // More than the feed and the sockets keep, while nobody reads.
    let fact = crate::fact::Fact::Operator(crate::fact::OperatorFact {
        event: crate::fact::OperatorEvent::MassEventCleared,
        by: None,
    });
    for _ in 0..6 {
        api.facts.submit(vec![fact.clone(); 4_000]).await.unwrap();
    }
    let last = api.state.now().seq.0;
    let events = stream.until(|event| event.id.parse::<u64>().unwrap() >= last).await;
    assert!(events.iter().any(|event| event.name == "behind"), "it was not slow enough to be told");
    assert_eq!(seqs(&events), (first..=last).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_removed_node_is_told_as_gone_also_to_who_was_away() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("?types=node", None).await;
    let first = [stream.next().await, stream.next().await];
    let id: crate::model::NodeId = serde_json::from_value(first[0].data["id"].clone()).unwrap();
    let name: crate::model::Name = serde_json::from_value(first[0].data["name"].clone()).unwrap();
    let event = crate::fact::OperatorEvent::NodeRemoved { node: id, name: name.clone() };
    let fact = crate::fact::Fact::Operator(crate::fact::OperatorFact { event, by: None });
    api.facts.submit(vec![fact]).await.unwrap();
    for mut stream in [stream, api.stream("?types=node", Some(&first[1].id)).await] {
        let gone = stream.until(|event| event.data["node"].is_null()).await.pop().unwrap();
        assert_eq!((&gone.data["name"], &gone.data["id"]), (&json!(name), &json!(id)));
    }
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    for query in ["after=x", "after=999999", "types=none", "kind=none", "heartbeat_s=0", "nodes=n9", "limit=3"] {
        let (status, problem) = api.get(&format!("/api/v1/stream?{query}")).await;
        assert!(matches!(status.as_u16(), 400 | 404), "{query}: {problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_node_that_comes_to_be_selected_is_told_and_one_that_no_longer_is_is_told_as_gone() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut stream = api.stream("?types=node&labels=rack%3Dr2", None).await;
    for rack in ["r2", "r1"] {
        let body = json!({"labels": {"rack": rack}}).to_string();
        let request = Request::patch("/api/v1/nodes/n1").header("content-type", "application/json");
        let response = api.send(request.body(Full::from(body)).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let event = stream.next().await;
        assert_eq!((event.name.as_str(), &event.data["name"]), ("node", &json!("n1")));
        assert_eq!(event.data["node"].is_null(), rack == "r1", "{event:?}");
    }
}
