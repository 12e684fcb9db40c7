//! What each row of [`super::routes::ROUTES`] takes besides its path, and the forms in which it answers: for checking
//! requests, and for the API's description.
//!
//! Invariant: a parameter that is not named here is refused, so that a typing error never asks for something else.
//! Absent on purpose: the types of bodies and answers, which the handlers and the description's tests know.

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::ACCEPT;

use super::ask::Query;
use super::media::{Form, choose};
use super::reply::Refusal;
use super::routes::Handler;

/// A parameter of a request, in its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its name.
    pub(super) name: &'static str,
    /// What it says, in one sentence.
    pub(super) doc: &'static str,
}

const fn parameter(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, doc }
}

const NODES: Parameter = parameter("nodes", "Only these nodes: a node set such as n[1-3,7],login1.");
const POOL: Parameter = parameter("pool", "Only nodes of this pool.");
const LABELS: Parameter = parameter("labels", "Only nodes with these labels, as in rack=r1,gpu,!old.");
const WHERE: Parameter =
    parameter("where", "Only nodes of which this holds, as in run!=sync; it may be given several times.");
const PATHS: Parameter = parameter("path", "The variables, joined by commas.");
const APPROVE: Parameter = parameter("approve", "The id of the plan that was seen: exactly that is done, or nothing.");
const FORMAT: Parameter = parameter("format", "json, dot or svg; stands before Accept.");
const ARCH: Parameter = parameter("arch", "As a client of this architecture is told: a number of option 93.");
const VENDOR_CLASS: Parameter = parameter("vendor_class", "As a client of this vendor class is told.");
const USER_CLASS: Parameter =
    parameter("user_class", "As a client of this user class is told; it may be given several times.");
const KIND: Parameter = parameter("kind", "Only facts of these kinds, joined by commas; see /api/v1/kinds.");
const AT: Parameter = parameter("at", "As it was then: a time in UTC, how long ago (-10m), or a fact (seq:123).");
const STANDING: Parameter = parameter("standing", "Only machines that are this: unknown, node or refused.");
const ONLY: Parameter = parameter("only", "One part of the answer alone: items or together.");
const DIFF: &[Parameter] = &[
    NODES,
    POOL,
    LABELS,
    WHERE,
    parameter("from", "Since then: a time in UTC, how long ago (-10m), or a fact (seq:123)."),
    parameter("to", "Until then; now when it is not given."),
];
const BOOT_ANSWER: &[Parameter] = &[
    parameter("node", "The node, by its name or id; or 'mac'."),
    parameter("mac", "The machine's hardware address, also of one that is no node."),
    parameter("arch", "An architecture that it says (option 93); it may be given several times."),
    parameter("http", "true when it boots by HTTP."),
    parameter("vendor_class", "Its vendor class (option 60)."),
    parameter("user_class", "Its user class (option 77); it may be given several times."),
];
const EVENTS: &[Parameter] = &[
    NODES,
    POOL,
    LABELS,
    WHERE,
    KIND,
    parameter("after", "Only facts after this place in the journal, the oldest of them."),
    parameter("since", "Only facts from then on: a time in UTC, how long ago (-10m), or a fact (seq:123)."),
    parameter("until", "Only facts until then."),
    parameter("since_ms", "Only facts from this time on, in milliseconds since 1970."),
    parameter("limit", "At most so many; the newest, unless 'after' is given."),
];
const STREAM: &[Parameter] = &[
    parameter("types", "fact, node or both, joined by a comma; both when it is not given."),
    NODES,
    POOL,
    LABELS,
    WHERE,
    KIND,
    parameter("after", "The id of the last event that was taken; the header Last-Event-ID stands before it."),
    parameter("heartbeat_s", "Seconds of silence after which there is a heartbeat, 1 to 300; 15 when it is not given."),
];

/// The parameters that a request may have.
pub(super) fn parameters(handler: Handler) -> &'static [Parameter] {
    match handler {
        Handler::Nodes => &[NODES, POOL, LABELS, WHERE, AT],
        Handler::Why | Handler::Timeline => &[NODES, POOL, LABELS, WHERE, ONLY],
        Handler::PatchNodes | Handler::DeleteNodes => &[NODES, POOL, LABELS, WHERE],
        Handler::Values => &[NODES, POOL, LABELS, WHERE, PATHS],
        Handler::Diff => DIFF,
        Handler::BootAnswer => BOOT_ANSWER,
        Handler::Machines => &[STANDING],
        Handler::Apply | Handler::Goals => &[APPROVE],
        Handler::Events => EVENTS,
        Handler::Stream => STREAM,
        Handler::Graph | Handler::NodeGraph => &[FORMAT],
        Handler::ExplainLease => &[ARCH, VENDOR_CLASS, USER_CLASS],
        Handler::Version
        | Handler::Leases
        | Handler::ReleaseLease
        | Handler::Health
        | Handler::Modules
        | Handler::Node
        | Handler::Machine
        | Handler::EnrollMachine
        | Handler::EnrollMachines
        | Handler::RefuseMachine
        | Handler::WebSocket
        | Handler::PlanGoals
        | Handler::Freeze
        | Handler::Thaw
        | Handler::Mutations
        | Handler::SwitchMutation
        | Handler::SetTimeout
        | Handler::SwitchModule
        | Handler::MassEvent
        | Handler::ClearMassEvent
        | Handler::Cluster
        | Handler::CreateNodes
        | Handler::PutNode
        | Handler::PatchNode
        | Handler::DeleteNode
        | Handler::Desired
        | Handler::SetDesired
        | Handler::TakeBackDesired
        | Handler::Observed
        | Handler::Pools
        | Handler::Defaults
        | Handler::Networks
        | Handler::Cakes
        | Handler::Targets
        | Handler::Variables
        | Handler::Extensions
        | Handler::Kinds
        | Handler::OpenApi
        | Handler::Plan
        | Handler::Power
        | Handler::PowerStatus
        | Handler::Release
        | Handler::Whoami
        | Handler::Certificate
        | Handler::Tokens
        | Handler::CreateToken
        | Handler::RevokeToken => &[],
    }
}

/// The forms in which a request is answered, the usual one first.
pub(super) fn forms(handler: Handler) -> &'static [Form] {
    match handler {
        Handler::Graph | Handler::NodeGraph => &[Form::Json, Form::Dot, Form::Svg],
        Handler::Stream => &[Form::Events],
        _ => &[Form::Json],
    }
}

/// Checks what every request has in common, and chooses the form of the answer.
pub(super) fn check(handler: Handler, request: &Request<Incoming>) -> Result<Form, Refusal> {
    let (query, forms) = (Query::of(request)?, forms(handler));
    let known: Vec<&str> = parameters(handler).iter().map(|parameter| parameter.name).collect();
    if let Some(name) = query.names().find(|name| !known.contains(name)) {
        return Err(Refusal::no_such_parameter(name, &known));
    }
    if let Some(word) = query.get("format") {
        let words: Vec<&str> = forms.iter().map(|form| form.word()).collect();
        let wrong = || Refusal::bad_request(format!("'{word}' is no form of this answer: use {}", words.join(", ")));
        return forms.iter().find(|form| form.word() == word).copied().ok_or_else(wrong);
    }
    // Several headers are one (RFC 9110, section 5.3).
    let accept: Vec<&str> = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = accept.join(",");
    choose(Some(accept.as_str()), forms).ok_or_else(|| Refusal::not_acceptable(forms))
}
