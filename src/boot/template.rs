//! Boot files that are written for each node: iPXE scripts, GRUB and pxelinux configurations, user-data, preseeds.
//!
//! Purpose: [`render`], one pure function from a template's text, a node and the state to the text that the machine gets.
//! The language is Jinja's, as minijinja reads it.
//!
//! Invariants:
//! - A name that is not there is an error and never an empty text, so that a misspelt variable is found when the
//!   description is applied and not when a machine does not boot.
//! - No secret is among the values: sealed values, BMCs, tokens and users are left out, and no function reaches the state.
//! - Nothing is escaped, and nothing is read but the template itself: there is no `include`, no file, no network, no clock.
//! - Work and length are bounded by [`FUEL`], [`TEMPLATE_BYTES_MAX`] and [`RENDERED_BYTES_MAX`].
//!
//! Deliberately absent: reading templates from their folder, and who may have what was rendered (`http`, `tftp`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value as Json, json};
use thiserror::Error;

use crate::model::{Value, VarPath};
use crate::state::{Node, State};

#[cfg(test)]
mod tests;

/// Longest template, in bytes; a longer one is refused.
pub const TEMPLATE_BYTES_MAX: usize = 256 << 10;
/// Longest text that comes out of a template, in bytes; a longer one is refused.
pub const RENDERED_BYTES_MAX: usize = 1 << 20;
/// How much work one rendering may be, in minijinja's units (about one an instruction); a loop beyond it is refused.
pub const FUEL: u64 = 1_000_000;

/// A template: its name, by which errors speak of it, and its text.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// The name.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

/// What a template may know besides the node and the state.
#[derive(Debug, Clone)]
pub struct Place {
    /// The HTTP boot server, as the machine reaches it.
    pub http: SocketAddr,
    /// Further values, each a word of its own: what is known only where the file is given out, such as the URL of
    /// this boot's metadata.
    pub more: BTreeMap<&'static str, String>,
}

/// Why a template gives no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// It is not written as the language wants it.
    #[error("template {template}, line {line}: {detail}; correct it")]
    Syntax {
        /// The template.
        template: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// A variable that it uses is not there for this node.
    #[error(
        "template {template}, line {line}, for node {node}: {detail}; describe what it asks for, or write 'VALUE | default(\"…\")' where it may be missing"
    )]
    Undefined {
        /// The template.
        template: String,
        /// The line, from 1.
        line: usize,
        /// The node.
        node: String,
        /// What is missing.
        detail: String,
    },
    /// It went wrong while it was filled in.
    #[error("template {template}, line {line}, for node {node}: {detail}; correct it")]
    Failed {
        /// The template.
        template: String,
        /// The line, from 1.
        line: usize,
        /// The node.
        node: String,
        /// What went wrong.
        detail: String,
    },
    /// It is too long, or what came out of it is.
    #[error("template {template}: {what} has {length_bytes} bytes, and {max_bytes} are the most; make it shorter")]
    TooLong {
        /// The template.
        template: String,
        /// `its text`, or `what it makes for n1`.
        what: String,
        /// The length in bytes.
        length_bytes: usize,
        /// The most.
        max_bytes: usize,
    },
}

/// The text that `template` makes for `node`.
///
/// # Errors
/// See [`TemplateError`].
pub fn render(template: Template<'_>, node: &Node, state: &State, place: &Place) -> Result<String, TemplateError> {
    let Template { name, text } = template;
    let too_long = |what: String, length_bytes, max_bytes| TemplateError::TooLong {
        template: name.to_owned(),
        what,
        length_bytes,
        max_bytes,
    };
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(too_long("its text".to_owned(), text.len(), TEMPLATE_BYTES_MAX));
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A configuration may need its last line's end.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    let failed = |error: minijinja::Error| named(&error, name, node.spec.name.as_str());
    let parsed = environment.template_from_named_str(name, text).map_err(failed)?;
    let rendered = parsed.render(minijinja::value::Serde(values(node, state, place))).map_err(failed)?;
    if rendered.len() > RENDERED_BYTES_MAX {
        return Err(too_long(format!("what it makes for {}", node.spec.name), rendered.len(), RENDERED_BYTES_MAX));
    }
    Ok(rendered)
}

fn named(error: &minijinja::Error, template: &str, node: &str) -> TemplateError {
    let (template, node, line) = (template.to_owned(), node.to_owned(), error.line().unwrap_or(1));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.kind() {
        ErrorKind::SyntaxError => TemplateError::Syntax { template, line, detail },
        ErrorKind::UndefinedError => TemplateError::Undefined { template, line, node, detail },
        _ => TemplateError::Failed { template, line, node, detail },
    }
}

/// Every name that a template may use, with its value for `node`. A value that is not there is left out, so that using
/// it is an error.
#[must_use]
pub fn values(node: &Node, state: &State, place: &Place) -> Json {
    let spec = &node.spec;
    let mac = spec.mac.to_string();
    let mut about = Map::from_iter([
        ("id".to_owned(), json!(node.id.to_string())),
        ("name".to_owned(), json!(spec.name.as_str())),
        ("mac".to_owned(), json!(mac)),
        ("mac_hyphens".to_owned(), json!(mac.replace(':', "-"))),
        ("ip".to_owned(), json!(spec.ip.to_string())),
        ("labels".to_owned(), json!(spec.labels)),
        ("variables".to_owned(), variables(node)),
    ]);
    let optional = [
        ("pool", spec.pool.as_ref().map(ToString::to_string)),
        ("cake", spec.cake.as_ref().map(ToString::to_string)),
        ("arch", spec.arch.as_ref().map(ToString::to_string)),
        ("platform", spec.platform.as_ref().map(ToString::to_string)),
    ];
    about.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    let mut all = Map::from_iter([
        ("node".to_owned(), Json::Object(about)),
        ("http".to_owned(), json!(place.http.to_string())),
        ("server".to_owned(), json!(place.http.ip().to_string())),
    ]);
    if let Some(cluster) = &state.cluster {
        all.insert("cluster".to_owned(), json!(cluster.as_str()));
    }
    if let Some(network) = state.network_of(node) {
        let mut about = Map::from_iter([
            ("name".to_owned(), json!(network.name.as_str())),
            ("subnet".to_owned(), json!(network.subnet.to_string())),
            ("bits".to_owned(), json!(network.subnet.bits())),
            ("mask".to_owned(), json!(network.subnet.mask().to_string())),
            ("dns".to_owned(), json!(network.dns.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ]);
        about.extend(network.router.map(|router| ("router".to_owned(), json!(router.to_string()))));
        all.insert("network".to_owned(), Json::Object(about));
    }
    all.extend(place.more.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    Json::Object(all)
}

/// What is wanted of the node's variables, nested by the words of their paths: `variables.site.rack`. Images are left
/// out, since they are the agent's business; secrets, since nothing that is served at boot is secret.
fn variables(node: &Node) -> Json {
    let mut root = Map::new();
    for (path, desired) in node.desired.iter().filter(|(path, _)| path.as_image().is_none()) {
        if let Some(value) = plain(&desired.value) {
            put(&mut root, path, value);
        }
    }
    Json::Object(root)
}

/// A path may be the beginning of another one (`boot`, `boot.target`): the shorter one's value is then under `value`.
fn put(root: &mut Map<String, Json>, path: &VarPath, value: Json) {
    let mut place = root;
    let mut words = path.as_str().split('.').peekable();
    while let Some(word) = words.next() {
        let entry = place.entry(word.to_owned()).or_insert(Json::Null);
        if words.peek().is_none() {
            match entry {
                Json::Object(inner) => {
                    inner.insert("value".to_owned(), value);
                }
                other => *other = value,
            }
            return;
        }
        if !entry.is_object() {
            let old = entry.take();
            *entry = match old {
                Json::Null => json!({}),
                old => json!({ "value": old }),
            };
        }
        let Json::Object(inner) = entry else { return };
        place = inner;
    }
}

/// A value as a template sees it; nothing of a secret, nor of what holds one.
fn plain(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Secret(_) => return None,
        Value::Int(number) => json!(number),
        Value::Duration(ms) => json!(ms),
        Value::List(items) => Json::Array(items.iter().map(plain).collect::<Option<_>>()?),
        Value::Map(entries) => {
            let entry = |(key, value): (&String, &Value)| Some((key.clone(), plain(value)?));
            Json::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        other => json!(other.to_string()),
    })
}
