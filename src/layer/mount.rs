//! An image's blob as a writable root: loop device, squashfs, overlay.
//!
//! ```text
//! <dir>/lower   the squashfs, read-only, on a loop device that goes when it is unmounted
//! <dir>/rw      a tmpfs of bounded size with upper/ and work/
//! <dir>/root    the overlay of both: what the container sees as /
//! ```
//! Invariants: mounting first clears whatever an earlier life left at `<dir>`, so it can be repeated after a crash;
//! unmounting goes in the reverse order and leaves neither mount nor loop device; what the image wrote is gone with it.
//! (The kernel lets the loop device go in the background; a container that is just starting holds it a moment longer.)
//! All calls block. The mounts are private to nobody: the caller's mount namespace keeps them.
//! Deliberately absent: loading kernel modules (the error names the one that is missing), verifying the blob.
//! Specification: mount(2), umount2(2), Linux `Documentation/filesystems/overlayfs.rst`.

mod loop_device;
pub mod mountinfo;

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use self::loop_device::LoopDevice;

/// Size of the writable part where none is asked for, as the kernel's tmpfs takes it.
pub const WRITABLE_DEFAULT: WritableSize = WritableSize::Percent(50);
/// How often all mounts below a folder are looked up and unmounted before giving up: more can have been stacked there.
const UNMOUNT_ROUNDS: u32 = 8;

/// How much an image may write before it is told that the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WritableSize {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of the node's memory.
    Percent(u8),
}

/// Why an image could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The running kernel cannot do it.
    #[error("the kernel has no {feature}; load the module {module} (layer 0 must carry it), then try again")]
    FeatureMissing {
        /// What is missing.
        feature: &'static str,
        /// What to load.
        module: &'static str,
    },
    /// The blob cannot be mounted although squashfs is there.
    #[error("{blob} is not a squashfs that this kernel reads; was it compressed in a way that the kernel lacks?")]
    NotMountable {
        /// The file.
        blob: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A path that overlay's options cannot express.
    #[error("{path} holds a comma, colon or backslash, which mount options cannot express; use another folder")]
    Path {
        /// The folder.
        path: PathBuf,
    },
    /// Something is still mounted.
    #[error("{path} stays mounted, it is in use; end what uses it")]
    Busy {
        /// The mount point.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{action} {path} failed")]
    System {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl MountError {
    fn system(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::System { action, path: path.to_owned(), source }
    }
}

/// A mounted image. Dropping it unmounts it, lazily where it is in use; [`ImageMount::unmount`] tells about errors.
#[derive(Debug)]
pub struct ImageMount {
    dir: PathBuf,
    mounted: Mounted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounted {
    Yes,
    No,
}

impl ImageMount {
    /// Mounts `blob` at `dir`/root. `dir` is made, and belongs to this image alone.
    pub fn mount(blob: &Path, dir: &Path, writable: WritableSize) -> Result<Self, MountError> {
        fs::create_dir_all(dir).map_err(|source| MountError::system("making", dir, source))?;
        let dir = fs::canonicalize(dir).map_err(|source| MountError::system("finding", dir, source))?;
        if dir.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b',' | b':' | b'\\')) {
            return Err(MountError::Path { path: dir });
        }
        unmount_below(&dir)?;
        // From here on a failure drops the guard, which takes down what was set up.
        let image = Self { dir, mounted: Mounted::Yes };
        image.mount_lower(blob)?;
        image.mount_writable(writable)?;
        image.mount_overlay()?;
        Ok(image)
    }

    /// The root of the image.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Unmounts and detaches everything. End the container first: what is in use is unmounted lazily, and said to be busy.
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.mounted = Mounted::No;
        unmount_below(&self.dir)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, MountError> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).map_err(|source| MountError::system("making", &path, source))?;
        Ok(path)
    }

    fn mount_lower(&self, blob: &Path) -> Result<(), MountError> {
        let lower = self.folder("lower")?;
        let device = LoopDevice::attach(blob)?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
        mount(Some(device.path()), &lower, Some("squashfs"), flags, None::<&str>).map_err(|errno| match errno {
            Errno::ENODEV => MountError::FeatureMissing { feature: "squashfs", module: "squashfs" },
            Errno::EINVAL | Errno::EIO => MountError::NotMountable { blob: blob.to_owned(), source: errno.into() },
            _ => MountError::system("mounting the squashfs at", &lower, errno.into()),
        })
    }

    fn mount_writable(&self, size: WritableSize) -> Result<(), MountError> {
        let rw = self.folder("rw")?;
        let options = match size {
            WritableSize::Bytes(bytes) => format!("mode=755,size={bytes}"),
            WritableSize::Percent(percent) => format!("mode=755,size={}%", percent.clamp(1, 100)),
        };
        let flags = MsFlags::MS_NODEV;
        mount(Some("bootes-rw"), &rw, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|errno| MountError::system("mounting a tmpfs at", &rw, errno.into()))?;
        self.folder("rw/upper")?;
        self.folder("rw/work").map(drop)
    }

    fn mount_overlay(&self) -> Result<(), MountError> {
        let root = self.folder("root")?;
        let dir = self.dir.display();
        // No `nodev`: the container's own /dev is a tmpfs, but images may keep device nodes for tools they chroot.
        let options = format!("lowerdir={dir}/lower,upperdir={dir}/rw/upper,workdir={dir}/rw/work");
        mount(Some("bootes-image"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str())).map_err(|errno| {
            match errno {
                Errno::ENODEV => MountError::FeatureMissing { feature: "overlay filesystem", module: "overlay" },
                _ => MountError::system("mounting the overlay at", &root, errno.into()),
            }
        })
    }
}

impl Drop for ImageMount {
    fn drop(&mut self) {
        if self.mounted == Mounted::Yes
            && let Err(error) = unmount_below(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), error = %error, "An image could not be unmounted");
        }
    }
}

/// Unmounts everything at `dir` and below, last made first. Nothing mounted is no error. What is in use is detached from
/// the tree, so that its name is free again, and then the error is [`MountError::Busy`].
pub fn unmount_below(dir: &Path) -> Result<(), MountError> {
    let Ok(dir) = fs::canonicalize(dir) else { return Ok(()) };
    let table = Path::new("/proc/self/mountinfo");
    let mut busy = None;
    for _ in 0..UNMOUNT_ROUNDS {
        let text = fs::read_to_string(table).map_err(|source| MountError::system("reading", table, source))?;
        let points = mountinfo::at_and_below(&text, &dir);
        if points.is_empty() {
            return busy.map_or(Ok(()), |path| Err(MountError::Busy { path }));
        }
        for point in points {
            match umount2(&point, MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::EBUSY) => {
                    let flags = MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH;
                    umount2(&point, flags).map_err(|errno| MountError::system("detaching", &point, errno.into()))?;
                    busy = Some(point);
                }
                // Gone already, with one that was above it.
                Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(errno) => return Err(MountError::system("unmounting", &point, errno.into())),
            }
        }
    }
    Err(MountError::Busy { path: dir })
}

/// Where the unified control group hierarchy is mounted, if it is.
pub fn cgroup2() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mountinfo::parse(&text).find(|mount| mount.filesystem == "cgroup2").map(|mount| mount.point)
}

#[cfg(test)]
mod tests;
