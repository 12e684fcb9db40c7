//! The child's role: it says hello, tells what it observes, and takes in what is desired and asked of it.

use super::{Due, Ledger, Liveness, Mirror, SessionEnd, Taken, Timing, Variables};
use crate::sync::codec::{Becoming, ChildMessage, PROTOCOL_VERSION, ParentMessage, WireRefusal, WireStep};

/// What a parent said that somebody must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildEvent {
    /// The session is up.
    Welcomed {
        /// Its number.
        session: u64,
    },
    /// The hello was not granted; the connection ends.
    Refused(WireRefusal),
    /// Something else is desired; [`ChildSession::desired`] has all of it.
    Desired,
    /// A step is to be done.
    Perform {
        /// The step.
        step: WireStep,
        /// Which request.
        generation: u64,
        /// Which content.
        digest: Option<[u8; 32]>,
    },
    /// This machine is a node now.
    Become(Box<Becoming>),
}

/// How far the session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The hello was sent.
    Greeting,
    /// It was answered; what is desired is not known yet.
    Welcomed,
    /// What is desired is known; what is observed must be told in full.
    Settled,
    /// Both sides have told everything once.
    Up,
}

/// One session from the child's side.
#[derive(Debug)]
pub struct ChildSession {
    live: Liveness,
    phase: Phase,
    observed: Ledger,
    desired: Mirror,
    outgoing: Vec<ChildMessage>,
}

impl ChildSession {
    /// A session over a new connection, which says hello as `node`. `observed` is what the last session left, so that
    /// revisions go on counting; nothing of it is told before the parent has said what it desires.
    #[must_use]
    pub fn new(node: [u8; 16], observed: Ledger, now_ms: u64) -> Self {
        ChildSession {
            live: Liveness::new(Timing::default(), now_ms),
            phase: Phase::Greeting,
            observed,
            desired: Mirror::default(),
            outgoing: vec![ChildMessage::Hello { version: PROTOCOL_VERSION, node }],
        }
    }

    /// The end of the session: gives back what is observed.
    #[must_use]
    pub fn into_observed(self) -> Ledger {
        self.observed
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// When it has no place in the session, or is larger than allowed: the session is over.
    pub fn received(&mut self, now_ms: u64, message: ParentMessage) -> Result<Option<ChildEvent>, SessionEnd> {
        self.live.heard(now_ms);
        match (self.phase, message) {
            (Phase::Greeting, ParentMessage::Welcome { hello_interval_ms, dead_interval_ms, session }) => {
                self.live = Liveness::new(Timing { hello_interval_ms, dead_interval_ms }, now_ms);
                self.phase = Phase::Welcomed;
                Ok(Some(ChildEvent::Welcomed { session }))
            }
            (Phase::Greeting, ParentMessage::Refused { reason }) => Ok(Some(ChildEvent::Refused(reason))),
            (Phase::Greeting, _) => Err(SessionEnd::Unexpected { what: "a message before its welcome" }),
            (_, ParentMessage::Desired(report)) => match self.desired.take(&report)? {
                Taken::InStep => {
                    self.live.asked_ms = None;
                    if self.phase == Phase::Welcomed {
                        self.phase = Phase::Settled;
                    }
                    Ok(Some(ChildEvent::Desired))
                }
                Taken::Missed => Ok(self.ask(now_ms)),
            },
            (_, ParentMessage::Heartbeat(pulse)) if self.desired.agrees(&pulse) => Ok(None),
            (_, ParentMessage::Heartbeat(_)) => Ok(self.ask(now_ms)),
            (_, ParentMessage::Perform { step, generation, digest }) => {
                Ok(Some(ChildEvent::Perform { step, generation, digest }))
            }
            (_, ParentMessage::Become(becoming)) => Ok(Some(ChildEvent::Become(becoming))),
            (Phase::Up, ParentMessage::Resend) => {
                let full = self.observed.full();
                self.outgoing.push(ChildMessage::Observed(full));
                Ok(None)
            }
            // All of it is about to be told anyway.
            (_, ParentMessage::Resend) => Ok(None),
            (_, ParentMessage::Joined { .. }) => Err(SessionEnd::Unexpected { what: "an answer to a join" }),
            (_, ParentMessage::Refused { .. }) => Err(SessionEnd::Unexpected { what: "a refusal after its welcome" }),
            (_, ParentMessage::Welcome { .. }) => Err(SessionEnd::Unexpected { what: "a second welcome" }),
        }
    }

    /// Takes in that time has passed.
    ///
    /// # Errors
    /// When the parent was not heard for the dead interval: the session is over.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), SessionEnd> {
        match self.live.due(now_ms) {
            Due::Nothing => Ok(()),
            Due::Dead(end) => Err(end),
            Due::Heartbeat => {
                self.tell();
                if self.phase == Phase::Up {
                    self.outgoing.push(ChildMessage::Heartbeat(self.observed.pulse()));
                }
                Ok(())
            }
        }
    }

    /// When [`ChildSession::tick`] has something to do.
    #[must_use]
    pub fn next_tick_ms(&self) -> u64 {
        self.live.next_ms()
    }

    /// Whether lines and hardware may be told: the parent knows who speaks and what it has.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// The copy of what is desired.
    #[must_use]
    pub fn desired(&self) -> &Variables {
        self.desired.variables()
    }

    /// What is observed.
    #[must_use]
    pub fn observed(&self) -> &Variables {
        self.observed.variables()
    }

    /// What is observed, to be changed; [`ChildSession::take_outgoing`] tells it.
    pub fn observed_mut(&mut self) -> &mut Ledger {
        &mut self.observed
    }

    /// Says something between two reports: after what has changed before, and before what changes later.
    pub fn say(&mut self, message: ChildMessage) {
        self.tell();
        self.outgoing.push(message);
    }

    /// What is to be sent, in order; changes that were not told yet are at its end.
    pub fn take_outgoing(&mut self) -> Vec<ChildMessage> {
        self.tell();
        std::mem::take(&mut self.outgoing)
    }

    fn tell(&mut self) {
        let report = match self.phase {
            Phase::Greeting | Phase::Welcomed => None,
            Phase::Settled => {
                self.phase = Phase::Up;
                Some(self.observed.full())
            }
            Phase::Up => self.observed.delta(),
        };
        self.outgoing.extend(report.map(ChildMessage::Observed));
    }

    fn ask(&mut self, now_ms: u64) -> Option<ChildEvent> {
        if self.live.may_ask(now_ms) {
            self.outgoing.push(ChildMessage::Resend);
        }
        None
    }
}
