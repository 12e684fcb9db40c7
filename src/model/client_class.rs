//! Classes of DHCP clients: what holds for clients that say certain things of themselves.
//!
//! Invariants: a class asks for something; [`ClassSpec::matches`] looks at what is given alone.

use serde::{Deserialize, Serialize};

use super::{DhcpOptions, Mac, Name};

/// A class of clients of a network. A client is of it when everything that it asks for holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClassSpec {
    /// Its name.
    pub name: Name,
    /// Any of these architectures (numbers of option 93).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arch: Vec<u16>,
    /// The vendor class (option 60) begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    /// One of the user classes (option 77) is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_class: Option<String>,
    /// The hardware address begins with one of these, as in `52:54:00`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mac: Vec<String>,
    /// What its clients are told.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
}

/// What a client says of itself, for a class to look at.
#[derive(Debug, Clone, Copy)]
pub struct ClientSigns<'a> {
    /// Its hardware address.
    pub mac: Mac,
    /// Its architectures, where it says any.
    pub arch: &'a [u16],
    /// Its vendor class.
    pub vendor_class: Option<&'a [u8]>,
    /// Its user classes.
    pub user_classes: &'a [Vec<u8>],
}

impl ClassSpec {
    /// Whether it asks for anything at all.
    #[must_use]
    pub fn asks_for_something(&self) -> bool {
        !self.arch.is_empty() || self.vendor_class.is_some() || self.user_class.is_some() || !self.mac.is_empty()
    }

    /// Whether a client is of the class.
    #[must_use]
    pub fn matches(&self, client: &ClientSigns<'_>) -> bool {
        let vendor = |wanted: &String| client.vendor_class.is_some_and(|class| class.starts_with(wanted.as_bytes()));
        let user = |wanted: &String| client.user_classes.iter().any(|class| class == wanted.as_bytes());
        let mac = client.mac.to_string();
        (self.arch.is_empty() || client.arch.iter().any(|arch| self.arch.contains(arch)))
            && self.vendor_class.as_ref().is_none_or(vendor)
            && self.user_class.as_ref().is_none_or(user)
            && (self.mac.is_empty() || self.mac.iter().any(|prefix| mac.starts_with(&prefix.to_lowercase())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_of_a_class_when_all_that_is_asked_for_holds() {
        let class = ClassSpec {
            name: "old".parse().expect("a name"),
            arch: vec![0, 7],
            vendor_class: Some("PXEClient".into()),
            user_class: None,
            mac: vec!["52:54:00".into(), "02:AA".into()],
            options: DhcpOptions::default(),
        };
        let client = ClientSigns {
            mac: Mac([2, 0xaa, 0, 0, 0, 1]),
            arch: &[9, 7],
            vendor_class: Some(b"PXEClient:Arch:00007"),
            user_classes: &[],
        };
        assert!(class.asks_for_something() && class.matches(&client));
        assert!(!class.matches(&ClientSigns { arch: &[9], ..client }));
        assert!(!class.matches(&ClientSigns { vendor_class: None, ..client }));
        assert!(!class.matches(&ClientSigns { mac: Mac([2, 0xab, 0, 0, 0, 1]), ..client }));
        let ipxe = ClassSpec { user_class: Some("iPXE".into()), ..class };
        assert!(!ipxe.matches(&client));
        assert!(ipxe.matches(&ClientSigns { user_classes: &[b"iPXE".to_vec()], ..client }));
    }
}
