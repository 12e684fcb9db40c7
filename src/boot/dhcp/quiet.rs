//! Keeps a machine that repeats itself from filling the journal.
//!
//! Purpose: which facts are said, and which are what was said a moment ago. A ROM without a boot offer asks for ever; a
//! broken client sends the same broken packet every few seconds.
//!
//! Invariants: what is new is said at once; the same is said again only after a pause, and what changes all the time only
//! [`CHANGES_MAX`] times in one. The table is bounded ([`Quiet::new`]); when it is full of what is still within its pause,
//! further senders are not heard until some are over.
//!
//! Deliberately absent: a clock; time is given. Leases: they are always said, since they must be durable. `boot::pace`
//! tells senders apart by address, which these have none of.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use crate::fact::{DhcpEvent, Fact};
use crate::model::Mac;

/// How long an offer is not said again. Short: it is evidence that a machine has started.
const OFFER_PAUSE: Duration = Duration::from_secs(5);
/// How long anything else is not said again.
const PAUSE: Duration = Duration::from_secs(60);

/// How often a machine may say something else on the same topic within one pause.
const CHANGES_MAX: u8 = 8;
/// How long after a sweep of the table the next one may be.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What a fact is a repetition of.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Topic {
    Exchange(Mac, Discriminant<DhcpEvent>),
    Malformed(String),
}

#[derive(Debug)]
struct Said {
    fact: Fact,
    until: Instant,
    changes: u8,
}

/// What was said lately.
#[derive(Debug)]
pub(super) struct Quiet {
    said: HashMap<Topic, Said>,
    entries_max: usize,
    /// When the table was last swept for want of room; a sweep each packet would be the storm's second victim.
    swept: Option<Instant>,
}

/// Whether to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Say,
    Repeated,
    Full,
}

impl Quiet {
    /// A table of `entries_max` at most.
    pub(super) fn new(entries_max: usize) -> Self {
        Quiet { said: HashMap::new(), entries_max, swept: None }
    }

    /// Judges `fact`, and remembers it when it is to be said.
    pub(super) fn judge(&mut self, fact: &Fact, now: Instant) -> Verdict {
        let (topic, pause) = match fact {
            Fact::Dhcp(dhcp) => {
                let pause = if matches!(dhcp.event, DhcpEvent::Offered { .. }) { OFFER_PAUSE } else { PAUSE };
                (Topic::Exchange(dhcp.mac, discriminant(&dhcp.event)), pause)
            }
            Fact::Malformed(malformed) => (Topic::Malformed(malformed.sender.clone()), PAUSE),
            _ => return Verdict::Say,
        };
        let has_room = self.said.len() < self.entries_max;
        match self.said.get_mut(&topic) {
            Some(said) if said.until > now => {
                // A sender of garbage is not heard again for garbage of another kind.
                let same = said.fact == *fact || matches!(fact, Fact::Malformed(_));
                if same || said.changes >= CHANGES_MAX {
                    return Verdict::Repeated;
                }
                said.changes = said.changes.saturating_add(1);
                said.fact = fact.clone();
                return Verdict::Say;
            }
            Some(_) => {}
            None if has_room => {}
            None => {
                if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_PAUSE) {
                    self.swept = Some(now);
                    self.said.retain(|_, said| said.until > now);
                }
                if self.said.len() >= self.entries_max {
                    return Verdict::Full;
                }
            }
        }
        self.said.insert(topic, Said { fact: fact.clone(), until: now + pause, changes: 0 });
        Verdict::Say
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{BootClient, DhcpFact, DhcpRefusal, MalformedFact};
    use std::net::Ipv4Addr;

    fn ignored(last: u8) -> Fact {
        let event = DhcpEvent::Ignored { reason: DhcpRefusal::UnknownMachine };
        Fact::Dhcp(DhcpFact {
            mac: Mac([2, 0, 0, 0, 0, last]),
            node: None,
            client: BootClient::Other,
            event,
            told: Default::default(),
        })
    }

    #[test]
    fn the_same_is_said_again_after_its_pause_and_not_before() {
        let (mut quiet, start) = (Quiet::new(8), Instant::now());
        assert_eq!(quiet.judge(&ignored(1), start), Verdict::Say);
        assert_eq!(quiet.judge(&ignored(1), start + PAUSE / 2), Verdict::Repeated);
        assert_eq!(quiet.judge(&ignored(2), start + PAUSE / 2), Verdict::Say, "another machine");
        assert_eq!(quiet.judge(&ignored(1), start + PAUSE), Verdict::Say);
    }

    #[test]
    fn an_offer_to_another_client_of_the_same_machine_is_said_at_once() {
        let (mut quiet, start) = (Quiet::new(8), Instant::now());
        let offer = |file: &str| {
            let event = DhcpEvent::Offered { ip: Ipv4Addr::LOCALHOST, file: Some(file.to_owned()) };
            Fact::Dhcp(DhcpFact {
                mac: Mac([2; 6]),
                node: None,
                client: BootClient::Other,
                event,
                told: Default::default(),
            })
        };
        assert_eq!(quiet.judge(&offer("undionly.kpxe"), start), Verdict::Say);
        assert_eq!(quiet.judge(&offer("undionly.kpxe"), start), Verdict::Repeated);
        assert_eq!(quiet.judge(&offer("http://x"), start), Verdict::Say);
        let said = (0..100).filter(|turn| quiet.judge(&offer(&turn.to_string()), start) == Verdict::Say);
        assert_eq!(said.count(), usize::from(CHANGES_MAX) - 1, "and then no more within the pause");
    }

    #[test]
    fn a_sender_of_garbage_is_heard_once_whatever_its_garbage() {
        let (mut quiet, start) = (Quiet::new(8), Instant::now());
        let garbage = |reason: &str| {
            let (service, sender) = ("dhcp".to_owned(), "10.0.0.1".to_owned());
            Fact::Malformed(MalformedFact { service, sender, reason: reason.to_owned() })
        };
        assert_eq!(quiet.judge(&garbage("short"), start), Verdict::Say);
        assert_eq!(quiet.judge(&garbage("cut off"), start), Verdict::Repeated);
    }

    #[test]
    fn the_table_is_bounded_and_has_room_again_when_pauses_are_over() {
        let (mut quiet, start) = (Quiet::new(2), Instant::now());
        assert_eq!(quiet.judge(&ignored(1), start), Verdict::Say);
        assert_eq!(quiet.judge(&ignored(2), start), Verdict::Say);
        assert_eq!(quiet.judge(&ignored(3), start), Verdict::Full);
        assert_eq!(quiet.judge(&ignored(3), start + PAUSE), Verdict::Say);
    }
}
