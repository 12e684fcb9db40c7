//! The API's description (OpenAPI 3.1), made of the table of routes and the documents' types, and what the program holds of
//! it: `docs/openapi.json`, which BOOTES_UPDATE_GOLDEN=1 rewrites.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};

use super::*;
use crate::api::about::{forms, parameters};
use crate::api::media::Form;
use crate::api::permit::least_role;
use crate::api::routes::{Handler, ROUTES, Route};
use crate::fact::Fact;
use crate::model::{CakeSpec, Digest, Extension, NetworkSpec, Sealed};
use crate::plan::{Hold, Reason};
use crate::port::access::{CallerDocument, CertificateDocument, CreatedToken, TokenDocument, TokenRequest};
use crate::port::control::{
    ClusterDocument, FreezeAnswer, FreezeRequest, MassEventDocument, MutationDocument, SwitchAnswer, SwitchRequest,
    TimeoutRequest,
};
use crate::port::describe::{
    CreateRequest, DesiredDocument, NodeDetail, NodeRequest, ObservedDocument, PoolDocument, TemplateRequest,
    ValueDocument, ValueRequest, VariableDocument, VariableState,
};
use crate::port::document::{
    Accepted, ApplyAnswer, ApplyRequest, BareRequest, EventDocument, GoalsRequest, Items, ModuleDocument, NodeDocument,
    NodesRequest, PlannedGoals, PowerDocument, PowerRequest, Problem, VersionDocument,
};
use crate::port::enumerable::{self, KindsDocument};
use crate::port::graph::GraphDocument;
use crate::port::history::{DiffDocument, HealthDocument, PastNodes};
use crate::port::lease::{LeaseDocument, LeaseExplained, ReleaseLeaseAnswer, ReleaseLeaseRequest};
use crate::port::machine::{EnrollAllRequest, EnrollAnswer, EnrollRequest, MachineDocument, RefuseRequest};
use crate::port::many::{TimelinesDocument, WhyDocument};
use crate::port::stream::{ClientMessage, ServerMessage, StreamEvent};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
const REFERENCE: &str = "#/components/schemas/";

impl JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "A sha256 digest."})
    }
}

/// In an answer there is nothing of a secret but that there is one.
impl JsonSchema for Sealed {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"const": "(secret)", "description": "A secret, which is in no answer."})
    }
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    settings.into_generator()
}

/// What is sent to a route and what comes back: types by their schemas.
struct Bodies {
    request: Option<Value>,
    answer: Value,
}

fn bodies(handler: Handler, asked: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Bodies {
    fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
    let request = match handler {
        Handler::Plan | Handler::Apply => Some(of::<ApplyRequest>(asked)),
        Handler::Goals => Some(of::<GoalsRequest>(asked)),
        Handler::Power => Some(of::<PowerRequest>(asked)),
        Handler::PowerStatus | Handler::Release => Some(of::<NodesRequest>(asked)),
        Handler::PlanGoals => Some(of::<GoalsRequest>(asked)),
        Handler::Freeze | Handler::Thaw => Some(of::<FreezeRequest>(asked)),
        Handler::SwitchMutation | Handler::SwitchModule => Some(of::<SwitchRequest>(asked)),
        Handler::SetTimeout => Some(of::<TimeoutRequest>(asked)),
        Handler::ReleaseLease => Some(of::<ReleaseLeaseRequest>(asked)),
        Handler::ClearMassEvent => Some(of::<BareRequest>(asked)),
        Handler::CreateToken => Some(of::<TokenRequest>(asked)),
        Handler::CreateNodes => Some(of::<CreateRequest>(asked)),
        Handler::PutNode => Some(of::<NodeRequest>(asked)),
        // A merge patch of a NodeRequest: any part of it, and null for what is to go.
        Handler::PatchNode | Handler::PatchNodes => Some(json!({"type": "object"})),
        Handler::SetDesired => Some(of::<ValueRequest>(asked)),
        Handler::EnrollMachine => Some(of::<EnrollRequest>(asked)),
        Handler::EnrollMachines => Some(of::<EnrollAllRequest>(asked)),
        Handler::RefuseMachine => Some(of::<RefuseRequest>(asked)),
        _ => None,
    };
    let answer = match handler {
        Handler::Version => of::<VersionDocument>(given),
        Handler::Nodes => json!({"anyOf": [of::<PastNodes>(given), of::<Items<NodeDocument>>(given)]}),
        Handler::Health => of::<HealthDocument>(given),
        Handler::Diff => of::<DiffDocument>(given),
        Handler::Modules => of::<Items<ModuleDocument>>(given),
        Handler::Node | Handler::PutNode | Handler::PatchNode => of::<NodeDetail>(given),
        Handler::CreateNodes | Handler::PatchNodes => of::<ApplyAnswer>(given),
        Handler::DeleteNode | Handler::DeleteNodes => of::<Accepted>(given),
        Handler::Desired | Handler::SetDesired => of::<DesiredDocument>(given),
        Handler::TakeBackDesired => of::<VariableState>(given),
        Handler::Observed => of::<ObservedDocument>(given),
        Handler::Values => of::<Items<ValueDocument>>(given),
        Handler::Pools => of::<Items<PoolDocument>>(given),
        Handler::Defaults => of::<TemplateRequest>(given),
        Handler::Networks => of::<Items<NetworkSpec>>(given),
        Handler::Cakes => of::<Items<CakeSpec>>(given),
        Handler::BootAnswer => of::<crate::port::boot_answer::BootAnswerDocument>(given),
        Handler::Targets => of::<Items<crate::model::TargetSpec>>(given),
        Handler::Why => of::<WhyDocument>(given),
        Handler::Timeline => of::<TimelinesDocument>(given),
        Handler::Leases => of::<Items<LeaseDocument>>(given),
        Handler::ReleaseLease => of::<ReleaseLeaseAnswer>(given),
        Handler::ExplainLease => of::<LeaseExplained>(given),
        Handler::Machines => of::<Items<MachineDocument>>(given),
        Handler::Machine | Handler::RefuseMachine => of::<MachineDocument>(given),
        Handler::EnrollMachine | Handler::EnrollMachines => of::<EnrollAnswer>(given),
        Handler::Events => of::<Items<EventDocument>>(given),
        Handler::Graph | Handler::NodeGraph => of::<GraphDocument>(given),
        Handler::Variables => of::<Items<VariableDocument>>(given),
        Handler::Extensions => of::<Items<Extension>>(given),
        Handler::Kinds => of::<KindsDocument>(given),
        Handler::Stream => of::<StreamEvent>(given),
        Handler::WebSocket => Value::Null,
        Handler::OpenApi => json!({"type": "object"}),
        Handler::Plan | Handler::Apply => of::<ApplyAnswer>(given),
        Handler::Goals | Handler::Power | Handler::Release => of::<Accepted>(given),
        Handler::PowerStatus => of::<Items<PowerDocument>>(given),
        Handler::Whoami => of::<CallerDocument>(given),
        Handler::PlanGoals => of::<PlannedGoals>(given),
        Handler::Freeze | Handler::Thaw => of::<FreezeAnswer>(given),
        Handler::Mutations => of::<Items<MutationDocument>>(given),
        Handler::SetTimeout => of::<MutationDocument>(given),
        Handler::SwitchMutation | Handler::SwitchModule => of::<SwitchAnswer>(given),
        Handler::MassEvent | Handler::ClearMassEvent => of::<MassEventDocument>(given),
        Handler::Cluster => of::<ClusterDocument>(given),
        Handler::Certificate => of::<CertificateDocument>(given),
        Handler::Tokens => of::<Items<TokenDocument>>(given),
        Handler::CreateToken => of::<CreatedToken>(given),
        Handler::RevokeToken => of::<TokenDocument>(given),
    };
    Bodies { request, answer }
}

/// The statuses of refusals of a route, with what they say of it.
fn refusals(row: &Route) -> Vec<(u16, &'static str)> {
    let has_body = row.method != Method::GET && row.method != Method::DELETE;
    let names = row.path.contains('{') || has_body || parameters(row.handler).iter().any(|p| p.name == "nodes");
    let stream = matches!(row.handler, Handler::Stream | Handler::WebSocket);
    let changes = row.method != Method::GET;
    let conflicts = matches!(
        row.handler,
        Handler::CreateToken
            | Handler::CreateNodes
            | Handler::Apply
            | Handler::Goals
            | Handler::ClearMassEvent
            | Handler::EnrollMachine
            | Handler::RefuseMachine
    );
    let of_node = row.path.starts_with("/api/v1/nodes/{name}");
    let matched = changes && (of_node || row.handler == Handler::Goals);
    let all = [
        (400, "The request is malformed.", true),
        (401, "There is no token, or it is not valid.", true),
        (403, "The caller's role or scope does not permit it.", true),
        (404, "What is named is not there.", names),
        (406, "The answer has no such form.", true),
        (409, "It is there already, or the plan that was approved is another one by now.", conflicts),
        (412, "Somebody else has changed it since: 'current' is what there is now.", matched),
        (413, "The body is too large.", has_body),
        (415, "The body does not say that it is JSON.", has_body),
        (422, "The request contradicts itself or the state.", true),
        (426, "The handshake of WebSocket is missing.", row.handler == Handler::WebSocket),
        (429, "Too many requests without a valid token came from this address; see Retry-After.", true),
        (503, "The change was not stored, or there are too many streams.", stream || changes),
    ];
    all.into_iter().filter(|(.., applies)| *applies).map(|(status, doc, _)| (status, doc)).collect()
}

fn operation(row: &Route, asked: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Value {
    let Bodies { request, answer } = bodies(row.handler, asked, given);
    let placeholder = |part: &str| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned());
    let in_path = row
        .path
        .split('/')
        .filter_map(placeholder)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = parameters(row.handler).iter().map(|parameter| {
        json!({"name": parameter.name, "in": "query", "description": parameter.doc, "schema": {"type": "string"}})
    });
    let mut told: Vec<Value> = in_path.chain(in_query).collect();
    if row.handler == Handler::Stream {
        told.push(json!({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
            "description": "The id of the last event that was taken; stands before 'after'."}));
    }
    let content: serde_json::Map<String, Value> = forms(row.handler)
        .iter()
        .map(|form| {
            let schema = match form {
                Form::Json | Form::Events => answer.clone(),
                Form::Dot | Form::Svg => json!({"type": "string"}),
            };
            (form.media_type().to_owned(), json!({ "schema": schema }))
        })
        .collect();
    let mut responses: serde_json::Map<String, Value> = refusals(row)
        .into_iter()
        .map(|(status, doc)| {
            let schema = json!({"$ref": format!("{REFERENCE}Problem")});
            let content = json!({"application/problem+json": {"schema": schema}});
            (status.to_string(), json!({"description": doc, "content": content}))
        })
        .collect();
    let mut operation = json!({
        "operationId": format!("{:?}", row.handler),
        "summary": row.summary,
        "description": format!("Needs the role {}.", least_role(row.permission)),
    });
    if row.handler == Handler::WebSocket {
        responses.insert("101".into(), json!({"description": "The connection speaks WebSocket from here on."}));
        let (client, server) = (asked.subschema_for::<ClientMessage>(), given.subschema_for::<ServerMessage>());
        operation["x-messages"] = json!({"client": client, "server": server});
    } else {
        let status = if row.handler == Handler::CreateNodes { "201" } else { "200" };
        responses.insert(status.into(), json!({"description": "Done.", "content": content}));
        if row.handler == Handler::PutNode {
            responses.insert("201".into(), json!({"description": "There is a new node.", "content": content}));
        }
    }
    operation["responses"] = responses.into();
    if !told.is_empty() {
        operation["parameters"] = told.into();
    }
    if let Some(schema) = request {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// The schemas of what is asked and of what is given. The same type may be written with fields that need not be read, so
/// where the two differ what is asked has a name of its own.
fn document() -> Value {
    let (mut asked, mut given) = (generator(Contract::Deserialize), generator(Contract::Serialize));
    given.subschema_for::<Problem>();
    let mut paths: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for row in ROUTES {
        let operation = operation(row, &mut asked, &mut given);
        paths.entry(row.path).or_default().insert(row.method.as_str().to_lowercase(), operation);
    }
    let (asked, mut schemas) = (asked.take_definitions(true), given.take_definitions(true));
    let mut differ: BTreeSet<String> = asked
        .iter()
        .filter(|(name, schema)| schemas.get(*name).is_some_and(|s| s != *schema))
        .map(|(n, _)| n.clone())
        .collect();
    let refers = |schema: &Value, names: &BTreeSet<String>| {
        let text = schema.to_string();
        names.iter().any(|name| text.contains(&format!("\"{REFERENCE}{name}\"")))
    };
    loop {
        let more: Vec<String> = asked
            .iter()
            .filter(|(name, schema)| !differ.contains(*name) && schemas.contains_key(*name) && refers(schema, &differ))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        differ.extend(more);
    }
    let rename = |value: &Value| -> Value {
        let text = differ.iter().fold(value.to_string(), |text, name| {
            text.replace(&format!("\"{REFERENCE}{name}\""), &format!("\"{REFERENCE}{name}Asked\""))
        });
        serde_json::from_str(&text).unwrap()
    };
    for (name, schema) in asked {
        let own = if differ.contains(&name) { format!("{name}Asked") } else { name };
        schemas.insert(own, rename(&schema));
    }
    for operation in paths.values_mut().flat_map(BTreeMap::values_mut) {
        for at in ["/requestBody", "/x-messages/client"] {
            if let Some(part) = operation.pointer_mut(at) {
                *part = rename(part);
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "bootes",
            "version": "1",
            "summary": "Takes a rack of machines from cold iron to a running cluster, and keeps it there.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "servers": [{"url": "/", "description": "The appliance: TLS with a token, or its unix socket for root."}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas
        }
    })
}

/// One line for every path and every schema, so that a change is seen as what it is.
fn printed(document: &Value) -> String {
    let lines = |object: &Value| {
        let line = |(name, value): (&String, &Value)| format!("{}:{value}", json!(name));
        object.as_object().unwrap().iter().map(line).collect::<Vec<_>>().join(",\n")
    };
    let mut head = document.clone();
    head["paths"] = json!("PATHS");
    head["components"]["schemas"] = json!("SCHEMAS");
    let text = lines(&head);
    let text = text.replace("\"PATHS\"", &format!("{{\n{}\n}}", lines(&document["paths"])));
    let text = text.replace("\"SCHEMAS\"", &format!("{{\n{}\n}}", lines(&document["components"]["schemas"])));
    format!("{{\n{text}\n}}\n")
}

#[test]
fn the_description_is_the_one_that_the_routes_and_the_documents_make() {
    let text = printed(&document());
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document());
    if std::env::var_os("BOOTES_UPDATE_GOLDEN").is_some() {
        std::fs::write(FILE, &text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(FILE).unwrap();
    assert!(kept == text, "docs/openapi.json is stale: run the test with BOOTES_UPDATE_GOLDEN=1, then build again");
    assert_eq!(kept, crate::port::document::OPENAPI);
}

#[test]
fn every_request_is_described_as_having_no_other_fields() {
    let document = document();
    let mut closed = 0;
    for row in ROUTES {
        let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        // A merge patch is any part of what it is merged into.
        if schema.is_null() || row.method == Method::PATCH {
            continue;
        }
        let reference = schema["$ref"].as_str().unwrap_or_else(|| panic!("{row:?}: {schema}"));
        let schema = &document["components"]["schemas"][reference.trim_start_matches(REFERENCE)];
        let bounds = [&schema["additionalProperties"], &schema["unevaluatedProperties"]];
        assert!(bounds.contains(&&json!(false)), "{row:?}: {schema}");
        closed += 1;
    }
    assert!(closed > 10);
}

#[test]
fn everything_that_the_description_refers_to_is_in_it_and_every_route_is_described() {
    let document = document();
    let text = document.to_string();
    for part in text.split(&format!("\"{REFERENCE}")).skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let mut ids = BTreeSet::new();
    for row in ROUTES {
        let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
        assert_eq!(operation["summary"], row.summary);
        assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
    }
}

#[test]
fn the_words_to_choose_from_are_those_of_the_types() {
    let words = |name: &str, tag: &str| -> BTreeSet<String> {
        let document = document();
        let schema = &document["components"]["schemas"][name];
        let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array()).unwrap();
        let word = |variant: &Value| variant["properties"][tag]["const"].as_str().map(str::to_owned);
        variants.iter().map(|variant| word(variant).unwrap_or_else(|| panic!("{variant}"))).collect()
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(words("Fact", "source"), set(Fact::KINDS));
    assert_eq!(words("Reason", "reason"), set(enumerable::REASONS));
    let mut holds = generator(Contract::Serialize);
    holds.subschema_for::<(Reason, Hold)>();
    let holds = holds.take_definitions(true);
    let variants = holds["Hold"]["oneOf"].as_array().unwrap();
    let holds = variants.iter().map(|variant| variant["properties"]["hold"]["const"].as_str().unwrap().to_owned());
    assert_eq!(holds.collect::<BTreeSet<_>>(), set(enumerable::HOLDS));
    let marks = {
        use crate::state::Mark::*;
        let image = || "hello".parse().unwrap();
        [
            Armed,
            PowerOnAccepted,
            PowerOn,
            FirmwareDhcp,
            LoaderSent,
            LoaderDhcp,
            ScriptSent,
            KernelSent,
            InitramfsSent,
            AgentJoined,
            InSync,
            ImageActive(image()),
            ImageIdle(image()),
            AgentLeft,
            AgentLost,
            PowerOff,
            GoalReached,
            TargetReached(image()),
        ]
    };
    let marks: Vec<String> = marks.iter().map(|mark| mark.to_string().replace("hello", "<name>")).collect();
    assert_eq!(marks, enumerable::TIMELINE_STAGES);
}
