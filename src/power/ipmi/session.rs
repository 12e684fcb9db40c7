//! The life of one RMCP+ session as a state machine: discover, open, prove, raise the privilege, command, close.
//!
//! Pure. Bytes, the time and random numbers come in as values; datagrams to send and results go out. Times are counted from
//! an origin that the caller chooses and keeps.
//! Invariants: one request is outstanding at a time; a repeated command keeps its request sequence (so that the BMC can
//! recognise it) and takes a fresh session sequence (so that it is not dropped as a replay); bytes that do not belong to
//! the outstanding request never end it, they are kept as evidence; in a session only bytes that pass the integrity check
//! are believed; whatever a session holds on the BMC is named by [`Session::farewell`].
//! Deliberately not here: sockets and clocks (`Client`), a second handshake after a lost one (`Client`), v1.5 sessions.
//! Specification: IPMI v2.0 rev 1.1, sections 6.12, 13.14–13.24, 22.13, 22.18 (privilege), 22.19 (close).

mod handshake;
mod interface;
mod outstanding;
#[cfg(test)]
mod tests;
mod window;

pub use interface::{Done, Entropy, Privilege, Setup, Step};
pub use outstanding::Patience;

use super::codec::message::{AuthenticationCapabilities, ChannelKey, Request, RequestSequence, Response};
use super::codec::rakp::{MAX_PASSWORD_BYTES, MAX_USER_BYTES, NAME_ONLY_LOOKUP};
use super::codec::{self, CodecError, Datagram, PayloadType, Protected};
use super::completion::{Command, CompletionCode};
use super::crypto::{BLOCK_BYTES, Exchange, SessionKeys};
use super::error::{Credential, IpmiError, Stage};
use outstanding::{Body, Due, Outstanding};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use window::Window;

#[derive(Debug)]
struct Active {
    keys: SessionKeys,
    bmc_session_id: u32,
    sent_sequence: u32,
    received: Window,
}

enum Phase {
    Discovering,
    Opening,
    Proving { bmc_session_id: u32 },
    Confirming { exchange: Box<Exchange>, keys: SessionKeys },
    Active(Box<Active>),
    Over,
}

/// One session with one BMC.
pub struct Session {
    setup: Setup,
    phase: Phase,
    outstanding: Option<Outstanding>,
    finished: Option<Result<Done, IpmiError>>,
    parting: VecDeque<Vec<u8>>,
    request_sequence: RequestSequence,
    channel_key: ChannelKey,
}

impl Session {
    /// Begins the conversation; the first [`Session::poll`] gives the first datagram.
    ///
    /// # Errors
    /// [`IpmiError::CredentialTooLong`] when the user name or the password is longer than the protocol allows.
    pub fn begin(setup: Setup) -> Result<Self, IpmiError> {
        let address = setup.address;
        let limits = [
            (Credential::User, setup.user.len(), MAX_USER_BYTES),
            (Credential::Password, setup.password.len_bytes(), MAX_PASSWORD_BYTES),
        ];
        for (credential, len_bytes, limit_bytes) in limits {
            if len_bytes > limit_bytes {
                return Err(IpmiError::CredentialTooLong { address, credential, limit_bytes });
            }
        }
        let mut session = Self {
            phase: Phase::Discovering,
            outstanding: None,
            finished: None,
            parting: VecDeque::new(),
            request_sequence: RequestSequence::default(),
            channel_key: ChannelKey::NotSet,
            setup,
        };
        let data = AuthenticationCapabilities::request_data(session.setup.privilege.number());
        let command = Command::GetChannelAuthenticationCapabilities;
        let request = session.next_request(command, data.to_vec());
        session.send_fixed(Stage::Discover, codec::encode_version15(&request.encode()));
        Ok(session)
    }

    /// Whether commands can be given.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Active(_))
    }

    /// Gives a command to an open session. Its end comes from [`Session::poll`]: the data after the completion code, or an
    /// error for any code but 00h.
    pub fn command(&mut self, command: Command, data: Vec<u8>, patience: Patience) {
        let stage = Stage::Command(command);
        if self.is_open() {
            let request = self.next_request(command, data);
            self.outstanding = Some(Outstanding::new(stage, Body::InSession(request), patience));
        } else {
            self.finish(Err(IpmiError::NotOpen { address: self.setup.address, stage }));
        }
    }

    /// Closes the session. A session that is not open is closed at once.
    pub fn close(&mut self) {
        match &self.phase {
            Phase::Active(active) => {
                let data = active.bmc_session_id.to_le_bytes().to_vec();
                let tries = self.setup.timing.close_tries;
                self.command(Command::CloseSession, data, Patience::Repeated { tries });
            }
            _ => self.finish(Ok(Done::Closed)),
        }
    }

    /// Closes the session where it is open; otherwise only ends what is outstanding.
    pub fn close_if_open(&mut self) {
        self.outstanding = None;
        self.finished = None;
        if self.is_open() {
            self.close();
        }
    }

    /// What to do next. A caller polls until it gets something other than `Send` and `WaitUntil`.
    pub fn poll(&mut self, now: Duration, entropy: &Entropy) -> Step {
        if let Some(datagram) = self.parting.pop_front() {
            return Step::Send(datagram);
        }
        if let Some(finished) = self.finished.take() {
            return Step::Finished(finished);
        }
        let address = self.setup.address;
        let Some(mut outstanding) = self.outstanding.take() else {
            return Step::Idle;
        };
        match outstanding.due(now) {
            Due::Wait(due) => {
                self.outstanding = Some(outstanding);
                Step::WaitUntil(due)
            }
            Due::GiveUp => Step::Finished(Err(outstanding.into_error(address))),
            Due::Send => {
                let stage = outstanding.stage;
                let datagram = match (&outstanding.body, &mut self.phase) {
                    (Body::Fixed(datagram), _) => Ok(datagram.clone()),
                    (Body::InSession(request), Phase::Active(active)) => active.seal(request, &entropy.iv),
                    _ => return Step::Finished(Err(IpmiError::NotOpen { address, stage })),
                };
                match datagram {
                    Ok(datagram) => {
                        outstanding.note_sent(now, &self.setup.timing, entropy.jitter);
                        self.outstanding = Some(outstanding);
                        Step::Send(datagram)
                    }
                    Err(source) => Step::Finished(Err(IpmiError::Unsendable { address, stage, source })),
                }
            }
        }
    }

    /// Takes a datagram that came from the BMC's address.
    pub fn receive(&mut self, now: Duration, datagram: &[u8]) {
        let result = match codec::decode(datagram) {
            Ok(Datagram::Version15 { payload }) => self.receive_capabilities(payload),
            Ok(Datagram::Unprotected { payload_type, payload }) => match payload_type {
                PayloadType::OpenSessionResponse => self.receive_open_session(payload),
                PayloadType::Rakp2 => self.receive_rakp2(payload),
                PayloadType::Rakp4 => self.receive_rakp4(payload),
                _ => Ok(()),
            },
            Ok(Datagram::Protected(protected)) => self.receive_protected(now, &protected),
            Err(error) => Err(error),
        };
        if let (Err(error), Some(outstanding)) = (result, &mut self.outstanding) {
            outstanding.note_malformed(error);
        }
    }

    /// Notes that the host at the BMC's address refused a datagram. It may be starting: the tries go on.
    pub fn port_unreachable(&mut self) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.note_unreachable();
        }
    }

    /// Ends the session without waiting: datagrams that make the BMC free whatever it holds for it. None when it holds
    /// nothing. Afterwards the session is over.
    pub fn farewell(&mut self, entropy: &Entropy) -> Vec<Vec<u8>> {
        self.outstanding = None;
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let mut datagrams: Vec<Vec<u8>> = self.parting.drain(..).collect();
        match phase {
            Phase::Discovering | Phase::Opening | Phase::Over => {}
            Phase::Proving { bmc_session_id } => datagrams.extend(self.abort(bmc_session_id)),
            Phase::Confirming { exchange, keys } => {
                // The BMC may have received the proof and count the session as open: end it both ways.
                datagrams.extend(self.abort(exchange.bmc_session_id));
                let mut active = Active::new(exchange.bmc_session_id, keys);
                datagrams.extend(self.seal_close(&mut active, entropy));
            }
            Phase::Active(mut active) => datagrams.extend(self.seal_close(&mut active, entropy)),
        }
        datagrams
    }

    fn seal_close(&mut self, active: &mut Active, entropy: &Entropy) -> Option<Vec<u8>> {
        let data = active.bmc_session_id.to_le_bytes().to_vec();
        let request = self.next_request(Command::CloseSession, data);
        active.seal(&request, &entropy.iv).ok()
    }

    fn tag(&self, offset: u8) -> u8 {
        self.setup.first_tag.wrapping_add(offset)
    }

    fn role(&self) -> u8 {
        self.setup.privilege.number() | NAME_ONLY_LOOKUP
    }

    fn next_request(&mut self, command: Command, data: Vec<u8>) -> Request {
        self.request_sequence = self.request_sequence.next();
        Request { net_fn: command.net_fn(), command: command.number(), sequence: self.request_sequence, data }
    }

    fn finish(&mut self, result: Result<Done, IpmiError>) {
        self.outstanding = None;
        self.finished = Some(result);
    }

    fn send_fixed(&mut self, stage: Stage, datagram: Result<Vec<u8>, CodecError>) {
        let patience = Patience::Repeated { tries: self.setup.timing.tries };
        match datagram {
            Ok(bytes) => {
                self.outstanding = Some(Outstanding::new(stage, Body::Fixed(bytes), patience));
            }
            Err(source) => {
                let address = self.setup.address;
                self.finish(Err(IpmiError::Unsendable { address, stage, source }));
            }
        }
    }

    fn raise_privilege(&mut self) {
        let tries = self.setup.timing.tries;
        let data = vec![self.setup.privilege.number()];
        self.command(Command::SetSessionPrivilegeLevel, data, Patience::Repeated { tries });
    }

    fn receive_protected(&mut self, now: Duration, protected: &Protected<'_>) -> Result<(), CodecError> {
        let Phase::Active(active) = &mut self.phase else {
            return Ok(());
        };
        if protected.session_id() != self.setup.console_session_id.get() {
            return Ok(());
        }
        let opened = protected.open(&active.keys)?;
        if !active.received.accept(opened.sequence) || opened.payload_type != PayloadType::Ipmi {
            return Ok(());
        }
        let response = Response::decode(&opened.payload)?;
        if let Some(Outstanding { stage: Stage::Command(command), body: Body::InSession(request), .. }) =
            &self.outstanding
            && response.answers(request)
        {
            let command = *command;
            self.answered(now, command, response);
        }
        Ok(())
    }

    fn answered(&mut self, now: Duration, command: Command, response: Response) {
        let (address, stage, code) = (self.setup.address, Stage::Command(command), response.completion);
        match (command, code) {
            (Command::SetSessionPrivilegeLevel, CompletionCode::OK) => {
                self.finish(Ok(Done::Opened));
            }
            (
                Command::SetSessionPrivilegeLevel,
                CompletionCode::LEVEL_NOT_FOR_USER
                | CompletionCode::LEVEL_ABOVE_LIMIT
                | CompletionCode::INSUFFICIENT_PRIVILEGE,
            ) if self.setup.privilege == Privilege::Administrator => {
                self.setup.privilege = Privilege::Operator;
                self.raise_privilege();
            }
            (
                Command::SetSessionPrivilegeLevel,
                CompletionCode::LEVEL_NOT_FOR_USER | CompletionCode::LEVEL_ABOVE_LIMIT,
            )
            | (_, CompletionCode::INSUFFICIENT_PRIVILEGE) => {
                let user = self.setup.user.clone();
                self.finish(Err(IpmiError::PrivilegeRefused { address, user, stage }));
            }
            (Command::CloseSession, CompletionCode::OK | CompletionCode(0x87)) => {
                self.phase = Phase::Over;
                self.finish(Ok(Done::Closed));
            }
            (_, CompletionCode::OK) => self.finish(Ok(Done::Answered(response.data))),
            (_, CompletionCode::NODE_BUSY) => self.busy(now, command),
            (_, CompletionCode::DUPLICATE_REQUEST) => {
                if let Some(outstanding) = &mut self.outstanding {
                    outstanding.note_refusal(code);
                }
            }
            _ => self.finish(Err(IpmiError::Completion { address, command, code })),
        }
    }

    fn busy(&mut self, now: Duration, command: Command) {
        // A new request sequence, or the BMC would take the next try for a duplicate of the one that it did not start.
        self.request_sequence = self.request_sequence.next();
        let Some(outstanding) = &mut self.outstanding else {
            return;
        };
        let again = outstanding.note_busy(now, &self.setup.timing);
        if let Body::InSession(request) = &mut outstanding.body {
            request.sequence = self.request_sequence;
        }
        if !again {
            let (address, code) = (self.setup.address, CompletionCode::NODE_BUSY);
            self.finish(Err(IpmiError::Completion { address, command, code }));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The phases hold keys: only where the session stands is shown.
        f.debug_struct("Session")
            .field("address", &self.setup.address)
            .field("outstanding", &self.outstanding.as_ref().map(|outstanding| outstanding.stage))
            .finish_non_exhaustive()
    }
}

impl Active {
    fn new(bmc_session_id: u32, keys: SessionKeys) -> Self {
        Self { keys, bmc_session_id, sent_sequence: 0, received: Window::default() }
    }

    fn seal(&mut self, request: &Request, iv: &[u8; BLOCK_BYTES]) -> Result<Vec<u8>, CodecError> {
        // 0 is not a valid number; after 2^32 datagrams the BMC would refuse the session anyway.
        self.sent_sequence = self.sent_sequence.checked_add(1).unwrap_or(1);
        let payload = request.encode();
        let (id, sequence) = (self.bmc_session_id, self.sent_sequence);
        codec::seal(&self.keys, id, sequence, PayloadType::Ipmi, &payload, iv)
    }
}
