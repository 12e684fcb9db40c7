//! The move out of the initial root: `pivot_root(2)` refuses to work on it, and containers need `pivot_root`.
//!
//! Everything in the initial root goes to a fresh tmpfs, which is then moved onto `/`; process 1 is executed again from
//! there, so that nothing holds the old files and their memory is free.
//!
//! Invariants: done before anything else is mounted and before any thread is started; done once, by a marker in the
//! environment; a root that is not an initial root is left alone. Standard streams stay open over the move.
//! Deliberately absent: undoing a half-done move. The only likely cause is want of memory, and the fresh tmpfs has the
//! same bound as the one that already held the files.
//! Specification: Linux `Documentation/filesystems/ramfs-rootfs-initramfs.rst`; pivot_root(2), EINVAL.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag};
use nix::sys::statfs::{FsType, TMPFS_MAGIC};

/// The environment variable that marks the second start.
pub const MARKER: &str = "BOOTES_ROOT";
const MOVED: &str = "moved";
const FRESH: &str = "/.fresh-root";
/// Deeper directories than this are no layer 0.
const DEPTH_MAX: u32 = 64;
/// `RAMFS_MAGIC` in linux/magic.h: the initial root where the kernel has no tmpfs.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Why the root was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// This is the second start: the root is the fresh tmpfs.
    Moved,
    /// The root is no initial root; `pivot_root` works as it is.
    Other,
}

/// The move failed.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A system call on the way was refused.
    #[error("{what} failed while moving out of the initial root; the kernel must have tmpfs")]
    Call {
        /// What was being done.
        what: &'static str,
        /// Why not.
        source: Errno,
    },
    /// A file could not be moved.
    #[error("{path} could not be moved out of the initial root; the machine may have too little memory for layer 0")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Directories go deeper than any layer 0 does.
    #[error("{path} is nested too deeply to be moved out of the initial root; rebuild layer 0")]
    Depth {
        /// The directory.
        path: PathBuf,
    },
}

fn call<T>(what: &'static str, result: nix::Result<T>) -> Result<T, RootfsError> {
    result.map_err(|source| RootfsError::Call { what, source })
}

/// Leaves the initial root and starts this program again, or says why there is nothing to leave.
///
/// # Errors
/// What failed. Some files may then be in the fresh root already.
pub fn leave() -> Result<Root, RootfsError> {
    if std::env::var_os(MARKER).is_some_and(|value| value == MOVED) {
        return Ok(Root::Moved);
    }
    let kind = call("reading the root's filesystem type", nix::sys::statfs::statfs("/"))?.filesystem_type();
    if kind != TMPFS_MAGIC && kind != RAMFS_MAGIC {
        return Ok(Root::Other);
    }
    match move_root()? {}
}

fn move_root() -> Result<Infallible, RootfsError> {
    let fresh = Path::new(FRESH);
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RootfsError::File { path, source }
    };
    fs::create_dir_all(fresh).map_err(file(fresh))?;
    call(
        "mounting a fresh root",
        nix::mount::mount(Some("tmpfs"), fresh, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")),
    )?;
    let device = fs::symlink_metadata("/").map_err(file(Path::new("/")))?.dev();
    move_directory(Path::new("/"), fresh, device, DEPTH_MAX)?;
    call("entering the fresh root", nix::unistd::chdir(fresh))?;
    call("moving the fresh root", nix::mount::mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>))?;
    call("changing the root", nix::unistd::chroot("."))?;
    call("entering the root", nix::unistd::chdir("/"))?;

    let bytes = |text: Vec<u8>| {
        CString::new(text).map_err(|_| RootfsError::Call { what: "reading the environment", source: Errno::EINVAL })
    };
    let arguments = std::env::args_os().map(|argument| bytes(argument.into_vec())).collect::<Result<Vec<_>, _>>()?;
    let marker = bytes(format!("{MARKER}={MOVED}").into_bytes())?;
    let environment = std::env::vars_os()
        .map(|(key, value)| bytes([key.as_bytes(), b"=", value.as_bytes()].concat()))
        .chain([Ok(marker)])
        .collect::<Result<Vec<_>, _>>()?;
    // The kernel starts process 1 by its full path; `rdinit=` may have named another than /init.
    let program = match arguments.first() {
        Some(first) if first.to_bytes().starts_with(b"/") => first.clone(),
        _ => c"/init".to_owned(),
    };
    call("starting again", nix::unistd::execve(&program, &arguments, &environment))
}

/// Moves what `from` holds into `to`, freeing each file as soon as it is copied, so that no more than one is held twice.
fn move_directory(from: &Path, to: &Path, device: u64, depth_left: u32) -> Result<(), RootfsError> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(RootfsError::Depth { path: from.to_path_buf() });
    };
    let failed = |source| RootfsError::File { path: from.to_path_buf(), source };
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let failed = |source| RootfsError::File { path: path.clone(), source };
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            // Another device is a mount, the fresh root among them.
            if metadata.dev() != device {
                continue;
            }
            fs::create_dir_all(&target).map_err(failed)?;
            move_directory(&path, &target, device, depth_left)?;
            fs::set_permissions(&target, metadata.permissions()).map_err(failed)?;
            // A mount point inside keeps it from being empty; an empty directory costs nothing.
            let _ = fs::remove_dir(&path);
            continue;
        }
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).map_err(failed)?, &target).map_err(failed)?;
        } else if kind.is_file() {
            fs::copy(&path, &target).map_err(failed)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            let kind = if kind.is_char_device() { SFlag::S_IFCHR } else { SFlag::S_IFBLK };
            let mode = Mode::from_bits_truncate(metadata.mode() & 0o7777);
            call("copying a device node", nix::sys::stat::mknod(&target, kind, mode, metadata.rdev()))?;
        }
        fs::remove_file(&path).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
