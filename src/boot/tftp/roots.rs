//! Plain files below declared folders.
//!
//! Purpose: the [`Files`] of a server whose files lie on disk. A name is looked for in each root in turn.
//!
//! Invariants:
//! - What is opened lies inside a declared root, whatever the name and the links say: the name is normalised first, the
//!   target is found with all links followed and must lie in a root, and is then opened from that root with the kernel
//!   told to follow no link and to leave the root in no way (`openat2`). A link that is swapped in between is refused.
//! - Only plain files are served; opening never blocks on a pipe or a device.
//! - Roots may be replaced while the server runs: each request looks anew.
//!
//! A name that begins with `/` is read from the root, and `\` is read as `/`, since some firmware sends either.
//!
//! Deliberately absent: writing, listing, names without regard to case.

pub(in crate::boot) mod cache;
#[cfg(test)]
mod tests;

use super::files::{Files, OpenError, Source};
use cache::Cache;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::{File, Metadata};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Declared folders, in the order in which they are searched.
#[derive(Debug)]
pub struct Roots {
    folders: Vec<PathBuf>,
    cache: Cache,
}

/// Why folders cannot be declared as roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A root cannot be reached.
    #[error("the root {} cannot be opened; create the folder, or correct its name", folder.display())]
    Unreachable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A root is not a folder.
    #[error("the root {} is not a folder; name the folder that holds the boot files", folder.display())]
    NotAFolder {
        /// What was named.
        folder: PathBuf,
    },
}

/// What a look into the roots found.
enum Found {
    Nothing,
    Outside,
    At { root: PathBuf, below: PathBuf },
}

impl Roots {
    /// Declares the folders.
    ///
    /// # Errors
    /// One of them does not exist, cannot be reached, or is not a folder.
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self, RootsError> {
        let folders: Vec<PathBuf> = folders.into_iter().collect();
        for folder in &folders {
            let metadata = std::fs::metadata(folder)
                .map_err(|source| RootsError::Unreachable { folder: folder.clone(), source })?;
            if !metadata.is_dir() {
                return Err(RootsError::NotAFolder { folder: folder.clone() });
            }
        }
        Ok(Self { folders, cache: Cache::new(cache::LOADERS) })
    }

    fn find(&self, relative: &Path) -> io::Result<Found> {
        let roots: Vec<PathBuf> = self.folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        for root in &roots {
            let target = match root.join(relative).canonicalize() {
                Ok(target) => target,
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(error),
            };
            let home = roots.iter().find_map(|home| Some((home, target.strip_prefix(home).ok()?)));
            return Ok(match home {
                Some((home, below)) => Found::At { root: home.clone(), below: below.to_owned() },
                None => Found::Outside,
            });
        }
        Ok(Found::Nothing)
    }
}

impl Roots {
    /// Opens the plain file that `name` means. Blocks on the disk.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_file(&self, name: &str) -> Result<(File, Metadata), OpenError> {
        let owned = || name.to_owned();
        let unreadable = |source: io::Error| OpenError::Unreadable { name: owned(), source };
        let relative = normalise(name).ok_or_else(|| OpenError::OutsideRoots { name: owned() })?;
        let (root, below) = match self.find(&relative).map_err(unreadable)? {
            Found::Nothing => return Err(OpenError::NotFound { name: owned() }),
            Found::Outside => return Err(OpenError::OutsideRoots { name: owned() }),
            Found::At { root, below } => (root, below),
        };
        if below.as_os_str().is_empty() {
            return Err(OpenError::NotAFile { name: owned() });
        }
        let file = match open_beneath(&root, &below) {
            Ok(file) => file,
            Err(Errno::ELOOP | Errno::EXDEV) => {
                return Err(OpenError::OutsideRoots { name: owned() });
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                return Err(OpenError::NotFound { name: owned() });
            }
            // A socket in the file system.
            Err(Errno::ENXIO) => return Err(OpenError::NotAFile { name: owned() }),
            Err(errno) => return Err(unreadable(errno.into())),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile { name: owned() });
        }
        Ok((file, metadata))
    }
}

impl Files for Roots {
    fn open(&self, _client: SocketAddr, name: &str) -> Result<Source, OpenError> {
        let unreadable = |source: io::Error| OpenError::Unreadable { name: name.to_owned(), source };
        let (file, metadata) = self.open_file(name)?;
        let source = Source::file(file).map_err(unreadable)?;
        if !self.cache.takes(&metadata) {
            return Ok(source);
        }
        self.cache.get(&metadata, || source.read_whole()).map(Source::bytes).map_err(unreadable)
    }
}

fn is_absence(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG))
}

fn open_beneath(root: &Path, below: &Path) -> Result<File, Errno> {
    let root = File::open(root).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(&root, below, how).map(File::from)
}

/// The name as a path below a root; none where `..` leads above it.
fn normalise(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                if !path.pop() {
                    return None;
                }
            }
            part => path.push(part),
        }
    }
    Some(path)
}
