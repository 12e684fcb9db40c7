//! What TFTP gives to loaders: programs where their package put them, and, for GRUB, its configuration, kernels and the
//! rest, which it can read by nothing better.
//!
//! Invariants: as over HTTP, a configuration goes to the address of the node that it is for, and only after its token's
//! digest is durable. Every other name is the plain files' (`inner`) to resolve.
//!
//! Deliberately absent: more than the distribution's signed GRUB asks for; templates for other loaders.

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
use super::tftp::{Files, OpenError, Roots, Source};
use crate::fact::{Fact, Transport};
use crate::port::{FactSender, StateReader};

/// Where GRUB looks for its configuration last, below what it was loaded from. Before that it looks whether there is one
/// for its processor, by opening it: a configuration that was given then would only cost a token.
const GRUB_CONFIGURATION: &str = "grub/grub.cfg";

/// Whether this is a name under which GRUB asks for its configuration.
#[must_use]
pub fn is_grub_configuration(name: &str) -> bool {
    name.trim_start_matches('/') == GRUB_CONFIGURATION
}

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
        let handed = self.offers.hand(&state, node, Reader::Grub).map_err(|error| refused(error.to_string()))?;
        let mut asked = Asked::new(&state, ip, name, None);
        asked.file = handed.file;
        let fact = over_tftp(asked.sent(u64::try_from(handed.text.len()).unwrap_or(u64::MAX), 0));
        // This thread may block; the transfer's answer must wait until the token is durable.
        self.runtime.block_on(self.facts.submit(vec![fact])).map_err(|error| refused(error.to_string()))?;
        Ok(Source::bytes(handed.text))
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

fn over_tftp(fact: Fact) -> Fact {
    match fact {
        Fact::File(file) => Fact::File(crate::fact::FileFact { transport: Transport::Tftp, ..file }),
        other => other,
    }
}
