//! The network part against the running kernel, in network namespaces that each test makes for its own thread. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;
use std::time::Duration;

use bootes::agent::cmdline::{self, BootArguments};
use bootes::agent::network::{NetworkError, bring_up_within};
use nix::sched::{CloneFlags, unshare};

const LONG: Duration = Duration::from_secs(60);

fn arguments(ip: &str, router: &str) -> BootArguments {
    let line = format!(
        "bootes.node=6d0f6a2c-8d0e-4d6e-9a53-0c9f2a6f1e11 bootes.name=n17 bootes.mac=52:54:00:12:34:56 bootes.ip={ip} \
         bootes.router={router} bootes.mtu=1400 bootes.parent=10.0.0.1:7443 bootes.ca={} bootes.token={} \
         bootes.http=10.0.0.1:80",
        "ab".repeat(32),
        "cd".repeat(16)
    );
    cmdline::parse(&line).unwrap().arguments
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `test` in a thread with a network of its own; children of that thread are in it too.
fn alone<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test())
    })
    .join()
    .unwrap()
}

#[test]
fn an_interface_that_appears_late_and_gets_its_signal_later_is_brought_up() {
    alone(async || {
        let arguments = arguments("10.0.0.17/24", "10.0.0.1");
        let late = std::thread::spawn({
            let here = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            move || {
                nix::sched::setns(here, CloneFlags::CLONE_NEWNET).unwrap();
                std::thread::sleep(Duration::from_millis(200));
                ip("link add lan0 address 52:54:00:12:34:56 type veth peer name far0");
                std::thread::sleep(Duration::from_millis(200));
                ip("link set far0 up");
            }
        });
        let interface = bring_up_within(&arguments, LONG, LONG).await.unwrap();
        late.join().unwrap();
        assert_eq!(interface.name, "lan0");
        let shown = ip("address show lan0");
        assert!(
            shown.contains("inet 10.0.0.17/24") && shown.contains("mtu 1400") && shown.contains("LOWER_UP"),
            "{shown}"
        );
        assert!(ip("route show").contains("default via 10.0.0.1 dev lan0"));
        assert!(ip("link show lo").contains("LOOPBACK,UP"));
        // Again changes nothing.
        assert_eq!(bring_up_within(&arguments, LONG, LONG).await.unwrap(), interface);
        assert_eq!(ip("address show lan0").matches("inet ").count(), 1);
    });
}

#[test]
fn a_router_outside_the_prefix_is_reached_in_both_ip_versions() {
    for (address, router, version) in [("10.0.0.17/32", "172.31.1.1", "-4"), ("2001:db8::17/128", "fe80::1", "-6")] {
        alone(async move || {
            ip("link add lan0 address 52:54:00:12:34:56 type veth peer name far0");
            ip("link set far0 up");
            bring_up_within(&arguments(address, router), LONG, LONG).await.unwrap();
            let routes = ip(&format!("{version} route show default"));
            assert!(routes.contains(&format!("via {router} dev lan0")), "{routes}");
            assert!(!ip("address show lan0 scope global").contains("tentative"));
        });
    }
}

#[test]
fn an_interface_that_never_appears_is_an_error_that_says_what_was_there() {
    alone(async || {
        ip("link add other0 type veth peer name far0");
        let error =
            bring_up_within(&arguments("10.0.0.17/24", "10.0.0.1"), Duration::from_millis(50), LONG).await.unwrap_err();
        let NetworkError::NoInterface { seen, .. } = &error else { panic!("{error}") };
        assert!(seen.contains("lo") && seen.contains("other0"), "{error}");
    });
}

#[test]
fn an_interface_without_a_signal_is_an_error_that_names_it() {
    alone(async || {
        ip("link add lan0 address 52:54:00:12:34:56 type veth peer name far0");
        let error =
            bring_up_within(&arguments("10.0.0.17/24", "10.0.0.1"), LONG, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(&error, NetworkError::NoCarrier { interface, .. } if interface == "lan0"), "{error}");
    });
}

#[test]
fn a_refusal_says_what_was_asked_for() {
    alone(async || {
        ip("link add lan0 address 52:54:00:12:34:56 type veth peer name far0");
        let mut arguments = arguments("2001:db8::17/64", "2001:db8::1");
        // The kernel switches IPv6 off below 1280 bytes (RFC 8200 §5).
        arguments.mtu_bytes = Some(600);
        let error = bring_up_within(&arguments, LONG, LONG).await.unwrap_err();
        assert!(error.to_string().contains("set the address on lan0"), "{error}");
    });
}
