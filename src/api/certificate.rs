//! The API's certificate: made at the first start and renewed before it ends, or an operator's own.
//!
//! What is made here is signed by the cluster's authority, which is sent along. A client then pins the authority, not
//! the certificate, and notices neither its renewal nor a new address in it; a self-signed certificate would have to be
//! confirmed again by everybody each time. It costs no trust: the authority's key lies in the same directory, for the
//! same owner, and the names in the certificate are this appliance's.
//!
//! Invariants: key and chain are one file, for its owner alone, that is replaced as a whole. A certificate is looked at
//! again at every start and every [`LOOK_EVERY`], so that one that was replaced on disk is taken up without a restart.
//! Absent on purpose: certificates for clients; whoever asks shows a token.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::extensions::GeneralName;

use crate::model::{Digest, UnixMs};
use crate::port::access::{CertificateDocument, fingerprint};
use crate::sync::identity::{ApiCertificate, Identity, IdentityError};

/// Between two looks at the certificate.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(12 * 3600);
/// The file in the state directory: key, certificate, authority, as PEM.
const FILE_NAME: &str = "api.pem";
const DAY_MS: u64 = 86_400_000;
/// How long a certificate is good for: the longest that clients of all kinds accept (CA/Browser Forum, section 6.3.2).
const VALID_MS: u64 = 397 * DAY_MS;
/// A certificate with less time left is renewed.
const RENEW_BEFORE_MS: u64 = 30 * DAY_MS;
/// Clocks of clients may be behind.
const BACKDATED_MS: u64 = DAY_MS;

/// What can go wrong with the certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{} cannot be used for the API's certificate: {source}; check the file and its owner", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} {detail}; give PEM files that belong together in [api] certificate and key, or neither", path.display())]
    NotUsable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The authority could not sign.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// An operator's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The certificate, then those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The state directory.
    pub state_dir: PathBuf,
    /// An operator's own, instead of one made here.
    pub own: Option<OwnCertificate>,
    /// More names and addresses for one made here.
    pub names: Vec<String>,
}

/// What the API shows now.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) tls: Arc<ServerConfig>,
    pub(super) about: CertificateDocument,
}

/// The certificate, and how it is kept fresh.
#[derive(Debug)]
pub(super) struct Certificates {
    source: Source,
    identity: Arc<Identity>,
    listen: SocketAddr,
    shown: RwLock<Arc<Shown>>,
}

impl Certificates {
    pub(super) fn open(
        source: Source,
        identity: Arc<Identity>,
        listen: SocketAddr,
        now: UnixMs,
    ) -> Result<Self, CertificateError> {
        let shown = RwLock::new(Arc::new(load(&source, &identity, listen, now)?));
        Ok(Certificates { source, identity, listen, shown })
    }

    pub(super) fn shown(&self) -> Arc<Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks again; what cannot be used is told, and the one that there is goes on.
    pub(super) fn look(&self, now: UnixMs) {
        match load(&self.source, &self.identity, self.listen, now) {
            Ok(shown) => *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown),
            Err(error) => tracing::warn!(%error, "the API keeps its certificate, since the new one cannot be used"),
        }
    }
}

struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Where it came from, for messages.
    path: PathBuf,
}

fn load(source: &Source, identity: &Identity, listen: SocketAddr, now: UnixMs) -> Result<Shown, CertificateError> {
    let pair = match &source.own {
        Some(own) => read(&own.certificate, &own.key)?,
        None => made(source, identity, listen, now)?,
    };
    let unusable = |detail: String| CertificateError::NotUsable { path: pair.path.clone(), detail };
    let about = about(&pair.chain, listen).ok_or_else(|| unusable("holds no certificate that can be read".into()))?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(pair.chain, pair.key))
        .map_err(|error| unusable(format!("is not the certificate of its key ({error})")))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Shown { tls: Arc::new(tls), about })
}

fn read(certificate: &Path, key: &Path) -> Result<Pair, CertificateError> {
    let text = |path: &Path| {
        let path = path.to_owned();
        fs::read(&path).map_err(|source| CertificateError::File { path, source })
    };
    let unusable = |path: &Path, detail: &str| {
        let (path, detail) = (path.to_owned(), detail.to_owned());
        CertificateError::NotUsable { path, detail }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(certificate)?).collect();
    let chain = chain.map_err(|_| unusable(certificate, "is not PEM"))?;
    let key_der = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|_| unusable(key, "holds no private key"))?;
    Ok(Pair { chain, key: key_der, path: certificate.to_owned() })
}

/// The one that was made before, as long as it serves; else a new one.
fn made(source: &Source, identity: &Identity, listen: SocketAddr, now: UnixMs) -> Result<Pair, CertificateError> {
    let path = source.state_dir.join(FILE_NAME);
    let wanted = wanted_names(listen, &source.names);
    if path.exists() {
        match read(&path, &path) {
            Ok(pair) if serves(&pair.chain, identity, &wanted, now) => return Ok(pair),
            Ok(_) => tracing::info!("the API's certificate is made anew"),
            Err(error) => tracing::warn!(%error, "the API's certificate is made anew"),
        }
    }
    let names: Vec<String> = wanted.into_iter().collect();
    let from = UnixMs(now.0.saturating_sub(BACKDATED_MS));
    let until = UnixMs(from.0.saturating_add(VALID_MS));
    let pem = identity.api(&ApiCertificate { names: &names, from, until })?;
    let failed = |source| CertificateError::File { path: path.clone(), source };
    let fresh = path.with_extension("new");
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    let mut file = opened.map_err(failed)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, &path).map_err(failed)?;
    read(&path, &path)
}

fn serves(chain: &[CertificateDer], identity: &Identity, wanted: &BTreeSet<String>, now: UnixMs) -> bool {
    let [certificate, authority] = chain else { return false };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    let validity = parsed.validity();
    let from = ms(validity.not_before.timestamp());
    let until = ms(validity.not_after.timestamp());
    let names: BTreeSet<String> = names_of(&parsed).into_iter().collect();
    authority == identity.ca_certificate()
        && from <= now.0
        && now.plus(RENEW_BEFORE_MS).0 < until
        && wanted.is_subset(&names)
}

/// This machine's name, the local ones, the address that is listened on (all of the machine's, where it is any), and what
/// the configuration adds.
fn wanted_names(listen: SocketAddr, more: &[String]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = more.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.extend(["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()]);
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    names.extend(host.filter(|name| !name.is_empty() && name.is_ascii()).map(|name| name.to_ascii_lowercase()));
    if !listen.ip().is_unspecified() {
        names.insert(listen.ip().to_canonical().to_string());
        return names;
    }
    // Where interfaces cannot be listed, names and `[api] names` are left.
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        // An address of one link alone means nothing without the link's name, which no certificate holds.
        let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        names.extend(v4.or(v6).filter(|ip| !link_local(ip)).map(|ip| ip.to_string()));
    }
    names
}

fn names_of(parsed: &x509_parser::certificate::X509Certificate) -> Vec<String> {
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn about(chain: &[CertificateDer], listen: SocketAddr) -> Option<CertificateDocument> {
    let first = chain.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(first).ok()?;
    let until_s = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Some(CertificateDocument {
        fingerprint: fingerprint(chain)?,
        certificate: Digest::of(first),
        names: names_of(&parsed),
        valid_until: UnixMs(until_s.saturating_mul(1_000)).to_string(),
        listen: listen.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 8081);
    const NOW: UnixMs = UnixMs(1_795_226_400_000);

    struct Place {
        dir: tempfile::TempDir,
        identity: Arc<Identity>,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let identity = Arc::new(Identity::open(dir.path()).unwrap());
        Place { dir, identity }
    }

    impl Place {
        fn source(&self, names: &[&str]) -> Source {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Source { state_dir: self.dir.path().to_owned(), own: None, names }
        }

        fn about(&self, names: &[&str], now: UnixMs) -> CertificateDocument {
            load(&self.source(names), &self.identity, LISTEN, now).unwrap().about
        }
    }

    #[test]
    fn it_is_made_once_kept_and_renewed_a_month_before_its_end_under_the_same_fingerprint() {
        let place = place();
        let first = place.about(&[], NOW);
        assert_eq!(place.about(&[], NOW.plus(300 * DAY_MS)), first);
        let renewed = place.about(&[], NOW.plus(370 * DAY_MS));
        assert_ne!(renewed.certificate, first.certificate);
        assert_eq!(renewed.fingerprint, first.fingerprint);
        assert_eq!(first.fingerprint, place.identity.ca_digest());
        assert_ne!(place.about(&[], NOW).certificate, renewed.certificate, "one that is not valid yet serves nobody");
    }

    #[test]
    fn it_is_good_for_the_names_and_addresses_by_which_it_is_reached() {
        let place = place();
        let first = place.about(&[], NOW);
        for name in ["localhost", "127.0.0.1", "::1", "10.77.0.1"] {
            assert!(first.names.iter().any(|known| known == name), "{name}: {first:?}");
        }
        let more = place.about(&["Boot.example.org"], NOW);
        assert!(more.names.contains(&"boot.example.org".to_owned()), "{more:?}");
        assert_eq!(place.about(&[], NOW), more, "a name more is no reason to make another");
    }

    #[test]
    fn a_damaged_file_and_one_of_another_authority_are_replaced() {
        let place = place();
        let first = place.about(&[], NOW);
        let path = place.dir.path().join(FILE_NAME);
        fs::write(&path, "nothing").unwrap();
        let second = place.about(&[], NOW);
        assert_ne!(second.certificate, first.certificate);
        let other = tempfile::tempdir().unwrap();
        let identity = Identity::open(other.path()).unwrap();
        let third = load(&place.source(&[]), &identity, LISTEN, NOW).unwrap().about;
        assert_eq!(third.fingerprint, identity.ca_digest());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_operators_own_is_shown_under_its_own_digest_and_taken_up_when_it_is_replaced() {
        let place = place();
        let (certificate, key) = (place.dir.path().join("own.pem"), place.dir.path().join("own.key"));
        let write = || {
            let made = rcgen::generate_simple_self_signed(["boot.example.org".to_owned()]).unwrap();
            fs::write(&certificate, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            Digest::of(made.cert.der())
        };
        let first = write();
        let own = Some(OwnCertificate { certificate: certificate.clone(), key: key.clone() });
        let source = Source { own, ..place.source(&[]) };
        let kept = Certificates::open(source.clone(), place.identity.clone(), LISTEN, NOW).unwrap();
        assert_eq!(kept.shown().about.fingerprint, first);
        let second = write();
        kept.look(NOW);
        assert_eq!(kept.shown().about.fingerprint, second);
        fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        kept.look(NOW);
        assert_eq!(kept.shown().about.fingerprint, second, "what cannot be used is not taken up");
        let refused = load(&source, &place.identity, LISTEN, NOW).map(|shown| shown.about);
        assert!(matches!(refused, Err(CertificateError::NotUsable { .. })), "{refused:?}");
    }
}
