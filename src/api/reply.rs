//! Answers and refusals as HTTP responses.
//!
//! Invariant: everything that leaves the API in JSON is written by [`written`], which writes no secret, not even a sealed
//! one: whatever document a secret stands in, and however deep.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{ALLOW, CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::ser::Formatter;

use super::media::Form;
use super::permit::Verdict;
use crate::model::secret::{SEALED_PREFIX, SECRET_MARK};
use crate::model::{Name, NodeSet, Revision, Role, UnixMs};
use crate::port::SubmitError;
use crate::port::document::Problem;

/// An answer's body.
pub(super) type Body = BoxBody<Bytes, std::convert::Infallible>;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    title: &'static str,
    detail: Box<str>,
    header: Option<(HeaderName, String)>,
    current: Option<Box<serde_json::Value>>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        Refusal { status, kind, title, detail: detail.into(), header: None, current: None }
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let detail = format!("there is nothing at {path}; the API is under /api/v1");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-path", "No such path", detail)
    }

    pub(super) fn method(allow: &str) -> Self {
        let detail = format!("this path takes {allow}");
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail);
        Refusal { header: Some((ALLOW, allow.to_owned())), ..refusal }
    }

    pub(super) fn not_acceptable(offered: &[Form]) -> Self {
        let offered: Vec<&str> = offered.iter().map(|form| form.media_type()).collect();
        let detail = format!("this path answers with {}; name one of these in Accept", offered.join(", "));
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "No such form", detail)
    }

    pub(super) fn no_such_parameter(name: &str, known: &[&str]) -> Self {
        let known = match known {
            [] => "this path takes none".to_owned(),
            known => format!("this path takes {}", known.join(", ")),
        };
        Refusal::bad_request(format!("there is no parameter '{name}': {known}"))
    }

    pub(super) fn no_web_socket() -> Self {
        let detail = "this path speaks WebSocket alone (RFC 6455, version 13): send the headers of its handshake, or \
            take the stream of server-sent events at /api/v1/stream";
        let refusal =
            Refusal::new(StatusCode::UPGRADE_REQUIRED, "no-web-socket", "WebSocket is needed", detail.to_owned());
        Refusal { header: Some((UPGRADE, "websocket".to_owned())), ..refusal }
    }

    pub(super) fn too_many_streams(max: usize) -> Self {
        let detail = format!("there are {max} streams already; end one, or come back later");
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "Too many streams", detail);
        Refusal { header: Some((RETRY_AFTER, "10".to_owned())), ..refusal }
    }

    pub(super) fn no_such_node(names: &[String]) -> Self {
        let detail = format!("there is no node {}; 'bootes get nodes' lists those that there are", names.join(", "));
        Refusal::new(StatusCode::NOT_FOUND, "no-such-node", "No such node", detail)
    }

    pub(super) fn bad_request(detail: impl ToString) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, "bad-request", "The request is malformed", detail.to_string())
    }

    pub(super) fn invalid(detail: impl ToString) -> Self {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "The request contradicts itself or the state",
            detail.to_string(),
        )
    }

    /// The same refusal, saying of what it is.
    pub(super) fn of(self, what: &str) -> Self {
        Refusal { detail: format!("{what}: {}", self.detail).into(), ..self }
    }

    pub(super) fn no_such_variable(detail: impl ToString) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, "no-such-variable", "No such variable", detail.to_string())
    }

    pub(super) fn no_value(detail: String) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, "no-value", "No value", detail)
    }

    /// The writer has seen something older than what there is.
    pub(super) fn stale(node: &Name, revision: Revision, current: Option<serde_json::Value>, etag: String) -> Self {
        let detail = format!(
            "node {node} has changed since: it is at revision {} now, and nothing was written; look at it and try again",
            revision.0
        );
        let refusal = Refusal::new(StatusCode::PRECONDITION_FAILED, "stale", "Something else was seen", detail);
        Refusal { current: current.map(Box::new), header: Some((ETAG, etag)), ..refusal }
    }

    pub(super) fn conflict(detail: String) -> Self {
        Refusal::new(StatusCode::CONFLICT, "conflict", "It is there already", detail)
    }

    pub(super) fn no_such_token(name: &Name) -> Self {
        let detail = format!("there is no token {name}; 'bootes token list' lists those that there are");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-token", "No such token", detail)
    }

    pub(super) fn no_such(what: &'static str, detail: String) -> Self {
        let (kind, title) = match what {
            "mutation" => ("no-such-mutation", "No such mutation"),
            "machine" => ("no-such-machine", "No such machine"),
            _ => ("no-such-module", "No such module"),
        };
        Refusal::new(StatusCode::NOT_FOUND, kind, title, detail)
    }

    pub(super) fn plan_moved(detail: String) -> Self {
        Refusal::new(StatusCode::CONFLICT, "plan-moved", "The plan is another one by now", detail)
    }

    fn unauthenticated(kind: &'static str, title: &'static str, detail: String) -> Self {
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, kind, title, detail);
        let error = if kind == "no-token" { "" } else { ", error=\"invalid_token\"" };
        Refusal { header: Some((WWW_AUTHENTICATE, format!("Bearer realm=\"bootes\"{error}"))), ..refusal }
    }

    pub(super) fn no_token() -> Self {
        let detail = "the API answers those alone who show a token: log in with 'bootes login URL', or send it as \
            'Authorization: Bearer TOKEN'; an administrator makes one with 'bootes token create'";
        Refusal::unauthenticated("no-token", "A token is needed", detail.to_owned())
    }

    pub(super) fn unknown_token() -> Self {
        let detail = "this token is not known here: it was revoked, is incomplete, or is another appliance's; ask an \
            administrator for a new one ('bootes token create') and log in with it ('bootes login URL')";
        Refusal::unauthenticated("unknown-token", "The token is not known", detail.to_owned())
    }

    pub(super) fn expired_token(name: &Name, at: UnixMs) -> Self {
        let detail = format!(
            "the token {name} expired at {at}; ask an administrator for a new one ('bootes token create') and log in with it ('bootes login URL')"
        );
        Refusal::unauthenticated("expired-token", "The token has expired", detail)
    }

    pub(super) fn too_many_failures(after_s: u64) -> Self {
        let detail = format!(
            "too many requests without a valid token came from this address; correct the token, or come back in {after_s} s"
        );
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", "Too many failures", detail);
        Refusal { header: Some((RETRY_AFTER, after_s.to_string())), ..refusal }
    }

    pub(super) fn not_root() -> Self {
        let detail = "the socket is for root of this machine; run the command as root, or log in with a token: \
            'bootes login URL'";
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail.to_owned())
    }

    pub(super) fn forbidden(name: &str, role: Role, scope: Option<&NodeSet>, verdict: &Verdict) -> Self {
        let scope = scope.map_or_else(String::new, |scope| format!(" of {scope}"));
        let what = match verdict {
            Verdict::Allowed | Verdict::Narrowed => "may change nodes alone, and this changes more".to_owned(),
            Verdict::Role(least) => format!("may not do this; the role {least} may"),
            Verdict::OutOfScope(nodes) => format!("may not change {nodes}"),
        };
        let detail = format!(
            "{name} ({role}{scope}) {what}; use another token, or ask an administrator for one that may ('bootes token create')"
        );
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// The past reaches only so far.
    pub(super) fn not_known(detail: impl ToString) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, "not-known", "Not known", detail.to_string())
    }

    pub(super) fn not_json() -> Self {
        let detail = "a change must be sent as Content-Type: application/json".to_owned();
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Not JSON", detail)
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the request's body is longer than {bytes_max} bytes; apply the description in parts");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    pub(super) fn internal(detail: impl ToString) -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The appliance failed", detail.to_string())
    }

    pub(super) fn no_such_subscription(id: &str) -> Self {
        let detail = format!("there is no subscription '{id}' on this connection; nothing was begun or ended");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-subscription", "No such subscription", detail)
    }

    /// What the refusal says, as a document.
    pub(super) fn problem(&self) -> Problem {
        Problem {
            kind: format!("urn:bootes:problem:{}", self.kind),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.to_string(),
            current: self.current.as_deref().cloned(),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let problem = self.problem();
        let mut response = json_with(self.status, "application/problem+json", &problem);
        if let Some((name, Ok(value))) = self.header.map(|(name, value)| (name, value.parse())) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not-durable", "The change was not stored", error.to_string())
    }
}

/// An answer as JSON.
pub(super) fn json<T: Serialize>(document: &T) -> Response<Body> {
    json_with(StatusCode::OK, "application/json", document)
}

/// An answer as JSON, with another status than 200.
pub(super) fn json_with_status<T: Serialize>(status: StatusCode, document: &T) -> Response<Body> {
    json_with(status, "application/json", document)
}

fn json_with<T: Serialize>(status: StatusCode, kind: &'static str, document: &T) -> Response<Body> {
    let (status, text) = match written(document) {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    respond(status, kind, Full::new(text.into()).boxed())
}

/// A document as JSON, without its secrets.
pub(super) fn written<T: Serialize>(document: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut text, WithoutSecrets::default()))?;
    Ok(text)
}

/// Writes compact JSON, with a mark in place of every sealed secret.
#[derive(Debug, Default)]
struct WithoutSecrets {
    begins: bool,
}

impl Formatter for WithoutSecrets {
    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begins = true;
        writer.write_all(b"\"")
    }

    /// A sealed secret is written in one fragment: it has no character that JSON escapes.
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let secret = std::mem::take(&mut self.begins) && fragment.starts_with(SEALED_PREFIX);
        writer.write_all(if secret { SECRET_MARK } else { fragment }.as_bytes())
    }
}

/// What a path takes, to who asks with OPTIONS.
pub(super) fn options(allow: &str) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().extend(allow.parse().ok().map(|allow| (ALLOW, allow)));
    response
}

/// A response of this kind.
pub(super) fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
