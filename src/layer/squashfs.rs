//! The squashfs superblock: enough of it to refuse, at once and with a reason, a file that is no squashfs or is cut.
//!
//! Pure. Deliberately absent: reading anything inside the filesystem; that is the kernel's work.
//! Specification: Linux `fs/squashfs/squashfs_fs.h`, `struct squashfs_super_block` (version 4.0, little endian).

/// Bytes of the superblock.
pub const SUPERBLOCK_BYTES: usize = 96;
const MAGIC: [u8; 4] = *b"hsqs";
const MAJOR_AT: usize = 28;
const BYTES_USED_AT: usize = 40;

/// Why a file cannot be mounted as squashfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SquashfsError {
    /// Shorter than a superblock, or without the magic number.
    #[error("the file does not start as a squashfs does; make it with mksquashfs")]
    NotSquashfs,
    /// Another major version of the format.
    #[error("the file is squashfs version {major}, Linux mounts version 4; make it again with a current mksquashfs")]
    Version {
        /// The version found.
        major: u16,
    },
    /// The filesystem is longer than the file.
    #[error("the squashfs says it has {used_bytes} bytes but the file has {file_bytes}; it was cut, copy it again")]
    Cut {
        /// Length in the superblock.
        used_bytes: u64,
        /// Length of the file.
        file_bytes: u64,
    },
}

fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Checks the first bytes of a file (at least [`SUPERBLOCK_BYTES`]) that is `file_bytes` long in all.
pub fn check_superblock(head: &[u8], file_bytes: u64) -> Result<(), SquashfsError> {
    if head.len() < SUPERBLOCK_BYTES || field::<4>(head, 0) != Some(MAGIC) {
        return Err(SquashfsError::NotSquashfs);
    }
    let major = field(head, MAJOR_AT).map(u16::from_le_bytes).ok_or(SquashfsError::NotSquashfs)?;
    if major != 4 {
        return Err(SquashfsError::Version { major });
    }
    let used_bytes = field(head, BYTES_USED_AT).map(u64::from_le_bytes).ok_or(SquashfsError::NotSquashfs)?;
    if used_bytes > file_bytes {
        return Err(SquashfsError::Cut { used_bytes, file_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn superblock(major: u16, used_bytes: u64) -> Vec<u8> {
        let mut head = vec![0; SUPERBLOCK_BYTES];
        head[..4].copy_from_slice(b"hsqs");
        head[28..30].copy_from_slice(&major.to_le_bytes());
        head[40..48].copy_from_slice(&used_bytes.to_le_bytes());
        head
    }

    #[test]
    fn a_cut_file_is_told_from_a_whole_one() {
        assert_eq!(check_superblock(&superblock(4, 500), 4096), Ok(()));
        assert_eq!(
            check_superblock(&superblock(4, 5000), 4096),
            Err(SquashfsError::Cut { used_bytes: 5000, file_bytes: 4096 })
        );
        assert_eq!(check_superblock(&superblock(3, 500), 4096), Err(SquashfsError::Version { major: 3 }));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(head in prop::collection::vec(any::<u8>(), 0..200), size: u64) {
            let _ = check_superblock(&head, size);
        }
    }
}
