//! Frames and messages: whatever the bytes, and however they are cut.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::model::hardware::{Bios, Board, Carrier, Disk, Firmware, Interface, Medium, Processor, System};

fn hardware(text: String, number: u64) -> Hardware {
    Hardware {
        architecture: text.clone(),
        kernel: "6.1".into(),
        firmware: Firmware::Uefi,
        system: System { vendor: Some(text.clone()), ..System::default() },
        board: Board::default(),
        bios: Bios { vendor: None, version: Some(text.clone()), date: None },
        processor: Processor { threads: 4, clock_mhz: Some(2400), ..Processor::default() },
        memory_bytes: number,
        disks: vec![Disk {
            name: "vda".into(),
            size_bytes: number,
            model: None,
            serial: None,
            medium: Medium::SolidState,
        }],
        interfaces: vec![Interface {
            name: "eth0".into(),
            mac: "52:54:00:12:34:56".parse().unwrap(),
            driver: Some("virtio_net".into()),
            speed_mbit: None,
            carrier: Carrier::Present,
            pci_address: None,
        }],
    }
}

fn item() -> impl Strategy<Value = WireItem> {
    prop_oneof![
        any::<i64>().prop_map(WireItem::Int),
        ".{0,20}".prop_map(WireItem::Text),
        any::<IpAddr>().prop_map(WireItem::Ip),
    ]
}

fn value() -> impl Strategy<Value = WireValue> {
    prop_oneof![
        ".{0,20}".prop_map(WireValue::Symbol),
        any::<[u8; 32]>().prop_map(WireValue::Digest),
        any::<i64>().prop_map(WireValue::Int),
        ".{0,20}".prop_map(WireValue::Text),
        any::<IpAddr>().prop_map(WireValue::Ip),
        vec(item(), 0..10).prop_map(WireValue::List),
    ]
}

prop_compose! {
    fn variable()(path in ".{0,40}", value in option::of(value())) -> WireVariable {
        WireVariable { path, value }
    }
}

prop_compose! {
    fn report()(revision: u64, full: bool, variables in vec(variable(), 0..20), order in vec(".{0,20}", 0..8)) -> Report {
        let scope = if full { WireScope::Full } else { WireScope::Delta };
        Report { revision, scope, variables, order }
    }
}

fn child_message() -> impl Strategy<Value = ChildMessage> {
    prop_oneof![
        (any::<u16>(), any::<[u8; 16]>(), any::<Vec<u8>>(), any::<Vec<u8>>())
            .prop_map(|(version, node, token, csr_der)| ChildMessage::Join { version, node, token, csr_der }),
        (any::<u16>(), any::<[u8; 16]>()).prop_map(|(version, node)| ChildMessage::Hello { version, node }),
        report().prop_map(ChildMessage::Observed),
        (".{0,30}", any::<u64>()).prop_map(|(text, n)| ChildMessage::Hardware(Box::new(hardware(text, n)))),
        (vec(".{0,100}", 0..10), any::<u64>()).prop_map(|(lines, dropped)| ChildMessage::Console { lines, dropped }),
        (".{0,20}", option::of(".{0,20}"), any::<u64>(), ".{0,200}").prop_map(
            |(mutation, image, generation, detail)| {
                ChildMessage::Failed { step: WireStep { mutation, image }, generation, detail }
            }
        ),
        (any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(revision, digest)| ChildMessage::Heartbeat(Pulse { revision, digest })),
        Just(ChildMessage::Resend),
        Just(ChildMessage::Bye),
    ]
}

fn parent_message() -> impl Strategy<Value = ParentMessage> {
    prop_oneof![
        vec(any::<Vec<u8>>(), 0..4).prop_map(|chain_der| ParentMessage::Joined { chain_der }),
        any::<u16>().prop_map(|spoken| ParentMessage::Refused { reason: WireRefusal::Version { spoken } }),
        (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(hello_interval_ms, dead_interval_ms, session)| {
            ParentMessage::Welcome { hello_interval_ms, dead_interval_ms, session }
        }),
        report().prop_map(ParentMessage::Desired),
        (".{0,20}", option::of(".{0,20}"), any::<u64>(), any::<Option<[u8; 32]>>()).prop_map(
            |(mutation, image, generation, digest)| ParentMessage::Perform {
                step: WireStep { mutation, image },
                generation,
                digest
            }
        ),
        Just(ParentMessage::Resend),
    ]
}

/// The bodies that come out when `bytes` arrive in the pieces that `cuts` make.
fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<BytesMut> {
    let mut points: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    points.extend([0, bytes.len()]);
    points.sort_unstable();
    let mut frames = Frames::new(SYNC_FRAME_BYTES_MAX);
    let mut bodies = Vec::new();
    for piece in points.windows(2) {
        frames.push(&bytes[piece[0]..piece[1]]);
        while let Some(body) = frames.next_body().unwrap() {
            bodies.push(body);
        }
    }
    bodies
}

proptest! {
    #[test]
    fn what_a_child_says_arrives_as_it_was_said_however_it_is_cut(
        messages in vec(child_message(), 1..6), cuts: Vec<prop::sample::Index>,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
        let heard: Vec<ChildMessage> = cut(&bytes, &cuts).iter().map(|body| decode(body).unwrap()).collect();
        prop_assert_eq!(heard, messages);
    }

    #[test]
    fn what_a_parent_says_arrives_as_it_was_said_however_it_is_cut(
        messages in vec(parent_message(), 1..6), cuts: Vec<prop::sample::Index>,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
        let heard: Vec<ParentMessage> = cut(&bytes, &cuts).iter().map(|body| decode(body).unwrap()).collect();
        prop_assert_eq!(heard, messages);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>, limit in 0_usize..200) {
        let mut frames = Frames::new(limit);
        frames.push(&bytes);
        while let Ok(Some(body)) = frames.next_body() {
            prop_assert!(body.len() <= limit);
            let _ = decode::<ChildMessage>(&body);
            let _ = decode::<ParentMessage>(&body);
            let _ = opening_version(&body);
        }
    }

    #[test]
    fn a_message_that_is_cut_short_or_followed_by_bytes_is_refused(message in child_message(), more in 1_u8..) {
        let frame = encode(&message).unwrap();
        let body = &frame[LENGTH_BYTES..];
        prop_assert!(decode::<ChildMessage>(&body[..body.len() - 1]).is_err());
        prop_assert!(decode::<ChildMessage>(&[body, &[more]].concat()).is_err());
    }

    #[test]
    fn the_version_of_a_first_frame_is_read_without_the_rest(version: u16, node: [u8; 16], rest: Vec<u8>) {
        let hello = encode(&ChildMessage::Hello { version, node }).unwrap();
        let body = [&hello[LENGTH_BYTES..], &rest].concat();
        prop_assert_eq!(opening_version(&body), Some(version));
    }
}

#[test]
fn a_frame_is_refused_by_its_length_before_its_bytes_are_awaited() {
    let mut frames = Frames::new(OPENING_FRAME_BYTES_MAX);
    frames.push(&u32::MAX.to_be_bytes());
    assert!(matches!(frames.next_body(), Err(CodecError::FrameTooLong { .. })));
    let too_long = vec![String::from_utf8(vec![b'x'; SYNC_FRAME_BYTES_MAX]).unwrap()];
    let message = ChildMessage::Console { lines: too_long, dropped: 0 };
    assert!(matches!(encode(&message), Err(CodecError::MessageTooLong { .. })));
}

/// Written out by hand from the format: a variant that moved would be read as another one by every agent that is out there.
#[test]
fn values_have_the_bytes_that_they_have_always_had() {
    let [v4, v6]: [IpAddr; 2] = ["10.0.0.17".parse().unwrap(), "2001:db8::17".parse().unwrap()];
    let IpAddr::V6(octets) = v6 else { panic!("{v6}") };
    let list = vec![WireItem::Int(-1), WireItem::Text("a".into()), WireItem::Ip(v4)];
    for (value, bytes) in [
        (WireValue::Symbol("up".into()), vec![0, 2, b'u', b'p']),
        (WireValue::Digest([7; 32]), [vec![1], vec![7; 32]].concat()),
        (WireValue::Int(1_400), vec![2, 0xf0, 0x15]),
        (WireValue::Int(-2), vec![2, 3]),
        (WireValue::Text("n17".into()), vec![3, 3, b'n', b'1', b'7']),
        (WireValue::Ip(v4), vec![4, 0, 10, 0, 0, 17]),
        (WireValue::Ip(v6), [vec![4, 1], octets.octets().to_vec()].concat()),
        (WireValue::List(list), vec![5, 3, 0, 1, 1, 1, b'a', 2, 0, 10, 0, 0, 17]),
    ] {
        assert_eq!(postcard::to_stdvec(&value).unwrap(), bytes, "{value:?}");
        assert_eq!(postcard::from_bytes::<WireValue>(&bytes).unwrap(), value);
    }
}

#[test]
fn lists_in_lists_are_refused_however_deep() {
    let nested = vec![5_u8; 1 << 19].into_iter().flat_map(|variant| [variant, 1]).collect::<Vec<u8>>();
    assert!(postcard::from_bytes::<WireValue>(&nested).is_err());
}

#[test]
fn only_a_first_frame_has_a_version() {
    assert_eq!(opening_version(&encode(&ChildMessage::Bye).unwrap()[LENGTH_BYTES..]), None);
    assert_eq!(opening_version(&[]), None);
}
