//! What the codec must hold for every packet, and what firmware really sends.

use super::*;
use proptest::prelude::*;

fn options() -> impl Strategy<Value = Options> {
    (
        proptest::option::of(BLKSIZE_MIN_BYTES..=BLKSIZE_MAX_BYTES),
        proptest::option::of(1..=u8::MAX),
        proptest::option::of(any::<u64>()),
        proptest::option::of(1..=u16::MAX),
        proptest::option::of(prop_oneof![Just(Rollover::ToZero), Just(Rollover::ToOne)]),
    )
        .prop_map(|(blksize_bytes, timeout_s, tsize_bytes, windowsize_blocks, rollover)| Options {
            blksize_bytes,
            timeout_s,
            tsize_bytes,
            windowsize_blocks,
            rollover,
        })
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, &mut bytes);
    bytes
}

fn read(bytes: &[u8]) -> Request<'_> {
    match decode(bytes) {
        Ok(Packet::Read(request)) => request,
        other => panic!("not a read request: {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_request_survives_the_round_trip(name in "[^\\p{Cc}]{1,120}", mode in 0..3, options in options(), write: bool) {
        let mode = match mode { 0 => Mode::Octet, 1 => Mode::Netascii, _ => Mode::Unknown(b"mail") };
        let request = Request { name: &name, mode, options };
        let packet = if write { Packet::Write(request) } else { Packet::Read(request) };
        let bytes = encoded(&packet);
        prop_assert_eq!(decode(&bytes), Ok(packet));
    }

    #[test]
    fn every_other_packet_survives_the_round_trip(
        number: u16, bytes in proptest::collection::vec(any::<u8>(), 0..2000), text in "[^\\x00]{0,80}", options in options(),
    ) {
        for packet in [
            Packet::Data { block: number, payload: &bytes },
            Packet::Ack { block: number },
            Packet::Error { code: ErrorCode::from_wire(number), message: text.as_bytes() },
            Packet::OptionAck(options),
        ] {
            let wire = encoded(&packet);
            prop_assert_eq!(decode(&wire), Ok(packet));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(opcode in 0u8..8, bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = decode(&bytes);
        let mut packet = vec![0, opcode];
        packet.extend_from_slice(&bytes);
        if let Ok(Packet::Read(request) | Packet::Write(request)) = decode(&packet) {
            prop_assert!(!request.name.is_empty() && request.name.len() <= NAME_MAX_BYTES);
            prop_assert!(request.options.blksize_bytes.is_none_or(|size| (8..=65_464).contains(&size)));
            prop_assert!(request.options.windowsize_blocks != Some(0) && request.options.timeout_s != Some(0));
        }
    }

    #[test]
    fn a_request_cut_anywhere_never_panics(cut in 0usize..60) {
        let whole = b"\0\x01boot/snponly.efi\0octet\0tsize\x000\0blksize\x001468\0";
        let _ = decode(&whole[..cut.min(whole.len())]);
    }
}

#[test]
fn a_request_as_ovmf_sends_it_is_read() {
    let request = read(b"\0\x01snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0");
    assert_eq!((request.name, request.mode), ("snponly.efi", Mode::Octet));
    let wanted =
        Options { blksize_bytes: Some(1468), tsize_bytes: Some(0), windowsize_blocks: Some(4), ..Options::default() };
    assert_eq!(request.options, wanted);
}

#[test]
fn option_names_and_modes_are_read_in_any_case() {
    let request = read(b"\0\x01f\0OcTeT\0BLKSIZE\x001024\0TimeOut\x003\0");
    assert_eq!(request.mode, Mode::Octet);
    assert_eq!((request.options.blksize_bytes, request.options.timeout_s), (Some(1024), Some(3)));
}

#[test]
fn stray_nuls_and_bytes_at_the_end_cost_nothing() {
    let expected = read(b"\0\x01f\0octet\0tsize\x000\0");
    for stray in [&b"\0"[..], b"\0\0\0\0", b"junk", b"junk\0", b"\0junk\0\0"] {
        let mut bytes = b"\0\x01f\0octet\0tsize\x000\0".to_vec();
        bytes.extend_from_slice(stray);
        assert_eq!(read(&bytes), expected, "{stray:?}");
    }
    assert_eq!(decode(b"\0\x04\0\x07\0\0\0\0"), Ok(Packet::Ack { block: 7 }));
}

#[test]
fn a_stray_nul_between_mode_and_options_hides_no_option() {
    assert_eq!(read(b"\0\x01f\0octet\0\0blksize\x001024\0").options.blksize_bytes, Some(1024));
}

#[test]
fn a_rollover_to_anything_but_zero_and_one_counts_as_not_asked_for() {
    for (value, wanted) in [("0", Some(Rollover::ToZero)), ("1", Some(Rollover::ToOne)), ("2", None), ("x", None)] {
        let packet = format!("\0\x01f\0octet\0rollover\0{value}\0");
        assert_eq!(read(packet.as_bytes()).options.rollover, wanted, "{value}");
    }
}

#[test]
fn a_missing_last_nul_is_tolerated() {
    assert_eq!(read(b"\0\x01f\0octet").mode, Mode::Octet);
    assert_eq!(read(b"\0\x01f\0octet\0blksize\x001428").options.blksize_bytes, Some(1428));
    assert_eq!(
        decode(b"\0\x05\0\x08aborted"),
        Ok(Packet::Error { code: ErrorCode::OptionsRefused, message: b"aborted" })
    );
}

#[test]
fn the_end_option_of_dhcp_after_a_name_is_not_part_of_it() {
    assert_eq!(read(b"\0\x01grubx64.efi\xff\0octet\0").name, "grubx64.efi");
}

#[test]
fn option_values_outside_their_range_count_as_not_sent() {
    for options in
        ["blksize\x007\0", "blksize\0-1\0", "timeout\x000\0", "timeout\x00256\0", "windowsize\x000\0", "tsize\0x\0"]
    {
        let bytes = format!("\0\x01f\0octet\0{options}");
        assert!(read(bytes.as_bytes()).options.is_empty(), "{options:?}");
    }
    assert_eq!(read(b"\0\x01f\0octet\0blksize\099999999\0").options.blksize_bytes, Some(BLKSIZE_MAX_BYTES));
    assert_eq!(read(b"\0\x01f\0octet\0blksize\x00600\0blksize\x00700\0").options.blksize_bytes, Some(600));
}

#[test]
fn names_that_cannot_be_served_are_named_as_such() {
    assert_eq!(decode(b"\0\x01\0octet\0"), Err(DecodeError::NameMissing));
    assert_eq!(decode(b"\0\x01\xffa\0octet\0"), Err(DecodeError::NameNotText));
    assert_eq!(decode(b"\0\x01a\nb\0octet\0"), Err(DecodeError::NameNotText));
    let mut long = b"\0\x01".to_vec();
    long.resize(2 + NAME_MAX_BYTES + 1, b'a');
    assert_eq!(decode(&long), Err(DecodeError::NameTooLong { length_bytes: NAME_MAX_BYTES + 1 }));
}

#[test]
fn what_is_no_tftp_packet_is_told_apart() {
    assert_eq!(decode(b""), Err(DecodeError::Truncated { length_bytes: 0 }));
    assert_eq!(decode(b"\0\x04\0"), Err(DecodeError::Truncated { length_bytes: 3 }));
    assert_eq!(decode(b"\0\x09abc"), Err(DecodeError::UnknownOpcode { opcode: 9 }));
}
