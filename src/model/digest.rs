//! SHA-256 digests, by which images, manifests and chunks are named.
//!
//! Invariants: the text form is `sha256:` and 64 lower-case hexadecimal digits, and there is exactly one text for a
//! digest, so text can be compared and used as a file name. Pure: hashing is a function of the bytes given.
//! Deliberately absent: other algorithms (a second one would be a second variant and a second prefix).
//! Specification: FIPS 180-4 section 6.2.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length of a SHA-256 digest.
pub const DIGEST_BYTES: usize = 32;
const PREFIX: &str = "sha256:";

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; DIGEST_BYTES]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm's name is missing or unknown.
    #[error("digest {text:?} does not start with sha256: — write it as sha256:<64 hexadecimal digits>")]
    Algorithm {
        /// What was given, cut to a printable length.
        text: String,
    },
    /// The part after the prefix has the wrong length or wrong characters.
    #[error("digest {text:?} is not 64 lower-case hexadecimal digits — copy it in full from `bootes image list`")]
    Hexadecimal {
        /// What was given, cut to a printable length.
        text: String,
    },
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digester = Digester::new();
        digester.update(bytes);
        digester.finish()
    }

    /// A digest whose 32 bytes are known already.
    pub const fn from_bytes(bytes: [u8; DIGEST_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits, without the algorithm: the form used in file names and URLs.
    pub fn hex(&self) -> String {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
    }

    /// The first 12 hexadecimal digits, for tables.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// Reads what [`Digest::hex`] writes, and nothing else.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let fault = || DigestError::Hexadecimal { text: printable(text) };
        if text.len() != DIGEST_BYTES * 2 {
            return Err(fault());
        }
        let mut bytes = [0_u8; DIGEST_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let &[high, low] = pair else { return Err(fault()) };
            let (Some(high), Some(low)) = (nibble(high), nibble(low)) else { return Err(fault()) };
            *byte = (high << 4) | low;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a' - 10),
        _ => None,
    }
}

fn printable(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(PREFIX) {
            Some(hex) => Self::from_hex(hex),
            None => Err(DigestError::Algorithm { text: printable(text) }),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest in the making, for bytes that arrive in pieces.
#[derive(Clone)]
pub struct Digester(ring::digest::Context);

impl Digester {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Hashes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all the pieces in their order.
    pub fn finish(self) -> Digest {
        let mut bytes = [0_u8; DIGEST_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Digest(bytes)
    }
}

impl Default for Digester {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_one_in_the_standard() {
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(Digest::of(b"abc")));
    }

    #[test]
    fn upper_case_short_and_foreign_texts_are_refused() {
        let hex = Digest::of(b"abc").hex();
        assert!(format!("sha256:{}", hex.to_uppercase()).parse::<Digest>().is_err());
        assert!(hex.parse::<Digest>().is_err());
        assert!(format!("sha256:{}", &hex[1..]).parse::<Digest>().is_err());
        assert!(format!("sha512:{hex}").parse::<Digest>().is_err());
    }

    proptest! {
        #[test]
        fn text_and_json_round_trip(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }

        #[test]
        fn any_text_is_a_digest_or_an_error(text: String) {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn pieces_hash_as_the_whole(bytes: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(bytes.len() + 1);
            let mut digester = Digester::new();
            digester.update(&bytes[..cut]);
            digester.update(&bytes[cut..]);
            prop_assert_eq!(digester.finish(), Digest::of(&bytes));
        }
    }
}
