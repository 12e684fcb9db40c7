//! How many facts one sender may cause: a flood of bad packets fills neither the journal nor the queue to the engine,
//! and does not hide what another machine has to say.
//!
//! Pure: time is passed in, in milliseconds of any clock that does not go back. Each sender has a bucket of
//! [`Rate::burst`] tokens that fills by one in [`Rate::refill_ms`], and all senders share one more.
//!
//! Invariants: at most [`SENDERS_MAX`] senders are remembered; the one that was seen longest ago goes first. What was
//! held back is counted, and the count is told with the next that passes.
//!
//! Deliberately absent: what is paced.

use std::collections::HashMap;
use std::net::IpAddr;

/// Senders remembered; the one that was seen longest ago is forgotten first, and begins anew with a full bucket.
pub const SENDERS_MAX: usize = 1_024;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How often in a row.
    pub burst: u32,
    /// After how many milliseconds once more.
    pub refill_ms: u64,
}

/// Whether something may happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may; this many were held back since the last that passed.
    Pass {
        /// How many.
        held_back: u64,
    },
    /// It may not.
    Hold,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    filled_ms: u64,
}

impl Bucket {
    fn full(rate: Rate, now_ms: u64) -> Self {
        Bucket { tokens: rate.burst, filled_ms: now_ms }
    }

    fn fill(&mut self, rate: Rate, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        let gained = elapsed_ms.checked_div(rate.refill_ms).unwrap_or(u64::from(rate.burst));
        self.tokens = self.tokens.saturating_add(u32::try_from(gained).unwrap_or(u32::MAX)).min(rate.burst);
        // What is left of an interval counts for the next token.
        let rest_ms = elapsed_ms.checked_rem(rate.refill_ms).unwrap_or(0);
        self.filled_ms = now_ms.saturating_sub(rest_ms).max(self.filled_ms);
    }
}

/// The buckets.
#[derive(Debug)]
pub struct Pace {
    each: Rate,
    all: Rate,
    senders: HashMap<IpAddr, (Bucket, u64)>,
    shared: Option<Bucket>,
    held_back: u64,
}

impl Pace {
    /// Full buckets: `each` for one sender, `all` for all together.
    #[must_use]
    pub fn new(each: Rate, all: Rate) -> Self {
        Pace { each, all, senders: HashMap::new(), shared: None, held_back: 0 }
    }

    /// Whether `sender` may at `now_ms`.
    pub fn judge(&mut self, sender: IpAddr, now_ms: u64) -> Verdict {
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&sender) {
            let oldest = self.senders.iter().min_by_key(|(_, (_, seen_ms))| *seen_ms).map(|(oldest, _)| *oldest);
            if let Some(oldest) = oldest {
                self.senders.remove(&oldest);
            }
        }
        let (each, all) = (self.each, self.all);
        let (own, seen_ms) = self.senders.entry(sender).or_insert_with(|| (Bucket::full(each, now_ms), now_ms));
        let shared = self.shared.get_or_insert_with(|| Bucket::full(all, now_ms));
        *seen_ms = now_ms;
        own.fill(each, now_ms);
        shared.fill(all, now_ms);
        match (own.tokens.checked_sub(1), shared.tokens.checked_sub(1)) {
            (Some(own_left), Some(shared_left)) => {
                (own.tokens, shared.tokens) = (own_left, shared_left);
                Verdict::Pass { held_back: std::mem::take(&mut self.held_back) }
            }
            _ => {
                self.held_back = self.held_back.saturating_add(1);
                Verdict::Hold
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sender(host: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, host])
    }

    fn pace() -> Pace {
        Pace::new(Rate { burst: 2, refill_ms: 100 }, Rate { burst: 5, refill_ms: 10 })
    }

    #[test]
    fn a_flood_passes_as_its_burst_and_then_at_its_rate_and_what_was_held_back_is_told() {
        let mut pace = pace();
        let verdicts: Vec<Verdict> = (0..5).map(|_| pace.judge(sender(1), 1_000)).collect();
        let pass = Verdict::Pass { held_back: 0 };
        assert_eq!(verdicts, [pass, pass, Verdict::Hold, Verdict::Hold, Verdict::Hold]);
        assert_eq!(pace.judge(sender(1), 1_099), Verdict::Hold);
        assert_eq!(pace.judge(sender(1), 1_100), Verdict::Pass { held_back: 4 });
    }

    #[test]
    fn one_senders_flood_holds_back_nobody_else() {
        let mut pace = pace();
        for _ in 0..1_000 {
            pace.judge(sender(1), 0);
        }
        assert!(matches!(pace.judge(sender(2), 0), Verdict::Pass { .. }));
    }

    proptest! {
        #[test]
        fn however_many_senders_there_are_the_table_and_the_whole_stay_bounded(
            steps in prop::collection::vec((any::<u32>(), 0u64..50), 0..3_000),
        ) {
            let mut pace = pace();
            let (mut now_ms, mut passed) = (0, 0u64);
            for (host, later_ms) in steps {
                now_ms += later_ms;
                passed += u64::from(pace.judge(IpAddr::from(host.to_be_bytes()), now_ms) != Verdict::Hold);
                prop_assert!(pace.senders.len() <= SENDERS_MAX);
            }
            prop_assert!(passed <= 5 + now_ms / 10);
        }
    }
}
