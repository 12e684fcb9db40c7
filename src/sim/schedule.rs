//! What is going to happen, in order of virtual time; what is due at the same time happens in the order in which it was
//! scheduled, so that a run is the same each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by time.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// Events apart from their times: what the heap moves about stays small.
    events: Vec<Option<E>>,
    free: Vec<usize>,
    scheduled: u64,
}

impl<E> Schedule<E> {
    pub(super) fn new() -> Self {
        Schedule { order: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), scheduled: 0 }
    }

    /// Lets `event` happen at `at_ms`.
    pub(super) fn at(&mut self, at_ms: u64, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.events.get_mut(slot) {
                    *place = Some(event);
                }
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.scheduled += 1;
        self.order.push(Reverse((at_ms, self.scheduled, slot)));
    }

    /// When the next event happens.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((at_ms, ..))| *at_ms)
    }

    /// Takes the next event.
    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at_ms, _, slot)) = self.order.pop()?;
        let event = self.events.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some((at_ms, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_in_which_they_were_scheduled() {
        let mut schedule = Schedule::new();
        for (at_ms, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            schedule.at(at_ms, name);
        }
        assert_eq!(schedule.pop(), Some((1, "a")));
        schedule.at(5, "e");
        assert_eq!(schedule.next_ms(), Some(2));
        let rest: Vec<&str> = std::iter::from_fn(|| schedule.pop()).map(|(_, name)| name).collect();
        assert_eq!(rest, ["b", "c", "d", "e"]);
    }
}
