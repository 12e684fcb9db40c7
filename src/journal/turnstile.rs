//! Whose turn it is to write: SQLite has one writer at a time and lets whoever looks first go first, so an engine that
//! writes without a pause would keep the keeper out for ever. Here they take turns, in the order in which they came.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A lock that is given in the order in which it was asked for.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    numbers: Mutex<Numbers>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Numbers {
    /// The number that the next one gets.
    next: u64,
    /// The number whose turn it is.
    current: u64,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turnstile);

impl Turnstile {
    /// Waits for one's turn.
    pub(super) fn turn(&self) -> Turn<'_> {
        let mut numbers = self.numbers();
        let own = numbers.next;
        numbers.next += 1;
        while numbers.current != own {
            numbers = self.moved.wait(numbers).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
    }

    /// How many turns were asked for.
    #[cfg(test)]
    pub(super) fn asked(&self) -> u64 {
        self.numbers().next
    }

    /// Two numbers are whole whatever happened to who held them.
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.numbers().current += 1;
        self.0.moved.notify_all();
    }
}
