//! How long the client waits for a BMC, and how often it asks again.
//!
//! Pure. Invariants: every wait is between `first_wait_ms` and 1.25 × `longest_wait_ms`; the number of datagrams for one
//! exchange is bounded by `tries`. Deliberately not here: reading a clock, or drawing the jitter (a value handed in).
//! Specification: IPMI v2.0 rev 1.1, section 6.12.11 (retries) leaves the intervals to the console.

use std::time::Duration;

/// First wait for an answer. A BMC on a quiet LAN answers in 1–50 ms; a busy one takes up to a second.
pub const FIRST_WAIT_MS: u64 = 1_000;
/// The wait doubles at each try up to this bound.
pub const LONGEST_WAIT_MS: u64 = 4_000;
/// How many times one request is sent before the client gives up (1 + 2 + 4 + 4 + 4 s with the defaults).
pub const TRIES: u32 = 5;
/// Wait for the answer of a command that is sent only once, because doing it twice would harm.
pub const SINGLE_WAIT_MS: u64 = 15_000;
/// Wait for the answer to an optional question, after which the client goes on without it.
pub const OPTIONAL_WAIT_MS: u64 = 2_000;
/// How many times Close Session is sent. The BMC drops an idle session by itself after about 60 s.
pub const CLOSE_TRIES: u32 = 3;
/// How many times the handshake is begun again when the BMC has lost it half-way.
pub const HANDSHAKES: u32 = 2;

/// Waits and retry counts of one client. `Timing::default()` is the named constants of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// First wait for an answer, in milliseconds; it doubles at each try.
    pub first_wait_ms: u64,
    /// Upper bound of the doubling, in milliseconds.
    pub longest_wait_ms: u64,
    /// How many times a request that is safe to repeat is sent; 0 counts as 1.
    pub tries: u32,
    /// Wait for a command that is sent only once, in milliseconds.
    pub single_wait_ms: u64,
    /// Wait for an optional answer, in milliseconds.
    pub optional_wait_ms: u64,
    /// How many times Close Session is sent; 0 counts as 1.
    pub close_tries: u32,
    /// How many handshakes are tried when the BMC loses one half-way; 0 counts as 1.
    pub handshakes: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_wait_ms: FIRST_WAIT_MS,
            longest_wait_ms: LONGEST_WAIT_MS,
            tries: TRIES,
            single_wait_ms: SINGLE_WAIT_MS,
            optional_wait_ms: OPTIONAL_WAIT_MS,
            close_tries: CLOSE_TRIES,
            handshakes: HANDSHAKES,
        }
    }
}

impl Timing {
    /// The wait after the `sent`-th datagram (1 is the first). `jitter` adds up to a quarter, so that many clients which
    /// began together do not ask again together.
    pub fn wait(&self, sent: u32, jitter: u8) -> Duration {
        let doublings = sent.saturating_sub(1).min(32);
        let grown = self.first_wait_ms.saturating_mul(1u64 << doublings);
        let wait_ms = grown.min(self.longest_wait_ms.max(self.first_wait_ms));
        let extra_ms = wait_ms.saturating_mul(u64::from(jitter)) / 1024;
        Duration::from_millis(wait_ms.saturating_add(extra_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let timing = Timing::default();
        let waits: Vec<u128> = (1..=5).map(|sent| timing.wait(sent, 0).as_millis()).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 4_000, 4_000]);
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_bounds(first in 0u64..u64::MAX, longest in 0u64..u64::MAX, sent: u32, jitter: u8) {
            let timing = Timing { first_wait_ms: first, longest_wait_ms: longest, ..Timing::default() };
            let wait_ms = timing.wait(sent, jitter).as_millis();
            prop_assert!(wait_ms >= u128::from(first));
            prop_assert!(wait_ms <= u128::from(first.max(longest)) * 5 / 4 + 1);
        }
    }
}
