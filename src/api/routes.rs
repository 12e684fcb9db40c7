//! The table of everything that the API answers: method, path, what it takes to be allowed, who does it, and one
//! sentence for its documentation.
//!
//! Invariants: no two rows have the same method and path; what is not a row does not exist. A path is a template: a
//! part between braces stands for one segment, and a row without braces goes before one with them.
//! Absent on purpose: doing anything. [`super::route`] looks here, asks [`Permission`], and calls.

use hyper::Method;

use self::Permission::{Administer, Operate, Read};

/// What a request does, and so what a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Looks, and changes nothing.
    Read,
    /// Works with nodes that there are: power, goals, release.
    Operate,
    /// Changes what the cluster is and who may use it.
    Administer,
}

/// Who answers: one variant for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// The version.
    Version,
    /// How the appliance does.
    Health,
    /// Many nodes, now or then.
    Nodes,
    /// What changed between two moments.
    Diff,
    /// One node.
    Node,
    /// New nodes.
    CreateNodes,
    /// Nodes described differently.
    PatchNodes,
    /// Nodes no more.
    DeleteNodes,
    /// A node described wholly.
    PutNode,
    /// A node described differently.
    PatchNode,
    /// A node no more.
    DeleteNode,
    /// A value that is wanted.
    Desired,
    /// A value by hand.
    SetDesired,
    /// A value by hand no more.
    TakeBackDesired,
    /// A value that was seen.
    Observed,
    /// Variables of nodes.
    Values,
    /// Pools.
    Pools,
    /// What all nodes have in common.
    Defaults,
    /// Networks.
    Networks,
    /// Cakes.
    Cakes,
    /// Boot targets.
    Targets,
    /// What a machine would be told to boot.
    BootAnswer,
    /// Extensions.
    Extensions,
    /// Variables that there are.
    Variables,
    /// Reasons.
    Why,
    /// Stages of boots.
    Timeline,
    /// Machines.
    Machines,
    /// One machine.
    Machine,
    /// A node of a machine.
    EnrollMachine,
    /// Nodes of all machines that rules fit.
    EnrollMachines,
    /// A machine answered no more.
    RefuseMachine,
    /// Leases.
    Leases,
    /// A lease's end.
    ReleaseLease,
    /// What a node is told with its address.
    ExplainLease,
    /// Modules.
    Modules,
    /// Facts of the journal.
    Events,
    /// The mutation graph.
    Graph,
    /// The mutation graph as one node stands in it.
    NodeGraph,
    /// The words of documents.
    Kinds,
    /// Facts and nodes as they come, as server-sent events.
    Stream,
    /// The same over WebSocket.
    WebSocket,
    /// The API's own description.
    OpenApi,
    /// What a description would change.
    Plan,
    /// A description.
    Apply,
    /// Goals by hand.
    Goals,
    /// Power.
    Power,
    /// What BMCs say.
    PowerStatus,
    /// The end of a quarantine.
    Release,
    /// What goals by hand would do.
    PlanGoals,
    /// No step is started.
    Freeze,
    /// Steps are started.
    Thaw,
    /// Mutations.
    Mutations,
    /// A mutation, on or off.
    SwitchMutation,
    /// A mutation's timeout.
    SetTimeout,
    /// A module, on or off.
    SwitchModule,
    /// The mass event.
    MassEvent,
    /// The mass event's end.
    ClearMassEvent,
    /// The cluster at a glance.
    Cluster,
    /// Who is asking.
    Whoami,
    /// The API's certificate.
    Certificate,
    /// Tokens.
    Tokens,
    /// A new token.
    CreateToken,
    /// A token's end.
    RevokeToken,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method; GET also answers HEAD.
    pub method: Method,
    /// The path's template.
    pub path: &'static str,
    /// What it takes.
    pub permission: Permission,
    /// Who answers.
    pub handler: Handler,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

const fn route(
    method: Method,
    path: &'static str,
    permission: Permission,
    handler: Handler,
    summary: &'static str,
) -> Route {
    Route { method, path, permission, handler, summary }
}

/// All rows. A plan needs as much as an apply: it tells whether a BMC's password is the one that is stored.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    route(Method::GET, "/api/v1/version", Read, Handler::Version, "The appliance's version."),
    route(Method::GET, "/api/v1/health", Read, Handler::Health, "How the appliance does: whether its journal takes facts."),
    route(Method::GET, "/api/v1/diff", Read, Handler::Diff, "What changed of nodes between two moments."),
    route(Method::GET, "/api/v1/nodes", Read, Handler::Nodes, "Nodes, desired and observed, now or as they were."),
    route(Method::POST, "/api/v1/nodes", Administer, Handler::CreateNodes, "Describe new nodes."),
    route(Method::PATCH, "/api/v1/nodes", Administer, Handler::PatchNodes, "Describe the selected nodes differently, by a merge patch (RFC 7396)."),
    route(Method::DELETE, "/api/v1/nodes", Administer, Handler::DeleteNodes, "Remove the selected nodes."),
    route(Method::GET, "/api/v1/nodes/{name}", Read, Handler::Node, "One node, by its name or id, with who says and who saw what."),
    route(Method::PUT, "/api/v1/nodes/{name}", Administer, Handler::PutNode, "Describe a node wholly, newly or differently."),
    route(Method::PATCH, "/api/v1/nodes/{name}", Administer, Handler::PatchNode, "Describe a node differently, by a merge patch (RFC 7396)."),
    route(Method::DELETE, "/api/v1/nodes/{name}", Administer, Handler::DeleteNode, "Remove a node; its machine is left as it is."),
    route(Method::GET, "/api/v1/nodes/{name}/desired/{path}", Read, Handler::Desired, "What is wanted of a variable, since when, and who wants it."),
    route(Method::PUT, "/api/v1/nodes/{name}/desired/{path}", Operate, Handler::SetDesired, "Ask for a value by hand."),
    route(Method::DELETE, "/api/v1/nodes/{name}/desired/{path}", Operate, Handler::TakeBackDesired, "Take back what was asked for by hand."),
    route(Method::GET, "/api/v1/nodes/{name}/observed/{path}", Read, Handler::Observed, "What was seen of a variable, when, and who saw it."),
    route(Method::GET, "/api/v1/values", Read, Handler::Values, "Variables of nodes, desired and observed."),
    route(Method::GET, "/api/v1/pools", Read, Handler::Pools, "Pools, with their nodes."),
    route(Method::GET, "/api/v1/defaults", Read, Handler::Defaults, "What all nodes have in common."),
    route(Method::GET, "/api/v1/networks", Read, Handler::Networks, "Networks."),
    route(Method::GET, "/api/v1/cakes", Read, Handler::Cakes, "Cakes, with the digests of their images."),
    route(Method::GET, "/api/v1/boot-answer", Read, Handler::BootAnswer, "What a machine would be told to boot, and why, without a packet."),
    route(Method::GET, "/api/v1/targets", Read, Handler::Targets, "Boot targets that are described."),
    route(Method::GET, "/api/v1/extensions", Read, Handler::Extensions, "Extensions: built in, described, and of modules."),
    route(Method::GET, "/api/v1/variables", Read, Handler::Variables, "Every variable that there is, with its type."),
    route(Method::GET, "/api/v1/why", Read, Handler::Why, "Why nodes are not at their goal."),
    route(Method::GET, "/api/v1/timeline", Read, Handler::Timeline, "The stages of nodes' last boots."),
    route(Method::GET, "/api/v1/machines", Read, Handler::Machines, "Machines: those that are no node, those that were refused, and those of nodes."),
    route(Method::GET, "/api/v1/machines/{machine}", Read, Handler::Machine, "One machine, by a MAC, its UUID, its serial number, its address, or its node's name."),
    route(Method::POST, "/api/v1/machines/{machine}/enroll", Administer, Handler::EnrollMachine, "Make a node of a machine, or confirm that it is a part of one."),
    route(Method::POST, "/api/v1/machines/enroll", Administer, Handler::EnrollMachines, "Make nodes of all machines that rules fit."),
    route(Method::POST, "/api/v1/machines/{machine}/refuse", Administer, Handler::RefuseMachine, "Answer a machine no more, or again."),
    route(Method::GET, "/api/v1/leases", Read, Handler::Leases, "Addresses and who has them."),
    route(Method::POST, "/api/v1/leases/release", Operate, Handler::ReleaseLease, "End a lease, or the quarantine of an address."),
    route(Method::GET, "/api/v1/nodes/{name}/lease", Read, Handler::ExplainLease, "What a node is told with its address by DHCP, and who says so."),
    route(Method::GET, "/api/v1/modules", Read, Handler::Modules, "Modules, built in and from outside, and how they fare."),
    route(Method::GET, "/api/v1/events", Read, Handler::Events, "Facts of the journal."),
    route(Method::GET, "/api/v1/stream", Read, Handler::Stream, "Facts and nodes as they change, as server-sent events."),
    route(Method::GET, "/api/v1/ws", Read, Handler::WebSocket, "Facts and nodes as they change, over WebSocket."),
    route(Method::GET, "/api/v1/graph", Read, Handler::Graph, "The mutation graph: JSON, DOT or SVG."),
    route(Method::GET, "/api/v1/nodes/{name}/graph", Read, Handler::NodeGraph, "The mutation graph with where a node stands and its way to its goal: JSON, DOT or SVG."),
    route(Method::GET, "/api/v1/kinds", Read, Handler::Kinds, "The words that documents hold: kinds of events, reasons, holds, stages, roles."),
    route(Method::GET, "/api/v1/openapi.json", Read, Handler::OpenApi, "This description of the API."),
    route(Method::POST, "/api/v1/plan", Administer, Handler::Plan, "What a description would change."),
    route(Method::POST, "/api/v1/apply", Administer, Handler::Apply, "Make a description the appliance's own."),
    route(Method::POST, "/api/v1/goals", Operate, Handler::Goals, "Ask for values of variables by hand."),
    route(Method::POST, "/api/v1/power", Operate, Handler::Power, "Power nodes on or off, or cycle them."),
    route(Method::POST, "/api/v1/power/status", Operate, Handler::PowerStatus, "What the BMCs say right now."),
    route(Method::POST, "/api/v1/release", Operate, Handler::Release, "Lift nodes' quarantine."),
    route(Method::POST, "/api/v1/plan/goals", Operate, Handler::PlanGoals, "What asking for values by hand would do."),
    route(Method::POST, "/api/v1/freeze", Operate, Handler::Freeze, "Start no step any more, of some nodes or of all."),
    route(Method::POST, "/api/v1/thaw", Operate, Handler::Thaw, "Start steps again."),
    route(Method::GET, "/api/v1/mutations", Read, Handler::Mutations, "Mutations as they are planned with."),
    route(Method::POST, "/api/v1/mutations/{name}/switch", Administer, Handler::SwitchMutation, "Plan with a mutation, or without it."),
    route(Method::POST, "/api/v1/mutations/{name}/timeout", Administer, Handler::SetTimeout, "When a mutation is taken for failed."),
    route(Method::POST, "/api/v1/modules/{name}/switch", Administer, Handler::SwitchModule, "Plan with a module's mutations, or without them."),
    route(Method::GET, "/api/v1/mass-event", Read, Handler::MassEvent, "The mass event that holds disruptive steps back."),
    route(Method::POST, "/api/v1/mass-event/clear", Operate, Handler::ClearMassEvent, "Let disruptive steps go on after a mass event."),
    route(Method::GET, "/api/v1/cluster", Read, Handler::Cluster, "The cluster at a glance."),
    route(Method::GET, "/api/v1/whoami", Read, Handler::Whoami, "Who is asking, and what they may do."),
    route(Method::GET, "/api/v1/certificate", Read, Handler::Certificate, "The API's certificate, with the fingerprint that clients pin."),
    route(Method::GET, "/api/v1/tokens", Read, Handler::Tokens, "Tokens, without the tokens themselves."),
    route(Method::POST, "/api/v1/tokens", Administer, Handler::CreateToken, "Make a token; the answer is the only one that holds it."),
    route(Method::DELETE, "/api/v1/tokens/{name}", Administer, Handler::RevokeToken, "Revoke a token, by its name."),
];

/// What a method and a path lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A row, with what stands where its template has braces, in order and still percent-encoded.
    Row(&'static Route, Vec<&'a str>),
    /// The path is there, for these methods, separated by commas.
    OtherMethod(String),
    /// There is no such path.
    Nothing,
}

/// Looks a request up.
#[must_use]
pub fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut rows: Vec<(&'static Route, Vec<&'a str>)> =
        ROUTES.iter().filter_map(|row| fits(row.path, path).map(|parts| (row, parts))).collect();
    let fewest = rows.iter().map(|(_, parts)| parts.len()).min();
    rows.retain(|(_, parts)| Some(parts.len()) == fewest);
    match rows.iter().position(|(row, _)| row.method == *method) {
        Some(at) => {
            let (row, parts) = rows.swap_remove(at);
            Found::Row(row, parts)
        }
        None if rows.is_empty() => Found::Nothing,
        None => {
            let methods = rows.iter().map(|(row, _)| row.method.as_str());
            let head = rows.iter().filter(|(row, _)| row.method == Method::GET).map(|_| "HEAD");
            Found::OtherMethod(methods.chain(head).chain(["OPTIONS"]).collect::<Vec<_>>().join(", "))
        }
    }
}

fn fits<'a>(template: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut parts = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => parts.push(given),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_answer_the_same_request() {
        for (at, row) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| other.method == row.method && other.path == row.path;
            assert_eq!(ROUTES.iter().position(|other| same(&other)), Some(at), "{row:?}");
            assert!(row.path.starts_with("/api/v1/") && row.summary.ends_with('.'), "{row:?}");
        }
    }

    #[test]
    fn what_changes_nothing_is_a_get_and_what_is_a_get_changes_nothing() {
        for row in ROUTES {
            assert_eq!(row.permission == Permission::Read, row.method == Method::GET, "{row:?}");
        }
    }

    #[test]
    fn a_path_is_found_with_its_parts_or_refused_with_its_methods() {
        let handler = |method: Method, path: &'static str| match find(&method, path) {
            Found::Row(row, parts) => Ok((row.handler, parts)),
            other => Err(other),
        };
        assert_eq!(handler(Method::GET, "/api/v1/nodes"), Ok((Handler::Nodes, vec![])));
        assert_eq!(handler(Method::HEAD, "/api/v1/nodes/n1"), Ok((Handler::Node, vec!["n1"])));
        assert_eq!(handler(Method::POST, "/api/v1/power/status"), Ok((Handler::PowerStatus, vec![])));
        assert_eq!(
            handler(Method::PUT, "/api/v1/nodes/n1/desired/power"),
            Ok((Handler::SetDesired, vec!["n1", "power"]))
        );
        assert_eq!(handler(Method::POST, "/api/v1/why"), Err(Found::OtherMethod("GET, HEAD, OPTIONS".into())));
        for path in ["/", "/api/v1", "/api/v1/nodes/", "/api/v1/nodes/n1/x", "/api/v2/nodes", "api/v1/nodes"] {
            assert_eq!(handler(Method::GET, path), Err(Found::Nothing), "{path}");
        }
    }
}
