//! When to advertise: soon after a solicitation, not more often than [`GAP`]; what is described also every [`INTERVAL`];
//! that there is nothing not where another router does.

use std::time::Duration;

/// The shortest time between two advertisements; solicitations that come meanwhile share the next one.
pub(super) const GAP: Duration = Duration::from_millis(100);
/// How long another router counts as present after it was heard: the longest interval between its advertisements
/// (RFC 4861, section 6.2.1, MaxRtrAdvInterval).
pub(super) const OTHER_ROUTER_FOR: Duration = Duration::from_secs(1800);

/// The time between two advertisements of what is described (RFC 4861, section 6.2.1, MaxRtrAdvInterval).
pub(super) const INTERVAL: Duration = Duration::from_secs(600);

/// What is advertised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Manner {
    /// That there is no router.
    #[default]
    Empty,
    /// What the network's description says.
    Described,
}

/// Decides when to advertise. Times are since any fixed point.
#[derive(Debug, Default)]
pub(super) struct Advertiser {
    due: Option<Duration>,
    not_before: Duration,
    silent_until: Option<Duration>,
    manner: Manner,
}

impl Advertiser {
    /// What is to be advertised from now on. What is new is advertised at once.
    pub(super) fn on(&mut self, manner: Manner, now: Duration) {
        if self.manner != manner {
            self.manner = manner;
            self.due = (manner == Manner::Described).then(|| now.max(self.not_before));
        }
    }

    /// A host looks for routers.
    pub(super) fn solicited(&mut self, now: Duration) {
        let silent = self.manner == Manner::Empty && self.silent_until.is_some_and(|until| now < until);
        let soon = now.max(self.not_before);
        if !silent && self.due.is_none_or(|due| soon < due) {
            self.due = Some(soon);
        }
    }

    /// Another router advertises.
    pub(super) fn other_heard(&mut self, now: Duration) {
        self.silent_until = Some(now.saturating_add(OTHER_ROUTER_FOR));
        if self.manner == Manner::Empty {
            self.due = None;
        }
    }

    /// When to advertise next, if anybody waits.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// It was done.
    pub(super) fn sent(&mut self) {
        if let Some(due) = self.due.take() {
            self.not_before = due.saturating_add(GAP);
            self.due = (self.manner == Manner::Described).then(|| due.saturating_add(INTERVAL));
        }
    }
}
