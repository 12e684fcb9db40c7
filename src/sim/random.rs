//! Random numbers out of a seed: the same seed and stream give the same numbers, on every machine and for ever.
//!
//! SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Each machine has a stream of its
//! own, so that what happens to one does not change what is drawn for another.
//! Deliberately absent: secrets. Whoever knows the seed knows every token of a simulation.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream with this number under `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Random(seed);
        let begin = mixed.draw() ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        let mut random = Random(begin);
        random.draw();
        random
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`, both inclusive.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        let span = u128::from(most.saturating_sub(least)) + 1;
        let offset = (u128::from(self.draw()) * span) >> 64;
        least.saturating_add(u64::try_from(offset).unwrap_or(0))
    }

    /// True with this probability. A probability of zero draws nothing, so that a fault that is switched off leaves the
    /// stream as it is.
    pub fn chance(&mut self, probability: f64) -> bool {
        const STEPS: f64 = (1_u64 << 53) as f64;
        probability > 0.0 && ((self.draw() >> 11) as f64 / STEPS) < probability
    }

    /// Random bytes.
    pub fn bytes<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        for chunk in bytes.chunks_mut(8) {
            let number = self.draw().to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(to, from)| *to = from);
        }
        bytes
    }

    /// A pause until something that happens `per_hour` times in an hour on average, in milliseconds: evenly between
    /// nothing and twice the mean. Nothing for a rate of zero.
    pub fn pause_ms(&mut self, per_hour: f64) -> Option<u64> {
        const HOUR_MS: f64 = 3_600_000.0;
        (per_hour > 0.0).then(|| {
            let most = (2.0 * HOUR_MS / per_hour).min(1e15) as u64;
            self.between(1, most.max(1))
        })
    }

    /// How long a piece of work takes, in milliseconds: usually between the two, for one in fifty up to three times that.
    pub fn work_ms(&mut self, least: u64, most: u64) -> u64 {
        let usual = self.between(least, most);
        if self.chance(0.02) { usual.saturating_mul(self.between(15, 30)) / 10 } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_what_its_seed_says_and_other_streams_differ() {
        let take = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..4).map(|_| random.draw()).collect::<Vec<u64>>()
        };
        assert_eq!(take(7, 1), take(7, 1));
        assert_ne!(take(7, 1), take(7, 2));
        assert_ne!(take(7, 1), take(8, 1));
        // Vigna's reference implementation, seed 1234567.
        assert_eq!(Random(1_234_567).draw(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut random = Random::new(1, 0);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.between(3, 7)).collect();
        assert!(drawn.iter().all(|n| (3..=7).contains(n)));
        assert!((3..=7).all(|n| drawn.contains(&n)));
        assert_eq!(random.between(9, 9), 9);
        assert!((0..100).all(|_| random.chance(1.0) && !random.chance(0.0)));
    }
}
