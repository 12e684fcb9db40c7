//! A file's bytes as netascii.
//!
//! Purpose: translate text to the form that the wire wants: a line ends with CR LF, and a lone CR is CR NUL.
//! Specification: RFC 764 (NVT), RFC 1350 §1.
//!
//! Invariants: pure; the result is at most twice as long as the input. A line that ends with CR LF in the file is sent
//! as it is, so that a file that was written on another system is not given empty lines.
//!
//! Deliberately absent: streaming. Blocks of translated text cannot be found again without reading from the start, so
//! a file is translated whole, and only up to [`NETASCII_MAX_BYTES`]; boot files are read in octet mode.

/// Longest file that is sent as netascii, in bytes. A longer one is refused, with the advice to use octet mode.
pub const NETASCII_MAX_BYTES: u64 = 1024 * 1024;

/// Translates a whole file.
pub fn to_netascii(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len().saturating_add(content.len() / 32));
    let mut bytes = content.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => wire.extend_from_slice(b"\r\n"),
            b'\r' => match bytes.next_if_eq(&b'\n') {
                Some(_) => wire.extend_from_slice(b"\r\n"),
                None => wire.extend_from_slice(b"\r\0"),
            },
            other => wire.push(other),
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::to_netascii;

    #[test]
    fn line_ends_become_cr_lf_and_a_lone_cr_is_marked() {
        assert_eq!(to_netascii(b"a\nb\r\nc\rd"), b"a\r\nb\r\nc\r\0d");
        assert_eq!(to_netascii(b"\r"), b"\r\0");
        assert_eq!(to_netascii(b""), b"");
    }
}
