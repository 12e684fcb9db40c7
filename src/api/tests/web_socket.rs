//! Streams over WebSocket, with a foreign client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::*;

struct Client(WebSocketStream<UnixStream>);

impl Appliance {
    async fn web_socket(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async("ws://localhost/api/v1/ws", stream).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        Client(socket)
    }
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("nothing came");
            match message.expect("the connection ended").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The messages up to the first of this type.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next().await);
            if messages.last().unwrap()["type"] == kind {
                return messages;
            }
        }
    }
}

/// Kraken's fault: its unsubscribe subscribed.
#[tokio::test]
async fn unsubscribe_unsubscribes_and_never_subscribes() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut client = api.web_socket().await;

    // Of what there is not: refused, and nothing begins.
    client.send(json!({"type": "unsubscribe", "id": "a"})).await;
    let refused = client.next().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("a")), "{refused}");
    assert_eq!(refused["problem"]["type"], "urn:bootes:problem:no-such-subscription");
    api.set_power("n1", "off").await;
    client.send(json!({"type": "ping"})).await;
    assert_eq!(client.next().await, json!({"type": "pong"}), "nothing of what happened is told");

    // Of what there is: the last thing that is heard of it is the acknowledgement.
    client.send(json!({"type": "subscribe", "id": "a", "types": ["fact"]})).await;
    assert_eq!(client.next().await, json!({"type": "ack", "id": "a", "of": "subscribe"}));
    api.set_power("n1", "on").await;
    assert_eq!(client.next().await["type"], "event");
    for power in ["off", "on", "off", "on"] {
        api.set_power("n1", power).await;
    }
    client.send(json!({"type": "unsubscribe", "id": "a"})).await;
    assert_eq!(client.until("ack").await.pop().unwrap(), json!({"type": "ack", "id": "a", "of": "unsubscribe"}));
    api.set_power("n2", "off").await;
    client.send(json!({"type": "ping"})).await;
    assert_eq!(client.next().await, json!({"type": "pong"}), "after the acknowledgement nothing comes");

    // A second time it is what there is not.
    client.send(json!({"type": "unsubscribe", "id": "a"})).await;
    assert_eq!(client.next().await["type"], "error");
    api.set_power("n2", "on").await;
    client.send(json!({"type": "ping"})).await;
    assert_eq!(client.next().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn one_of_many_subscriptions_ends_and_the_others_go_on() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut client = api.web_socket().await;
    client.send(json!({"type": "subscribe", "id": "facts", "types": ["fact"], "kinds": ["operator"]})).await;
    client.send(json!({"type": "subscribe", "id": "n2", "types": ["node"], "nodes": "n2"})).await;
    client.until("event").await;
    client.send(json!({"type": "unsubscribe", "id": "n2"})).await;
    client.until("ack").await;
    api.set_power("n2", "off").await;
    let event = client.until("event").await.pop().unwrap();
    assert_eq!((&event["id"], &event["event"]), (&json!("facts"), &json!("fact")), "{event}");
    assert_eq!(event["data"]["what"].as_str().unwrap().split(',').next(), Some("asked for power=off"));
}

#[tokio::test]
async fn a_subscription_is_resumed_on_another_connection_by_its_cursor() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut client = api.web_socket().await;
    client.send(json!({"type": "subscribe", "id": "a", "types": ["fact"], "after": "0"})).await;
    client.next().await;
    let (first, second) = (client.next().await, client.next().await);
    assert_eq!((&first["data"]["seq"], &second["data"]["seq"]), (&json!(1), &json!(2)));
    drop(client);
    api.set_power("n1", "off").await;
    let mut client = api.web_socket().await;
    client.send(json!({"type": "subscribe", "id": "b", "types": ["fact"], "after": second["cursor"]})).await;
    client.next().await;
    let last = api.get("/api/v1/events?limit=1").await.1["items"][0]["seq"].as_u64().unwrap();
    for seq in 3..=last {
        assert_eq!(client.next().await["data"]["seq"], seq);
    }
}

#[tokio::test]
async fn a_message_that_is_wrong_is_answered_and_ends_nothing() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    let mut client = api.web_socket().await;
    client.send(json!({"type": "subscribe", "id": "a"})).await;
    client.until("event").await;
    for (message, kind) in [
        (json!("hello"), "bad-request"),
        (json!({"type": "subscribe"}), "bad-request"),
        (json!({"type": "subscribe", "id": "b", "node": "n1"}), "bad-request"),
        (json!({"type": "subscribe", "id": ""}), "bad-request"),
        (json!({"type": "subscribe", "id": "x".repeat(101)}), "bad-request"),
        (json!({"type": "subscribe", "id": "b", "nodes": "n9"}), "no-such-node"),
        (json!({"type": "subscribe", "id": "b", "kinds": ["none"]}), "bad-request"),
        (json!({"type": "subscribe", "id": "b", "after": "99999"}), "bad-request"),
        (json!({"type": "subscribe", "id": "a"}), "conflict"),
        (json!({"type": "dance"}), "bad-request"),
    ] {
        client.send(message.clone()).await;
        let refused = client.until("error").await.pop().unwrap();
        assert_eq!(refused["problem"]["type"], format!("urn:bootes:problem:{kind}"), "{message}: {refused}");
    }
    for id in 1..crate::model::limits::API_SUBSCRIPTIONS_MAX {
        client
            .send(json!({"type": "subscribe", "id": id.to_string(), "kinds": ["malformed"], "types": ["fact"]}))
            .await;
        client.until("ack").await;
    }
    client.send(json!({"type": "subscribe", "id": "one too many"})).await;
    assert_eq!(client.until("error").await.pop().unwrap()["problem"]["status"], 409);
    client.send(json!({"type": "ping"})).await;
    client.until("pong").await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_and_what_is_no_text_ends_the_connection() {
    let api = appliance().await;
    let (status, problem) = api.get("/api/v1/ws").await;
    assert_eq!((status.as_u16(), &problem["type"]), (426, &json!("urn:bootes:problem:no-web-socket")));
    let mut client = api.web_socket().await;
    client.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = client.0.next().await else { panic!("the connection goes on") };
    assert_eq!(u16::from(close.code), 1003);
    let mut client = api.web_socket().await;
    client.0.send(Message::text("x".repeat(crate::model::limits::API_MESSAGE_BYTES_MAX + 1))).await.unwrap();
    assert!(!matches!(client.0.next().await, Some(Ok(Message::Text(_)))));
}

#[tokio::test]
async fn the_connection_ends_with_the_token_and_with_the_appliance() {
    let api = appliance().await;
    let token = api.create(&json!({"name": "look", "role": "viewer"})).await;
    let stream = UnixStream::connect(&api.socket).await.unwrap();
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request("ws://localhost/api/v1/ws")
            .unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut guest, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut root = api.web_socket().await;
    let request = Request::delete("/api/v1/tokens/look").body(Full::default()).unwrap();
    assert_eq!(api.send(request).await.status(), StatusCode::OK);
    let Some(Ok(Message::Close(Some(close)))) = guest.next().await else { panic!("the connection goes on") };
    assert_eq!(u16::from(close.code), 1008);
    api.shutdown.cancel();
    let Some(Ok(Message::Close(Some(close)))) = root.0.next().await else { panic!("the connection goes on") };
    assert_eq!(u16::from(close.code), 1001);
}
