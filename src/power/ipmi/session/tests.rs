//! The session against the BMC's side of the protocol, in memory: refusals, losses, repeats and bytes that do not belong.
//!
//! The BMC's side here is what no real peer does on demand. The real peer is in `tests/ipmi_peer.rs`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bmc;

use super::*;
use crate::power::ipmi::codec::rakp::{Rakp3, RakpStatus};
use crate::power::ipmi::error::PasswordProof;
use crate::power::ipmi::{Secret, Timing};
use bmc::{Bmc, Manner};
use proptest::prelude::*;
use std::num::NonZeroU32;

/// As long as IPMI v2.0 allows.
const PASSWORD: &[u8] = b"twenty-bytes-of-text";
const BMC_SESSION_ID: u32 = 0x0200_0002;

const ENTROPY: Entropy = Entropy { iv: [0x42; 16], jitter: 0 };

fn begin() -> Session {
    Session::begin(Setup {
        address: "192.0.2.7:623".parse().unwrap(),
        user: "admin".to_owned(),
        password: Secret::new(PASSWORD),
        privilege: Privilege::Administrator,
        timing: Timing::default(),
        console_session_id: NonZeroU32::new(0xa0a2_a3a4).unwrap(),
        console_random: [0xc; 16],
        first_tag: 0xfe,
    })
    .unwrap()
}

/// Drives the session; `deliver` decides for each answer of the BMC whether it arrives.
fn drive(
    session: &mut Session,
    bmc: &mut Bmc,
    now: &mut Duration,
    mut deliver: impl FnMut() -> bool,
) -> Result<Done, IpmiError> {
    let mut inbox = VecDeque::new();
    loop {
        match session.poll(*now, &ENTROPY) {
            Step::Send(datagram) => inbox.extend(bmc.hear(&datagram).filter(|_| deliver())),
            Step::WaitUntil(due) => match inbox.pop_front() {
                Some(datagram) => session.receive(*now, &datagram),
                None => *now = due,
            },
            Step::Finished(result) => return result,
            Step::Idle => panic!("the session went idle without a result"),
        }
    }
}

fn open(bmc: &mut Bmc) -> (Session, Result<Done, IpmiError>) {
    let mut session = begin();
    let mut now = Duration::ZERO;
    let result = drive(&mut session, bmc, &mut now, || true);
    (session, result)
}

fn open_error(manner: Manner) -> IpmiError {
    let mut bmc = Bmc::new(manner);
    let (mut session, result) = open(&mut bmc);
    let half_open = bmc.keys.is_some() || matches!(session.phase, Phase::Proving { .. });
    for datagram in session.farewell(&ENTROPY) {
        bmc.hear(&datagram);
    }
    if half_open {
        assert!(bmc.aborted || bmc.closed, "the BMC was left with a half-open session");
    }
    result.unwrap_err()
}

#[test]
fn a_session_opens_takes_a_command_and_closes() {
    let mut bmc = Bmc::new(Manner::default());
    let (mut session, result) = open(&mut bmc);
    assert_eq!(result.unwrap(), Done::Opened);
    let mut now = Duration::ZERO;
    session.command(Command::GetChassisStatus, Vec::new(), Patience::Repeated { tries: 2 });
    let answer = drive(&mut session, &mut bmc, &mut now, || true).unwrap();
    assert_eq!(answer, Done::Answered(vec![1, 0, 0]));
    session.close();
    assert_eq!(drive(&mut session, &mut bmc, &mut now, || true).unwrap(), Done::Closed);
    assert!(bmc.closed && !session.is_open());
    assert!(session.farewell(&ENTROPY).is_empty());
}

#[test]
fn every_refusal_of_the_handshake_has_its_own_error() {
    let open = |open_status| open_error(Manner { open_status, ..Manner::default() });
    assert!(matches!(open(0x01), IpmiError::NoFreeSession { .. }));
    assert!(matches!(open(0x11), IpmiError::CipherSuiteNotSupported { .. }));
    assert!(matches!(open(0x04), IpmiError::CipherSuiteNotSupported { .. }));
    let rakp2 = |rakp2_status| open_error(Manner { rakp2_status, ..Manner::default() });
    assert!(matches!(rakp2(0x0d), IpmiError::UserUnknown { .. }));
    assert!(matches!(rakp2(0x0a), IpmiError::PrivilegeRefused { .. }));
    assert!(matches!(rakp2(0x02), IpmiError::HandshakeRefused { .. }));
    assert!(rakp2(0x02).lost_half_way());
    let refused = open_error(Manner { rakp4_status: 0x0f, ..Manner::default() });
    let proof = PasswordProof::ConsoleProofRefused(RakpStatus(0x0f));
    assert!(matches!(refused, IpmiError::PasswordRefused { proof: got, .. } if got == proof));
    let other_suite = open_error(Manner { suite: 2, ..Manner::default() });
    assert!(matches!(other_suite, IpmiError::CipherSuiteNotSupported { .. }));
    let old = open_error(Manner { version15_only: true, ..Manner::default() });
    assert!(matches!(old, IpmiError::VersionNotSupported { .. }));
}

#[test]
fn a_wrong_confirmation_is_the_channel_key_where_the_bmc_has_one_and_the_password_elsewhere() {
    let manner = Manner { wrong_confirmation: true, ..Manner::default() };
    assert!(matches!(open_error(manner), IpmiError::PasswordRefused { .. }));
    let manner = Manner { channel_key: true, ..manner };
    assert!(matches!(open_error(manner), IpmiError::ChannelKeyRequired { .. }));
}

#[test]
fn a_user_who_may_not_be_administrator_becomes_operator_in_the_same_session() {
    let manner = Manner { level_code: 0x81, level_operator_ok: true, ..Manner::default() };
    let mut bmc = Bmc::new(manner);
    assert_eq!(open(&mut bmc).1.unwrap(), Done::Opened);
    let levels: Vec<_> = bmc.executed.iter().map(|request| request.data.clone()).collect();
    assert_eq!(levels, [vec![4], vec![3]]);
    let refused = open_error(Manner { level_operator_ok: false, ..manner });
    assert!(matches!(refused, IpmiError::PrivilegeRefused { .. }));
}

#[test]
fn a_command_that_must_not_be_done_twice_is_sent_once() {
    let mut bmc = Bmc::new(Manner::default());
    let (mut session, _) = open(&mut bmc);
    bmc.executed.clear();
    session.command(Command::ChassisControl, vec![2], Patience::Once { wait_ms: 15_000 });
    let mut now = Duration::ZERO;
    let error = drive(&mut session, &mut bmc, &mut now, || false).unwrap_err();
    assert!(matches!(error, IpmiError::NoAnswer { tries: 1, .. }));
    assert!(error.to_string().contains("may or may not have been carried out"));
    assert_eq!(bmc.executed.len(), 1);
    assert_eq!(now, Duration::from_secs(15));
}

#[test]
fn a_repeated_command_keeps_its_request_sequence() {
    let mut bmc = Bmc::new(Manner::default());
    let (mut session, _) = open(&mut bmc);
    bmc.executed.clear();
    session.command(Command::ChassisControl, vec![1], Patience::Repeated { tries: 5 });
    let (mut now, mut answers) = (Duration::ZERO, 0);
    let result = drive(&mut session, &mut bmc, &mut now, || {
        answers += 1;
        answers == 3
    });
    assert!(result.is_ok());
    let sequences: Vec<_> = bmc.executed.iter().map(|request| request.sequence).collect();
    assert_eq!(sequences, [sequences[0]; 3]);
}

#[test]
fn a_busy_bmc_is_asked_again_even_for_a_command_that_is_sent_once_and_not_for_ever() {
    for (busy, reached) in [(2, true), (99, false)] {
        let mut bmc = Bmc::new(Manner::default());
        let (mut session, _) = open(&mut bmc);
        bmc.executed.clear();
        bmc.manner.busy = busy;
        session.command(Command::ChassisControl, vec![2], Patience::Once { wait_ms: 15_000 });
        let result = drive(&mut session, &mut bmc, &mut Duration::ZERO.clone(), || true);
        assert_eq!(result.is_ok(), reached);
        assert_eq!(bmc.executed.len(), usize::from(reached));
        if let Err(error) = result {
            let code = CompletionCode::NODE_BUSY;
            assert!(matches!(error, IpmiError::Completion { code: got, .. } if got == code));
        }
    }
}

#[test]
fn a_refused_command_says_which_code_and_what_it_means() {
    let mut bmc = Bmc::new(Manner { chassis_code: 0xd5, ..Manner::default() });
    let (mut session, _) = open(&mut bmc);
    session.command(Command::ChassisControl, vec![3], Patience::Once { wait_ms: 1 });
    let error = drive(&mut session, &mut bmc, &mut Duration::ZERO.clone(), || true).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("192.0.2.7:623") && text.contains("D5h"), "{text}");
    assert!(text.contains("needs the power to be on"), "{text}");
}

#[test]
fn a_second_session_slot_that_a_repeat_took_is_given_back() {
    let mut session = begin();
    let mut bmc = Bmc::new(Manner::default());
    let now = Duration::ZERO;
    let mut opened = Vec::new();
    while opened.is_empty() {
        match session.poll(now, &ENTROPY) {
            Step::Send(datagram) => {
                let reply = bmc.hear(&datagram).unwrap();
                if let Datagram::Unprotected { payload, .. } = codec::decode(&reply).unwrap() {
                    opened = payload.to_vec();
                }
                session.receive(now, &reply);
            }
            other => panic!("{other:?}"),
        }
    }
    // The BMC answers the repeated request with another session id.
    opened[8] ^= 0x04;
    let second = codec::encode_unprotected(PayloadType::OpenSessionResponse, &opened).unwrap();
    session.receive(now, &second);
    let Step::Send(datagram) = session.poll(now, &ENTROPY) else { panic!("nothing was sent") };
    let Ok(Datagram::Unprotected { payload, .. }) = codec::decode(&datagram) else { panic!() };
    let abort = Rakp3::decode(payload).unwrap();
    assert!(abort.proof.is_err());
    assert_eq!(abort.bmc_session_id, BMC_SESSION_ID ^ 0x04);
}

#[test]
fn no_bmc_is_said_with_the_stage_the_tries_and_what_was_seen() {
    let mut session = begin();
    let mut now = Duration::ZERO;
    let error = loop {
        match session.poll(now, &ENTROPY) {
            Step::Send(_) => session.port_unreachable(),
            Step::WaitUntil(due) => now = due,
            Step::Finished(result) => break result.unwrap_err(),
            Step::Idle => panic!("idle"),
        }
    };
    assert!(matches!(
        error,
        IpmiError::NoAnswer { stage: Stage::Discover, tries: 5, silence, .. }
            if silence == crate::power::ipmi::Silence::PortUnreachable
    ));
    assert_eq!(now, Duration::from_secs(15));
}

#[test]
fn answers_that_cannot_be_read_are_reported_and_not_believed() {
    let mut session = begin();
    let mut now = Duration::ZERO;
    let error = loop {
        match session.poll(now, &ENTROPY) {
            Step::Send(_) => session.receive(now, b"HTTP/1.1 400 Bad Request"),
            Step::WaitUntil(due) => now = due,
            Step::Finished(result) => break result.unwrap_err(),
            Step::Idle => panic!("idle"),
        }
    };
    assert!(matches!(error, IpmiError::MalformedReply { stage: Stage::Discover, .. }));
}

#[test]
fn a_credential_that_ipmi_cannot_carry_is_refused_before_anything_is_sent() {
    let setup =
        |user: &str, password: &str| Setup { user: user.to_owned(), password: Secret::new(password), ..begin().setup };
    let error = Session::begin(setup("a-user-of-17-byte", "x")).unwrap_err();
    assert!(matches!(error, IpmiError::CredentialTooLong { limit_bytes: 16, .. }));
    let error = Session::begin(setup("admin", "a-password-of-21-byte")).unwrap_err();
    assert!(matches!(error, IpmiError::CredentialTooLong { limit_bytes: 20, .. }));
    assert!(!error.to_string().contains("a-password"));
}

proptest! {
    #[test]
    fn a_session_arrives_or_gives_up_whatever_is_lost(lost in prop::collection::vec(any::<bool>(), 0..60)) {
        let mut bmc = Bmc::new(Manner::default());
        let mut session = begin();
        let mut lost = lost.into_iter();
        let mut now = Duration::ZERO;
        let result = drive(&mut session, &mut bmc, &mut now, || !lost.next().unwrap_or(false));
        match result {
            Ok(done) => prop_assert_eq!(done, Done::Opened),
            Err(error) => {
                let silent = matches!(error, IpmiError::NoAnswer { .. });
                prop_assert!(silent, "{error}");
            }
        }
        prop_assert!(now <= Duration::from_secs(15 * 5));
    }

    #[test]
    fn foreign_bytes_between_the_answers_change_nothing(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..12),
        header: bool,
    ) {
        let mut bmc = Bmc::new(Manner::default());
        let mut session = begin();
        let now = Duration::ZERO;
        let mut noise = noise.into_iter();
        let done = loop {
            match session.poll(now, &ENTROPY) {
                Step::Send(datagram) => {
                    let mut bytes = noise.next().unwrap_or_default();
                    if header {
                        bytes.splice(0..0, [0x06, 0, 0xff, 0x07, 0x06, 0xc0]);
                    }
                    session.receive(now, &bytes);
                    if let Some(reply) = bmc.hear(&datagram) {
                        session.receive(now, &reply);
                        session.receive(now, &reply);
                    }
                }
                Step::WaitUntil(_) | Step::Idle => panic!("the answer was not taken"),
                Step::Finished(result) => break result.unwrap(),
            }
        };
        prop_assert_eq!(done, Done::Opened);
    }
}
