//! Properties of the codec: what is encoded decodes to itself, and no bytes make it panic.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::message::*;
use super::rakp::*;
use super::*;
use crate::power::ipmi::completion::CompletionCode;
use crate::power::ipmi::crypto::{Exchange, SessionKeys};
use proptest::prelude::*;

fn keys(password: &[u8]) -> SessionKeys {
    Exchange {
        console_session_id: 0xa0a2_a3a4,
        bmc_session_id: 0x0200_0002,
        console_random: [1; 16],
        bmc_random: [2; 16],
        bmc_guid: [3; 16],
        role: 0x14,
        user: b"admin".to_vec(),
    }
    .keys(password)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn algorithms() -> impl Strategy<Value = Algorithms> {
    (0u8..64, 0u8..64, 0u8..64).prop_map(|(authentication, integrity, confidentiality)| Algorithms {
        authentication,
        integrity,
        confidentiality,
    })
}

#[test]
fn get_channel_authentication_capabilities_has_the_bytes_that_other_consoles_send() {
    let request = Request {
        net_fn: 0x06,
        command: 0x38,
        sequence: RequestSequence::new(0),
        data: AuthenticationCapabilities::request_data(4).to_vec(),
    };
    let datagram = encode_version15(&request.encode()).unwrap();
    let expected = [
        0x06, 0x00, 0xff, 0x07, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0x09, 0x20, 0x18, 0xc8, 0x81, 0x00, 0x38, 0x8e, 0x04,
        0xb5,
    ];
    assert_eq!(datagram, expected);
}

#[test]
fn a_message_that_is_protected_by_half_is_refused() {
    let mut datagram = seal(&keys(b"x"), 1, 1, PayloadType::Ipmi, b"abc", &[0; 16]).unwrap();
    datagram[5] &= !0x80;
    assert!(matches!(decode(&datagram), Err(CodecError::Unexpected { .. })));
}

#[test]
fn a_refusal_is_read_whatever_follows_its_status() {
    for tail in [0usize, 6, 34] {
        let mut payload = vec![7, 0x0d];
        payload.resize(2 + tail, 0);
        let refused = RakpStatus(0x0d);
        assert_eq!(Rakp2::decode(&payload), Ok(Answer::Refused { tag: 7, status: refused }));
        assert_eq!(Rakp4::decode(&payload), Ok(Answer::Refused { tag: 7, status: refused }));
        let open = OpenSessionResponse::decode(&payload);
        assert_eq!(open, Ok(Answer::Refused { tag: 7, status: refused }));
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(input in bytes(200)) {
        let _ = Request::decode(&input);
        let _ = Response::decode(&input);
        let _ = AuthenticationCapabilities::decode(&input);
        let _ = OpenSessionRequest::decode(&input);
        let _ = OpenSessionResponse::decode(&input);
        let _ = Rakp1::decode(&input);
        let _ = Rakp2::decode(&input);
        let _ = Rakp3::decode(&input);
        let _ = Rakp4::decode(&input);
        let _ = decode(&input);
    }

    #[test]
    fn bytes_behind_a_good_header_decode_or_fail_but_never_panic(
        auth in prop::sample::select(vec![0u8, 6, 1, 255]),
        kind: u8,
        tail in bytes(120),
    ) {
        let mut input = vec![0x06, 0, 0xff, 0x07, auth, kind];
        input.extend_from_slice(&tail);
        if let Ok(Datagram::Protected(protected)) = decode(&input) {
            let _ = protected.open(&keys(b"x"));
        }
    }

    #[test]
    fn a_correctly_signed_message_of_any_ciphertext_opens_or_fails_but_never_panics(
        ciphertext in bytes(100),
    ) {
        let keys = keys(b"secret");
        let signed = vec![0x06; 12];
        let protected = Protected {
            session_id: 1,
            sequence: 1,
            payload_type: PayloadType::Ipmi,
            auth_code: keys.auth_code(&signed),
            signed: &signed,
            ciphertext: &ciphertext,
        };
        if let Ok(opened) = protected.open(&keys) {
            prop_assert!(opened.payload.len() < ciphertext.len());
        }
    }

    #[test]
    fn a_request_and_its_response_come_back_as_they_were(
        net_fn in 0u8..64, command: u8, number: u8, code: u8, data in bytes(64),
    ) {
        let sequence = RequestSequence::new(number);
        let request = Request { net_fn, command, sequence, data: data.clone() };
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        let completion = CompletionCode(code);
        let response = Response { net_fn, command, sequence, completion, data };
        prop_assert_eq!(Response::decode(&response.encode()), Ok(response));
    }

    #[test]
    fn one_changed_byte_of_a_message_is_always_noticed(
        data in bytes(32), at: prop::sample::Index, flip in 1u8..=255,
    ) {
        let sequence = RequestSequence::new(5);
        let mut wire = Request { net_fn: 0, command: 1, sequence, data }.encode();
        let at = at.index(wire.len());
        wire[at] ^= flip;
        prop_assert!(Request::decode(&wire).is_err());
    }

    #[test]
    fn a_sealed_payload_opens_to_itself(
        session_id: u32, sequence: u32, payload in bytes(100), iv: [u8; 16],
    ) {
        let keys = keys(b"secret");
        let wire = seal(&keys, session_id, sequence, PayloadType::Ipmi, &payload, &iv).unwrap();
        let Ok(Datagram::Protected(protected)) = decode(&wire) else { panic!("not protected") };
        prop_assert_eq!(protected.session_id(), session_id);
        let opened = protected.open(&keys).unwrap();
        prop_assert_eq!(opened, Opened { sequence, payload_type: PayloadType::Ipmi, payload });
        prop_assert_eq!((wire.len() - 4 - 12) % 4, 0);
    }

    #[test]
    fn a_sealed_datagram_with_one_changed_byte_never_opens(
        payload in bytes(40), at: prop::sample::Index, flip in 1u8..=255,
    ) {
        let keys = keys(b"secret");
        let mut wire = seal(&keys, 9, 9, PayloadType::Ipmi, &payload, &[7; 16]).unwrap();
        // The RMCP header's reserved byte and sequence are outside the integrity check.
        let at = 4 + at.index(wire.len() - 4);
        wire[at] ^= flip;
        if let Ok(Datagram::Protected(protected)) = decode(&wire) {
            prop_assert!(protected.open(&keys).is_err());
        }
    }

    #[test]
    fn another_password_never_opens_a_datagram(password in bytes(20), payload in bytes(40)) {
        prop_assume!(password != b"secret");
        let wire =
            seal(&keys(b"secret"), 9, 9, PayloadType::Ipmi, &payload, &[7; 16]).unwrap();
        let Ok(Datagram::Protected(protected)) = decode(&wire) else { panic!("not protected") };
        // Keys that differ only by trailing zeros are the same HMAC key, as the specification pads passwords.
        let mut padded = password.clone();
        while padded.last() == Some(&0) {
            padded.pop();
        }
        prop_assume!(padded != b"secret");
        prop_assert_eq!(protected.open(&keys(&password)), Err(CodecError::Integrity));
    }

    #[test]
    fn an_unprotected_payload_comes_back_as_it_was(payload in bytes(100)) {
        let wire = encode_unprotected(PayloadType::Rakp1, &payload).unwrap();
        let expected = Datagram::Unprotected { payload_type: PayloadType::Rakp1, payload: &payload };
        prop_assert_eq!(decode(&wire), Ok(expected));
        let wire = encode_version15(&payload).unwrap();
        prop_assert_eq!(decode(&wire), Ok(Datagram::Version15 { payload: &payload }));
    }

    #[test]
    fn the_messages_of_the_handshake_come_back_as_they_were(
        tag: u8, privilege in 0u8..16, ids: (u32, u32), nonces: ([u8; 16], [u8; 16]),
        role: u8, user in bytes(17), proof: [u8; 20], code: [u8; 12], status in 1u8..=255,
        algorithms in algorithms(),
    ) {
        let (console_session_id, bmc_session_id) = ids;
        let request = OpenSessionRequest { tag, privilege, console_session_id, algorithms };
        prop_assert_eq!(OpenSessionRequest::decode(&request.encode()), Ok(request));
        let response = OpenSessionResponse { tag, console_session_id, bmc_session_id, algorithms };
        let decoded = OpenSessionResponse::decode(&response.encode());
        prop_assert_eq!(decoded, Ok(Answer::Accepted(response)));
        let rakp1 = Rakp1 { tag, bmc_session_id, console_random: nonces.0, role, user };
        prop_assert_eq!(Rakp1::decode(&rakp1.encode().unwrap()), Ok(rakp1));
        let rakp2 = Rakp2 {
            tag, console_session_id, bmc_random: nonces.0, bmc_guid: nonces.1, proof,
        };
        prop_assert_eq!(Rakp2::decode(&rakp2.encode()), Ok(Answer::Accepted(rakp2)));
        for proof in [Ok(proof), Err(RakpStatus(status))] {
            let rakp3 = Rakp3 { tag, bmc_session_id, proof };
            prop_assert_eq!(Rakp3::decode(&rakp3.encode()), Ok(rakp3));
        }
        let rakp4 = Rakp4 { tag, console_session_id, confirmation: code };
        prop_assert_eq!(Rakp4::decode(&rakp4.encode()), Ok(Answer::Accepted(rakp4)));
    }
}
