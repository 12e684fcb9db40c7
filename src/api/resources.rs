//! What there is, for programs: the mutation graph, and everything that a form lets choose from.

use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use hyper::{Response, StatusCode};

use super::Api;
use super::draw;
use super::media::Form;
use super::nodes::known;
use super::reply::{Body, Refusal, json, respond};
use crate::fact::Fact;
use crate::model::Role;
use crate::port::document::OPENAPI;
use crate::port::enumerable::{self, KindsDocument};
use crate::port::graph::GraphDocument;

pub(super) fn graph(api: &Api, form: Form) -> Response<Body> {
    let state = api.context.state.now();
    let graph = api.context.graph.with_modules(&state);
    drawn(&GraphDocument::whole(&graph, &state.control, &api.context.policy), form)
}

pub(super) fn node_graph(api: &Api, name: &str, form: Form) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let node = known(&state, name)?;
    let graph = api.context.graph.with_modules(&state);
    Ok(drawn(&GraphDocument::of_node(&node, &graph, &state.control, &api.context.policy), form))
}

fn drawn(document: &GraphDocument, form: Form) -> Response<Body> {
    let text = match form {
        Form::Dot => draw::dot(document),
        Form::Svg => draw::svg(document),
        Form::Json | Form::Events => return json(document),
    };
    let mut response = respond(StatusCode::OK, form.media_type(), Full::new(text.into()).boxed());
    // A picture that is opened by itself runs nothing and fetches nothing.
    let nothing = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, nothing);
    response
}

pub(super) fn kinds(api: &Api) -> Response<Body> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    json(&KindsDocument {
        events: words(Fact::KINDS),
        reasons: words(enumerable::REASONS),
        holds: words(enumerable::HOLDS),
        stages: enumerable::node_stages(&api.context.state.now().schema),
        timeline_stages: words(enumerable::TIMELINE_STAGES),
        roles: vec![Role::Viewer, Role::Operator, Role::Admin],
    })
}

/// The description of the API. It is a file of the program, made and checked by its tests.
pub(super) fn openapi() -> Response<Body> {
    respond(StatusCode::OK, Form::Json.media_type(), Full::new(OPENAPI.into()).boxed())
}
