//! Small files, kept in memory.
//!
//! Purpose: a rack that boots asks for the same few programs at once; each is read from disk once and shared.
//!
//! Invariants: entries are found by what the file is (device, inode, length, times), not by its name, so a file that
//! was replaced is read anew. The entries together hold at most [`Bounds::total_max_bytes`]; the one that was used
//! longest ago goes first. Clients that ask for one file at the same moment wait for one read, and for no other file's.
//!
//! Deliberately absent: files above [`Bounds::file_max_bytes`], which are read piece by piece.

use bytes::Bytes;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a cache holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::boot) struct Bounds {
    /// Longest file that is kept, in bytes.
    pub(in crate::boot) file_max_bytes: u64,
    /// How much is kept in all, in bytes; what was used longest ago is dropped first.
    pub(in crate::boot) total_max_bytes: u64,
}

/// Enough for network boot programs.
pub(super) const LOADERS: Bounds = Bounds { file_max_bytes: 4 << 20, total_max_bytes: 32 << 20 };
/// A file that was written this short ago may be written again without its times showing it; it is not kept.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    length_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

type Slot = Arc<Mutex<Option<Bytes>>>;

#[derive(Debug, Default)]
struct Shelf {
    slots: HashMap<Identity, (Slot, u64)>,
    total_bytes: u64,
    uses: u64,
}

/// The cache.
#[derive(Debug)]
pub(in crate::boot) struct Cache {
    bounds: Bounds,
    shelf: Mutex<Shelf>,
}

impl Cache {
    /// Nothing kept yet.
    pub(in crate::boot) fn new(bounds: Bounds) -> Self {
        Self { bounds, shelf: Mutex::default() }
    }

    /// Whether a file may be kept.
    pub(in crate::boot) fn takes(&self, metadata: &Metadata) -> bool {
        let settled = metadata.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > SETTLED_AFTER);
        settled && metadata.len() <= self.bounds.file_max_bytes
    }

    /// The file's content, from memory or by `read`.
    pub(in crate::boot) fn get(
        &self,
        metadata: &Metadata,
        read: impl FnOnce() -> io::Result<Bytes>,
    ) -> io::Result<Bytes> {
        let identity = Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            length_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let slot =
            self.shelf.lock().unwrap_or_else(PoisonError::into_inner).slot(identity, self.bounds.total_max_bytes);
        let mut content = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = &*content {
            return Ok(bytes.clone());
        }
        let bytes = read()?;
        *content = Some(bytes.clone());
        Ok(bytes)
    }
}

impl Shelf {
    fn slot(&mut self, identity: Identity, total_max_bytes: u64) -> Slot {
        self.uses = self.uses.saturating_add(1);
        if let Some((slot, used)) = self.slots.get_mut(&identity) {
            *used = self.uses;
            return Arc::clone(slot);
        }
        self.total_bytes = self.total_bytes.saturating_add(identity.length_bytes);
        while self.total_bytes > total_max_bytes {
            let oldest = self.slots.iter().min_by_key(|(_, (_, used))| *used).map(|(identity, _)| *identity);
            let Some(oldest) = oldest else { break };
            self.slots.remove(&oldest);
            self.total_bytes = self.total_bytes.saturating_sub(oldest.length_bytes);
        }
        let slot = Slot::default();
        self.slots.insert(identity, (Arc::clone(&slot), self.uses));
        slot
    }

    #[cfg(test)]
    fn held_bytes(&self) -> u64 {
        self.slots.keys().map(|identity| identity.length_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64) -> Identity {
        Identity { device: 1, inode, length_bytes: LOADERS.file_max_bytes, modified: (0, 0), changed: (0, 0) }
    }

    #[test]
    fn the_cache_never_holds_more_than_its_bound_and_drops_the_least_used() {
        let mut shelf = Shelf::default();
        let first = shelf.slot(identity(0), LOADERS.total_max_bytes);
        for inode in 1..100 {
            shelf.slot(identity(inode), LOADERS.total_max_bytes);
            assert!(
                Arc::ptr_eq(&first, &shelf.slot(identity(0), LOADERS.total_max_bytes)),
                "the file in use was dropped"
            );
            assert!(shelf.held_bytes() <= LOADERS.total_max_bytes && shelf.held_bytes() == shelf.total_bytes);
        }
    }

    #[test]
    fn an_empty_file_costs_no_place_worth_counting() {
        let cache = Cache::new(LOADERS);
        let file = tempfile::tempfile().expect("a temporary file");
        let metadata = file.metadata().expect("its metadata");
        let read = || Ok(Bytes::from_static(b"x"));
        assert_eq!(cache.get(&metadata, read).expect("read"), "x");
        let again = cache.get(&metadata, || Err(io::ErrorKind::Other.into()));
        assert_eq!(again.expect("kept"), "x", "the second read comes from memory");
    }
}
