//! Who may use the API: roles, and tokens as they are kept.
//!
//! Invariant: a token is kept by its digest alone. It is 256 random bits, so nobody finds it by trying out what has
//! this digest, and a slow hash, which is there to protect passwords that people choose, would protect nothing more.
//! Absent on purpose: making a token (randomness is the edge's), and what a role may do (`api::permit`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Digest, Name, NodeSet, UnixMs};

/// What a caller is trusted with; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at everything and changes nothing.
    Viewer,
    /// Works with nodes that there are: power, goals, release.
    Operator,
    /// Changes what the cluster is, and who may use it.
    Admin,
}

/// Why a text is not a [`Role`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a role: use viewer, operator or admin")]
pub struct RoleError(String);

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Role::Viewer, Role::Operator, Role::Admin]
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or_else(|| RoleError(text.to_owned()))
    }
}

/// A token, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TokenSpec {
    /// Its name.
    pub name: Name,
    /// Its role.
    pub role: Role,
    /// The nodes that it may change; nothing for all. They need not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSet>,
    /// When it ceases to be valid; nothing for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMs>,
    /// The digest of the token's text.
    pub digest: Digest,
}

impl TokenSpec {
    /// Whether it has ceased to be valid.
    #[must_use]
    pub fn is_expired(&self, now: UnixMs) -> bool {
        self.expires_at.is_some_and(|at| now >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_are_read_as_they_are_printed() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn a_token_ends_at_its_time_and_not_before() {
        let spec = |expires_at| TokenSpec {
            name: "ci".parse().unwrap(),
            role: Role::Viewer,
            nodes: Some("n[1-3]".parse().unwrap()),
            expires_at,
            digest: Digest::of(b"token"),
        };
        assert!(!spec(None).is_expired(UnixMs(u64::MAX)));
        assert!(!spec(Some(UnixMs(5))).is_expired(UnixMs(4)));
        assert!(spec(Some(UnixMs(5))).is_expired(UnixMs(5)));
        let text = serde_json::to_string(&spec(None)).unwrap();
        assert!(text.contains("\"nodes\":\"n[1-3]\""), "{text}");
        assert_eq!(serde_json::from_str::<TokenSpec>(&text).unwrap(), spec(None));
    }
}
