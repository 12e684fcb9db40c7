//! The iPXE script of one node: fetch the kernel and layer 0, and start them with a command line that tells the node
//! who it is, where its parents are, and by what token it may join.
//!
//! Pure: text from values. The command line is the one that the agent parses (`bootes.` words). The script leads to
//! layer 0 and no further: what runs above it comes to the agent from its parent, out of the node's desired state.
//!
//! Invariants:
//! - A script is the same under BIOS and UEFI: `initrd=` names layer 0 for a kernel that is started as an EFI program,
//!   which finds its initramfs by no other way, and is ignored by one that is not.
//! - It never ends at a prompt: a fetch that fails is tried again after a pause, and after [`TRIES`] tries the machine
//!   starts over, with a new script and a new token.
//! - No value can end a line or begin a command: ids, names, addresses and digests cannot by their types, and further
//!   arguments are [`KernelArgument`]s.
//! - A [`JoinToken`] is printed nowhere but in the script.
//!
//! Deliberately absent: serving it, randomness, and who may have it (`http`).
//! Specification: iPXE's scripting (`ipxe.org/scripting`), Linux `Documentation/admin-guide/kernel-parameters.rst`,
//! `Documentation/arch/x86/boot.rst` (the command line's length) and `Documentation/admin-guide/efi-stub.rst`.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

pub use crate::model::boot::{KernelArgument, KernelArgumentError};
use crate::model::ids::NameError;
use crate::model::machine::id_of;
use crate::model::{Digest, Mac, Name, NetworkSpec, NodeId};
use crate::state::Node;

#[cfg(test)]
mod tests;

/// Bytes of a join token: 256 bits, more than can be guessed.
pub const TOKEN_BYTES: usize = 32;
/// How often a machine tries to fetch the kernel and layer 0 before it starts over.
pub const TRIES: u32 = 5;
/// Seconds between two tries.
pub const RETRY_PAUSE_S: u32 = 3;
/// Seconds before a machine starts over, so that a person can read why.
pub const REBOOT_PAUSE_S: u32 = 10;
/// The longest command line that an x86 kernel takes, in bytes: `COMMAND_LINE_SIZE` less its end mark. The kernel
/// would cut a longer one, so it is refused.
pub const COMMAND_LINE_BYTES_MAX: usize = 2_047;
/// Name servers told to a node; further ones are left out, as a resolver would (resolv.conf(5), `MAXNS`).
pub const NAME_SERVERS_MAX: usize = 3;
/// Parents told to a node; further ones are left out.
pub const PARENTS_MAX: usize = 8;
/// The name by which the kernel asks for layer 0: the last segment of its URL.
const INITRAMFS_NAME: &str = "initramfs";

/// What the boot services tell every machine, and the files that they serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSettings {
    /// Where boot files and images are served, as machines reach it.
    pub http: SocketAddr,
    /// Where agents join, in order of preference, as machines reach it.
    pub agents: Vec<SocketAddr>,
    /// The SHA-256 digest of the cluster's CA certificate in DER.
    pub ca: Digest,
    /// The kernel's console, for instance `ttyS0,115200`.
    pub console: Option<KernelArgument>,
    /// Further words of the kernel's command line.
    pub extra_arguments: Vec<KernelArgument>,
    /// The kernel.
    pub kernel: PathBuf,
    /// Layer 0.
    pub initramfs: PathBuf,
    /// The folder of network boot programs.
    pub loaders: PathBuf,
    /// The folder of the files that boot targets name.
    pub files: Option<PathBuf>,
    /// The folder of the templates that boot targets name.
    pub templates: Option<PathBuf>,
}

/// The right to join once, given to one boot of one node.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken([u8; TOKEN_BYTES]);

impl JoinToken {
    /// A token of these bytes, which must come from a source that nobody can foretell.
    #[must_use]
    pub fn new(bytes: [u8; TOKEN_BYTES]) -> Self {
        JoinToken(bytes)
    }

    /// The token as it stands in a text: 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        Digest::from_bytes(self.0).hex()
    }

    /// The token that such a text stands for.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Digest::from_hex(text).ok().map(|bytes| JoinToken(*bytes.as_bytes()))
    }

    /// The digest of the token's bytes: all that the journal ever holds of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(redacted)")
    }
}

/// Why a node has no script.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// There is no parent to join.
    #[error("no agent address is configured, so {node} could not join; name at least one")]
    NoParent {
        /// The node.
        node: Name,
    },
    /// A machine's hardware address makes no name, which cannot be.
    #[error("machine {mac} cannot be called by its hardware address")]
    Name {
        /// The hardware address.
        mac: Mac,
        /// Why not.
        source: NameError,
    },
    /// The command line is longer than a kernel takes.
    #[error(
        "the kernel command line of {node} has {length_bytes} bytes, and a kernel takes {COMMAND_LINE_BYTES_MAX}; configure fewer further arguments"
    )]
    TooLong {
        /// The node.
        node: Name,
        /// Its length in bytes.
        length_bytes: usize,
    },
}

/// The path of `file` for the machine with this hardware address, as the script and DHCP answers name it.
#[must_use]
pub fn path_of(mac: Mac, file: &str) -> String {
    format!("/boot/{}/{file}", mac.to_string().replace(':', "-"))
}

/// The script of `node`, which boots from `network`.
///
/// # Errors
/// When there is no parent to tell, or the command line grows too long.
pub fn script(
    node: &Node,
    network: &NetworkSpec,
    settings: &BootSettings,
    token: &JoinToken,
) -> Result<String, ScriptError> {
    let spec = &node.spec;
    let whose = Whose { id: node.id, name: spec.name.clone(), mac: spec.mac, ip: spec.ip };
    script_of(&whose, network, settings, token)
}

/// The script of a machine that is no node: it leads to layer 0, where the machine reports itself and waits. It is called
/// by its hardware address until it has a name.
///
/// # Errors
/// When there is no parent to tell, or the command line grows too long.
pub fn machine_script(
    mac: Mac,
    ip: Ipv4Addr,
    network: &NetworkSpec,
    settings: &BootSettings,
    token: &JoinToken,
) -> Result<String, ScriptError> {
    let name = format!("machine-{}", mac.to_string().replace(':', ""));
    let name = name.parse().map_err(|error: NameError| ScriptError::Name { mac, source: error })?;
    script_of(&Whose { id: id_of(mac), name, mac, ip }, network, settings, token)
}

/// Whose script it is.
struct Whose {
    id: NodeId,
    name: Name,
    mac: Mac,
    ip: Ipv4Addr,
}

fn script_of(
    whose: &Whose,
    network: &NetworkSpec,
    settings: &BootSettings,
    token: &JoinToken,
) -> Result<String, ScriptError> {
    let name = || whose.name.clone();
    if settings.agents.is_empty() {
        return Err(ScriptError::NoParent { node: name() });
    }
    let line = line_of(whose, network, settings, token);
    if line.len() > COMMAND_LINE_BYTES_MAX {
        return Err(ScriptError::TooLong { node: name(), length_bytes: line.len() });
    }
    let url = |file: &str| format!("http://{}{}", settings.http, path_of(whose.mac, file));
    let (kernel, initramfs) = (url("kernel"), url(INITRAMFS_NAME));
    // `boot` comes back only when the kernel could not be started.
    Ok(format!(
        "#!ipxe\n\
         echo bootes: starting {name}\n\
         set tries:int32 0\n\
         :try\n\
         imgfree\n\
         kernel {kernel} {line} || goto failed\n\
         initrd {initramfs} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         inc tries\n\
         iseq ${{tries}} {TRIES} && goto start_over ||\n\
         echo bootes: {name} could not be started, trying again in {RETRY_PAUSE_S} s\n\
         sleep {RETRY_PAUSE_S}\n\
         goto try\n\
         :start_over\n\
         echo bootes: {name} could not be started {TRIES} times, rebooting in {REBOOT_PAUSE_S} s\n\
         sleep {REBOOT_PAUSE_S}\n\
         reboot\n",
        name = whose.name,
    ))
}

pub(super) fn command_line(node: &Node, network: &NetworkSpec, settings: &BootSettings, token: &JoinToken) -> String {
    let spec = &node.spec;
    let whose = Whose { id: node.id, name: spec.name.clone(), mac: spec.mac, ip: spec.ip };
    line_of(&whose, network, settings, token)
}

fn line_of(whose: &Whose, network: &NetworkSpec, settings: &BootSettings, token: &JoinToken) -> String {
    let mut line = format!("initrd={INITRAMFS_NAME}");
    let mut add = |key: &str, value: &dyn fmt::Display| {
        // Writing to a String cannot fail.
        let _ = write!(line, " {key}={value}");
    };
    if let Some(console) = &settings.console {
        add("console", console);
    }
    add("bootes.node", &whose.id);
    add("bootes.name", &whose.name);
    add("bootes.mac", &whose.mac);
    add("bootes.ip", &format_args!("{}/{}", whose.ip, network.subnet.bits()));
    if let Some(router) = network.router {
        add("bootes.router", &router);
    }
    if !network.dns.is_empty() {
        add("bootes.dns", &joined::<Ipv4Addr>(&network.dns, NAME_SERVERS_MAX));
    }
    add("bootes.parent", &joined::<SocketAddr>(&settings.agents, PARENTS_MAX));
    add("bootes.ca", &settings.ca.hex());
    add("bootes.token", &Digest::from_bytes(token.0).hex());
    add("bootes.http", &settings.http);
    for argument in &settings.extra_arguments {
        line.push(' ');
        line.push_str(argument.as_str());
    }
    line
}

fn joined<T: fmt::Display>(items: &[T], most: usize) -> String {
    items.iter().take(most).map(T::to_string).collect::<Vec<_>>().join(",")
}
