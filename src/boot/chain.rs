//! The chain of a boot: which loader a machine gets, what that loader runs, and why.
//!
//! Purpose: [`Wishes`], what is wanted of a node's boot, and [`link`], the one decision that DHCP, TFTP, HTTP and
//! `bootes boot-answer` share: from what asks and what is wanted to a program, a script, nothing, or a refusal that says
//! what to do. Specification: RFC 4578, section 2.1; UEFI 2.10, chapters 24 and 32.
//!
//! Invariants: every client gets an answer or a [`Refusal`]; iPXE is always sent to its script and GRUB fetches its own
//! configuration, so that a chain ends; where firmware checks signatures only programs that are signed are named.
//!
//! Deliberately absent: texts of scripts (`script`, `target`), packets, and files.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::firmware::{BootProgram, GRUB_ARM64, GRUB_X64, NoProgram, SHIM_ARM64, SHIM_X64, program};
use crate::fact::{Architecture, BootClient, Transport};
use crate::model::boot::{LOADER, LoaderChoice, SECURE, SecureBoot, Target};
use crate::model::{KernelArgument, Name, NodeSpec, TargetSpec, VarPath, boot};
use crate::state::{Node, State};

#[cfg(test)]
mod tests;

/// What is wanted of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// What is booted.
    pub target: Wished,
    /// By which loader.
    pub loader: LoaderChoice,
    /// Whether the firmware checks signatures.
    pub secure: SecureBoot,
}

/// What is to be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wished {
    /// Layer 0.
    Layer0,
    /// The machine's own disk.
    Local,
    /// A described target.
    Described(Arc<TargetSpec>),
    /// A target that is not described.
    Missing(String),
}

impl Wished {
    /// The target's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Wished::Layer0 => boot::LAYER0,
            Wished::Local => boot::LOCAL,
            Wished::Described(spec) => spec.name.as_str(),
            Wished::Missing(name) => name,
        }
    }
}

impl Default for Wishes {
    /// What is wanted of a machine of which nothing is said: layer 0, by whichever loader suits it.
    fn default() -> Self {
        Wishes { target: Wished::Layer0, loader: LoaderChoice::Auto, secure: SecureBoot::Off }
    }
}

impl Wishes {
    /// What is wanted of `node`.
    #[must_use]
    pub fn of(state: &State, node: &Node) -> Self {
        let text =
            |path: &str| path.parse::<VarPath>().ok().and_then(|path| node.wants(&path)).map(ToString::to_string);
        let wanted = node.wants(&VarPath::target());
        let target = match Target::of(wanted) {
            Ok(Target::Layer0) => Wished::Layer0,
            Ok(Target::Local) => Wished::Local,
            Ok(Target::Described(name)) => {
                let found = state.targets.get(&name).cloned();
                found.map_or_else(|| Wished::Missing(name.to_string()), Wished::Described)
            }
            Err(_) => Wished::Missing(wanted.map(ToString::to_string).unwrap_or_default()),
        };
        let loader = LoaderChoice::of(text(LOADER).as_deref());
        Wishes { target, loader, secure: SecureBoot::of(text(SECURE).as_deref()) }
    }
}

/// What a machine is given first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It is iPXE: its node's script, by HTTP.
    Script,
    /// A boot program.
    Program {
        /// The program.
        program: &'static BootProgram,
        /// How it is fetched.
        transport: Transport,
        /// Why this one.
        because: Because,
    },
    /// The target's own EFI program.
    Efi {
        /// The target.
        target: Name,
        /// How it is fetched.
        transport: Transport,
    },
    /// It is no firmware: an address and nothing to boot.
    AddressOnly,
}

/// Why a machine gets the loader that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It suits the firmware best.
    Suits,
    /// It is the only one for this processor.
    Only,
    /// The node asks for it.
    Asked,
    /// The firmware starts signed programs alone.
    Signed,
    /// The target is a GRUB configuration.
    TargetIsGrub,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Because::Suits => "it suits this firmware best",
            Because::Only => "it is the only loader for this processor",
            Because::Asked => "boot.loader asks for it",
            Because::Signed => "boot.secure=on: the firmware starts signed programs alone",
            Because::TargetIsGrub => "the target is a GRUB configuration",
        })
    }
}

/// Why a machine gets nothing to boot. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No program serves its firmware.
    #[error(transparent)]
    NoProgram(#[from] NoProgram),
    /// The node's target is not described.
    #[error("there is no boot target '{0}': describe it in cluster.toml, or set boot.target to another one")]
    NoSuchTarget(String),
    /// Signatures are to be checked by firmware that cannot.
    #[error("boot.secure is on, and {0} has no Secure Boot: set the firmware to UEFI, or boot.secure to off")]
    NoSecureBoot(Architecture),
    /// The signed GRUB reads by TFTP alone.
    #[error(
        "the distribution's signed GRUB reads files by TFTP alone, and the firmware boots by HTTP: set the firmware to PXE (IPv4), or boot.secure to off"
    )]
    SignedByHttp,
    /// GRUB is asked for where there is none.
    #[error(
        "there is no GRUB for {architecture} over {transport}: set boot.loader to auto, or the firmware to UEFI PXE"
    )]
    NoGrub {
        /// The machine.
        architecture: Architecture,
        /// How it asks.
        transport: Transport,
    },
    /// iPXE is asked for where it cannot start.
    #[error(
        "boot.secure is on, and the distribution's iPXE is not signed: set boot.loader to auto, or boot.secure to off"
    )]
    UnsignedIpxe,
    /// No loader is asked for, and the target is nothing that firmware starts by itself.
    #[error(
        "boot.loader is direct, and target {0} is no EFI program: give the target 'efi', or set boot.loader to auto"
    )]
    NothingDirect(String),
    /// The target is nothing that this machine's loader can start.
    #[error("target {target} has nothing for {by}: give it '{needs}', or choose another boot.loader")]
    NotForLoader {
        /// The target.
        target: String,
        /// The loader, or the machine.
        by: &'static str,
        /// The key that is missing.
        needs: &'static str,
    },
}

/// The loader that reads the next file of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    /// iPXE, on this kind of firmware.
    Ipxe(Kind),
    /// GRUB, which has UEFI below it.
    Grub,
}

/// What a machine's firmware is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

impl Kind {
    /// The kind of firmware that machines of this architecture have.
    #[must_use]
    pub fn of(architecture: Architecture) -> Self {
        if architecture == Architecture::X86Bios { Kind::Bios } else { Kind::Uefi }
    }
}

/// What a loader does for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It starts layer 0.
    Layer0,
    /// It leaves the machine to its disk.
    Local,
    /// It runs the target's own script or configuration.
    Template,
    /// It starts the target's EFI program.
    Efi,
    /// It starts the target's kernel.
    Kernel,
}

/// What `reader` does for `wished`.
///
/// # Errors
/// The target is not described, or has nothing for this loader.
pub fn work(reader: Reader, wished: &Wished) -> Result<Work, Refusal> {
    let spec = match wished {
        Wished::Layer0 => return Ok(Work::Layer0),
        Wished::Local => return Ok(Work::Local),
        Wished::Missing(name) => return Err(Refusal::NoSuchTarget(name.clone())),
        Wished::Described(spec) => spec,
    };
    let lacks = |by, needs| Err(Refusal::NotForLoader { target: spec.name.to_string(), by, needs });
    let own = match reader {
        Reader::Ipxe(_) => &spec.script,
        Reader::Grub => &spec.grub,
    };
    if own.is_some() {
        return Ok(Work::Template);
    }
    match (reader, &spec.efi, &spec.kernel) {
        (Reader::Ipxe(Kind::Uefi) | Reader::Grub, Some(_), _) => Ok(Work::Efi),
        (_, _, Some(_)) => Ok(Work::Kernel),
        (Reader::Ipxe(Kind::Bios), Some(_), None) => lacks("a machine with a BIOS", "kernel"),
        (Reader::Ipxe(_), None, None) => lacks("iPXE", "script"),
        (Reader::Grub, None, None) => lacks("GRUB", "grub"),
    }
}

/// What `client` is given first, so that it comes to what is wished.
///
/// # Errors
/// See [`Refusal`].
pub fn link(client: BootClient, wishes: &Wishes) -> Result<Link, Refusal> {
    let (architecture, transport) = match client {
        BootClient::Other => return Ok(Link::AddressOnly),
        BootClient::Ipxe(architecture) => {
            work(Reader::Ipxe(Kind::of(architecture)), &wishes.target)?;
            return Ok(Link::Script);
        }
        BootClient::PxeRom(architecture) => (architecture, Transport::Tftp),
        BootClient::HttpRom(architecture) => (architecture, Transport::Http),
    };
    if let Wished::Missing(name) = &wishes.target {
        return Err(Refusal::NoSuchTarget(name.clone()));
    }
    let kind = Kind::of(architecture);
    if wishes.secure == SecureBoot::On {
        return signed(architecture, transport, wishes);
    }
    if wishes.loader == LoaderChoice::Direct {
        return match &wishes.target {
            Wished::Described(spec) if spec.efi.is_some() && kind == Kind::Uefi => {
                Ok(Link::Efi { target: spec.name.clone(), transport })
            }
            other => Err(Refusal::NothingDirect(other.name().to_owned())),
        };
    }
    let grub = |because| -> Result<Link, Refusal> {
        let program = grub_of(architecture, transport).ok_or(Refusal::NoGrub { architecture, transport })?;
        work(Reader::Grub, &wishes.target)?;
        Ok(Link::Program { program, transport, because })
    };
    if wishes.loader == LoaderChoice::Grub {
        return grub(Because::Asked);
    }
    let ipxe = program(architecture, transport).map_err(Refusal::from).and_then(|program| {
        work(Reader::Ipxe(kind), &wishes.target)?;
        let because = if wishes.loader == LoaderChoice::Ipxe { Because::Asked } else { Because::Suits };
        Ok(Link::Program { program, transport, because })
    });
    match ipxe {
        Err(_) if wishes.loader == LoaderChoice::Auto => {
            let because = if program(architecture, transport).is_ok() { Because::TargetIsGrub } else { Because::Only };
            // What keeps iPXE from it is the better advice where GRUB cannot do it either.
            grub(because).or(ipxe)
        }
        other => other,
    }
}

fn signed(architecture: Architecture, transport: Transport, wishes: &Wishes) -> Result<Link, Refusal> {
    if architecture == Architecture::X86Bios {
        return Err(Refusal::NoSecureBoot(architecture));
    }
    match wishes.loader {
        LoaderChoice::Ipxe => return Err(Refusal::UnsignedIpxe),
        LoaderChoice::Direct => {
            return match &wishes.target {
                // Whether it is signed by somebody whom the firmware trusts is the site's to see to.
                Wished::Described(spec) if spec.efi.is_some() => Ok(Link::Efi { target: spec.name.clone(), transport }),
                other => Err(Refusal::NothingDirect(other.name().to_owned())),
            };
        }
        LoaderChoice::Auto | LoaderChoice::Grub => {}
    }
    let program = match (architecture, transport) {
        (Architecture::X64Uefi, Transport::Tftp) => &SHIM_X64,
        (Architecture::Arm64Uefi, Transport::Tftp) => &SHIM_ARM64,
        (Architecture::X64UefiHttp | Architecture::Arm64UefiHttp, _) => return Err(Refusal::SignedByHttp),
        _ => return Err(NoProgram { architecture, transport }.into()),
    };
    work(Reader::Grub, &wishes.target)?;
    Ok(Link::Program { program, transport, because: Because::Signed })
}

fn grub_of(architecture: Architecture, transport: Transport) -> Option<&'static BootProgram> {
    match (architecture, transport) {
        (Architecture::X64Uefi, Transport::Tftp) => Some(&GRUB_X64),
        (Architecture::Arm64Uefi, Transport::Tftp) => Some(&GRUB_ARM64),
        _ => None,
    }
}

/// The words that the description says for the node's kernel, the cluster's first, then its pool's, then its own; what was
/// set by hand stands in their place. A word that was said already is not said again.
#[must_use]
pub fn arguments(state: &State, spec: &NodeSpec, node: &Node) -> Vec<KernelArgument> {
    let Ok(path) = boot::ARGUMENTS.parse::<VarPath>() else { return Vec::new() };
    let pool = spec.pool.as_ref().and_then(|pool| state.pools.get(pool));
    let values = match node.by_hand.get(&path) {
        Some(by_hand) => vec![by_hand],
        None => [Some(state.defaults.as_ref()), pool.map(|pool| &pool.template), Some(spec.own.as_ref())]
            .into_iter()
            .flatten()
            .filter_map(|template| template.variables.get(&path))
            .collect(),
    };
    let mut words: Vec<KernelArgument> = Vec::new();
    // What cannot stand there was refused when it was described.
    for word in values.into_iter().filter_map(|value| boot::arguments_of(Some(value)).ok()).flatten() {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}
