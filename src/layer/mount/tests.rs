//! Tests against the kernel, as root, with a true squashfs made by mksquashfs.

use std::process::Command;

use super::*;

/// A squashfs with one file in it.
fn squashfs(dir: &Path) -> PathBuf {
    let tree = dir.join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("greeting"), "hello").unwrap();
    let blob = dir.join("blob");
    let made = Command::new("mksquashfs").args([&tree, &blob]).args(["-quiet", "-no-progress"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    blob
}

fn loops_of(blob: &Path) -> usize {
    let wanted = blob.to_str().unwrap();
    let entries = fs::read_dir("/sys/block").unwrap().flatten();
    let files = entries.filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    files.filter(|file| file.trim_end() == wanted).count()
}

fn mounts_of(dir: &Path) -> usize {
    mountinfo::at_and_below(&fs::read_to_string("/proc/self/mountinfo").unwrap(), dir).len()
}

fn assert_nothing_left(dir: &Path, blob: &Path) {
    assert_eq!(mounts_of(dir), 0);
    // The kernel lets a superblock go in the background, so the loop device may outlive the call by a moment.
    while loops_of(blob) > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn an_image_is_writable_twice_from_fresh_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (blob, dir) = (squashfs(home.path()), home.path().join("mount"));
    for _ in 0..2 {
        let image = ImageMount::mount(&blob, &dir, WritableSize::Bytes(1 << 20)).unwrap();
        assert_eq!(fs::read_to_string(image.root().join("greeting")).unwrap(), "hello");
        fs::write(image.root().join("greeting"), "changed").unwrap();
        let full = fs::write(image.root().join("large"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!((mounts_of(&dir), loops_of(&blob)), (3, 1));
        image.unmount().unwrap();
        assert_nothing_left(&dir, &blob);
    }
}

#[test]
fn what_a_crash_left_is_cleared_before_mounting() {
    let home = tempfile::tempdir().unwrap();
    let (blob, dir) = (squashfs(home.path()), home.path().join("mount"));
    std::mem::forget(ImageMount::mount(&blob, &dir, WRITABLE_DEFAULT).unwrap());
    let image = ImageMount::mount(&blob, &dir, WRITABLE_DEFAULT).unwrap();
    assert_eq!((mounts_of(&dir), loops_of(&blob)), (3, 1));
    drop(image);
    assert_nothing_left(&dir, &blob);
    unmount_below(&dir).unwrap();
}

#[test]
fn what_is_in_use_is_said_to_be_busy_and_goes_when_it_is_let_go() {
    let home = tempfile::tempdir().unwrap();
    let (blob, dir) = (squashfs(home.path()), home.path().join("mount"));
    let image = ImageMount::mount(&blob, &dir, WRITABLE_DEFAULT).unwrap();
    let held = fs::File::open(image.root().join("greeting")).unwrap();
    assert!(matches!(image.unmount(), Err(MountError::Busy { .. })));
    assert_eq!(mounts_of(&dir), 0);
    drop(held);
    assert_nothing_left(&dir, &blob);
}

#[test]
fn a_blob_that_is_no_squashfs_is_refused_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (blob, dir) = (home.path().join("blob"), home.path().join("mount"));
    fs::write(&blob, vec![7; 8192]).unwrap();
    let refused = ImageMount::mount(&blob, &dir, WRITABLE_DEFAULT).unwrap_err();
    assert!(matches!(refused, MountError::NotMountable { .. }), "{refused:?}");
    assert_nothing_left(&dir, &blob);
    let comma = ImageMount::mount(&blob, &home.path().join("a,b"), WRITABLE_DEFAULT).unwrap_err();
    assert!(matches!(comma, MountError::Path { .. }));
}
