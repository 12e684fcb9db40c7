//! Hardware discovery: reads /sys and /proc into the report of `model::hardware`.
//!
//! Invariants: never fails, since a machine that hides its serial number must still boot; reads only files and links, so
//! a tree in a test is as good as a machine; every text and list is bounded.
//! Deliberately absent: tools such as dmidecode, raw SMBIOS tables, sensors, and anything that wakes a disk.
//! Specification: Linux `Documentation/ABI/testing/sysfs-class-dmi`, `sysfs-devices-system-cpu`, `stable/sysfs-block`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::hardware::{
    Bios, Board, DISKS_MAX, Disk, Firmware, Hardware, INTERFACES_MAX, Interface, Processor, System,
};

pub mod parse;

#[cfg(test)]
mod tests;

/// Reads what the machine below `root` (`/` in production) is made of.
#[must_use]
pub fn collect(root: &Path) -> Hardware {
    let tree = Tree { root };
    Hardware {
        architecture: std::env::consts::ARCH.to_owned(),
        kernel: tree.text("proc/sys/kernel/osrelease").unwrap_or_default(),
        firmware: firmware(&tree),
        system: System {
            vendor: tree.dmi("sys_vendor"),
            product: tree.dmi("product_name").or_else(|| tree.text("sys/firmware/devicetree/base/model")),
            version: tree.dmi("product_version"),
            serial: tree.dmi("product_serial").or_else(|| tree.text("sys/firmware/devicetree/base/serial-number")),
            uuid: tree.dmi("product_uuid").map(|uuid| uuid.to_ascii_lowercase()),
        },
        board: Board {
            vendor: tree.dmi("board_vendor"),
            name: tree.dmi("board_name"),
            serial: tree.dmi("board_serial"),
        },
        bios: Bios { vendor: tree.dmi("bios_vendor"), version: tree.dmi("bios_version"), date: tree.dmi("bios_date") },
        processor: processor(&tree),
        memory_bytes: tree.read("proc/meminfo").as_deref().and_then(parse::memory_bytes).unwrap_or(0),
        disks: tree.names("sys/block").iter().filter_map(|name| disk(&tree, name)).take(DISKS_MAX).collect(),
        interfaces: tree
            .names("sys/class/net")
            .iter()
            .filter_map(|name| interface(&tree, name))
            .take(INTERFACES_MAX)
            .collect(),
    }
}

struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read(self.path(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn text(&self, path: &str) -> Option<String> {
        self.read(path).as_deref().and_then(parse::text)
    }

    fn dmi(&self, name: &str) -> Option<String> {
        self.text(&format!("sys/class/dmi/id/{name}"))
    }

    /// The names in a directory, in order.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

fn firmware(tree: &Tree<'_>) -> Firmware {
    if tree.exists("sys/firmware/efi") {
        Firmware::Uefi
    } else if tree.exists("sys/firmware/devicetree/base") {
        Firmware::DeviceTree
    } else {
        Firmware::Bios
    }
}

fn processor(tree: &Tree<'_>) -> Processor {
    let cpuinfo = tree.read("proc/cpuinfo").unwrap_or_default();
    let number = |cpu: &str, file: &str| {
        tree.read(&format!("sys/devices/system/cpu/{cpu}/topology/{file}"))?.trim().parse().ok()
    };
    let places: Vec<parse::Place> = tree
        .names("sys/devices/system/cpu")
        .iter()
        .filter(|name| name.strip_prefix("cpu").is_some_and(|rest| rest.parse::<u32>().is_ok()))
        .filter_map(|cpu| {
            Some(parse::Place { package: number(cpu, "physical_package_id")?, core: number(cpu, "core_id")? })
        })
        .collect();
    let (sockets, cores, threads) = parse::counts(&places, &cpuinfo);
    let max_khz = tree.read("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
    Processor {
        model: parse::processor_model(&cpuinfo),
        sockets,
        cores,
        threads,
        clock_mhz: parse::clock_mhz(max_khz.as_deref(), &cpuinfo),
    }
}

fn disk(tree: &Tree<'_>, name: &str) -> Option<Disk> {
    let file = |file: &str| format!("sys/block/{name}/{file}");
    if !parse::is_disk(name) || !tree.exists(&file("device")) {
        return None;
    }
    let scsi_serial = || fs::read(tree.path(&file("device/vpd_pg80"))).ok().as_deref().and_then(parse::scsi_serial);
    Some(Disk {
        name: name.to_owned(),
        size_bytes: tree.read(&file("size")).as_deref().and_then(parse::size_bytes).unwrap_or(0),
        model: tree.text(&file("device/model")),
        // NVMe and eMMC, then virtio, then SCSI.
        serial: tree.text(&file("device/serial")).or_else(|| tree.text(&file("serial"))).or_else(scsi_serial),
        medium: parse::medium(tree.read(&file("queue/rotational")).as_deref()),
    })
}

fn interface(tree: &Tree<'_>, name: &str) -> Option<Interface> {
    let file = |file: &str| format!("sys/class/net/{name}/{file}");
    // Loopback, bridges and the like have no device.
    let device = fs::canonicalize(tree.path(&file("device"))).ok()?;
    let driver = fs::read_link(tree.path(&file("device/driver"))).ok();
    Some(Interface {
        name: name.to_owned(),
        mac: tree.read(&file("address"))?.trim().parse().ok()?,
        driver: driver.as_deref().and_then(Path::file_name).and_then(|name| parse::text(&name.to_string_lossy())),
        speed_mbit: tree.read(&file("speed")).as_deref().and_then(parse::speed_mbit),
        carrier: parse::carrier(tree.read(&file("carrier")).as_deref()),
        pci_address: parse::pci_address(&device.to_string_lossy()),
    })
}
