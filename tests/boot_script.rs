//! The boot script and the agent's command line, which must understand each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use bootes::agent::cmdline::{self, BootArguments};
use bootes::boot::script::{BootSettings, COMMAND_LINE_BYTES_MAX, JoinToken, KernelArgument, ScriptError, script};
use bootes::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use bootes::model::{Digest, FactSeq, Mac, Name, NetworkSpec, NodeId, NodeSpec, UnixMs};
use bootes::state::{Node, State};
use proptest::prelude::*;

fn node(name: &str, mac: Mac, ip: Ipv4Addr, id: u128) -> Arc<Node> {
    let id = NodeId(uuid::Uuid::from_u128(id));
    let spec: NodeSpec = serde_json::from_value(serde_json::json!({
        "name": name.parse::<Name>().unwrap(), "network": "boot", "mac": mac, "ip": ip,
    }))
    .unwrap();
    let event = OperatorEvent::NodeDescribed { node: id, spec: Box::new(spec) };
    let mut state = State::default();
    state.apply(&Stamped { seq: FactSeq(1), at: UnixMs(0), fact: Fact::Operator(OperatorFact::from(event)) });
    Arc::clone(state.node(id).unwrap())
}

fn network(router: Option<Ipv4Addr>, dns: Vec<Ipv4Addr>) -> NetworkSpec {
    serde_json::from_value(serde_json::json!({
        "name": "boot", "subnet": "10.77.0.0/24", "router": router, "dns": dns, "lease_s": 600,
    }))
    .unwrap()
}

fn settings() -> BootSettings {
    BootSettings {
        http: "10.77.0.1:8080".parse().unwrap(),
        agents: vec!["10.77.0.1:7443".parse().unwrap(), "10.77.0.2:7443".parse().unwrap()],
        ca: Digest::of(b"certificate"),
        console: Some("ttyS0,115200".parse().unwrap()),
        extra_arguments: vec!["quiet".parse().unwrap(), "bootes.log=debug".parse().unwrap()],
        kernel: "/layer0/kernel".into(),
        initramfs: "/layer0/initramfs".into(),
        loaders: "/usr/lib/ipxe".into(),
        files: None,
        templates: None,
    }
}

/// The command line as iPXE hands it to the kernel: what follows the kernel's URL.
fn command_line(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("kernel ")).expect("a kernel");
    let line = line.strip_suffix(" || goto failed").expect("a way on from a failure");
    line.split_once(' ').expect("arguments").1
}

fn understood(text: &str) -> BootArguments {
    let parsed = cmdline::parse(command_line(text)).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(parsed.unknown, Vec::<String>::new());
    parsed.arguments
}

#[test]
fn the_script_of_a_node_is_this_one() {
    let node = node("n1", Mac([0x52, 0x54, 0, 0xb0, 7, 1]), Ipv4Addr::new(10, 77, 0, 11), 7);
    let dns = vec![Ipv4Addr::new(10, 77, 0, 1); 4];
    let text =
        script(&node, &network(Some(Ipv4Addr::new(10, 77, 0, 1)), dns), &settings(), &JoinToken::new([0xab; 32]));
    let expected = format!(
        "#!ipxe
echo bootes: starting n1
set tries:int32 0
:try
imgfree
kernel http://10.77.0.1:8080/boot/52-54-00-b0-07-01/kernel initrd=initramfs console=ttyS0,115200 \
bootes.node=00000000-0000-0000-0000-000000000007 bootes.name=n1 bootes.mac=52:54:00:b0:07:01 bootes.ip=10.77.0.11/24 \
bootes.router=10.77.0.1 bootes.dns=10.77.0.1,10.77.0.1,10.77.0.1 bootes.parent=10.77.0.1:7443,10.77.0.2:7443 \
bootes.ca={} bootes.token={} bootes.http=10.77.0.1:8080 quiet bootes.log=debug || goto failed
initrd http://10.77.0.1:8080/boot/52-54-00-b0-07-01/initramfs || goto failed
boot || goto failed
:failed
inc tries
iseq ${{tries}} 5 && goto start_over ||
echo bootes: n1 could not be started, trying again in 3 s
sleep 3
goto try
:start_over
echo bootes: n1 could not be started 5 times, rebooting in 10 s
sleep 10
reboot
",
        Digest::of(b"certificate").hex(),
        "ab".repeat(32)
    );
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn a_command_line_that_the_kernel_would_cut_is_refused() {
    let node = node("n1", Mac([0x52, 0x54, 0, 0, 0, 1]), Ipv4Addr::new(10, 77, 0, 11), 7);
    let long: KernelArgument = "x".repeat(COMMAND_LINE_BYTES_MAX).parse().unwrap();
    let settings = BootSettings { extra_arguments: vec![long], ..settings() };
    let refused = script(&node, &network(None, Vec::new()), &settings, &JoinToken::new([1; 32]));
    assert!(matches!(refused, Err(ScriptError::TooLong { .. })));
    let settings = BootSettings { agents: Vec::new(), ..settings };
    let refused = script(&node, &network(None, Vec::new()), &settings, &JoinToken::new([1; 32]));
    assert!(matches!(refused, Err(ScriptError::NoParent { .. })));
}

proptest! {
    #[test]
    fn the_agent_reads_what_the_script_says(
        name in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        octets: [u8; 6],
        host in 1u8..255,
        id: u128,
        token: [u8; 32],
        router in prop::option::of(any::<[u8; 4]>()),
        dns in prop::collection::vec(any::<[u8; 4]>(), 0..6),
        parents in prop::collection::vec((any::<[u8; 4]>(), 1u16..), 1..12),
    ) {
        let node = node(&name, Mac(octets), Ipv4Addr::new(10, 77, 0, host), id);
        let network = network(router.map(Ipv4Addr::from), dns.iter().copied().map(Ipv4Addr::from).collect());
        let settings = BootSettings { agents: parents.iter().map(|parent| (*parent).into()).collect(), ..settings() };
        let text = script(&node, &network, &settings, &JoinToken::new(token)).unwrap();
        let read = understood(&text);
        prop_assert_eq!((read.node, &read.name, read.mac), (node.id.0, &name, Mac(octets)));
        prop_assert_eq!(read.address.to_string(), format!("10.77.0.{host}/24"));
        prop_assert_eq!(read.router, router.map(|router| Ipv4Addr::from(router).into()));
        prop_assert_eq!(read.name_servers.len(), dns.len().min(3));
        prop_assert_eq!(&read.parents[..], &settings.agents[..parents.len().min(8)]);
        prop_assert_eq!(read.ca.0, *settings.ca.as_bytes());
        prop_assert_eq!(Digest::of(read.token.expose()), JoinToken::new(token).digest());
        prop_assert_eq!(read.http, settings.http);
        // Under UEFI the kernel finds layer 0 by this name alone, and iPXE names it by its URL's last segment.
        prop_assert!(command_line(&text).starts_with("initrd=initramfs ") && text.contains("/initramfs || goto failed\n"));
    }
}
