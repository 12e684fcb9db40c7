//! The authority on disk, and what it answers to requests.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn node() -> NodeId {
    NodeId(uuid::Uuid::from_u128(7))
}

#[test]
fn the_authority_is_made_once_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = Identity::open(dir.path()).unwrap();
    let key = dir.path().join(FOLDER).join(KEY_FILE);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let second = Identity::open(dir.path()).unwrap();
    assert_eq!(first.ca_digest(), second.ca_digest());
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_crash_while_the_authority_was_made_leaves_no_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("ca.new");
    fs::create_dir(&half).unwrap();
    fs::write(half.join(KEY_FILE), "half").unwrap();
    assert!(Identity::open(dir.path()).is_ok());
    assert!(!half.exists());
}

#[test]
fn a_key_of_another_authority_is_found_out() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Identity::open(one.path()).unwrap();
    Identity::open(two.path()).unwrap();
    let key = |dir: &tempfile::TempDir| dir.path().join(FOLDER).join(KEY_FILE);
    fs::copy(key(&two), key(&one)).unwrap();
    let error = Identity::open(one.path()).unwrap_err();
    assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
}

#[test]
fn a_request_is_answered_with_a_certificate_and_anything_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(dir.path()).unwrap();
    let (_, csr) = request(node()).unwrap();
    let chain = identity.issue(node(), &csr).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(Digest::of(&chain[1]), identity.ca_digest());
    let named = chain[0].windows(12).any(|window| window == b"bootes:node:");
    assert!(named, "the certificate carries the node's id");

    let mut altered = csr.clone();
    *altered.last_mut().unwrap() ^= 1;
    for bad in [&[][..], &[0x30; 40], &csr[..csr.len() - 1], &altered] {
        assert!(matches!(identity.issue(node(), bad), Err(RequestError::Malformed { .. })));
    }
    assert!(matches!(identity.issue(node(), &vec![0; 1 << 16]), Err(RequestError::TooLong { .. })));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_request_or_an_error(bytes: Vec<u8>) {
        let _ = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(bytes));
    }
}
