//! What TFTP gives to loaders: programs where their package put them, and, for GRUB, its configuration, kernels and the
//! rest, which it can read by nothing better.
//!
//! Invariants: as over HTTP, a configuration goes to the address of the node that it is for, and only after its token's
//! digest is durable. Every other name is the plain files' (`inner`) to resolve.
//!
//! A name that is a machine's own (`tftp::names`) is answered only to that machine; to another one there is no such file, so
//! that its loader tries its next name.
//!
//! Deliberately absent: tokens for PXELINUX, whose configuration is the operator's template alone.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::chain::Reader;
use super::client::node_at;
use super::firmware;
use super::http::facts::Asked;
use super::http::route::{Route, route};
use super::offer::{Offers, file_of, folder};
use super::template::{Place, Template, render};
use super::tftp::names::{Dialect, OwnFile, Whose, own_file};
use super::tftp::{Files, OpenError, Roots, Source};
use crate::fact::{Fact, Transport};
use crate::port::{FactSender, StateReader};
use crate::state::{Node, State};

/// Where GRUB looks for its configuration last, below what it was loaded from. Before that it looks whether there is one
/// for its processor, by opening it: a configuration that was given then would only cost a token.
const GRUB_CONFIGURATION: &str = "grub/grub.cfg";

/// Whether this is a name under which GRUB asks for its configuration.
#[must_use]
pub fn is_grub_configuration(name: &str) -> bool {
    let of_a_machine =
        matches!(own_file(name), Some(OwnFile { dialect: Dialect::Grub, whose: Whose::Mac(_) | Whose::Address(_) }));
    of_a_machine || name.trim_start_matches('/') == GRUB_CONFIGURATION
}

/// The template of what PXELINUX reads, in the folder of templates.
pub const PXELINUX_TEMPLATE: &str = "pxelinux.cfg";

/// Resolves the names that loaders ask for.
pub struct LoaderFiles {
    offers: Arc<Offers>,
    files: Result<Roots, String>,
    inner: Arc<dyn Files>,
    state: StateReader,
    facts: FactSender,
    runtime: Handle,
}

impl LoaderFiles {
    /// Before `inner`, to which every other name goes. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(offers: Arc<Offers>, inner: Arc<dyn Files>, state: StateReader, facts: FactSender) -> Self {
        let files = folder(offers.settings().files.as_ref(), "boot.files");
        LoaderFiles { offers, files, inner, state, facts, runtime: Handle::current() }
    }

    fn grub(&self, client: SocketAddr, name: &str) -> Result<Source, OpenError> {
        let refused = |reason: String| {
            tracing::debug!(%client, name, reason, "a GRUB configuration is not given");
            OpenError::Withheld { name: name.to_owned(), reason }
        };
        let state = self.state.now();
        let ip = client.ip().to_canonical();
        let node = node_at(&state, ip).ok_or_else(|| refused(format!("no node has the address {ip}")))?;
        if own_file(name).is_some_and(|own| !is_for(own.whose, node)) {
            return Err(OpenError::NotFound { name: name.to_owned() });
        }
        let handed = self.offers.hand(&state, node, Reader::Grub).map_err(|error| refused(error.to_string()))?;
        let mut asked = Asked::new(&state, ip, name, None);
        asked.file = handed.file;
        let fact = over_tftp(asked.sent(u64::try_from(handed.text.len()).unwrap_or(u64::MAX), 0));
        // This thread may block; the transfer's answer must wait until the token is durable.
        self.runtime.block_on(self.facts.submit(vec![fact])).map_err(|error| refused(error.to_string()))?;
        Ok(Source::bytes(handed.text))
    }

    /// What PXELINUX reads, where the operator has a template of it; none where that is a plain file.
    fn pxelinux(&self, client: SocketAddr, whose: Whose, name: &str) -> Result<Option<Source>, OpenError> {
        let folder = self.offers.settings().templates.as_ref();
        if folder.is_none_or(|folder| !folder.join(PXELINUX_TEMPLATE).exists()) {
            return Ok(None);
        }
        let withheld = |reason: String| OpenError::Withheld { name: name.to_owned(), reason };
        let state = self.state.now();
        let Some(node) = node_at(&state, client.ip().to_canonical()).filter(|node| is_for(whose, node)) else {
            return Err(OpenError::NotFound { name: name.to_owned() });
        };
        let text = self.offers.template(PXELINUX_TEMPLATE).map_err(withheld)?;
        let text = self.rendered(&text, node, &state).map_err(withheld)?;
        Ok(Some(Source::bytes(text)))
    }

    fn rendered(&self, text: &str, node: &Node, state: &State) -> Result<String, String> {
        let place = Place::of_boot(self.offers.settings(), None);
        render(Template { name: PXELINUX_TEMPLATE, text }, node, state, &place).map_err(|error| error.to_string())
    }

    fn plain(&self, path: &Path, name: &str) -> Result<Source, OpenError> {
        let unreadable = |source| OpenError::Unreadable { name: name.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        Source::file(file).map_err(unreadable)
    }
}

impl Files for LoaderFiles {
    fn open(&self, client: SocketAddr, name: &str) -> Result<Source, OpenError> {
        if is_grub_configuration(name) {
            return self.grub(client, name);
        }
        if let Some(OwnFile { dialect: Dialect::Pxelinux, whose }) = own_file(name)
            && let Some(source) = self.pxelinux(client, whose, name)?
        {
            return Ok(source);
        }
        let settings = self.offers.settings();
        match route(&format!("/{}", name.trim_start_matches('/'))) {
            Some(Route::Kernel(_)) => return self.plain(&settings.kernel, name),
            Some(Route::Initramfs(_)) => return self.plain(&settings.initramfs, name),
            Some(Route::Target(mac, file)) => {
                let state = self.state.now();
                let withheld = |reason: String| OpenError::Withheld { name: name.to_owned(), reason };
                let node = state.node_with_mac(mac).ok_or(OpenError::NotFound { name: name.to_owned() })?;
                let (path, ..) = file_of(&state, node, file).map_err(|error| withheld(error.to_string()))?;
                let roots = self.files.as_ref().map_err(|reason| withheld(reason.clone()))?;
                let (file, _) = roots.open_file(&path)?;
                return Source::file(file).map_err(|source| OpenError::Unreadable { name: name.to_owned(), source });
            }
            _ => {}
        }
        match self.inner.open(client, name) {
            Err(OpenError::NotFound { name: asked }) => match firmware::named(name).and_then(|p| p.packaged) {
                Some(path) if Path::new(path).exists() => self.plain(Path::new(path), name),
                _ => Err(OpenError::NotFound { name: asked }),
            },
            other => other,
        }
    }
}

/// Whether a name means this node.
fn is_for(whose: Whose, node: &Node) -> bool {
    match whose {
        Whose::Mac(mac) => node.spec.mac == mac,
        Whose::Address(address) => node.spec.ip == address,
        Whose::Asker => true,
    }
}

fn over_tftp(fact: Fact) -> Fact {
    match fact {
        Fact::File(file) => Fact::File(crate::fact::FileFact { transport: Transport::Tftp, ..file }),
        other => other,
    }
}
