//! Every key of both files: what it may be, what stands for it when it is not given, and what it is for.
//!
//! Invariant: what is not in these tables is refused, and the reference page is these tables, printed.
//! Absent on purpose: reading (see `field`), and rules between two keys (see `appliance` and `cluster`).

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text.
    Text,
    /// A file or folder.
    Path,
    /// A name.
    Name,
    /// A list of names.
    Names,
    /// A node set.
    NodeSet,
    /// A list of texts.
    Texts,
    /// A text, or a list with one for each node.
    TextOrTexts,
    /// A pattern, or a list with one for each node; the example of one.
    Pattern(&'static str),
    /// An address and a port.
    Socket,
    /// An IPv4 address.
    Ip,
    /// A list of IPv4 addresses.
    Ips,
    /// An IPv4 network.
    Prefix,
    /// An IPv6 address.
    Ip6,
    /// A list of IPv6 addresses.
    Ips6,
    /// An IPv6 network.
    Prefix6,
    /// A whole number in these bounds.
    Number {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A list of whole numbers in these bounds.
    Numbers {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A table whose keys and texts are free.
    Labels,
    /// A table whose keys and values are a module's own.
    Free,
    /// A table of seconds by the name of a mutation.
    Seconds,
    /// A table of values by the path of a variable.
    Settings,
    /// A table of DHCP options by name or number.
    Options,
    /// A value of any type.
    Any,
    /// A whole number, negative ones too.
    Integer,
    /// A table.
    Table(&'static Section),
    /// A table that may stand several times.
    Tables(&'static Section),
}

/// What stands for a key that is not given.
#[derive(Debug, Clone, Copy)]
pub enum Fallback {
    /// Nothing: it must be given.
    Required,
    /// This number.
    Number(u64),
    /// This text.
    Text(&'static str),
    /// What these words say.
    Else(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What stands for it.
    pub fallback: Fallback,
    /// What it is for.
    pub meaning: &'static str,
}

/// One table.
#[derive(Debug)]
pub struct Section {
    /// Its title, as it is written in the file.
    pub title: &'static str,
    /// What stands before its keys' names in messages.
    pub prefix: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

impl Kind {
    /// What it may be, as a part of a sentence.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Kind::Text => "a text".into(),
            Kind::Path => "a path, as a text".into(),
            Kind::Name => "a name, as a text".into(),
            Kind::Names => "a list of names".into(),
            Kind::NodeSet => "a node set, as a text".into(),
            Kind::Texts => "a list of texts".into(),
            Kind::TextOrTexts => "a text, or a list with one for each node".into(),
            Kind::Pattern(_) => "a pattern, as a text, or a list with one text for each node".into(),
            Kind::Socket => "an address with a port, as a text".into(),
            Kind::Ip => "an IPv4 address, as a text".into(),
            Kind::Ips => "a list of IPv4 addresses, as texts".into(),
            Kind::Prefix => "an IPv4 network, as a text".into(),
            Kind::Ip6 => "an IPv6 address, as a text".into(),
            Kind::Ips6 => "a list of IPv6 addresses, as texts".into(),
            Kind::Prefix6 => "an IPv6 network, as a text".into(),
            Kind::Number { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Numbers { min, max } => format!("a list of whole numbers from {min} to {max}"),
            Kind::Choice(words) => format!("one of {}, as a text", words.join(", ")),
            Kind::Flag => "true or false".into(),
            Kind::Labels => "a table of texts".into(),
            Kind::Free => "a table of the module's own keys".into(),
            Kind::Seconds => "a table of whole numbers, seconds by the name of a mutation".into(),
            Kind::Settings => "a table of values by the path of a variable".into(),
            Kind::Options => "a table of DHCP options by name or number".into(),
            Kind::Any => "a text, a whole number, or a list or table of such".into(),
            Kind::Integer => "a whole number".into(),
            Kind::Table(section) => format!("a table, {}", section.title),
            Kind::Tables(section) => format!("a list of tables, each headed {}", section.title),
        }
    }

    /// An example of it, as it is written in a file.
    #[must_use]
    pub fn example(self) -> String {
        let plain = match self {
            Kind::Text | Kind::TextOrTexts => "\"…\"",
            Kind::Path => "\"/a/path\"",
            Kind::Name => "\"a-name\"",
            Kind::Names => "[\"a-name\"]",
            Kind::NodeSet => "\"n[1-3]\"",
            Kind::Texts => "[\"…\"]",
            Kind::Pattern(example) => example,
            Kind::Socket => "\"10.77.0.1:8080\"",
            Kind::Ip => "\"10.77.0.1\"",
            Kind::Ips => "[\"10.77.0.1\"]",
            Kind::Prefix => "\"10.77.0.0/24\"",
            Kind::Ip6 => "\"fd00:77::1\"",
            Kind::Ips6 => "[\"fd00:77::1\"]",
            Kind::Prefix6 => "\"fd00:77::/64\"",
            Kind::Number { .. } => "10",
            Kind::Choice(words) => return format!("\"{}\"", words.first().copied().unwrap_or_default()),
            Kind::Flag => "true",
            Kind::Labels => "{ rack = \"r1\" }",
            Kind::Free => "{ every_s = 60 }",
            Kind::Seconds => "{ \"boot.rom\" = 180 }",
            Kind::Settings => "{ \"site.rack\" = \"r1\" }",
            Kind::Numbers { .. } => "[7, 9]",
            Kind::Options => "{ time-offset = 3600, 224 = \"0x0a0b\" }",
            Kind::Any => "\"…\"",
            Kind::Integer => "10",
            Kind::Table(_) | Kind::Tables(_) => "{ … }",
        };
        plain.to_owned()
    }
}

pub(super) const fn key(name: &'static str, kind: Kind, fallback: Fallback, meaning: &'static str) -> Key {
    Key { name, kind, fallback, meaning }
}

pub mod cluster;
pub mod target;

/// The keys of appliance.toml.
pub mod appliance {
    use super::Fallback::{Else, Number, Required, Text};
    use super::{Key, Kind, Section, key};

    /// Milliseconds that an interval of the tree protocol may have.
    const INTERVAL: Kind = Kind::Number { min: 100, max: 600_000 };
    /// Seconds that a pause or a timeout may have.
    const PAUSE: Kind = Kind::Number { min: 1, max: 86_400 };

    pub const STATE_DIR: Key = key("state_dir", Kind::Path, Required, "folder of the journal, keys and certificates");
    pub const DHCP: Key = key("dhcp", Kind::Table(&DHCP_SECTION), Required, "the DHCP server");
    pub const TFTP: Key = key("tftp", Kind::Table(&TFTP_SECTION), Required, "the TFTP server");
    pub const HTTP: Key =
        key("http", Kind::Table(&HTTP_SECTION), Required, "the HTTP server for boot files and images");
    pub const AGENTS: Key = key("agents", Kind::Table(&AGENTS_SECTION), Required, "where agents join");
    pub const API: Key = key("api", Kind::Table(&API_SECTION), Else("its defaults"), "the API for operators");
    pub const BOOT: Key = key("boot", Kind::Table(&BOOT_SECTION), Required, "what machines boot");
    pub const IMAGES: Key = key("images", Kind::Table(&IMAGES_SECTION), Else("its defaults"), "the image store");
    pub const POWER: Key = key("power", Kind::Table(&POWER_SECTION), Else("its defaults"), "power control");
    pub const JOURNAL: Key = key(
        "journal",
        Kind::Table(&JOURNAL_SECTION),
        Else("its defaults"),
        "snapshots of the state, and how far back the past is kept",
    );
    pub const MODULE: Key = key(
        "module",
        Kind::Tables(&MODULE_SECTION),
        Else("none"),
        "a module from outside: a program that declares variables and mutations, see WRITING-A-MODULE.md",
    );
    pub const ENGINE: Key = key(
        "engine",
        Kind::Table(&ENGINE_SECTION),
        Else("its defaults"),
        "retries, timeouts, and what holds steps back",
    );

    pub const INTERFACES: Key =
        key("interfaces", Kind::Texts, Required, "network interfaces on which machines are answered");
    pub const ROUTER_ADVERTISEMENTS: Key = key(
        "router_advertisements",
        Kind::Choice(&["empty", "off"]),
        Text("empty"),
        "what machines that look for an IPv6 router hear: what their network says of IPv6, else that there is none (empty), or nothing (off)",
    );
    pub const DHCPV6: Key = key(
        "dhcpv6",
        Kind::Choice(&["on", "off"]),
        Text("on"),
        "whether DHCPv6 is answered on these interfaces, for networks that have IPv6",
    );
    pub const TFTP_LISTEN: Key = key("listen", Kind::Socket, Required, "address and UDP port, usually port 69");
    pub const TFTP_ALSO: Key = key(
        "also",
        Kind::Texts,
        Else("none"),
        "more addresses and ports that are listened on, IPv6 ones in brackets; machines are told `listen`",
    );
    pub const HTTP_LISTEN: Key = key("listen", Kind::Socket, Required, "address and TCP port");
    pub const HTTP_ALSO: Key = key(
        "also",
        Kind::Texts,
        Else("none"),
        "more addresses and ports that are listened on, IPv6 ones in brackets; machines are told `listen`",
    );
    pub const HTTP_TLS_LISTEN: Key = key(
        "tls_listen",
        Kind::Texts,
        Else("none: no HTTPS"),
        "addresses and ports for HTTPS, with a certificate of the cluster's own authority",
    );
    pub const HTTP_IMAGES: Key = key(
        "images_at_once",
        Kind::Number { min: 1, max: 4_096 },
        Number(64),
        "images, or parts of them, that are sent at once; further requests wait",
    );
    pub const HTTP_IMAGES_QUEUE: Key = key(
        "images_waiting",
        Kind::Number { min: 0, max: 6_000 },
        Number(4_096),
        "requests for images that wait; a further one is told when to come again",
    );
    pub const AGENTS_LISTEN: Key = key("listen", Kind::Socket, Required, "address and TCP port");
    pub const HELLO_MS: Key =
        key("hello_ms", INTERVAL, Number(1_000), "after so long without another word, a hello is sent");
    pub const DEAD_MS: Key =
        key("dead_ms", INTERVAL, Number(5_000), "after so long without a word, the other end is taken for lost");
    pub const API_LISTEN: Key = key(
        "listen",
        Kind::Socket,
        Text("127.0.0.1:8081"),
        "address and TCP port, for TLS; 0.0.0.0 or [::] for all addresses",
    );
    pub const API_SOCKET: Key = key(
        "socket",
        Kind::Path,
        Text("/run/bootes/api.sock"),
        "unix socket on which root of this machine is let in without a token",
    );
    pub const API_CERTIFICATE: Key = key(
        "certificate",
        Kind::Path,
        Else("one that the cluster's authority signs"),
        "a certificate of your own with its chain, in PEM; with `key`",
    );
    pub const API_KEY: Key =
        key("key", Kind::Path, Else("one made at the first start"), "the key of that certificate, in PEM");
    pub const API_NAMES: Key = key(
        "names",
        Kind::Texts,
        Else("none"),
        "more host names and addresses for the certificate that is made here, besides this machine's own",
    );
    pub const LOADERS: Key = key("loaders", Kind::Path, Text("/usr/lib/ipxe"), "folder of the network boot programs");
    pub const FILES: Key = key(
        "files",
        Kind::Path,
        Else("no target names a file"),
        "folder of the kernels, initial RAM disks and EFI programs that boot targets name",
    );
    pub const TEMPLATES: Key = key(
        "templates",
        Kind::Path,
        Else("no target names a template"),
        "folder of the scripts, configurations and metadata that boot targets name; each is a template",
    );
    pub const LAYER0: Key = key("layer0", Kind::Path, Required, "folder with the files vmlinuz and initramfs");
    pub const CONSOLE: Key = key("console", Kind::Text, Text("ttyS0,115200"), "the kernel's console");
    pub const ARGUMENTS: Key = key("arguments", Kind::Texts, Else("none"), "more kernel arguments, one a text");
    pub const STORE: Key = key("store", Kind::Path, Else("images in state_dir"), "folder of the image store");
    pub const POLL_S: Key = key(
        "poll_s",
        Kind::Number { min: 1, max: 3_600 },
        Number(30),
        "seconds between two looks at each machine's power",
    );
    pub const RETRY_BUDGET: Key = key(
        "retry_budget",
        Kind::Number { min: 1, max: 1_000 },
        Number(5),
        "failures that count, after which a node is quarantined",
    );
    pub const BACKOFF_BASE_S: Key =
        key("backoff_base_s", PAUSE, Number(2), "pause after a first failure; it doubles with each further one");
    pub const BACKOFF_MAX_S: Key = key("backoff_max_s", PAUSE, Number(300), "the longest pause");
    pub const TIMEOUTS: Key = key(
        "timeouts",
        Kind::Seconds,
        Else("those declared"),
        "seconds after which a step is taken for failed, by mutation",
    );
    pub const SNAPSHOT_EVERY_FACTS: Key = key(
        "snapshot_every_facts",
        Kind::Number { min: 100, max: 10_000_000 },
        Number(50_000),
        "facts between two snapshots; fewer make a start and a look into the past quicker and the file larger",
    );
    pub const KEEP_DAYS: Key = key(
        "keep_days",
        Kind::Number { min: 1, max: 36_500 },
        Number(90),
        "days that facts are kept; older ones are pruned once two snapshots cover them",
    );
    pub const KEEP_FACTS: Key = key(
        "keep_facts",
        Kind::Number { min: 1_000, max: 1_000_000_000 },
        Number(10_000_000),
        "facts that are kept; what is more is pruned once two snapshots cover it",
    );
    /// One timeout.
    pub const TIMEOUT_KIND: Kind = PAUSE;

    pub const MODULE_NAME: Key =
        key("name", Kind::Name, Required, "its name, with which all its variables and mutations begin");
    pub const MODULE_COMMAND: Key = key(
        "command",
        Kind::Texts,
        Required,
        "the program and its arguments; it is started in the folder of this file, with the appliance's rights",
    );
    pub const MODULE_CONFIG: Key = key("config", Kind::Free, Else("empty"), "its own configuration, as it declares it");
    pub const MODULE_BMC: Key =
        key("bmc", Kind::Flag, Else("`false`"), "whether it is given addresses, accounts and passwords of nodes' BMCs");
    pub const MODULE_START: Key = key(
        "start",
        Kind::Choice(&["demand", "always"]),
        Text("demand"),
        "when its program runs: when there is something to do (demand), or as long as the appliance (always)",
    );

    static MODULE_SECTION: Section = Section {
        title: "[[module]]",
        prefix: "module",
        keys: &[MODULE_NAME, MODULE_COMMAND, MODULE_CONFIG, MODULE_BMC, MODULE_START],
    };
    pub const START_FROZEN: Key = key(
        "start_frozen",
        Kind::Flag,
        Else("`false`"),
        "whether nothing is started after each start, until `bootes thaw --all`",
    );
    pub const DISRUPTED_MAX: Key = key(
        "disrupted_max",
        Kind::Number { min: 0, max: 20_000 },
        Number(0),
        "nodes that may be disturbed at once; 0 for any number",
    );
    pub const MASS_SHARE_PERCENT: Key = key(
        "mass_share_percent",
        Kind::Number { min: 0, max: 100 },
        Number(25),
        "share of all nodes whose turning bad together is a mass event; 0 for none",
    );
    pub const MASS_NODES_MIN: Key = key(
        "mass_nodes_min",
        Kind::Number { min: 1, max: 20_000 },
        Number(5),
        "nodes; fewer that turn bad together are no mass event",
    );
    pub const MASS_WINDOW_S: Key =
        key("mass_window_s", PAUSE, Number(60), "seconds within which nodes turn bad together");
    pub const DISABLED_MUTATIONS: Key =
        key("disabled_mutations", Kind::Texts, Else("none"), "mutations that are never planned with, by name");
    pub const DISABLED_MODULES: Key =
        key("disabled_modules", Kind::Texts, Else("none"), "modules whose mutations are never planned with, by name");

    static DHCP_SECTION: Section =
        Section { title: "[dhcp]", prefix: "dhcp", keys: &[INTERFACES, ROUTER_ADVERTISEMENTS, DHCPV6] };
    static TFTP_SECTION: Section = Section { title: "[tftp]", prefix: "tftp", keys: &[TFTP_LISTEN, TFTP_ALSO] };
    static HTTP_SECTION: Section = Section {
        title: "[http]",
        prefix: "http",
        keys: &[HTTP_LISTEN, HTTP_ALSO, HTTP_TLS_LISTEN, HTTP_IMAGES, HTTP_IMAGES_QUEUE],
    };
    static AGENTS_SECTION: Section =
        Section { title: "[agents]", prefix: "agents", keys: &[AGENTS_LISTEN, HELLO_MS, DEAD_MS] };
    static API_SECTION: Section =
        Section { title: "[api]", prefix: "api", keys: &[API_LISTEN, API_SOCKET, API_CERTIFICATE, API_KEY, API_NAMES] };
    static BOOT_SECTION: Section =
        Section { title: "[boot]", prefix: "boot", keys: &[LOADERS, LAYER0, CONSOLE, ARGUMENTS, FILES, TEMPLATES] };
    static IMAGES_SECTION: Section = Section { title: "[images]", prefix: "images", keys: &[STORE] };
    static POWER_SECTION: Section = Section { title: "[power]", prefix: "power", keys: &[POLL_S] };
    static ENGINE_SECTION: Section = Section {
        title: "[engine]",
        prefix: "engine",
        keys: &[
            RETRY_BUDGET,
            BACKOFF_BASE_S,
            BACKOFF_MAX_S,
            TIMEOUTS,
            START_FROZEN,
            DISRUPTED_MAX,
            MASS_SHARE_PERCENT,
            MASS_NODES_MIN,
            MASS_WINDOW_S,
            DISABLED_MUTATIONS,
            DISABLED_MODULES,
        ],
    };

    static JOURNAL_SECTION: Section =
        Section { title: "[journal]", prefix: "journal", keys: &[SNAPSHOT_EVERY_FACTS, KEEP_DAYS, KEEP_FACTS] };

    /// All of it.
    pub static ROOT: Section = Section {
        title: "appliance.toml",
        prefix: "",
        keys: &[STATE_DIR, DHCP, TFTP, HTTP, AGENTS, API, BOOT, IMAGES, POWER, MODULE, JOURNAL, ENGINE],
    };
}
