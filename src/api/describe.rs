//! From a description as it was sent to one that can be compared with the state: images become digests, given values
//! become typed ones, secrets are sealed.
//!
//! Invariants: a secret that has not changed keeps its sealed form, or every apply would look like a change; no refusal
//! quotes a secret.

use std::collections::BTreeMap;
use std::path::Path;

use uuid::Uuid;

use super::reply::Refusal;
use crate::layer::manifest::ImageRef;
use crate::layer::store::Store;
use crate::model::boot;
use crate::model::given::UNCHANGED_SECRET;
use crate::model::schema::{Origin, Setting};
use crate::model::{
    BmcTemplate, CakeSpec, Digest, Extension, Given, ImagePin, Name, NodeId, NodeIpv6, PoolSpec, Schema, Sealed,
    Symbol, Target, Template, Value, VarPath, VarType,
};
use crate::plan::Description;
use crate::plan::resolve::{NodeDescription, said_of};
use crate::port::describe::{ApplyRequest, NodeRequest, PoolRequest, TemplateRequest};
use crate::power::vault::Vault;
use crate::state::State;

/// The digests that the images' names stand for now. A cake keeps them, so what is added under the same name later does
/// not change a running node until the description is applied again.
pub(super) async fn resolve_images(store: &Path, request: &ApplyRequest) -> Result<BTreeMap<Name, Digest>, Refusal> {
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

/// The description that a request stands for, against this state.
pub(super) fn describe(
    state: &State,
    vault: &Vault,
    request: ApplyRequest,
    images: &BTreeMap<Name, Digest>,
) -> Result<Description, Refusal> {
    let extensions: Vec<Extension> =
        request.extensions.into_iter().map(|spec| Extension { origin: Origin::Described, ..spec }).collect();
    let reader = Reader { state, vault, schema: with(&state.schema, &extensions) };
    let cakes = request
        .cakes
        .into_iter()
        .map(|cake| {
            let pin = |name: Name| images.get(&name).map(|digest| ImagePin { name, digest: *digest });
            CakeSpec { name: cake.name, images: cake.images.into_iter().filter_map(pin).collect() }
        })
        .collect();
    let defaults = |template| reader.wide("the cluster's defaults", template, Some(&state.defaults));
    Ok(Description {
        cluster: request.cluster,
        extensions,
        networks: request.networks,
        cakes,
        targets: request.targets,
        defaults: request.defaults.map(defaults).transpose()?,
        pools: request.pools.into_iter().map(|pool| reader.pool(pool)).collect::<Result<_, _>>()?,
        nodes: request.nodes.into_iter().map(|node| reader.node(node)).collect::<Result<_, _>>()?,
        unnamed: request.unnamed,
        enroll: request.enroll,
        ..Description::default()
    })
}

/// The schema as far as the described extensions fit in; what does not is for the comparison to refuse.
fn with(schema: &Schema, extensions: &[Extension]) -> Schema {
    let mut schema = schema.clone();
    // A variable may move from one extension to another, whichever stands first.
    for extension in extensions.iter().chain(extensions) {
        let _ = schema.add(extension.clone());
    }
    schema
}

/// A value that an operator gave for a variable. A secret is sealed before anything else sees it.
pub(super) fn take(
    vault: &Vault,
    schema: &Schema,
    path: &VarPath,
    given: &Given,
    known: Option<&Value>,
) -> Result<Value, Refusal> {
    let spec = schema.spec(path).map_err(Refusal::invalid)?;
    if spec.kind != VarType::Secret || spec.set == Setting::Observed {
        return schema.take_goal(path, given).map_err(Refusal::invalid);
    }
    let Given::Text(text) = given else {
        return Err(Refusal::invalid(format!("{path} is a secret: write it as text")));
    };
    let known = known.and_then(|known| match known {
        Value::Secret(sealed) => Some(sealed),
        _ => None,
    });
    seal(vault, path.as_str(), text, known).map(Value::Secret)
}

/// What only the state can tell of a value that is set by hand: whether there is such a boot target, and whether its words
/// can stand on a kernel's command line.
pub(super) fn check_boot(state: &State, path: &VarPath, value: Option<&Value>) -> Result<(), Refusal> {
    if path.as_str() == boot::ARGUMENTS {
        boot::arguments_of(value).map_err(Refusal::invalid)?;
    }
    if *path != VarPath::target() {
        return Ok(());
    }
    match Target::of(value).map_err(Refusal::invalid)? {
        Target::Described(name) if !state.targets.contains_key(&name) => {
            Err(Refusal::invalid(format!("there is no boot target '{name}'; describe it, or correct the name")))
        }
        _ => Ok(()),
    }
}

fn seal(vault: &Vault, what: &str, text: &str, known: Option<&Sealed>) -> Result<Sealed, Refusal> {
    match known {
        Some(known) if text == UNCHANGED_SECRET || vault.holds(known, text) => Ok(known.clone()),
        None if text == UNCHANGED_SECRET => Err(Refusal::invalid(format!(
            "{what}: '{UNCHANGED_SECRET}' stands for the secret that is stored, and none is; give the secret itself"
        ))),
        _ => vault.seal(text).map_err(Refusal::internal),
    }
}

struct Reader<'a> {
    state: &'a State,
    vault: &'a Vault,
    schema: Schema,
}

impl Reader<'_> {
    fn pool(&self, pool: PoolRequest) -> Result<PoolSpec, Refusal> {
        let known = self.state.pools.get(&pool.name).map(|known| &known.template);
        let template = self.wide(&format!("pool {}", pool.name), pool.template, known)?;
        Ok(PoolSpec { name: pool.name, template })
    }

    /// What is said of many nodes.
    fn wide(&self, of: &str, template: TemplateRequest, known: Option<&Template>) -> Result<Template, Refusal> {
        if template.bmc.as_ref().is_some_and(|bmc| bmc.address.is_some()) {
            return Err(Refusal::invalid(format!("{of}: a BMC's address is a node's alone; say it there")));
        }
        self.template(of, template, known)
    }

    fn node(&self, node: NodeRequest) -> Result<(NodeId, NodeDescription), Refusal> {
        let of = format!("node {}", node.name);
        let known = self.state.node_named(&node.name);
        let (name, mac, ip, pool) = (node.name.clone(), node.mac, node.ip, node.pool.clone());
        let matching = node.matching.clone();
        let ipv6 = NodeIpv6 { ip6: node.ip6, duid: node.duid.clone() };
        let bmc = node.bmc.as_ref().map(|bmc| {
            bmc.address.ok_or_else(|| Refusal::invalid(format!("{of}: its BMC has no address; give bmc.address")))
        });
        let bmc = bmc.transpose()?;
        let said = known.map(|known| said_of(self.state, known).own);
        let own = self.template(&of, node.into_template(), said.as_ref())?;
        let id = known.map_or_else(|| NodeId(Uuid::new_v4()), |known| known.id);
        Ok((id, NodeDescription { name, mac, ip, matching, bmc, pool, own, ipv6 }))
    }

    fn template(&self, of: &str, given: TemplateRequest, known: Option<&Template>) -> Result<Template, Refusal> {
        let mut variables = BTreeMap::new();
        for (path, value) in given.set {
            let known = known.and_then(|known| known.variables.get(&path));
            let value = take(self.vault, &self.schema, &path, &value, known).map_err(|refusal| refusal.of(of))?;
            variables.insert(path, value);
        }
        let known_password = known.and_then(|known| known.bmc.as_ref()).and_then(|bmc| bmc.password.as_ref());
        let bmc = given.bmc.map(|bmc| -> Result<BmcTemplate, Refusal> {
            let password = bmc.password.map(|text| seal(self.vault, "bmc.password", &text, known_password));
            let password = password.transpose().map_err(|refusal| refusal.of(of))?;
            Ok(BmcTemplate { driver: bmc.driver, user: bmc.user, password })
        });
        Ok(Template {
            network: given.network,
            cake: given.cake,
            arch: given.arch.as_deref().map(Symbol::from),
            platform: given.platform.as_deref().map(Symbol::from),
            parents: given.parents,
            labels: given.labels,
            variables,
            options: given.options,
            bmc: bmc.transpose()?.filter(|bmc| *bmc != BmcTemplate::default()),
        })
    }
}
