//! The other end of a stream of server-sent events (the HTML standard, section 9.2.6).
//!
//! The appliance sends a heartbeat when nothing happens, so silence means that the connection has died.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::error::CliError;

/// Bytes of one event; a longer one ends the stream.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// A stream that is silent for so long has died: three heartbeats and a little.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub name: String,
    /// Its place in the stream.
    pub id: Option<String>,
    data: String,
    url: String,
}

impl Event {
    /// What it says.
    ///
    /// # Errors
    /// When it is not such a document.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        let odd = |error: serde_json::Error| odd(&self.url, error.to_string());
        serde_json::from_str(&self.data).map_err(odd)
    }
}

/// The events of a stream.
#[derive(Debug)]
pub struct Events {
    url: String,
    body: Incoming,
    rest: Vec<u8>,
}

fn odd(url: &str, detail: String) -> CliError {
    CliError::NotUnderstood { url: url.to_owned(), detail }
}

impl Events {
    /// The events of this body.
    #[must_use]
    pub fn new(url: String, body: Incoming) -> Self {
        Events { url, body, rest: Vec::new() }
    }

    /// The next event; nothing when the stream has ended.
    ///
    /// # Errors
    /// When the connection broke, or what came is no stream of events.
    pub async fn next(&mut self) -> Result<Option<Event>, CliError> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.rest.drain(..end + 2).collect();
                let text = String::from_utf8(block).map_err(|error| odd(&self.url, error.to_string()))?;
                match parse(&text) {
                    Some(event) => return Ok(Some(Event { url: self.url.clone(), ..event })),
                    None => continue,
                }
            }
            if self.rest.len() > EVENT_BYTES_MAX {
                return Err(odd(&self.url, format!("an event has more than {EVENT_BYTES_MAX} bytes")));
            }
            let broken = |detail: String| CliError::Broken { url: self.url.clone(), detail };
            match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => return Err(broken("it is silent".to_owned())),
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => self.rest.extend(frame.data_ref().into_iter().flatten()),
                Ok(Some(Err(error))) => return Err(broken(error.to_string())),
            }
        }
    }
}

/// One block of lines as an event; one without data is none.
fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    (!data.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_lines_is_an_event_and_comments_and_pauses_are_none() {
        let event = parse(": hello\nevent: fact\nid: 12.9\ndata: {\"seq\":\ndata:12}\n").unwrap();
        assert_eq!((event.name.as_str(), event.id.as_deref()), ("fact", Some("12.9")));
        assert_eq!(event.read::<serde_json::Value>().unwrap()["seq"], 12);
        assert_eq!(parse("retry: 1000\n"), None);
        assert_eq!(parse(":\n"), None);
    }
}
