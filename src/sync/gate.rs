//! How much of something a peer may cause: a bucket of tokens that refills with time, which is passed in.
//!
//! Deliberately absent: waiting. Whoever is told that the bucket is empty drops and counts, or reads no more for a while.

/// A bucket of tokens.
#[derive(Debug, Clone)]
pub struct Gate {
    burst: u64,
    per_second: u64,
    /// Thousandths of a token, so that a millisecond's refill is a whole number.
    thousandths: u64,
    at_ms: u64,
}

impl Gate {
    /// A full bucket of `burst` tokens, which refills by `per_second`.
    #[must_use]
    pub fn new(burst: u64, per_second: u64, now_ms: u64) -> Self {
        Gate { burst, per_second, thousandths: burst.saturating_mul(1000), at_ms: now_ms }
    }

    /// Takes up to `wanted` tokens, and says how many there were.
    pub fn take(&mut self, now_ms: u64, wanted: u64) -> u64 {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let refill = passed_ms.saturating_mul(self.per_second);
        self.thousandths = self.thousandths.saturating_add(refill).min(self.burst.saturating_mul(1000));
        let taken = wanted.min(self.thousandths / 1000);
        self.thousandths = self.thousandths.saturating_sub(taken.saturating_mul(1000));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_its_rate_from_then_on() {
        let mut gate = Gate::new(10, 2, 0);
        assert_eq!(gate.take(0, 25), 10);
        assert_eq!(gate.take(400, 1), 0);
        assert_eq!(gate.take(500, 5), 1);
        assert_eq!(gate.take(1_000_000, 25), 10);
        assert_eq!(gate.take(5, 1), 0, "time that goes back gives nothing");
    }
}
