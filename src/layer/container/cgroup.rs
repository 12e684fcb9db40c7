//! A control group of its own for each container, so that all its processes can be ended at once.
//!
//! Invariants: a group left by an earlier life is emptied and taken over. Without cgroup2 there is none, and the PID
//! namespace alone ends the processes.
//! Deliberately absent: resource limits. Specification: Linux `Documentation/admin-guide/cgroup-v2.rst` (cgroup.kill).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder under the hierarchy's root that holds the containers' groups.
const PARENT: &str = "bootes";

/// One container's group.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub(super) fn create(hierarchy: &Path, id: &str) -> io::Result<Self> {
        let group = Self { path: hierarchy.join(PARENT).join(id) };
        fs::create_dir_all(&group.path)?;
        group.kill()?;
        Ok(group)
    }

    /// The file that a process enters by writing its id.
    pub(super) fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Ends every process in it and below.
    pub(super) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Removes it with the groups that were made inside. Fails while a process is in one.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_groups(&self.path)
    }
}

fn remove_groups(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
