//! Every bound in one place, with what happens when it is reached.

/// Nodes in one cluster; an apply that would exceed it is refused whole.
pub const NODES_MAX: usize = 20_000;
/// Bytes of a name; a longer one is refused where it is parsed (RFC 1123, section 2.1: one DNS label).
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a variable's path; a longer one is refused where it is parsed.
pub const VAR_PATH_BYTES_MAX: usize = 200;
/// Names that one node set may stand for; a larger set is refused where it is parsed.
pub const NODESET_NAMES_MAX: usize = 100_000;
/// Variables of one node in one copy; an agent's report beyond it is refused and the session closed.
pub const VARIABLES_PER_NODE_MAX: usize = 1_000;
/// Bytes of a text value; a longer one is refused where it is parsed.
pub const TEXT_VALUE_BYTES_MAX: usize = 4_096;
/// Bytes of a text that an agent reports, by itself or in a list; a report with a longer one is refused.
pub const REPORTED_TEXT_BYTES_MAX: usize = 256;
/// Values of a list that an agent reports; a report with a longer one is refused, and an agent leaves out the rest.
pub const REPORTED_LIST_VALUES_MAX: usize = 64;
/// Paths and symbols that are kept once for all nodes; further ones are kept by each node for itself.
pub const SHARED_TEXTS_MAX: usize = 8_192;
/// Values of an enum; a declaration with more is refused. The planner keeps a set of values in one word.
pub const ENUM_VALUES_MAX: usize = 60;
/// Extensions besides the built-in ones; a further one is refused.
pub const EXTENSIONS_MAX: usize = 256;
/// Variables of one extension; an extension with more is refused.
pub const VARIABLES_PER_EXTENSION_MAX: usize = 256;
/// Pools of one cluster; an apply that would exceed it is refused whole.
pub const POOLS_MAX: usize = 1_000;
/// Milliseconds of a mutation's timeout that an operator sets; a longer one is refused.
pub const TIMEOUT_MS_MAX: u64 = 7 * 86_400_000;
/// Nodes that turned bad and are remembered to notice a mass event; the oldest go first.
pub const TURNED_BAD_MAX: usize = 20_000;
/// Images in one cake; an apply that would exceed it is refused whole. The planner's search space doubles
/// with each image that changes, so this is what bounds a plan.
pub const IMAGES_PER_CAKE_MAX: usize = 8;
/// States that one search for a plan may visit; beyond it the node has no plan and `why` says so.
pub const PLAN_STATES_MAX: usize = 200_000;
/// Facts that wait for the engine; when full, edges that must not lose a fact wait, and others drop and count.
pub const FACT_QUEUE_MAX: usize = 16_384;
/// Facts that share one durable commit; more wait for the next one.
pub const FACTS_PER_COMMIT_MAX: usize = 4_096;
/// Actions that wait for one module; beyond it the action fails at once and is tried again later.
pub const ACTIONS_PER_MODULE_MAX: usize = 16_384;
/// Stage marks kept of one node; the oldest go first, the journal has them all.
pub const TIMELINE_MARKS_MAX: usize = 64;
/// Failed attempts kept of one node for `why`; the oldest go first, the journal has them all.
pub const ATTEMPTS_KEPT_MAX: usize = 8;
/// Console lines kept of one node for `why`; the oldest go first, the journal has them all.
pub const CONSOLE_LINES_KEPT_MAX: usize = 5;
/// Bytes of one console line; the rest is cut.
pub const CONSOLE_LINE_BYTES_MAX: usize = 512;
/// Unknown machines remembered; the one that has come least far goes first, of those the one that was seen longest ago.
pub const UNKNOWN_MACHINES_MAX: usize = 1_024;
/// Leases of machines that are no node; at the bound the lease that ended first makes room, and while none has ended a
/// further machine gets no address.
pub const LEASES_MAX: usize = 65_536;
/// Addresses of one range of a network; an apply with a larger one is refused whole.
pub const ADDRESSES_PER_RANGE_MAX: usize = 65_536;
/// Ranges of one network; an apply that would exceed it is refused whole.
pub const RANGES_PER_NETWORK_MAX: usize = 64;
/// Bytes of a text that a machine says of itself by DHCP and that is kept; the rest is cut.
pub const TOLD_BYTES_MAX: usize = 128;
/// Refused machines remembered; a further one is refused by nothing but its absence from the description, and the command
/// says so.
pub const REFUSED_MACHINES_MAX: usize = 4_096;
/// Rules of enrolment; a description with more is refused.
pub const ENROLL_RULES_MAX: usize = 256;
/// Names kept of nodes that were removed; the one that was removed longest ago goes first, and is its id then.
pub const REMOVED_NODES_MAX: usize = 20_000;
/// Bytes of an API request's body; a larger one is answered with 413.
pub const API_BODY_BYTES_MAX: usize = 8 << 20;
/// Tokens of the API; at the bound a new one is refused until one is revoked.
pub const TOKENS_MAX: usize = 1_000;
/// Connections to the API over the network at once; a further one is closed at once. The socket has as many of its own.
pub const API_CONNECTIONS_MAX: usize = 512;
/// Peers whose failed logins are counted; at the bound the one that failed longest ago is forgotten.
pub const API_PEERS_MAX: usize = 4_096;
/// Streams of the API at once, of both kinds; a further one is answered with 503.
pub const API_STREAMS_MAX: usize = 256;
/// Seconds that a stream's client may take nothing; then its connection is closed, and it resumes with a new one.
pub const API_STALL_S: u64 = 120;
/// Subscriptions of one WebSocket connection; a further one is refused with an error message.
pub const API_SUBSCRIPTIONS_MAX: usize = 32;
/// Bytes of a message that a WebSocket client sends; a longer one closes the connection with 1009.
pub const API_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a subscription's name; a longer one is refused with an error message.
pub const API_SUBSCRIPTION_ID_BYTES_MAX: usize = 100;
/// Facts that a stream reads from the journal at once; more are read when these are taken.
pub const API_CATCH_UP_MAX: usize = 1_000;
/// Facts over which a stream of nodes finds out which of them changed; over more it tells all nodes again.
pub const API_NODES_CATCH_UP_MAX: usize = 10_000;
/// Bytes of one frame of the tree protocol; a longer one closes the session.
pub const SYNC_FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of one line of a module's program, with its end; a longer one ends the program, which is then started again.
pub const MODULE_LINE_BYTES_MAX: usize = 64 << 10;
/// Lines that are read from a module's program in one second; further ones wait in its pipe, and so does the program.
pub const MODULE_LINES_PER_S_MAX: u32 = 2_000;
/// Lines of a module's program that cannot be understood in one run; one more ends the program.
pub const MODULE_BAD_LINES_MAX: u32 = 10;
/// Requests that one module's program is given at once, whatever it declares; the others wait.
pub const MODULE_REQUESTS_AT_ONCE_MAX: usize = 64;
/// Actions that wait for one module's program; a further one fails at once and is tried again later.
pub const MODULE_ACTIONS_WAITING_MAX: usize = 1_024;
/// Refused words of a module that are journaled in one minute; the others go to the appliance's log alone.
pub const MODULE_REFUSALS_JOURNALED_PER_MINUTE_MAX: u32 = 30;
/// Characters of a text that a module's program gives for people; the rest is cut.
pub const MODULE_TEXT_CHARS_MAX: usize = 512;
/// Variables and mutations that one module may declare, each; a declaration beyond it is refused.
pub const MODULE_DECLARED_MAX: usize = 256;
/// Addresses of IPv6 pools that are remembered, those that machines declined among them; see `state::lease6` for what
/// happens beyond it.
pub const POOL_LEASES6_MAX: usize = 16_384;
/// Modules that are programs; an appliance.toml with more is refused.
pub const MODULES_MAX: usize = 32;
/// Targets that are described; a description with more is refused.
pub const TARGETS_MAX: usize = 256;
/// Files and templates that one target names; a description with more is refused.
pub const TARGET_FILES_MAX: usize = 32;
/// Bytes of a file's name in a target; a longer one is refused.
pub const TARGET_PATH_BYTES_MAX: usize = 256;
/// Words of a target's own for the kernel's command line; a description with more is refused.
pub const ARGUMENTS_MAX: usize = 64;
/// Bytes of one such word, before it is rendered; a longer one is refused.
pub const ARGUMENT_BYTES_MAX: usize = 512;

const _: () = assert!(FACTS_PER_COMMIT_MAX <= FACT_QUEUE_MAX);
const _: () = assert!(NODES_MAX <= NODESET_NAMES_MAX);
