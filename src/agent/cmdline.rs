//! The kernel's command line, parsed into [`BootArguments`]: all that a node knows of itself when it starts.
//!
//! Invariants: parsed once, typed from then on; a repeated argument's last word counts, as for the kernel's own; the
//! join token is never printed. Unknown `bootes.` words are handed back to be reported: a newer appliance may say more.
//! Deliberately absent: reading `/proc/cmdline`, and any word that is not ours.
//! Specification: Linux `Documentation/admin-guide/kernel-parameters.rst` (words, and double quotes around spaces).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use uuid::Uuid;

use crate::model::Mac;

#[cfg(test)]
mod tests;

/// The prefix of every word that is for the agent.
pub const PREFIX: &str = "bootes.";
/// The most parents that one node can be given.
pub const PARENTS_MAX: usize = 8;
/// The most name servers: the resolver in C libraries reads no more than this (resolv.conf(5), MAXNS).
pub const NAME_SERVERS_MAX: usize = 3;
/// The shortest join token, in bytes: 128 bits.
pub const TOKEN_BYTES_MIN: usize = 16;
/// The longest join token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 64;
/// The longest host name: Linux keeps no more (`HOST_NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 64;
/// The smallest maximum transmission unit that IPv4 hosts must take (RFC 791 §3.1).
pub const MTU_MIN: u32 = 576;
/// The largest maximum transmission unit that an IP packet can fill.
pub const MTU_MAX: u32 = 65_535;

/// What the command line says about this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootArguments {
    /// `bootes.node`: the node's stable id.
    pub node: Uuid,
    /// `bootes.name`: the node's name, which becomes the host name.
    pub name: String,
    /// `bootes.mac`: the interface that the machine booted from.
    pub mac: Mac,
    /// `bootes.ip`: that interface's address and prefix length.
    pub address: InterfaceAddress,
    /// `bootes.router`: the default router, if there is one.
    pub router: Option<IpAddr>,
    /// `bootes.dns`: name servers, at most [`NAME_SERVERS_MAX`].
    pub name_servers: Vec<IpAddr>,
    /// `bootes.mtu`: the interface's maximum transmission unit in bytes, if not its own default.
    pub mtu_bytes: Option<u32>,
    /// `bootes.parent`: where to join, in order of preference; never empty, at most [`PARENTS_MAX`].
    pub parents: Vec<SocketAddr>,
    /// `bootes.ca`: the SHA-256 digest of the cluster's CA certificate in DER.
    pub ca: CaDigest,
    /// `bootes.token`: the single-use right to join.
    pub token: JoinToken,
    /// `bootes.http`: where boot files and images are served.
    pub http: SocketAddr,
    /// `bootes.log`: the log level; `info` when not given.
    pub log: LogLevel,
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The prefix length in bits: at most 32 for IPv4 and 128 for IPv6.
    pub prefix_bits: u8,
}

impl InterfaceAddress {
    /// Whether `other` is on the same link by this address's prefix.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix_bits.into())).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix_bits.into())).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The text is no `address/prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address and a prefix length, such as 10.0.0.7/24")]
pub struct InterfaceAddressError;

impl FromStr for InterfaceAddress {
    type Err = InterfaceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(InterfaceAddressError)?;
        let address: IpAddr = address.parse().map_err(|_| InterfaceAddressError)?;
        let prefix_bits: u8 = prefix.parse().map_err(|_| InterfaceAddressError)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix_bits == 0 || prefix_bits > longest || address.is_unspecified() || address.is_multicast() {
            return Err(InterfaceAddressError);
        }
        Ok(Self { address, prefix_bits })
    }
}

/// The SHA-256 digest of a CA certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CaDigest(pub [u8; 32]);

impl fmt::Debug for CaDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// The single-use right to join, whose content never reaches a log.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(Vec<u8>);

impl JoinToken {
    /// A token of these bytes; nothing when they are fewer or more than a token has.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&bytes.len()).then_some(JoinToken(bytes))
    }

    /// The token itself, between [`TOKEN_BYTES_MIN`] and [`TOKEN_BYTES_MAX`] bytes. For the join message alone.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JoinToken(redacted)")
    }
}

/// How much the agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Only what went wrong.
    Error,
    /// And what may go wrong.
    Warn,
    /// And each step.
    #[default]
    Info,
    /// And how each step was done.
    Debug,
    /// Everything.
    Trace,
}

/// A command line that does not describe a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmdlineError {
    /// A required argument is not there.
    #[error("the kernel command line lacks {argument}; add `{argument}=…` to the node's boot script")]
    Missing {
        /// The argument, with its prefix.
        argument: &'static str,
    },
    /// An argument's value cannot be used.
    #[error(
        "the kernel command line has {argument}=`{value}`, which is not {expected}; correct the node's boot script"
    )]
    Bad {
        /// The argument, with its prefix.
        argument: &'static str,
        /// What it said; redacted for the token.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What was understood.
    pub arguments: BootArguments,
    /// `bootes.` words that are not known, without their values.
    pub unknown: Vec<String>,
}

const KNOWN: &[&str] = &["node", "name", "mac", "ip", "router", "dns", "mtu", "parent", "ca", "token", "http", "log"];

/// Parses a kernel command line.
///
/// # Errors
/// The first argument that is missing or bad, in the order of [`BootArguments`].
pub fn parse(line: &str) -> Result<Parsed, CmdlineError> {
    let words = words(line);
    let ours: Vec<(&str, &str)> = words
        .iter()
        .filter_map(|word| word.strip_prefix(PREFIX))
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .collect();
    let unknown =
        ours.iter().map(|(key, _)| *key).filter(|key| !KNOWN.contains(key)).map(|key| format!("{PREFIX}{key}"));
    let unknown = unknown.collect();
    let values = Values { ours };
    let arguments = BootArguments {
        node: values.required("bootes.node", "a UUID", parsed)?,
        name: values.required("bootes.name", "a host name of letters, digits, dots and hyphens", name)?,
        mac: values.required("bootes.mac", "a hardware address such as 52:54:00:12:34:56", parsed)?,
        address: values.required("bootes.ip", "an address and a prefix length such as 10.0.0.7/24", parsed)?,
        router: values.optional("bootes.router", "an IP address", parsed)?,
        name_servers: values
            .optional("bootes.dns", "one to three IP addresses, separated by commas", |text| {
                list(text, NAME_SERVERS_MAX)
            })?
            .unwrap_or_default(),
        mtu_bytes: values.optional("bootes.mtu", "a number of bytes between 576 and 65535", mtu)?,
        parents: values.required("bootes.parent", "one to eight of address:port, separated by commas", |text| {
            list(text, PARENTS_MAX)
        })?,
        ca: values.required("bootes.ca", "a SHA-256 digest of 64 hexadecimal digits", ca)?,
        token: values.required("bootes.token", "a token of 32 to 128 hexadecimal digits", token)?,
        http: values.required("bootes.http", "an address and a port such as 10.0.0.1:8080", parsed)?,
        log: values.optional("bootes.log", "one of error, warn, info, debug, trace", level)?.unwrap_or_default(),
    };
    let same_family = |router: &IpAddr| router.is_ipv4() == arguments.address.address.is_ipv4();
    if let Some(router) = arguments.router.filter(|router| !same_family(router)) {
        return Err(CmdlineError::Bad {
            argument: "bootes.router",
            value: router.to_string(),
            expected: "of the same IP version as bootes.ip",
        });
    }
    Ok(Parsed { arguments, unknown })
}

struct Values<'a> {
    ours: Vec<(&'a str, &'a str)>,
}

impl Values<'_> {
    /// An empty value is the same as none: boot scripts fill in what they have.
    fn optional<T>(
        &self,
        argument: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, CmdlineError> {
        let key = argument.strip_prefix(PREFIX).unwrap_or(argument);
        let Some((_, value)) = self.ours.iter().rev().find(|(name, _)| *name == key) else {
            return Ok(None);
        };
        if value.is_empty() {
            return Ok(None);
        }
        let shown = if argument == "bootes.token" { "(redacted)" } else { value };
        read(value).map(Some).ok_or_else(|| CmdlineError::Bad { argument, value: shown.to_owned(), expected })
    }

    fn required<T>(
        &self,
        argument: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, CmdlineError> {
        self.optional(argument, expected, read)?.ok_or(CmdlineError::Missing { argument })
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn list<T: FromStr>(text: &str, most: usize) -> Option<Vec<T>> {
    let items: Vec<T> = text.split(',').map(|item| item.parse().ok()).collect::<Option<_>>()?;
    (items.len() <= most).then_some(items)
}

fn name(text: &str) -> Option<String> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (text.len() <= NAME_BYTES_MAX && text.split('.').all(label)).then(|| text.to_owned())
}

fn mtu(text: &str) -> Option<u32> {
    text.parse().ok().filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

fn ca(text: &str) -> Option<CaDigest> {
    hex(text)?.try_into().ok().map(CaDigest)
}

fn token(text: &str) -> Option<JoinToken> {
    hex(text).and_then(JoinToken::new)
}

fn level(text: &str) -> Option<LogLevel> {
    match text {
        "error" => Some(LogLevel::Error),
        "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        "trace" => Some(LogLevel::Trace),
        _ => None,
    }
}

/// Splits at white space outside double quotes, and drops the quotes; everything after `--` is for init's own arguments.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in line.chars().chain([' ']) {
        match character {
            '"' => quoted = !quoted,
            space if space.is_ascii_whitespace() && !quoted => {
                if word == "--" {
                    return words;
                }
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.trim().is_empty() {
        words.push(word.trim_end().to_owned());
    }
    words
}
