//! The API's other end: requests and answers as the documents of [`crate::port::document`], over HTTP/1.1 (RFC 9112).
//!
//! An answer carries the appliance's time (its `Date` header), so that ages are right although the operator's clock is
//! not. Refusals are problem documents (RFC 9457).
//! Absent on purpose: TLS and tokens, which come with the API's access control; retries, which are the caller's.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, DATE, HOST};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;

use super::error::CliError;
use super::progress;
use crate::model::UnixMs;
use crate::port::document::Problem;

/// How long the appliance may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take; asking a BMC that is silent takes the longest.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of an answer; a longer one is refused.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Bytes of one line of a stream; a longer one ends the stream.
const LINE_BYTES_MAX: usize = 4 << 20;
const PORT_DEFAULT: u16 = 80;

/// Where the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrl {
    host: String,
    port: u16,
}

/// Why a text is not the API's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not the address of an API: write http://HOST:PORT, as in http://127.0.0.1:8081")]
pub struct ApiUrlError(String);

impl FromStr for ApiUrl {
    type Err = ApiUrlError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ApiUrlError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let port = match uri.port() {
            Some(port) => port.as_str().parse().map_err(|_| wrong())?,
            None => PORT_DEFAULT,
        };
        if !plain || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong());
        }
        Ok(ApiUrl { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The document.
    pub document: T,
    /// The appliance's time when it was given.
    pub now: UnixMs,
}

/// Asks one appliance.
#[derive(Debug)]
pub struct Client {
    url: ApiUrl,
}

impl Client {
    /// A client of the API at `url`; nothing is connected yet.
    #[must_use]
    pub fn new(url: ApiUrl) -> Self {
        Client { url }
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// When the appliance cannot be reached, refuses, or gives another document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<Answer<T>, CliError> {
        self.ask(Method::GET, &query.after(path), Bytes::new()).await
    }

    /// Sends a document and takes the one that answers it.
    ///
    /// # Errors
    /// When the appliance cannot be reached, refuses, or gives another document.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<Answer<T>, CliError> {
        let body = serde_json::to_vec(document).map_err(|error| CliError::Usage(error.to_string()))?;
        self.ask(Method::POST, path, body.into()).await
    }

    /// Opens a stream of documents, one a line.
    ///
    /// # Errors
    /// When the appliance cannot be reached or refuses.
    pub async fn follow(&self, path: &str, query: &Query) -> Result<Lines, CliError> {
        let response = self.send(Method::GET, &query.after(path), Bytes::new()).await?;
        let response = self.accepted(response).await?;
        Ok(Lines { url: self.url.to_string(), body: response.into_body(), rest: Vec::new() })
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<Answer<T>, CliError> {
        let asked = async {
            let response = self.send(method, path, body).await?;
            let response = self.accepted(response).await?;
            let now = time_of(response.headers());
            let bytes = self.whole(response.into_body()).await?;
            let document = serde_json::from_slice(&bytes).map_err(|error| self.odd(&error.to_string()))?;
            Ok(Answer { document, now })
        };
        let within = tokio::time::timeout(ANSWER_WITHIN, asked);
        let waited = || format!("no answer within {} s", ANSWER_WITHIN.as_secs());
        progress::during(&format!("waiting for {}", self.url), within)
            .await
            .unwrap_or_else(|_| Err(self.broken(waited())))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, CliError> {
        let host = self.url.host.trim_start_matches('[').trim_end_matches(']');
        let connect = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect((host, self.url.port)));
        let stream = match connect.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(plain(&error))),
            Err(_) => return Err(self.unreachable(format!("no answer within {} s", CONNECT_WITHIN.as_secs()))),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error.to_string()))?;
        // It ends with the answer or with the process; its error is the request's error too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{}:{}", self.url.host, self.url.port))
            .header(ACCEPT, "application/json, application/x-ndjson, application/problem+json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| CliError::Usage(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| self.broken(error.to_string()))
    }

    /// The response, unless it is a refusal.
    async fn accepted(&self, response: Response<Incoming>) -> Result<Response<Incoming>, CliError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = self.whole(response.into_body()).await?;
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => CliError::Refused { detail: problem.detail },
            Err(_) => self.odd(&format!("it answers with {status}")),
        })
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, CliError> {
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| self.broken(error.to_string()))
    }

    fn unreachable(&self, detail: String) -> CliError {
        CliError::Unreachable { url: self.url.to_string(), detail }
    }

    fn broken(&self, detail: String) -> CliError {
        CliError::Broken { url: self.url.to_string(), detail }
    }

    fn odd(&self, detail: &str) -> CliError {
        CliError::NotUnderstood { url: self.url.to_string(), detail: detail.to_owned() }
    }
}

/// The system's sentence without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn time_of(headers: &HeaderMap) -> UnixMs {
    let told =
        headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(|text| httpdate::parse_http_date(text).ok());
    let since_1970 = told.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMs(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

/// The documents of a stream.
#[derive(Debug)]
pub struct Lines {
    url: String,
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    /// The next document; nothing when the stream has ended.
    ///
    /// # Errors
    /// When the connection broke, or a line is no such document.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CliError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let odd = |error: serde_json::Error| self.odd(error.to_string());
                return serde_json::from_slice(&line).map(Some).map_err(odd);
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(self.odd(format!("a line has more than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.rest.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(CliError::Broken { url: self.url.clone(), detail: error.to_string() }),
            }
        }
    }

    fn odd(&self, detail: String) -> CliError {
        CliError::NotUnderstood { url: self.url.clone(), detail }
    }
}

/// The part of a URL after `?` (RFC 3986, section 3.4).
#[derive(Debug, Default)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// With one more name and value, if there is a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    fn after(&self, path: &str) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        match pairs.as_slice() {
            [] => path.to_owned(),
            pairs => format!("{path}?{}", pairs.join("&")),
        }
    }
}

/// Percent-encoded, but for the unreserved characters (RFC 3986, section 2.3).
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_named_by_host_and_port_and_nothing_else() {
        assert_eq!("http://10.0.0.1:8081".parse(), Ok(ApiUrl { host: "10.0.0.1".into(), port: 8081 }));
        assert_eq!("http://[::1]:8081/".parse(), Ok(ApiUrl { host: "[::1]".into(), port: 8081 }));
        for bad in ["", "10.0.0.1:8081", "https://a:1", "http://", "http://a/b", "http://a?b", "http://u@a"] {
            assert!(bad.parse::<ApiUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn node_sets_travel_percent_encoded() {
        let query = Query::default().with("nodes", Some("n[1-3],a")).with("limit", None::<u32>);
        assert_eq!(query.after("/api/v1/why"), "/api/v1/why?nodes=n%5B1-3%5D%2Ca");
        assert_eq!(Query::default().after("/x"), "/x");
    }
}
