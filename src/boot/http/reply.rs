//! What to answer to a request for a file that is there: all of it, a part, or word that the client has it already.
//!
//! Pure: a decision from the file's length and entity tag and the request's fields.
//! Specification: RFC 9110, sections 9.3.1 and 9.3.2 (GET, HEAD), 13.1 and 13.2 (conditions and their order), 14
//! (Range). Only strong tags are given out, so a weak one never matches where a strong comparison is asked for.
//!
//! Invariants: a part lies within the file and is not empty. A `Range` that is no range is as good as none (14.2), and so
//! is one of several ranges: a server may answer with the whole, and nothing that boots asks for several.
//!
//! Deliberately absent: dates. No `Last-Modified` is given out, so `If-Modified-Since` has nothing to compare with, and
//! an `If-Range` with a date does not match.

/// A method that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
}

impl Method {
    /// What to say of methods in `Allow`.
    pub const ALLOWED: &'static str = "GET, HEAD";

    /// The method by its name, which has regard to case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Method::Get),
            "HEAD" => Some(Method::Head),
            _ => None,
        }
    }
}

/// The fields of a request that the answer depends on; the values of a repeated field joined by commas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// `Range`.
    pub range: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first byte's offset.
    pub first: u64,
    /// The last byte's offset.
    pub last: u64,
}

impl Part {
    /// How long the part is, in bytes.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 200: all of it.
    Whole,
    /// 206: a part.
    Partial(Part),
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client means.
    PreconditionFailed,
    /// 416: the file has no such part.
    Unsatisfiable,
}

/// Decides the answer for a file of `length_bytes` with the strong entity tag `etag`, quotes included.
#[must_use]
pub fn decide(method: Method, fields: Fields<'_>, length_bytes: u64, etag: &str) -> Reply {
    if fields.if_match.is_some_and(|tags| !lists(tags, etag, Comparison::Strong)) {
        return Reply::PreconditionFailed;
    }
    if fields.if_none_match.is_some_and(|tags| lists(tags, etag, Comparison::Weak)) {
        return Reply::NotModified;
    }
    let (Method::Get, Some(range)) = (method, fields.range) else { return Reply::Whole };
    if fields.if_range.is_some_and(|tag| tag.trim() != etag) {
        return Reply::Whole;
    }
    match parse_range(range) {
        Some(range) => range.of(length_bytes).map_or(Reply::Unsatisfiable, Reply::Partial),
        None => Reply::Whole,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of tags names `etag`, or is `*`. Our tags hold no comma, so that splitting at commas is enough.
fn lists(tags: &str, etag: &str, comparison: Comparison) -> bool {
    let named = |tag: &str| match comparison {
        Comparison::Strong => tag == etag,
        Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag) == etag,
    };
    tags.trim() == "*" || tags.split(',').any(|tag| named(tag.trim()))
}

/// One range, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    From { first: u64, last: Option<u64> },
    Suffix { length_bytes: u64 },
}

impl Asked {
    fn of(self, length_bytes: u64) -> Option<Part> {
        let end = length_bytes.checked_sub(1)?;
        match self {
            Asked::From { first, .. } if first > end => None,
            Asked::From { first, last } => Some(Part { first, last: last.unwrap_or(end).min(end) }),
            Asked::Suffix { length_bytes: 0 } => None,
            Asked::Suffix { length_bytes: suffix } => {
                Some(Part { first: length_bytes.saturating_sub(suffix), last: end })
            }
        }
    }
}

/// One range in bytes; nothing where the field is malformed, in another unit, or names several.
fn parse_range(field: &str) -> Option<Asked> {
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = set.split(',').map(str::trim).filter(|range| !range.is_empty());
    let (first, last) = ranges.next()?.split_once('-')?;
    if ranges.next().is_some() {
        return None;
    }
    match (first, last) {
        ("", suffix) => Some(Asked::Suffix { length_bytes: number(suffix)? }),
        (first, "") => Some(Asked::From { first: number(first)?, last: None }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From { first, last: Some(last) })
        }
    }
}

/// Digits alone; a number too large for any file is the largest one.
fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
