//! Every way in which a message can be whole, broken or in pieces; and that what is written reads back.

use super::*;
use std::collections::BTreeMap;

use dhcproto::v4::{Decodable, Decoder, DhcpOption, Message};
use proptest::prelude::*;

const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);

/// A client's message with these bytes for options, after the cookie.
fn message(options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    bytes[28..34].copy_from_slice(&MAC.0);
    bytes.extend(MAGIC);
    bytes.extend(options);
    bytes
}

fn discover(options: &[u8]) -> Request {
    decode(&message(&[&[53, 1, 1], options, &[255]].concat())).expect("a DISCOVER")
}

fn problem(code: u8, fault: OptionFault) -> OptionProblem {
    OptionProblem { code, fault }
}

#[test]
fn a_discover_of_uefi_http_firmware_is_read() {
    let mut options = vec![57, 2, 5, 0xc0, 93, 2, 0, 16, 60, 10];
    options.extend(b"HTTPClient");
    options.extend([97, 17, 0]);
    options.extend([7; 16]);
    let request = discover(&options);
    assert_eq!(request.kind, RequestKind::Discover);
    assert_eq!((request.mac, request.xid), (MAC, Xid(0xdead_beef)));
    assert_eq!(request.architectures, [16]);
    assert_eq!(request.message_max_bytes, 1472);
    assert_eq!(request.machine_id.map(|id| id.len()), Some(17));
    assert_eq!(request.vendor_class.as_deref(), Some(&b"HTTPClient"[..]));
    assert_eq!(request.problems, []);
    assert_eq!((request.client_ip, request.relay), (None, None));
}

#[test]
fn every_architecture_of_option_93_is_kept() {
    assert_eq!(discover(&[93, 6, 0, 7, 0, 9, 0, 11]).architectures, [7, 9, 11]);
    let odd = discover(&[93, 3, 0, 7, 0]);
    assert_eq!(odd.architectures, [7]);
    let fault = OptionFault::Length { length_bytes: 3, expected: "2 for each architecture" };
    assert_eq!(odd.problems, [problem(93, fault)]);
}

#[test]
fn a_user_class_is_read_as_rfc_3004_has_it_and_bare_as_ipxe_sends_it() {
    assert_eq!(discover(b"\x4d\x04iPXE").user_classes, [b"iPXE"]);
    assert_eq!(discover(b"\x4d\x05\x04iPXE").user_classes, [b"iPXE"]);
    assert_eq!(discover(b"\x4d\x07\x01a\x04iPXE").user_classes, [&b"a"[..], b"iPXE"]);
    assert_eq!(discover(b"\x4d\x02\x00a").user_classes, [b"\x00a"], "an empty class is none, so it is bare text");
}

#[test]
fn an_option_in_pieces_is_put_together_also_when_others_stand_between() {
    let request = discover(b"\x3c\x03PXE\x4d\x01x\x3c\x06Client");
    assert_eq!(request.vendor_class.as_deref(), Some(&b"PXEClient"[..]));
}

#[test]
fn options_in_file_and_sname_are_read_when_option_52_says_so_and_file_comes_first() {
    let put = |overload: u8| {
        let mut bytes = message(&[53, 1, 1, 52, 1, overload, 60, 1, b'a', 255]);
        bytes[108..112].copy_from_slice(&[60, 1, b'b', 255]);
        bytes[44..48].copy_from_slice(&[60, 1, b'c', 255]);
        decode(&bytes).expect("a DISCOVER")
    };
    let class = |overload| put(overload).vendor_class.unwrap_or_default();
    assert_eq!(class(1), b"ab");
    assert_eq!(class(2), b"ac");
    assert_eq!(class(3), b"abc");
    assert_eq!(class(4), b"a");
    let fault = OptionFault::Value { value: 4, expected: "1, 2 or 3" };
    assert_eq!(put(4).problems, [problem(52, fault)]);
}

#[test]
fn a_broken_option_is_named_and_the_others_are_kept() {
    let request = discover(&[57, 1, 9, 51, 3, 0, 0, 1, 61, 1, 1, 97, 2, 0, 0, 93, 2, 0, 7, 60, 200, 1]);
    assert_eq!(request.architectures, [7]);
    assert_eq!(request.message_max_bytes, 576);
    assert_eq!((request.lease_s, request.client_id, request.machine_id), (None, None, None));
    let mut codes: Vec<u8> = request.problems.iter().map(|p| p.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [51, 57, 60, 61, 97]);
}

#[test]
fn a_message_that_hangs_on_a_broken_option_is_refused() {
    let fault = OptionFault::Length { length_bytes: 3, expected: "4" };
    let broken = message(&[53, 1, 3, 50, 3, 1, 2, 3, 255]);
    assert_eq!(decode(&broken), Err(DecodeError::Option(problem(50, fault))));
    let cut = message(&[53, 1, 3, 54, 4, 1, 2]);
    assert_eq!(decode(&cut), Err(DecodeError::Option(problem(54, OptionFault::CutOff))));
    let twice = message(&[53, 1, 1, 53, 1, 1, 255]);
    let fault = OptionFault::Length { length_bytes: 2, expected: "1" };
    assert_eq!(decode(&twice), Err(DecodeError::Option(problem(53, fault))));
}

#[test]
fn what_is_no_message_of_a_client_is_refused_with_its_reason() {
    assert_eq!(decode(&[1; 100]), Err(DecodeError::TooShort { length_bytes: 100 }));
    let changed = |at: usize, value: u8| {
        let mut bytes = message(&[53, 1, 1, 255]);
        bytes[at] = value;
        decode(&bytes)
    };
    assert_eq!(changed(0, 2), Err(DecodeError::NotFromAClient { op: 2 }));
    assert_eq!(changed(2, 255), Err(DecodeError::NotEthernet { htype: 1, hlen: 255 }));
    assert_eq!(changed(1, 32), Err(DecodeError::NotEthernet { htype: 32, hlen: 6 }));
    assert_eq!(changed(236, 0), Err(DecodeError::NotDhcp));
    assert_eq!(changed(242, 2), Err(DecodeError::KindNotServed { kind: 2 }));
    assert_eq!(decode(&message(&[255])), Err(DecodeError::NotDhcp), "BOOTP");
}

#[test]
fn the_librarys_own_walk_loses_an_option_whose_last_piece_is_cut_off_without_a_word() {
    let bytes = message(&[53, 1, 1, 60, 3, b'P', b'X', b'E', 60, 6, b'C']);
    let theirs = borrowed::Message::new(&bytes).expect("a header");
    assert_eq!(theirs.opts().count(), 1, "53 alone: should it ever be 2 with an error, `options` has no reason to be");
    let ours = decode(&bytes).expect("a DISCOVER");
    assert_eq!(ours.vendor_class.as_deref(), Some(&b"PXE"[..]));
    assert_eq!(ours.problems, [problem(60, OptionFault::CutOff)]);
}

fn response() -> Response {
    let request = discover(&[]);
    let mut response = Response::to(&request, ResponseKind::Offer, Ipv4Addr::new(10, 77, 0, 1));
    response.your_ip = Some(Ipv4Addr::new(10, 77, 0, 11));
    response
}

#[test]
fn a_response_is_as_long_as_a_bootp_message_and_begins_with_its_type_and_server() {
    let bytes = encode(&response()).expect("encoded");
    assert_eq!(bytes.len(), RESPONSE_MIN_BYTES);
    assert_eq!(&bytes[240..249], &[53, 1, 2, 54, 4, 10, 77, 0, 1]);
    assert_eq!(bytes[0], 2);
}

#[test]
fn what_the_client_has_no_room_for_is_left_out_from_the_end_but_never_the_relays_information() {
    let mut long = response();
    let text = |byte: u8, length| raw(OptionCode::Unknown(224), &vec![byte; length]);
    long.file = Some("undionly.kpxe".to_owned());
    long.options = vec![text(1, 200), text(2, 90), text(3, 20)];
    long.relay_information = Some(vec![9; 40]);
    let bytes = encode(&long).expect("encoded");
    assert!(bytes.len() <= 548, "{}", bytes.len());
    assert!(bytes.windows(22).any(|w| w[0] == 224 && w[1] == 20), "a later, shorter one fits");
    assert!(!bytes.windows(2).any(|w| w == [224, 90]));
    assert_eq!(&bytes[bytes.len() - 43..bytes.len() - 39], &[82, 40, 9, 9]);
    long.message_max_bytes = 1500;
    assert!(encode(&long).expect("encoded").windows(2).any(|w| w == [224, 90]));
}

#[test]
fn a_file_too_long_for_its_field_is_left_to_the_option() {
    let mut long = response();
    long.file = Some("x".repeat(128));
    assert_eq!(encode(&long).expect("encoded")[108], 0);
    long.file = Some("x".repeat(127));
    assert_eq!(&encode(&long).expect("encoded")[234..236], &[b'x', 0]);
}

#[test]
fn options_that_do_not_fit_go_into_the_free_fields_of_the_header_and_a_boot_file_is_left_alone() {
    let long = |code: u8, length: usize| raw(OptionCode::from(code), &vec![code; length]);
    let mut response = response();
    response.file = None;
    response.options = vec![long(224, 250), long(225, 40), long(226, 100), long(227, 50), long(228, 60)];
    let read = |response: &Response| -> BTreeMap<u8, usize> {
        let bytes = encode(response).expect("encoded");
        assert!(bytes.len() <= 548, "{}", bytes.len());
        let mut request = bytes.clone();
        request[0] = 1;
        let mut options = Options::gather(&request);
        (224..=228).filter_map(|code| Some((code, options.bytes(OptionCode::from(code), 1)?.len()))).collect()
    };
    assert_eq!(read(&response), BTreeMap::from([(224, 250), (225, 40), (226, 100), (227, 50)]));
    response.file = Some("undionly.kpxe".to_owned());
    assert_eq!(read(&response), BTreeMap::from([(224, 250), (225, 40), (227, 50)]));
}

#[test]
fn an_option_longer_than_255_bytes_is_sent_in_pieces() {
    let mut response = response();
    response.message_max_bytes = 1500;
    response.options = vec![raw(OptionCode::from(224), &vec![7; 600])];
    let bytes = encode(&response).expect("encoded");
    let at = |code: u8, length: u8| bytes.windows(2).filter(|pair| *pair == [code, length]).count();
    assert_eq!((at(224, 255), at(224, 90)), (2, 1));
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    let codes = prop::sample::select(vec![50_u8, 51, 52, 53, 54, 55, 57, 60, 61, 77, 82, 93, 97, 175]);
    let one = (codes, prop::collection::vec(any::<u8>(), 0..20));
    let encoded = one.prop_map(|(code, data)| {
        let length = u8::try_from(data.len()).expect("short");
        [&[code, length], data.as_slice()].concat()
    });
    prop::collection::vec(encoded, 0..12).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = decode(&bytes);
        let _ = sender(&bytes);
    }

    #[test]
    fn a_changed_or_shortened_message_is_read_or_refused_without_a_panic(
        options in options(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut: prop::sample::Index,
    ) {
        let mut bytes = message(&[&[53, 1, 1], options.as_slice(), &[255]].concat());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode(&bytes);
    }

    #[test]
    fn options_that_are_well_formed_are_never_cut_off(options in options()) {
        if let Ok(request) = decode(&message(&[&[53, 1, 1], options.as_slice(), &[255]].concat())) {
            let cut_off = request.problems.iter().any(|p| p.fault == OptionFault::CutOff);
            // Overload makes two more fields into options, and they are all pad here.
            prop_assert!(!cut_off);
        }
    }

    #[test]
    fn a_response_reads_back_as_it_was_written(
        xid: u32,
        yours: [u8; 4],
        lease_s: u32,
        file in "[a-z./:]{0,127}",
        client_id in prop::collection::vec(any::<u8>(), 2..40),
    ) {
        let mut response = response();
        (response.xid, response.your_ip) = (Xid(xid), Some(Ipv4Addr::from(yours)));
        response.file = (!file.is_empty()).then(|| file.clone());
        let told = [DhcpOption::AddressLeaseTime(lease_s), DhcpOption::ClientIdentifier(client_id)];
        response.options.extend(told.clone());
        let bytes = encode(&response).expect("encoded");
        let read = Message::decode(&mut Decoder::new(&bytes)).expect("decoded");
        prop_assert_eq!((read.xid(), read.yiaddr()), (xid, Ipv4Addr::from(yours)));
        prop_assert_eq!(&bytes[108..108 + file.len()], file.as_bytes());
        prop_assert_eq!(bytes[108 + file.len()], 0);
        for option in told {
            prop_assert_eq!(read.opts().get(OptionCode::from(&option)), Some(&option));
        }
    }
}
