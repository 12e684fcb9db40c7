//! What the texts of /proc and /sys say, as parts of the hardware report.
//!
//! Invariants: pure; a text that makes no sense says nothing, and never fails the report.
//! Deliberately absent: which file a text comes from.
//! Specification: proc(5) `cpuinfo`, `meminfo`; Linux `Documentation/ABI/stable/sysfs-block`, `testing/sysfs-class-net`.

use std::collections::BTreeSet;

use crate::model::hardware::{Carrier, Medium, TEXT_BYTES_MAX};

/// A value that a person may read: trimmed, without control characters, bounded; nothing if it is empty or one of the
/// phrases by which board makers say that they wrote none.
#[must_use]
pub fn text(raw: &str) -> Option<String> {
    const NOTHING: &[&str] = &[
        "none",
        "n/a",
        "not specified",
        "to be filled by o.e.m.",
        "default string",
        "system serial number",
        "unknown",
    ];
    let mut clean: String = raw.chars().filter(|character| !character.is_control()).collect();
    let mut end = clean.len().min(TEXT_BYTES_MAX);
    while !clean.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    clean.truncate(end);
    let clean = clean.trim();
    (!clean.is_empty() && !NOTHING.contains(&clean.to_ascii_lowercase().as_str())).then(|| clean.to_owned())
}

/// The value of the first `key : value` line of `/proc/cpuinfo`.
#[must_use]
pub fn cpuinfo_value<'a>(cpuinfo: &'a str, key: &str) -> Option<&'a str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The processor's model: its name on x86, the registers that identify it on ARM.
#[must_use]
pub fn processor_model(cpuinfo: &str) -> Option<String> {
    let named = cpuinfo_value(cpuinfo, "model name").and_then(text);
    named.or_else(|| {
        let implementer = cpuinfo_value(cpuinfo, "CPU implementer")?;
        let part = cpuinfo_value(cpuinfo, "CPU part")?;
        text(&format!("implementer {implementer} part {part}"))
    })
}

/// The clock in MHz: the highest that `cpuinfo_max_freq` (kHz) says, else the present one of `/proc/cpuinfo`.
#[must_use]
pub fn clock_mhz(max_khz: Option<&str>, cpuinfo: &str) -> Option<u32> {
    let highest = max_khz.and_then(|text| text.trim().parse::<u32>().ok()).and_then(|khz| khz.checked_div(1000));
    highest.or_else(|| cpuinfo_value(cpuinfo, "cpu MHz")?.split('.').next()?.parse().ok())
}

/// Where one hardware thread sits: its package and its core, as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `topology/physical_package_id`; −1 where the firmware does not say.
    pub package: i64,
    /// `topology/core_id`, unique within its package.
    pub core: i64,
}

/// Sockets, cores and threads. Without places, each processor of `/proc/cpuinfo` counts as a core of one socket.
#[must_use]
pub fn counts(places: &[Place], cpuinfo: &str) -> (u32, u32, u32) {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    if places.is_empty() {
        let threads =
            cpuinfo.lines().filter(|line| line.split(':').next().is_some_and(|key| key.trim() == "processor")).count();
        return (u32::from(threads > 0), count(threads), count(threads));
    }
    let packages: BTreeSet<i64> = places.iter().map(|place| place.package).collect();
    let cores: BTreeSet<Place> = places.iter().copied().collect();
    (count(packages.len()), count(cores.len()), count(places.len()))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
#[must_use]
pub fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether a block device is a disk: backed by a device, and neither optical, floppy nor made of other devices.
#[must_use]
pub fn is_disk(name: &str) -> bool {
    const OTHERS: &[&str] = &["sr", "fd", "loop", "ram", "zram", "dm-", "md", "nbd"];
    !OTHERS.iter().any(|prefix| name.starts_with(prefix))
}

/// A block device's `size`, which counts 512-byte sectors whatever the device's own are, in bytes.
#[must_use]
pub fn size_bytes(sectors: &str) -> Option<u64> {
    sectors.trim().parse::<u64>().ok()?.checked_mul(512)
}

/// A block device's `queue/rotational`.
#[must_use]
pub fn medium(rotational: Option<&str>) -> Medium {
    if rotational.is_some_and(|text| text.trim() == "1") { Medium::Rotational } else { Medium::SolidState }
}

/// A serial number in a SCSI unit's vital product data page 0x80 (SPC-5 §7.7.18), after its four-byte header.
#[must_use]
pub fn scsi_serial(page: &[u8]) -> Option<String> {
    text(&String::from_utf8_lossy(page.get(4..)?))
}

/// An interface's `carrier`, which cannot be read while it is down.
#[must_use]
pub fn carrier(raw: Option<&str>) -> Carrier {
    match raw.map(str::trim) {
        Some("1") => Carrier::Present,
        Some("0") => Carrier::Absent,
        _ => Carrier::Unknown,
    }
}

/// An interface's `speed` in Mbit/s; −1 means that there is none to say.
#[must_use]
pub fn speed_mbit(raw: &str) -> Option<u32> {
    raw.trim().parse().ok().filter(|speed| (1..u32::MAX).contains(speed))
}

/// The last PCI address (`0000:00:02.0`) in a device's path: its own, or that of the device it hangs off.
#[must_use]
pub fn pci_address(device_path: &str) -> Option<String> {
    device_path.split('/').rfind(|part| is_pci_address(part)).map(str::to_owned)
}

fn is_pci_address(part: &str) -> bool {
    let hex = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut pieces = part.splitn(3, ':');
    let (Some(domain), Some(bus), Some(rest)) = (pieces.next(), pieces.next(), pieces.next()) else {
        return false;
    };
    let Some((device, function)) = rest.split_once('.') else {
        return false;
    };
    // Volume-management controllers make domains of five digits.
    hex(domain, 4..=8) && hex(bus, 2..=2) && hex(device, 2..=2) && hex(function, 1..=1)
}
