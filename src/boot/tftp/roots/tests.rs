//! Which names reach which files, and which reach none.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;

fn client() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 2070))
}

/// A root `served` beside a folder `secret`, and a second root `more`.
fn tree() -> (tempfile::TempDir, Roots) {
    let base = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| base.path().join(name);
    for folder in ["served/efi", "secret", "more"] {
        fs::create_dir_all(at(folder)).expect("a folder");
    }
    fs::write(at("served/efi/snponly.efi"), "snponly").expect("a file");
    fs::write(at("more/only-here"), "more").expect("a file");
    fs::write(at("secret/key"), "key").expect("a file");
    symlink(at("secret/key"), at("served/leak")).expect("a link");
    symlink("../secret", at("served/leaky")).expect("a link");
    symlink("efi/snponly.efi", at("served/relative")).expect("a link");
    symlink(at("served/efi/snponly.efi"), at("served/absolute")).expect("a link");
    symlink(at("more/only-here"), at("served/to-more")).expect("a link");
    symlink("loop", at("served/loop")).expect("a link");
    nix::unistd::mkfifo(&at("served/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let roots = Roots::new([at("served"), at("more")]).expect("both roots exist");
    (base, roots)
}

fn content(roots: &Roots, name: &str) -> Result<String, OpenError> {
    let source = roots.open(client(), name)?;
    Ok(String::from_utf8_lossy(&source.read_whole().expect("readable")).into_owned())
}

#[test]
fn a_name_is_found_however_firmware_writes_it() {
    let (_base, roots) = tree();
    for name in [
        "efi/snponly.efi",
        "/efi/snponly.efi",
        "//efi//snponly.efi",
        "\\efi\\snponly.efi",
        "./efi/./snponly.efi",
        "efi/../efi/snponly.efi",
        "relative",
        "absolute",
    ] {
        assert_eq!(content(&roots, name).expect(name), "snponly", "{name}");
    }
}

#[test]
fn later_roots_are_searched_when_earlier_ones_do_not_hold_the_file() {
    let (_base, roots) = tree();
    assert_eq!(content(&roots, "only-here").expect("in the second root"), "more");
    assert_eq!(content(&roots, "to-more").expect("a link from root to root"), "more");
}

#[test]
fn no_name_and_no_link_leads_out_of_the_roots() {
    let (_base, roots) = tree();
    for name in [
        "../secret/key",
        "/../secret/key",
        "efi/../../secret/key",
        "..\\secret\\key",
        "leak",
        "leaky/key",
        "..",
        "/etc/../../secret/key",
    ] {
        assert!(matches!(content(&roots, name), Err(OpenError::OutsideRoots { .. })), "{name}");
    }
    assert!(matches!(content(&roots, "/etc/passwd"), Err(OpenError::NotFound { .. })));
}

#[test]
fn only_plain_files_are_opened_and_a_pipe_does_not_block() {
    let (_base, roots) = tree();
    for name in ["efi", "/", "pipe"] {
        assert!(matches!(content(&roots, name), Err(OpenError::NotAFile { .. })), "{name}");
    }
    assert!(matches!(content(&roots, "loop"), Err(OpenError::Unreadable { .. })));
    assert!(matches!(content(&roots, "efi/snponly.efi/x"), Err(OpenError::NotFound { .. })));
    assert!(matches!(content(&roots, &"a".repeat(400)), Err(OpenError::NotFound { .. })));
}

#[test]
fn a_replaced_file_is_served_anew() {
    let (base, roots) = tree();
    let path = base.path().join("served/efi/snponly.efi");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for text in ["first", "other"] {
        fs::write(&path, text).expect("written");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(long_ago)).expect("times set");
        assert_eq!(content(&roots, "relative").expect("served"), text);
        assert_eq!(content(&roots, "relative").expect("served from memory"), text);
    }
}

#[test]
fn a_root_that_is_missing_or_no_folder_is_named() {
    let (base, _roots) = tree();
    let missing = Roots::new([base.path().join("absent")]).expect_err("missing");
    assert!(missing.to_string().contains("absent"));
    let file = Roots::new([base.path().join("more/only-here")]).expect_err("a file");
    assert!(matches!(file, RootsError::NotAFolder { .. }));
}

proptest! {
    #[test]
    fn a_normalised_name_never_climbs(name in "[a./\\\\]{0,30}") {
        if let Some(path) = normalise(&name) {
            prop_assert!(path.is_relative());
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        }
    }
}
