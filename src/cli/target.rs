//! Which appliance a command speaks to, as whom, and how it is known to be that one.
//!
//! The first of these that there is decides: `--api`, `--context`, `BOOTES_API`, `BOOTES_CONTEXT`, the context in use, the
//! socket of an appliance on this machine. An address alone says neither as whom nor whom to trust: that is taken from
//! `BOOTES_TOKEN`, `BOOTES_FINGERPRINT` and `BOOTES_CA`, or from a context of the same address.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use thiserror::Error;

use super::context::{self, Context};
use super::error::CliError;
use super::trust::Trust;
use crate::model::Digest;

/// Where an appliance of this machine answers, unless it is configured otherwise.
pub const SOCKET: &str = "/run/bootes/api.sock";
const PORT_DEFAULT: u16 = 443;

/// Where the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiUrl {
    /// Over the network.
    Https {
        /// The host's name or address; one of IPv6 in brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// On this machine.
    Socket(PathBuf),
}

/// Why a text is not the API's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiUrlError {
    /// It is for plain HTTP.
    #[error("'{0}' is for plain HTTP, and the API speaks HTTPS alone: write https:// instead of http://")]
    Plain(String),
    /// It is something else.
    #[error(
        "'{0}' is not the address of an API: write https://HOST:PORT, as in https://10.77.0.1:8081, or unix:/PATH for a socket"
    )]
    Other(String),
}

impl FromStr for ApiUrl {
    type Err = ApiUrlError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ApiUrlError::Other(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(ApiUrl::Socket(path)) } else { Err(wrong()) };
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let bare = uri.path() == "/" && uri.query().is_none();
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let port = match uri.port() {
            Some(port) => port.as_str().parse().map_err(|_| wrong())?,
            None => PORT_DEFAULT,
        };
        if !bare || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong());
        }
        match uri.scheme_str() {
            Some("https") => Ok(ApiUrl::Https { host: host.to_owned(), port }),
            Some("http") => Err(ApiUrlError::Plain(text.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiUrl::Https { host, port } => write!(f, "https://{host}:{port}"),
            ApiUrl::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An appliance, as whom it is asked, and how it is known.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub url: ApiUrl,
    /// The token; nothing at the socket.
    pub token: Option<String>,
    /// How it is known; nothing at the socket.
    pub trust: Option<Trust>,
}

/// What the command line says about it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `--api`.
    pub api: Option<ApiUrl>,
    /// `--context`.
    pub context: Option<String>,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Asked {
    /// Finds the appliance.
    ///
    /// # Errors
    /// When it is named wrongly, or it is not known how to trust it.
    pub fn resolve(&self) -> Result<Target, CliError> {
        if let Some(url) = &self.api {
            return at(url.clone());
        }
        if let Some(name) = &self.context {
            return of(context::Contexts::read()?.named(name)?);
        }
        if let Some(text) = variable("BOOTES_API") {
            return at(text.parse().map_err(|error| CliError::Usage(format!("BOOTES_API: {error}")))?);
        }
        let contexts = context::Contexts::read()?;
        if let Some(name) = variable("BOOTES_CONTEXT") {
            return of(contexts.named(&name)?);
        }
        match &contexts.current {
            Some(name) => of(contexts.named(name)?),
            None => at(ApiUrl::Socket(SOCKET.into())),
        }
    }
}

fn of(context: &Context) -> Result<Target, CliError> {
    let url = context.url.parse().map_err(|error| CliError::Usage(format!("in the contexts: {error}")))?;
    Ok(Target { url, token: Some(context.token.clone()), trust: Some(context.trust()?) })
}

fn at(url: ApiUrl) -> Result<Target, CliError> {
    let token = variable("BOOTES_TOKEN");
    if matches!(url, ApiUrl::Socket(_)) {
        return Ok(Target { url, token, trust: None });
    }
    let trust = match (variable("BOOTES_FINGERPRINT"), variable("BOOTES_CA")) {
        (Some(text), _) => Some(Trust::Fingerprint(fingerprint(&text)?)),
        (None, Some(file)) => Some(Trust::authorities_of(file.as_ref())?),
        (None, None) => None,
    };
    if let (Some(_), Some(_)) = (&token, &trust) {
        return Ok(Target { url, token, trust });
    }
    let contexts = context::Contexts::read()?;
    let known = contexts.at(&url);
    let trust = match (trust, known) {
        (Some(trust), _) => trust,
        (None, Some(known)) => known.trust()?,
        (None, None) => return Err(CliError::NotKnown { url: url.to_string() }),
    };
    Ok(Target { url, token: token.or_else(|| known.map(|known| known.token.clone())), trust: Some(trust) })
}

/// Reads a fingerprint: `sha256:` and 64 hexadecimal digits; also without the first, in capitals, or with colons between
/// bytes, as other programs print it.
///
/// # Errors
/// When it is something else.
pub fn fingerprint(text: &str) -> Result<Digest, CliError> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.strip_prefix("sha256:").unwrap_or(&lower).replace(':', "");
    Digest::from_hex(&digits).map_err(|_| {
        CliError::Usage(format!(
            "'{text}' is not a fingerprint: give what 'bootes api fingerprint' prints on the appliance, sha256: and 64 hexadecimal digits"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_named_by_host_and_port_or_by_a_socket_and_nothing_else() {
        let https = |host: &str, port| Ok(ApiUrl::Https { host: host.into(), port });
        assert_eq!("https://10.0.0.1:8081".parse(), https("10.0.0.1", 8081));
        assert_eq!("https://[::1]:8081/".parse(), https("[::1]", 8081));
        assert_eq!("https://boot.example.org".parse(), https("boot.example.org", 443));
        assert_eq!("unix:/run/x".parse(), Ok(ApiUrl::Socket("/run/x".into())));
        for bad in ["", "10.0.0.1:8081", "ftp://a:1", "https://", "https://a/b", "https://a?b", "https://u@a", "unix:x"]
        {
            assert!(matches!(bad.parse::<ApiUrl>(), Err(ApiUrlError::Other(_))), "{bad}");
        }
        assert!(matches!("http://a:1".parse::<ApiUrl>(), Err(ApiUrlError::Plain(_))));
    }

    #[test]
    fn a_fingerprint_is_read_in_the_forms_in_which_programs_print_it() {
        let digest = Digest::of(b"x");
        let pairs: Vec<String> = digest.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [digest.to_string(), digest.hex(), pairs.join(":"), format!("  {digest}\n")] {
            assert_eq!(fingerprint(&text).ok(), Some(digest), "{text}");
        }
        for bad in ["", "sha256:", "sha1:00", &digest.hex()[1..]] {
            assert!(fingerprint(bad).is_err(), "{bad}");
        }
    }
}
