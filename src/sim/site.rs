//! The cluster that is simulated: one network, one cake, and as many nodes as asked for, described as an operator would and
//! applied by the same comparison as `bootes apply`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use uuid::Uuid;

use super::random::Random;
use crate::boot::answer::Services;
use crate::boot::dhcp::Link;
use crate::boot::script::BootSettings;
use crate::model::ids::NameError;
use crate::model::prefix::PrefixError;
use crate::model::{
    BmcDriver, BmcTemplate, CakeSpec, Digest, ImagePin, Mac, Name, NetworkSpec, NodeId, Prefix, Sealed, Template,
};
use crate::plan::Description;
use crate::plan::resolve::NodeDescription;

/// The appliance's address.
pub(super) const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
/// The stream of random numbers that ids come from.
const IDS_STREAM: u64 = 1;
/// The images of the cake.
const IMAGES: [&str; 2] = ["system", "work"];

/// A name or an address of this file is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the simulated cluster cannot be described: {0}")]
pub struct SiteError(String);

impl From<NameError> for SiteError {
    fn from(error: NameError) -> Self {
        SiteError(error.to_string())
    }
}

impl From<PrefixError> for SiteError {
    fn from(error: PrefixError) -> Self {
        SiteError(error.to_string())
    }
}

/// The cluster's description.
pub(super) fn description(nodes: usize, seed: u64) -> Result<Description, SiteError> {
    let network: Name = "boot".parse()?;
    let cake: Name = "sim".parse()?;
    let subnet: Prefix = "10.64.0.0/16".parse()?;
    let mut images = Vec::new();
    for image in IMAGES {
        images.push(ImagePin { name: image.parse()?, digest: Digest::of(image.as_bytes()) });
    }
    let mut random = Random::new(seed, IDS_STREAM);
    let mut specs = Vec::new();
    for index in 0..nodes {
        let id = NodeId(uuid::Builder::from_random_bytes(random.bytes()).into_uuid());
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let [_, high, middle, low] = (number + 256).to_be_bytes();
        let spec = NodeDescription {
            matching: Default::default(),
            name: format!("n{}", index + 1).parse()?,
            mac: Mac([0x02, 0x64, 0, high, middle, low]),
            ip: Some(Ipv4Addr::new(10, 64, middle, low)),
            bmc: Some(SocketAddr::from(([10, 65, middle, low], 623))),
            pool: None,
            own: Template::default(),
            ipv6: Default::default(),
        };
        specs.push((id, spec));
    }
    let defaults = Template {
        network: Some(network.clone()),
        cake: Some(cake.clone()),
        bmc: Some(BmcTemplate {
            driver: Some(BmcDriver::Ipmi),
            user: Some("admin".to_owned()),
            password: Some(Sealed(Vec::new())),
        }),
        ..Template::default()
    };
    let network = NetworkSpec {
        router: Some(APPLIANCE),
        dns: vec![APPLIANCE],
        lease_s: 86_400,
        ..NetworkSpec::new(network, subnet)
    };
    Ok(Description {
        cluster: Some("sim".parse()?),
        networks: vec![network],
        cakes: vec![CakeSpec { name: cake, images }],
        defaults: Some(defaults),
        nodes: specs,
        ..Description::default()
    })
}

/// Where the appliance serves.
pub(super) fn link() -> Link {
    Link { interface: "sim0".to_owned(), addresses: vec![APPLIANCE] }
}

/// The boot services.
pub(super) fn services() -> Services {
    Services { tftp: APPLIANCE, http: SocketAddr::from((APPLIANCE, 8080)) }
}

/// What boot scripts say; no file is ever opened.
pub(super) fn settings() -> BootSettings {
    BootSettings {
        http: SocketAddr::from((APPLIANCE, 8080)),
        agents: vec![SocketAddr::from((APPLIANCE, 7979))],
        ca: Digest::of(b"the authority of a simulation"),
        console: None,
        extra_arguments: Vec::new(),
        kernel: PathBuf::new(),
        initramfs: PathBuf::new(),
        loaders: PathBuf::new(),
        files: None,
        templates: None,
    }
}

/// The id that a machine of this cluster has, as bytes for the wire.
pub(super) fn wire_id(id: NodeId) -> [u8; 16] {
    let uuid: Uuid = id.0;
    *uuid.as_bytes()
}
