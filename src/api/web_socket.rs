//! Streams over WebSocket (RFC 6455): many subscriptions on one connection, each begun and ended by a message.
//!
//! The documents are [`ClientMessage`] and [`ServerMessage`]. Each subscription is a task that waits until what it told is
//! taken, so one that is slow falls behind alone and goes on from the journal.
//!
//! Invariants: after the acknowledgement of an unsubscribe nothing of that subscription is sent; an unsubscribe of what
//! there is not is refused and begins nothing. A message that is wrong is answered and ends nothing. Whoever takes
//! nothing for [`API_STALL_S`], answers no ping, or whose token ends, loses the connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::auth::Caller;
use super::follow::Watch;
use super::reply::{Body, Refusal, written};
use super::{Api, CALLER_LOOK_EVERY};
use crate::engine::now;
use crate::model::limits::{
    API_MESSAGE_BYTES_MAX, API_STALL_S, API_STREAMS_MAX, API_SUBSCRIPTION_ID_BYTES_MAX, API_SUBSCRIPTIONS_MAX,
};
use crate::port::stream::{Acknowledged, ClientMessage, Cursor, ServerMessage, StreamEvent, StreamQuery};

/// Events of all subscriptions that wait to be written.
const WAITING_MAX: usize = 16;
/// Between two pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A client that was not heard for so long is gone.
const HEARD_WITHIN: Duration = Duration::from_secs(45);

/// Answers the handshake (RFC 6455, section 4.2); what follows runs beside.
pub(super) fn open(api: &Arc<Api>, caller: &Caller, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let headers = request.headers();
    let asks = has_word(headers, &CONNECTION, "upgrade") && has_word(headers, &UPGRADE, "websocket");
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24 && asks && version).cloned();
    let (Some(key), Some(upgrade)) = (key, request.extensions_mut().remove::<OnUpgrade>()) else {
        return Err(Refusal::no_web_socket());
    };
    let place = api.streams.clone().try_acquire_owned().map_err(|_| Refusal::too_many_streams(API_STREAMS_MAX))?;
    api.sockets.spawn(serve(api.clone(), caller.clone(), upgrade, place));
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(Refusal::internal)?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}

async fn serve(api: Arc<Api>, caller: Caller, upgrade: OnUpgrade, place: OwnedSemaphorePermit) {
    let _place = place;
    let upgraded = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return tracing::debug!(%error, "a WebSocket handshake came to nothing"),
    };
    let bounds = WebSocketConfig::default()
        .max_message_size(Some(API_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(API_MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(bounds)).await;
    let (told, events) = mpsc::channel(WAITING_MAX);
    let session = Session { api, caller, socket, told, subscriptions: HashMap::new(), tasks: JoinSet::new(), begun: 0 };
    session.run(events).await;
}

/// What a subscription's task tells: an event, or that there are no more.
struct Told {
    id: String,
    /// Tells a subscription from an earlier one of its name.
    number: u64,
    event: Result<(Cursor, StreamEvent), Refusal>,
}

struct Session {
    api: Arc<Api>,
    caller: Caller,
    socket: WebSocketStream<TokioIo<Upgraded>>,
    told: mpsc::Sender<Told>,
    subscriptions: HashMap<String, (u64, AbortHandle)>,
    tasks: JoinSet<()>,
    begun: u64,
}

/// Why a connection ends, as the client is told.
struct End(CloseCode, &'static str);

impl Session {
    async fn run(mut self, mut events: mpsc::Receiver<Told>) {
        let end = self.until_the_end(&mut events).await;
        self.tasks.abort_all();
        if let Some(End(code, reason)) = end {
            tracing::debug!(reason, "a WebSocket connection is closed");
            let close = self.socket.close(Some(CloseFrame { code, reason: reason.into() }));
            // The client may be gone, or take nothing; the connection ends all the same.
            let _ = tokio::time::timeout(Duration::from_secs(1), close).await;
        }
    }

    async fn until_the_end(&mut self, events: &mut mpsc::Receiver<Told>) -> Option<End> {
        let mut heard = Instant::now();
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.reset();
        let mut look = tokio::time::interval(CALLER_LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.api.shutdown.clone().cancelled_owned() => {
                    return Some(End(CloseCode::Away, "the appliance stops"));
                }
                Some(_) = self.tasks.join_next() => {}
                _ = look.tick() => if !self.caller.is_valid(&self.api.context.state.now(), now()) {
                    return Some(End(CloseCode::Policy, "the token has ended"));
                },
                _ = ping.tick() => {
                    if heard.elapsed() > HEARD_WITHIN {
                        return Some(End(CloseCode::Policy, "no ping was answered"));
                    }
                    self.send(Message::Ping(bytes::Bytes::new())).await?;
                }
                Some(told) = events.recv() => self.tell(told).await?,
                message = self.socket.next() => {
                    heard = Instant::now();
                    match message? {
                        Ok(Message::Text(text)) => self.take(&text).await?,
                        Ok(Message::Binary(_)) => {
                            return Some(End(CloseCode::Unsupported, "messages are text: JSON"));
                        }
                        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                        Ok(Message::Close(_)) | Err(_) => return None,
                    }
                }
            }
        }
    }

    async fn take(&mut self, text: &str) -> Option<()> {
        let message: ClientMessage = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => {
                let value: Value = serde_json::from_str(text).unwrap_or_default();
                let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
                return self.refuse(id, Refusal::bad_request(error)).await;
            }
        };
        match message {
            ClientMessage::Ping => self.write(&ServerMessage::Pong).await,
            ClientMessage::Subscribe(subscription) => {
                let (id, query) = subscription.split();
                match self.subscribe(&id, query).await {
                    Ok(watch) => {
                        // Acknowledged first, then begun: nothing of it comes before its acknowledgement.
                        self.write(&ServerMessage::Ack { id: id.clone(), of: Acknowledged::Subscribe }).await?;
                        self.begin(id, watch);
                        Some(())
                    }
                    Err(refusal) => self.refuse(Some(id), refusal).await,
                }
            }
            ClientMessage::Unsubscribe { id } => match self.subscriptions.remove(&id) {
                Some((_, task)) => {
                    task.abort();
                    self.write(&ServerMessage::Ack { id, of: Acknowledged::Unsubscribe }).await
                }
                None => {
                    let refusal = Refusal::no_such_subscription(&id);
                    self.refuse(Some(id), refusal).await
                }
            },
        }
    }

    async fn subscribe(&mut self, id: &str, query: StreamQuery) -> Result<Watch, Refusal> {
        if id.is_empty() || id.len() > API_SUBSCRIPTION_ID_BYTES_MAX {
            return Err(Refusal::bad_request(format!(
                "a subscription's id has 1 to {API_SUBSCRIPTION_ID_BYTES_MAX} bytes"
            )));
        }
        if self.subscriptions.contains_key(id) {
            return Err(Refusal::conflict(format!("there is a subscription '{id}' already; end it first")));
        }
        if self.subscriptions.len() >= API_SUBSCRIPTIONS_MAX {
            return Err(Refusal::conflict(format!(
                "there are {API_SUBSCRIPTIONS_MAX} subscriptions on this connection already; end one first"
            )));
        }
        Watch::begin(self.api.clone(), &query).await
    }

    fn begin(&mut self, id: String, mut watch: Watch) {
        self.begun += 1;
        let (number, told, name) = (self.begun, self.told.clone(), id.clone());
        let task = self.tasks.spawn(async move {
            while let Some(event) = watch.next().await {
                if told.send(Told { id: id.clone(), number, event: Ok(event) }).await.is_err() {
                    return;
                }
            }
            let event = Err(Refusal::internal("the journal cannot be read; subscribe again after the last cursor"));
            // When the connection is gone there is nobody to tell.
            let _ = told.send(Told { id, number, event }).await;
        });
        self.subscriptions.insert(name, (number, task));
    }

    /// Tells what a subscription told, unless it was ended meanwhile.
    async fn tell(&mut self, told: Told) -> Option<()> {
        let Told { id, number, event } = told;
        if self.subscriptions.get(&id).is_none_or(|(current, _)| *current != number) {
            return Some(());
        }
        match event {
            Ok((cursor, event)) => self.write(&ServerMessage::Event { id, cursor, event }).await,
            Err(refusal) => {
                self.subscriptions.remove(&id);
                self.refuse(Some(id), refusal).await
            }
        }
    }

    async fn refuse(&mut self, id: Option<String>, refusal: Refusal) -> Option<()> {
        self.write(&ServerMessage::Error { id, problem: refusal.problem() }).await
    }

    async fn write(&mut self, message: &ServerMessage) -> Option<()> {
        let text = String::from_utf8(written(message).ok()?).ok()?;
        self.send(Message::text(text)).await
    }

    async fn send(&mut self, message: Message) -> Option<()> {
        let sent = tokio::time::timeout(Duration::from_secs(API_STALL_S), self.socket.send(message)).await;
        matches!(sent, Ok(Ok(()))).then_some(())
    }
}
