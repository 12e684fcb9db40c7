//! What a machine is given on request: the text for its loader, and the files of its boot's metadata.
//!
//! The edge around `target` and `metadata`, which are pure: it reads templates and draws tokens. HTTP, TFTP and the API
//! share it, so that what is checked at an apply is what is served afterwards.
//!
//! Invariants: a template is read inside its declared folder, whatever its name and the links say; its text is read at every
//! request, so that a corrected template counts from the next boot on.
//!
//! Deliberately absent: sending, and the facts that make a token good.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::chain::{Reader, Wished, Wishes};
use super::metadata::made;
use super::script::{BootSettings, JoinToken, TOKEN_BYTES};
use super::target::{HandError, Handed, Order, TargetFile, check, hand};
use super::template::{Place, TEMPLATE_BYTES_MAX};
use super::tftp::Roots;
use crate::fact::Follows;
use crate::model::{Digest, Name};
use crate::state::{Node, State};

/// Why a machine is not given what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// Nothing can be made for it.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// Its network is not described.
    #[error("the network {network} of {node} is not described; apply it")]
    NoNetwork {
        /// The node.
        node: Name,
        /// The network.
        network: Name,
    },
    /// There are no random bytes.
    #[error("the system gave no random bytes for a token; look at its kernel's log")]
    NoRandomness,
    /// The token is not this boot's.
    #[error("the token is not the one of {node}'s present boot; boot it again, so that it gets a new one")]
    WrongToken {
        /// The node.
        node: Name,
    },
    /// It asks from elsewhere.
    #[error("no node has the address {client}; metadata is given to the node's own address alone")]
    NotANode {
        /// Who asks.
        client: IpAddr,
    },
    /// The target has no such file.
    #[error("target {target} has no metadata '{name}'; name it in its [target.metadata]")]
    NoSuchMetadata {
        /// The target.
        target: Name,
        /// What was asked for.
        name: String,
    },
    /// The node boots something else now.
    #[error("{node} boots {target} now, which has no such file; its next boot gets a new script")]
    OtherTarget {
        /// The node.
        node: Name,
        /// What it boots.
        target: String,
    },
}

/// A file of a boot's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Its text.
    pub text: String,
    /// The target that it is for.
    pub target: Name,
    /// What follows the target when the machine says that it is done, for the file by which it says so.
    pub done: Option<Option<Name>>,
}

/// Makes what machines ask for.
#[derive(Debug)]
pub struct Offers {
    settings: Arc<BootSettings>,
    templates: Result<Roots, String>,
}

impl Default for Offers {
    /// For a program that serves nothing.
    fn default() -> Self {
        Offers::new(Arc::new(BootSettings {
            http: SocketAddr::from(([0, 0, 0, 0], 0)),
            agents: Vec::new(),
            ca: Digest::of(&[]),
            console: None,
            extra_arguments: Vec::new(),
            kernel: PathBuf::new(),
            initramfs: PathBuf::new(),
            loaders: PathBuf::new(),
            files: None,
            templates: None,
        }))
    }
}

impl Offers {
    /// Out of these settings.
    #[must_use]
    pub fn new(settings: Arc<BootSettings>) -> Self {
        let templates = folder(settings.templates.as_ref(), "boot.templates");
        Offers { settings, templates }
    }

    /// What every machine is told.
    #[must_use]
    pub fn settings(&self) -> &BootSettings {
        &self.settings
    }

    /// The text of a template. Blocks on the disk.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn template(&self, name: &str) -> Result<String, String> {
        let roots = self.templates.as_ref().map_err(Clone::clone)?;
        let (file, metadata) = roots.open_file(name).map_err(|error| error.to_string())?;
        let most = u64::try_from(TEMPLATE_BYTES_MAX).unwrap_or(u64::MAX);
        if metadata.len() > most {
            return Err(format!("it has {} bytes, and {most} are the most; make it shorter", metadata.len()));
        }
        let mut text = String::new();
        file.take(most).read_to_string(&mut text).map_err(|error| format!("{error}; it must be text in UTF-8"))?;
        Ok(text)
    }

    /// What the loader `reader` of `node` runs, with new tokens. Blocks on the disk.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn hand(&self, state: &State, node: &Node, reader: Reader) -> Result<Handed, OfferError> {
        let (join, metadata) = (new_token()?, new_token()?);
        let network = state.network_of(node).ok_or_else(|| OfferError::NoNetwork {
            node: node.spec.name.clone(),
            network: node.spec.network.clone(),
        })?;
        let read = |name: &str| self.template(name);
        let settings = &self.settings;
        let order = Order { state, node, network, settings, join: &join, metadata: &metadata, read: &read };
        Ok(hand(reader, &order)?)
    }

    /// Whether everything that `node` would be given can be made, as far as templates go. Blocks on the disk.
    ///
    /// # Errors
    /// The first thing that cannot.
    pub fn check(&self, state: &State, node: &Node) -> Result<(), OfferError> {
        let token = JoinToken::new([0; TOKEN_BYTES]);
        let Some(network) = state.network_of(node) else { return Ok(()) };
        let read = |name: &str| self.template(name);
        let settings = &self.settings;
        Ok(check(&Order { state, node, network, settings, join: &token, metadata: &token, read: &read })?)
    }

    /// A file of the metadata of the boot whose token this is. Blocks on the disk.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn metadata(
        &self,
        state: &State,
        client: IpAddr,
        token: &JoinToken,
        name: &str,
    ) -> Result<Metadata, OfferError> {
        let node = super::client::node_at(state, client).ok_or(OfferError::NotANode { client })?;
        let grant = node.metadata.as_ref().filter(|grant| grant.token == token.digest());
        let grant = grant.ok_or_else(|| OfferError::WrongToken { node: node.spec.name.clone() })?;
        let target = grant.target.clone();
        let absent = || OfferError::NoSuchMetadata { target: grant.target.clone(), name: name.to_owned() };
        let spec = state.targets.get(&grant.target);
        if name == super::metadata::DONE {
            let then = spec.and_then(|spec| spec.then.clone());
            return Ok(Metadata { text: "noted\n".to_owned(), target, done: Some(then) });
        }
        let spec = spec.ok_or_else(absent)?;
        let url = format!("http://{}/metadata/{}/", self.settings.http, token.hex());
        let place = Place::of_boot(&self.settings, Some(&url));
        let text = made(name, spec, node, state, &place, &|name: &str| self.template(name))?.ok_or_else(absent)?;
        Ok(Metadata { text, target, done: None })
    }
}

/// The name of a target's file below the folder of boot files, and whether files of the target follow it.
///
/// # Errors
/// The node boots something else by now.
pub fn file_of(state: &State, node: &Node, file: TargetFile) -> Result<(String, Name, Follows), OfferError> {
    let target = Wishes::of(state, node).target;
    if let Wished::Described(spec) = &target
        && let Some((name, follows)) = file.of(spec)
    {
        return Ok((name.to_owned(), spec.name.clone(), follows));
    }
    Err(OfferError::OtherTarget { node: node.spec.name.clone(), target: target.name().to_owned() })
}

/// A declared folder, or why it cannot be used.
pub(super) fn folder(path: Option<&PathBuf>, key: &str) -> Result<Roots, String> {
    let path = path.ok_or_else(|| format!("appliance.toml names no folder for it; give {key}"))?;
    Roots::new([path.clone()]).map_err(|error| format!("the folder {key} cannot be used: {error}"))
}

pub(super) fn new_token() -> Result<JoinToken, OfferError> {
    let mut bytes = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| OfferError::NoRandomness)?;
    Ok(JoinToken::new(bytes))
}
