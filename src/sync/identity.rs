//! The cluster's certificate authority, and the certificates that it gives out.
//!
//! The authority is made at the first start and kept in `ca/` of the state directory. The digest of its certificate
//! ([`Identity::ca_digest`]) goes into every node's boot script and is all that a node trusts. The appliance's own
//! certificate is made at each start and never stored; a node's is made from its request when it joins.
//!
//! Invariants: the authority's key is readable by its owner alone and never leaves this file; both of its files appear
//! together or not at all. Certificates are valid from 1970 to 4096, since the clock of a machine that boots may say
//! anything; what ends a node's certificate is its next join, not time. An agent's certificate is good for a client
//! only, the appliance's for a server only.
//! Deliberately absent: revocation lists, renewal, intermediate authorities.
//! Specification: RFC 5280 (certificates), RFC 2986 (requests), RFC 5958 (the key's file).

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::model::machine::mac_of;
use crate::model::{Digest, NodeId, UnixMs};

mod ffdhe;
pub mod firmware;
#[cfg(test)]
mod tests;

/// The folder in the state directory.
pub const FOLDER: &str = "ca";
/// The authority's key, as PKCS #8 in PEM.
pub const KEY_FILE: &str = "ca.key";
/// The authority's certificate in PEM.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// The longest request for a certificate that is looked at, in bytes.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;
/// What a node is called in its certificate, before its id.
pub const NODE_URI_PREFIX: &str = "bootes:node:";
/// What a machine that is no node is called in its certificate, which is good for reporting and waiting alone.
pub const MACHINE_URI_PREFIX: &str = "bootes:machine:";

/// What went wrong with the authority.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{action} {} failed: {source}; check the state directory", path.display())]
    File {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged ({detail}); restore it from a copy, or remove the folder to make a new authority, after which every node must boot again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A key cannot be made.
    #[error("no RSA key could be made for HTTPS boot: {detail}")]
    Key {
        /// Why not.
        detail: String,
    },
    /// A certificate cannot be used.
    #[error("the certificate for HTTPS boot cannot be used")]
    Tls {
        /// Why not.
        source: rustls::Error,
    },
    /// A certificate cannot be made.
    #[error("a certificate for {subject} could not be made")]
    Issue {
        /// Whose.
        subject: String,
        /// Why not.
        source: rcgen::Error,
    },
}

/// Why a node's request is not answered with a certificate.
#[derive(Debug, Error)]
pub enum RequestError {
    /// It is longer than any honest one.
    #[error("the certificate request has {len_bytes} bytes, at most {REQUEST_BYTES_MAX} are looked at")]
    TooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// It is no request, or not signed by the key that it asks for.
    #[error("the certificate request is malformed, or not signed by its own key")]
    Malformed {
        /// Why.
        source: rcgen::Error,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IdentityError),
}

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub struct Credentials {
    /// The certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// A certificate for the API, to be made.
#[derive(Debug, Clone, Copy)]
pub struct ApiCertificate<'a> {
    /// The names and addresses that it is to be good for.
    pub names: &'a [String],
    /// From when on.
    pub from: UnixMs,
    /// Until when.
    pub until: UnixMs,
}

/// The authority.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Identity {
    /// Loads the authority from `state_dir`, or makes it when there is none.
    ///
    /// # Errors
    /// When its files cannot be read or written, or do not hold an authority.
    pub fn open(state_dir: &Path) -> Result<Self, IdentityError> {
        let folder = state_dir.join(FOLDER);
        if !folder.exists() {
            make(state_dir, &folder)?;
        }
        let (key_path, certificate_path) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
        keep_private(&key_path)?;
        let key_pem = fs::read_to_string(&key_path).map_err(file("reading", &key_path))?;
        let certificate_pem = fs::read_to_string(&certificate_path).map_err(file("reading", &certificate_path))?;
        let damaged = |path: &Path, detail: &str| {
            let (path, detail) = (path.to_owned(), detail.to_owned());
            IdentityError::Damaged { path, detail }
        };
        let key = KeyPair::from_pem(&key_pem).map_err(|error| damaged(&key_path, &error.to_string()))?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| damaged(&certificate_path, &format!("{error:?}")))?;
        check_pair(&certificate, &key).map_err(|detail| damaged(&certificate_path, &detail))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(&certificate_path, &error.to_string()))?;
        Ok(Identity { certificate, certificate_pem, issuer })
    }

    /// The digest of the authority's certificate in DER: what nodes trust.
    #[must_use]
    pub fn ca_digest(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca_certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A new certificate for the appliance, good for these addresses.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn server(&self, addresses: &[IpAddr]) -> Result<Credentials, IdentityError> {
        let failed = |source| IdentityError::Issue { subject: "this appliance".into(), source };
        let mut params = leaf("bootes appliance", ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok(Credentials { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }

    /// A new key and certificate for the API, then the authority's certificate, as PEM. Unlike the tree's it ends, since
    /// clients of all kinds look at it, on machines that have a clock.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn api(&self, wanted: &ApiCertificate) -> Result<String, IdentityError> {
        let failed = |source| IdentityError::Issue { subject: "the API".into(), source };
        let mut params = leaf("bootes API", ExtendedKeyUsagePurpose::ServerAuth);
        let at = |at: UnixMs| date_time_ymd(1970, 1, 1) + Duration::from_secs(at.0 / 1_000);
        (params.not_before, params.not_after) = (at(wanted.from), at(wanted.until));
        let name = |name: &String| match name.parse() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => name.as_str().try_into().map(SanType::DnsName),
        };
        params.subject_alt_names = wanted.names.iter().map(name).collect::<Result<_, _>>().map_err(failed)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(format!("{}{}{}", key.serialize_pem(), certificate.pem(), self.certificate_pem))
    }

    /// A certificate for `node`, for the key that signed the request. Of the request nothing but its key is taken.
    ///
    /// # Errors
    /// When the request is not one, or the certificate cannot be made.
    pub fn issue(&self, node: NodeId, csr_der: &[u8]) -> Result<Vec<CertificateDer<'static>>, RequestError> {
        if csr_der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong { len_bytes: csr_der.len() });
        }
        let request = CertificateSigningRequestDer::from(csr_der);
        let request =
            CertificateSigningRequestParams::from_der(&request).map_err(|source| RequestError::Malformed { source })?;
        let prefix = if mac_of(node).is_some() { MACHINE_URI_PREFIX } else { NODE_URI_PREFIX };
        let name = format!("{prefix}{node}");
        let failed = |source| IdentityError::Issue { subject: name.clone(), source };
        let mut params = leaf(&name, ExtendedKeyUsagePurpose::ClientAuth);
        params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().map_err(failed)?)];
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(failed)?;
        Ok(vec![certificate.der().clone(), self.certificate.clone()])
    }
}

/// A key of a node's own, and a request for its certificate in DER.
///
/// # Errors
/// When the system has no randomness.
pub fn request(node: NodeId) -> Result<(PrivateKeyDer<'static>, Vec<u8>), IdentityError> {
    let name = format!("{NODE_URI_PREFIX}{node}");
    let failed = |source| IdentityError::Issue { subject: name.clone(), source };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let request = params(&name).serialize_request(&key).map_err(failed)?;
    Ok((PrivatePkcs8KeyDer::from(key.serialize_der()).into(), request.der().to_vec()))
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn leaf(common_name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = always_valid(params(common_name));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

fn always_valid(mut params: CertificateParams) -> CertificateParams {
    // A machine without a working clock starts in 1970.
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(4096, 1, 1);
    params
}

/// Makes the authority in a folder of another name and renames it, so that it is there as a whole or not at all.
fn make(state_dir: &Path, folder: &Path) -> Result<(), IdentityError> {
    let fresh = state_dir.join(format!("{FOLDER}.new"));
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file("clearing", &fresh)(error)),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&fresh).map_err(file("making", &fresh))?;
    let failed = |source| IdentityError::Issue { subject: "the authority itself".into(), source };
    let mut params = always_valid(params("bootes authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    write(&fresh.join(KEY_FILE), key.serialize_pem().as_bytes(), 0o600)?;
    write(&fresh.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), 0o644)?;
    fs::rename(&fresh, folder).map_err(file("renaming", &fresh))?;
    let sync = fs::File::open(state_dir).and_then(|dir| dir.sync_all());
    sync.map_err(file("writing out", state_dir))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IdentityError> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut to = opened.map_err(file("making", path))?;
    to.write_all(bytes).and_then(|()| to.sync_all()).map_err(file("writing", path))
}

/// A copy that was restored by hand may be readable by everybody.
fn keep_private(path: &Path) -> Result<(), IdentityError> {
    let mode = fs::metadata(path).map_err(file("reading", path))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the authority's key was readable by others; it is made private again");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(file("making private", path))
}

fn check_pair(certificate: &CertificateDer<'static>, key: &KeyPair) -> Result<(), String> {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
    let pair = rustls::sign::CertifiedKey::new(vec![certificate.clone()], key);
    pair.keys_match().map_err(|_| format!("it is not the certificate of {KEY_FILE}"))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { action, path, source }
}
