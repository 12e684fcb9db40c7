//! Tests of the messages and of when they are sent.

use std::time::Duration;

use proptest::prelude::*;

use super::codec::advertisement;
use super::codec::{Message, decode, empty_advertisement};
use super::session::{Advertiser, GAP, INTERVAL, Manner, OTHER_ROUTER_FOR};
use crate::model::NetworkIpv6;
use crate::model::ipv6::{Advertise6, Flag};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn an_advertisement_announces_no_router_no_prefix_and_no_dhcpv6() {
    let packet = empty_advertisement();
    assert_eq!(decode(&packet), Some(Message::Advertisement));
    assert_eq!(packet[5], 0, "flags");
    assert_eq!(packet[6..8], [0, 0], "router lifetime");
    assert_eq!(packet.len(), 16, "no options");
}

#[test]
fn a_storm_of_solicitations_shares_advertisements() {
    let mut advertiser = Advertiser::default();
    let mut sent = Vec::new();
    for at in 0..1000 {
        advertiser.solicited(ms(at));
        if advertiser.due().is_some_and(|due| due <= ms(at)) {
            advertiser.sent();
            sent.push(at);
        }
    }
    assert_eq!(sent.len(), 10, "{sent:?}");
    assert_eq!(sent[0], 0, "the first is answered at once");
    assert_eq!(GAP, ms(100));
}

#[test]
fn where_another_router_is_heard_this_one_is_silent_until_that_one_is_gone() {
    let mut advertiser = Advertiser::default();
    advertiser.solicited(ms(1));
    advertiser.other_heard(ms(2));
    assert_eq!(advertiser.due(), None);
    advertiser.solicited(ms(3));
    assert_eq!(advertiser.due(), None);
    advertiser.solicited(ms(3) + OTHER_ROUTER_FOR);
    assert!(advertiser.due().is_some());
}

fn described(advertise: Advertise6) -> NetworkIpv6 {
    NetworkIpv6 {
        subnet: "fd00:77::/64".parse().unwrap_or_else(|e| panic!("{e}")),
        pool: None,
        dns: vec!["fd00:77::53".parse().unwrap_or_else(|e| panic!("{e}"))],
        search: Vec::new(),
        ntp: Vec::new(),
        boot_parameters: Vec::new(),
        lease_s: 600,
        preference: 0,
        advertise,
    }
}

#[test]
fn a_described_network_is_advertised_with_its_flags_prefix_and_name_servers_and_no_router() {
    let packet = advertisement(&described(Advertise6 { mtu: 1400, ..Advertise6::default() }));
    let network = [0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let expected = [
        &[134, 0, 0, 0, 64, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[5, 1, 0, 0, 0, 0, 5, 0x78],
        &[3, 4, 64, 0x80, 0, 0x27, 0x8d, 0, 0, 9, 0x3a, 0x80, 0, 0, 0, 0],
        &network,
        &[0],
        &[25, 3, 0, 0, 0, 0, 7, 8],
        &network,
        &[0x53],
    ]
    .concat();
    assert_eq!(packet, expected);
}

#[test]
fn every_flag_and_the_router_lifetime_are_the_descriptions() {
    let quiet = Advertise6 { managed: Flag::Clear, other: Flag::Clear, on_link: Flag::Clear, ..Advertise6::default() };
    let packet = advertisement(&described(quiet));
    assert_eq!((packet[5], packet[16]), (0, 25), "no flags and no prefix");
    let router = Advertise6 { autonomous: Flag::Set, router_lifetime_s: 1800, ..Advertise6::default() };
    let packet = advertisement(&described(router));
    assert_eq!((&packet[6..8], packet[19]), (&[7, 8][..], 0xc0));
}

#[test]
fn what_is_described_is_advertised_at_once_and_again_whoever_else_advertises() {
    let mut advertiser = Advertiser::default();
    advertiser.on(Manner::Described, ms(50));
    assert_eq!(advertiser.due(), Some(ms(50)));
    advertiser.sent();
    assert_eq!(advertiser.due(), Some(ms(50) + INTERVAL));
    advertiser.other_heard(ms(60));
    advertiser.solicited(ms(70));
    assert_eq!(advertiser.due(), Some(ms(50) + GAP));
    advertiser.on(Manner::Empty, ms(80));
    advertiser.solicited(ms(90));
    assert_eq!(advertiser.due(), None, "and then another router is left alone");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_ignored_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
    }
}
