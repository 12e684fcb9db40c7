//! A connection to the API: TLS whose certificate was verified, or the socket of this machine.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::error::CliError;
use super::target::{ApiUrl, Target};
use super::trust::{self, Seen, Trust};
use crate::model::Digest;

/// How long the appliance may take to accept a connection, and as long again to agree on TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What is spoken over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects.
///
/// # Errors
/// When nobody answers, or it is not whom it should be.
pub async fn connect(target: &Target) -> Result<Box<dyn Stream>, CliError> {
    match (&target.url, &target.trust) {
        (ApiUrl::Socket(path), _) => socket(path, &target.url).await,
        (ApiUrl::Https { .. }, None) => Err(CliError::NotKnown { url: target.url.to_string() }),
        (ApiUrl::Https { host, port }, Some(trust)) => {
            let (config, seen) =
                trust::config(trust).map_err(|error| CliError::Usage(format!("the trusted certificates: {error}")))?;
            let stream = tcp(host, *port, &target.url).await?;
            let name = server_name(host).ok_or_else(|| CliError::Usage(format!("'{host}' is no host's name")))?;
            let shaken = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream);
            match tokio::time::timeout(CONNECT_WITHIN, shaken).await {
                Ok(Ok(stream)) => Ok(Box::new(stream)),
                Ok(Err(error)) => Err(refused(&target.url, trust, &seen, &error)),
                Err(_) => Err(slow(&target.url)),
            }
        }
    }
}

/// The fingerprint that the appliance shows; nothing is said to it.
///
/// # Errors
/// When nobody answers there, or not with TLS.
pub async fn look(url: &ApiUrl) -> Result<Digest, CliError> {
    let ApiUrl::Https { host, port } = url else {
        return Err(CliError::Usage(format!("{url} is a socket, which has no certificate")));
    };
    let (config, seen) = trust::config(&Trust::Ask).map_err(|error| CliError::Usage(error.to_string()))?;
    let stream = tcp(host, *port, url).await?;
    let name = server_name(host).ok_or_else(|| CliError::Usage(format!("'{host}' is no host's name")))?;
    let shaken = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream);
    match tokio::time::timeout(CONNECT_WITHIN, shaken).await {
        Ok(ended) => trust::seen_fingerprint(&seen)
            .ok_or_else(|| no_tls(url, &ended.err().map_or_else(String::new, |error| error.to_string()))),
        Err(_) => Err(slow(url)),
    }
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(bare(host).to_owned()).ok()
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

async fn tcp(host: &str, port: u16, url: &ApiUrl) -> Result<TcpStream, CliError> {
    match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect((bare(host), port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(CliError::Unreachable { url: url.to_string(), detail: plain(&error) }),
        Err(_) => Err(slow(url)),
    }
}

async fn socket(path: &Path, url: &ApiUrl) -> Result<Box<dyn Stream>, CliError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(CliError::NotRoot { path: path.to_owned() })
        }
        Err(error) => Err(CliError::Unreachable { url: url.to_string(), detail: plain(&error) }),
    }
}

fn slow(url: &ApiUrl) -> CliError {
    CliError::Unreachable { url: url.to_string(), detail: format!("no answer within {} s", CONNECT_WITHIN.as_secs()) }
}

fn no_tls(url: &ApiUrl, detail: &str) -> CliError {
    CliError::NotUnderstood { url: url.to_string(), detail: format!("no TLS is spoken there: {detail}") }
}

/// Why TLS came to nothing, and what to do.
fn refused(url: &ApiUrl, trust: &Trust, seen: &Seen, error: &io::Error) -> CliError {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(why)) = tls else { return no_tls(url, &error.to_string()) };
    let shown = trust::seen_fingerprint(seen);
    if let (Trust::Fingerprint(pinned), CertificateError::ApplicationVerificationFailure, Some(shown)) =
        (trust, why, shown)
    {
        return CliError::WrongFingerprint { url: url.to_string(), pinned: *pinned, shown };
    }
    let detail = match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not for this name or address: use one that it is for ('bootes api fingerprint -o json' on the appliance lists them), or add this one to [api] names in appliance.toml".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: check this machine's clock, then start the appliance anew, or replace the certificate that it was given".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: check the clocks of this machine and of the appliance".to_owned()
        }
        // Authorities of two appliances have the same name and not the same key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "none of the trusted authorities signed it: log in again with the right --ca or --fingerprint".to_owned()
        }
        other => format!("{other}; log in again with 'bootes login {url}'"),
    };
    CliError::WrongCertificate { url: url.to_string(), detail }
}

/// The system's sentence without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
