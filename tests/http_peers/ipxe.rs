//! A real iPXE: the ROM of QEMU's network card fetches the script, the kernel and layer 0, and starts the kernel.
//!
//! QEMU's own small network gives the machine its address and the script's URL, and its requests reach the server from
//! this machine's loopback. The kernel is iPXE's own build in the form of one (package `ipxe`), which prints its name
//! when it starts; `BOOTES_TEST_KERNEL` names a Linux kernel instead, which must then show the script's
//! command line.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bootes::boot::http::HttpOptions;
use bootes::boot::script::BootSettings;
use bootes::fact::{BootFile, Fact, FileEvent};
use bootes::model::VarPath;

use crate::harness::{Appliance, BOOT, MAC, wait_until};

/// A machine that ends with the test.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(script: &str, console: &Path) -> Machine {
    let child = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35,accel=tcg,graphics=off",
            "-m",
            "512",
            "-display",
            "none",
            "-monitor",
            "none",
            "-boot",
            "n",
        ])
        .args(["-no-reboot", "-serial", &format!("file:{}", console.display())])
        .args(["-netdev", &format!("user,id=boot,bootfile={script}")])
        .args(["-device", &format!("virtio-net-pci,netdev=boot,mac={MAC}")])
        .stdin(Stdio::null())
        .spawn();
    Machine(child.unwrap_or_else(|error| panic!("QEMU does not run ({error}); install qemu-system-x86 and ipxe-qemu")))
}

#[test]
fn an_ipxe_rom_boots_by_the_script() {
    // The port must be known before the script is made, so the server is told of it first.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own_kernel = std::env::var_os("BOOTES_TEST_KERNEL").map(PathBuf::from);
    let banner = if own_kernel.is_some() {
        "Command line: initrd=initramfs console=ttyS0 bootes.node="
    } else {
        "iPXE initialising devices"
    };
    let kernel = own_kernel.unwrap_or_else(|| "/boot/ipxe.lkrn".into());
    assert!(kernel.exists(), "{} is not there; install the package ipxe", kernel.display());
    let mut appliance = Appliance::start_with(Ipv4Addr::LOCALHOST, |_, options| {
        let http = (Ipv4Addr::new(10, 0, 2, 2), port).into();
        let settings = BootSettings { http, kernel, ..BootSettings::clone(&options.settings) };
        HttpOptions { listen: vec![(Ipv4Addr::LOCALHOST, port).into()], settings: Arc::new(settings), ..options }
    });
    let console = appliance.path("console");
    let _machine = start(&format!("http://10.0.2.2:{port}{BOOT}/script.ipxe"), &console);
    let sent = |file: fn(&BootFile) -> bool| move |fact: &Fact| matches!(fact, Fact::File(fact) if file(&fact.file) && matches!(fact.event, FileEvent::Sent { .. }));
    appliance.fact_where(sent(|file| matches!(file, BootFile::Script { .. })));
    appliance.fact_where(sent(|file| *file == BootFile::Kernel));
    appliance.fact_where(sent(|file| *file == BootFile::Initramfs));
    let node = appliance.now().node_with_mac(MAC).cloned().unwrap();
    assert_eq!(node.see_symbol(&VarPath::boot()), Some("kernel"));
    let shown = || String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
    wait_until("the start of the kernel", || {
        let shown = shown();
        // The ROM prints no such line of its own once the script has begun.
        shown.split_once("bootes: starting n1").is_some_and(|(_, after)| after.contains(banner))
    });
}
