//! TLS 1.3 for both ends of the tree: whom each end trusts.
//!
//! A child knows one thing beforehand: the digest of the authority's certificate. The parent sends that certificate
//! along; the child finds it by its digest and then verifies the parent's chain, addresses and usage against it, as if it
//! had been configured. A parent verifies a child's certificate against the authority, if it shows one; which node it
//! belongs to, and whether it is still the node's, is the caller's to find out.
//!
//! Invariants: nothing older than TLS 1.3 is spoken; no session is resumed, so every connection proves its key anew.
//! Deliberately absent: names (parents are known by address), client certificates as a condition: a child that joins has
//! none yet.
//! Specification: RFC 8446 (TLS 1.3), RFC 5280 section 6.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::identity::Credentials;
use crate::model::Digest;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How a parent speaks TLS: with these credentials, and taking certificates of this authority from children.
///
/// # Errors
/// When the credentials or the authority's certificate cannot be used.
pub fn parent_config(credentials: Credentials, authority: &CertificateDer<'static>) -> Result<ServerConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain, credentials.key)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// How a child speaks TLS: trusting only the authority whose certificate has this digest, and showing `certificate` once
/// it has one.
///
/// # Errors
/// When the certificate and its key cannot be used.
pub fn child_config(
    authority: Digest,
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(PinnedAuthority { authority, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Trusts the one authority whose certificate has a known digest.
#[derive(Debug)]
struct PinnedAuthority {
    authority: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates.iter().find(|certificate| Digest::of(certificate) == self.authority);
        let Some(authority) = authority else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
