//! A request's options, gathered from all the places where they may stand.
//!
//! Purpose: the walk over the option fields. Specification: RFC 2131 §4.1, RFC 2132 §9.3 (overload), RFC 3396 §5 to §7: the pieces of
//! an option are put together in the order options field, `file`, `sname`, also when other options stand between.
//!
//! Invariants: an option that is cut off ends its field and is a problem; the options before it are kept. What is read
//! with a wrong length is a problem and absent. No more is kept than the packet holds.
//!
//! Deliberately absent: options that nothing here reads are gathered and left alone.

use dhcproto::v4::OptionCode;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use thiserror::Error;

use super::HEADER_BYTES;

/// The pad option, which has no length.
const PAD: u8 = 0;
/// The end option, which has no length.
const END: u8 = 255;
/// Bytes of option 97: type 0, and a UUID.
const MACHINE_ID_BYTES: usize = 17;

/// What is wrong with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("option {code} {fault}")]
pub struct OptionProblem {
    /// The option.
    pub code: u8,
    /// What is wrong.
    pub fault: OptionFault,
}

/// How an option can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OptionFault {
    /// The message ends in it.
    #[error("is cut off by the end of its field")]
    CutOff,
    /// Its length is not that of its kind.
    #[error("has {length_bytes} bytes of data, it should have {expected}")]
    Length {
        /// What it has.
        length_bytes: usize,
        /// What it should have.
        expected: &'static str,
    },
    /// It holds a value that means nothing.
    #[error("has the value {value}, it should be {expected}")]
    Value {
        /// What it holds.
        value: u8,
        /// What it should hold.
        expected: &'static str,
    },
}

/// The options of one message.
pub(super) struct Options {
    by_code: BTreeMap<OptionCode, Vec<u8>>,
    problems: Vec<OptionProblem>,
}

impl Options {
    /// Gathers the options of a message whose fixed part is whole.
    pub(super) fn gather(message: &[u8]) -> Self {
        let mut options = Options { by_code: BTreeMap::new(), problems: Vec::new() };
        options.walk(message.get(HEADER_BYTES..).unwrap_or_default());
        let (sname, file) = (message.get(44..108).unwrap_or_default(), message.get(108..236).unwrap_or_default());
        match options.number::<1>(OptionCode::OptionOverload, "1").map(|[value]| value) {
            None => {}
            Some(1) => options.walk(file),
            Some(2) => options.walk(sname),
            Some(3) => {
                options.walk(file);
                options.walk(sname);
            }
            Some(value) => {
                options.problem(OptionCode::OptionOverload, OptionFault::Value { value, expected: "1, 2 or 3" });
            }
        }
        options
    }

    fn walk(&mut self, field: &[u8]) {
        let mut rest = field;
        while let Some((code, tail)) = rest.split_first() {
            match *code {
                PAD => rest = tail,
                END => return,
                _ => {
                    let piece = tail.split_first().and_then(|(length, data)| data.split_at_checked((*length).into()));
                    let Some((data, after)) = piece else {
                        return self.problem(OptionCode::from(*code), OptionFault::CutOff);
                    };
                    self.by_code.entry(OptionCode::from(*code)).or_default().extend_from_slice(data);
                    rest = after;
                }
            }
        }
    }

    fn problem(&mut self, code: OptionCode, fault: OptionFault) {
        self.problems.push(OptionProblem { code: code.into(), fault });
    }

    pub(super) fn into_problems(self) -> Vec<OptionProblem> {
        self.problems
    }

    pub(super) fn has(&self, code: OptionCode) -> bool {
        self.by_code.contains_key(&code)
    }

    /// The data of an option that has `least` bytes or more.
    pub(super) fn bytes(&mut self, code: OptionCode, least: usize) -> Option<Vec<u8>> {
        let data = self.by_code.remove(&code)?;
        if data.len() < least {
            let expected = if least == 1 { "1 or more" } else { "2 or more" };
            self.problem(code, OptionFault::Length { length_bytes: data.len(), expected });
            return None;
        }
        Some(data)
    }

    fn number<const N: usize>(&mut self, code: OptionCode, expected: &'static str) -> Option<[u8; N]> {
        let data = self.by_code.remove(&code)?;
        let number = data.as_slice().try_into().ok();
        if number.is_none() {
            self.problem(code, OptionFault::Length { length_bytes: data.len(), expected });
        }
        number
    }

    pub(super) fn u16(&mut self, code: OptionCode) -> Option<u16> {
        self.number(code, "2").map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, code: OptionCode) -> Option<u32> {
        self.number(code, "4").map(u32::from_be_bytes)
    }

    pub(super) fn address(&mut self, code: OptionCode) -> Option<Ipv4Addr> {
        self.number::<4>(code, "4").map(Ipv4Addr::from)
    }

    /// All 16-bit numbers of an option; an odd byte at the end is a problem and the numbers before it stand.
    pub(super) fn u16s(&mut self, code: OptionCode) -> Vec<u16> {
        let Some(data) = self.by_code.remove(&code) else { return Vec::new() };
        let (pairs, odd) = data.as_chunks::<2>();
        if pairs.is_empty() || !odd.is_empty() {
            let expected = "2 for each architecture";
            self.problem(code, OptionFault::Length { length_bytes: data.len(), expected });
        }
        pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
    }

    /// Option 97 (RFC 4578 §2.3).
    pub(super) fn machine_id(&mut self) -> Option<Vec<u8>> {
        let code = OptionCode::ClientMachineIdentifier;
        let id: [u8; MACHINE_ID_BYTES] = self.number(code, "17")?;
        match id.first() {
            Some(&0) => Some(id.to_vec()),
            kind => {
                let value = kind.copied().unwrap_or_default();
                self.problem(code, OptionFault::Value { value, expected: "0, for a UUID" });
                None
            }
        }
    }

    /// An option without which the message cannot be understood, if it is there.
    pub(super) fn essential_u8(&mut self, code: OptionCode) -> Result<Option<u8>, OptionProblem> {
        self.essential(code, "1").map(|found| found.map(|[value]| value))
    }

    /// An option without which the message cannot be understood, if it is there.
    pub(super) fn essential_address(&mut self, code: OptionCode) -> Result<Option<Ipv4Addr>, OptionProblem> {
        self.essential::<4>(code, "4").map(|found| found.map(Ipv4Addr::from))
    }

    fn essential<const N: usize>(
        &mut self,
        code: OptionCode,
        expected: &'static str,
    ) -> Result<Option<[u8; N]>, OptionProblem> {
        let cut_off = |p: &&OptionProblem| p.code == u8::from(code) && p.fault == OptionFault::CutOff;
        if let Some(problem) = self.problems.iter().find(cut_off) {
            return Err(*problem);
        }
        let Some(data) = self.by_code.remove(&code) else { return Ok(None) };
        let length =
            OptionProblem { code: code.into(), fault: OptionFault::Length { length_bytes: data.len(), expected } };
        data.as_slice().try_into().map(Some).map_err(|_| length)
    }
}
