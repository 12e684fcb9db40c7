//! The network boot programs: which one serves which machine over which transport.
//!
//! Purpose: the list that DHCP answers from, that TFTP and HTTP recognise a loader by, and that `firmware/` says the origin of.
//! Architectures are those of RFC 4578, section 2.1, with IANA's later numbers.
//!
//! Invariants: one pair of architecture and transport is served by one program at most; a name is a plain file name.
//!
//! Deliberately absent: the files themselves; iPXE for arm64 and for 32-bit UEFI, of which the package holds no build
//! (arm64 gets GRUB; to the other [`NoProgram`] says so); which program a machine gets (`chain`).

use thiserror::Error;

use crate::fact::{Architecture, Transport};

/// The path under which the HTTP boot service gives boot programs, by their file name.
pub const LOADERS_PATH: &str = "/loaders/";

/// A program that firmware loads from the network and that goes on to load the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootProgram {
    /// Its file's name.
    pub file: &'static str,
    /// The machines that can run it.
    pub architectures: &'static [Architecture],
    /// How firmware fetches it.
    pub transports: &'static [Transport],
    /// Where the distribution's package puts it, under another name and outside the folder of boot programs.
    pub packaged: Option<&'static str>,
}

impl BootProgram {
    /// Whether what it leads to is GRUB.
    #[must_use]
    pub fn is_grub(&self) -> bool {
        self.file.starts_with("grub") || self.file.starts_with("shim")
    }
}

/// GRUB as the distribution signs it, for x86-64. It reads its configuration, kernels and the rest by TFTP alone.
pub const GRUB_X64: BootProgram = BootProgram {
    file: "grubx64.efi",
    architectures: &[Architecture::X64Uefi],
    transports: &[Transport::Tftp],
    packaged: Some("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
};
/// The same for arm64.
pub const GRUB_ARM64: BootProgram = BootProgram {
    file: "grubaa64.efi",
    architectures: &[Architecture::Arm64Uefi],
    transports: &[Transport::Tftp],
    packaged: Some("/usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed"),
};
/// The shim, which firmware with Secure Boot trusts, and which trusts the distribution's GRUB. It fetches `grubx64.efi`
/// from where it came from.
pub const SHIM_X64: BootProgram = BootProgram {
    file: "shimx64.efi",
    architectures: &[Architecture::X64Uefi],
    transports: &[Transport::Tftp],
    packaged: Some("/usr/lib/shim/shimx64.efi.signed"),
};
/// The same for arm64.
pub const SHIM_ARM64: BootProgram = BootProgram {
    file: "shimaa64.efi",
    architectures: &[Architecture::Arm64Uefi],
    transports: &[Transport::Tftp],
    packaged: Some("/usr/lib/shim/shimaa64.efi.signed"),
};
/// The programs that come to machines by GRUB.
pub const SIGNED: &[BootProgram] = &[SHIM_X64, SHIM_ARM64, GRUB_X64, GRUB_ARM64];

/// The programs that machines get unless something else is asked of them, seen to work with the firmware that each is
/// listed for.
pub const CATALOGUE: &[BootProgram] = &[
    // Drives the card through the ROM's own UNDI, so it needs no driver of its own.
    BootProgram {
        file: "undionly.kpxe",
        architectures: &[Architecture::X86Bios],
        transports: &[Transport::Tftp],
        packaged: None,
    },
    // Drives the card through the firmware's own SNP: a fifth of the size of ipxe.efi, and no driver can be missing.
    BootProgram {
        file: "snponly.efi",
        architectures: &[Architecture::X64Uefi, Architecture::X64UefiHttp],
        transports: &[Transport::Tftp, Transport::Http],
        packaged: None,
    },
];

/// No boot program serves the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "there is no boot program for {architecture} over {transport}: set the machine's firmware to a network boot that is served (x86 BIOS by PXE, x86-64 UEFI by PXE or HTTP)"
)]
pub struct NoProgram {
    /// The machine.
    pub architecture: Architecture,
    /// How it asks.
    pub transport: Transport,
}

/// The program for a machine.
///
/// # Errors
/// None is listed.
pub fn program(architecture: Architecture, transport: Transport) -> Result<&'static BootProgram, NoProgram> {
    let serves = |p: &&BootProgram| p.architectures.contains(&architecture) && p.transports.contains(&transport);
    CATALOGUE.iter().find(serves).ok_or(NoProgram { architecture, transport })
}

/// Whether a machine can be booted at all, by whichever program.
#[must_use]
pub fn is_served(architecture: Architecture, transport: Transport) -> bool {
    let mut all = CATALOGUE.iter().chain(SIGNED);
    all.any(|p| p.architectures.contains(&architecture) && p.transports.contains(&transport))
}

/// The program with this file name, also with a leading slash, as some firmware asks.
#[must_use]
pub fn named(file: &str) -> Option<&'static BootProgram> {
    let file = file.trim_start_matches('/');
    CATALOGUE.iter().chain(SIGNED).find(|program| program.file == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_architecture_and_transport_has_one_program_at_most() {
        for numbered in 0..=64 {
            for transport in [Transport::Tftp, Transport::Http] {
                let architecture = Architecture::from(numbered);
                let serving = CATALOGUE
                    .iter()
                    .filter(|p| p.architectures.contains(&architecture) && p.transports.contains(&transport));
                assert!(serving.count() <= 1, "{architecture} over {transport}");
            }
        }
    }

    #[test]
    fn bios_and_uefi_machines_are_served_and_arm64_is_not_yet() {
        let file = |arch, transport| program(arch, transport).map(|p| p.file);
        assert_eq!(file(Architecture::X86Bios, Transport::Tftp), Ok("undionly.kpxe"));
        assert_eq!(file(Architecture::X64Uefi, Transport::Tftp), Ok("snponly.efi"));
        assert_eq!(file(Architecture::X64UefiHttp, Transport::Http), Ok("snponly.efi"));
        let error = program(Architecture::Arm64Uefi, Transport::Tftp).expect_err("there is none");
        assert!(error.to_string().contains("arm64 UEFI over TFTP"), "{error}");
    }

    #[test]
    fn a_program_is_found_by_its_name_with_or_without_a_slash() {
        assert_eq!(named("/snponly.efi").map(|p| p.file), Some("snponly.efi"));
        assert_eq!(named("undionly.kpxe").map(|p| p.file), Some("undionly.kpxe"));
        assert_eq!(named("vmlinuz"), None);
    }
}
