//! The way to a place for an image: wait for it, hold it, give it back.
//!
//! Invariants: a [`Place`] that is dropped is given back, also when its connection was cut or its task was ended while it
//! waited. Nobody waits longer than the gate lets them; [`WAIT_MAX`] is less than a client's patience for the head of an answer.
//!
//! Deliberately absent: who is next (`admission`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::{Admission, Bounds, Verdict, retry_after_s};

/// How long a request waits for a place before it is told to come again. bootes's own agent waits 10 s for an answer.
pub const WAIT_MAX: Duration = Duration::from_secs(6);
/// The share of what was learned before in how long a place is held: the last ones count by one part in so many.
const LEARNING: u64 = 8;

/// Places for images, shared by all connections.
pub(super) struct Gate {
    inner: Mutex<Inner>,
    transfers_max: usize,
    wait_max: Duration,
}

struct Inner {
    admission: Admission,
    calls: HashMap<u64, oneshot::Sender<()>>,
    next_name: u64,
    place_ms: u64,
}

/// A place. It is given back when it is dropped.
pub(super) struct Place {
    gate: Arc<Gate>,
    client: IpAddr,
    since: Instant,
}

/// There is no place, and none was free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) retry_after_s: u32,
}

/// A request that waits.
struct Waiting {
    gate: Arc<Gate>,
    client: IpAddr,
    name: u64,
    called: oneshot::Receiver<()>,
}

impl Gate {
    pub(super) fn new(bounds: Bounds, wait_max: Duration) -> Arc<Self> {
        let inner = Inner { admission: Admission::new(bounds), calls: HashMap::new(), next_name: 0, place_ms: 0 };
        Arc::new(Gate { inner: Mutex::new(inner), transfers_max: bounds.transfers_max, wait_max })
    }

    /// Waits for a place.
    pub(super) async fn enter(self: &Arc<Self>, client: IpAddr) -> Result<Place, Busy> {
        let mut waiting = {
            let mut inner = self.inner();
            let name = inner.next_name;
            inner.next_name = name.wrapping_add(1);
            match inner.admission.ask(client, name) {
                Verdict::Go => return Ok(self.place(client)),
                Verdict::Full => return Err(self.busy(&inner)),
                Verdict::Wait => {
                    let (call, called) = oneshot::channel();
                    inner.calls.insert(name, call);
                    Waiting { gate: Arc::clone(self), client, name, called }
                }
            }
        };
        match tokio::time::timeout(self.wait_max, &mut waiting.called).await {
            Ok(Ok(())) => Ok(self.place(client)),
            // The sender lives until it calls or until this request is cancelled, so there is no other way to end.
            Ok(Err(_)) | Err(_) => {
                let busy = self.busy(&self.inner());
                Err(busy)
            }
        }
    }

    fn place(self: &Arc<Self>, client: IpAddr) -> Place {
        Place { gate: Arc::clone(self), client, since: Instant::now() }
    }

    fn busy(&self, inner: &Inner) -> Busy {
        Busy { retry_after_s: retry_after_s(inner.admission.waiting(), self.transfers_max, inner.place_ms) }
    }

    fn leave(&self, client: IpAddr) {
        let mut inner = self.inner();
        // Who is called still waits: a request that gives up removes its name under the same lock.
        let next = inner.admission.leave(client);
        if let Some(call) = next.and_then(|name| inner.calls.remove(&name)) {
            let _ = call.send(());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half changed under this lock, so a poisoned one is as good as another.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut inner = self.gate.inner();
        if inner.calls.remove(&self.name).is_some() {
            return inner.admission.cancel(self.client, self.name);
        }
        drop(inner);
        // It was called. Where the call was heard, a place was made of it; where it came too late, nobody has it.
        if self.called.try_recv().is_ok() {
            self.gate.leave(self.client);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        {
            let mut inner = self.gate.inner();
            let kept = inner.place_ms.saturating_mul(LEARNING - 1);
            inner.place_ms = kept.saturating_add(held_ms) / LEARNING;
        }
        self.gate.leave(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(host: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, host])
    }

    #[tokio::test]
    async fn a_place_that_is_dropped_goes_to_whoever_waits() {
        let gate = Gate::new(Bounds { transfers_max: 1, queue_max: 1 }, WAIT_MAX);
        let place = gate.enter(client(1)).await.unwrap_or_else(|_| panic!("there is a place"));
        let waiter = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(client(2)).await.is_ok() }
        });
        while gate.inner().admission.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.enter(client(3)).await.err(), Some(Busy { retry_after_s: 1 }), "the queue is full");
        drop(place);
        assert!(waiter.await.unwrap());
        assert_eq!(gate.inner().admission.running(), 0, "its place was given back as well");
    }

    #[tokio::test]
    async fn a_waiting_request_whose_task_ends_keeps_no_place() {
        let gate = Gate::new(Bounds { transfers_max: 1, queue_max: 4 }, WAIT_MAX);
        let place = gate.enter(client(1)).await.ok();
        let waiter = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(client(2)).await.is_ok() }
        });
        while gate.inner().admission.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        // Called and ended before it could hear of it: this task does not yield in between.
        drop(place);
        waiter.abort();
        let _ = waiter.await;
        assert_eq!(gate.inner().admission.running(), 0);
        assert!(gate.inner().calls.is_empty());
        assert!(gate.enter(client(3)).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_to_come_again() {
        let gate = Gate::new(Bounds { transfers_max: 1, queue_max: 4 }, Duration::from_millis(1));
        let _place = gate.enter(client(1)).await.unwrap_or_else(|_| panic!("there is a place"));
        assert!(gate.enter(client(2)).await.is_err());
        assert_eq!(gate.inner().admission.waiting(), 0);
    }
}
