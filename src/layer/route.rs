//! Where an image is found over HTTP: `/images/<hex>/manifest` and `/images/<hex>/blob`.
//!
//! Pure. Store and node both use this, so the two cannot drift apart. The digest in a path is the image's, that of the
//! manifest's bytes. A path that parses holds nothing but a digest, so it cannot leave the store's folder.
//! Deliberately absent: listing images, and names (a name is resolved before anything is fetched).

use std::fmt;
use std::str::FromStr;

use crate::model::Digest;

/// One thing that the store serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageRoute {
    /// The manifest's canonical bytes.
    Manifest(Digest),
    /// The filesystem image; served with Range.
    Blob(Digest),
}

/// The path names nothing that the store serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path is not /images/<64 hexadecimal digits>/manifest or …/blob; ask for one of these")]
pub struct NotAnImageRoute;

impl fmt::Display for ImageRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(image) => write!(f, "/images/{}/manifest", image.hex()),
            Self::Blob(image) => write!(f, "/images/{}/blob", image.hex()),
        }
    }
}

impl FromStr for ImageRoute {
    type Err = NotAnImageRoute;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let rest = path.strip_prefix("/images/").ok_or(NotAnImageRoute)?;
        let (hex, kind) = rest.split_once('/').ok_or(NotAnImageRoute)?;
        let image = Digest::from_hex(hex).map_err(|_| NotAnImageRoute)?;
        match kind {
            "manifest" => Ok(Self::Manifest(image)),
            "blob" => Ok(Self::Blob(image)),
            _ => Err(NotAnImageRoute),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn routes_round_trip(bytes: [u8; 32]) {
            for route in [ImageRoute::Manifest(Digest::from_bytes(bytes)), ImageRoute::Blob(Digest::from_bytes(bytes))] {
                prop_assert_eq!(route.to_string().parse::<ImageRoute>(), Ok(route));
            }
        }

        #[test]
        fn a_path_that_parses_prints_as_itself(path in "(/images/)?[0-9a-f/.]{0,80}(/blob|/manifest)?") {
            if let Ok(route) = path.parse::<ImageRoute>() {
                prop_assert_eq!(route.to_string(), path);
            }
        }
    }
}
