//! How the appliance at the other end is known to be the one that is meant.
//!
//! A fingerprint is either an authority's, when the appliance sends that along: then its certificate must be signed by it,
//! be for this name and be valid now; or the certificate's own: then it is this certificate, and nothing else of it
//! counts. With a file of authorities the usual rules hold.
//!
//! Invariants: nothing is sent before the certificate was verified; with [`Trust::Ask`] nothing is sent at all.
//! Specification: RFC 5280 section 6, RFC 9525 (names).

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::connect::plain;
use super::error::CliError;
use crate::model::Digest;
use crate::port::access::fingerprint;

/// How the appliance is known.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By this fingerprint.
    Fingerprint(Digest),
    /// By these authorities.
    Authorities(Vec<CertificateDer<'static>>),
    /// Not yet: its chain is looked at, and the connection ends.
    Ask,
}

impl Trust {
    /// The authorities of a PEM file.
    ///
    /// # Errors
    /// When it cannot be read, or holds none.
    pub fn authorities_of(path: &Path) -> Result<Trust, CliError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            CliError::Usage(format!(
                "the file {} cannot be read ({}); name a PEM file of authorities",
                path.display(),
                plain(&error)
            ))
        })?;
        Trust::authorities(&text).map_err(|()| {
            CliError::Usage(format!("{} holds no certificate; name a PEM file of authorities", path.display()))
        })
    }

    /// The authorities of a PEM text.
    ///
    /// # Errors
    /// When it holds none.
    pub fn authorities(pem: &str) -> Result<Trust, ()> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        found.ok().filter(|found| !found.is_empty()).map(Trust::Authorities).ok_or(())
    }
}

/// The chain that the appliance showed.
pub type Seen = Arc<Mutex<Vec<CertificateDer<'static>>>>;

/// The fingerprint of what was seen.
#[must_use]
pub fn seen_fingerprint(seen: &Seen) -> Option<Digest> {
    fingerprint(&seen.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How TLS is spoken under this trust, and where the chain that is shown will be.
///
/// # Errors
/// When an authority cannot be used.
pub fn config(trust: &Trust) -> Result<(ClientConfig, Seen), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let seen = Seen::default();
    let verifier = Verifier { trust: trust.clone(), provider: provider.clone(), seen: seen.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, seen))
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(certificate).chain(intermediates).map(|der| der.clone().into_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
        let under = |authorities: &[CertificateDer<'_>]| {
            let mut roots = RootCertStore::empty();
            let (usable, _) = roots.add_parsable_certificates(authorities.iter().map(|der| der.clone().into_owned()));
            if usable == 0 {
                return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
            verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)
        };
        match &self.trust {
            Trust::Authorities(authorities) => under(authorities),
            Trust::Fingerprint(pinned) if Digest::of(certificate) == *pinned => Ok(ServerCertVerified::assertion()),
            Trust::Fingerprint(pinned) => match intermediates.iter().find(|der| Digest::of(der) == *pinned) {
                Some(authority) => under(std::slice::from_ref(authority)),
                None => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
            },
            Trust::Ask => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
