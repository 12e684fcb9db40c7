//! Answers and refusals as HTTP responses.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::port::SubmitError;
use crate::port::document::Problem;

/// An answer's body.
pub(super) type Body = BoxBody<Bytes, std::convert::Infallible>;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    allow: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        Refusal { status, kind, title, detail, allow: None }
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let detail = format!("there is nothing at {path}; the API is under /api/v1");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-path", "No such path", detail)
    }

    pub(super) fn method(allow: &str) -> Self {
        let detail = format!("this path takes {allow}");
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail);
        Refusal { allow: Some(allow.to_owned()), ..refusal }
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

    pub(super) fn foreign_host() -> Self {
        let detail = "the API answers to loopback addresses and to localhost alone".to_owned();
        Refusal::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", "Not this host", detail)
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

    pub(super) fn into_response(self) -> Response<Body> {
        let problem = Problem {
            kind: format!("urn:bootes:problem:{}", self.kind),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = json_with(self.status, "application/problem+json", &problem);
        if let Some(allow) = self.allow.and_then(|allow| allow.parse().ok()) {
            response.headers_mut().insert(ALLOW, allow);
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

fn json_with<T: Serialize>(status: StatusCode, kind: &'static str, document: &T) -> Response<Body> {
    let (status, text) = match serde_json::to_vec(document) {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    respond(status, kind, Full::new(text.into()).boxed())
}

/// A response of this kind.
pub(super) fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
