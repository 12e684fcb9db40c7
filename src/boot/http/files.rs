//! The files behind the routes, open and ready to be sent.
//!
//! Invariants:
//! - Every request looks at what the name means now; a file that was replaced by renaming is served as it is from then on,
//!   and whoever began before gets the rest of the old one. What is open is shared by all who are sent it.
//! - Files up to [`RESIDENT_FILE_MAX_BYTES`] are read once and shared from memory, so that a rack that boots at once costs
//!   the memory of one kernel; together they take at most [`RESIDENT_TOTAL_MAX_BYTES`].
//! - A loader is opened inside its declared folder, whatever its name and the links say.
//!
//! All calls block on the disk. Deliberately absent: what an image's digest means on disk ([`ImageFiles`] tells).

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::route::{ImageFile, Route};
use crate::boot::script::BootSettings;
use crate::boot::tftp::roots::cache::{Bounds, Cache};
use crate::boot::tftp::{OpenError, Roots};

/// Longest file that is kept in memory, in bytes; a longer one is read as it is sent.
pub const RESIDENT_FILE_MAX_BYTES: u64 = 64 << 20;
/// How much is kept in memory in all, in bytes; what was used longest ago is dropped first.
pub const RESIDENT_TOTAL_MAX_BYTES: u64 = 192 << 20;
/// Open files that are remembered before those that nobody is sent any more are cleared out.
const OPEN_FILES_KEPT: usize = 256;

/// Knows where the files of images are.
pub trait ImageFiles: Send + Sync + 'static {
    /// The file's path; nothing when there is no such image. Called on a thread where blocking is allowed.
    fn path(&self, file: ImageFile) -> Option<PathBuf>;
}

/// Why a file cannot be sent.
#[derive(Debug)]
pub(super) enum FileFault {
    /// There is none.
    Absent { reason: String },
    /// It is there and cannot be sent.
    Unreadable { reason: String },
}

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    content: Content,
    length_bytes: u64,
    etag: String,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    File(File),
}

/// What a file is, apart from its name. The times tell one content from the next in the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    length_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            length_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn etag(&self) -> String {
        let Identity { device, inode, length_bytes, modified, changed } = self;
        format!(
            "\"{device:x}.{inode:x}.{length_bytes:x}.{:x}.{:x}.{:x}.{:x}\"",
            modified.0, modified.1, changed.0, changed.1
        )
    }
}

impl Opened {
    /// Something that is no file.
    pub(super) fn text(text: String) -> Self {
        let content = Bytes::from(text);
        let length_bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Opened { content: Content::Memory(content), length_bytes, etag: String::new() }
    }

    pub(super) fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    pub(super) fn etag(&self) -> &str {
        &self.etag
    }

    /// A piece without waiting for the disk; nothing when the disk must be asked.
    pub(super) fn at_hand(&self, offset_bytes: u64, length: usize) -> Option<Bytes> {
        let Content::Memory(bytes) = &self.content else { return None };
        let start = usize::try_from(offset_bytes).ok()?;
        let end = start.checked_add(length)?;
        (end <= bytes.len()).then(|| bytes.slice(start..end))
    }

    /// A piece from the disk. Blocks.
    pub(super) fn read(&self, offset_bytes: u64, length: usize) -> io::Result<Bytes> {
        match &self.content {
            Content::Memory(_) => self.at_hand(offset_bytes, length).ok_or(io::ErrorKind::UnexpectedEof.into()),
            Content::File(file) => {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, offset_bytes)?;
                Ok(piece.into())
            }
        }
    }
}

/// All files that are served.
pub(super) struct Library {
    kernel: PathBuf,
    initramfs: PathBuf,
    loaders: Roots,
    images: Arc<dyn ImageFiles>,
    resident: Cache,
    open: Mutex<HashMap<Identity, Weak<Opened>>>,
}

impl Library {
    pub(super) fn new(settings: &BootSettings, loaders: Roots, images: Arc<dyn ImageFiles>) -> Self {
        let bounds = Bounds { file_max_bytes: RESIDENT_FILE_MAX_BYTES, total_max_bytes: RESIDENT_TOTAL_MAX_BYTES };
        Library {
            kernel: settings.kernel.clone(),
            initramfs: settings.initramfs.clone(),
            loaders,
            images,
            resident: Cache::new(bounds),
            open: Mutex::default(),
        }
    }

    /// Opens what `route` means. A script is no file.
    pub(super) fn open(&self, route: &Route) -> Result<Arc<Opened>, FileFault> {
        let absent = |reason: &str| FileFault::Absent { reason: reason.to_owned() };
        let (file, metadata) = match route {
            Route::Kernel(_) => open_plain(&self.kernel)?,
            Route::Initramfs(_) => open_plain(&self.initramfs)?,
            Route::Loader(name) => self.loaders.open_file(name).map_err(FileFault::from)?,
            Route::Image(file) => match self.images.path(*file) {
                Some(path) => open_plain(&path)?,
                None => return Err(absent("the store has no such image; add it, or correct the node's cake")),
            },
            Route::Script(_) => return Err(absent("a script is no file")),
        };
        self.shared(file, &metadata).map_err(|error| FileFault::Unreadable {
            reason: format!("the file cannot be read ({error}); check the disk"),
        })
    }

    /// The file as others have it open already, or as the first to open it.
    fn shared(&self, file: File, metadata: &Metadata) -> io::Result<Arc<Opened>> {
        let identity = Identity::of(metadata);
        if let Some(opened) = self.open_files().get(&identity).and_then(Weak::upgrade) {
            return Ok(opened);
        }
        let content = if self.resident.takes(metadata) {
            Content::Memory(self.resident.get(metadata, || read_whole(&file, metadata.len()))?)
        } else {
            Content::File(file)
        };
        let opened = Arc::new(Opened { content, length_bytes: identity.length_bytes, etag: identity.etag() });
        let mut open = self.open_files();
        if open.len() >= OPEN_FILES_KEPT {
            open.retain(|_, opened| opened.strong_count() > 0);
        }
        open.insert(identity, Arc::downgrade(&opened));
        Ok(opened)
    }

    fn open_files(&self) -> std::sync::MutexGuard<'_, HashMap<Identity, Weak<Opened>>> {
        // Nothing is left half changed under this lock, so a poisoned one is as good as another.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<OpenError> for FileFault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreadable { name, source } => {
                let reason = format!("{name} cannot be read ({source}); check its permissions and the disk");
                FileFault::Unreadable { reason }
            }
            other => FileFault::Absent { reason: other.to_string() },
        }
    }
}

fn open_plain(path: &Path) -> Result<(File, Metadata), FileFault> {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((metadata, file)) if metadata.is_file() => Ok((file, metadata)),
        Ok(_) => Err(FileFault::Unreadable { reason: format!("{} is not a plain file; name a file", path.display()) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FileFault::Absent { reason: format!("{} is not there; put it there", path.display()) })
        }
        Err(error) => Err(FileFault::Unreadable {
            reason: format!("{} cannot be read ({error}); check its permissions and the disk", path.display()),
        }),
    }
}

fn read_whole(file: &File, length_bytes: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, 0)?;
    Ok(content.into())
}
