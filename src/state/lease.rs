//! Addresses given to machines that are no node, and addresses that are given to nobody for a while.
//!
//! A node's lease is with the node: its address is its own whether or not it has asked for it. What is here is folded from
//! DHCP's facts and an operator's alone, so it is there again after a restart.
//!
//! Invariants: a machine (a hardware address) has one lease, and an address has one; the three maps tell the same. A lease
//! that has ended stays until its address is given to another machine, so that the machine gets it again.
//!
//! Absent on purpose: which address is given next (`boot::dhcp`).

use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::fact::{BootClient, DhcpEvent, DhcpFact, Told};
use crate::model::limits::LEASES_MAX;
use crate::model::{Mac, UnixMs};

/// How long an address that is in use by an unknown machine is given to nobody, in milliseconds.
pub const QUARANTINE_MS: u64 = 86_400_000;

/// What is given, and what must not be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Leases {
    /// Leases by address.
    by_ip: OrdMap<Ipv4Addr, Arc<MachineLease>>,
    /// Addresses by the machine that has them.
    by_mac: OrdMap<Mac, Ipv4Addr>,
    /// Addresses by the end of their lease.
    by_end: OrdSet<(UnixMs, Ipv4Addr)>,
    /// Until when an address is given to nobody.
    quarantined: OrdMap<Ipv4Addr, UnixMs>,
}

/// An address given to a machine that is no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLease {
    /// The address.
    pub ip: Ipv4Addr,
    /// The machine.
    pub mac: Mac,
    /// When it was first given to it without a pause.
    pub since: UnixMs,
    /// When it was last given.
    pub at: UnixMs,
    /// When it ends.
    pub until: UnixMs,
    /// What asked.
    pub client: BootClient,
    /// What the machine said of itself.
    pub told: Box<Told>,
}

impl MachineLease {
    /// Whether it is over.
    #[must_use]
    pub fn has_ended(&self, now: UnixMs) -> bool {
        self.until <= now
    }
}

impl Leases {
    /// All leases, by address, those that have ended too.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<MachineLease>> {
        self.by_ip.values()
    }

    /// Leases of addresses from `from` to `to`.
    pub fn within(&self, from: Ipv4Addr, to: Ipv4Addr) -> impl Iterator<Item = &Arc<MachineLease>> {
        self.by_ip.range(from..=to).map(|(_, lease)| lease)
    }

    /// How many leases are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_ip.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_ip.is_empty()
    }

    /// The lease of an address.
    #[must_use]
    pub fn of_ip(&self, ip: Ipv4Addr) -> Option<&Arc<MachineLease>> {
        self.by_ip.get(&ip)
    }

    /// The lease of a machine.
    #[must_use]
    pub fn of_mac(&self, mac: Mac) -> Option<&Arc<MachineLease>> {
        self.by_ip.get(self.by_mac.get(&mac)?)
    }

    /// Whether a further machine can have a lease.
    #[must_use]
    pub fn has_room(&self, now: UnixMs) -> bool {
        self.len() < LEASES_MAX || self.by_end.get_min().is_some_and(|(until, _)| *until <= now)
    }

    /// Addresses that are given to nobody, and until when.
    pub fn quarantined(&self) -> impl Iterator<Item = (Ipv4Addr, UnixMs)> {
        self.quarantined.iter().map(|(ip, until)| (*ip, *until))
    }

    /// Whether the address is given to nobody.
    #[must_use]
    pub fn is_quarantined(&self, ip: Ipv4Addr, now: UnixMs) -> bool {
        self.quarantined.get(&ip).is_some_and(|until| *until > now)
    }

    pub(super) fn apply(&mut self, at: UnixMs, fact: &DhcpFact) {
        match &fact.event {
            DhcpEvent::Leased { ip, lease_s, .. } => self.give(at, fact, *ip, *lease_s),
            DhcpEvent::Released { ip } => self.end(at, *ip, fact.mac),
            DhcpEvent::Declined { ip } => self.quarantine(*ip, at),
            DhcpEvent::Offered { .. } | DhcpEvent::Refused { .. } | DhcpEvent::Ignored { .. } => {}
        }
    }

    fn give(&mut self, at: UnixMs, fact: &DhcpFact, ip: Ipv4Addr, lease_s: u32) {
        let mac = fact.mac;
        let before = self.by_mac.get(&mac).copied();
        let kept = before.filter(|before| *before == ip).and_then(|ip| self.by_ip.get(&ip));
        let since = kept.filter(|kept| !kept.has_ended(at)).map_or(at, |kept| kept.since);
        if let Some(before) = before {
            self.forget(before);
        }
        self.forget(ip);
        if self.len() >= LEASES_MAX
            && let Some((_, oldest)) = self.by_end.get_min().copied()
        {
            self.forget(oldest);
        }
        let until = at.plus(u64::from(lease_s) * 1000);
        let lease = MachineLease { ip, mac, since, at, until, client: fact.client, told: fact.told.clone() };
        self.by_ip.insert(ip, Arc::new(lease));
        self.by_mac.insert(mac, ip);
        self.by_end.insert((until, ip));
        self.quarantined.remove(&ip);
    }

    fn end(&mut self, at: UnixMs, ip: Ipv4Addr, mac: Mac) {
        let Some(lease) = self.by_ip.get_mut(&ip).filter(|lease| lease.mac == mac) else { return };
        let lease = Arc::make_mut(lease);
        self.by_end.remove(&(lease.until, ip));
        lease.until = lease.until.min(at);
        self.by_end.insert((lease.until, ip));
    }

    /// The machine is heard at its address without asking for it again: its lease goes on for as long again as it was given.
    pub(super) fn keep(&mut self, at: UnixMs, mac: Mac) {
        let Some(lease) = self.by_mac.get(&mac).and_then(|ip| self.by_ip.get_mut(ip)) else { return };
        let lease = Arc::make_mut(lease);
        let until = at.plus(lease.until.since(lease.at));
        self.by_end.remove(&(lease.until, lease.ip));
        (lease.at, lease.until) = (at, until);
        self.by_end.insert((until, lease.ip));
    }

    /// The address is given to nobody for [`QUARANTINE_MS`].
    pub(super) fn quarantine(&mut self, ip: Ipv4Addr, at: UnixMs) {
        self.forget(ip);
        self.quarantined.insert(ip, at.plus(QUARANTINE_MS));
        let over: Vec<Ipv4Addr> = self.quarantined().filter(|(_, until)| *until <= at).map(|(ip, _)| ip).collect();
        for ip in over {
            self.quarantined.remove(&ip);
        }
    }

    /// The address can be given to any machine again.
    pub(super) fn forget(&mut self, ip: Ipv4Addr) {
        if let Some(lease) = self.by_ip.remove(&ip) {
            self.by_end.remove(&(lease.until, ip));
            self.by_mac.remove(&lease.mac);
        }
    }

    /// An operator ends a lease, or lets an address be given again.
    pub(super) fn release(&mut self, ip: Ipv4Addr) {
        self.forget(ip);
        self.quarantined.remove(&ip);
    }

    /// The machine has become a node: its address is free.
    pub(super) fn forget_mac(&mut self, mac: Mac) {
        if let Some(ip) = self.by_mac.get(&mac).copied() {
            self.forget(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fact(mac: u8, event: DhcpEvent) -> DhcpFact {
        DhcpFact {
            mac: Mac([2, 0, 0, 0, 0, mac]),
            node: None,
            client: BootClient::Other,
            event,
            told: Default::default(),
        }
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn leased(last: u8) -> DhcpEvent {
        DhcpEvent::Leased { ip: ip(last), lease_s: 60, file: None }
    }

    #[test]
    fn a_lease_goes_on_for_as_long_as_its_machine_is_heard() {
        let mut leases = Leases::default();
        leases.apply(UnixMs(0), &fact(1, leased(9)));
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        leases.keep(UnixMs(50_000), mac);
        let lease = leases.of_mac(mac).expect("it is kept");
        assert_eq!((lease.at, lease.until), (UnixMs(50_000), UnixMs(110_000)));
        leases.keep(UnixMs(90_000), mac);
        assert_eq!(leases.of_mac(mac).map(|lease| lease.until), Some(UnixMs(150_000)));
        leases.keep(UnixMs(90_000), Mac([2, 0, 0, 0, 0, 2]));
        assert_eq!((leases.len(), leases.by_end.len()), (1, 1));
    }

    #[test]
    fn a_released_lease_is_over_and_its_machine_still_has_the_first_claim() {
        let mut leases = Leases::default();
        leases.apply(UnixMs(0), &fact(1, leased(9)));
        leases.apply(UnixMs(5), &fact(1, DhcpEvent::Released { ip: ip(9) }));
        let lease = leases.of_mac(Mac([2, 0, 0, 0, 0, 1])).expect("it is kept");
        assert!(lease.has_ended(UnixMs(5)));
        leases.apply(UnixMs(6), &fact(2, DhcpEvent::Released { ip: ip(9) }));
        assert_eq!(leases.of_ip(ip(9)).map(|l| l.until), Some(UnixMs(5)), "it is not another machine's to release");
    }

    #[test]
    fn a_declined_address_is_given_to_nobody_until_its_quarantine_is_over() {
        let mut leases = Leases::default();
        leases.apply(UnixMs(0), &fact(1, leased(9)));
        leases.apply(UnixMs(5), &fact(1, DhcpEvent::Declined { ip: ip(9) }));
        assert!(leases.of_ip(ip(9)).is_none() && leases.is_quarantined(ip(9), UnixMs(6)));
        assert!(!leases.is_quarantined(ip(9), UnixMs(5 + QUARANTINE_MS)));
        leases.release(ip(9));
        assert!(!leases.is_quarantined(ip(9), UnixMs(6)));
    }

    proptest! {
        #[test]
        fn whatever_happens_a_machine_has_one_address_and_an_address_one_machine(
            steps in prop::collection::vec((0..4u8, 0..4u8, 0..3u8), 0..60)
        ) {
            let mut leases = Leases::default();
            for (at, (mac, last, what)) in (0u64..).zip(steps) {
                let event = match what {
                    0 => leased(last),
                    1 => DhcpEvent::Released { ip: ip(last) },
                    _ => DhcpEvent::Declined { ip: ip(last) },
                };
                leases.apply(UnixMs(at), &fact(mac, event));
                prop_assert_eq!(leases.by_ip.len(), leases.by_mac.len());
                prop_assert_eq!(leases.by_ip.len(), leases.by_end.len());
                for lease in leases.iter() {
                    prop_assert_eq!(leases.by_mac.get(&lease.mac), Some(&lease.ip));
                    prop_assert!(leases.by_end.contains(&(lease.until, lease.ip)));
                }
            }
        }
    }
}
