//! The documents of access to the API, and the rule by which both of its ends name a chain of certificates.
//!
//! Absent on purpose: a token in any answer but the one that creates it.

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Name, NodeSet, Role, UnixMs};

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Its name.
    pub name: Name,
    /// Its role.
    pub role: Role,
    /// The nodes that it may change; nothing for all. For operators alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSet>,
    /// After so many seconds it ceases to be valid; nothing for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

/// A token that was made: the only document that holds one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CreatedToken {
    /// The token. It is shown this once.
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub about: TokenDocument,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreatedToken({})", self.about.name)
    }
}

/// A token, without the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TokenDocument {
    /// Its name.
    pub name: Name,
    /// Its role.
    pub role: Role,
    /// The nodes that it may change; nothing for all that its role may.
    pub nodes: Option<NodeSet>,
    /// When it was made.
    pub created_at: String,
    /// When it ceases to be valid; nothing for never.
    pub expires_at: Option<String>,
    /// Whether it has.
    pub expired: bool,
    /// When it was last used, as far as the appliance knows since its start.
    pub last_used: Option<String>,
    /// The same in milliseconds since 1970.
    pub last_used_ms: Option<UnixMs>,
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerDocument {
    /// The token's name, or `root (socket)`.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The nodes that the caller may change; nothing for all that the role may.
    pub nodes: Option<NodeSet>,
    /// When the token ceases to be valid; nothing for never.
    pub expires_at: Option<String>,
}

/// The certificate with which the API answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CertificateDocument {
    /// What a client pins: see [`fingerprint`].
    pub fingerprint: Digest,
    /// The digest of the certificate itself.
    pub certificate: Digest,
    /// The names and addresses that it is good for.
    pub names: Vec<String>,
    /// When it ceases to be valid.
    pub valid_until: String,
    /// Where the API listens.
    pub listen: String,
}

/// The fingerprint of a chain of certificates in DER, as it is sent: the digest of its last certificate when that one
/// is an authority of its own, else of its first. An authority's stays the same when its certificates are renewed; an
/// authority that others share is usually not sent, and then the certificate stands for itself.
#[must_use]
pub fn fingerprint<C: AsRef<[u8]>>(chain: &[C]) -> Option<Digest> {
    let own_authority = |der: &&C| {
        x509_parser::parse_x509_certificate(der.as_ref())
            .is_ok_and(|(_, parsed)| parsed.subject() == parsed.issuer() && parsed.is_ca())
    };
    let last = chain.last().filter(own_authority);
    last.or(chain.first()).map(|der| Digest::of(der.as_ref()))
}
