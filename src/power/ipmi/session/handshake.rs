//! The handshake half of the session: Open Session and RAKP 1–4, from the answers' side.
//!
//! Pure. Invariants: an answer counts only in its phase, with its tag and the console's session id; a refusal ends the
//! handshake at once (asking again could lock the user out); no key is used before the BMC's proof was checked.
//! Specification: IPMI v2.0 rev 1.1, sections 13.14–13.24, 13.28, 13.31–13.32, 22.13.

use super::{Active, Phase, Session};
use crate::power::ipmi::codec::message::{AuthenticationCapabilities, ChannelKey, Response, Sessions};
use crate::power::ipmi::codec::rakp::{
    Algorithms, Answer, OpenSessionRequest, OpenSessionResponse, Rakp1, Rakp2, Rakp3, Rakp4, RakpStatus,
};
use crate::power::ipmi::codec::{self, CodecError, PayloadType};
use crate::power::ipmi::completion::{Command, CompletionCode};
use crate::power::ipmi::crypto::{self, Exchange};
use crate::power::ipmi::error::{IpmiError, PasswordProof, Stage};

/// Half-open sessions of repeated Open Session Requests that are ended again; more than the tries of one stage.
const MAX_PARTING: usize = 8;
/// Status by which the console ends a handshake: the integrity check failed, or it gives up.
const CONSOLE_GIVES_UP: RakpStatus = RakpStatus(0x0f);

impl Session {
    pub(super) fn abort(&self, bmc_session_id: u32) -> Option<Vec<u8>> {
        let rakp3 = Rakp3 { tag: self.tag(3), bmc_session_id, proof: Err(CONSOLE_GIVES_UP) };
        codec::encode_unprotected(PayloadType::Rakp3, &rakp3.encode()).ok()
    }

    pub(super) fn refused(&mut self, stage: Stage, status: RakpStatus) {
        let address = self.setup.address;
        let user = self.setup.user.clone();
        self.finish(Err(match status.0 {
            0x01 | 0x0b => IpmiError::NoFreeSession { address, status },
            0x04..=0x07 | 0x10 | 0x11 => IpmiError::CipherSuiteNotSupported { address, detail: status.to_string() },
            0x09 | 0x0a => IpmiError::PrivilegeRefused { address, user, stage },
            0x0d => IpmiError::UserUnknown { address, user },
            0x0f => {
                let proof = PasswordProof::ConsoleProofRefused(status);
                IpmiError::PasswordRefused { address, user, proof }
            }
            _ => IpmiError::HandshakeRefused { address, stage, status },
        }));
    }

    pub(super) fn receive_capabilities(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        if !matches!(self.phase, Phase::Discovering) {
            return Ok(());
        }
        let response = Response::decode(payload)?;
        let command = Command::GetChannelAuthenticationCapabilities;
        if response.net_fn != command.net_fn() | 1
            || response.command != command.number()
            || response.sequence != self.request_sequence
        {
            return Ok(());
        }
        // Some BMCs refuse this question, or its extended form, and still offer RMCP+: only a clear no ends it here.
        if response.completion == CompletionCode::OK {
            let capabilities = AuthenticationCapabilities::decode(&response.data)?;
            if capabilities.sessions == Sessions::Version15Only {
                let address = self.setup.address;
                self.finish(Err(IpmiError::VersionNotSupported { address }));
                return Ok(());
            }
            self.channel_key = capabilities.channel_key;
        }
        self.phase = Phase::Opening;
        let request = OpenSessionRequest {
            tag: self.tag(0),
            privilege: 0,
            console_session_id: self.setup.console_session_id.get(),
            algorithms: Algorithms::SUITE_3,
        };
        let datagram = codec::encode_unprotected(PayloadType::OpenSessionRequest, &request.encode());
        self.send_fixed(Stage::OpenSession, datagram);
        Ok(())
    }

    pub(super) fn receive_open_session(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        let response = match (OpenSessionResponse::decode(payload)?, &self.phase) {
            (Answer::Refused { tag, status }, Phase::Opening) if tag == self.tag(0) => {
                self.refused(Stage::OpenSession, status);
                return Ok(());
            }
            (Answer::Refused { .. }, _) => return Ok(()),
            (Answer::Accepted(response), _) => response,
        };
        let ours = self.setup.console_session_id.get();
        if response.tag != self.tag(0) || response.console_session_id != ours {
            return Ok(());
        }
        let held = match &self.phase {
            Phase::Opening => return self.send_rakp1(&response),
            Phase::Proving { bmc_session_id } => Some(*bmc_session_id),
            Phase::Confirming { exchange, .. } => Some(exchange.bmc_session_id),
            Phase::Active(active) => Some(active.bmc_session_id),
            Phase::Discovering | Phase::Over => None,
        };
        // A repeated Open Session Request took a second slot: give it back.
        if held.is_some_and(|id| id != response.bmc_session_id) && self.parting.len() < MAX_PARTING {
            self.parting.extend(self.abort(response.bmc_session_id));
        }
        Ok(())
    }

    pub(super) fn send_rakp1(&mut self, response: &OpenSessionResponse) -> Result<(), CodecError> {
        self.phase = Phase::Proving { bmc_session_id: response.bmc_session_id };
        if response.algorithms != Algorithms::SUITE_3 {
            let address = self.setup.address;
            let detail = format!("it chose {:?}", response.algorithms);
            self.finish(Err(IpmiError::CipherSuiteNotSupported { address, detail }));
            return Ok(());
        }
        let rakp1 = Rakp1 {
            tag: self.tag(1),
            bmc_session_id: response.bmc_session_id,
            console_random: self.setup.console_random,
            role: self.role(),
            user: self.setup.user.clone().into_bytes(),
        };
        let datagram = rakp1.encode().and_then(|payload| codec::encode_unprotected(PayloadType::Rakp1, &payload));
        self.send_fixed(Stage::Rakp1, datagram);
        Ok(())
    }

    pub(super) fn receive_rakp2(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        let Phase::Proving { bmc_session_id } = self.phase else {
            return Ok(());
        };
        let rakp2 = match Rakp2::decode(payload)? {
            Answer::Refused { tag, status } => {
                if tag == self.tag(1) {
                    self.refused(Stage::Rakp1, status);
                }
                return Ok(());
            }
            Answer::Accepted(rakp2) => rakp2,
        };
        let console_session_id = self.setup.console_session_id.get();
        if rakp2.tag != self.tag(1) || rakp2.console_session_id != console_session_id {
            return Ok(());
        }
        let exchange = Exchange {
            console_session_id,
            bmc_session_id,
            console_random: self.setup.console_random,
            bmc_random: rakp2.bmc_random,
            bmc_guid: rakp2.bmc_guid,
            role: self.role(),
            user: self.setup.user.clone().into_bytes(),
        };
        let password = self.setup.password.expose();
        if !crypto::same(&exchange.bmc_proof(password), &rakp2.proof) {
            self.finish(Err(IpmiError::PasswordRefused {
                address: self.setup.address,
                user: self.setup.user.clone(),
                proof: PasswordProof::BmcProofDiffers,
            }));
            return Ok(());
        }
        let keys = exchange.keys(password);
        let proof = Ok(exchange.console_proof(password));
        let rakp3 = Rakp3 { tag: self.tag(2), bmc_session_id, proof };
        self.phase = Phase::Confirming { exchange: Box::new(exchange), keys };
        let datagram = codec::encode_unprotected(PayloadType::Rakp3, &rakp3.encode());
        self.send_fixed(Stage::Rakp3, datagram);
        Ok(())
    }

    pub(super) fn receive_rakp4(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        let Phase::Confirming { exchange, keys } = &self.phase else {
            return Ok(());
        };
        let rakp4 = match Rakp4::decode(payload)? {
            Answer::Refused { tag, status } => {
                if tag == self.tag(2) {
                    self.refused(Stage::Rakp3, status);
                }
                return Ok(());
            }
            Answer::Accepted(rakp4) => rakp4,
        };
        let ours = self.setup.console_session_id.get();
        if rakp4.tag != self.tag(2) || rakp4.console_session_id != ours {
            return Ok(());
        }
        if !crypto::same(&exchange.confirmation(keys), &rakp4.confirmation) {
            let (address, user) = (self.setup.address, self.setup.user.clone());
            let proof = PasswordProof::ConfirmationDiffers;
            self.finish(Err(match self.channel_key {
                ChannelKey::Set => IpmiError::ChannelKeyRequired { address },
                ChannelKey::NotSet => IpmiError::PasswordRefused { address, user, proof },
            }));
            return Ok(());
        }
        self.phase = Phase::Active(Box::new(Active::new(exchange.bmc_session_id, keys.clone())));
        self.raise_privilege();
        Ok(())
    }
}
