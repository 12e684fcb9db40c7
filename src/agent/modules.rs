//! Loads kernel modules: those that the machine's devices ask for, those that the agent needs, and those that the
//! kernel itself asks for through its module helper.
//!
//! Invariants: what is loaded already, built in or not shipped is no error; a module that fails is reported and the
//! rest are loaded; the index is read for the task and let go after it, since it is larger than the agent. No child
//! process is used.
//! Deliberately absent: unloading, and module parameters.
//! Specification: finit_module(2) with `MODULE_INIT_COMPRESSED_FILE` (Linux 5.17); Linux
//! `Documentation/admin-guide/sysctl/kernel.rst`, `modprobe`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::ModuleInitFlags;
use tracing::{debug, warn};

pub mod index;
use index::{Form, Found, Index, Texts, module_name};

#[cfg(test)]
mod tests;

/// Modules that no device asks for, and that images need. Unknown ones are built in.
pub const ALWAYS: &[&str] = &["loop", "overlay", "squashfs", "erofs", "af_packet"];
/// How often the devices are looked at again: each bus behind a bus takes one round (PCI, virtio, SCSI, disk).
const ROUNDS_MAX: u32 = 8;
/// `MODULE_INIT_COMPRESSED_FILE` in linux/module.h.
const COMPRESSED: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);
/// Where the kernel looks for its module helper unless told otherwise.
const HELPER: &str = "sbin/modprobe";

/// Modules could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// The index is there but cannot be read.
    #[error("the module index {path} could not be read; rebuild layer 0 with depmod")]
    Index {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel's release is not known.
    #[error("the kernel did not say its release, so its modules cannot be found")]
    Release {
        /// Why not.
        source: Errno,
    },
    /// The kernel's module helper cannot be put in its place.
    #[error("{path} could not be made, so the kernel cannot ask for modules by itself")]
    Helper {
        /// The link.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A module that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The module.
    pub module: String,
    /// What the kernel, or the filesystem, said.
    pub errno: Errno,
}

/// What a task of loading did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Modules that this task loaded, in order.
    pub loaded: Vec<String>,
    /// Modules that failed.
    pub failed: Vec<Failure>,
    /// How often the devices were looked at.
    pub rounds: u32,
}

/// The loader of one kernel's modules.
#[derive(Debug)]
pub struct Modules {
    root: PathBuf,
    directory: PathBuf,
    /// Names that were tried: each module is tried once, whatever came of it.
    tried: BTreeSet<String>,
    /// Requests by devices that were answered.
    answered: BTreeSet<String>,
}

impl Modules {
    /// The loader for the running kernel, with `root` (`/` in production) holding `lib/modules` and `sys`.
    ///
    /// # Errors
    /// The kernel does not say its release.
    pub fn new(root: &Path) -> Result<Self, ModulesError> {
        let names = nix::sys::utsname::uname().map_err(|source| ModulesError::Release { source })?;
        let directory = root.join("lib/modules").join(names.release());
        Ok(Self { root: root.to_path_buf(), directory, tried: BTreeSet::new(), answered: BTreeSet::new() })
    }

    fn texts(&self) -> Result<Texts, ModulesError> {
        let read = |name: &str| {
            let path = self.directory.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(source) => Err(ModulesError::Index { path, source }),
            }
        };
        Ok(Texts {
            dep: read("modules.dep")?,
            alias: read("modules.alias")?,
            softdep: read("modules.softdep")?,
            builtin: read("modules.builtin")?,
        })
    }

    /// Loads what the devices of this machine ask for, looking again until nothing new appears, and [`ALWAYS`].
    ///
    /// # Errors
    /// The index cannot be read. A module that fails is in the report.
    pub fn cold_plug(&mut self) -> Result<Report, ModulesError> {
        let texts = self.texts()?;
        let index = Index::parse(&texts);
        let mut report = Report::default();
        while report.rounds < ROUNDS_MAX {
            report.rounds = report.rounds.saturating_add(1);
            let before = report.loaded.len();
            for modalias in modaliases(&self.root) {
                self.answer(&index, &modalias, &mut report);
            }
            if report.loaded.len() == before {
                break;
            }
        }
        for module in ALWAYS {
            self.load(&index, module, &mut report);
        }
        Ok(report)
    }

    /// Loads what devices with these modaliases ask for.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn hot_plug(&mut self, modaliases: impl IntoIterator<Item = String>) -> Result<Report, ModulesError> {
        let new: Vec<String> = modaliases.into_iter().filter(|modalias| !self.answered.contains(modalias)).collect();
        let mut report = Report::default();
        if new.is_empty() {
            return Ok(report);
        }
        let texts = self.texts()?;
        let index = Index::parse(&texts);
        for modalias in new {
            self.answer(&index, &modalias, &mut report);
        }
        Ok(report)
    }

    /// Loads one module by its name, or by a feature such as `fs-squashfs`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn request(&mut self, name: &str) -> Result<Report, ModulesError> {
        let texts = self.texts()?;
        let index = Index::parse(&texts);
        let mut report = Report::default();
        self.load(&index, name, &mut report);
        self.answer(&index, name, &mut report);
        Ok(report)
    }

    fn answer(&mut self, index: &Index<'_>, modalias: &str, report: &mut Report) {
        if self.answered.insert(modalias.to_owned()) {
            for module in index.wanted_by(modalias) {
                self.load(index, module, report);
            }
        }
    }

    fn load(&mut self, index: &Index<'_>, module: &str, report: &mut Report) {
        let Found::Files(files) = index.find(module) else {
            return;
        };
        for file in files {
            let name = module_name(file.path);
            if self.tried.contains(name.as_ref()) {
                continue;
            }
            self.tried.insert(name.to_string());
            if self.root.join("sys/module").join(name.as_ref()).join("initstate").exists() {
                continue;
            }
            match insert(&self.directory.join(file.path), file.form) {
                Ok(()) => report.loaded.push(name.into_owned()),
                Err(Errno::EEXIST) => {}
                Err(errno) => report.failed.push(Failure { module: name.into_owned(), errno }),
            }
        }
    }
}

impl Report {
    /// Says what happened, one line for each module that failed.
    pub fn log(&self) {
        for Failure { module, errno } in &self.failed {
            match errno {
                // The device is another than the alias promised, or layer 0 ships only some of the kernel's modules.
                Errno::ENODEV | Errno::ENOENT => {
                    debug!(%module, %errno, "a kernel module is not for this machine")
                }
                _ => warn!(%module, %errno, "a kernel module could not be loaded"),
            }
        }
        debug!(modules = %self.loaded.join(" "), rounds = self.rounds, "kernel modules were loaded");
    }
}

fn insert(path: &Path, form: Form) -> Result<(), Errno> {
    let file = File::open(path).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let flags = match form {
        Form::Plain => ModuleInitFlags::empty(),
        Form::Compressed => COMPRESSED,
    };
    nix::kmod::finit_module(&file, c"", flags)
}

/// What all devices ask for. Devices are reached by their bus, which is one flat directory, rather than by the tree of
/// devices, which is thousands deep and slow to walk under emulation; of the classes, only these have requests.
fn modaliases(root: &Path) -> BTreeSet<String> {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let buses = entries(root.join("sys/bus")).map(|bus| bus.join("devices"));
    let classes = ["sys/class/dmi", "sys/class/input"].into_iter().map(|class| root.join(class));
    buses
        .chain(classes)
        .flat_map(entries)
        .filter_map(|device| fs::read_to_string(device.join("modalias")).ok())
        .map(|modalias| modalias.trim_end().to_owned())
        .filter(|modalias| !modalias.is_empty())
        .collect()
}

/// Makes this program the kernel's module helper: from then on the kernel loads filesystems, protocols and PHY drivers
/// when they are first used. The program must hand its arguments to [`helper_request`] before anything else.
///
/// # Errors
/// The link cannot be made.
pub fn install_helper(root: &Path, program: &Path) -> Result<(), ModulesError> {
    let path = root.join(HELPER);
    let made =
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| std::os::unix::fs::symlink(program, &path));
    match made {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(ModulesError::Helper { path, source }),
        _ => Ok(()),
    }
}

/// If the kernel started this program as its module helper (`/sbin/modprobe -q -- NAME`), the name it wants.
#[must_use]
pub fn helper_request(arguments: &[String]) -> Option<&str> {
    let (program, rest) = arguments.split_first()?;
    (Path::new(program) == Path::new("/").join(HELPER)).then_some(())?;
    rest.last().map(String::as_str)
}

/// Answers the kernel's request. Gives the exit code: zero unless the module could not be had.
#[must_use]
pub fn answer_helper_request(name: &str) -> i32 {
    let report = Modules::new(Path::new("/")).and_then(|mut modules| modules.request(name));
    match report {
        Ok(report) if report.failed.is_empty() => 0,
        _ => 1,
    }
}
