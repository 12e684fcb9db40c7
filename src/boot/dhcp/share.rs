//! What unknown machines may take of the server.
//!
//! Purpose: a machine that is no node and has no lease is answered as long as there are not too many of them, so that whoever makes
//! up hardware addresses cannot keep nodes waiting. Pure; time is given.
//!
//! Deliberately absent: a share for each machine. A hardware address costs its maker nothing, so counting by it bounds nothing.

use std::time::{Duration, Instant};

/// New unknown machines that one interface answers in a second, over a longer time.
pub const STRANGERS_PER_S: u32 = 500;
/// New unknown machines that it answers at once after a quiet time: a rack that is switched on for the first time.
pub const STRANGERS_AT_ONCE: u32 = 2_000;

/// How many more unknown machines are answered now.
#[derive(Debug)]
pub(super) struct Share {
    left: u32,
    /// Until when what is left was counted.
    counted: Instant,
}

impl Share {
    pub(super) fn new(now: Instant) -> Self {
        Share { left: STRANGERS_AT_ONCE, counted: now }
    }

    /// Whether one more is answered.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted);
        let more = passed.as_millis().saturating_mul(STRANGERS_PER_S.into()) / 1_000;
        if let Some(more) = u32::try_from(more.min(STRANGERS_AT_ONCE.into())).ok().filter(|more| *more > 0) {
            self.left = self.left.saturating_add(more).min(STRANGERS_AT_ONCE);
            // What is less than one machine's share stays to be counted.
            self.counted += Duration::from_millis(u64::from(more) * 1_000 / u64::from(STRANGERS_PER_S));
            if self.left == STRANGERS_AT_ONCE {
                self.counted = now;
            }
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rack_is_answered_at_once_and_a_flood_at_its_rate() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let taken = |share: &mut Share, now| (0..10_000).filter(|_| share.take(now)).count();
        assert_eq!(taken(&mut share, start), 2_000);
        assert_eq!(taken(&mut share, start), 0);
        assert_eq!(taken(&mut share, start + Duration::from_secs(1)), 500);
        assert_eq!(taken(&mut share, start + Duration::from_millis(1_001)), 0);
        assert_eq!(taken(&mut share, start + Duration::from_millis(1_002)), 1);
        assert_eq!(taken(&mut share, start + Duration::from_secs(3_600)), 2_000);
    }
}
