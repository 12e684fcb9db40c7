//! Tests of the messages and of when they are sent.

use std::time::Duration;

use proptest::prelude::*;

use super::codec::{Message, decode, empty_advertisement};
use super::session::{Advertiser, GAP, OTHER_ROUTER_FOR};

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

proptest! {
    #[test]
    fn any_bytes_are_read_or_ignored_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
    }
}
