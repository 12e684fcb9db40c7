//! The 48-bit hardware address of a network interface (IEEE 802 EUI-48), as six octets and as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A 48-bit hardware address. Prints in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// Why a text is not a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a hardware address: write six octets in hexadecimal, as in 52:54:00:ab:cd:ef")]
pub struct MacError(pub String);

impl FromStr for Mac {
    type Err = MacError;

    /// Accepts `52:54:00:ab:cd:ef`, `52-54-00-ab-cd-ef` and `525400abcdef`, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || MacError(text.to_owned());
        let digits: Vec<u8> = match text.len() {
            12 => text.bytes().collect(),
            17 => {
                let separators = text.bytes().skip(2).step_by(3);
                let colons = separators.clone().all(|b| b == b':');
                if !colons && !separators.clone().all(|b| b == b'-') {
                    return Err(wrong());
                }
                text.bytes().enumerate().filter(|(i, _)| i % 3 != 2).map(|(_, b)| b).collect()
            }
            _ => return Err(wrong()),
        };
        let mut octets = [0u8; 6];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let value = (*digit as char).to_digit(16).ok_or_else(wrong)?;
                *octet = (*octet << 4) | u8::try_from(value).map_err(|_| wrong())?;
            }
        }
        Ok(Mac(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mac_survives_printing_and_parsing(octets: [u8; 6]) {
            let mac = Mac(octets);
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
            prop_assert_eq!(mac.to_string().replace(':', "-").to_uppercase().parse::<Mac>(), Ok(mac));
            prop_assert_eq!(mac.to_string().replace(':', "").parse::<Mac>(), Ok(mac));
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<Mac>();
        }
    }

    #[test]
    fn separators_may_not_be_mixed() {
        assert!("52:54-00:ab:cd:ef".parse::<Mac>().is_err());
    }
}
