//! TLS for machines that boot over HTTPS, among them firmware that knows RSA alone.
//!
//! Purpose: the boot service's certificates. A client that knows elliptic curves is shown one of the cluster's authority; one
//! that does not is shown one of a second authority, with RSA keys, that is good for nothing else. Both authorities'
//! certificates are what an operator enrols in firmware.
//! Specification: RFC 5246, section 7.4.1.4.1 (what a client says it can verify).
//!
//! Invariants: the second authority is made when it is first needed, kept in the folder of the first one, and appears there
//! as a whole or not at all. It is no authority of the tree: agents and the API never look at it.
//!
//! Deliberately absent: plain RSA key exchange, which iPXE before 2022 has alone: who recorded it and gets the key later reads
//! it all.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, SanType,
};
use ring::rand::{SecureRandom, SystemRandom};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::{CryptoRng, RngCore};
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SignatureScheme};

use super::{
    Credentials, FOLDER, Identity, IdentityError, always_valid, ffdhe, file, keep_private, leaf, params, write,
};

/// The second authority's key and certificate, and the boot service's key, one PEM behind the other.
pub const FIRMWARE_FILE: &str = "firmware.pem";
/// Bits of the keys: what firmware of every age takes, and is held to be good until 2030.
const KEY_BITS: usize = 2_048;

/// TLS for the boot service.
#[derive(Debug, Clone)]
pub struct BootTls {
    /// How it is spoken.
    pub config: Arc<ServerConfig>,
    /// The certificates of the authorities that a client may trust: the cluster's own, and the one of RSA.
    pub authorities: [CertificateDer<'static>; 2],
}

impl Identity {
    /// TLS for the boot service, with new certificates that are good for these addresses.
    ///
    /// # Errors
    /// When the second authority cannot be read or made.
    pub fn boot_server(&self, state_dir: &Path, addresses: &[IpAddr]) -> Result<BootTls, IdentityError> {
        let refused = |source| IdentityError::Tls { source };
        let (authority, credentials) = rsa_server(state_dir, addresses)?;
        let certified = |Credentials { chain, key }| {
            let key = provider::sign::any_supported_type(&key).map_err(refused)?;
            Ok::<_, IdentityError>(Arc::new(CertifiedKey::new(chain, key)))
        };
        let shown = ByClient { curves: certified(self.server(addresses)?)?, rsa: certified(credentials)? };
        let mut with = provider::default_provider();
        with.cipher_suites.extend(ffdhe::suites());
        with.kx_groups.push(&ffdhe::Ffdhe2048);
        let config = ServerConfig::builder_with_provider(Arc::new(with)).with_safe_default_protocol_versions();
        let config = config.map_err(refused)?.with_no_client_auth().with_cert_resolver(Arc::new(shown));
        Ok(BootTls { config: Arc::new(config), authorities: [self.certificate.clone(), authority] })
    }
}

/// Which certificate a client is shown.
#[derive(Debug)]
struct ByClient {
    curves: Arc<CertifiedKey>,
    rsa: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByClient {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let verifies = hello.signature_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        let agrees = hello.cipher_suites().iter().any(|suite| {
            matches!(
                suite,
                CipherSuite::TLS13_AES_128_GCM_SHA256
                    | CipherSuite::TLS13_AES_256_GCM_SHA384
                    | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            )
        });
        Some(Arc::clone(if verifies && agrees { &self.curves } else { &self.rsa }))
    }
}

/// The second authority's certificate, and the boot service's own by it.
fn rsa_server(state_dir: &Path, addresses: &[IpAddr]) -> Result<(CertificateDer<'static>, Credentials), IdentityError> {
    let path = state_dir.join(FOLDER).join(FIRMWARE_FILE);
    if !path.exists() {
        make(&path)?;
    }
    keep_private(&path)?;
    let text = fs::read_to_string(&path).map_err(file("reading", &path))?;
    let damaged = |detail: String| IdentityError::Damaged { path: path.clone(), detail };
    let keys: Result<Vec<_>, _> = PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes()).collect();
    let keys = keys.map_err(|error| damaged(format!("{error:?}")))?;
    let [authority_key, own_key] = keys.as_slice() else {
        return Err(damaged(format!("it holds {} keys, not 2", keys.len())));
    };
    let authority = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| damaged(format!("{error:?}")))?;
    let pair =
        |key| KeyPair::from_pkcs8_der_and_sign_algo(key, &PKCS_RSA_SHA256).map_err(|error| damaged(error.to_string()));
    let issuer =
        Issuer::from_ca_cert_der(&authority, pair(authority_key)?).map_err(|error| damaged(error.to_string()))?;
    let failed = |source| IdentityError::Issue { subject: "the boot service".into(), source };
    let mut params = leaf("bootes boot service", ExtendedKeyUsagePurpose::ServerAuth);
    params.subject_alt_names = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
    let certificate = params.signed_by(&pair(own_key)?, &issuer).map_err(failed)?;
    let chain = vec![certificate.der().clone(), authority.clone()];
    Ok((authority, Credentials { chain, key: own_key.clone_key().into() }))
}

fn make(path: &Path) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::Issue { subject: "the authority for firmware".into(), source };
    let (key, own) = (rsa_key()?, rsa_key()?);
    let mut params = always_valid(params("bootes authority for firmware"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pair = KeyPair::from_pem_and_sign_algo(&key, &PKCS_RSA_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    let fresh = path.with_extension("new");
    // What a start that was cut short left is of no use.
    let _ = fs::remove_file(&fresh);
    write(&fresh, [&*key, &*certificate.pem(), &*own].concat().as_bytes(), 0o600)?;
    fs::rename(&fresh, path).map_err(file("renaming", &fresh))
}

fn rsa_key() -> Result<zeroize::Zeroizing<String>, IdentityError> {
    let failed = |detail: String| IdentityError::Key { detail };
    let key =
        RsaPrivateKey::new(&mut System(SystemRandom::new()), KEY_BITS).map_err(|error| failed(error.to_string()))?;
    key.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(error.to_string()))
}

/// The system's randomness, as the RSA library wants it.
struct System(SystemRandom);

impl RngCore for System {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        // The trait knows no failure here. A key must not be made of anything else, so this waits for the system.
        while self.0.fill(bytes).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for System {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_for_firmware_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::open(dir.path()).unwrap();
        let address = [IpAddr::from([10, 77, 0, 1])];
        let first = identity.boot_server(dir.path(), &address).unwrap();
        let second = identity.boot_server(dir.path(), &address).unwrap();
        assert_eq!(first.authorities, second.authorities);
        assert_eq!(first.authorities[0], *identity.ca_certificate());
        let path = dir.path().join(FOLDER).join(FIRMWARE_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(identity.boot_server(dir.path(), &address), Err(IdentityError::Damaged { .. })));
    }
}
