//! Which form of an answer a client takes: `Accept` (RFC 9110, section 12.5.1), and `?format=` before it.
//!
//! Absent on purpose: languages, charsets and encodings; there is one of each.

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON (RFC 8259).
    Json,
    /// A stream of server-sent events (the HTML standard, section 9.2).
    Events,
    /// DOT, for graphviz.
    Dot,
    /// SVG 1.1.
    Svg,
}

impl Form {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Events => "text/event-stream",
            Form::Dot => "text/vnd.graphviz",
            Form::Svg => "image/svg+xml",
        }
    }

    /// The word by which `?format=` names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Form::Json => "json",
            Form::Events => "sse",
            Form::Dot => "dot",
            Form::Svg => "svg",
        }
    }
}

/// The form among `offered` that `accept` likes best; of several the first. Without a word everything is liked.
#[must_use]
pub fn choose(accept: Option<&str>, offered: &[Form]) -> Option<Form> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return offered.first().copied() };
    let mut best: Option<(Form, u16)> = None;
    for form in offered {
        let liking = liking(accept, form.media_type());
        if liking > best.map_or(0, |(_, liking)| liking) {
            best = Some((*form, liking));
        }
    }
    best.map(|(form, _)| form)
}

/// How much, in thousandths: the weight of the most exact range that fits (section 12.5.1).
fn liking(accept: &str, media_type: &str) -> u16 {
    let whole_kind = media_type.split('/').next().unwrap_or_default();
    let mut found: Option<(u8, u16)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let exactness = match name.split_once('/') {
            _ if name == media_type => 3,
            Some((kind, "*")) if kind == whole_kind => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).map_or(1_000, thousandths);
        if found.is_none_or(|(known, _)| exactness > known) {
            found = Some((exactness, weight));
        }
    }
    found.map_or(0, |(_, weight)| weight)
}

fn thousandths(weight: &str) -> u16 {
    let (whole, rest) = weight.trim().split_once('.').unwrap_or((weight.trim(), ""));
    if whole == "1" {
        return 1_000;
    }
    let digits: String = rest.chars().chain("000".chars()).take(3).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_is_liked_best_is_chosen_and_the_first_of_equals() {
        let graph = [Form::Json, Form::Dot, Form::Svg];
        for (accept, form) in [
            (None, Some(Form::Json)),
            (Some(""), Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("image/svg+xml"), Some(Form::Svg)),
            (Some("IMAGE/SVG+XML"), Some(Form::Svg)),
            (Some("text/html, image/*;q=0.9, */*;q=0.1"), Some(Form::Svg)),
            (Some("application/json;q=0.5, text/vnd.graphviz"), Some(Form::Dot)),
            (Some("*/*, application/json;q=0"), Some(Form::Dot)),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (Some("application/json;q=0.001"), Some(Form::Json)),
            (Some(";;;,,q="), None),
        ] {
            assert_eq!(choose(accept, &graph), form, "{accept:?}");
        }
    }
}
