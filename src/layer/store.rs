//! The image store: one folder, content-addressed, without a database.
//!
//! ```text
//! manifests/<hex>.json   canonical bytes; <hex> is their SHA-256, the image's digest
//! blobs/<hex>            the squashfs of that image, whole, so that it is served with Range and sendfile
//! names/<name>           the digest that a name means now
//! tmp/                   files in the making       lock   shared by writers, exclusive for clearing tmp/
//! ```
//! Invariants: a file appears under its final name whole and durable or not at all (written, fsynced, renamed, folder
//! fsynced), in the order blob, manifest, name; so a name always leads to an image that is all there, after a crash too.
//! Adding is safe from several processes at once; adding the same content again repairs it.
//! All calls block on the disk: from an async task, use a blocking thread.
//! Deliberately absent: removal and garbage collection, sharing of equal blobs between images, serving.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layer::manifest::{
    self, CHUNK_SIZE_DEFAULT_BYTES, CHUNKS_MAX, Filesystem, HealthCheck, ImageRef, MANIFEST_MAX_BYTES, Manifest,
    ManifestError,
};
use crate::layer::squashfs::{self, SquashfsError};
use crate::model::{Digest, DigestError, Name};

/// Most bytes of a file in `names/`: a digest and a line end.
const NAME_FILE_MAX_BYTES: u64 = 128;
/// How many names of temporary files are tried when left-overs hold them.
const TEMPORARY_TRIES: u32 = 1000;
static TEMPORARY_COUNTER: AtomicU64 = AtomicU64::new(0);

/// The store in one folder.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// What an image runs, beside its filesystem.
#[derive(Debug, Clone)]
pub struct AddOptions {
    /// Chunk size; see [`manifest::check_chunk_size`].
    pub chunk_size_bytes: u32,
    /// Absolute path in the image, and arguments.
    pub entrypoint: Vec<String>,
    /// Environment of the entrypoint.
    pub env: BTreeMap<String, String>,
    /// How to see that it is well.
    pub health: HealthCheck,
}

impl AddOptions {
    /// Runs `entrypoint`, default chunks, no environment, well while it lives.
    pub fn new(entrypoint: Vec<String>) -> Self {
        let chunk_size_bytes = CHUNK_SIZE_DEFAULT_BYTES;
        Self { chunk_size_bytes, entrypoint, env: BTreeMap::new(), health: HealthCheck::Alive }
    }
}

/// Whether a name still means an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The image's name means this image.
    Current,
    /// The name means a later image, or the manifest cannot be read.
    Superseded,
}

/// One image in a listing.
#[derive(Debug)]
pub struct Listed {
    /// The image.
    pub digest: Digest,
    /// Its manifest, or why it cannot be read: one bad file does not hide the others.
    pub manifest: Result<Manifest, StoreError>,
    /// Whether its name means it.
    pub standing: Standing,
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{action} {path} failed; check the folder's owner, mode and free space")]
    File {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file given is no squashfs.
    #[error("{path} cannot be an image")]
    NotSquashfs {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SquashfsError,
    },
    /// The file has more chunks than a manifest holds.
    #[error("{path} has more than {CHUNKS_MAX} chunks of {chunk_size_bytes} bytes; use larger chunks")]
    TooManyChunks {
        /// The file.
        path: PathBuf,
        /// The size asked for.
        chunk_size_bytes: u32,
    },
    /// The manifest is not valid.
    #[error("the manifest of image {image} is not valid")]
    Manifest {
        /// Name or digest.
        image: String,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// The store does not have it.
    #[error("image {image} is not in the store; `bootes image list` shows what is")]
    NotFound {
        /// The digest asked for.
        image: Digest,
    },
    /// The manifest's bytes changed on disk.
    #[error("the manifest of {image} now hashes to {got}; add the image again")]
    ManifestAltered {
        /// The image.
        image: Digest,
        /// What the bytes hash to.
        got: Digest,
    },
    /// The blob's bytes changed on disk.
    #[error("chunk {chunk} of {image} hashes to {got}, not {expected}; add the image again")]
    BlobAltered {
        /// The image.
        image: Digest,
        /// Which chunk.
        chunk: u32,
        /// What the manifest says.
        expected: Digest,
        /// What is there.
        got: Digest,
    },
    /// The blob's length changed on disk.
    #[error("the blob of {image} has {got_bytes} bytes, not {expected_bytes}; add the image again")]
    BlobSize {
        /// The image.
        image: Digest,
        /// What the manifest says.
        expected_bytes: u64,
        /// What is there.
        got_bytes: u64,
    },
    /// A file in `names/` does not hold a digest.
    #[error("the name {name} points to something that is no digest; add the image again under that name")]
    Name {
        /// The name.
        name: Name,
        /// What is wrong.
        #[source]
        source: DigestError,
    },
}

fn fail<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::File { action, path: path.to_owned(), source }
}

/// A file in `tmp/` that is removed unless it was renamed.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn publish(mut self, to: &Path) -> Result<(), StoreError> {
        self.file.flush().map_err(fail("writing", &self.path))?;
        self.file.sync_all().map_err(fail("syncing", &self.path))?;
        fs::rename(&self.path, to).map_err(fail("renaming a file to", to))?;
        match to.parent() {
            Some(parent) => File::open(parent).and_then(|dir| dir.sync_all()).map_err(fail("syncing", parent)),
            None => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing under this name, which is as wished.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Opens the store in `dir`, making its folders, and clears what a crash left in `tmp/` unless somebody is writing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let store = Self { dir: dir.to_owned() };
        for part in ["blobs", "manifests", "names", "tmp"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(fail("making the folder", &path))?;
        }
        let lock = store.lock_file()?;
        if lock.try_lock().is_ok() {
            let tmp = dir.join("tmp");
            for entry in fs::read_dir(&tmp).map_err(fail("reading", &tmp))?.flatten() {
                let path = entry.path();
                fs::remove_file(&path).map_err(fail("removing the left-over", &path))?;
            }
        }
        Ok(store)
    }

    /// Adds a squashfs under `name` and answers the image's digest. The file is copied and hashed in one pass, so what is
    /// stored is what was hashed, whatever happens to the source meanwhile.
    pub fn add(&self, name: &Name, squashfs: &Path, options: AddOptions) -> Result<Digest, StoreError> {
        let chunk_size_bytes = options.chunk_size_bytes;
        let invalid = |source| StoreError::Manifest { image: name.to_string(), source };
        manifest::check_chunk_size(chunk_size_bytes).map_err(invalid)?;
        let lock = self.lock_file()?;
        lock.lock_shared().map_err(fail("locking", &self.dir))?;

        let mut blob = self.temporary()?;
        let (chunks, size_bytes) = copy_hashing(squashfs, &mut blob, chunk_size_bytes)?;
        let manifest = Manifest {
            chunk_size_bytes,
            chunks,
            entrypoint: options.entrypoint,
            env: options.env,
            filesystem: Filesystem::Squashfs,
            format: manifest::FORMAT,
            health: options.health,
            name: name.clone(),
            size_bytes,
        };
        let bytes = manifest.encode().map_err(invalid)?;
        let image = Digest::of(&bytes);
        blob.publish(&self.blob_path(&image))?;
        self.write_small(&bytes, &self.manifest_path(&image))?;
        self.write_small(format!("{image}\n").as_bytes(), &self.name_path(name))?;
        drop(lock);
        Ok(image)
    }

    /// What a name means now, or the digest itself where a digest is given; none for an unknown name. A digest is not
    /// looked up.
    pub fn resolve(&self, reference: &ImageRef) -> Result<Option<Digest>, StoreError> {
        match reference {
            ImageRef::Digest(image) => Ok(Some(*image)),
            ImageRef::Name(name) => {
                let path = self.name_path(name);
                let Some(bytes) = read_small(&path, NAME_FILE_MAX_BYTES)? else { return Ok(None) };
                let text = String::from_utf8_lossy(&bytes);
                let parsed = text.trim_end().parse();
                parsed.map(Some).map_err(|source| StoreError::Name { name: name.clone(), source })
            }
        }
    }

    /// The manifest of an image, checked against its digest.
    pub fn manifest(&self, image: &Digest) -> Result<Manifest, StoreError> {
        let path = self.manifest_path(image);
        let limit = u64::try_from(MANIFEST_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let bytes = read_small(&path, limit)?.ok_or(StoreError::NotFound { image: *image })?;
        let got = Digest::of(&bytes);
        if got != *image {
            return Err(StoreError::ManifestAltered { image: *image, got });
        }
        Manifest::decode(&bytes).map_err(|source| StoreError::Manifest { image: image.to_string(), source })
    }

    /// The file to serve as `/images/<hex>/blob`. No look is taken whether it exists.
    pub fn blob_path(&self, image: &Digest) -> PathBuf {
        self.dir.join("blobs").join(image.hex())
    }

    /// The file to serve as `/images/<hex>/manifest`. No look is taken whether it exists.
    pub fn manifest_path(&self, image: &Digest) -> PathBuf {
        self.dir.join("manifests").join(format!("{}.json", image.hex()))
    }

    /// Reads the whole image and compares every chunk; the first difference is the error.
    pub fn verify(&self, image: &Digest) -> Result<(), StoreError> {
        let manifest = self.manifest(image)?;
        let path = self.blob_path(image);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound { image: *image });
            }
            Err(source) => return Err(fail("opening", &path)(source)),
        };
        let got_bytes = file.metadata().map_err(fail("examining", &path))?.len();
        if got_bytes != manifest.size_bytes {
            return Err(StoreError::BlobSize { image: *image, expected_bytes: manifest.size_bytes, got_bytes });
        }
        let mut bytes = Vec::new();
        for chunk in manifest.chunks() {
            read_chunk(&mut file, &mut bytes, chunk.len_bytes).map_err(fail("reading", &path))?;
            let got = Digest::of(&bytes);
            if got != chunk.digest {
                let (chunk, expected) = (chunk.index, chunk.digest);
                return Err(StoreError::BlobAltered { image: *image, chunk, expected, got });
            }
        }
        Ok(())
    }

    /// Every image in the store, ordered by digest.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let dir = self.dir.join("manifests");
        let mut listed = Vec::new();
        for entry in fs::read_dir(&dir).map_err(fail("reading", &dir))? {
            let entry = entry.map_err(fail("reading", &dir))?;
            let file_name = entry.file_name();
            let hex = file_name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(digest) = hex.and_then(|hex| Digest::from_hex(hex).ok()) else { continue };
            let manifest = self.manifest(&digest);
            let means_it = manifest.as_ref().is_ok_and(|manifest| {
                matches!(self.resolve(&ImageRef::Name(manifest.name.clone())), Ok(Some(current)) if current == digest)
            });
            let standing = if means_it { Standing::Current } else { Standing::Superseded };
            listed.push(Listed { digest, manifest, standing });
        }
        listed.sort_by_key(|listed| listed.digest);
        Ok(listed)
    }

    fn name_path(&self, name: &Name) -> PathBuf {
        self.dir.join("names").join(name.as_str())
    }

    fn lock_file(&self) -> Result<File, StoreError> {
        let path = self.dir.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        options.open(&path).map_err(fail("opening", &path))
    }

    fn temporary(&self) -> Result<Temporary, StoreError> {
        let mut tried = 0;
        loop {
            let number = TEMPORARY_COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = self.dir.join("tmp").join(format!("{}-{number}", std::process::id()));
            match OpenOptions::new().create_new(true).write(true).open(&path) {
                Ok(file) => return Ok(Temporary { path, file }),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists && tried < TEMPORARY_TRIES => tried += 1,
                Err(source) => return Err(fail("making", &path)(source)),
            }
        }
    }

    fn write_small(&self, bytes: &[u8], to: &Path) -> Result<(), StoreError> {
        let mut temporary = self.temporary()?;
        temporary.file.write_all(bytes).map_err(fail("writing", to))?;
        temporary.publish(to)
    }
}

fn read_small(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fail("opening", path)(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit_bytes).read_to_end(&mut bytes).map_err(fail("reading", path))?;
    Ok(Some(bytes))
}

/// Fills `bytes` with up to `len_bytes` from the file: fewer only at its end.
fn read_chunk(file: &mut File, bytes: &mut Vec<u8>, len_bytes: u32) -> io::Result<()> {
    bytes.clear();
    file.take(u64::from(len_bytes)).read_to_end(bytes)?;
    Ok(())
}

fn copy_hashing(from: &Path, to: &mut Temporary, chunk_size_bytes: u32) -> Result<(Vec<Digest>, u64), StoreError> {
    let mut file = File::open(from).map_err(fail("opening", from))?;
    let file_bytes = file.metadata().map_err(fail("examining", from))?.len();
    let (mut chunks, mut size_bytes, mut bytes) = (Vec::new(), 0_u64, Vec::new());
    loop {
        read_chunk(&mut file, &mut bytes, chunk_size_bytes).map_err(fail("reading", from))?;
        if chunks.is_empty() {
            squashfs::check_superblock(&bytes, file_bytes)
                .map_err(|source| StoreError::NotSquashfs { path: from.to_owned(), source })?;
        }
        if bytes.is_empty() {
            return Ok((chunks, size_bytes));
        }
        if chunks.len() >= CHUNKS_MAX {
            return Err(StoreError::TooManyChunks { path: from.to_owned(), chunk_size_bytes });
        }
        to.file.write_all(&bytes).map_err(fail("writing", &to.path))?;
        chunks.push(Digest::of(&bytes));
        size_bytes = size_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
