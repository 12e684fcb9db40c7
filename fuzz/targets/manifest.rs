//! An image's manifest: any bytes are one or are refused; what is read has one form and chunks that cover it.
#![no_main]

use bootes::layer::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(manifest.encode().expect("what was read can be written"), bytes);
    let covered: u64 = manifest.chunks().map(|chunk| u64::from(chunk.len_bytes)).sum();
    assert_eq!(covered, manifest.size_bytes);
});
