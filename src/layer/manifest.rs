//! The manifest of an image: what it is made of, what it runs, and how to see that it is well.
//!
//! Pure. The canonical bytes are JSON without white space, object keys sorted, integers only; their SHA-256 is the image's
//! digest. [`Manifest::decode`] accepts canonical bytes alone, so one image has one digest. Nothing in it depends on when
//! or where it was made: the same squashfs with the same options gives the same digest.
//! Every bound is checked both ways: what [`Manifest::encode`] wrote, [`Manifest::decode`] reads.
//! Deliberately absent: a creation time, signatures, and anything about the node that runs it.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::limits::NAME_BYTES_MAX;
use crate::model::{Digest, DigestError, Name};

/// Most bytes of an encoded manifest. A larger one is refused before it is parsed.
pub const MANIFEST_MAX_BYTES: usize = 4 << 20;
/// Most chunks of an image; a larger image needs larger chunks.
pub const CHUNKS_MAX: usize = 32_768;
/// Smallest chunk.
pub const CHUNK_SIZE_MIN_BYTES: u32 = 64 << 10;
/// Largest chunk: what is fetched again when one byte of it was wrong.
pub const CHUNK_SIZE_MAX_BYTES: u32 = 16 << 20;
/// The chunk size where none is asked for.
pub const CHUNK_SIZE_DEFAULT_BYTES: u32 = 4 << 20;
/// Most words of an entrypoint, and most environment variables.
pub const WORDS_MAX: usize = 256;
/// Most bytes of an entrypoint, and of an environment, together.
pub const WORDS_MAX_BYTES: usize = 64 << 10;
/// Longest path of an HTTP health check.
pub const HEALTH_PATH_MAX_BYTES: usize = 1024;
/// Environment variables that start so are set by the node, not by the image.
pub const RESERVED_ENV_PREFIX: &str = "BOOTES_";
/// The format that this code writes and reads.
pub const FORMAT: u32 = 1;

/// How an operator names an image: by its name, or by its digest with the `sha256:` prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// Whatever image has this name now.
    Name(Name),
    /// Exactly this image.
    Digest(Digest),
}

impl FromStr for ImageRef {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(':') {
            text.parse().map(Self::Digest).map_err(|source| ManifestError::Reference { source })
        } else {
            text.parse().map(Self::Name).map_err(|_| ManifestError::Name { name: text.chars().take(80).collect() })
        }
    }
}

/// The kind of filesystem in the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// squashfs version 4.
    Squashfs,
}

/// How to see that a running image is well.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum HealthCheck {
    /// It is well while its entrypoint lives.
    #[default]
    Alive,
    /// Something accepts connections on this TCP port.
    Tcp {
        /// The port on the node's address.
        port: NonZeroU16,
    },
    /// A GET is answered with 2xx or 3xx.
    Http {
        /// Path and query, starting with `/`.
        path: String,
        /// The port on the node's address.
        port: NonZeroU16,
    },
}

/// The manifest. Build it with public fields; [`Manifest::encode`] checks it. Fields are in the order of their names,
/// because the derived encoder writes them in that order and the canonical form is sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Length of every chunk but the last: a power of two within the bounds above.
    pub chunk_size_bytes: u32,
    /// The digest of each chunk, in order.
    pub chunks: Vec<Digest>,
    /// What is run: an absolute path inside the image, and its arguments.
    pub entrypoint: Vec<String>,
    /// Environment of the entrypoint.
    pub env: BTreeMap<String, String>,
    /// What kind of filesystem the blob is.
    pub filesystem: Filesystem,
    /// [`FORMAT`].
    pub format: u32,
    /// How to see that it is well.
    pub health: HealthCheck,
    /// The image's name.
    pub name: Name,
    /// Length of the blob.
    pub size_bytes: u64,
}

/// One chunk of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its position among the chunks, from 0.
    pub index: u32,
    /// Where it starts in the blob.
    pub offset_bytes: u64,
    /// Its length, at least 1.
    pub len_bytes: u32,
    /// What it must hash to.
    pub digest: Digest,
}

/// Why something is not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than any manifest has.
    #[error("the manifest has {got_bytes} bytes, the limit is {MANIFEST_MAX_BYTES}; use larger chunks")]
    TooLarge {
        /// Its length.
        got_bytes: usize,
    },
    /// Not JSON, or JSON of another shape.
    #[error("the manifest cannot be read; add the image again with `bootes image add`")]
    Malformed {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Readable, but not in its canonical form.
    #[error("the manifest is not in canonical form; add the image again with `bootes image add`, do not edit it")]
    NotCanonical,
    /// Written by another version.
    #[error("the manifest has format {got}, this version reads {FORMAT}; update bootes or add the image again")]
    Format {
        /// The format found.
        got: u32,
    },
    /// A chunk size outside the bounds, or not a power of two.
    #[error(
        "a chunk size of {got_bytes} bytes is not a power of two from {CHUNK_SIZE_MIN_BYTES} to {CHUNK_SIZE_MAX_BYTES}"
    )]
    ChunkSize {
        /// The size found.
        got_bytes: u32,
    },
    /// The number of chunks does not follow from the sizes, or is above the limit, or zero.
    #[error("{size_bytes} bytes need {expected} chunks (1 to {CHUNKS_MAX} are allowed), the manifest has {got}")]
    ChunkCount {
        /// Length of the blob.
        size_bytes: u64,
        /// What follows from it.
        expected: u64,
        /// What is there.
        got: usize,
    },
    /// Not a name.
    #[error(
        "{name:?} is not an image name: use 1 to {NAME_BYTES_MAX} letters, digits and hyphens, beginning and ending with a letter or digit"
    )]
    Name {
        /// What was given, cut to a printable length.
        name: String,
    },
    /// Neither a name nor a digest.
    #[error("the image is named neither by a name nor by a digest")]
    Reference {
        /// What is wrong with it as a digest.
        #[source]
        source: DigestError,
    },
    /// The entrypoint is empty, relative, too long, or holds a NUL.
    #[error(
        "the entrypoint must be an absolute path and arguments, at most {WORDS_MAX} words and {WORDS_MAX_BYTES} bytes, without NUL"
    )]
    Entrypoint,
    /// The environment as a whole is too large.
    #[error("the environment has more than {WORDS_MAX} variables or {WORDS_MAX_BYTES} bytes; make it smaller")]
    EnvTooLarge,
    /// One variable has a bad name, a NUL in its value, or a reserved name.
    #[error(
        "environment variable {name:?} is not usable: names are A-Z a-z 0-9 _ without a leading digit, values hold no NUL, and {RESERVED_ENV_PREFIX}* is the node's"
    )]
    Env {
        /// The variable.
        name: String,
    },
    /// The path of the HTTP check is not one.
    #[error(
        "the health check's path must start with / and hold at most {HEALTH_PATH_MAX_BYTES} printable ASCII characters"
    )]
    HealthPath,
}

impl Manifest {
    /// The canonical bytes, after checking every bound.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let bytes = serde_json::to_vec(self).map_err(|source| ManifestError::Malformed { source })?;
        if bytes.len() > MANIFEST_MAX_BYTES {
            return Err(ManifestError::TooLarge { got_bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads canonical bytes, and nothing else. Whether they are the ones asked for is the caller's question: compare
    /// [`Digest::of`] them first.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_MAX_BYTES {
            return Err(ManifestError::TooLarge { got_bytes: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|source| ManifestError::Malformed { source })?;
        if manifest.encode()? != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// How many chunks `size_bytes` make. Zero for a chunk size of zero.
    pub fn chunk_count(size_bytes: u64, chunk_size_bytes: u32) -> u64 {
        match chunk_size_bytes {
            0 => 0,
            size => size_bytes.div_ceil(u64::from(size)),
        }
    }

    /// The chunk at `index`, or none past the end.
    pub fn chunk(&self, index: u32) -> Option<Chunk> {
        let digest = *self.chunks.get(usize::try_from(index).ok()?)?;
        let offset_bytes = u64::from(index).checked_mul(u64::from(self.chunk_size_bytes))?;
        let rest = self.size_bytes.checked_sub(offset_bytes)?;
        let len_bytes = u32::try_from(rest.min(u64::from(self.chunk_size_bytes))).ok()?;
        Some(Chunk { index, offset_bytes, len_bytes, digest })
    }

    /// All chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        (0..u32::MAX).map_while(|index| self.chunk(index))
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format { got: self.format });
        }
        check_chunk_size(self.chunk_size_bytes)?;
        let expected = Self::chunk_count(self.size_bytes, self.chunk_size_bytes);
        let got = self.chunks.len();
        if got == 0 || got > CHUNKS_MAX || u64::try_from(got).ok() != Some(expected) {
            return Err(ManifestError::ChunkCount { size_bytes: self.size_bytes, expected, got });
        }
        check_entrypoint(&self.entrypoint)?;
        check_env(&self.env)?;
        check_health(&self.health)
    }
}

/// Whether chunks may have this size.
pub fn check_chunk_size(got_bytes: u32) -> Result<(), ManifestError> {
    if got_bytes.is_power_of_two() && (CHUNK_SIZE_MIN_BYTES..=CHUNK_SIZE_MAX_BYTES).contains(&got_bytes) {
        Ok(())
    } else {
        Err(ManifestError::ChunkSize { got_bytes })
    }
}

fn check_entrypoint(words: &[String]) -> Result<(), ManifestError> {
    let absolute = words.first().is_some_and(|program| program.starts_with('/'));
    let bytes = words.iter().fold(0_usize, |sum, word| sum.saturating_add(word.len()));
    let nul = words.iter().any(|word| word.contains('\0'));
    if absolute && !nul && words.len() <= WORDS_MAX && bytes <= WORDS_MAX_BYTES {
        Ok(())
    } else {
        Err(ManifestError::Entrypoint)
    }
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), ManifestError> {
    let mut bytes = 0_usize;
    for (name, value) in env {
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        let holds_well = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !holds_well || !starts_well || name.starts_with(RESERVED_ENV_PREFIX) || value.contains('\0') {
            return Err(ManifestError::Env { name: name.chars().take(80).collect() });
        }
    }
    if env.len() > WORDS_MAX || bytes > WORDS_MAX_BYTES {
        return Err(ManifestError::EnvTooLarge);
    }
    Ok(())
}

fn check_health(health: &HealthCheck) -> Result<(), ManifestError> {
    match health {
        HealthCheck::Alive | HealthCheck::Tcp { .. } => Ok(()),
        HealthCheck::Http { path, .. } => {
            let printable = path.bytes().all(|byte| byte.is_ascii_graphic());
            if path.starts_with('/') && printable && path.len() <= HEALTH_PATH_MAX_BYTES {
                Ok(())
            } else {
                Err(ManifestError::HealthPath)
            }
        }
    }
}

#[cfg(test)]
mod tests;
