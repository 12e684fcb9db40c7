//! Lines on their way to the parent: the agent's own, and those of the images that run.
//!
//! Invariants: adding a line never waits; beyond [`LINES_MAX`] the oldest are lost, and counted. A line is one line,
//! whatever it holds, and bounded.
//! Deliberately absent: the local console (`console`), where images' lines do not go: a serial line is slower than a
//! talkative service, and the agent must not wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::console::one_line;

/// Lines that wait for a parent; at this bound the oldest is dropped and counted.
pub const LINES_MAX: usize = 512;

/// Lines that wait. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    dropped: u64,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The queue is whole between any two statements, so a panic elsewhere does not spoil it.
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    pub fn push(&self, line: &str) {
        let mut waiting = self.lock();
        if waiting.lines.len() >= LINES_MAX {
            waiting.lines.pop_front();
            waiting.dropped = waiting.dropped.saturating_add(1);
        }
        waiting.lines.push_back(one_line(line));
        drop(waiting);
        self.inner.wake.notify_one();
    }

    /// Takes in that lines were lost before they came here.
    pub fn lost(&self, count: u64) {
        let mut waiting = self.lock();
        waiting.dropped = waiting.dropped.saturating_add(count);
    }

    /// Waits until there are lines. For one caller at a time; dropping the future loses nothing.
    pub async fn waiting(&self) {
        while self.lock().lines.is_empty() {
            self.inner.wake.notified().await;
        }
    }

    /// Takes up to `most` lines, oldest first, and how many were lost before them.
    #[must_use]
    pub fn take(&self, most: usize) -> (Vec<String>, u64) {
        let mut waiting = self.lock();
        let count = most.min(waiting.lines.len());
        let lines = waiting.lines.drain(..count).collect();
        (lines, std::mem::take(&mut waiting.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_are_lost_and_counted() {
        let lines = Lines::default();
        for n in 0..LINES_MAX + 3 {
            lines.push(&format!("line {n}"));
        }
        lines.lost(4);
        let (taken, dropped) = lines.take(2);
        assert_eq!((taken, dropped), (vec!["line 3".to_owned(), "line 4".to_owned()], 7));
        assert_eq!(lines.take(LINES_MAX).0.len(), LINES_MAX - 2);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_line() {
        let lines = Lines::default();
        let (waiting, ()) = tokio::join!(lines.waiting(), async { lines.push("a\nb") });
        assert_eq!((waiting, lines.take(9).0), ((), vec!["a\\nb".to_owned()]));
    }
}
