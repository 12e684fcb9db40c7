//! Secrets at rest: an encrypted value that may be journaled, copied and compared, and never printed.
//!
//! Sealing and opening need a key and randomness, which live at the edge (`power::vault`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An encrypted secret: what the vault made of it. Its text forms show nothing but that there is one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(sealed)")
    }
}
