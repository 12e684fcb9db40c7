//! A machine as files, and what the report makes of it.

use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;
use crate::model::hardware::{Carrier, Medium};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The files of a QEMU q35 machine with two processors, a virtio disk and a virtio interface, and an NVMe disk.
fn machine() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (file, text) in [
        ("sys_vendor", "QEMU\n"),
        ("product_name", "Standard PC (Q35 + ICH9, 2009)\n"),
        ("product_version", "pc-q35-7.2\n"),
        ("product_serial", "Not Specified\n"),
        ("product_uuid", "6D0F6A2C-8D0E-4D6E-9A53-0C9F2A6F1E11\n"),
        ("board_vendor", "\n"),
        ("bios_vendor", "SeaBIOS\n"),
        ("bios_version", "1.16.2\n"),
        ("bios_date", "04/01/2014\n"),
    ] {
        write(root, &format!("sys/class/dmi/id/{file}"), text);
    }
    write(root, "proc/sys/kernel/osrelease", "6.1.0-56-cloud-amd64\n");
    write(root, "proc/meminfo", "MemTotal:         483664 kB\nMemFree:          400000 kB\n");
    let cpu = "processor\t: 0\nmodel name\t: QEMU TCG CPU version 2.5+\ncpu MHz\t\t: 2799.998\nflags\t\t: fpu vme\n\n";
    write(root, "proc/cpuinfo", &format!("{cpu}{}", cpu.replace(": 0", ": 1")));
    for (cpu, package, core) in [("cpu0", "0", "0"), ("cpu1", "0", "1"), ("cpu2", "1", "0"), ("cpu3", "1", "0")] {
        write(root, &format!("sys/devices/system/cpu/{cpu}/topology/physical_package_id"), package);
        write(root, &format!("sys/devices/system/cpu/{cpu}/topology/core_id"), core);
    }
    write(root, "sys/devices/system/cpu/cpufreq/boost", "1");

    let pci = "sys/devices/pci0000:00/0000:00:02.0/virtio0";
    write(root, &format!("{pci}/net/eth0/address"), "52:54:00:12:34:56\n");
    write(root, &format!("{pci}/net/eth0/carrier"), "1\n");
    write(root, &format!("{pci}/net/eth0/speed"), "-1\n");
    fs::create_dir_all(root.join("sys/bus/virtio/drivers/virtio_net")).unwrap();
    symlink(root.join("sys/bus/virtio/drivers/virtio_net"), root.join(pci).join("driver")).unwrap();
    symlink(root.join(pci), root.join(pci).join("net/eth0/device")).unwrap();
    fs::create_dir_all(root.join("sys/class/net/lo")).unwrap();
    symlink(root.join(pci).join("net/eth0"), root.join("sys/class/net/eth0")).unwrap();

    write(root, "sys/block/vda/size", "2097152\n");
    write(root, "sys/block/vda/serial", "disk-17");
    write(root, "sys/block/vda/queue/rotational", "1\n");
    fs::create_dir_all(root.join("sys/block/vda/device")).unwrap();
    write(root, "sys/block/nvme0n1/size", "1953525168\n");
    write(root, "sys/block/nvme0n1/device/model", "SAMSUNG MZVL21T0HCLR-00B00              \n");
    write(root, "sys/block/nvme0n1/device/serial", "S676NF0R123456      \n");
    write(root, "sys/block/nvme0n1/queue/rotational", "0\n");
    write(root, "sys/block/loop0/size", "0\n");
    directory
}

#[test]
fn a_machine_is_reported_as_its_files_say() {
    let machine = machine();
    let hardware = collect(machine.path());
    assert_eq!(hardware.firmware, Firmware::Bios);
    assert_eq!(hardware.kernel, "6.1.0-56-cloud-amd64");
    assert_eq!(hardware.system.vendor.as_deref(), Some("QEMU"));
    assert_eq!(hardware.system.serial, None);
    assert_eq!(hardware.system.uuid.as_deref(), Some("6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11"));
    assert_eq!(hardware.board, Board::default());
    assert_eq!(hardware.memory_bytes, 483_664 * 1024);
    let processor = &hardware.processor;
    assert_eq!((processor.sockets, processor.cores, processor.threads, processor.clock_mhz), (2, 3, 4, Some(2799)));
    let [nvme, vda] = hardware.disks.as_slice() else { panic!("{:?}", hardware.disks) };
    assert_eq!((nvme.size_bytes, nvme.medium), (1_000_204_886_016, Medium::SolidState));
    assert_eq!(nvme.serial.as_deref(), Some("S676NF0R123456"));
    assert_eq!((vda.serial.as_deref(), vda.size_bytes, vda.medium), (Some("disk-17"), 1 << 30, Medium::Rotational));
    let [eth0] = hardware.interfaces.as_slice() else { panic!("{:?}", hardware.interfaces) };
    assert_eq!((eth0.driver.as_deref(), eth0.pci_address.as_deref()), (Some("virtio_net"), Some("0000:00:02.0")));
    assert_eq!((eth0.carrier, eth0.speed_mbit), (Carrier::Present, None));
}

#[test]
fn a_report_survives_json() {
    let hardware = collect(machine().path());
    let json = serde_json::to_string(&hardware).unwrap();
    assert_eq!(serde_json::from_str::<Hardware>(&json).unwrap(), hardware);
    assert!(json.contains(r#""firmware":"bios""#) && json.contains(r#""mac":"52:54:00:12:34:56""#));
}

#[test]
fn a_machine_that_says_nothing_is_reported_all_the_same() {
    let empty = tempfile::tempdir().unwrap();
    let hardware = collect(empty.path());
    assert_eq!((hardware.memory_bytes, hardware.processor.threads), (0, 0));
    assert!(hardware.disks.is_empty() && hardware.interfaces.is_empty());
}

#[test]
fn an_arm_board_is_named_by_its_device_tree_and_its_registers() {
    let board = tempfile::tempdir().unwrap();
    write(board.path(), "sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\0");
    write(
        board.path(),
        "proc/cpuinfo",
        "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nprocessor\t: 1\n",
    );
    let hardware = collect(board.path());
    assert_eq!(hardware.firmware, Firmware::DeviceTree);
    assert_eq!(hardware.system.product.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
    assert_eq!(hardware.processor.model.as_deref(), Some("implementer 0x41 part 0xd08"));
    assert_eq!((hardware.processor.sockets, hardware.processor.threads), (1, 2));
}

#[test]
fn the_machine_under_test_reports_itself() {
    let hardware = collect(Path::new("/"));
    assert!(hardware.memory_bytes > 0 && hardware.processor.threads > 0 && !hardware.kernel.is_empty());
}

#[test]
fn a_pci_address_is_the_nearest_one() {
    let path = "/sys/devices/pci0000:00/0000:00:1c.0/0000:03:00.1/virtio0";
    assert_eq!(parse::pci_address(path).as_deref(), Some("0000:03:00.1"));
    assert_eq!(parse::pci_address("/sys/devices/pci10000:e0/10000:e0:06.0").as_deref(), Some("10000:e0:06.0"));
    assert_eq!(parse::pci_address("/sys/devices/platform/usb/52:54:00"), None);
}

proptest! {
    #[test]
    fn no_text_panics_or_grows(raw in "\\PC{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(parse::text(&raw).is_none_or(|text| text.len() <= crate::model::hardware::TEXT_BYTES_MAX));
        let _ = (parse::memory_bytes(&raw), parse::size_bytes(&raw), parse::speed_mbit(&raw), parse::pci_address(&raw));
        let _ = (parse::processor_model(&raw), parse::clock_mhz(Some(&raw), &raw), parse::counts(&[], &raw));
        let _ = parse::scsi_serial(&bytes);
    }
}
