//! Which session sequence numbers of the BMC were seen already.
//!
//! Pure. Invariants: a number is accepted at most once; 0 never; numbers further back than the window never. Any jump forward
//! is accepted, wider than the specification's +15, because lost datagrams must not end a session and every number that
//! comes here was under the integrity check.
//! Specification: IPMI v2.0 rev 1.1, section 6.12.13.

/// How far back a number that arrives late may lie.
const BACKWARD: u32 = 16;

/// The highest number seen, and the numbers just below it.
#[derive(Debug, Default)]
pub(super) struct Window {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u32,
}

impl Window {
    /// Notes `sequence`; false when it is to be dropped.
    pub(super) fn accept(&mut self, sequence: u32) -> bool {
        if sequence == 0 {
            return false;
        }
        match sequence.checked_sub(self.highest) {
            Some(ahead) if ahead > 0 => {
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = sequence;
                true
            }
            _ => {
                let behind = self.highest.saturating_sub(sequence);
                let bit = 1u32.checked_shl(behind).unwrap_or(0);
                let fresh = behind < BACKWARD && self.seen & bit == 0;
                self.seen |= bit;
                fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_late_number_is_accepted_once_inside_the_window_and_never_outside() {
        let mut window = Window::default();
        assert!(window.accept(20));
        assert!(window.accept(19));
        assert!(!window.accept(19));
        assert!(!window.accept(20));
        assert!(window.accept(5));
        assert!(!window.accept(4));
        assert!(!window.accept(0));
    }

    proptest! {
        #[test]
        fn no_number_is_ever_accepted_twice(numbers in prop::collection::vec(0u32..60, 0..200)) {
            let mut window = Window::default();
            let mut accepted = HashSet::new();
            for number in numbers {
                if window.accept(number) {
                    prop_assert!(accepted.insert(number));
                }
            }
        }
    }
}
