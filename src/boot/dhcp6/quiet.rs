//! Keeps a machine that repeats itself from filling the journal.
//!
//! Invariants: what is new is said at once, the same again only after [`PAUSE`]. The table is bounded; when it is full of
//! what is still within its pause, further machines are not heard until some are over.
//!
//! Deliberately absent: a clock; time is given. Leases: they are always said, since they must be durable.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use crate::fact::{BootClient, Dhcp6Event, Fact};
use crate::model::{Duid, Mac};

/// How long the same is not said again.
pub(super) const PAUSE: Duration = Duration::from_secs(30);

type Topic = (Option<Mac>, Option<Duid>, BootClientKey, Discriminant<Dhcp6Event>);
type BootClientKey = Discriminant<BootClient>;

/// What was said lately.
#[derive(Debug)]
pub(super) struct Quiet {
    said: HashMap<Topic, Instant>,
    entries_max: usize,
}

impl Quiet {
    pub(super) fn new(entries_max: usize) -> Self {
        Quiet { said: HashMap::new(), entries_max }
    }

    /// Whether to say it; it is then remembered.
    pub(super) fn is_news(&mut self, fact: &Fact, now: Instant) -> bool {
        let Fact::Dhcp6(said) = fact else { return true };
        let topic = (said.mac, said.duid.clone(), discriminant(&said.client), discriminant(&said.event));
        if self.said.get(&topic).is_some_and(|until| *until > now) {
            return false;
        }
        if self.said.len() >= self.entries_max {
            self.said.retain(|_, until| *until > now);
            if self.said.len() >= self.entries_max {
                return false;
            }
        }
        self.said.insert(topic, now + PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Dhcp6Fact, Dhcp6Refusal};

    fn ignored(last: u8) -> Fact {
        let (mac, client) = (Some(Mac([2, 0, 0, 0, 0, last])), BootClient::Other);
        let event = Dhcp6Event::Ignored { reason: Dhcp6Refusal::UnknownMachine };
        Fact::Dhcp6(Dhcp6Fact { duid: None, mac, node: None, client, event })
    }

    #[test]
    fn the_same_is_said_again_after_its_pause_and_the_table_is_bounded() {
        let (mut quiet, start) = (Quiet::new(2), Instant::now());
        assert!(quiet.is_news(&ignored(1), start));
        assert!(!quiet.is_news(&ignored(1), start + PAUSE / 2));
        assert!(quiet.is_news(&ignored(2), start + PAUSE / 2));
        assert!(!quiet.is_news(&ignored(3), start + PAUSE / 2), "it is full");
        assert!(quiet.is_news(&ignored(1), start + PAUSE));
        assert!(quiet.is_news(&ignored(3), start + PAUSE * 3));
    }
}
