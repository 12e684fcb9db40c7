//! The table makes sense before any kernel sees it.

use super::*;

#[test]
fn every_mount_comes_after_the_mount_that_holds_its_directory() {
    for (index, mount) in MOUNTS.iter().enumerate() {
        for later in &MOUNTS[index + 1..] {
            assert!(!mount.target.starts_with(&format!("{}/", later.target)), "{mount} is hidden by {later}");
            assert_ne!(mount.target, later.target);
        }
    }
}

#[test]
fn every_mount_is_absolute_and_prints_on_one_line() {
    for mount in MOUNTS {
        assert!(mount.target.starts_with('/'));
        assert!(!mount.to_string().contains('\n'));
    }
}

#[test]
fn a_required_mount_on_a_file_fails_with_its_directory_and_an_optional_one_is_skipped() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("proc"), "").unwrap();
    let table = |need| [Mount { need, ..MOUNTS[0] }];
    match mount_all(root.path(), &table(Need::Required)) {
        Err(MountError::Directory { target, .. }) => assert_eq!(target, root.path().join("proc")),
        other => panic!("{other:?}"),
    }
    assert_eq!(mount_all(root.path(), &table(Need::Optional)).unwrap().len(), 1);
}
