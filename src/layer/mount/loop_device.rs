//! A file as a read-only block device.
//!
//! Invariants: the device is configured in one step (file, read-only, autoclear), so a crash leaves no half-made one, and
//! the kernel detaches it when its last user goes: the mount, or this process before there is a mount.
//! Deliberately absent: partitions, offsets, writing. Needs Linux 5.8.
//! Specification: loop(4); Linux `include/uapi/linux/loop.h`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::MountError;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// How often a free device is asked for again when somebody else took it in between.
const ATTACH_TRIES: u32 = 32;

#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo64>() == 232 && size_of::<LoopConfig>() == 304);

/// An attached device. Dropping it detaches it, unless it was mounted meanwhile: then unmounting does.
pub(super) struct LoopDevice {
    path: PathBuf,
    _device: File,
}

impl LoopDevice {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn attach(file_path: &Path) -> Result<Self, MountError> {
        let file = File::open(file_path).map_err(|source| MountError::system("opening", file_path, source))?;
        let control_path = Path::new("/dev/loop-control");
        let mut options = OpenOptions::new();
        let control = options.read(true).write(true).open(control_path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => MountError::FeatureMissing { feature: "loop devices", module: "loop" },
            _ => MountError::system("opening", control_path, source),
        })?;
        let mut tries = 0;
        loop {
            // SAFETY: the descriptor is open; this request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
            if number < 0 {
                return Err(MountError::system("asking for a free device", control_path, io::Error::last_os_error()));
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::open(&path).map_err(|source| MountError::system("opening", &path, source))?;
            match configure(&device, &file, file_path) {
                Ok(()) => return Ok(Self { path, _device: device }),
                Err(source) if source.raw_os_error() == Some(libc::EBUSY) && tries < ATTACH_TRIES => tries += 1,
                Err(source) => return Err(MountError::system("attaching a file to", &path, source)),
            }
        }
    }
}

fn configure(device: &File, file: &File, file_path: &Path) -> io::Result<()> {
    let mut file_name = [0; 64];
    // The last byte stays zero: the name is for `losetup -l` only and may be cut.
    for (to, from) in file_name.iter_mut().take(63).zip(file_path.as_os_str().as_bytes()) {
        *to = *from;
    }
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?,
        block_size: 0,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: both descriptors are open during the call; `config` has the layout that the kernel reads (its size is
    // asserted above) and outlives the call.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
