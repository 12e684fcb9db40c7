//! What can be wrong with a file, where, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::source::Place;
use crate::model::boot::TargetError;
use crate::model::dhcp_option::OptionError;
use crate::model::identity::OctetsError;
use crate::model::ids::NameError;
use crate::model::ipv6::{DuidError, Prefix6Error};
use crate::model::limits::{API_BODY_BYTES_MAX, MODULES_MAX};
use crate::model::mac::MacError;
use crate::model::network::NetworkError;
use crate::model::nodeset::NodeSetError;
use crate::model::prefix::PrefixError;
use crate::model::schema::{ExtensionError, VarError};
use crate::model::static_route::RouteError;

/// Something wrong with a file, and where in it.
#[derive(Debug, Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Where in it; nothing when it is about the file as a whole.
    pub place: Option<Box<Place>>,
    /// What.
    #[source]
    pub problem: Box<Problem>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, place: Option<Place>, problem: Problem) -> Self {
        ConfigError { file: file.to_owned(), place: place.map(Box::new), problem: Box::new(problem) }
    }
}

impl fmt::Display for ConfigError {
    /// `file:line:column: what is wrong`, then the line with a mark under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is quoted from a file must not move a terminal's cursor.
        let problem: String = self.problem.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match &self.place {
            Some(place) => {
                let Place { line, column, .. } = place.as_ref();
                write!(f, "{}:{line}:{column}: {problem}\n{place}", self.file.display())
            }
            None => write!(f, "{}: {problem}", self.file.display()),
        }
    }
}

/// The system's sentence, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// What is wrong.
#[derive(Debug, Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("the file cannot be read ({}); check its name and mode", plain(source))]
    Unreadable {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is too large.
    #[error("the file has more than {API_BODY_BYTES_MAX} bytes; describe nodes as node sets, or split the file")]
    TooLarge,
    /// The file is not text.
    #[error("this is not UTF-8 text; save the file as UTF-8")]
    NotUtf8,
    /// It is not TOML.
    #[error("this is not TOML: {detail}")]
    Syntax {
        /// What was expected.
        detail: String,
    },
    /// A key that is not known here.
    #[error("'{key}' is not a key of {section}; {advice}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table that it is in.
        section: String,
        /// What was probably meant, or what there is.
        advice: String,
    },
    /// A key that must be given.
    #[error("{section} has no {key} ({meaning}); write {key} = {expected}")]
    MissingKey {
        /// The key.
        key: String,
        /// The table that it should be in.
        section: String,
        /// What it is for.
        meaning: String,
        /// What it should be.
        expected: String,
    },
    /// A table that must be given.
    #[error("there is no table {title} ({meaning}); add it")]
    MissingTable {
        /// Its title.
        title: String,
        /// What it is for.
        meaning: String,
    },
    /// A value of another type.
    #[error("{key} is {found}; {expected} was expected")]
    WrongType {
        /// The key.
        key: String,
        /// What stands there.
        found: &'static str,
        /// What should.
        expected: String,
    },
    /// A value that cannot be.
    #[error("{key}: {source}")]
    BadValue {
        /// The key.
        key: String,
        /// Why not.
        #[source]
        source: ValueError,
    },
    /// Not one value for each node.
    #[error("{key} stands for {got} values and names for {wanted} nodes ({nodes}); give one for each node")]
    Lengths {
        /// The key.
        key: String,
        /// How many values it has.
        got: usize,
        /// How many nodes there are.
        wanted: usize,
        /// The nodes, as a node set.
        nodes: String,
    },
    /// A name described twice.
    #[error("{what} {name} is described already in line {first_line}; remove one of the two")]
    Twice {
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it is described first.
        first_line: usize,
    },
    /// Both spellings of one key.
    #[error("give either name or names, not both")]
    NameAndNames,
    /// A key of another type.
    #[error("{key} says nothing of a variable of type {kind}; remove it, or correct the type")]
    SaysNothing {
        /// The key.
        key: &'static str,
        /// The type.
        kind: String,
    },
}

/// Why a value cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not a hardware address.
    #[error(transparent)]
    Mac(#[from] MacError),
    /// Not a network.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// Not a node set or pattern.
    #[error(transparent)]
    NodeSet(#[from] NodeSetError),
    /// Not a route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A DHCP option that cannot be set so.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Not bytes.
    #[error(transparent)]
    Octets(#[from] OctetsError),
    /// What cannot be in a network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Not a UUID.
    #[error("'{0}' is not a UUID: write it as in 4c4c4544-0042-3510-8052-b4c04f4d3132")]
    Uuid(String),
    /// Not an IPv4 address.
    #[error("'{0}' is not an IPv4 address: write four numbers, as in 10.77.0.11")]
    Ip(String),
    /// Not an IPv6 address.
    #[error("'{0}' is not an IPv6 address: write it as in fd00:77::11")]
    Ip6(String),
    /// Not an IPv6 network.
    #[error(transparent)]
    Prefix6(#[from] Prefix6Error),
    /// Not a DUID.
    #[error(transparent)]
    Duid(#[from] DuidError),
    /// An address of another network.
    #[error("{ip} is not a machine's address in {subnet}; correct one of the two")]
    NotInSubnet {
        /// The address.
        ip: String,
        /// The network.
        subnet: String,
    },
    /// A range that ends before it begins.
    #[error("{to} comes before {from}; exchange the two")]
    PoolOrder {
        /// The first address.
        from: String,
        /// The last address.
        to: String,
    },
    /// Not an address with a port.
    #[error("'{0}' is not an address with a port: write both, as in 10.77.0.1:8080")]
    Socket(String),
    /// Not an address, with or without a port.
    #[error("'{0}' is not an address: write it with or without a port, as in 10.77.0.101 or 10.77.0.101:623")]
    BmcAddress(String),
    /// Something else than what is written there.
    #[error("'{got}' is not {wanted}")]
    NotA {
        /// What was written.
        got: String,
        /// What should be.
        wanted: &'static str,
    },
    /// A number outside its bounds.
    #[error("{got} is not in the range from {min} to {max}")]
    Range {
        /// The number, as it was written.
        got: String,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// None of the words allowed.
    #[error("'{got}' is not known here; {advice}")]
    Choice {
        /// The word.
        got: String,
        /// What was probably meant, or what there is.
        advice: String,
    },
    /// Not the path of a variable.
    #[error(transparent)]
    Path(#[from] VarError),
    /// A whole number that is too large.
    #[error("{0} is not a whole number of 64 bits")]
    Integer(String),
    /// A default that is not of its variable's type.
    #[error("'{got}' is not a value of this variable: use {allowed}")]
    Default {
        /// The value.
        got: String,
        /// What it could be.
        allowed: String,
    },
    /// A secret that everybody could read in a file.
    #[error("a secret has no default; give it to nodes, a pool or the defaults with set")]
    SecretDefault,
    /// A variable that cannot be.
    #[error("'{path}': {problem}")]
    Variable {
        /// Its path.
        path: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An extension that cannot be.
    #[error(transparent)]
    Extension(ExtensionError),
    /// A boot target that cannot be.
    #[error(transparent)]
    Target(TargetError),
    /// Empty where something is needed.
    #[error("it is empty; {0}")]
    Empty(&'static str),
    /// A certificate without its key, or a key without its certificate.
    #[error("a certificate and its key belong together: give [api] {0} too, or neither")]
    Alone(&'static str),
    /// Not a name that a certificate can hold.
    #[error("'{0}' is not a host name or address: write it as in boot.example.org or 10.77.0.1, without a port")]
    HostName(String),
    /// A path that no socket can have.
    #[error("the path of a socket has at most {max} bytes, and this one has {got}; choose a shorter one")]
    SocketPath {
        /// How many it has.
        got: usize,
        /// How many it may have.
        max: usize,
    },
    /// A name that something built in has.
    #[error("'{0}' is the name of something built in; choose another one")]
    BuiltInName(String),
    /// More modules than there may be.
    #[error("there are more than {MODULES_MAX} modules; let one program do the work of several")]
    TooManyModules,
    /// An address that machines cannot be told.
    #[error("machines are told this address, so it must be one of this appliance's own, not {0}")]
    Unspecified(String),
    /// Not a network interface's name.
    #[error(
        "'{0}' is not a network interface's name: use 1 to 15 characters without '/' or space, as ip link shows it"
    )]
    Interface(String),
    /// Text that would end a kernel argument early.
    #[error("'{0}' is not one kernel argument: give each argument as a text of its own, without spaces")]
    KernelArgument(String),
    /// Intervals that contradict each other.
    #[error("{dead_ms} is less than twice hello_ms ({hello_ms}): one lost hello would be taken for a lost node")]
    DeadTooShort {
        /// The dead interval.
        dead_ms: u64,
        /// The hello interval.
        hello_ms: u64,
    },
    /// Bounds that contradict each other.
    #[error("{max_s} is less than backoff_base_s ({base_s}); make it the larger one")]
    BackoffOrder {
        /// The longest pause.
        max_s: u64,
        /// The first pause.
        base_s: u64,
    },
}
