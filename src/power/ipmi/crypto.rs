//! Keys and codes of cipher suite 3: RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
//!
//! Pure computation. Invariants: keys are never printed and are wiped when dropped; codes are compared in constant time.
//! SHA-1 is what the suite prescribes; nothing else of bootes may use it.
//! Deliberately not here: drawing random numbers (values handed in), a channel key of its own (Kg: the password stands in
//! for it, as the specification says for "one-key" logins), SHA-256 suites.
//! Specification: IPMI v2.0 rev 1.1, sections 13.28 (RAKP HMACs), 13.29 (AES-CBC-128), 13.31–13.32 (SIK, K1, K2).

use aes::Aes128;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use ring::hmac;
use std::fmt;
use zeroize::Zeroizing;

/// Length of a SHA-1 HMAC.
pub const HMAC_BYTES: usize = 20;
/// Length of HMAC-SHA1-96: the authentication code of a protected message, and of RAKP 4.
pub const AUTH_CODE_BYTES: usize = 12;
/// AES block and initialization vector.
pub const BLOCK_BYTES: usize = 16;
/// Length of the random numbers and of the BMC's GUID.
pub const NONCE_BYTES: usize = 16;

/// Everything both sides have agreed on when RAKP 2 has been received; the HMACs and keys are computed from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Session id that the console chose (SIDm).
    pub console_session_id: u32,
    /// Session id that the BMC chose (SIDc).
    pub bmc_session_id: u32,
    /// Random number of the console (Rm).
    pub console_random: [u8; NONCE_BYTES],
    /// Random number of the BMC (Rc).
    pub bmc_random: [u8; NONCE_BYTES],
    /// The BMC's GUID (GUIDc).
    pub bmc_guid: [u8; NONCE_BYTES],
    /// Requested role as it was sent in RAKP 1, with the lookup bit (ROLEm).
    pub role: u8,
    /// User name, at most 16 bytes.
    pub user: Vec<u8>,
}

impl Exchange {
    fn role_and_user(&self) -> Vec<u8> {
        let len = u8::try_from(self.user.len()).unwrap_or(u8::MAX);
        let mut out = vec![self.role, len];
        out.extend_from_slice(&self.user);
        out
    }

    /// HMAC of RAKP 2: the BMC proves that it knows the password.
    pub fn bmc_proof(&self, password: &[u8]) -> [u8; HMAC_BYTES] {
        hmac_sha1(
            password,
            &[
                &self.console_session_id.to_le_bytes(),
                &self.bmc_session_id.to_le_bytes(),
                &self.console_random,
                &self.bmc_random,
                &self.bmc_guid,
                &self.role_and_user(),
            ],
        )
    }

    /// HMAC of RAKP 3: the console proves that it knows the password.
    pub fn console_proof(&self, password: &[u8]) -> [u8; HMAC_BYTES] {
        let console_session_id = self.console_session_id.to_le_bytes();
        hmac_sha1(password, &[&self.bmc_random, &console_session_id, &self.role_and_user()])
    }

    /// The keys of the session, from the session integrity key (SIK).
    pub fn keys(&self, password: &[u8]) -> SessionKeys {
        let sik = Zeroizing::new(hmac_sha1(password, &[&self.console_random, &self.bmc_random, &self.role_and_user()]));
        let k1 = Zeroizing::new(hmac_sha1(&*sik, &[&[0x01; HMAC_BYTES]]));
        let k2 = Zeroizing::new(hmac_sha1(&*sik, &[&[0x02; HMAC_BYTES]]));
        SessionKeys { session_integrity: sik, integrity: k1, confidentiality: Zeroizing::new(front(&*k2)) }
    }

    /// Integrity check value of RAKP 4: the BMC confirms the session integrity key.
    pub fn confirmation(&self, keys: &SessionKeys) -> [u8; AUTH_CODE_BYTES] {
        let bmc_session_id = self.bmc_session_id.to_le_bytes();
        let parts: [&[u8]; 3] = [&self.console_random, &bmc_session_id, &self.bmc_guid];
        front(&hmac_sha1(&*keys.session_integrity, &parts))
    }
}

/// The keys of one session.
#[derive(Clone)]
pub struct SessionKeys {
    session_integrity: Zeroizing<[u8; HMAC_BYTES]>,
    integrity: Zeroizing<[u8; HMAC_BYTES]>,
    confidentiality: Zeroizing<[u8; BLOCK_BYTES]>,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(redacted)")
    }
}

impl SessionKeys {
    /// HMAC-SHA1-96 over the signed part of a protected message.
    pub fn auth_code(&self, signed: &[u8]) -> [u8; AUTH_CODE_BYTES] {
        front(&hmac_sha1(&*self.integrity, &[signed]))
    }

    /// Encrypts in place. False when the length is not a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn encrypt(&self, iv: &[u8; BLOCK_BYTES], data: &mut [u8]) -> bool {
        let len_bytes = data.len();
        let key: &[u8; BLOCK_BYTES] = &self.confidentiality;
        cbc::Encryptor::<Aes128>::new(key.into(), iv.into()).encrypt_padded::<NoPadding>(data, len_bytes).is_ok()
    }

    /// Decrypts in place. False when the length is not a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn decrypt(&self, iv: &[u8; BLOCK_BYTES], data: &mut [u8]) -> bool {
        let key: &[u8; BLOCK_BYTES] = &self.confidentiality;
        cbc::Decryptor::<Aes128>::new(key.into(), iv.into()).decrypt_padded::<NoPadding>(data).is_ok()
    }
}

/// Whether two codes are equal, in a time that does not depend on where they differ.
#[must_use]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0u8, |seen, (l, r)| seen | (l ^ r)) == 0
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; HMAC_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    front(context.sign().as_ref())
}

/// The first `N` bytes; zeros where `bytes` is shorter, which no caller's input is.
fn front<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}
