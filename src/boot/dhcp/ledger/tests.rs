//! Who gets which address, and that it is found quickly.

use super::*;
use crate::fact::{BootClient, DhcpEvent, DhcpFact, Fact, Stamped};
use crate::model::FactSeq;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn mac(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([2, 0, 0, 0, high, low])
}

fn network(from: Ipv4Addr, to: Ipv4Addr) -> NetworkSpec {
    let subnet = "10.0.0.0/8".parse().expect("a network");
    let ranges = vec![AddressRange::new(from, to)];
    NetworkSpec { ranges, ..NetworkSpec::new("boot".parse().expect("a name"), subnet) }
}

fn small() -> NetworkSpec {
    network(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 4))
}

fn event(state: &mut State, mac: Mac, at: UnixMs, event: DhcpEvent) {
    let told = Default::default();
    let fact = Fact::Dhcp(DhcpFact { mac, node: None, client: BootClient::Other, event, told });
    state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at, fact });
}

fn lease(state: &mut State, mac: Mac, ip: Ipv4Addr, at: UnixMs) {
    event(state, mac, at, DhcpEvent::Leased { ip, lease_s: 60, file: None });
}

fn ask(ledger: &mut Ledger, state: &State, network: &NetworkSpec, mac: Mac, now: u64) -> Option<Ipv4Addr> {
    let ranges: Vec<&AddressRange> = network.ranges.iter().collect();
    ledger.address_for(&Need { state, network, ranges: &ranges, mac, wanted: None, avoid: &[], now: UnixMs(now) })
}

#[test]
fn a_machine_is_offered_the_same_address_again_and_two_machines_never_the_same() {
    let (mut ledger, state, network) = (Ledger::default(), State::default(), small());
    let offered: Vec<_> = (0..4).map(|number| ask(&mut ledger, &state, &network, mac(number), 0)).collect();
    assert_eq!(offered.iter().flatten().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(ask(&mut ledger, &state, &network, mac(0), 1), offered[0]);
    assert_eq!(ask(&mut ledger, &state, &network, mac(9), 1), None, "all four are offered");
    assert!(ask(&mut ledger, &state, &network, mac(9), OFFER_MS + 2).is_some(), "the offers are over");
}

#[test]
fn a_machine_that_comes_back_after_its_lease_gets_its_address_unless_another_needed_it() {
    let (mut ledger, mut state, network) = (Ledger::default(), State::default(), small());
    let first = ask(&mut ledger, &state, &network, mac(1), 0).expect("one is free");
    lease(&mut state, mac(1), first, UnixMs(0));
    let long_after = 1_000_000;
    for number in 2..5 {
        let ip = ask(&mut ledger, &state, &network, mac(number), long_after).expect("one is free");
        assert_ne!(ip, first, "addresses that nobody had go first");
        lease(&mut state, mac(number), ip, UnixMs(long_after));
    }
    assert_eq!(ask(&mut ledger, &state, &network, mac(1), long_after), Some(first));
    let later = long_after + 2 * OFFER_MS;
    assert_eq!(ask(&mut ledger, &state, &network, mac(7), later), Some(first), "no other is over");
}

#[test]
fn an_address_that_was_declined_is_not_offered() {
    let (mut ledger, mut state, network) = (Ledger::default(), State::default(), small());
    let first = ask(&mut ledger, &state, &network, mac(1), 0).expect("one is free");
    event(&mut state, mac(1), UnixMs(0), DhcpEvent::Declined { ip: first });
    let later = 2 * OFFER_MS;
    let others: BTreeSet<_> = (1..9).filter_map(|m| ask(&mut ledger, &state, &network, mac(m), later)).collect();
    assert_eq!(others.len(), 3);
    assert!(!others.contains(&first));
}

#[test]
fn sixty_five_thousand_machines_get_an_address_each_and_the_next_one_none() {
    let (mut ledger, mut state) = (Ledger::default(), State::default());
    let network = network(Ipv4Addr::new(10, 1, 0, 0), Ipv4Addr::new(10, 1, 255, 254));
    for number in 0..u16::MAX {
        let ip = ask(&mut ledger, &state, &network, mac(number), 0).expect("one is free");
        lease(&mut state, mac(number), ip, UnixMs(0));
    }
    assert_eq!(state.leases.len(), 65_535);
    assert_eq!(ask(&mut ledger, &state, &network, mac(u16::MAX), 1), None);
    assert_eq!(ask(&mut ledger, &state, &network, mac(u16::MAX), 1), None);
}

proptest! {
    #[test]
    fn the_set_gives_what_was_put_in_from_the_least_to_the_greatest(numbers in prop::collection::btree_set(0u32..5_000, 0..80), gone in prop::collection::btree_set(0u32..5_000, 0..80)) {
        let mut set = FreeSet::empty(5_000);
        numbers.iter().for_each(|number| set.insert(*number));
        gone.iter().for_each(|number| set.remove(*number));
        let popped: Vec<u32> = std::iter::from_fn(|| set.pop_first()).collect();
        prop_assert_eq!(popped, numbers.difference(&gone).copied().collect::<Vec<_>>());
        prop_assert!(set.is_empty());
    }
}
