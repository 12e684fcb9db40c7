//! The inside of a container, made step by step by its first process.
//!
//! The root is changed first and everything else is made afterwards, so that no symbolic link of the image can lead a
//! mount or a file out of it. Invariants: the first error ends the set-up and names its step; nothing here outlives the
//! mount namespace. Deliberately absent: devices beyond the minimal ones (fabric, GPU), seccomp, user namespaces.
//! Specification: pivot_root(2), mount_namespaces(7), capabilities(7); device numbers from Linux `devices.txt`.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd::{chdir, pivot_root, sethostname};

use super::spec::{Capability, ContainerSpec, SetupStep};

/// A step that failed.
pub(super) struct Fault {
    pub(super) step: SetupStep,
    pub(super) what: String,
    pub(super) errno: i32,
}

pub(super) fn fault(step: SetupStep, what: impl ToString, error: impl Into<io::Error>) -> Fault {
    let errno = error.into().raw_os_error().unwrap_or(libc::EIO);
    Fault { step, what: what.to_string(), errno }
}

/// Name, major, minor.
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Name and target. What is written to the console goes to the image's log, by way of the first process's output.
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("console", "/proc/1/fd/1"),
];
/// Parts of /proc that change the whole node: read-only inside.
const PROC_READ_ONLY: [&str; 3] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq"];

/// Where an image finds the folder that it shares with the agent.
const SHARED: &CStr = c"/run/bootes";

/// Makes the whole inside. The caller is alone in its thread and in new namespaces.
pub(super) fn make(spec: &ContainerSpec) -> Result<(), Fault> {
    umask(Mode::from_bits_truncate(0o022));
    let shared = spec.says_in.as_deref().map(take_along).transpose()?;
    change_root(&spec.root)?;
    mount_proc()?;
    mount_sys()?;
    make_dev()?;
    if let Some(shared) = shared {
        put_down(&shared, SHARED)?;
    }
    write_etc(spec)?;
    sethostname(&spec.hostname).map_err(|errno| fault(SetupStep::SetHostname, &spec.hostname, errno))?;
    deny(&spec.denied)
}

fn change_root(root: &Path) -> Result<(), Fault> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|errno| fault(SetupStep::PrivateMounts, "/", errno))?;
    let failed = |errno| fault(SetupStep::PivotRoot, root.display(), errno);
    mount(Some(root), root, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).map_err(failed)?;
    chdir(root).map_err(failed)?;
    // With both the same, the old root is stacked on the new one and needs no folder; then it is taken off.
    pivot_root(".", ".").map_err(failed)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed)?;
    chdir("/").map_err(failed)
}

/// A folder of layer 0 as a mount that has no place yet: its path ends with the old root.
fn take_along(folder: &Path) -> Result<OwnedFd, Fault> {
    let failed = |error: io::Error| fault(SetupStep::ShareFolder, folder.display(), error);
    let path = CString::new(folder.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a C string that lives through the call; the descriptor that it answers is owned by nobody else.
    unsafe {
        match libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) {
            fd if fd >= 0 => {
                Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|error| failed(io::Error::other(error)))?))
            }
            _ => Err(failed(io::Error::last_os_error())),
        }
    }
}

/// Gives what was taken along its place in the image.
fn put_down(tree: &OwnedFd, place: &CStr) -> Result<(), Fault> {
    let shown = place.to_string_lossy();
    folder(SetupStep::ShareFolder, &shown, 0o755)?;
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths are C strings that live through the call, and the descriptor is open.
    let moved = unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), libc::AT_FDCWD, place.as_ptr(), flags)
    };
    if moved == 0 { Ok(()) } else { Err(fault(SetupStep::ShareFolder, shown, io::Error::last_os_error())) }
}

fn folder(step: SetupStep, path: &str, mode: u32) -> Result<(), Fault> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| fault(step, path, error))
}

fn mount_new(step: SetupStep, kind: &str, path: &str, flags: MsFlags, options: &str) -> Result<(), Fault> {
    folder(step, path, 0o755)?;
    mount(Some(kind), path, Some(kind), flags, Some(options)).map_err(|errno| fault(step, path, errno))
}

/// Makes one mount read-only without touching the filesystem behind it, which others share.
fn read_only(step: SetupStep, path: &str, keep: MsFlags) -> Result<(), Fault> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | keep;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(|errno| fault(step, path, errno))
}

fn mount_proc() -> Result<(), Fault> {
    let (step, flags) = (SetupStep::MountProc, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC);
    mount_new(step, "proc", "/proc", flags, "")?;
    for path in PROC_READ_ONLY {
        match mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            Ok(()) => read_only(step, path, flags)?,
            // Not every kernel has every file.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(fault(step, path, errno)),
        }
    }
    Ok(())
}

fn mount_sys() -> Result<(), Fault> {
    let (step, flags) = (SetupStep::MountSys, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC);
    mount_new(step, "sysfs", "/sys", flags, "")?;
    read_only(step, "/sys", flags)?;
    // The container's own part of the control groups, for job managers inside. No cgroup2 in the kernel is no error.
    let path = "/sys/fs/cgroup";
    match mount(Some("cgroup2"), path, Some("cgroup2"), flags, None::<&str>) {
        Ok(()) | Err(Errno::ENODEV | Errno::ENOENT | Errno::EBUSY) => Ok(()),
        Err(errno) => Err(fault(step, path, errno)),
    }
}

fn make_dev() -> Result<(), Fault> {
    let step = SetupStep::MakeDev;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_new(step, "tmpfs", "/dev", MsFlags::MS_NOSUID, "mode=755,size=64k")?;
    let all = 0o666;
    for (name, major, minor) in DEVICES {
        let path = Path::new("/dev").join(name);
        let failed = |error: io::Error| fault(step, path.display(), error);
        let mode = Mode::from_bits_truncate(all);
        mknod(&path, SFlag::S_IFCHR, mode, makedev(major, minor)).map_err(|errno| failed(errno.into()))?;
        // mknod applies the umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(all)).map_err(failed)?;
    }
    for (name, target) in DEVICE_LINKS {
        let path = Path::new("/dev").join(name);
        symlink(target, &path).map_err(|error| fault(step, path.display(), error))?;
    }
    mount_new(step, "devpts", "/dev/pts", flags, "newinstance,ptmxmode=0666,mode=620,gid=5")?;
    mount_new(step, "tmpfs", "/dev/shm", flags | MsFlags::MS_NODEV, "mode=1777")?;
    for path in ["/tmp", "/run", "/root"] {
        folder(step, path, 0o755)?;
    }
    let sticky = fs::Permissions::from_mode(0o1777);
    fs::set_permissions("/tmp", sticky).map_err(|error| fault(step, "/tmp", error))
}

fn write_etc(spec: &ContainerSpec) -> Result<(), Fault> {
    let step = SetupStep::WriteEtc;
    folder(step, "/etc", 0o755)?;
    let hostname = format!("{}\n", spec.hostname);
    let files = [("/etc/hostname", Some(&hostname)), ("/etc/resolv.conf", spec.resolv_conf.as_ref())];
    for (path, content) in files {
        let Some(content) = content else { continue };
        // Images have links here that lead to files which only their own boot would make.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(step, path, error)),
            _ => {}
        }
        let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o644).open(path);
        let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
        written.map_err(|error| fault(step, path, error))?;
    }
    Ok(())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Takes capabilities from this process and, by the bounding set, from all that come after it.
fn deny(denied: &[Capability]) -> Result<(), Fault> {
    let failed = |what: &str| fault(SetupStep::DropCapabilities, what, io::Error::last_os_error());
    for capability in denied {
        let number = libc::c_ulong::from(*capability as u8);
        // SAFETY: this request takes a number and no memory.
        let answer = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        // EINVAL: this kernel does not have the capability, so nobody has it.
        if answer != 0 && Errno::last() != Errno::EINVAL {
            return Err(failed(&format!("{capability:?}")));
        }
    }
    let mut header = CapabilityHeader { version: LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: header and data have the layout of version 3 (two elements) and live through the call.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) } != 0 {
        return Err(failed("reading"));
    }
    let mask = denied.iter().fold(0_u64, |mask, capability| mask | (1_u64 << (*capability as u8)));
    for (data, shift) in data.iter_mut().zip([0, 32]) {
        let Ok(kept) = u32::try_from((!mask >> shift) & 0xffff_ffff) else { continue };
        data.effective &= kept;
        data.permitted &= kept;
        data.inheritable = 0;
    }
    // SAFETY: as above; the kernel only reads.
    if unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } != 0 {
        return Err(failed("setting"));
    }
    Ok(())
}
