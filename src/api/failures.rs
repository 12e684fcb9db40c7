//! Failed logins, counted by peer.
//!
//! A bucket for each peer: so many failures at once, then one at intervals. What is over is answered without a line in
//! the log, so that a script with an old token fills neither the log nor the table. A token that is right is let in
//! whatever its peer did before: nobody guesses 256 random bits, and users of one machine must not lock each other out.
//! Invariant: at most [`API_PEERS_MAX`] peers are remembered. Pure: time is passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::model::UnixMs;
use crate::model::limits::API_PEERS_MAX;

/// Failures that a peer may have at once.
const BURST: u64 = 10;
/// After so long one more failure is forgiven.
const FORGIVE_AFTER_MS: u64 = 6_000;

/// Failures by peer.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<IpAddr, UnixMs>);

/// What is answered to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// What was wrong.
    Tell,
    /// To come back after so many seconds.
    Wait {
        /// Seconds.
        after_s: u64,
    },
}

impl Failures {
    /// Counts a failure of `peer`.
    pub(super) fn count(&mut self, peer: IpAddr, now: UnixMs) -> Answer {
        let peer = who(peer);
        // The time at which the bucket is empty again stands for how full it is.
        let free_at = self.0.get(&peer).copied().unwrap_or(now).max(now);
        let full_ms = free_at.since(now);
        let over_ms = full_ms.saturating_sub((BURST - 1) * FORGIVE_AFTER_MS);
        if over_ms > 0 {
            return Answer::Wait { after_s: over_ms.div_ceil(1_000) };
        }
        if self.0.len() >= API_PEERS_MAX && !self.0.contains_key(&peer) {
            self.forget(now);
        }
        self.0.insert(peer, free_at.plus(FORGIVE_AFTER_MS));
        Answer::Tell
    }

    fn forget(&mut self, now: UnixMs) {
        self.0.retain(|_, free_at| *free_at > now);
        while self.0.len() >= API_PEERS_MAX {
            let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer) else { return };
            self.0.remove(&oldest);
        }
    }
}

/// One host of IPv6 has a whole network of addresses (RFC 4291, section 2.5.4).
fn who(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_peer_may_fail_a_few_times_and_then_once_in_a_while() {
        let mut failures = Failures::default();
        for _ in 0..BURST {
            assert_eq!(failures.count(peer(1), UnixMs(1_000)), Answer::Tell);
        }
        assert_eq!(failures.count(peer(1), UnixMs(1_000)), Answer::Wait { after_s: 6 });
        assert_eq!(failures.count(peer(1), UnixMs(6_500)), Answer::Wait { after_s: 1 });
        assert_eq!(failures.count(peer(2), UnixMs(6_500)), Answer::Tell, "another peer is not concerned");
        assert_eq!(failures.count(peer(1), UnixMs(7_000)), Answer::Tell);
        assert_eq!(failures.count(peer(1), UnixMs(7_000)), Answer::Wait { after_s: 6 });
    }

    #[test]
    fn a_peer_cannot_hide_among_the_addresses_of_its_network() {
        let mut failures = Failures::default();
        let address = |n: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + n));
        let told = (0..100).filter(|n| failures.count(address(*n), UnixMs(0)) == Answer::Tell).count();
        assert_eq!(told as u64, BURST);
    }

    #[test]
    fn so_many_peers_are_remembered_and_no_more() {
        let mut failures = Failures::default();
        for n in 0..u32::try_from(API_PEERS_MAX).unwrap() + 100 {
            failures.count(peer(n), UnixMs(u64::from(n / 1_000)));
        }
        assert_eq!(failures.0.len(), API_PEERS_MAX);
    }
}
