//! Leases: which there are, the end of one, and why a node is told what it is told.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::Api;
use super::act::{read, submit};
use super::ask::Query;
use super::auth::Caller;
use super::nodes::known;
use super::reply::{Body, Refusal, json};
use crate::engine::now;
use crate::fact::OperatorEvent;
use crate::model::ClientSigns;
use crate::port::document::Items;
use crate::port::lease::{LeaseDocument, LeaseExplained, ReleaseLeaseAnswer, ReleaseLeaseRequest};

pub(super) fn all(api: &Api) -> Response<Body> {
    json(&Items { items: LeaseDocument::all(&api.context.state.now(), now()) })
}

pub(super) async fn release(api: &Api, caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let ReleaseLeaseRequest { ip } = read(request).await?;
    let state = api.context.state.now();
    let released = LeaseDocument::all(&state, now()).iter().any(|lease| lease.ip == ip);
    if released {
        submit(api, caller, vec![OperatorEvent::LeaseReleased { ip }]).await?;
    }
    Ok(json(&ReleaseLeaseAnswer { ip, released }))
}

pub(super) fn explain(api: &Api, name: &str, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let state = api.context.state.now();
    let node = known(&state, name)?;
    let query = Query::of(request)?;
    let number = |text: &str| {
        let wrong = || Refusal::bad_request(format!("'{text}' is no architecture: give a number of option 93"));
        text.parse::<u16>().map_err(|_| wrong())
    };
    let arch = query.get("arch").map(number).transpose()?;
    let user_classes: Vec<Vec<u8>> = query.all("user_class").map(|class| class.as_bytes().to_vec()).collect();
    let signs = ClientSigns {
        mac: node.spec.mac,
        arch: arch.as_slice(),
        vendor_class: query.get("vendor_class").map(str::as_bytes),
        user_classes: &user_classes,
    };
    let missing = || Refusal::invalid(format!("network {} of node {name} is not described", node.spec.network));
    Ok(json(&LeaseExplained::new(&state, &node, signs).ok_or_else(missing)?))
}
