//! What the state would be if something were asked, for those who want to see that first.
//!
//! Invariant: the state itself is untouched; maps are persistent, so a supposition costs what it changes.

use super::State;
use crate::fact::{Fact, OperatorEvent, Stamped};
use crate::model::{FactSeq, UnixMs};

impl State {
    /// This state as it would be once `events` were asked at `at`.
    #[must_use]
    pub fn supposing(&self, at: UnixMs, events: &[OperatorEvent]) -> State {
        let mut after = self.clone();
        for event in events {
            let seq = FactSeq(after.seq.0 + 1);
            after.apply(&Stamped { seq, at, fact: Fact::Operator(event.clone().into()) });
        }
        after
    }
}
