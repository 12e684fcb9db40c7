//! The vault: BMC passwords at rest, sealed with AES-256-GCM under a key of the state directory.
//!
//! The key is made at first start, readable by its owner alone, and never leaves this file. Whoever copies the
//! journal without the key has no password; whoever has both has them all.
//!
//! Absent on purpose: keys in a TPM or a key service.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use super::ipmi::Secret;
use crate::model::Sealed;

/// The key's file in the state directory.
const FILE_NAME: &str = "vault.key";
const KEY_BYTES: usize = 32;

/// What can go wrong with the vault.
#[derive(Debug, Error)]
pub enum VaultError {
    /// The key's file cannot be read or made.
    #[error("cannot use the vault's key {}: {source}; check the state directory's owner and free space", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The key's file has another length.
    #[error("the vault's key {} is damaged ({bytes} bytes, not {KEY_BYTES}); restore it from a copy, or remove it and apply the cluster's description again", path.display())]
    KeyDamaged {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    NoRandomness,
    /// The secret was sealed under another key, or altered.
    #[error("a stored password cannot be opened with this vault's key; apply the cluster's description again")]
    NotOurs,
}

/// The vault.
#[derive(Debug)]
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// Opens the vault in `dir`, making its key when there is none.
    ///
    /// # Errors
    /// When the key cannot be read, made, or has another length.
    pub fn open(dir: &Path) -> Result<Self, VaultError> {
        let path = dir.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path)?,
            Err(source) => return Err(VaultError::KeyFile { path, source }),
        };
        let damaged = |_| VaultError::KeyDamaged { path: path.clone(), bytes: bytes.len() };
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(damaged)?;
        Ok(Vault { key: LessSafeKey::new(key) })
    }

    /// Seals a secret: a new nonce each time, then the ciphertext with its tag.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(&self, secret: &str) -> Result<Sealed, VaultError> {
        let mut nonce = [0u8; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| VaultError::NoRandomness)?;
        let mut text = secret.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .map_err(|_| VaultError::NoRandomness)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Ok(Sealed(sealed))
    }

    /// Opens what [`Vault::seal`] made.
    ///
    /// # Errors
    /// When it was sealed under another key, or altered.
    pub fn open_sealed(&self, sealed: &Sealed) -> Result<Secret, VaultError> {
        let (nonce, text) = sealed.0.split_at_checked(NONCE_LEN).ok_or(VaultError::NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::NotOurs)?;
        let mut text = text.to_vec();
        let clear = self.key.open_in_place(nonce, Aad::empty(), &mut text).map_err(|_| VaultError::NotOurs)?;
        Ok(Secret::new(clear))
    }

    /// Whether `sealed` holds `secret`: sealing differs each time, so the sealed forms cannot be compared.
    #[must_use]
    pub fn holds(&self, sealed: &Sealed, secret: &str) -> bool {
        self.open_sealed(sealed).is_ok_and(|clear| clear.expose() == secret.as_bytes())
    }
}

/// Written under another name and renamed, so that a crash leaves no half key behind.
fn make_key(path: &Path) -> Result<Vec<u8>, VaultError> {
    let failed = |source| VaultError::KeyFile { path: path.to_owned(), source };
    let mut key = vec![0u8; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| VaultError::NoRandomness)?;
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_opened_after_a_restart_and_not_with_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = Vault::open(dir.path()).unwrap().seal("calvin").unwrap();
        assert!(Vault::open(dir.path()).unwrap().holds(&sealed, "calvin"));
        let other = tempfile::tempdir().unwrap();
        assert!(matches!(Vault::open(other.path()).unwrap().open_sealed(&sealed), Err(VaultError::NotOurs)));
    }

    #[test]
    fn an_altered_or_cut_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let sealed = vault.seal("calvin").unwrap();
        for at in 0..sealed.0.len() {
            let mut altered = sealed.clone();
            altered.0[at] ^= 1;
            assert!(vault.open_sealed(&altered).is_err(), "byte {at}");
            assert!(vault.open_sealed(&Sealed(sealed.0[..at].to_vec())).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_text_form_shows_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let sealed = vault.seal("calvin").unwrap();
        let shown = format!(
            "{:?} {:?} {}",
            sealed,
            vault.open_sealed(&sealed).unwrap(),
            serde_json::to_string(&sealed).unwrap()
        );
        assert!(!shown.contains("calvin"), "{shown}");
    }

    #[test]
    fn the_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Vault::open(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
