//! Firmware that the usual cluster does not have, each in a small cluster of its own; with `./tests/run --all` alone.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs a command of `vbox/` for the cluster of this name.
fn vbox(name: &str, command: &str, args: &[&str]) -> Output {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut process = Command::new(root.join("vbox").join(command));
    process.env("BOOTES_VBOX_NAME", name).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A cluster of one machine, which is taken down with this.
struct Alone(&'static str);

impl Alone {
    fn up(name: &'static str, firmware: &str) -> Self {
        let alone = Alone(name);
        let up = vbox(name, "up", &["--nodes", "1", "--firmware", firmware, "--timeout", "900"]);
        assert!(up.status.success(), "{}", text(&up));
        alone
    }

    fn node(&self) -> Value {
        let got = vbox(self.0, "bootes", &["get", "nodes", "n1", "-o", "json"]);
        let list: Value = serde_json::from_slice(&got.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&got)));
        list["items"][0].clone()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        vbox(self.0, "down", &[]);
    }
}

#[test]
fn a_machine_whose_firmware_checks_signatures_comes_from_cold_to_running() {
    if std::env::var("BOOTES_TEST_EXTENT").as_deref() != Ok("all") {
        return;
    }
    let alone = Alone::up("test-secure", "uefi-secure");
    let node = alone.node();
    assert_eq!((&node["goal_reached"], &node["observed"]["run"]), (&true.into(), &"sync".into()), "{node}");
    let console = std::fs::read_to_string("/run/bootes-vbox/test-secure/node/n1/console.log").unwrap();
    assert!(console.contains("UEFI Secure Boot is enabled"), "the kernel's own word:\n{console}");
    let events = text(&vbox(alone.0, "bootes", &["events", "n1", "--limit", "500"]));
    for file in ["shimx64.efi", "grubx64.efi", "grub/grub.cfg", "/kernel", "/initramfs"] {
        let sent = format!("TFTP sent {file}");
        let below = format!("TFTP sent boot/52-54-00-b0-07-01{file}");
        assert!(
            events.contains(&sent) || events.contains(&below) || events.contains(&format!("TFTP sent /{file}")),
            "{file}: {events}"
        );
    }
}
