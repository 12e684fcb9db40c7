//! Which requests begin a transfer.
//!
//! Purpose: the table of running transfers. It keeps their number bounded, in all and for each client, and tells a
//! repeated request from a new one.
//!
//! Invariants:
//! - A request that repeats what the same client port is being served starts nothing: the transfer's own timer repeats
//!   the answer.
//! - The same port asking for something else, or again after the transfer fell silent, has started over (many ROMs
//!   always use the same port): the old transfer is ended, the new one begins.
//! - At a bound the request gets no answer. A client asks again by itself, which paces a rack that boots at once.
//!
//! Deliberately absent: sockets and tasks; a transfer is known by its key and a handle of the caller's.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

/// How many transfers may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) transfers_max: usize,
    pub(super) per_client_max: usize,
}

/// What the table asks of a running transfer.
pub(super) trait Handle {
    /// Whether the client took blocks and then fell silent.
    fn has_stalled(&self) -> bool;
    /// Ends it in favour of a new request.
    fn supersede(&self);
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    Repeated,
    Busy,
    ClientBusy,
}

struct Running<K, H> {
    key: K,
    request: Box<[u8]>,
    handle: H,
}

/// The running transfers; `K` names one for good, also after its port was taken over.
pub(super) struct Table<K, H> {
    bounds: Bounds,
    by_client: HashMap<SocketAddr, Running<K, H>>,
    clients: HashMap<K, SocketAddr>,
    per_client: HashMap<IpAddr, usize>,
}

impl<K: Copy + Eq + Hash, H: Handle> Table<K, H> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, by_client: HashMap::new(), clients: HashMap::new(), per_client: HashMap::new() }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Judges a request. A transfer that the client has left behind is told to end.
    pub(super) fn judge(&self, client: SocketAddr, request: &[u8]) -> Verdict {
        if let Some(running) = self.by_client.get(&client) {
            if *running.request == *request && !running.handle.has_stalled() {
                return Verdict::Repeated;
            }
            running.handle.supersede();
        }
        if self.clients.len() >= self.bounds.transfers_max {
            return Verdict::Busy;
        }
        if self.per_client.get(&client.ip()).is_some_and(|count| *count >= self.bounds.per_client_max) {
            return Verdict::ClientBusy;
        }
        Verdict::Admit
    }

    /// Enters a transfer that was admitted.
    pub(super) fn enter(&mut self, key: K, client: SocketAddr, request: &[u8], handle: H) {
        self.clients.insert(key, client);
        let count = self.per_client.entry(client.ip()).or_default();
        *count = count.saturating_add(1);
        self.by_client.insert(client, Running { key, request: request.into(), handle });
    }

    /// A transfer is over.
    pub(super) fn leave(&mut self, key: K) {
        let Some(client) = self.clients.remove(&key) else {
            return;
        };
        if self.by_client.get(&client).is_some_and(|running| running.key == key) {
            self.by_client.remove(&client);
        }
        if let Some(count) = self.per_client.get_mut(&client.ip()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_client.remove(&client.ip());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    struct Fake {
        stalled: Rc<Cell<bool>>,
        superseded: Rc<Cell<bool>>,
    }

    impl Handle for Fake {
        fn has_stalled(&self) -> bool {
            self.stalled.get()
        }
        fn supersede(&self) {
            self.superseded.set(true);
        }
    }

    fn client(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    fn table() -> Table<u32, Fake> {
        Table::new(Bounds { transfers_max: 3, per_client_max: 2 })
    }

    #[test]
    fn a_repeated_request_starts_nothing() {
        let mut table = table();
        table.enter(1, client(1, 5), b"a", Fake::default());
        assert_eq!(table.judge(client(1, 5), b"a"), Verdict::Repeated);
        assert_eq!(table.judge(client(1, 6), b"a"), Verdict::Admit, "another port is another transfer");
        table.leave(1);
        assert_eq!(table.judge(client(1, 5), b"a"), Verdict::Admit);
    }

    #[test]
    fn a_client_that_started_over_is_served_anew() {
        let mut table = table();
        let (old, new) = (Fake::default(), Fake::default());
        table.enter(1, client(1, 5), b"a", old.clone());
        assert_eq!(table.judge(client(1, 5), b"b"), Verdict::Admit);
        assert!(old.superseded.get());
        table.enter(2, client(1, 5), b"b", new.clone());
        table.leave(1);
        assert_eq!(table.judge(client(1, 5), b"b"), Verdict::Repeated, "the old one's end does not touch the new one");
        new.stalled.set(true);
        assert_eq!(table.judge(client(1, 5), b"b"), Verdict::Admit, "silence, and the same request again");
    }

    #[test]
    fn the_bounds_hold_in_all_and_for_each_client() {
        let mut table = table();
        table.enter(1, client(1, 5), b"a", Fake::default());
        table.enter(2, client(1, 6), b"a", Fake::default());
        assert_eq!(table.judge(client(1, 7), b"a"), Verdict::ClientBusy);
        table.enter(3, client(2, 5), b"a", Fake::default());
        assert_eq!(table.judge(client(3, 5), b"a"), Verdict::Busy);
        table.leave(2);
        table.leave(2);
        assert_eq!(table.judge(client(1, 7), b"a"), Verdict::Admit);
    }
}
