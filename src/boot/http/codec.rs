//! The heads of requests and answers: decode and encode.
//!
//! Purpose: turn the bytes that a client sent into a [`Head`], and an answer's head into bytes.
//! Specification: RFC 9112, sections 2 to 6 and 9.3 (when a connection is kept); RFC 9110, section 7.6.1 (`Connection`).
//!
//! Invariants:
//! - No input panics. What is decoded is a whole head; a part of one is asked to be continued until [`HEAD_MAX_BYTES`].
//! - Nothing of a request's body is ever read, since nothing here takes one: where a body is announced, the connection
//!   ends with the answer, so that a body cannot be taken for the next request.
//! - A request without `Host` is served, since nothing here depends on it and not all loaders send one.
//!
//! Deliberately absent: what a request means (`route`), chunked bodies, trailers, upgrades.

use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response;
use hyper::{Method, Request, Uri};

/// Longest head of a request, in bytes; a longer one is answered with 431.
pub const HEAD_MAX_BYTES: usize = 16 << 10;
/// Most fields of a request; one with more is answered with 431.
pub const FIELDS_MAX: usize = 64;

/// Whether a connection is good for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is.
    Keep,
    /// It ends with this answer.
    Close,
}

/// The head of one request.
#[derive(Debug)]
pub struct Head {
    /// Method, target and fields.
    pub request: Request<()>,
    /// How long it is, in bytes; what follows is the next one.
    pub length_bytes: usize,
    /// Whether the client wants to ask again.
    pub after: After,
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The head does not end.
    #[error("the request's head is longer than {HEAD_MAX_BYTES} bytes or has more than {FIELDS_MAX} fields; send less")]
    TooLong,
    /// Another protocol, or another version of this one.
    #[error("the version is not HTTP/1.0 or HTTP/1.1; speak one of these")]
    Version,
    /// The bytes are not HTTP.
    #[error("the bytes are no HTTP request; something else speaks on this port")]
    Malformed,
}

impl DecodeError {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            DecodeError::TooLong => 431,
            DecodeError::Version => 505,
            DecodeError::Malformed => 400,
        }
    }
}

/// Decodes the head that `bytes` begin with; nothing when there is more to come.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Option<Head>, DecodeError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let length_bytes = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length_bytes)) if length_bytes <= HEAD_MAX_BYTES => length_bytes,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(DecodeError::TooLong),
        Err(httparse::Error::Version) => return Err(DecodeError::Version),
        Err(_) => return Err(DecodeError::Malformed),
    };
    let method = parsed.method.and_then(|method| method.parse::<Method>().ok()).ok_or(DecodeError::Malformed)?;
    let target = parsed.path.and_then(|path| path.parse::<Uri>().ok()).ok_or(DecodeError::Malformed)?;
    let mut request = Request::new(());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| DecodeError::Malformed)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| DecodeError::Malformed)?;
        request.headers_mut().append(name, value);
    }
    let after = after(parsed.version, request.headers());
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    Ok(Some(Head { request, length_bytes, after }))
}

fn after(version: Option<u8>, fields: &HeaderMap) -> After {
    let says = |word: &str| {
        let values = fields.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    let announced = fields.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if announced || fields.contains_key(TRANSFER_ENCODING) || says("close") {
        return After::Close;
    }
    if version == Some(1) || says("keep-alive") { After::Keep } else { After::Close }
}

/// Appends an answer's head to `out`; `date` is the moment, as RFC 9110, section 5.6.7 writes it.
pub fn encode(head: &response::Parts, date: &str, after: After, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let connection = match after {
        // What is said anyway in 1.1 has to be said to a client of 1.0.
        After::Keep => "keep-alive",
        After::Close => "close",
    };
    let own = [(DATE.as_str(), date.as_bytes()), (CONNECTION.as_str(), connection.as_bytes())];
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in own.into_iter().chain(fields) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
