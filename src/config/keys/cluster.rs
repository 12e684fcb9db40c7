//! The keys of cluster.toml.
//!
//! What may be said by the defaults, a pool or a node is one list of keys, so that the three cannot drift apart.
#![allow(missing_docs)]

use super::Fallback::{Else, Number, Required};
use super::target::TARGET;
use super::{Key, Kind, Section, key};

pub const CLUSTER: Key =
    key("cluster", Kind::Table(&CLUSTER_SECTION), Else("the name is left as it is"), "the cluster");
pub const EXTENSION: Key =
    key("extension", Kind::Tables(&EXTENSION_SECTION), Else("none"), "variables of your own, in named sets");
pub const NETWORK: Key = key("network", Kind::Tables(&NETWORK_SECTION), Else("none"), "networks to boot from");
pub const CAKE: Key = key("cake", Kind::Tables(&CAKE_SECTION), Else("none"), "stacks of images that nodes run");
pub const DEFAULTS: Key = key(
    "defaults",
    Kind::Table(&DEFAULTS_SECTION),
    Else("they are left as they are"),
    "what holds for every node whose pool or own table does not say otherwise",
);
pub const POOL: Key = key(
    "pool",
    Kind::Tables(&POOL_SECTION),
    Else("none"),
    "sets of nodes with much in common; what a pool says stands before the defaults",
);
pub const NODE: Key =
    key("node", Kind::Tables(&NODE_SECTION), Else("none"), "nodes; what a node says stands before its pool");
pub const ENROLL: Key = key(
    "enroll",
    Kind::Tables(&ENROLL_SECTION),
    Else("the rules are left as they are"),
    "rules by which machines that are no node become nodes; the first that fits a machine counts, and all conditions of a rule must hold",
);

pub const ENROLL_SERIALS: Key = key("serial", Kind::Texts, Else("any"), "condition: one of these serial numbers");
pub const ENROLL_UUIDS: Key = key("uuid", Kind::Texts, Else("any"), "condition: one of these UUIDs");
pub const ENROLL_MACS: Key = key(
    "mac",
    Kind::Texts,
    Else("any"),
    "condition: a hardware address of the machine is one of these, or begins so, as in 52:54:00",
);
pub const ENROLL_VENDOR: Key =
    key("vendor", Kind::Text, Else("any"), "condition: the maker or the model has this in its name");
pub const ENROLL_SWITCH: Key = key(
    "switch",
    Kind::Text,
    Else("any"),
    "condition: plugged into this switch, by its LLDP system name or chassis id, or the remote id of option 82",
);
pub const ENROLL_PORTS: Key = key(
    "ports",
    Kind::Pattern("\"Ethernet[1-48]\""),
    Else("any"),
    "condition: plugged into one of these ports, by the LLDP port id or the circuit id of option 82; where there are as many names, each port has its own",
);
pub const ENROLL_CPUS: Key = key(
    "cpus_min",
    Kind::Number { min: 1, max: 1_000_000 },
    Else("any"),
    "condition: so many logical processors at least",
);
pub const ENROLL_MEMORY: Key = key(
    "memory_mib_min",
    Kind::Number { min: 1, max: 1_000_000_000 },
    Else("any"),
    "condition: so much memory at least, in MiB, of what the kernel can use",
);
pub const ENROLL_NETWORK: Key = key("network", Kind::Name, Else("any"), "condition: it asked on this network");
pub const ENROLL_NAMES: Key =
    key("names", Kind::NodeSet, Required, "the names to give: the first free one, or the one of the machine's port");
pub const ENROLL_IPS: Key = key(
    "ip",
    Kind::Pattern("\"10.77.0.[11-58]\""),
    Else("any free address of the network"),
    "the addresses that go with the names, one for each",
);
pub const ENROLL_POOL: Key = key("pool", Kind::Name, Else("none"), "the pool that the nodes belong to");
pub const ENROLL_CAKE: Key = key("cake", Kind::Name, Else("what a wider table says"), "the cake that the nodes run");
pub const ENROLL_LABELS: Key = key("labels", Kind::Labels, Else("none"), "labels of the nodes");
/// Whether a rule enrols by itself.
pub const APPROVALS: &[&str] = &["ask", "automatic"];
pub const ENROLL_APPROVE: Key = key(
    "approve",
    Kind::Choice(APPROVALS),
    super::Fallback::Text("ask"),
    "ask: an operator says `bootes enroll`; automatic: a machine that fits is enrolled as soon as it has reported itself",
);

pub const CLUSTER_NAME: Key = key("name", Kind::Name, Required, "the cluster's name");

pub const EXTENSION_NAME: Key = key("name", Kind::Name, Required, "the extension's name");
pub const DOC: Key = key("doc", Kind::Text, Else("none"), "what it is for, in one sentence");
pub const VARIABLE: Key = key("variable", Kind::Tables(&VARIABLE_SECTION), Else("none"), "its variables");
pub const VARIABLE_PATH: Key = key(
    "path",
    Kind::Text,
    Required,
    "lower-case words joined by dots, as in site.rack; one word but the first may be a placeholder such as <name>",
);
/// The types that a variable may have.
pub const TYPES: &[&str] = &["enum", "int", "text", "ip", "mac", "uuid", "digest", "duration", "list", "map", "secret"];
/// The types that a list or a map may be of.
pub const PLAIN_TYPES: &[&str] = &["enum", "int", "text", "ip", "mac", "uuid", "digest", "duration"];
/// How a variable may be set.
pub const SETTINGS: &[&str] = &["config", "goal", "observed"];
pub const TYPE: Key = key("type", Kind::Choice(TYPES), Required, "its type");
pub const VALUES: Key = key("values", Kind::Texts, Else("none"), "the values of an enum, or of a list or map of enums");
pub const OF: Key = key("of", Kind::Choice(PLAIN_TYPES), Else("none"), "the type of what is in a list or a map");
pub const MIN: Key = key("min", Kind::Integer, Else("no bound"), "the least value of an int");
pub const MAX: Key = key("max", Kind::Integer, Else("no bound"), "the greatest value of an int");
pub const SET: Key = key(
    "set",
    Kind::Choice(SETTINGS),
    super::Fallback::Text("config"),
    "config: a setting that modules and agents read; goal: the planner looks for a way to it; observed: it is only seen",
);
pub const GOALS: Key =
    key("goals", Kind::Texts, Else("all of its values"), "the values of an enum that operators may ask for");
pub const DEFAULT: Key =
    key("default", Kind::Any, Else("nothing is wanted of it"), "what is wanted where nothing else says so");
pub const KNOWN_WHILE: Key = key(
    "known_while",
    Kind::Table(&KNOWN_WHILE_SECTION),
    Else("it is always kept"),
    "while what it is known: it is forgotten when the other variable has another value",
);
pub const OTHER: Key = key("variable", Kind::Text, Required, "the other variable");
pub const ANY_OF: Key = key("any_of", Kind::Texts, Required, "its values");

pub const NETWORK_NAME: Key = key("name", Kind::Name, Required, "the network's name");
pub const SUBNET: Key = key("subnet", Kind::Prefix, Required, "its addresses");
pub const ROUTER: Key = key("router", Kind::Ip, Else("none"), "the default router told to machines");
pub const DNS: Key = key("dns", Kind::Ips, Else("none"), "name servers told to machines");
pub const LEASE_S: Key =
    key("lease_s", Kind::Number { min: 60, max: 31_536_000 }, Number(3_600), "how long a lease is valid, in seconds");
pub const LEASE_MIN_S: Key = key(
    "lease_min_s",
    Kind::Number { min: 10, max: 31_536_000 },
    Else("60"),
    "the shortest lease that a machine may ask for, in seconds",
);
pub const LEASE_MAX_S: Key = key(
    "lease_max_s",
    Kind::Number { min: 60, max: 31_536_000 },
    Else("`lease_s`"),
    "the longest lease that a machine may ask for, in seconds",
);
pub const DOMAIN: Key = key("domain", Kind::Text, Else("none"), "the domain of machines' names");
pub const NTP: Key = key("ntp", Kind::Ips, Else("none"), "time servers told to machines");
pub const MTU: Key =
    key("mtu", Kind::Number { min: 68, max: 65_535 }, Else("none"), "the longest packet on the link, in bytes");
pub const ROUTES: Key = key(
    "routes",
    Kind::Texts,
    Else("none"),
    "routes told to machines, as in \"10.0.0.0/8 via 10.77.0.1\"; the one by `router` is added",
);
pub const AUTHORITATIVE: Key = key(
    "authoritative",
    Kind::Flag,
    Else("true"),
    "whether a machine that wants a wrong address is told so; false where another DHCP server gives addresses too",
);
pub const RELAYS: Key =
    key("relays", Kind::Ips, Else("none"), "relays that serve it from an address outside of all described networks");
pub const OPTIONS: Key = key(
    "options",
    Kind::Options,
    Else("none"),
    "DHCP options by name or number; a nearer table stands before a wider one",
);
pub const CLASS: Key = key(
    "class",
    Kind::Tables(&CLASS_SECTION),
    Else("none"),
    "kinds of clients; a later one stands before an earlier one",
);
pub const CLASS_NAME: Key = key("name", Kind::Name, Required, "the class's name");
pub const CLASS_ARCH: Key =
    key("arch", Kind::Numbers { min: 0, max: 65_535 }, Else("any"), "architectures, any of these (option 93)");
pub const VENDOR_CLASS: Key = key("vendor_class", Kind::Text, Else("any"), "how the vendor class begins (option 60)");
pub const USER_CLASS: Key = key("user_class", Kind::Text, Else("any"), "a user class (option 77)");
pub const CLASS_MAC: Key =
    key("mac", Kind::Texts, Else("any"), "how the hardware address begins, as in \"52:54:00\"; any of these");
pub const RANGE_CLASS: Key = key("class", Kind::Name, Else("any client"), "only clients of this class of the network");
pub const RANGE_LABELS: Key =
    key("labels", Kind::Labels, Else("any node"), "only nodes that have all of these labels; for `nodes`");
pub const RANGE_LEASE_S: Key = key(
    "lease_s",
    Kind::Number { min: 60, max: 31_536_000 },
    Else("the network's"),
    "how long a lease is valid, in seconds",
);
pub const RANGE: Key =
    key("range", Kind::Tables(&RANGE_SECTION), Else("none"), "addresses that are given to machines as they come");
pub const FROM: Key = key("from", Kind::Ip, Required, "the first address");
pub const TO: Key = key("to", Kind::Ip, Required, "the last address");
/// Which machines a range is for.
pub const RANGE_USES: &[&str] = &["discovery", "nodes"];
pub const FOR: Key = key(
    "for",
    Kind::Choice(RANGE_USES),
    super::Fallback::Text("discovery"),
    "discovery: machines that are no node; nodes: nodes that are described without `ip`",
);
pub const IPV6: Key = key("ipv6", Kind::Table(&IPV6_SECTION), Else("no IPv6 is served there"), "IPv6 on it");
pub const SUBNET6: Key = key("subnet", Kind::Prefix6, Required, "its addresses");
pub const POOL6: Key = key(
    "pool",
    Kind::Table(&POOL6_SECTION),
    Else("machines without an address of their own get none"),
    "addresses for machines without one of their own, unknown ones too",
);
pub const FROM6: Key = key("from", Kind::Ip6, Required, "the first address");
pub const TO6: Key = key("to", Kind::Ip6, Required, "the last address");
pub const DNS6: Key = key("dns", Kind::Ips6, Else("none"), "name servers told to machines");
pub const SEARCH6: Key = key("search", Kind::Texts, Else("none"), "domains in which machines look for names");
pub const NTP6: Key = key("ntp", Kind::Ips6, Else("none"), "time servers told to machines");
pub const BOOT_PARAMETERS: Key =
    key("boot_parameters", Kind::Texts, Else("none"), "parameters told to firmware with its boot program's URL");
pub const PREFERENCE: Key = key(
    "preference",
    Kind::Number { min: 0, max: 255 },
    Number(0),
    "how willing to serve beside another DHCPv6 server; 255 ends every machine's search at once",
);
pub const MANAGED: Key = key("managed", Kind::Flag, Else("`true`"), "advertise that addresses come by DHCPv6 (M)");
pub const OTHER_FLAG: Key =
    key("other", Kind::Flag, Else("`true`"), "advertise that other parameters come by DHCPv6 (O)");
pub const ON_LINK: Key = key("on_link", Kind::Flag, Else("`true`"), "advertise that its addresses need no router (L)");
pub const AUTONOMOUS: Key =
    key("autonomous", Kind::Flag, Else("`false`"), "advertise that machines make addresses of their own (A)");
pub const ROUTER_LIFETIME_S: Key = key(
    "router_lifetime_s",
    Kind::Number { min: 0, max: 9_000 },
    Number(0),
    "for how long the appliance is a default router, in seconds; 0: it is none",
);
pub const MTU6: Key =
    key("mtu", Kind::Number { min: 0, max: 65_535 }, Number(0), "advertise the link's largest packet; 0 says nothing");
pub const IP6: Key = key(
    "ip6",
    Kind::Pattern("\"fd00:77::[11-13]\""),
    Else("none: the pool's, if the network has one"),
    "fixed IPv6 addresses, one for each node",
);
pub const DUID: Key = key(
    "duid",
    Kind::TextOrTexts,
    Else("they are known by their hardware address"),
    "the identifiers by which they ask by DHCPv6, one for each node",
);
pub const CAKE_NAME: Key = key("name", Kind::Name, Required, "the cake's name");
pub const CAKE_IMAGES: Key =
    key("images", Kind::Names, Required, "its images by name, in the order in which they are started");

pub const MATCH: Key = key(
    "match",
    Kind::Table(&MATCH_SECTION),
    Else("they are known by `mac` alone"),
    "by what else they are known; a machine with one of these is the node, whatever its hardware address is",
);
pub const UUID: Key =
    key("uuid", Kind::TextOrTexts, Else("none"), "UUIDs of their mainboards, as their firmware tells them (option 97)");
pub const CLIENT_ID: Key = key(
    "client_id",
    Kind::TextOrTexts,
    Else("none"),
    "DHCP client identifiers (option 61), as text or as 0x and hexadecimal digits",
);
pub const CIRCUIT_ID: Key = key(
    "circuit_id",
    Kind::Pattern("\"ge-0/0/[1-3]\""),
    Else("none"),
    "switch ports, as the relay names them (option 82, sub-option 1)",
);
pub const REMOTE_ID: Key =
    key("remote_id", Kind::TextOrTexts, Else("none"), "switches, as they name themselves (option 82, sub-option 2)");

pub const POOL_NAME: Key = key("name", Kind::Name, Required, "the pool's name");
pub const NAMES: Key = key("names", Kind::NodeSet, Required, "the nodes; `name` means the same");
pub const NAME: Key = key("name", Kind::NodeSet, Else("see `names`"), "another spelling of `names`");
pub const NODE_POOL: Key = key("pool", Kind::Name, Else("none"), "the pool that they belong to");
pub const MAC: Key = key(
    "mac",
    Kind::Pattern("\"52:54:00:b0:07:[01-03]\""),
    Required,
    "hardware addresses of the interfaces that they boot from, one for each node",
);
pub const IP: Key = key(
    "ip",
    Kind::Pattern("\"10.77.0.[11-13]\""),
    Else("one of a range of their network that is for nodes, given when they are described and kept"),
    "fixed addresses, one for each node",
);

const SAID_WIDER: super::Fallback = Else("what a wider table says");
pub const NODE_NETWORK: Key =
    key("network", Kind::Name, SAID_WIDER, "the network that they boot from; somebody must say it");
pub const NODE_CAKE: Key =
    key("cake", Kind::Name, Else("what a wider table says; else layer 0 only"), "the cake that they run");
pub const ARCH: Key = key("arch", Kind::Text, SAID_WIDER, "their processor architecture, as in x86_64");
pub const PLATFORM: Key = key("platform", Kind::Text, SAID_WIDER, "what kind of machine they are, in your own words");
pub const PARENTS: Key = key(
    "parents",
    Kind::Names,
    Else("what a wider table says; else the appliance"),
    "nodes that may be their parent in the tree, in order of preference",
);
pub const LABELS: Key = key("labels", Kind::Labels, Else("none"), "free labels; they add to those of wider tables");
pub const VALUES_SET: Key =
    key("set", Kind::Settings, Else("none"), "what is wanted of variables; they add to those of wider tables");
pub const BMC: Key = key("bmc", Kind::Table(&BMC_SECTION), Else("power is left to a human"), "their power control");
pub const DEFAULTS_BMC: Key =
    key("bmc", Kind::Table(&DEFAULTS_BMC_SECTION), Else("each pool or node says it"), "what BMCs have in common");
pub const POOL_BMC: Key =
    key("bmc", Kind::Table(&POOL_BMC_SECTION), Else("the defaults or each node say it"), "what BMCs have in common");
pub const DRIVER: Key = key("driver", Kind::Choice(&["ipmi"]), SAID_WIDER, "the protocol; somebody must say it");
pub const ADDRESS: Key = key(
    "address",
    Kind::Pattern("\"10.77.0.[101-103]\""),
    Required,
    "addresses, one for each node; a port may follow, else it is 623",
);
pub const USER: Key = key("user", Kind::TextOrTexts, SAID_WIDER, "the account; somebody must say it");
pub const PASSWORD: Key = key(
    "password",
    Kind::TextOrTexts,
    SAID_WIDER,
    "its password; it is stored encrypted and never shown; somebody must say it",
);

static CLUSTER_SECTION: Section = Section { title: "[cluster]", prefix: "cluster", keys: &[CLUSTER_NAME] };
static EXTENSION_SECTION: Section =
    Section { title: "[[extension]]", prefix: "extension", keys: &[EXTENSION_NAME, DOC, VARIABLE] };
static VARIABLE_SECTION: Section = Section {
    title: "[[extension.variable]]",
    prefix: "variable",
    keys: &[VARIABLE_PATH, DOC, TYPE, VALUES, OF, MIN, MAX, SET, GOALS, DEFAULT, KNOWN_WHILE],
};
static KNOWN_WHILE_SECTION: Section =
    Section { title: "[extension.variable.known_while]", prefix: "known_while", keys: &[OTHER, ANY_OF] };
static NETWORK_SECTION: Section = Section {
    title: "[[network]]",
    prefix: "network",
    keys: &[
        NETWORK_NAME,
        SUBNET,
        ROUTER,
        DNS,
        DOMAIN,
        NTP,
        MTU,
        ROUTES,
        LEASE_S,
        LEASE_MIN_S,
        LEASE_MAX_S,
        AUTHORITATIVE,
        RELAYS,
        OPTIONS,
        CLASS,
        RANGE,
        IPV6,
    ],
};
static CLASS_SECTION: Section = Section {
    title: "[[network.class]]",
    prefix: "class",
    keys: &[CLASS_NAME, CLASS_ARCH, VENDOR_CLASS, USER_CLASS, CLASS_MAC, OPTIONS],
};
static RANGE_SECTION: Section = Section {
    title: "[[network.range]]",
    prefix: "range",
    keys: &[FROM, TO, FOR, RANGE_CLASS, RANGE_LABELS, RANGE_LEASE_S, OPTIONS],
};
static IPV6_SECTION: Section = Section {
    title: "[network.ipv6]",
    prefix: "ipv6",
    keys: &[
        SUBNET6,
        POOL6,
        DNS6,
        SEARCH6,
        NTP6,
        BOOT_PARAMETERS,
        LEASE_S,
        PREFERENCE,
        MANAGED,
        OTHER_FLAG,
        ON_LINK,
        AUTONOMOUS,
        ROUTER_LIFETIME_S,
        MTU6,
    ],
};
static POOL6_SECTION: Section = Section { title: "[network.ipv6.pool]", prefix: "pool", keys: &[FROM6, TO6] };
static CAKE_SECTION: Section = Section { title: "[[cake]]", prefix: "cake", keys: &[CAKE_NAME, CAKE_IMAGES] };
static DEFAULTS_SECTION: Section = Section {
    title: "[defaults]",
    prefix: "defaults",
    keys: &[NODE_NETWORK, NODE_CAKE, ARCH, PLATFORM, PARENTS, LABELS, VALUES_SET, OPTIONS, DEFAULTS_BMC],
};
static POOL_SECTION: Section = Section {
    title: "[[pool]]",
    prefix: "pool",
    keys: &[POOL_NAME, NODE_NETWORK, NODE_CAKE, ARCH, PLATFORM, PARENTS, LABELS, VALUES_SET, OPTIONS, POOL_BMC],
};
static NODE_SECTION: Section = Section {
    title: "[[node]]",
    prefix: "node",
    keys: &[
        NAMES,
        NAME,
        NODE_POOL,
        NODE_NETWORK,
        MAC,
        IP,
        MATCH,
        NODE_CAKE,
        ARCH,
        PLATFORM,
        PARENTS,
        LABELS,
        VALUES_SET,
        OPTIONS,
        BMC,
        IP6,
        DUID,
    ],
};
static MATCH_SECTION: Section =
    Section { title: "[node.match]", prefix: "match", keys: &[UUID, CLIENT_ID, CIRCUIT_ID, REMOTE_ID] };
static ENROLL_SECTION: Section = Section {
    title: "[[enroll]]",
    prefix: "enroll",
    keys: &[
        ENROLL_SERIALS,
        ENROLL_UUIDS,
        ENROLL_MACS,
        ENROLL_VENDOR,
        ENROLL_SWITCH,
        ENROLL_PORTS,
        ENROLL_CPUS,
        ENROLL_MEMORY,
        ENROLL_NETWORK,
        ENROLL_NAMES,
        ENROLL_IPS,
        ENROLL_POOL,
        ENROLL_CAKE,
        ENROLL_LABELS,
        ENROLL_APPROVE,
    ],
};
static BMC_SECTION: Section = Section { title: "[node.bmc]", prefix: "bmc", keys: &[DRIVER, ADDRESS, USER, PASSWORD] };
static DEFAULTS_BMC_SECTION: Section =
    Section { title: "[defaults.bmc]", prefix: "bmc", keys: &[DRIVER, USER, PASSWORD] };
static POOL_BMC_SECTION: Section = Section { title: "[pool.bmc]", prefix: "bmc", keys: &[DRIVER, USER, PASSWORD] };

/// All of it.
pub static ROOT: Section = Section {
    title: "cluster.toml",
    prefix: "",
    keys: &[CLUSTER, EXTENSION, NETWORK, CAKE, TARGET, DEFAULTS, POOL, ENROLL, NODE],
};
