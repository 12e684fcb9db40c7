//! The decisions; the kernel's part is in `tests/agent_network.rs`.

use super::plan::{choose, hosts, reach, resolv_conf};
use super::*;

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

fn link(index: u32, mac: Option<Mac>) -> Link {
    let name = format!("eth{index}");
    Link {
        index,
        name,
        mac,
        permanent_mac: None,
        controller: None,
        carrier: false,
        loopback: false,
        mtu_bytes: Some(1_500),
        software: false,
    }
}

#[test]
fn the_interface_with_the_address_is_chosen_and_the_first_of_several() {
    let links = [link(2, Some(Mac([2; 6]))), link(4, Some(MAC)), link(3, Some(MAC))];
    assert_eq!(choose(&links, MAC).unwrap().index, 3);
    assert_eq!(choose(&links, Mac([9; 6])), None);
}

#[test]
fn a_controller_is_chosen_rather_than_what_it_controls() {
    let controlled = Link { controller: Some(5), ..link(2, Some(MAC)) };
    assert_eq!(choose(&[controlled.clone(), link(5, Some(MAC))], MAC).unwrap().index, 5);
    assert_eq!(choose(&[controlled], MAC), None);
}

#[test]
fn an_interface_that_changed_its_address_is_found_by_the_one_it_was_made_with() {
    let renamed = Link { permanent_mac: Some(MAC), ..link(2, Some(Mac([2; 6]))) };
    assert_eq!(choose(std::slice::from_ref(&renamed), MAC).unwrap().index, 2);
    assert_eq!(choose(&[renamed, link(7, Some(MAC))], MAC).unwrap().index, 7);
}

#[test]
fn a_router_outside_the_prefix_is_reached_over_the_link() {
    assert_eq!(reach("10.0.0.7/24".parse().unwrap(), "10.0.0.1".parse().unwrap()), Reach::OnPrefix);
    assert_eq!(reach("10.0.0.7/32".parse().unwrap(), "172.31.1.1".parse().unwrap()), Reach::OnLink);
}

#[test]
fn the_files_say_what_a_resolver_reads() {
    assert_eq!(
        resolv_conf(&["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]),
        "nameserver 10.0.0.1\nnameserver fd00::1\n"
    );
    assert_eq!(resolv_conf(&[]), "");
    assert_eq!(hosts("n17", "10.0.0.7".parse().unwrap()), "127.0.0.1 localhost\n::1 localhost\n10.0.0.7 n17\n");
    assert!(hosts("n17.rack.example", "10.0.0.7".parse().unwrap()).ends_with("10.0.0.7 n17.rack.example n17\n"));
}

#[test]
fn what_is_told_of_the_network_is_within_the_bounds_that_a_parent_takes() {
    use report::{Network, Route};
    use std::net::Ipv4Addr;

    use crate::model::limits::REPORTED_LIST_VALUES_MAX;
    use crate::sync::codec::{Report, WireScope, WireValue, WireVariable};

    let own: IpAddr = [10, 0, 0, 17].into();
    let named = |index, name: &str| Link { name: name.to_owned(), ..link(index, Some(MAC)) };
    let software = |index, name: &str| Link { software: true, ..named(index, name) };
    let network = Network {
        links: vec![
            Link { loopback: true, ..named(1, "lo") },
            Link { mtu_bytes: Some(9_000), carrier: true, ..named(2, "eth0") },
            Link { mtu_bytes: Some(0x7fff_ffff), ..named(3, "eth1") },
            named(4, "eth0.100"),
            named(5, "IB0"),
            named(6, "hostname"),
            software(7, "bond0"),
            software(8, "veth1"),
        ],
        addresses: vec![(1, [127, 0, 0, 1].into()), (2, [10, 0, 0, 9].into()), (2, own), (7, [10, 1, 0, 1].into())],
        routes: (0..=255)
            .map(|n| Route { destination: [10, n, 0, 0].into(), prefix_bits: 16, gateway: Some(own), index: None })
            .collect(),
        hostname: "n17".into(),
        resolv_conf: "nameserver 10.0.0.1\n#nameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver\n".into(),
    };
    let told = network.variables(own);
    assert_eq!(told.get("net.eth0.ip"), Some(&WireValue::Ip(own)), "the node's own address comes first");
    assert_eq!(told.get("net.eth0.mtu"), Some(&WireValue::Int(9_000)));
    assert_eq!(told.get("net.eth0.state"), Some(&WireValue::Symbol("up".into())));
    assert_eq!(told.get("net.bond0.ip"), Some(&WireValue::Ip(Ipv4Addr::new(10, 1, 0, 1).into())));
    assert!(
        !told.keys().any(|path| path.contains("lo.") || path.contains("veth1") || path.contains("IB0")),
        "{told:?}"
    );
    assert_eq!(told.get("net.eth1.mtu"), None, "it is no MTU");
    let list = |path: &str| match told.get(path) {
        Some(WireValue::List(items)) => items.len(),
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!((list("net.dns"), list("net.routes")), (2, REPORTED_LIST_VALUES_MAX));
    let variables = told.into_iter().map(|(path, value)| WireVariable { path, value: Some(value) }).collect();
    let report = Report { revision: 1, scope: WireScope::Full, variables, order: vec![] };
    crate::sync::facts::reported(&report).unwrap();
}
