//! Secrets at rest: an encrypted value that may be journaled, copied and compared, and never printed.
//!
//! In text formats it is one string that begins with [`SEALED_PREFIX`], so that whoever writes a document for others can
//! recognise it wherever it stands and write [`SECRET_MARK`] instead (see `api::reply`).
//!
//! Sealing and opening need a key and randomness, which live at the edge (`power::vault`).

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the text of a sealed secret begins with.
pub const SEALED_PREFIX: &str = "sealed:";
/// What stands where a secret would, for those who may not have it even sealed.
pub const SECRET_MARK: &str = "(secret)";

/// An encrypted secret: what the vault made of it. Its text forms show nothing but that there is one; an empty one is
/// what is left of a secret in an answer of the API.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(sealed)")
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        if self.0.is_empty() {
            return serializer.serialize_str(SECRET_MARK);
        }
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        let digits = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
        serializer.serialize_str(&SEALED_PREFIX.chars().chain(digits).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_any(Text),
            false => Vec::deserialize(deserializer).map(Sealed),
        }
    }
}

/// Reads the text, the mark, and the list of bytes that journals held at first.
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Sealed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sealed secret")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sealed, E> {
        let wrong = || E::custom("this is no sealed secret");
        let digits = match text.strip_prefix(SEALED_PREFIX) {
            Some(digits) if digits.len() % 2 == 0 => digits,
            None if text == SECRET_MARK => return Ok(Sealed(Vec::new())),
            _ => return Err(wrong()),
        };
        let byte = |pair: &[u8]| {
            let digits = std::str::from_utf8(pair).ok().filter(|_| pair.iter().all(u8::is_ascii_hexdigit))?;
            u8::from_str_radix(digits, 16).ok()
        };
        digits.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>().map(Sealed).ok_or_else(wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Sealed, A::Error> {
        let mut sealed = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            sealed.push(byte);
        }
        Ok(Sealed(sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_is_one_word_in_json_and_comes_back_from_it_and_from_the_older_form() {
        let sealed = Sealed(vec![0, 0xab, 255]);
        assert_eq!(serde_json::to_string(&sealed).unwrap(), r#""sealed:00abff""#);
        for text in [r#""sealed:00abff""#, "[0,171,255]"] {
            assert_eq!(serde_json::from_str::<Sealed>(text).unwrap(), sealed, "{text}");
        }
        assert_eq!(serde_json::from_str::<Sealed>("\"(secret)\"").unwrap(), Sealed(vec![]));
        for text in ["\"\"", r#""sealed:0""#, r#""sealed:0x""#, r#""sealed:+1""#, "3", "[300]"] {
            assert!(serde_json::from_str::<Sealed>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_codec_without_text_keeps_the_bytes() {
        let sealed = Sealed(vec![1, 2, 3]);
        let bytes = postcard::to_allocvec(&sealed).unwrap();
        assert_eq!(bytes, [3, 1, 2, 3]);
        assert_eq!(postcard::from_bytes::<Sealed>(&bytes).unwrap(), sealed);
    }
}
