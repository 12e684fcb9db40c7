//! When to advertise: soon after a solicitation, not more often than [`GAP`], and not where another router does.

use std::time::Duration;

/// The shortest time between two advertisements; solicitations that come meanwhile share the next one.
pub(super) const GAP: Duration = Duration::from_millis(100);
/// How long another router counts as present after it was heard: the longest interval between its advertisements
/// (RFC 4861, section 6.2.1, MaxRtrAdvInterval).
pub(super) const OTHER_ROUTER_FOR: Duration = Duration::from_secs(1800);

/// Decides when to advertise. Times are since any fixed point.
#[derive(Debug, Default)]
pub(super) struct Advertiser {
    due: Option<Duration>,
    not_before: Duration,
    silent_until: Option<Duration>,
}

impl Advertiser {
    /// A host looks for routers.
    pub(super) fn solicited(&mut self, now: Duration) {
        if self.silent_until.is_some_and(|until| now < until) || self.due.is_some() {
            return;
        }
        self.due = Some(now.max(self.not_before));
    }

    /// Another router advertises.
    pub(super) fn other_heard(&mut self, now: Duration) {
        self.silent_until = Some(now.saturating_add(OTHER_ROUTER_FOR));
        self.due = None;
    }

    /// When to advertise next, if anybody waits.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// It was done.
    pub(super) fn sent(&mut self) {
        if let Some(due) = self.due.take() {
            self.not_before = due.saturating_add(GAP);
        }
    }
}
