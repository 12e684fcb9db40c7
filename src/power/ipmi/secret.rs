//! A BMC password that cannot be printed by accident.
//!
//! Invariants: `Debug` never shows the bytes, there is no `Display`, and the bytes are wiped when the value is dropped.
//! Deliberately not here: encryption at rest, and comparison (nothing in the client needs to compare two passwords).

use std::fmt;
use zeroize::Zeroizing;

/// A password: kept in memory, wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a password. IPMI v2.0 allows at most 20 of them; opening a session checks that.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for the code that computes keys from them.
    pub(in crate::power) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The password as text, for a module from outside that the configuration trusts with it; nothing when it is no text.
    #[must_use]
    pub fn reveal(&self) -> Option<Zeroizing<String>> {
        std::str::from_utf8(&self.0).ok().map(|text| Zeroizing::new(text.to_owned()))
    }

    /// Length of the password in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_never_shows_its_bytes_in_debug_output() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert_eq!(shown, "Secret(redacted)");
    }
}
