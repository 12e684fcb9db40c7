//! What a machine is made of, as the machine itself saw it: the report that an agent sends once a boot.
//!
//! Invariants: absent means that the machine did not say; no field is invented. Lists are ordered by name, so that two
//! reports of an unchanged machine are equal. Fields are always serialised, so that the report also travels in formats
//! that do not name their fields.
//! Deliberately absent: how any of this is found (the agent's business), sensors, and anything that changes while the
//! machine runs, except the carrier at the time of the report.
//! Specification: SMBIOS 3.6 (DMTF DSP0134) §7.1–7.3 for the system, board and firmware strings.

use serde::{Deserialize, Serialize};

use super::Mac;

/// The longest text kept from any one field, in bytes: firmware vendors write novels into these.
pub const TEXT_BYTES_MAX: usize = 128;
/// The most disks in one report; further ones are left out.
pub const DISKS_MAX: usize = 256;
/// The most network interfaces in one report; further ones are left out.
pub const INTERFACES_MAX: usize = 64;

/// One machine's hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hardware {
    /// The processor architecture, as `uname -m` says it: `x86_64`, `aarch64`.
    pub architecture: String,
    /// The running kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// What started the kernel.
    pub firmware: Firmware,
    /// The machine as its maker names it.
    pub system: System,
    /// The main board.
    pub board: Board,
    /// The firmware program.
    pub bios: Bios,
    /// The processors.
    pub processor: Processor,
    /// Memory that the kernel can use, in bytes; less than what is plugged in.
    pub memory_bytes: u64,
    /// Disks, by name.
    pub disks: Vec<Disk>,
    /// Network interfaces that are backed by a device, by name.
    pub interfaces: Vec<Interface>,
}

/// The kind of firmware that started the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// UEFI: `/sys/firmware/efi` exists.
    Uefi,
    /// A device tree without UEFI.
    DeviceTree,
    /// Neither: a PC BIOS, or a loader that left no trace.
    Bios,
}

/// SMBIOS type 1: the system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct System {
    /// The maker.
    pub vendor: Option<String>,
    /// The product's name; the device tree's `model` where there is no SMBIOS.
    pub product: Option<String>,
    /// The product's version.
    pub version: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// The system's UUID, in lower case.
    pub uuid: Option<String>,
}

/// SMBIOS type 2: the main board.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Board {
    /// The maker.
    pub vendor: Option<String>,
    /// The board's name.
    pub name: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
}

/// SMBIOS type 0: the firmware program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bios {
    /// Who wrote it.
    pub vendor: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its release date, as it says it.
    pub date: Option<String>,
}

/// The processors, which are taken to be of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Processor {
    /// The model's name; on ARM the implementer and part numbers.
    pub model: Option<String>,
    /// Sockets in use.
    pub sockets: u32,
    /// Cores over all sockets.
    pub cores: u32,
    /// Hardware threads over all sockets.
    pub threads: u32,
    /// The highest clock, or the present one where no highest is known, in MHz.
    pub clock_mhz: Option<u32>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Disk {
    /// The kernel's name: `sda`, `nvme0n1`, `vda`.
    pub name: String,
    /// The size in bytes.
    pub size_bytes: u64,
    /// The model.
    pub model: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// Whether it spins.
    pub medium: Medium,
}

/// What a disk stores on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// Spinning platters, or so it claims.
    Rotational,
    /// Anything else.
    SolidState,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// The hardware address.
    pub mac: Mac,
    /// The driver's name.
    pub driver: Option<String>,
    /// The link's speed in Mbit/s, when the link is up and says it.
    pub speed_mbit: Option<u32>,
    /// The carrier at the time of the report; unknown while the interface is down.
    pub carrier: Carrier,
    /// The PCI address (`0000:00:02.0`) of the device, or of the one that it hangs off.
    pub pci_address: Option<String>,
}

/// Whether a signal is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// A signal is seen.
    Present,
    /// No signal is seen.
    Absent,
    /// The interface is down, and so does not say.
    Unknown,
}

impl Hardware {
    /// One line for people: the machine, its processors and its memory.
    #[must_use]
    pub fn summary(&self) -> String {
        let system = [&self.system.vendor, &self.system.product]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        format!(
            "{system}, {} threads, {} MiB, {} disks, {} interfaces",
            self.processor.threads,
            self.memory_bytes >> 20,
            self.disks.len(),
            self.interfaces.len()
        )
    }
}
