//! The beginning of a module, in a language of one's choice: a working program that is to be changed.
//!
//! Invariants: what is written passes `bootes module check`; no file that is there already is touched.
//! Absent on purpose: languages other than those of [`Language`]; the protocol is plain enough for any.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::Name;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python 3, with nothing but its standard library.
    Python,
    /// Rust, with serde_json.
    Rust,
}

/// Why no skeleton was written.
#[derive(Debug, Error)]
pub enum SkeletonError {
    /// There is something already.
    #[error("{} is there already; remove it, or name another folder with --dir", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// Cargo would not take it as a package's name.
    #[error("a Rust package's name begins with a letter, and '{name}' does not; choose another name")]
    Name {
        /// The name.
        name: Name,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {source}; check the folder's owner and free space", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whether a file is a program.
#[derive(Clone, Copy)]
enum Mode {
    Program,
    Text,
}

const CHECK: &str = include_str!("skeleton/check.in");
const PYTHON: &[(&str, &str, Mode)] = &[
    ("module.py", include_str!("skeleton/python/module.py.in"), Mode::Program),
    ("README.md", include_str!("skeleton/python/README.md.in"), Mode::Text),
    ("check", CHECK, Mode::Program),
];
const RUST: &[(&str, &str, Mode)] = &[
    ("Cargo.toml", include_str!("skeleton/rust/Cargo.toml.in"), Mode::Text),
    ("src/main.rs", include_str!("skeleton/rust/main.rs.in"), Mode::Text),
    ("README.md", include_str!("skeleton/rust/README.md.in"), Mode::Text),
    ("check", CHECK, Mode::Program),
];

/// Writes a skeleton into `folder`, which is made; gives the files.
///
/// # Errors
/// When one of its files is there already or cannot be written, or the language does not take the name.
pub fn write(name: &Name, language: Language, folder: &Path) -> Result<Vec<PathBuf>, SkeletonError> {
    let (files, build, command) = match language {
        Language::Python => (PYTHON, "", "./module.py".to_owned()),
        Language::Rust => (RUST, "cargo build --quiet\n", format!("./target/debug/{name}")),
    };
    if language == Language::Rust && !name.as_str().starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(SkeletonError::Name { name: name.clone() });
    }
    let shown = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let fill = |text: &str| {
        text.replace("@NAME@", name.as_str())
            .replace("@DIR@", &shown.to_string_lossy())
            .replace("@BUILD@", build)
            .replace("@COMMAND@", &command)
    };
    let paths: Vec<PathBuf> = files.iter().map(|(file, ..)| folder.join(file)).collect();
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Err(SkeletonError::Exists { path: path.clone() });
    }
    for (path, (_, text, mode)) in paths.iter().zip(files) {
        put(path, &fill(text), *mode).map_err(|source| SkeletonError::Write { path: path.clone(), source })?;
    }
    Ok(paths)
}

fn put(path: &Path, text: &str, mode: Mode) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let bits = match mode {
        Mode::Program => 0o777,
        Mode::Text => 0o666,
    };
    // What the person's own mask takes away stays away.
    fs::OpenOptions::new().write(true).create_new(true).mode(bits).open(path)?.write_all(text.as_bytes())
}
