//! The parent's role: it greets, tells what is desired, asks for steps, and takes in what is observed.

use super::{Due, Ledger, Liveness, Mirror, SessionEnd, Taken, Timing, Variables};
use crate::model::Neighbour;
use crate::model::hardware::Hardware;
use crate::sync::codec::{Becoming, ChildMessage, ParentMessage, Report, WireStep};

/// What a child said that somebody must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentEvent {
    /// It observes this.
    Observed(Report),
    /// Its hardware.
    Hardware(Box<Hardware>),
    /// Lines of its console.
    Console {
        /// The lines, oldest first.
        lines: Vec<String>,
        /// Lines before these that were lost.
        dropped: u64,
    },
    /// It could not do a step.
    Failed {
        /// The step.
        step: WireStep,
        /// Which request.
        generation: u64,
        /// Why.
        detail: String,
    },
    /// It leaves.
    Left,
    /// What a machine that is no node heard of its switches.
    Neighbours(Vec<Neighbour>),
}

/// One session from the parent's side.
#[derive(Debug)]
pub struct ParentSession {
    live: Liveness,
    desired: Ledger,
    observed: Mirror,
    outgoing: Vec<ParentMessage>,
}

impl ParentSession {
    /// A session with a child that has said hello: welcomes it and tells it all that is desired.
    #[must_use]
    pub fn new(timing: Timing, session: u64, desired: Variables, now_ms: u64) -> Self {
        let live = Liveness::new(timing, now_ms);
        let mut desired = Ledger::new(desired);
        let Timing { hello_interval_ms, dead_interval_ms } = live.timing;
        let welcome = ParentMessage::Welcome { hello_interval_ms, dead_interval_ms, session };
        let outgoing = vec![welcome, ParentMessage::Desired(desired.full())];
        ParentSession { live, desired, observed: Mirror::default(), outgoing }
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// When it has no place in a session, or is larger than allowed: the session is over.
    pub fn received(&mut self, now_ms: u64, message: ChildMessage) -> Result<Option<ParentEvent>, SessionEnd> {
        self.live.heard(now_ms);
        let event = match message {
            ChildMessage::Join { .. } => return Err(SessionEnd::Unexpected { what: "a join" }),
            ChildMessage::Hello { .. } => return Err(SessionEnd::Unexpected { what: "a second hello" }),
            ChildMessage::Observed(report) => match self.observed.take(&report)? {
                Taken::InStep => {
                    self.live.asked_ms = None;
                    ParentEvent::Observed(report)
                }
                Taken::Missed => {
                    self.ask(now_ms);
                    return Ok(None);
                }
            },
            ChildMessage::Heartbeat(pulse) => {
                if !self.observed.agrees(&pulse) {
                    self.ask(now_ms);
                }
                return Ok(None);
            }
            ChildMessage::Resend => {
                let full = self.desired.full();
                self.outgoing.push(ParentMessage::Desired(full));
                return Ok(None);
            }
            ChildMessage::Hardware(hardware) => ParentEvent::Hardware(hardware),
            ChildMessage::Console { lines, dropped } => ParentEvent::Console { lines, dropped },
            ChildMessage::Failed { step, generation, detail } => ParentEvent::Failed { step, generation, detail },
            ChildMessage::Bye => ParentEvent::Left,
            ChildMessage::Neighbours(neighbours) => ParentEvent::Neighbours(neighbours),
        };
        Ok(Some(event))
    }

    /// Takes in that time has passed.
    ///
    /// # Errors
    /// When the child was not heard for the dead interval: the session is over.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), SessionEnd> {
        match self.live.due(now_ms) {
            Due::Nothing => Ok(()),
            Due::Dead(end) => Err(end),
            Due::Heartbeat => {
                self.tell();
                self.outgoing.push(ParentMessage::Heartbeat(self.desired.pulse()));
                Ok(())
            }
        }
    }

    /// When [`ParentSession::tick`] has something to do.
    #[must_use]
    pub fn next_tick_ms(&self) -> u64 {
        self.live.next_ms()
    }

    /// Takes in what is desired now; what has changed is told at once.
    pub fn desire(&mut self, desired: Variables) {
        self.desired.replace(desired);
        self.tell();
    }

    /// Asks for a step.
    pub fn perform(&mut self, step: WireStep, generation: u64, digest: Option<[u8; 32]>) {
        self.tell();
        self.outgoing.push(ParentMessage::Perform { step, generation, digest });
    }

    /// Tells a machine that waits what it is now.
    pub fn becomes(&mut self, becoming: Becoming) {
        self.outgoing.push(ParentMessage::Become(Box::new(becoming)));
    }

    /// What was observed last could not be kept: it is asked for again at the next heartbeat.
    pub fn distrust_observed(&mut self) {
        self.observed.distrust();
    }

    /// The copy of what the child observes.
    #[must_use]
    pub fn observed(&self) -> &Variables {
        self.observed.variables()
    }

    /// What is to be sent, in order.
    pub fn take_outgoing(&mut self) -> Vec<ParentMessage> {
        std::mem::take(&mut self.outgoing)
    }

    fn tell(&mut self) {
        self.outgoing.extend(self.desired.delta().map(ParentMessage::Desired));
    }

    fn ask(&mut self, now_ms: u64) {
        if self.live.may_ask(now_ms) {
            self.outgoing.push(ParentMessage::Resend);
        }
    }
}
