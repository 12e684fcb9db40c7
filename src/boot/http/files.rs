//! The files behind the routes, open and ready to be sent.
//!
//! Invariants:
//! - Every request looks at what the name means now; a file that was replaced by renaming is served as it is from then on,
//!   and whoever began before gets the rest of the old one. What is open is shared by all who are sent it.
//! - Nothing of a file is kept here: the system's page cache is what a rack that boots at once shares.
//! - A compressed form beside a file is given only when it is not older than the file, to a client that names it.
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

use super::authority;
use super::encoding::Encoding;
use super::route::{AuthorityForm, ImageFile, Route};
use crate::boot::offer::folder;
use crate::boot::script::BootSettings;
use crate::boot::tftp::{OpenError, Roots};
use crate::model::Digest;

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
    File(Arc<File>),
}

/// Where the bytes are.
pub(super) enum Held<'a> {
    Memory(&'a Bytes),
    File(&'a Arc<File>),
}

/// What a route leads to, in the form that the client is given.
pub(super) struct Form {
    pub(super) opened: Arc<Opened>,
    /// The form; none for the file as it is.
    pub(super) encoding: Option<Encoding>,
}

/// The certificates that a client of HTTPS may trust, as they are given to whoever asks.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The cluster's own authority, in DER.
    pub own_der: Bytes,
    /// The authority for firmware that knows RSA alone, in DER; none where there is no HTTPS.
    pub rsa_der: Option<Bytes>,
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
        Self::memory(text.into(), String::new())
    }

    fn memory(content: Bytes, etag: String) -> Self {
        let length_bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Opened { content: Content::Memory(content), length_bytes, etag }
    }

    pub(super) fn held(&self) -> Held<'_> {
        match &self.content {
            Content::Memory(bytes) => Held::Memory(bytes),
            Content::File(file) => Held::File(file),
        }
    }

    pub(super) fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    pub(super) fn etag(&self) -> &str {
        &self.etag
    }

    /// A piece from the disk. Blocks.
    pub(super) fn read(&self, offset_bytes: u64, length: usize) -> io::Result<Bytes> {
        match &self.content {
            Content::Memory(bytes) => {
                let start = usize::try_from(offset_bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
                let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                Ok(bytes.slice(start..end.ok_or(io::ErrorKind::UnexpectedEof)?))
            }
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
    files: Result<Roots, String>,
    images: Arc<dyn ImageFiles>,
    authority: Vec<(AuthorityForm, Arc<Opened>)>,
    open: Mutex<HashMap<Identity, Weak<Opened>>>,
}

impl Library {
    pub(super) fn new(
        settings: &BootSettings,
        loaders: Roots,
        images: Arc<dyn ImageFiles>,
        authority: Option<Authority>,
    ) -> Self {
        let tag = |bytes: &Bytes| format!("\"{}\"", Digest::of(bytes).hex());
        let held = |bytes: Bytes| Arc::new(Opened::memory(bytes.clone(), tag(&bytes)));
        Library {
            kernel: settings.kernel.clone(),
            initramfs: settings.initramfs.clone(),
            loaders,
            files: folder(settings.files.as_ref(), "boot.files"),
            images,
            authority: authority
                .into_iter()
                .flat_map(authority::forms)
                .map(|(form, bytes)| (form, held(bytes)))
                .collect(),
            open: Mutex::default(),
        }
    }

    /// Opens what `route` means, in the first of the `accepted` forms that lies beside it, or as it is. A script is no
    /// file.
    pub(super) fn open(&self, route: &Route, accepted: &[Encoding]) -> Result<Form, FileFault> {
        if let Route::Authority(form) = route {
            return self.authority(*form).map(|opened| Form { opened, encoding: None });
        }
        let (file, metadata) = self.find(route, "")?;
        let current = |form: &Metadata| (form.mtime(), form.mtime_nsec()) >= (metadata.mtime(), metadata.mtime_nsec());
        for encoding in accepted {
            match self.find(route, encoding.suffix()) {
                Ok((file, form)) if current(&form) => {
                    return self.shared(file, &form).map(|opened| Form { opened, encoding: Some(*encoding) });
                }
                Ok(_) => {
                    tracing::debug!(?route, ?encoding, "a compressed form is older than its file and is not given")
                }
                // A form that is not there, or cannot be read, is no loss: the file itself is good for everybody.
                Err(_) => {}
            }
        }
        self.shared(file, &metadata).map(|opened| Form { opened, encoding: None })
    }

    /// Opens the file whose name is that of `route`'s with `suffix` behind it.
    fn find(&self, route: &Route, suffix: &str) -> Result<(File, Metadata), FileFault> {
        let absent = |reason: &str| FileFault::Absent { reason: reason.to_owned() };
        let with_suffix = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        match route {
            Route::Kernel(_) => open_plain(&with_suffix(&self.kernel)),
            Route::Initramfs(_) => open_plain(&with_suffix(&self.initramfs)),
            Route::Loader(name) => self.loaders.open_file(&format!("{name}{suffix}")).map_err(FileFault::from),
            Route::Image(file) => match self.images.path(*file) {
                Some(path) => open_plain(&with_suffix(&path)),
                None => Err(absent("the store has no such image; add it, or correct the node's cake")),
            },
            Route::BootFile(name) => {
                let files = self.files.as_ref().map_err(|reason| FileFault::Absent { reason: reason.clone() })?;
                files.open_file(&format!("{name}{suffix}")).map_err(FileFault::from)
            }
            Route::Script(_) | Route::Authority(_) | Route::Grub(_) | Route::Target(..) | Route::Metadata(..) => {
                Err(absent("it is no file of its own"))
            }
        }
    }

    fn authority(&self, form: AuthorityForm) -> Result<Arc<Opened>, FileFault> {
        let found = self.authority.iter().find(|(of, _)| *of == form).map(|(_, opened)| Arc::clone(opened));
        found.ok_or_else(|| FileFault::Absent {
            reason: "there is no such certificate; switch HTTPS on ([http] tls_listen)".to_owned(),
        })
    }

    /// The file as others have it open already, or as the first to open it.
    fn shared(&self, file: File, metadata: &Metadata) -> Result<Arc<Opened>, FileFault> {
        let identity = Identity::of(metadata);
        let mut open = self.open_files();
        if let Some(opened) = open.get(&identity).and_then(Weak::upgrade) {
            return Ok(opened);
        }
        let content = Content::File(Arc::new(file));
        let opened = Arc::new(Opened { content, length_bytes: identity.length_bytes, etag: identity.etag() });
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
