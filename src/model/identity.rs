//! By what a machine is known besides its hardware address: its UUID, its DHCP client identifier, its switch port.
//!
//! Invariants: [`Octets`] are printed as they were written, so that what a switch sends can be copied into a description;
//! an [`Identity`] is one text for one thing, and so can be looked up.
//!
//! Absent on purpose: whether two machines share one (`state::lease` notices).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Bytes that a client or a relay made up: text where they are text, else hexadecimal digits after `0x`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub struct Octets(Box<[u8]>);

/// A text that stands for no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is neither a text nor hexadecimal: write the text itself, or 0x and pairs of hexadecimal digits")]
pub struct OctetsError(pub String);

impl Octets {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Octets {
    fn from(bytes: &[u8]) -> Self {
        Octets(bytes.into())
    }
}

impl FromStr for Octets {
    type Err = OctetsError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || OctetsError(text.to_owned());
        let Some(digits) = text.strip_prefix("0x") else {
            return if text.is_empty() { Err(refused()) } else { Ok(Octets(text.as_bytes().into())) };
        };
        let plain: String = digits.chars().filter(|c| !matches!(c, ':' | '-')).collect();
        unhex(&plain).filter(|bytes| !bytes.is_empty()).map(|bytes| Octets(bytes.into())).ok_or_else(refused)
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        match str::from_utf8(&self.0) {
            Ok(text) if !text.is_empty() && self.0.iter().all(printable) && !text.starts_with("0x") => f.pad(text),
            _ => {
                let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                f.pad(&format!("0x{digits}"))
            }
        }
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for Octets {
    type Error = OctetsError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Octets> for String {
    fn from(octets: Octets) -> Self {
        octets.to_string()
    }
}

/// By what a node is known besides its hardware address, as described. A machine with one of them is the node, whatever its
/// hardware address is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeMatch {
    /// The machine's UUID, as its firmware tells it (DHCP option 97).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// The DHCP client identifier (option 61).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Octets>,
    /// The port, as the switch names it (option 82, sub-option 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_id: Option<Octets>,
    /// The switch, as it names itself (option 82, sub-option 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<Octets>,
}

impl NodeMatch {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == NodeMatch::default()
    }

    /// What the node can be looked up by.
    pub fn identities(&self) -> impl Iterator<Item = Identity> {
        let port = Identity::port(self.circuit_id.as_ref(), self.remote_id.as_ref());
        let uuid = self.uuid.map(Identity::uuid);
        let client_id = self.client_id.as_ref().map(Identity::client_id);
        [port, uuid, client_id].into_iter().flatten()
    }
}

/// One thing that a machine can be looked up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(Box<str>);

impl Identity {
    /// A machine's UUID.
    #[must_use]
    pub fn uuid(uuid: Uuid) -> Self {
        Identity(format!("uuid {uuid}").into())
    }

    /// A DHCP client identifier.
    #[must_use]
    pub fn client_id(id: &Octets) -> Self {
        Identity(format!("client id {id}").into())
    }

    /// A switch port: what the relay tells of it, one or both parts.
    #[must_use]
    pub fn port(circuit: Option<&Octets>, remote: Option<&Octets>) -> Option<Self> {
        match (circuit, remote) {
            (None, None) => None,
            (Some(circuit), None) => Some(Identity(format!("port {circuit}").into())),
            (None, Some(remote)) => Some(Identity(format!("switch {remote}").into())),
            (Some(circuit), Some(remote)) => Some(Identity(format!("port {circuit} of {remote}").into())),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_are_read_back_as_they_were_printed(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let octets = Octets::from(bytes.as_slice());
            prop_assert_eq!(octets.to_string().parse(), Ok(octets));
        }
    }

    #[test]
    fn text_stands_for_itself_and_digits_may_be_grouped() {
        assert_eq!("Gi1/0/7".parse::<Octets>().map(|o| o.as_bytes().to_vec()), Ok(b"Gi1/0/7".to_vec()));
        assert_eq!("0x00:04:00-0a".parse::<Octets>().map(|o| o.as_bytes().to_vec()), Ok(vec![0, 4, 0, 10]));
        for bad in ["", "0x", "0xf", "0xgg"] {
            assert!(bad.parse::<Octets>().is_err(), "{bad}");
        }
    }
}
