//! appliance.toml: where the appliance listens, where its files are, and how patient it is.
//!
//! Invariants: a value of [`Appliance`] has passed every rule that one file can be checked for. Relative paths are
//! relative to the file's own folder, so that it means the same wherever the program was started from.
//! Absent on purpose: whether folders, interfaces and addresses exist; binding them says that better.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigError, ValueError};
use super::field::{Document, Field, Table};
use super::keys::{Key, appliance as keys};
use super::module::{self, OutsideModule};
use super::source::Source;
use super::{suggest, switches};
use crate::journal::KeepPolicy;
use crate::plan::{Graph, Policy};

/// Bytes of an interface's name (`IFNAMSIZ`, less the end mark).
const INTERFACE_BYTES_MAX: usize = 15;
/// Bytes of a socket's path (`sun_path` in unix(7), less the end mark and the `.new` of its making).
const SOCKET_BYTES_MAX: usize = 103;

/// What `bootes serve` starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appliance {
    /// The folder of the journal, keys and certificates.
    pub state_dir: PathBuf,
    /// The interfaces on which DHCP is answered.
    pub dhcp_interfaces: Vec<String>,
    /// What machines that look for an IPv6 router hear on these interfaces.
    pub router_advertisements: RouterAdvertisements,
    /// Whether DHCPv6 is answered on these interfaces.
    pub dhcpv6: Dhcpv6,
    /// Where TFTP listens.
    pub tftp_listen: SocketAddr,
    /// Where TFTP listens as well.
    pub tftp_also: Vec<SocketAddr>,
    /// Where HTTP boot listens.
    pub http_listen: SocketAddr,
    /// How HTTP boot is served besides.
    pub http: Http,
    /// Where agents join.
    pub agents: Agents,
    /// The API.
    pub api: Api,
    /// What machines boot.
    pub boot: Boot,
    /// The folder of the image store.
    pub images_store: PathBuf,
    /// The time between two looks at each machine's power.
    pub power_poll: Duration,
    /// Snapshots, and how far back the past is kept.
    pub journal: KeepPolicy,
    /// Modules from outside, in the order of the file.
    pub modules: Vec<OutsideModule>,
    /// Retries and timeouts.
    pub engine: Engine,
}

/// Whether DHCPv6 is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcpv6 {
    /// It is, for networks that have IPv6.
    On,
    /// It is not.
    Off,
}

/// What machines that look for an IPv6 router hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterAdvertisements {
    /// That there is none.
    Empty,
    /// Nothing.
    Off,
}

/// How HTTP boot is served, besides the address that machines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens as well.
    pub also: Vec<SocketAddr>,
    /// Where it listens with TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// Images that are sent at once.
    pub images_at_once: usize,
    /// Requests for images that wait.
    pub images_waiting: usize,
}

/// Where agents join, and how their loss is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// The address.
    pub listen: SocketAddr,
    /// After so long without another word, in milliseconds, a hello is sent.
    pub hello_ms: u64,
    /// After so long without a word, in milliseconds, the other end is taken for lost; at least twice `hello_ms`.
    pub dead_ms: u64,
}

/// Where the API answers, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The address for TLS.
    pub listen: SocketAddr,
    /// The file of the socket for root.
    pub socket: PathBuf,
    /// An operator's own certificate and its key, both PEM files.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// More names for the certificate that is made without one.
    pub names: Vec<String>,
}

/// What machines boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The folder of the network boot programs.
    pub loaders: PathBuf,
    /// The folder of vmlinuz and initramfs.
    pub layer0: PathBuf,
    /// The folder of the files that boot targets name.
    pub files: Option<PathBuf>,
    /// The folder of the templates that boot targets name.
    pub templates: Option<PathBuf>,
    /// The kernel's console.
    pub console: String,
    /// More kernel arguments; none holds white space.
    pub arguments: Vec<String>,
}

/// Whether steps are started after the appliance's own start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As it was when it stopped.
    AsItWas,
    /// Not until an operator thaws.
    Frozen,
}

/// Retries, timeouts, and what holds steps back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Failures that count, until a node is quarantined.
    pub retry_budget: u32,
    /// The pause after a first failure, in seconds.
    pub backoff_base_s: u64,
    /// The longest pause, in seconds; not less than `backoff_base_s`.
    pub backoff_max_s: u64,
    /// Timeouts that stand before the declared ones, in seconds, by mutation.
    pub timeouts_s: BTreeMap<String, u64>,
    /// Whether steps are started after the appliance's own start.
    pub start: Start,
    /// How many nodes may be disturbed at once; 0 for any number.
    pub disrupted_max: u64,
    /// The share of all nodes, in percent, whose turning bad within the window is a mass event; 0 for none.
    pub mass_share_percent: u64,
    /// Fewer nodes than this are never a mass event.
    pub mass_nodes_min: u64,
    /// The window, in seconds.
    pub mass_window_s: u64,
    /// Mutations that are never planned with. Those of modules from outside need not be declared yet.
    pub disabled_mutations: Vec<String>,
    /// Modules whose mutations are never planned with.
    pub disabled_modules: Vec<String>,
}

impl Engine {
    /// The policy by which the planner decides.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let ms = |seconds: u64| seconds.saturating_mul(1_000);
        Policy {
            retry_budget: self.retry_budget,
            backoff_base_ms: ms(self.backoff_base_s),
            backoff_max_ms: ms(self.backoff_max_s),
            timeouts_ms: self.timeouts_s.iter().map(|(name, seconds)| (name.clone(), ms(*seconds))).collect(),
            mass_share_percent: self.mass_share_percent,
            mass_nodes_min: self.mass_nodes_min,
            mass_window_ms: ms(self.mass_window_s),
            disrupted_max: self.disrupted_max,
        }
    }

    /// `graph` without what is switched off.
    #[must_use]
    pub fn switch_off(&self, graph: Graph) -> Graph {
        let (mutations, modules) = (&self.disabled_mutations, &self.disabled_modules);
        graph.switched_off(mutations.iter().map(String::as_str), modules.iter().map(String::as_str))
    }
}

impl Appliance {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is wrong; the error says where.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Source::read(path)?)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// When something in it is wrong.
    pub(super) fn parse(source: &Source) -> Result<Self, ConfigError> {
        let document = Document::parse(source)?;
        let root = document.root(&keys::ROOT)?;
        let folder = source.file.parent().unwrap_or(Path::new(""));
        let path = |table: &Table, key| Ok::<_, ConfigError>(folder.join(table.text_or_default(key)?));
        let state_dir = not_empty(&root.need(&keys::STATE_DIR)?).map(|text| folder.join(text))?;
        let dhcp = root.section(&keys::DHCP)?;
        let dhcp_interfaces = interfaces(&dhcp.need(&keys::INTERFACES)?)?;
        let router_advertisements = router_advertisements(&dhcp)?;
        let (tftp, http) = (root.section(&keys::TFTP)?, root.section(&keys::HTTP)?);
        let tftp_listen = told(&tftp.need(&keys::TFTP_LISTEN)?)?;
        let tftp_also = sockets(&tftp, &keys::TFTP_ALSO)?;
        let http_listen = told(&http.need(&keys::HTTP_LISTEN)?)?;
        let count = |key| http.number(key).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let http = Http {
            also: sockets(&http, &keys::HTTP_ALSO)?,
            tls_listen: sockets(&http, &keys::HTTP_TLS_LISTEN)?,
            images_at_once: count(&keys::HTTP_IMAGES)?,
            images_waiting: count(&keys::HTTP_IMAGES_QUEUE)?,
        };
        let dhcpv6 = dhcpv6(&dhcp)?;
        let agents = agents(&root.section(&keys::AGENTS)?)?;
        let api = api(&root.section(&keys::API)?, folder)?;
        let boot = root.section(&keys::BOOT)?;
        let boot = Boot {
            loaders: path(&boot, &keys::LOADERS)?,
            layer0: not_empty(&boot.need(&keys::LAYER0)?).map(|text| folder.join(text))?,
            files: boot.get(&keys::FILES).map(|field| not_empty(&field).map(|text| folder.join(text))).transpose()?,
            templates: boot
                .get(&keys::TEMPLATES)
                .map(|field| not_empty(&field).map(|text| folder.join(text)))
                .transpose()?,
            console: boot.text_or_default(&keys::CONSOLE)?,
            arguments: boot.get(&keys::ARGUMENTS).map(|field| arguments(&field)).transpose()?.unwrap_or_default(),
        };
        let images_store = match root.section(&keys::IMAGES)?.get(&keys::STORE) {
            Some(field) => folder.join(not_empty(&field)?),
            None => state_dir.join("images"),
        };
        let power_poll = Duration::from_secs(root.section(&keys::POWER)?.number(&keys::POLL_S)?);
        let journal = journal(&root.section(&keys::JOURNAL)?)?;
        let modules = module::modules(&root, folder)?;
        let engine = engine(&root.section(&keys::ENGINE)?, &modules)?;
        Ok(Appliance {
            state_dir,
            dhcp_interfaces,
            router_advertisements,
            dhcpv6,
            tftp_listen,
            tftp_also,
            http_listen,
            http,
            agents,
            api,
            boot,
            images_store,
            power_poll,
            journal,
            modules,
            engine,
        })
    }
}

fn not_empty<'a>(field: &Field<'a>) -> Result<&'a str, ConfigError> {
    match field.text()? {
        "" => Err(field.bad(ValueError::Empty("name a folder"))),
        text => Ok(text),
    }
}

fn socket(field: &Field) -> Result<SocketAddr, ConfigError> {
    let text = field.text()?;
    text.parse().map_err(|_| field.bad(ValueError::Socket(text.to_owned())))
}

/// A list of addresses; none where the key is not given.
fn sockets(table: &Table, key: &Key) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(field) = table.get(key) else { return Ok(Vec::new()) };
    field.items()?.iter().map(socket).collect()
}

/// An address that machines are told.
fn told(field: &Field) -> Result<SocketAddr, ConfigError> {
    let address = socket(field)?;
    if address.ip().is_unspecified() {
        return Err(field.bad(ValueError::Unspecified(address.ip().to_string())));
    }
    Ok(address)
}

fn interfaces(field: &Field) -> Result<Vec<String>, ConfigError> {
    let items = field.items()?;
    if items.is_empty() {
        return Err(field.bad(ValueError::Empty("name at least one network interface")));
    }
    let name = |item: &Field| {
        let text = item.text()?;
        let usable = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
        if text.is_empty() || text.len() > INTERFACE_BYTES_MAX || !text.chars().all(usable) {
            return Err(item.bad(ValueError::Interface(text.to_owned())));
        }
        Ok(text.to_owned())
    };
    items.iter().map(name).collect()
}

fn router_advertisements(table: &Table) -> Result<RouterAdvertisements, ConfigError> {
    let Some(field) = table.get(&keys::ROUTER_ADVERTISEMENTS) else { return Ok(RouterAdvertisements::Empty) };
    match field.text()? {
        "empty" => Ok(RouterAdvertisements::Empty),
        "off" => Ok(RouterAdvertisements::Off),
        other => {
            let advice = suggest::advice(other, ["empty", "off"]);
            Err(field.bad(ValueError::Choice { got: other.to_owned(), advice }))
        }
    }
}

fn dhcpv6(table: &Table) -> Result<Dhcpv6, ConfigError> {
    let Some(field) = table.get(&keys::DHCPV6) else { return Ok(Dhcpv6::On) };
    match field.text()? {
        "on" => Ok(Dhcpv6::On),
        "off" => Ok(Dhcpv6::Off),
        other => {
            let advice = suggest::advice(other, ["on", "off"]);
            Err(field.bad(ValueError::Choice { got: other.to_owned(), advice }))
        }
    }
}

fn agents(table: &Table) -> Result<Agents, ConfigError> {
    let listen = told(&table.need(&keys::AGENTS_LISTEN)?)?;
    let (hello_ms, dead_ms) = (table.number(&keys::HELLO_MS)?, table.number(&keys::DEAD_MS)?);
    if dead_ms < hello_ms.saturating_mul(2) {
        let field = table.get(&keys::DEAD_MS).map_or_else(|| table.need(&keys::HELLO_MS), Ok)?;
        return Err(field.bad(ValueError::DeadTooShort { dead_ms, hello_ms }));
    }
    Ok(Agents { listen, hello_ms, dead_ms })
}

fn api(table: &Table, folder: &Path) -> Result<Api, ConfigError> {
    let listen = table.text_or_default(&keys::API_LISTEN)?;
    let listen = match listen.parse() {
        Ok(address) => address,
        Err(_) => return Err(table.need(&keys::API_LISTEN)?.bad(ValueError::Socket(listen))),
    };
    let path = |key| table.get(key).map(|field| not_empty(&field).map(|text| folder.join(text))).transpose();
    let socket = match path(&keys::API_SOCKET)? {
        Some(socket) => socket,
        None => folder.join(table.text_or_default(&keys::API_SOCKET)?),
    };
    let got = socket.as_os_str().len();
    if let Some(field) = table.get(&keys::API_SOCKET).filter(|_| got > SOCKET_BYTES_MAX) {
        return Err(field.bad(ValueError::SocketPath { got, max: SOCKET_BYTES_MAX }));
    }
    let certificate = match (path(&keys::API_CERTIFICATE)?, path(&keys::API_KEY)?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(table.need(&keys::API_CERTIFICATE)?.bad(ValueError::Alone("key"))),
        (None, Some(_)) => return Err(table.need(&keys::API_KEY)?.bad(ValueError::Alone("certificate"))),
    };
    let names = table.get(&keys::API_NAMES).map(|field| host_names(&field)).transpose()?.unwrap_or_default();
    Ok(Api { listen, socket, certificate, names })
}

fn host_names(field: &Field) -> Result<Vec<String>, ConfigError> {
    let name = |item: &Field| {
        let text = item.text()?;
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '*');
        let is_name = !text.is_empty() && text.len() <= 253 && text.chars().all(usable);
        match is_name || text.parse::<std::net::IpAddr>().is_ok() {
            true => Ok(text.to_owned()),
            false => Err(item.bad(ValueError::HostName(text.to_owned()))),
        }
    };
    field.items()?.iter().map(name).collect()
}

fn arguments(field: &Field) -> Result<Vec<String>, ConfigError> {
    let argument = |item: &Field| {
        let text = item.text()?;
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(item.bad(ValueError::KernelArgument(text.to_owned())));
        }
        Ok(text.to_owned())
    };
    field.items()?.iter().map(argument).collect()
}

fn journal(table: &Table) -> Result<KeepPolicy, ConfigError> {
    Ok(KeepPolicy {
        snapshot_every_facts: table.number(&keys::SNAPSHOT_EVERY_FACTS)?,
        keep_days: Some(table.number(&keys::KEEP_DAYS)?),
        keep_facts: Some(table.number(&keys::KEEP_FACTS)?),
    })
}

fn engine(table: &Table, modules: &[OutsideModule]) -> Result<Engine, ConfigError> {
    let base_s = table.number(&keys::BACKOFF_BASE_S)?;
    let max_s = table.number(&keys::BACKOFF_MAX_S)?;
    if max_s < base_s {
        let field = table.get(&keys::BACKOFF_MAX_S).map_or_else(|| table.need(&keys::BACKOFF_BASE_S), Ok)?;
        return Err(field.bad(ValueError::BackoffOrder { max_s, base_s }));
    }
    let names = switches::Names::of(modules);
    Ok(Engine {
        retry_budget: u32::try_from(table.number(&keys::RETRY_BUDGET)?).unwrap_or(u32::MAX),
        backoff_base_s: base_s,
        backoff_max_s: max_s,
        timeouts_s: switches::timeouts(table, &names)?,
        start: match table.get(&keys::START_FROZEN).map(|field| field.flag()).transpose()? {
            Some(true) => Start::Frozen,
            Some(false) | None => Start::AsItWas,
        },
        disrupted_max: table.number(&keys::DISRUPTED_MAX)?,
        mass_share_percent: table.number(&keys::MASS_SHARE_PERCENT)?,
        mass_nodes_min: table.number(&keys::MASS_NODES_MIN)?,
        mass_window_s: table.number(&keys::MASS_WINDOW_S)?,
        disabled_mutations: switches::mutations(table, &names)?,
        disabled_modules: switches::modules(table, &names)?,
    })
}
