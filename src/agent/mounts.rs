//! The mounts of process 1: a table, and one loop that walks it.
//!
//! Invariants: the order of the table is the order of mounting; what is mounted already counts as done; an optional mount
//! that the kernel does not know is skipped and said.
//! Deliberately absent: the root itself (see `rootfs`), images, and anything on a disk.
//! Specification: Linux `Documentation/filesystems/{proc,sysfs,devpts,tmpfs}.rst`, `admin-guide/cgroup-v2.rst`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MsFlags;

#[cfg(test)]
mod tests;

/// Whether the agent can do without a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing works without it.
    Required,
    /// A kernel may be built without it, or a machine may not have it.
    Optional,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount {
    /// The filesystem's type, which also serves as the source's name.
    pub kind: &'static str,
    /// Where it goes; made if it is not there.
    pub target: &'static str,
    /// Mount flags.
    pub flags: MsFlags,
    /// The filesystem's own options.
    pub options: &'static str,
    /// What it means if it fails.
    pub need: Need,
}

const fn mount(kind: &'static str, target: &'static str, flags: MsFlags, options: &'static str, need: Need) -> Mount {
    Mount { kind, target, flags, options, need }
}

const STRICT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const TERMINALS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);
const SCRATCH: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Every mount of process 1, in order. The shares of memory bound what a runaway writer can take from the machine.
pub const MOUNTS: &[Mount] = &[
    mount("proc", "/proc", STRICT, "", Need::Required),
    mount("sysfs", "/sys", STRICT, "", Need::Required),
    mount("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755", Need::Required),
    mount("devpts", "/dev/pts", TERMINALS, "mode=0620,gid=5,ptmxmode=0666", Need::Optional),
    mount("tmpfs", "/dev/shm", SCRATCH, "mode=1777,size=25%", Need::Optional),
    mount("tmpfs", "/run", SCRATCH, "mode=0755,size=25%", Need::Required),
    mount("tmpfs", "/run/bootes/said", STRICT, "mode=0755,size=1m,nr_inodes=4k", Need::Optional),
    mount("tmpfs", "/tmp", SCRATCH, "mode=1777,size=25%", Need::Required),
    mount("cgroup2", "/sys/fs/cgroup", STRICT, "nsdelegate", Need::Optional),
    mount("efivarfs", "/sys/firmware/efi/efivars", STRICT.union(MsFlags::MS_RDONLY), "", Need::Optional),
];

impl fmt::Display for Mount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, target) = (self.kind, self.target);
        write!(out, "{kind:9} {target:26} {:?} {:?}", self.need, self.flags)?;
        if self.options.is_empty() { Ok(()) } else { write!(out, " {}", self.options) }
    }
}

/// A mount that process 1 needs did not come about.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The directory cannot be made.
    #[error("the directory {target} for a mount could not be made; the root must be writable")]
    Directory {
        /// The directory.
        target: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("{kind} could not be mounted on {target}; the kernel must be built with this filesystem")]
    Refused {
        /// The filesystem's type.
        kind: &'static str,
        /// Where.
        target: PathBuf,
        /// Why not.
        source: Errno,
    },
}

/// Walks `table`, mounting below `root` (`/` in production). Gives back what was optional and did not come about.
///
/// # Errors
/// The first required mount that failed.
pub fn mount_all(root: &Path, table: &[Mount]) -> Result<Vec<MountError>, MountError> {
    let mut skipped = Vec::new();
    for mount in table {
        match (mount_one(root, mount), mount.need) {
            (Ok(()), _) => {}
            (Err(error), Need::Optional) => skipped.push(error),
            (Err(error), Need::Required) => return Err(error),
        }
    }
    Ok(skipped)
}

fn mount_one(root: &Path, mount: &Mount) -> Result<(), MountError> {
    let target = root.join(mount.target.trim_start_matches('/'));
    if !target.is_dir() {
        std::fs::create_dir_all(&target).map_err(|source| MountError::Directory { target: target.clone(), source })?;
    }
    match nix::mount::mount(Some(mount.kind), &target, Some(mount.kind), mount.flags, Some(mount.options)) {
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(source) => Err(MountError::Refused { kind: mount.kind, target, source }),
    }
}
