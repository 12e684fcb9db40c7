//! One request that waits for its answer: when it is sent again, and what is said when no answer comes.
//!
//! Pure. Invariants: at most `Patience::tries` datagrams without an answer; what was seen meanwhile (a refusal, bytes that
//! cannot be read, an unreachable port) is kept as evidence for the error.

use crate::power::ipmi::codec::CodecError;
use crate::power::ipmi::codec::message::Request;
use crate::power::ipmi::completion::CompletionCode;
use crate::power::ipmi::error::{IpmiError, Silence, Stage};
use crate::power::ipmi::timing::Timing;
use std::net::SocketAddr;
use std::time::Duration;

/// How long and how often a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Sent up to so many times with growing waits.
    Repeated {
        /// Upper bound of datagrams.
        tries: u32,
    },
    /// Sent once.
    Once {
        /// How long the answer may take, in milliseconds.
        wait_ms: u64,
    },
}

impl Patience {
    fn tries(self) -> u32 {
        match self {
            Self::Repeated { tries } => tries.max(1),
            Self::Once { .. } => 1,
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Body {
    /// The same bytes at each try: the handshake.
    Fixed(Vec<u8>),
    /// Sealed anew at each try, with a fresh session sequence number and the same request sequence.
    InSession(Request),
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) stage: Stage,
    pub(super) body: Body,
    patience: Patience,
    sent: u32,
    busy: u32,
    due: Option<Duration>,
    silence: Silence,
    refusal: Option<CompletionCode>,
    malformed: Option<CodecError>,
}

/// What is to be done about the request now.
pub(super) enum Due {
    Wait(Duration),
    Send,
    GiveUp,
}

impl Outstanding {
    pub(super) fn new(stage: Stage, body: Body, patience: Patience) -> Self {
        Self {
            stage,
            body,
            patience,
            sent: 0,
            busy: 0,
            due: None,
            silence: Silence::Nothing,
            refusal: None,
            malformed: None,
        }
    }

    pub(super) fn due(&self, now: Duration) -> Due {
        match self.due {
            Some(due) if now < due => Due::Wait(due),
            _ if self.sent >= self.patience.tries() => Due::GiveUp,
            _ => Due::Send,
        }
    }

    pub(super) fn note_sent(&mut self, now: Duration, timing: &Timing, jitter: u8) {
        self.sent = self.sent.saturating_add(1);
        let wait = match self.patience {
            Patience::Repeated { .. } => timing.wait(self.sent, jitter),
            Patience::Once { wait_ms } => Duration::from_millis(wait_ms),
        };
        self.due = Some(now.saturating_add(wait));
    }

    /// The BMC was too busy to start: the request may be sent again later, even one that must not be done twice.
    /// False when the BMC was busy too often.
    pub(super) fn note_busy(&mut self, now: Duration, timing: &Timing) -> bool {
        self.busy = self.busy.saturating_add(1);
        self.refusal = Some(CompletionCode::NODE_BUSY);
        self.sent = 0;
        self.due = Some(now.saturating_add(timing.wait(self.busy, 0)));
        self.busy < timing.tries.max(1)
    }

    pub(super) fn note_refusal(&mut self, code: CompletionCode) {
        self.refusal = Some(code);
    }

    pub(super) fn note_malformed(&mut self, error: CodecError) {
        self.malformed = Some(error);
    }

    pub(super) fn note_unreachable(&mut self) {
        self.silence = Silence::PortUnreachable;
    }

    /// The error for a request that was never answered; the strongest evidence wins.
    pub(super) fn into_error(self, address: SocketAddr) -> IpmiError {
        match (self.refusal, self.malformed, self.stage) {
            (Some(code), _, Stage::Command(command)) => IpmiError::Completion { address, command, code },
            (_, Some(source), stage) => IpmiError::MalformedReply { address, stage, source },
            (_, None, stage) => IpmiError::NoAnswer { address, stage, tries: self.sent, silence: self.silence },
        }
    }
}
