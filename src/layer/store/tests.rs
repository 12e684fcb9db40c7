//! Tests of the store in temporary folders, with files that carry a true squashfs superblock.

use std::os::unix::fs::FileExt;

use super::*;
use crate::layer::manifest::CHUNK_SIZE_MIN_BYTES;

/// A file that passes for a squashfs: superblock, then bytes that depend on `seed`.
fn squashfs_file(dir: &Path, seed: u8, size_bytes: usize) -> PathBuf {
    let mut bytes: Vec<u8> = (0..size_bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect();
    bytes[..96].fill(0);
    bytes[..4].copy_from_slice(b"hsqs");
    bytes[28] = 4;
    bytes[40..48].copy_from_slice(&(size_bytes as u64).to_le_bytes());
    let path = dir.join(format!("{seed}-{size_bytes}.squashfs"));
    fs::write(&path, bytes).unwrap();
    path
}

fn options() -> AddOptions {
    AddOptions { chunk_size_bytes: CHUNK_SIZE_MIN_BYTES, ..AddOptions::new(vec!["/bin/sh".into()]) }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn an_added_image_is_found_by_name_and_by_digest_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let file = squashfs_file(dir.path(), 1, 200_000);
    let image = store.add(&name("web"), &file, options()).unwrap();
    assert_eq!(store.resolve(&"web".parse().unwrap()).unwrap(), Some(image));
    assert_eq!(store.resolve(&image.to_string().parse().unwrap()).unwrap(), Some(image));
    assert_eq!(store.resolve(&"other".parse().unwrap()).unwrap(), None);
    let manifest = store.manifest(&image).unwrap();
    assert_eq!((manifest.size_bytes, manifest.chunks.len()), (200_000, 4));
    assert_eq!(fs::read(store.blob_path(&image)).unwrap(), fs::read(&file).unwrap());
    assert_eq!(Digest::of(&fs::read(store.manifest_path(&image)).unwrap()), image);
    store.verify(&image).unwrap();
}

#[test]
fn the_same_content_gives_the_same_digest_and_a_new_one_moves_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let first = store.add(&name("web"), &squashfs_file(dir.path(), 1, 70_000), options()).unwrap();
    assert_eq!(store.add(&name("web"), &squashfs_file(dir.path(), 1, 70_000), options()).unwrap(), first);
    let second = store.add(&name("web"), &squashfs_file(dir.path(), 2, 70_000), options()).unwrap();
    assert_ne!(first, second);
    assert_eq!(store.resolve(&"web".parse().unwrap()).unwrap(), Some(second));
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 2);
    for entry in listed {
        let expected = if entry.digest == second { Standing::Current } else { Standing::Superseded };
        assert_eq!(entry.standing, expected);
        assert!(entry.manifest.is_ok());
    }
}

#[test]
fn a_changed_byte_a_cut_and_a_lost_blob_are_told_apart_and_adding_again_repairs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let file = squashfs_file(dir.path(), 1, 200_000);
    let image = store.add(&name("web"), &file, options()).unwrap();
    let blob = OpenOptions::new().write(true).open(store.blob_path(&image)).unwrap();
    blob.write_all_at(b"!", 150_000).unwrap();
    assert!(matches!(store.verify(&image), Err(StoreError::BlobAltered { chunk: 2, .. })));
    blob.set_len(1000).unwrap();
    assert!(matches!(store.verify(&image), Err(StoreError::BlobSize { got_bytes: 1000, .. })));
    fs::remove_file(store.blob_path(&image)).unwrap();
    assert!(matches!(store.verify(&image), Err(StoreError::NotFound { .. })));
    assert_eq!(store.add(&name("web"), &file, options()).unwrap(), image);
    store.verify(&image).unwrap();
    fs::write(store.manifest_path(&image), b"{}").unwrap();
    assert!(matches!(store.verify(&image), Err(StoreError::ManifestAltered { .. })));
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn what_is_no_squashfs_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let path = dir.path().join("text");
    for content in [&b""[..], b"hello", &[0; 5000]] {
        fs::write(&path, content).unwrap();
        let refused = store.add(&name("web"), &path, options());
        assert!(matches!(refused, Err(StoreError::NotSquashfs { .. })), "{refused:?}");
    }
    let missing = store.add(&name("web"), &dir.path().join("absent"), options());
    assert!(matches!(missing, Err(StoreError::File { .. })));
    for part in ["tmp", "blobs", "manifests", "names"] {
        assert_eq!(fs::read_dir(dir.path().join("store").join(part)).unwrap().count(), 0, "{part}");
    }
}

#[test]
fn left_overs_of_a_crash_are_cleared_unless_somebody_is_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::open(&path).unwrap();
    fs::write(path.join("tmp/1-1"), b"half").unwrap();
    let lock = store.lock_file().unwrap();
    lock.lock_shared().unwrap();
    Store::open(&path).unwrap();
    assert!(path.join("tmp/1-1").exists());
    drop(lock);
    Store::open(&path).unwrap();
    assert!(!path.join("tmp/1-1").exists());
}

#[test]
fn concurrent_adds_all_succeed_and_the_name_means_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    Store::open(&path).unwrap();
    let files: Vec<_> = (0..4).map(|seed| squashfs_file(dir.path(), seed, 100_000)).collect();
    let images: Vec<Digest> = std::thread::scope(|scope| {
        let path = &path;
        let threads: Vec<_> = (0..12)
            .map(|turn| {
                let file = &files[turn % files.len()];
                scope.spawn(move || Store::open(path).unwrap().add(&name("web"), file, options()).unwrap())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let store = Store::open(&path).unwrap();
    for image in &images {
        store.verify(image).unwrap();
    }
    let current = store.resolve(&"web".parse().unwrap()).unwrap().unwrap();
    assert!(images.contains(&current));
    assert_eq!(store.list().unwrap().len(), 4);
}

#[test]
fn a_name_file_with_rubbish_is_an_error_not_a_guess() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    fs::write(dir.path().join("names/web"), b"nonsense").unwrap();
    assert!(matches!(store.resolve(&"web".parse().unwrap()), Err(StoreError::Name { .. })));
}
