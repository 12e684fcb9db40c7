//! How many images are on their way at once, and who is next.
//!
//! Purpose: a storm of clients that all want the same gigabytes finishes, one after another at full speed, rather than all
//! at once at a speed at which each gives up. Scripts, kernels, layer 0 and loaders do not come here: they never wait for
//! an image.
//!
//! Pure: a table of who is sent what; places are names of the caller's.
//!
//! Invariants:
//! - At most [`Bounds::transfers_max`] places are given, and at most [`Bounds::queue_max`] wait; who comes then is told
//!   when to come again.
//! - No place is free while somebody waits.
//! - Next is a client with the fewest places; of those, the one that has waited longest. So a client that opens many
//!   connections gets no more than one that opens one, and nobody waits for ever.
//!
//! Deliberately absent: how long anybody waits (`gate`), and whose bytes go first on the wire (the kernel's).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

/// How many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Images, or parts of them, that are sent at once.
    pub transfers_max: usize,
    /// Requests for more that wait.
    pub queue_max: usize,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has its place.
    Go,
    /// It waits; [`Admission::leave`] will name it.
    Wait,
    /// There is no room to wait.
    Full,
}

#[derive(Debug, Default)]
struct Client {
    running: usize,
    waiting: VecDeque<(u64, u64)>,
}

/// The table.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    running: usize,
    waiting: usize,
    turn: u64,
    clients: HashMap<IpAddr, Client>,
    /// Clients that wait, by the places they have, and when they came.
    order: BTreeSet<(usize, u64, IpAddr)>,
}

impl Admission {
    /// Nobody yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { transfers_max: bounds.transfers_max.max(1), ..bounds };
        Admission { bounds, running: 0, waiting: 0, turn: 0, clients: HashMap::new(), order: BTreeSet::new() }
    }

    /// A request of `client`, which the caller calls `name`; no two that are there have one name.
    pub fn ask(&mut self, client: IpAddr, name: u64) -> Verdict {
        if self.running < self.bounds.transfers_max {
            self.running = self.running.saturating_add(1);
            let entry = self.clients.entry(client).or_default();
            entry.running = entry.running.saturating_add(1);
            return Verdict::Go;
        }
        if self.waiting >= self.bounds.queue_max {
            return Verdict::Full;
        }
        self.turn = self.turn.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        let turn = self.turn;
        self.change(client, |entry| entry.waiting.push_back((turn, name)));
        Verdict::Wait
    }

    /// A place of `client` is free again. Names the request that gets it.
    #[must_use]
    pub fn leave(&mut self, client: IpAddr) -> Option<u64> {
        self.change(client, |entry| entry.running = entry.running.saturating_sub(1));
        self.running = self.running.saturating_sub(1);
        let (_, _, next) = self.order.first().copied()?;
        let (_, name) = self.change(next, |entry| {
            entry.running = entry.running.saturating_add(1);
            entry.waiting.pop_front()
        })?;
        self.waiting = self.waiting.saturating_sub(1);
        self.running = self.running.saturating_add(1);
        Some(name)
    }

    /// A request does not wait any longer. One that has its place already has not waited for nothing: it must leave.
    pub fn cancel(&mut self, client: IpAddr, name: u64) {
        let before = self.clients.get(&client).map_or(0, |entry| entry.waiting.len());
        self.change(client, |entry| entry.waiting.retain(|(_, waiting)| *waiting != name));
        let after = self.clients.get(&client).map_or(0, |entry| entry.waiting.len());
        self.waiting = self.waiting.saturating_sub(before.saturating_sub(after));
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many places are taken.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Changes a client's entry and its place in the order.
    fn change<T>(&mut self, client: IpAddr, change: impl FnOnce(&mut Client) -> T) -> T {
        let entry = self.clients.entry(client).or_default();
        if let Some((turn, _)) = entry.waiting.front() {
            self.order.remove(&(entry.running, *turn, client));
        }
        let result = change(entry);
        if let Some((turn, _)) = entry.waiting.front() {
            self.order.insert((entry.running, *turn, client));
        } else if entry.running == 0 {
            self.clients.remove(&client);
        }
        result
    }
}

/// In how many seconds a client that found no room does well to ask again: when half of those who wait have had a place of
/// `place_ms`, as far as the last ones tell. Within 1 and [`RETRY_AFTER_MAX_S`].
#[must_use]
pub fn retry_after_s(waiting: usize, transfers_max: usize, place_ms: u64) -> u32 {
    let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
    let at_once = u64::try_from(transfers_max.max(1)).unwrap_or(u64::MAX);
    let wait_ms = waiting.saturating_mul(place_ms).checked_div(at_once.saturating_mul(2)).unwrap_or(0);
    u32::try_from(wait_ms / 1_000).unwrap_or(u32::MAX).clamp(1, RETRY_AFTER_MAX_S)
}

/// The longest time that a client is told to stay away, in seconds.
pub const RETRY_AFTER_MAX_S: u32 = 30;

#[cfg(test)]
mod tests;
