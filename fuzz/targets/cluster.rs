//! A cluster's description: any text is read or refused with a place in it, and the refusal can be printed.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use bootes::config::cluster;
use libfuzzer_sys::fuzz_target;

/// In memory, one for each process.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| PathBuf::from(format!("/dev/shm/bootes-fuzz-{}", std::process::id())));

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).expect("a file in memory");
    if let Err(error) = cluster::read(&FILE) {
        assert!(!error.to_string().is_empty());
    }
    let _ = fs::remove_file(&*FILE);
});
