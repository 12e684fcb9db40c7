//! The tree that arrives is the tree that left; the move onto `/` itself is seen in a real boot.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_tree_is_moved_with_its_links_and_modes_and_nothing_stays_behind() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(from.path().join("lib/modules/6.1")).unwrap();
    fs::write(from.path().join("lib/modules/6.1/a.ko"), "module").unwrap();
    fs::write(from.path().join("init"), "program").unwrap();
    fs::set_permissions(from.path().join("init"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("init", from.path().join("linuxrc")).unwrap();
    let device = fs::metadata(from.path()).unwrap().dev();
    move_directory(from.path(), to.path(), device, DEPTH_MAX).unwrap();
    assert_eq!(fs::read(to.path().join("lib/modules/6.1/a.ko")).unwrap(), b"module");
    assert_eq!(fs::metadata(to.path().join("init")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(to.path().join("linuxrc")).unwrap(), Path::new("init"));
    assert_eq!(fs::read_dir(from.path()).unwrap().count(), 0);
}

#[test]
fn another_filesystem_inside_the_tree_is_left_alone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(from.path().join("mounted")).unwrap();
    fs::write(from.path().join("mounted/file"), "").unwrap();
    move_directory(from.path(), to.path(), u64::MAX, DEPTH_MAX).unwrap();
    assert!(from.path().join("mounted/file").exists() && !to.path().join("mounted").exists());
}

#[test]
fn a_tree_deeper_than_the_bound_is_refused() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(from.path().join("a/b/c")).unwrap();
    let device = fs::metadata(from.path()).unwrap().dev();
    let result = move_directory(from.path(), to.path(), device, 2);
    assert!(matches!(result, Err(RootfsError::Depth { path }) if path.ends_with("a/b")));
}
