//! The TFTP packets: decode and encode.
//!
//! Purpose: turn one UDP payload into a typed, borrowed [`Packet`], and a [`Packet`] into bytes.
//! Specification: RFC 1350 §5 (packets) and appendix I, RFC 2347 (options), RFC 2348 (`blksize`), RFC 2349
//! (`timeout`, `tsize`), RFC 7440 §3 (`windowsize`); `rollover` is in no RFC, and is read as tftp-hpa does (tftpd(8)).
//!
//! Invariants:
//! - No input panics, and none is copied: what is decoded borrows the datagram.
//! - A decoded name holds 1..=[`NAME_MAX_BYTES`] bytes of UTF-8 without control characters.
//! - What firmware is known to get wrong is tolerated: option names in any case, stray bytes or NULs at the end, a last
//!   string without its NUL, an option without a value. An option with a value outside its RFC's range counts as not
//!   sent, which RFC 2347 allows a server to do.
//!
//! Deliberately absent: deciding anything. Which options are granted is `reply`'s; what an ACK means is `session`'s.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// Longest file name that is accepted in a request, in bytes. A longer one is refused as malformed.
pub const NAME_MAX_BYTES: usize = 512;
/// Smallest block size, in bytes (RFC 2348).
pub const BLKSIZE_MIN_BYTES: u16 = 8;
/// Largest block size, in bytes (RFC 2348).
pub const BLKSIZE_MAX_BYTES: u16 = 65_464;
/// Block size where none was negotiated, in bytes (RFC 1350 §2).
pub const BLKSIZE_DEFAULT_BYTES: u16 = 512;
/// What DATA carries in front of its payload, in bytes.
pub const DATA_HEADER_BYTES: usize = 4;

const OPCODE_READ: u16 = 1;
const OPCODE_WRITE: u16 = 2;
const OPCODE_DATA: u16 = 3;
const OPCODE_ACK: u16 = 4;
const OPCODE_ERROR: u16 = 5;
const OPCODE_OPTION_ACK: u16 = 6;

/// One TFTP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ: the client wants to read a file.
    Read(Request<'a>),
    /// WRQ: the client wants to write a file.
    Write(Request<'a>),
    /// DATA.
    Data {
        /// Block number on the wire; it starts at 1 and rolls over after 65,535, as [`Rollover`] says.
        block: u16,
        /// The block's bytes.
        payload: &'a [u8],
    },
    /// ACK.
    Ack {
        /// Block number on the wire; 0 acknowledges an OACK.
        block: u16,
    },
    /// ERROR: it ends the transfer that it belongs to.
    Error {
        /// What kind of error.
        code: ErrorCode,
        /// The sender's words, as sent.
        message: &'a [u8],
    },
    /// OACK: the options that the server grants.
    OptionAck(Options),
}

/// What a RRQ or a WRQ asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The file's name, as sent.
    pub name: &'a str,
    /// The transfer mode.
    pub mode: Mode<'a>,
    /// The options that were asked for with a legal value.
    pub options: Options,
}

/// The transfer mode (RFC 1350 §1). Modes are compared without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Raw bytes.
    Octet,
    /// Text with CR LF line ends (RFC 764).
    Netascii,
    /// Anything else, `mail` among it, as sent.
    Unknown(&'a [u8]),
}

/// The options that are known, each absent or with a legal value. Unknown options are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `blksize` in bytes, at least [`BLKSIZE_MIN_BYTES`]; a request above [`BLKSIZE_MAX_BYTES`] is read as that.
    pub blksize_bytes: Option<u16>,
    /// `timeout` in seconds, 1..=255.
    pub timeout_s: Option<u8>,
    /// `tsize` in bytes; a client that reads sends 0.
    pub tsize_bytes: Option<u64>,
    /// `windowsize` in blocks, at least 1.
    pub windowsize_blocks: Option<u16>,
    /// `rollover`: the block number that follows 65,535.
    pub rollover: Option<Rollover>,
}

/// The block number that follows 65,535. No RFC says which; 0 is what nearly every client expects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rollover {
    /// 0.
    #[default]
    ToZero,
    /// 1, so that 0 stays the number of what acknowledges the options.
    ToOne,
}

impl Options {
    /// Whether no option is present.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The error codes (RFC 1350 appendix I, RFC 2347).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 0: see the message.
    NotDefined,
    /// 1: there is no such file.
    FileNotFound,
    /// 2: the file must not be accessed.
    AccessViolation,
    /// 3: the disk is full.
    DiskFull,
    /// 4: the operation is illegal.
    IllegalOperation,
    /// 5: the packet belongs to no transfer.
    UnknownTransferId,
    /// 6: the file exists already.
    FileExists,
    /// 7: there is no such user.
    NoSuchUser,
    /// 8: the options are refused; EDK II also sends it when it has learned the file's size.
    OptionsRefused,
    /// A code that no RFC names; never 0..=8.
    Unassigned(u16),
}

impl ErrorCode {
    /// The code for its number.
    pub fn from_wire(number: u16) -> Self {
        match number {
            0 => Self::NotDefined,
            1 => Self::FileNotFound,
            2 => Self::AccessViolation,
            3 => Self::DiskFull,
            4 => Self::IllegalOperation,
            5 => Self::UnknownTransferId,
            6 => Self::FileExists,
            7 => Self::NoSuchUser,
            8 => Self::OptionsRefused,
            other => Self::Unassigned(other),
        }
    }

    /// The number on the wire.
    pub fn to_wire(self) -> u16 {
        match self {
            Self::NotDefined => 0,
            Self::FileNotFound => 1,
            Self::AccessViolation => 2,
            Self::DiskFull => 3,
            Self::IllegalOperation => 4,
            Self::UnknownTransferId => 5,
            Self::FileExists => 6,
            Self::NoSuchUser => 7,
            Self::OptionsRefused => 8,
            Self::Unassigned(number) => number,
        }
    }
}

/// Why a datagram is no TFTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// It ends before its fixed fields do.
    #[error("the packet is {length_bytes} bytes long and ends inside its header; drop it")]
    Truncated {
        /// Its length in bytes.
        length_bytes: usize,
    },
    /// Its first two bytes name no operation.
    #[error("the packet's opcode {opcode} is not one of TFTP's; the sender speaks something else on this port")]
    UnknownOpcode {
        /// The opcode.
        opcode: u16,
    },
    /// A request that names no file.
    #[error("the request names no file; give the boot file's name in the client or in DHCP")]
    NameMissing,
    /// A request whose name is too long.
    #[error("the request's file name is {length_bytes} bytes long, more than {NAME_MAX_BYTES}; use a shorter one")]
    NameTooLong {
        /// Its length in bytes.
        length_bytes: usize,
    },
    /// A request whose name is not text.
    #[error("the request's file name is not UTF-8 text free of control characters; rename the file")]
    NameNotText,
}

/// Decodes one datagram.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(datagram: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let truncated = DecodeError::Truncated { length_bytes: datagram.len() };
    let (opcode, body) = split_u16(datagram).ok_or(truncated)?;
    match opcode {
        OPCODE_READ => decode_request(body).map(Packet::Read),
        OPCODE_WRITE => decode_request(body).map(Packet::Write),
        OPCODE_DATA => split_u16(body).map(|(block, payload)| Packet::Data { block, payload }).ok_or(truncated),
        OPCODE_ACK => split_u16(body).map(|(block, _)| Packet::Ack { block }).ok_or(truncated),
        OPCODE_ERROR => {
            let (number, rest) = split_u16(body).ok_or(truncated)?;
            Ok(Packet::Error { code: ErrorCode::from_wire(number), message: split_string(rest).0 })
        }
        OPCODE_OPTION_ACK => Ok(Packet::OptionAck(decode_options(body))),
        opcode => Err(DecodeError::UnknownOpcode { opcode }),
    }
}

/// Appends the packet's bytes to `out`.
pub fn encode(packet: &Packet<'_>, out: &mut Vec<u8>) {
    match packet {
        Packet::Read(request) => encode_request(OPCODE_READ, request, out),
        Packet::Write(request) => encode_request(OPCODE_WRITE, request, out),
        Packet::Data { block, payload } => {
            out.extend_from_slice(&data_header(*block));
            out.extend_from_slice(payload);
        }
        Packet::Ack { block } => {
            put_u16(OPCODE_ACK, out);
            put_u16(*block, out);
        }
        Packet::Error { code, message } => {
            put_u16(OPCODE_ERROR, out);
            put_u16(code.to_wire(), out);
            put_string(message, out);
        }
        Packet::OptionAck(options) => {
            put_u16(OPCODE_OPTION_ACK, out);
            encode_options(options, out);
        }
    }
}

/// What goes in front of a DATA packet's payload.
pub fn data_header(block: u16) -> [u8; DATA_HEADER_BYTES] {
    let ([opcode_high, opcode_low], [block_high, block_low]) = (OPCODE_DATA.to_be_bytes(), block.to_be_bytes());
    [opcode_high, opcode_low, block_high, block_low]
}

/// An ERROR's message as text: what is not UTF-8 is replaced.
pub fn message_text(message: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(message)
}

fn decode_request(body: &[u8]) -> Result<Request<'_>, DecodeError> {
    let (name, rest) = split_string(body);
    let name = without_end_option(name);
    if name.is_empty() {
        return Err(DecodeError::NameMissing);
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(DecodeError::NameTooLong { length_bytes: name.len() });
    }
    let name = std::str::from_utf8(name).map_err(|_| DecodeError::NameNotText)?;
    if name.chars().any(char::is_control) {
        return Err(DecodeError::NameNotText);
    }
    let (mode, rest) = split_string(rest);
    let mode = if mode.eq_ignore_ascii_case(b"octet") {
        Mode::Octet
    } else if mode.eq_ignore_ascii_case(b"netascii") {
        Mode::Netascii
    } else {
        Mode::Unknown(mode)
    };
    Ok(Request { name, mode, options: decode_options(rest) })
}

/// Some firmware takes the DHCP option that ends the packet (0xFF) for the last letter of the boot file's name. UTF-8
/// has no such byte, so no name loses anything.
fn without_end_option(mut name: &[u8]) -> &[u8] {
    while let Some(shorter) = name.strip_suffix(b"\xff") {
        name = shorter;
    }
    name
}

/// The first occurrence of an option counts: RFC 2347 says that each is given only once.
fn decode_options(mut rest: &[u8]) -> Options {
    let mut options = Options::default();
    while !rest.is_empty() {
        let (name, after_name) = split_string(rest);
        rest = after_name;
        if name.is_empty() {
            continue;
        }
        let (value, after_value) = split_string(rest);
        rest = after_value;
        let Some(number) = decimal(value) else {
            continue;
        };
        if name.eq_ignore_ascii_case(b"blksize") {
            let clamped = u16::try_from(number).map_or(BLKSIZE_MAX_BYTES, |size| size.min(BLKSIZE_MAX_BYTES));
            options.blksize_bytes = options.blksize_bytes.or(Some(clamped).filter(|size| *size >= BLKSIZE_MIN_BYTES));
        } else if name.eq_ignore_ascii_case(b"timeout") {
            let seconds = u8::try_from(number).ok().filter(|seconds| *seconds > 0);
            options.timeout_s = options.timeout_s.or(seconds);
        } else if name.eq_ignore_ascii_case(b"tsize") {
            options.tsize_bytes = options.tsize_bytes.or(Some(number));
        } else if name.eq_ignore_ascii_case(b"windowsize") {
            let blocks = u16::try_from(number).ok().filter(|blocks| *blocks > 0);
            options.windowsize_blocks = options.windowsize_blocks.or(blocks);
        } else if name.eq_ignore_ascii_case(b"rollover") {
            let rollover = match number {
                0 => Some(Rollover::ToZero),
                1 => Some(Rollover::ToOne),
                _ => None,
            };
            options.rollover = options.rollover.or(rollover);
        }
    }
    options
}

fn encode_request(opcode: u16, request: &Request<'_>, out: &mut Vec<u8>) {
    put_u16(opcode, out);
    put_string(request.name.as_bytes(), out);
    match request.mode {
        Mode::Octet => put_string(b"octet", out),
        Mode::Netascii => put_string(b"netascii", out),
        Mode::Unknown(mode) => put_string(mode, out),
    }
    encode_options(&request.options, out);
}

fn encode_options(options: &Options, out: &mut Vec<u8>) {
    let rollover = options.rollover.map(|rollover| match rollover {
        Rollover::ToZero => 0,
        Rollover::ToOne => 1,
    });
    let known: [(&[u8], Option<u64>); 5] = [
        (b"tsize", options.tsize_bytes),
        (b"blksize", options.blksize_bytes.map(u64::from)),
        (b"timeout", options.timeout_s.map(u64::from)),
        (b"windowsize", options.windowsize_blocks.map(u64::from)),
        (b"rollover", rollover),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            put_string(name, out);
            put_string(value.to_string().as_bytes(), out);
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (field, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*field), rest))
}

/// Splits at the first NUL; without one, everything is the string.
fn split_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

fn put_u16(field: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&field.to_be_bytes());
}

/// A NUL inside would end the string early for the receiver, so the text stops there.
fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(split_string(text).0);
    out.push(0);
}
