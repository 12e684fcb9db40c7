//! Applying a description, or only showing what that would change.

use std::collections::BTreeMap;
use std::path::Path;

use hyper::body::Incoming;
use hyper::{Request, Response};
use uuid::Uuid;

use super::Api;
use super::act::{read, submit};
use super::auth::Caller;
use super::reply::{Body, Refusal, json};
use super::whatif;
use crate::layer::manifest::ImageRef;
use crate::layer::store::Store;
use crate::model::{BmcSpec, CakeSpec, Digest, ImagePin, Name, NodeId, NodeSpec};
use crate::plan::{Description, diff};
use crate::port::document::{ApplyAnswer, ApplyRequest, BmcRequest, NodeRequest};
use crate::power::vault::Vault;
use crate::state::State;

/// Whether the changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// They are only shown.
    Show,
    /// They are made.
    Do,
}

pub(super) async fn apply(
    api: &Api,
    caller: &Caller,
    request: Request<Incoming>,
    intent: Intent,
) -> Result<Response<Body>, Refusal> {
    let approved = whatif::approval(&request)?;
    let request: ApplyRequest = read(request).await?;
    let images = resolve_images(&api.context.image_store, &request).await?;
    // The semaphore is never closed.
    let _alone = api.applying.acquire().await;
    let state = api.context.state.now();
    let description = describe(&state, &api.context.vault, request, &images)?;
    let (changes, events) = diff(&state, &description).map_err(Refusal::invalid)?;
    let plan = whatif::what_if(api, &state, &events);
    whatif::check(approved.as_deref(), &plan)?;
    let applied = intent == Intent::Do && !events.is_empty();
    if applied {
        submit(api, caller, events).await?;
    }
    Ok(json(&ApplyAnswer { changes, applied, plan: Some(plan) }))
}

/// The digests that the images' names stand for now. A cake keeps them, so what is added under the same name later does
/// not change a running node until the description is applied again.
async fn resolve_images(store: &Path, request: &ApplyRequest) -> Result<BTreeMap<Name, Digest>, Refusal> {
    let names: Vec<(Name, Name)> = request
        .cakes
        .iter()
        .flat_map(|cake| cake.images.iter().map(|image| (cake.name.clone(), image.clone())))
        .collect();
    let store = store.to_owned();
    let resolve = move || {
        let mut digests = BTreeMap::new();
        if names.is_empty() {
            return Ok(digests);
        }
        let opened = Store::open(&store).map_err(Refusal::internal)?;
        for (cake, image) in names {
            let found = opened.resolve(&ImageRef::Name(image.clone())).map_err(Refusal::internal)?;
            let missing = || {
                Refusal::invalid(format!(
                    "cake {cake}: there is no image '{image}' in the store {}; add it with 'bootes image add'",
                    store.display()
                ))
            };
            digests.insert(image.clone(), found.ok_or_else(missing)?);
        }
        Ok(digests)
    };
    tokio::task::spawn_blocking(resolve).await.map_err(Refusal::internal)?
}

fn describe(
    state: &State,
    vault: &Vault,
    request: ApplyRequest,
    images: &BTreeMap<Name, Digest>,
) -> Result<Description, Refusal> {
    let cakes = request
        .cakes
        .into_iter()
        .map(|cake| {
            let pin = |name: Name| images.get(&name).map(|digest| ImagePin { name, digest: *digest });
            CakeSpec { name: cake.name, images: cake.images.into_iter().filter_map(pin).collect() }
        })
        .collect();
    let nodes: Result<Vec<(NodeId, NodeSpec)>, Refusal> =
        request.nodes.into_iter().map(|node| describe_node(state, vault, node)).collect();
    Ok(Description { cluster: request.cluster, networks: request.networks, cakes, nodes: nodes? })
}

fn describe_node(state: &State, vault: &Vault, node: NodeRequest) -> Result<(NodeId, NodeSpec), Refusal> {
    let known = state.node_named(&node.name);
    let known_bmc = known.and_then(|known| known.spec.bmc.as_ref());
    let bmc = node.bmc.map(|bmc| seal(vault, bmc, known_bmc)).transpose()?;
    let spec = NodeSpec {
        name: node.name,
        network: node.network,
        mac: node.mac,
        ip: node.ip,
        cake: node.cake,
        bmc,
        labels: node.labels,
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: BTreeMap::new(),
        own: Box::default(),
    };
    Ok((known.map_or_else(|| NodeId(Uuid::new_v4()), |known| known.id), spec))
}

/// A password that has not changed keeps its sealed form, or every apply would look like a change.
fn seal(vault: &Vault, bmc: BmcRequest, known: Option<&BmcSpec>) -> Result<BmcSpec, Refusal> {
    let unchanged = known.map(|known| &known.password).filter(|sealed| vault.holds(sealed, &bmc.password));
    let password = match unchanged {
        Some(sealed) => sealed.clone(),
        None => vault.seal(&bmc.password).map_err(Refusal::internal)?,
    };
    Ok(BmcSpec { driver: bmc.driver, address: bmc.address, user: bmc.user, password })
}
