//! The BMC's side of the protocol in memory, with the manners that no real peer shows on demand.
//!
//! It checks what a BMC would check: the proof, the integrity, that no session sequence comes twice.

use super::{BMC_SESSION_ID, PASSWORD};
use crate::power::ipmi::codec::message::{AuthenticationCapabilities, ChannelKey, Request, Response, Sessions};
use crate::power::ipmi::codec::rakp::{
    Algorithms, OpenSessionRequest, OpenSessionResponse, Rakp1, Rakp2, Rakp3, Rakp4,
};
use crate::power::ipmi::codec::{self, Datagram, PayloadType};
use crate::power::ipmi::completion::CompletionCode;
use crate::power::ipmi::crypto::{Exchange, SessionKeys};

/// How this BMC behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    pub(super) open_status: u8,
    pub(super) rakp2_status: u8,
    pub(super) rakp4_status: u8,
    pub(super) level_code: u8,
    /// The level code is answered only to Administrator.
    pub(super) level_operator_ok: bool,
    pub(super) wrong_confirmation: bool,
    pub(super) channel_key: bool,
    pub(super) version15_only: bool,
    pub(super) suite: u8,
    /// So many commands are answered with "busy" first.
    pub(super) busy: u32,
    /// Completion code of chassis commands.
    pub(super) chassis_code: u8,
}

pub(super) struct Bmc {
    pub(super) manner: Manner,
    pub(super) exchange: Exchange,
    pub(super) keys: Option<SessionKeys>,
    pub(super) sequence: u32,
    pub(super) executed: Vec<Request>,
    pub(super) aborted: bool,
    pub(super) closed: bool,
}

impl Bmc {
    pub(super) fn new(manner: Manner) -> Self {
        let exchange = Exchange {
            console_session_id: 0,
            bmc_session_id: BMC_SESSION_ID,
            console_random: [0; 16],
            bmc_random: [0xb; 16],
            bmc_guid: [0x9; 16],
            role: 0,
            user: Vec::new(),
        };
        let executed = Vec::new();
        Self { manner, exchange, keys: None, sequence: 0, executed, aborted: false, closed: false }
    }

    pub(super) fn hear(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        match codec::decode(datagram).unwrap() {
            Datagram::Version15 { payload } => {
                let request = Request::decode(payload).unwrap();
                let capabilities = AuthenticationCapabilities {
                    sessions: match self.manner.version15_only {
                        true => Sessions::Version15Only,
                        false => Sessions::RmcpPlus,
                    },
                    channel_key: match self.manner.channel_key {
                        true => ChannelKey::Set,
                        false => ChannelKey::NotSet,
                    },
                };
                let response = answer(&request, 0, capabilities.encode());
                Some(codec::encode_version15(&response.encode()).unwrap())
            }
            Datagram::Unprotected { payload_type, payload } => {
                let (kind, bytes) = self.handshake(payload_type, payload)?;
                Some(codec::encode_unprotected(kind, &bytes).unwrap())
            }
            Datagram::Protected(protected) => {
                assert_eq!(protected.session_id(), BMC_SESSION_ID);
                let keys = self.keys.clone()?;
                let opened = protected.open(&keys).unwrap();
                assert!(opened.sequence > self.sequence, "a session sequence was used again");
                self.sequence = opened.sequence;
                let request = Request::decode(&opened.payload).unwrap();
                let response = self.command(&request);
                let id = self.exchange.console_session_id;
                let (sequence, kind) = (self.sequence, PayloadType::Ipmi);
                Some(codec::seal(&keys, id, sequence, kind, &response.encode(), &[5; 16]).unwrap())
            }
        }
    }

    fn handshake(&mut self, kind: PayloadType, payload: &[u8]) -> Option<(PayloadType, Vec<u8>)> {
        match kind {
            PayloadType::OpenSessionRequest => {
                let request = OpenSessionRequest::decode(payload).unwrap();
                assert_eq!(request.algorithms, Algorithms::SUITE_3);
                self.exchange.console_session_id = request.console_session_id;
                if self.manner.open_status != 0 {
                    let refusal = vec![request.tag, self.manner.open_status];
                    return Some((PayloadType::OpenSessionResponse, refusal));
                }
                let confidentiality = if self.manner.suite == 0 { 1 } else { self.manner.suite };
                let response = OpenSessionResponse {
                    tag: request.tag,
                    console_session_id: request.console_session_id,
                    bmc_session_id: BMC_SESSION_ID,
                    algorithms: Algorithms { confidentiality, ..Algorithms::SUITE_3 },
                };
                Some((PayloadType::OpenSessionResponse, response.encode()))
            }
            PayloadType::Rakp1 => {
                let rakp1 = Rakp1::decode(payload).unwrap();
                if self.manner.rakp2_status != 0 {
                    let refusal = vec![rakp1.tag, self.manner.rakp2_status, 0, 0, 0, 0, 0, 0];
                    return Some((PayloadType::Rakp2, refusal));
                }
                self.exchange.console_random = rakp1.console_random;
                self.exchange.role = rakp1.role;
                self.exchange.user = rakp1.user;
                let rakp2 = Rakp2 {
                    tag: rakp1.tag,
                    console_session_id: self.exchange.console_session_id,
                    bmc_random: self.exchange.bmc_random,
                    bmc_guid: self.exchange.bmc_guid,
                    proof: self.exchange.bmc_proof(PASSWORD),
                };
                Some((PayloadType::Rakp2, rakp2.encode()))
            }
            PayloadType::Rakp3 => {
                let rakp3 = Rakp3::decode(payload).unwrap();
                let Ok(proof) = rakp3.proof else {
                    self.aborted = true;
                    return None;
                };
                assert_eq!(proof, self.exchange.console_proof(PASSWORD));
                if self.manner.rakp4_status != 0 {
                    let refusal = vec![rakp3.tag, self.manner.rakp4_status];
                    return Some((PayloadType::Rakp4, refusal));
                }
                let keys = self.exchange.keys(PASSWORD);
                let mut confirmation = self.exchange.confirmation(&keys);
                if self.manner.wrong_confirmation {
                    confirmation[0] ^= 1;
                }
                self.keys = Some(keys);
                let console_session_id = self.exchange.console_session_id;
                let rakp4 = Rakp4 { tag: rakp3.tag, console_session_id, confirmation };
                Some((PayloadType::Rakp4, rakp4.encode()))
            }
            other => panic!("a console does not send {other:?}"),
        }
    }

    fn command(&mut self, request: &Request) -> Response {
        if self.manner.busy > 0 {
            self.manner.busy -= 1;
            return answer(request, 0xc0, Vec::new());
        }
        self.executed.push(request.clone());
        match (request.net_fn, request.command) {
            (0x06, 0x3b) => {
                let operator = request.data == [3];
                let refused = !(operator && self.manner.level_operator_ok);
                let code = if refused { self.manner.level_code } else { 0 };
                answer(request, code, request.data.clone())
            }
            (0x06, 0x3c) => {
                assert_eq!(request.data, BMC_SESSION_ID.to_le_bytes());
                self.closed = true;
                answer(request, 0, Vec::new())
            }
            _ => answer(request, self.manner.chassis_code, vec![1, 0, 0]),
        }
    }
}

fn answer(request: &Request, code: u8, data: Vec<u8>) -> Response {
    let completion = CompletionCode(code);
    let data = if code == 0 { data } else { Vec::new() };
    let (command, sequence) = (request.command, request.sequence);
    Response { net_fn: request.net_fn | 1, command, sequence, completion, data }
}
