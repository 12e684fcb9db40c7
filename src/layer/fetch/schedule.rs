//! Which source to ask next, and when to stop asking.
//!
//! Pure: time in milliseconds and the jitter's seed are values given in. Sources stand in the order of preference (parent
//! first). The first that is neither excluded nor resting is tried; one that fails rests for a backoff that doubles; one
//! that is busy rests for as long as it asked; one without the image, or that altered it twice, is excluded.
//! Invariant: without a success in between, the answer becomes [`Next::GiveUp`] after a bounded number of failures.

/// How often a source may deliver altered bytes before it is excluded.
pub const ALTERED_MAX: u32 = 2;
/// How many times in a row, without a success, sources may answer that they are busy.
pub const BUSY_MAX: u32 = 256;
/// The longest rest that a busy source can ask for.
pub const BUSY_REST_MAX_MS: u64 = 60_000;

/// How long to rest, and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Failures in a row, over all sources, after which the fetch is given up.
    pub failures_max: u32,
    /// Rest after a source's first failure.
    pub backoff_min_ms: u64,
    /// Longest rest after failures.
    pub backoff_max_ms: u64,
    /// Different on every node, so that a thousand nodes do not come back in the same instant.
    pub jitter_seed: u64,
}

/// How an attempt failed, as far as the schedule cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Refused, cut, late: may pass.
    Transient,
    /// The source asked to come back later.
    Busy {
        /// In this time.
        retry_after_ms: u64,
    },
    /// The bytes were not those of the digest.
    Altered,
    /// The source does not have it.
    Absent,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask the source at this position.
    Try(usize),
    /// All rest; ask again after this time, at least 1.
    WaitMs(u64),
    /// No more.
    GiveUp,
}

#[derive(Debug, Clone, Default)]
struct Source {
    rests_until_ms: u64,
    failures: u32,
    altered: u32,
    excluded: bool,
}

/// The state of all sources of one fetch.
#[derive(Debug, Clone)]
pub struct Schedule {
    pace: Pace,
    sources: Vec<Source>,
    failures_in_a_row: u32,
    busy_in_a_row: u32,
}

impl Schedule {
    /// `count` sources, none tried yet.
    pub fn new(count: usize, pace: Pace) -> Self {
        Self { pace, sources: vec![Source::default(); count], failures_in_a_row: 0, busy_in_a_row: 0 }
    }

    /// What to do at `now_ms`.
    pub fn next(&self, now_ms: u64) -> Next {
        if self.failures_in_a_row >= self.pace.failures_max || self.busy_in_a_row >= BUSY_MAX {
            return Next::GiveUp;
        }
        let usable = || self.sources.iter().enumerate().filter(|(_, source)| !source.excluded);
        if let Some((index, _)) = usable().find(|(_, source)| source.rests_until_ms <= now_ms) {
            return Next::Try(index);
        }
        match usable().map(|(_, source)| source.rests_until_ms).min() {
            Some(until_ms) => Next::WaitMs(until_ms.saturating_sub(now_ms).max(1)),
            None => Next::GiveUp,
        }
    }

    /// The source at `index` delivered what it should.
    pub fn succeeded(&mut self, index: usize) {
        self.failures_in_a_row = 0;
        self.busy_in_a_row = 0;
        if let Some(source) = self.sources.get_mut(index) {
            source.failures = 0;
            source.rests_until_ms = 0;
        }
    }

    /// The source at `index` failed at `now_ms`.
    pub fn failed(&mut self, index: usize, failure: Failure, now_ms: u64) {
        let pace = self.pace;
        let Some(source) = self.sources.get_mut(index) else { return };
        let mut rest = |source: &mut Source| {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            source.failures = source.failures.saturating_add(1);
            let doubled = pace.backoff_min_ms.saturating_mul(1_u64 << (source.failures - 1).min(32));
            jittered(doubled.min(pace.backoff_max_ms), pace.jitter_seed, source.failures)
        };
        let rest_ms = match failure {
            Failure::Transient => rest(source),
            Failure::Altered => {
                source.altered = source.altered.saturating_add(1);
                source.excluded |= source.altered >= ALTERED_MAX;
                rest(source)
            }
            Failure::Absent => {
                source.excluded = true;
                0
            }
            Failure::Busy { retry_after_ms } => {
                self.busy_in_a_row = self.busy_in_a_row.saturating_add(1);
                let asked_ms = retry_after_ms.min(BUSY_REST_MAX_MS);
                // Never before the time that was asked for; spread over the same time again.
                asked_ms.saturating_add(jittered(asked_ms, pace.jitter_seed, self.busy_in_a_row) / 2).max(1)
            }
        };
        source.rests_until_ms = source.rests_until_ms.max(now_ms.saturating_add(rest_ms));
    }
}

/// Between half of `base_ms` and all of it, the same for the same seed and turn (splitmix64).
fn jittered(base_ms: u64, seed: u64, turn: u32) -> u64 {
    let mut mixed = seed.wrapping_add(u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let half_ms = base_ms / 2;
    half_ms.saturating_add(mixed % half_ms.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace { failures_max: 6, backoff_min_ms: 100, backoff_max_ms: 1000, jitter_seed: 7 };

    #[test]
    fn the_parent_is_asked_first_and_again_after_its_rest() {
        let mut schedule = Schedule::new(2, PACE);
        assert_eq!(schedule.next(0), Next::Try(0));
        schedule.failed(0, Failure::Transient, 0);
        assert_eq!(schedule.next(0), Next::Try(1));
        assert_eq!(schedule.next(100), Next::Try(0));
    }

    #[test]
    fn a_busy_source_is_not_asked_before_the_time_it_named() {
        let mut schedule = Schedule::new(1, PACE);
        schedule.failed(0, Failure::Busy { retry_after_ms: 3000 }, 0);
        assert!(matches!(schedule.next(2999), Next::WaitMs(_)));
        assert_eq!(schedule.next(4500), Next::Try(0));
    }

    #[test]
    fn a_source_without_the_image_is_not_asked_again() {
        let mut schedule = Schedule::new(2, PACE);
        schedule.failed(0, Failure::Absent, 0);
        assert_eq!(schedule.next(0), Next::Try(1));
        schedule.failed(1, Failure::Absent, 0);
        assert_eq!(schedule.next(u64::MAX), Next::GiveUp);
    }

    fn failures() -> impl Strategy<Value = Failure> {
        prop_oneof![
            Just(Failure::Transient),
            Just(Failure::Altered),
            Just(Failure::Absent),
            any::<u64>().prop_map(|retry_after_ms| Failure::Busy { retry_after_ms }),
        ]
    }

    proptest! {
        #[test]
        fn failures_alone_always_end(count in 0_usize..5, seed: u64, all in prop::collection::vec(failures(), 300)) {
            let mut schedule = Schedule::new(count, Pace { jitter_seed: seed, ..PACE });
            let (mut now_ms, mut turns) = (0_u64, 0);
            let mut all = all.into_iter().cycle();
            loop {
                match schedule.next(now_ms) {
                    Next::Try(index) => schedule.failed(index, all.next().unwrap(), now_ms),
                    Next::WaitMs(ms) => {
                        prop_assert!((1..=BUSY_REST_MAX_MS * 2).contains(&ms));
                        now_ms = now_ms.saturating_add(ms);
                    }
                    Next::GiveUp => break,
                }
                turns += 1;
                prop_assert!(turns < 2000);
            }
        }

        #[test]
        fn a_wait_that_was_kept_leads_to_a_try(seed: u64, fails in 1_u32..5) {
            let mut schedule = Schedule::new(1, Pace { jitter_seed: seed, ..PACE });
            for _ in 0..fails {
                schedule.failed(0, Failure::Transient, 0);
            }
            match schedule.next(0) {
                Next::WaitMs(ms) => prop_assert_eq!(schedule.next(ms), Next::Try(0)),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
