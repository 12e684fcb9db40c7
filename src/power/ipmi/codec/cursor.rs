//! Reading fields from the front of a byte slice without ever panicking.
//!
//! Pure. Invariant: every read checks the length and moves forward by exactly what it returned.
//! Deliberately not here: any knowledge of IPMI.

use super::CodecError;

/// A position in a slice; reads are little-endian, as everywhere in IPMI.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Reads from the front of `bytes`; `what` names the message in errors.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    pub(super) fn take(&mut self, len_bytes: usize) -> Result<&'a [u8], CodecError> {
        match self.rest.split_at_checked(len_bytes) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => {
                Err(CodecError::Truncated { what: self.what, missing_bytes: len_bytes.saturating_sub(self.rest.len()) })
            }
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }
}
