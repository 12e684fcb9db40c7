//! The API's other end: requests and answers as the documents of [`crate::port`], over HTTP/1.1 (RFC 9112).
//!
//! An answer carries the appliance's time (its `Date` header), so that ages are right although the operator's clock is
//! not. Refusals are problem documents (RFC 9457).
//! Absent on purpose: which appliance (see [`super::target`]); retries, which are the caller's.

use std::cell::OnceCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::CliError;
use super::sse::Events;
use super::target::{ApiUrl, Asked, Target};
use super::{connect, progress};
use crate::model::UnixMs;
use crate::port::document::Problem;

/// How long an answer may take; asking a BMC that is silent takes the longest.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of an answer; a longer one is refused.
const ANSWER_BYTES_MAX: usize = 256 << 20;

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
    asked: Asked,
    /// Found out when it is first needed: many commands ask nobody.
    target: OnceCell<Target>,
}

impl Client {
    /// A client of the API that the command line names.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Client { asked, target: OnceCell::new() }
    }

    /// A client of this API.
    #[must_use]
    pub fn at(target: Target) -> Self {
        Client { asked: Asked::default(), target: OnceCell::from(target) }
    }

    fn target(&self) -> Result<&Target, CliError> {
        match self.target.get() {
            Some(target) => Ok(target),
            None => {
                let target = self.asked.resolve()?;
                Ok(self.target.get_or_init(|| target))
            }
        }
    }

    fn url(&self) -> String {
        self.target.get().map_or_else(String::new, |target| target.url.to_string())
    }

    /// Asks for something to be deleted, and takes what it was.
    ///
    /// # Errors
    /// When the appliance cannot be reached, refuses, or gives another document.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, CliError> {
        self.ask(Method::DELETE, path, Bytes::new()).await
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

    /// Asks for an answer in another form than JSON.
    ///
    /// # Errors
    /// When the appliance cannot be reached or refuses, or the answer is no text.
    pub async fn text(&self, path: &str, accept: &'static str) -> Result<String, CliError> {
        let response = self.send(Method::GET, path, Bytes::new(), &[(ACCEPT, accept)]).await?;
        let bytes = self.whole(self.accepted(response).await?.into_body()).await?;
        String::from_utf8(bytes.into()).map_err(|error| self.odd(&error.to_string()))
    }

    /// Opens a stream of events, after the one of the id `last`.
    ///
    /// # Errors
    /// When the appliance cannot be reached or refuses.
    pub async fn stream(&self, path: &str, query: &Query, last: Option<&str>) -> Result<Events, CliError> {
        let mut headers = vec![(ACCEPT, "text/event-stream")];
        headers.extend(last.map(|last| (HeaderName::from_static("last-event-id"), last)));
        let response = self.send(Method::GET, &query.after(path), Bytes::new(), &headers).await?;
        let response = self.accepted(response).await?;
        Ok(Events::new(self.url(), response.into_body()))
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<Answer<T>, CliError> {
        let asked = async {
            let response = self.send(method, path, body, &[(ACCEPT, "application/json")]).await?;
            let response = self.accepted(response).await?;
            let now = time_of(response.headers());
            let bytes = self.whole(response.into_body()).await?;
            let document = serde_json::from_slice(&bytes).map_err(|error| self.odd(&error.to_string()))?;
            Ok(Answer { document, now })
        };
        let within = tokio::time::timeout(ANSWER_WITHIN, asked);
        let waited = || format!("no answer within {} s", ANSWER_WITHIN.as_secs());
        progress::during(&format!("waiting for {}", self.target()?.url), within)
            .await
            .unwrap_or_else(|_| Err(self.broken(waited())))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, CliError> {
        let target = self.target()?;
        let stream = connect::connect(target).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error.to_string()))?;
        // It ends with the answer or with the process; its error is the request's error too.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, host_of(&target.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let mut request = request.map_err(|error| CliError::Usage(error.to_string()))?;
        if let Some(token) = &target.token {
            let header = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut header =
                header.map_err(|_| CliError::Usage("the token holds what no token can; log in again".to_owned()))?;
            header.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, header);
        }
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
            Ok(Problem { detail, current: Some(current), .. }) => {
                CliError::Stale { detail, current: Box::new(current) }
            }
            Ok(Problem { detail, .. }) => CliError::Refused { detail },
            Err(_) => self.odd(&format!("it answers with {status}")),
        })
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, CliError> {
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| self.broken(error.to_string()))
    }

    fn broken(&self, detail: String) -> CliError {
        CliError::Broken { url: self.url(), detail }
    }

    fn odd(&self, detail: &str) -> CliError {
        CliError::NotUnderstood { url: self.url(), detail: detail.to_owned() }
    }
}

fn host_of(url: &ApiUrl) -> String {
    match url {
        ApiUrl::Https { host, port } => format!("{host}:{port}"),
        ApiUrl::Socket(_) => "localhost".to_owned(),
    }
}

fn time_of(headers: &HeaderMap) -> UnixMs {
    let told =
        headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(|text| httpdate::parse_http_date(text).ok());
    let since_1970 = told.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMs(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
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

    /// The path with it.
    #[must_use]
    pub fn after(&self, path: &str) -> String {
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
    fn node_sets_travel_percent_encoded() {
        let query = Query::default().with("nodes", Some("n[1-3],a")).with("limit", None::<u32>);
        assert_eq!(query.after("/api/v1/why"), "/api/v1/why?nodes=n%5B1-3%5D%2Ca");
        assert_eq!(Query::default().after("/x"), "/x");
    }
}
