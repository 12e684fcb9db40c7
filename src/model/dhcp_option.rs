//! DHCP options as an operator writes them: by name or number, with a value of the option's type.
//!
//! Purpose: the table of options ([`KNOWN`]), and [`DhcpOptions`], a set of options with their values, checked. Specification:
//! IANA's "BOOTP Vendor Extensions and DHCP Options" for numbers, RFC 2132 and the RFCs named there for types; names as Kea and
//! dnsmasq write them.
//!
//! Invariants: every value of a [`DhcpOptions`] can be encoded. What belongs to the exchange itself (the address, the lease,
//! identifiers, what the relay says) cannot be set here.
//!
//! Absent on purpose: which of several settings stands (`plan::lease`), and pieces of long options (the codec).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Octets, StaticRoute};

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// An address.
    Ip,
    /// Addresses, one or more.
    Ips,
    /// A number of 8 bits.
    U8,
    /// A number of 16 bits.
    U16,
    /// Numbers of 16 bits.
    U16s,
    /// A number of 32 bits.
    U32,
    /// A number of 32 bits that may be negative.
    I32,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// Domain names (RFC 3397).
    Domains,
    /// Routes (RFC 3442).
    Routes,
    /// Bytes.
    Bytes,
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            OptionKind::Ip => "an IPv4 address",
            OptionKind::Ips => "one IPv4 address or a list of them",
            OptionKind::U8 => "a whole number from 0 to 255",
            OptionKind::U16 => "a whole number from 0 to 65535",
            OptionKind::U16s => "one whole number from 0 to 65535 or a list of them",
            OptionKind::U32 => "a whole number from 0 to 4294967295",
            OptionKind::I32 => "a whole number from -2147483648 to 2147483647",
            OptionKind::Flag => "true or false",
            OptionKind::Text => "a text",
            OptionKind::Domains => "one domain name or a list of them",
            OptionKind::Routes => "one route or a list of them, as in \"10.0.0.0/8 via 10.77.0.1\"",
            OptionKind::Bytes => "a text, 0x and hexadecimal digits, or a list of numbers from 0 to 255",
        })
    }
}

/// An option that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownOption {
    /// Its number.
    pub code: u8,
    /// Its names, the first one for printing.
    pub names: &'static [&'static str],
    /// What its value is.
    pub kind: OptionKind,
}

const fn option(code: u8, kind: OptionKind, names: &'static [&'static str]) -> KnownOption {
    KnownOption { code, names, kind }
}

use OptionKind::{Bytes, Domains, Flag, I32, Ip, Ips, Routes, Text, U8, U16, U16s, U32};

/// Every option that has a name here; any other can be set by its number, as bytes.
#[rustfmt::skip]
pub static KNOWN: &[KnownOption] = &[
    option(1, Ip, &["subnet-mask"]),
    option(2, I32, &["time-offset"]),
    option(3, Ips, &["routers", "router"]),
    option(4, Ips, &["time-servers"]),
    option(5, Ips, &["name-servers"]),
    option(6, Ips, &["domain-name-servers", "dns-server"]),
    option(7, Ips, &["log-servers"]),
    option(8, Ips, &["cookie-servers"]),
    option(9, Ips, &["lpr-servers", "lpr-server"]),
    option(10, Ips, &["impress-servers"]),
    option(11, Ips, &["resource-location-servers"]),
    option(12, Text, &["host-name", "hostname"]),
    option(13, U16, &["boot-size", "boot-file-size"]),
    option(14, Text, &["merit-dump"]),
    option(15, Text, &["domain-name"]),
    option(16, Ip, &["swap-server"]),
    option(17, Text, &["root-path"]),
    option(18, Text, &["extensions-path", "extension-path"]),
    option(19, Flag, &["ip-forwarding", "ip-forward-enable"]),
    option(20, Flag, &["non-local-source-routing", "non-local-source-routing-enable"]),
    option(21, Ips, &["policy-filter"]),
    option(22, U16, &["max-dgram-reassembly", "max-datagram-reassembly"]),
    option(23, U8, &["default-ip-ttl", "default-ttl"]),
    option(24, U32, &["path-mtu-aging-timeout"]),
    option(25, U16s, &["path-mtu-plateau-table"]),
    option(26, U16, &["interface-mtu", "mtu"]),
    option(27, Flag, &["all-subnets-local", "all-subnets"]),
    option(28, Ip, &["broadcast-address", "broadcast"]),
    option(29, Flag, &["perform-mask-discovery"]),
    option(30, Flag, &["mask-supplier"]),
    option(31, Flag, &["router-discovery"]),
    option(32, Ip, &["router-solicitation-address"]),
    option(33, Ips, &["static-routes", "static-route"]),
    option(34, Flag, &["trailer-encapsulation"]),
    option(35, U32, &["arp-cache-timeout", "arp-timeout"]),
    option(36, Flag, &["ieee802-3-encapsulation", "ethernet-encap"]),
    option(37, U8, &["default-tcp-ttl", "tcp-ttl"]),
    option(38, U32, &["tcp-keepalive-interval", "tcp-keepalive"]),
    option(39, Flag, &["tcp-keepalive-garbage"]),
    option(40, Text, &["nis-domain"]),
    option(41, Ips, &["nis-servers", "nis-server"]),
    option(42, Ips, &["ntp-servers", "ntp-server"]),
    option(43, Bytes, &["vendor-encapsulated-options", "vendor-encap"]),
    option(44, Ips, &["netbios-name-servers", "netbios-ns"]),
    option(45, Ips, &["netbios-dd-server", "netbios-dd"]),
    option(46, U8, &["netbios-node-type", "netbios-nodetype"]),
    option(47, Text, &["netbios-scope"]),
    option(48, Ips, &["font-servers", "x-windows-fs"]),
    option(49, Ips, &["x-display-manager", "x-windows-dm"]),
    option(58, U32, &["dhcp-renewal-time", "T1"]),
    option(59, U32, &["dhcp-rebinding-time", "T2"]),
    option(60, Text, &["vendor-class-identifier", "vendor-class"]),
    option(62, Text, &["nwip-domain-name"]),
    option(64, Text, &["nisplus-domain-name", "nis+-domain"]),
    option(65, Ips, &["nisplus-servers", "nis+-server"]),
    option(66, Text, &["tftp-server-name", "tftp-server"]),
    option(67, Text, &["boot-file-name", "bootfile-name"]),
    option(68, Ips, &["mobile-ip-home-agent", "mobile-ip-home"]),
    option(69, Ips, &["smtp-server"]),
    option(70, Ips, &["pop-server", "pop3-server"]),
    option(71, Ips, &["nntp-server"]),
    option(72, Ips, &["www-server"]),
    option(73, Ips, &["finger-server"]),
    option(74, Ips, &["irc-server"]),
    option(75, Ips, &["streettalk-server"]),
    option(76, Ips, &["streettalk-directory-assistance-server", "stda-server"]),
    option(85, Ips, &["nds-servers"]),
    option(86, Text, &["nds-tree-name"]),
    option(87, Text, &["nds-context"]),
    option(88, Domains, &["bcms-controller-names"]),
    option(89, Ips, &["bcms-controller-address"]),
    option(98, Text, &["uap-servers"]),
    option(100, Text, &["pcode", "posix-timezone"]),
    option(101, Text, &["tcode", "tzdb-timezone"]),
    option(108, U32, &["v6-only-preferred", "ipv6-only"]),
    option(112, Ips, &["netinfo-server-address"]),
    option(113, Text, &["netinfo-server-tag"]),
    option(114, Text, &["v4-captive-portal", "captive-portal"]),
    option(116, U8, &["auto-config"]),
    option(117, U16s, &["name-service-search"]),
    option(119, Domains, &["domain-search"]),
    option(120, Bytes, &["sip-servers", "sip-server"]),
    option(121, Routes, &["classless-static-route", "routes"]),
    option(124, Bytes, &["vivco-suboptions", "vendor-class-information"]),
    option(125, Bytes, &["vivso-suboptions", "vendor-id-encap"]),
    option(128, Bytes, &["tftp-server-ip-128"]),
    option(129, Bytes, &["call-server-ip"]),
    option(136, Ips, &["pana-agent"]),
    option(137, Text, &["v4-lost"]),
    option(138, Ips, &["capwap-ac-v4"]),
    option(150, Ips, &["tftp-server-address"]),
    option(208, Bytes, &["pxelinux-magic"]),
    option(209, Text, &["pxelinux-config-file", "configfile"]),
    option(210, Text, &["pxelinux-path-prefix", "pathprefix"]),
    option(211, U32, &["pxelinux-reboot-time", "reboottime"]),
    option(252, Text, &["wpad-proxy-url", "wpad"]),
];

/// What belongs to the exchange itself, and what to set instead.
const NOT_TO_SET: &[(u8, &str)] = &[
    (0, "it fills gaps"),
    (1, "it follows from the network's subnet"),
    (50, "it is the client's"),
    (51, "set lease_s, lease_min_s and lease_max_s of the network"),
    (52, "the server sets it where it is needed"),
    (53, "it is the message's type"),
    (54, "it is the appliance's address"),
    (55, "it is the client's"),
    (56, "it is the reason of a refusal"),
    (57, "it is the client's"),
    (61, "it is the client's"),
    (82, "it is the relay's"),
    (93, "it is the client's"),
    (94, "it is the client's"),
    (97, "it is the client's"),
    (118, "it is the client's"),
    (255, "it ends a message"),
];

/// An option's value, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum OptionValue {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Text, and whatever is written as text.
    Text(String),
    /// Several values.
    List(Vec<OptionValue>),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Flag(flag) => flag.fmt(f),
            OptionValue::Number(number) => number.fmt(f),
            OptionValue::Text(text) => f.pad(text),
            OptionValue::List(items) => f.pad(&items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Why an option cannot be set so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// There is no option of that name.
    #[error("there is no DHCP option '{name}'; take its number from 1 to 254, or one of the names in docs/DHCP.md")]
    NoSuchOption {
        /// The name.
        name: String,
    },
    /// An option that cannot be set.
    #[error("the DHCP option '{name}' cannot be set: {instead}")]
    NotToSet {
        /// The name or number.
        name: String,
        /// Why not, or what to set.
        instead: &'static str,
    },
    /// Set twice, by its name and by its number.
    #[error("the DHCP option '{name}' is set twice, by its name and by its number or another name; remove one")]
    Twice {
        /// The name.
        name: String,
    },
    /// A value of another type.
    #[error("the DHCP option '{name}' is {value}; {kind} was expected")]
    Value {
        /// The name or number.
        name: String,
        /// What was written.
        value: String,
        /// What it should be.
        kind: OptionKind,
    },
}

/// The option of this number, if it has a name.
#[must_use]
pub fn known(code: u8) -> Option<&'static KnownOption> {
    KNOWN.iter().find(|option| option.code == code)
}

/// The name of an option, or its number.
#[must_use]
pub fn name_of(code: u8) -> String {
    known(code).and_then(|option| option.names.first()).map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

fn kind_of(code: u8) -> OptionKind {
    known(code).map_or(OptionKind::Bytes, |option| option.kind)
}

/// The number of an option that is written by name or number.
///
/// # Errors
/// There is none, or it is one that cannot be set.
pub fn code_of(name: &str) -> Result<u8, OptionError> {
    let by_name = || KNOWN.iter().find(|option| option.names.contains(&name)).map(|option| option.code);
    let code = name.parse().ok().or_else(by_name);
    let code: u8 = code.ok_or_else(|| OptionError::NoSuchOption { name: name.to_owned() })?;
    match NOT_TO_SET.iter().find(|(not, _)| *not == code) {
        Some((_, instead)) => Err(OptionError::NotToSet { name: name.to_owned(), instead }),
        None => Ok(code),
    }
}

/// An option's bytes.
///
/// # Errors
/// The value is not of the option's type.
pub fn encode(code: u8, value: &OptionValue) -> Result<Vec<u8>, OptionError> {
    let kind = kind_of(code);
    let wrong = || OptionError::Value { name: name_of(code), value: value.to_string(), kind };
    let bytes = match kind {
        OptionKind::Bytes => bytes(value),
        OptionKind::Text => text(value).map(|text| text.as_bytes().to_vec()),
        OptionKind::Flag => match value {
            OptionValue::Flag(flag) => Some(vec![u8::from(*flag)]),
            _ => None,
        },
        OptionKind::Ip => address(value).map(|ip| ip.octets().to_vec()),
        OptionKind::U8 => number::<u8>(value).map(|number| vec![number]),
        OptionKind::U16 => number::<u16>(value).map(|number| number.to_be_bytes().to_vec()),
        OptionKind::U32 => number::<u32>(value).map(|number| number.to_be_bytes().to_vec()),
        OptionKind::I32 => number::<i32>(value).map(|number| number.to_be_bytes().to_vec()),
        OptionKind::Ips => each(value, |one| address(one).map(|ip| ip.octets().to_vec())),
        OptionKind::U16s => each(value, |one| number::<u16>(one).map(|number| number.to_be_bytes().to_vec())),
        OptionKind::Domains => each(value, |one| text(one).and_then(domain)),
        OptionKind::Routes => each(value, |one| text(one)?.parse::<StaticRoute>().ok().map(|route| route.encoded())),
    };
    let pairs = matches!(code, 21 | 33);
    bytes.filter(|bytes| !bytes.is_empty() && (!pairs || bytes.len() % 8 == 0)).ok_or_else(wrong)
}

fn each(value: &OptionValue, encode: impl Fn(&OptionValue) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    match value {
        OptionValue::List(items) => items.iter().map(encode).collect::<Option<Vec<_>>>().map(|parts| parts.concat()),
        one => encode(one),
    }
}

fn text(value: &OptionValue) -> Option<&str> {
    match value {
        OptionValue::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn address(value: &OptionValue) -> Option<Ipv4Addr> {
    text(value)?.parse().ok()
}

fn number<T: TryFrom<i64>>(value: &OptionValue) -> Option<T> {
    match value {
        OptionValue::Number(number) => T::try_from(*number).ok(),
        _ => None,
    }
}

fn bytes(value: &OptionValue) -> Option<Vec<u8>> {
    match value {
        OptionValue::Text(text) => text.parse::<Octets>().ok().map(|octets| octets.as_bytes().to_vec()),
        OptionValue::List(items) => items.iter().map(number::<u8>).collect(),
        OptionValue::Flag(_) | OptionValue::Number(_) => None,
    }
}

/// RFC 1035 §3.1, without compression, which RFC 3397 allows and does not ask for.
fn domain(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

/// Options with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "BTreeMap<String, OptionValue>"))]
#[serde(try_from = "BTreeMap<String, OptionValue>", into = "BTreeMap<String, OptionValue>")]
pub struct DhcpOptions(BTreeMap<u8, OptionValue>);

impl DhcpOptions {
    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets an option that is written by name or number.
    ///
    /// # Errors
    /// There is no such option, it is set already, or the value is not of its type.
    pub fn set(&mut self, name: &str, value: OptionValue) -> Result<(), OptionError> {
        let code = code_of(name)?;
        encode(code, &value)?;
        if self.0.contains_key(&code) {
            return Err(OptionError::Twice { name: name.to_owned() });
        }
        self.0.insert(code, value);
        Ok(())
    }

    /// The options by number.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &OptionValue)> {
        self.0.iter().map(|(code, value)| (*code, value))
    }
}

impl TryFrom<BTreeMap<String, OptionValue>> for DhcpOptions {
    type Error = OptionError;
    fn try_from(written: BTreeMap<String, OptionValue>) -> Result<Self, Self::Error> {
        let mut options = DhcpOptions::default();
        for (name, value) in written {
            options.set(&name, value)?;
        }
        Ok(options)
    }
}

impl From<DhcpOptions> for BTreeMap<String, OptionValue> {
    fn from(options: DhcpOptions) -> Self {
        options.0.into_iter().map(|(code, value)| (name_of(code), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &str, value: &str) -> Result<Vec<u8>, String> {
        let value: OptionValue = serde_json::from_str(value).expect("JSON");
        let code = code_of(name).map_err(|error| error.to_string())?;
        encode(code, &value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_encoded_by_the_type_of_its_option() {
        let cases: &[(&str, &str, &[u8])] = &[
            ("routers", "\"10.0.0.1\"", &[10, 0, 0, 1]),
            ("dns-server", "[\"10.0.0.1\", \"10.0.0.2\"]", &[10, 0, 0, 1, 10, 0, 0, 2]),
            ("time-offset", "-3600", &[0xff, 0xff, 0xf1, 0xf0]),
            ("mtu", "9000", &[0x23, 0x28]),
            ("ip-forwarding", "true", &[1]),
            ("domain-search", "[\"a.example\", \"b\"]", b"\x01a\x07example\x00\x01b\x00"),
            ("classless-static-route", "\"10.17.0.0/16 via 10.0.0.9\"", &[16, 10, 17, 10, 0, 0, 9]),
            ("224", "\"0x0a0b\"", &[10, 11]),
            ("225", "[1, 255]", &[1, 255]),
            ("226", "\"text\"", b"text"),
        ];
        for (name, value, bytes) in cases {
            assert_eq!(encoded(name, value).as_deref(), Ok(*bytes), "{name} = {value}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        for (name, value, reason) in [
            ("mtu", "70000", "a whole number from 0 to 65535"),
            ("routers", "\"here\"", "one IPv4 address or a list of them"),
            ("routers", "[]", "one IPv4 address or a list of them"),
            ("static-routes", "[\"10.0.0.0\"]", "list of them"),
            ("51", "60", "set lease_s"),
            ("rooters", "1", "there is no DHCP option 'rooters'"),
            ("256", "1", "there is no DHCP option '256'"),
            ("224", "7", "hexadecimal digits"),
        ] {
            let error = encoded(name, value).expect_err(name);
            assert!(error.contains(reason), "{name} = {value}: {error}");
        }
    }

    #[test]
    fn no_option_stands_twice_in_the_table_and_no_name_either() {
        for (at, option) in KNOWN.iter().enumerate() {
            let others = || KNOWN.iter().skip(at + 1);
            assert!(others().all(|other| other.code != option.code), "{}", option.code);
            for name in option.names {
                assert!(others().all(|other| !other.names.contains(name)), "{name}");
                assert!(name.parse::<u8>().is_err());
            }
            let not_to_set = NOT_TO_SET.iter().any(|(code, _)| *code == option.code);
            assert_eq!(code_of(option.names[0]).is_ok(), !not_to_set, "{}", option.code);
        }
    }

    #[test]
    fn an_option_is_stored_by_its_name_and_set_once() {
        let mut options = DhcpOptions::default();
        options.set("42", OptionValue::Text("10.0.0.1".into())).expect("it fits");
        assert!(options.set("ntp-server", OptionValue::Text("10.0.0.2".into())).is_err());
        assert_eq!(serde_json::to_string(&options).expect("JSON"), r#"{"ntp-servers":"10.0.0.1"}"#);
    }
}
