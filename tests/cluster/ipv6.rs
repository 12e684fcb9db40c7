//! Machines whose firmware has IPv6 alone, in a cluster of their own, from cold to running. It takes minutes: only with
//! `./tests/run --all`, which says so by `BOOTES_TEST_EXTENT=all`.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const NAME: &str = "test6";

fn vbox(command: &str, arguments: &[&str]) -> Output {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vbox").join(command);
    let mut command = Command::new(program);
    command.env("BOOTES_VBOX_NAME", NAME).args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ends the cluster however the test ends.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if std::env::var_os("BOOTES_TEST_KEEP").is_none() {
            vbox("down", &[]);
        }
    }
}

/// Boots one machine, and gives the sentences of its events.
fn boot(firmware: &str) -> Vec<String> {
    let _down = Down;
    vbox("down", &[]);
    let up = vbox("up", &["--nodes", "1", "--firmware", firmware]);
    assert!(up.status.success(), "{}", text(&up));
    let events = vbox("bootes", &["events", "n1", "--limit", "1000", "-o", "json"]);
    let document: Value = serde_json::from_slice(&events.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&events)));
    let items = document["items"].as_array().unwrap();
    items.iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn firmware_that_has_ipv6_alone_comes_from_cold_to_running() {
    if std::env::var("BOOTES_TEST_EXTENT").as_deref() != Ok("all") {
        return;
    }
    for (firmware, loader) in [
        ("uefi-http6", "HTTP sent /loaders/snponly.efi to fd00:77::11"),
        ("uefi-pxe6", "TFTP sent snponly.efi to fd00:77::11"),
    ] {
        let events = boot(firmware);
        let position = |what: &str| {
            let found = events.iter().position(|event| event.contains(what));
            found.unwrap_or_else(|| panic!("{firmware}: '{what}' is not among\n{}", events.join("\n")))
        };
        let order = ["DHCPv6 leased fd00:77::11 with", loader, "agent joined", "goal reached"];
        let places = order.map(position);
        assert!(places.is_sorted(), "{firmware}: {events:#?}");
        let over_ipv4 = |event: &&String| event.contains("snponly.efi") && event.contains(" 10.77.0.11");
        assert_eq!(events.iter().find(over_ipv4), None, "{firmware}");
    }
}
