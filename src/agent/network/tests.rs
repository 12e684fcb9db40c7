//! The decisions; the kernel's part is in `tests/agent_network.rs`.

use super::plan::{choose, hosts, reach, resolv_conf};
use super::*;

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

fn link(index: u32, mac: Option<Mac>) -> Link {
    let name = format!("eth{index}");
    Link { index, name, mac, permanent_mac: None, controller: None, carrier: false, loopback: false }
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
