//! What a node's loader runs, by its target: the text of an iPXE script or a GRUB configuration, and what it means that it
//! was sent.
//!
//! Pure: [`hand`] takes the state, two tokens that nobody can foretell, and a way to read templates. One text is one boot: it
//! holds the token by which the agent joins, or the one by which the boot's metadata may be fetched.
//!
//! Invariants:
//! - No text ends at a prompt: what fails is tried again, and in the end the machine starts over.
//! - An iPXE script is the same for BIOS and UEFI, and asks iPXE which of them it runs on; a GRUB configuration names files by
//!   paths alone, so that they come from where GRUB came from.
//! - A word of the kernel's command line is one [`KernelArgument`], also after its template was filled in.
//!
//! Deliberately absent: sending, journaling, and who may ask (`http`, `tftp`).

use std::collections::BTreeMap;
use std::fmt::Write;

use thiserror::Error;

use super::chain::{Kind, Reader, Refusal, Wished, Wishes, Work, arguments, work};
use super::script::{
    BootSettings, COMMAND_LINE_BYTES_MAX, JoinToken, REBOOT_PAUSE_S, RETRY_PAUSE_S, ScriptError, TRIES, command_line,
    path_of, script,
};
use super::template::{Place, Template, TemplateError, render};
use crate::fact::{BootFile, Follows};
use crate::model::boot::KernelArgumentError;
use crate::model::{KernelArgument, Name, NetworkSpec, TargetSpec};
use crate::state::{Node, State};

#[cfg(test)]
mod tests;

/// Where UEFI finds the boot program of an installed system, in the order in which they are looked for.
const EFI_LOADERS: &[&str] = &["/EFI/debian/shimx64.efi", "/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/BOOTAA64.EFI"];

/// Reads a template by its name below the folder of templates; the error says why it cannot be.
pub type ReadTemplate<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// A file of a target, by what it is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetFile {
    /// The kernel.
    Kernel,
    /// One of the initial RAM disks, counted from 0.
    Initrd(u8),
    /// The EFI program.
    Efi,
}

impl TargetFile {
    /// The last part of its path.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            TargetFile::Kernel => "kernel".to_owned(),
            TargetFile::Initrd(at) => format!("initrd-{at}"),
            TargetFile::Efi => "boot.efi".to_owned(),
        }
    }

    /// The file with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "kernel" => Some(TargetFile::Kernel),
            "boot.efi" => Some(TargetFile::Efi),
            _ => name.strip_prefix("initrd-")?.parse().ok().map(TargetFile::Initrd),
        }
    }

    /// Its name below the folder of boot files, and whether files of the target follow it.
    #[must_use]
    pub fn of(self, spec: &TargetSpec) -> Option<(&str, Follows)> {
        let last = spec.initrd.len().checked_sub(1);
        let follows = |is_last| if is_last { Follows::Nothing } else { Follows::More };
        match self {
            TargetFile::Kernel => spec.kernel.as_deref().map(|file| (file, follows(last.is_none()))),
            TargetFile::Initrd(at) => {
                let at = usize::from(at);
                spec.initrd.get(at).map(|file| (file.as_str(), follows(Some(at) == last)))
            }
            TargetFile::Efi => spec.efi.as_deref().map(|file| (file, Follows::Nothing)),
        }
    }
}

/// Who asks, and by what it may go on.
pub struct Order<'a> {
    /// Everything that is known.
    pub state: &'a State,
    /// The node.
    pub node: &'a Node,
    /// Its network.
    pub network: &'a NetworkSpec,
    /// What every machine is told.
    pub settings: &'a BootSettings,
    /// The token by which an agent may join.
    pub join: &'a JoinToken,
    /// The token by which metadata may be fetched.
    pub metadata: &'a JoinToken,
    /// Templates.
    pub read: &'a ReadTemplate<'a>,
}

/// What a loader is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The text.
    pub text: String,
    /// What it is for.
    pub file: BootFile,
}

/// Why a loader gets nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandError {
    /// There is nothing for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Layer 0 cannot be started.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A template gives no text.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A template cannot be read.
    #[error("the template {name} of target {target} cannot be read: {reason}")]
    Unreadable {
        /// The target.
        target: Name,
        /// The template.
        name: String,
        /// Why.
        reason: String,
    },
    /// A word that cannot stand on a command line.
    #[error("an argument of target {target}: {source}")]
    Argument {
        /// The target.
        target: Name,
        /// Why.
        source: KernelArgumentError,
    },
}

/// What the loader `reader` of the order's node is given.
///
/// # Errors
/// See [`HandError`].
pub fn hand(reader: Reader, order: &Order<'_>) -> Result<Handed, HandError> {
    let Order { state, node, .. } = *order;
    let wishes = Wishes::of(state, node);
    // The same script serves BIOS and UEFI; what only one of them has is seen to where the script says so.
    let work = match (work(reader, &wishes.target), reader) {
        (Err(_), Reader::Ipxe(Kind::Bios)) => work(Reader::Ipxe(Kind::Uefi), &wishes.target)?,
        (work, _) => work?,
    };
    let spec = match &wishes.target {
        Wished::Layer0 => return layer0(reader, order),
        Wished::Local => None,
        Wished::Described(spec) => Some(spec),
        Wished::Missing(name) => return Err(Refusal::NoSuchTarget(name.clone()).into()),
    };
    let (text, follows) = match (work, spec) {
        (Work::Template, Some(spec)) => (own_text(reader, spec, order)?, Follows::Nothing),
        (Work::Efi | Work::Kernel, Some(spec)) => (start_files(reader, spec, order)?, Follows::More),
        _ => (local(reader, node), Follows::Nothing),
    };
    let name = wishes.target.name();
    let target = name.parse().map_err(|_| Refusal::NoSuchTarget(name.to_owned()))?;
    Ok(Handed { text, file: BootFile::TargetScript { target, token: order.metadata.digest(), follows } })
}

fn layer0(reader: Reader, order: &Order<'_>) -> Result<Handed, HandError> {
    Ok(Handed { text: start_layer0(reader, order)?, file: BootFile::Script { token: order.join.digest() } })
}

/// Layer 0 with the node's own words.
fn start_layer0(reader: Reader, order: &Order<'_>) -> Result<String, HandError> {
    let Order { state, node, network, settings, join, .. } = *order;
    let mut settings = settings.clone();
    settings.extra_arguments.extend(arguments(state, &node.spec, node));
    if let Reader::Ipxe(_) = reader {
        return Ok(script(node, network, &settings, join)?);
    }
    if settings.agents.is_empty() {
        return Err(ScriptError::NoParent { node: node.spec.name.clone() }.into());
    }
    let line = command_line(node, network, &settings, join);
    checked(node, line.len())?;
    let at = |file: &str| path_of(node.spec.mac, file);
    // GRUB hands layer 0 to the kernel itself; the word is for kernels that are started as EFI programs.
    let words: Vec<&str> = line.split(' ').collect();
    Ok(grub_start(node, &at("kernel"), &words, &[at("initramfs")]))
}

fn checked(node: &Node, length_bytes: usize) -> Result<(), ScriptError> {
    if length_bytes > COMMAND_LINE_BYTES_MAX {
        return Err(ScriptError::TooLong { node: node.spec.name.clone(), length_bytes });
    }
    Ok(())
}

/// What a template of this order may know.
fn place(order: &Order<'_>) -> Place {
    Place::of_boot(order.settings, Some(&metadata_url(order)))
}

fn metadata_url(order: &Order<'_>) -> String {
    format!("http://{}/metadata/{}/", order.settings.http, order.metadata.hex())
}

fn own_text(reader: Reader, spec: &TargetSpec, order: &Order<'_>) -> Result<String, HandError> {
    let name = match reader {
        Reader::Ipxe(_) => spec.script.as_deref(),
        Reader::Grub => spec.grub.as_deref(),
    };
    let name = name.unwrap_or_default();
    let unreadable = |reason| HandError::Unreadable { target: spec.name.clone(), name: name.to_owned(), reason };
    let text = (order.read)(name).map_err(unreadable)?;
    Ok(render(Template { name, text: &text }, order.node, order.state, &place(order))?)
}

/// The words of the target's command line, filled in, and the node's own behind them.
fn words(spec: &TargetSpec, order: &Order<'_>) -> Result<Vec<KernelArgument>, HandError> {
    let place = place(order);
    let mut words = Vec::with_capacity(spec.arguments.len());
    for text in &spec.arguments {
        let name = format!("arguments of target {}", spec.name);
        let word = render(Template { name: &name, text }, order.node, order.state, &place)?;
        let wrong = |source| HandError::Argument { target: spec.name.clone(), source };
        words.push(word.parse().map_err(wrong)?);
    }
    words.extend(arguments(order.state, &order.node.spec, order.node));
    Ok(words)
}

fn start_files(reader: Reader, spec: &TargetSpec, order: &Order<'_>) -> Result<String, HandError> {
    let node = order.node;
    let words = words(spec, order)?;
    checked(node, words.iter().map(|word| word.as_str().len() + 1).sum())?;
    let path = |file: TargetFile| path_of(node.spec.mac, &format!("target/{}", file.name()));
    let initrds: Vec<TargetFile> =
        (0..spec.initrd.len()).filter_map(|at| u8::try_from(at).ok()).map(TargetFile::Initrd).collect();
    match reader {
        Reader::Grub if spec.efi.is_some() => Ok(grub_chain(node, &path(TargetFile::Efi))),
        Reader::Grub => {
            let words: Vec<&str> = words.iter().map(KernelArgument::as_str).collect();
            let initrds: Vec<String> = initrds.into_iter().map(path).collect();
            Ok(grub_start(node, &path(TargetFile::Kernel), &words, &initrds))
        }
        Reader::Ipxe(_) => {
            let url = |file: TargetFile| format!("http://{}{}", order.settings.http, path(file));
            Ok(ipxe_start(node, spec, &words, &initrds, &url))
        }
    }
}

/// Writing to a String cannot fail.
macro_rules! line {
    ($text:expr, $($words:tt)*) => { let _ = writeln!($text, $($words)*); };
}

fn ipxe_start(
    node: &Node,
    spec: &TargetSpec,
    words: &[KernelArgument],
    initrds: &[TargetFile],
    url: &dyn Fn(TargetFile) -> String,
) -> String {
    let name = &node.spec.name;
    let mut text = format!("#!ipxe\necho bootes: starting {} on {name}\nset tries:int32 0\n:try\nimgfree\n", spec.name);
    if spec.efi.is_some() {
        line!(text, "iseq ${{platform}} efi && goto efi ||");
    }
    if spec.kernel.is_some() {
        let mut command = format!("kernel {}", url(TargetFile::Kernel));
        let names = initrds.iter().map(|file| format!("initrd={}", file.name()));
        for word in names.chain(words.iter().map(ToString::to_string)) {
            command.push(' ');
            command.push_str(&word);
        }
        line!(text, "{command} || goto failed");
        for file in initrds {
            line!(text, "initrd {} || goto failed", url(*file));
        }
        line!(text, "boot || goto failed");
    } else {
        line!(text, "echo bootes: {} is for UEFI alone", spec.name);
        line!(text, "goto failed");
    }
    if spec.efi.is_some() {
        line!(text, ":efi");
        line!(text, "chain {} || goto failed", url(TargetFile::Efi));
    }
    line!(text, ":failed");
    line!(text, "inc tries");
    line!(text, "iseq ${{tries}} {TRIES} && goto start_over ||");
    line!(text, "echo bootes: {name} could not be started, trying again in {RETRY_PAUSE_S} s");
    line!(text, "sleep {RETRY_PAUSE_S}\ngoto try\n:start_over");
    line!(text, "echo bootes: {name} could not be started {TRIES} times, rebooting in {REBOOT_PAUSE_S} s");
    line!(text, "sleep {REBOOT_PAUSE_S}\nreboot");
    text
}

/// Whoever comes back to GRUB has failed.
const GRUB_START_OVER: &str = "reboot";

fn grub_start(node: &Node, kernel: &str, words: &[&str], initrds: &[String]) -> String {
    let name = &node.spec.name;
    let mut text = format!("set timeout=0\necho 'bootes: starting {name}'\n");
    let mut command = format!("linux {kernel}");
    for word in words {
        // Neither a quote nor a line's end can be in a word.
        command.push_str(" '");
        command.push_str(word);
        command.push('\'');
    }
    let initrd = if initrds.is_empty() { "true".to_owned() } else { format!("initrd {}", initrds.join(" ")) };
    line!(text, "if {command} ; then\n  if {initrd} ; then\n    boot\n  fi\nfi");
    line!(text, "echo 'bootes: {name} could not be started, rebooting in {REBOOT_PAUSE_S} s'");
    line!(text, "sleep {REBOOT_PAUSE_S}\n{GRUB_START_OVER}");
    text
}

fn grub_chain(node: &Node, efi: &str) -> String {
    let name = &node.spec.name;
    let mut text = format!("set timeout=0\necho 'bootes: starting {name}'\n");
    line!(text, "if chainloader {efi} ; then\n  boot\nfi");
    line!(text, "echo 'bootes: {name} could not be started, rebooting in {REBOOT_PAUSE_S} s'");
    line!(text, "sleep {REBOOT_PAUSE_S}\n{GRUB_START_OVER}");
    text
}

fn local(reader: Reader, node: &Node) -> String {
    let name = &node.spec.name;
    match reader {
        // Firmware that gets an error back tries what stands next in its boot order, and one that gets none may not.
        Reader::Ipxe(_) => format!(
            "#!ipxe\n\
             echo bootes: {name} boots its own disk\n\
             iseq ${{platform}} efi && goto next ||\n\
             sanboot --no-describe --drive 0x80 || goto next\n\
             :next\n\
             exit 1\n"
        ),
        Reader::Grub => {
            let mut text = format!("set timeout=0\necho 'bootes: {name} boots its own disk'\n");
            for loader in EFI_LOADERS {
                line!(text, "if search --no-floppy --set=disk --file {loader} ; then");
                line!(text, "  if chainloader ($disk){loader} ; then\n    boot\n  fi\nfi");
            }
            line!(text, "exit");
            text
        }
    }
}

/// Whether everything that `node` may be given for its target can be made, as far as templates go: what an apply checks.
///
/// # Errors
/// The first thing that cannot.
pub fn check(order: &Order<'_>) -> Result<(), HandError> {
    let Wished::Described(spec) = Wishes::of(order.state, order.node).target else { return Ok(()) };
    for reader in [Reader::Ipxe(Kind::Uefi), Reader::Grub] {
        match hand(reader, order) {
            // One that only the other loader can start is no fault.
            Ok(_) | Err(HandError::Refused(Refusal::NotForLoader { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    for file in spec.metadata.keys() {
        super::metadata::made(file, &spec, order.node, order.state, &place(order), order.read)?;
    }
    Ok(())
}

impl Place {
    /// What templates of a boot may know: where it is served from, the console, and where its metadata is.
    #[must_use]
    pub fn of_boot(settings: &BootSettings, metadata: Option<&str>) -> Self {
        let mut more = BTreeMap::new();
        if let Some(url) = metadata {
            more.insert("metadata", url.to_owned());
        }
        if let Some(console) = &settings.console {
            more.insert("console", console.to_string());
        }
        Place { http: settings.http, more }
    }
}
