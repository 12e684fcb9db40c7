//! The codec against itself, against a decoder that is not ours, and against what makes no sense.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

/// A client's message, option by option, written here a second time.
fn message(kind: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![kind, 0xaa, 0xbb, 0xcc];
    for (code, value) in options {
        bytes.extend(code.to_be_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(*value);
    }
    bytes
}

fn forwarded(hops: u8, link: &str, peer: &str, options: &[(u16, &[u8])]) -> Vec<u8> {
    let options = message(0, options).split_off(4);
    [&[12, hops][..], &ip(link).octets(), &ip(peer).octets(), &options].concat()
}

const DUID: &[u8] = &[0, 3, 0, 1, 0x52, 0x54, 0, 0xab, 0xcd, 0xef];

fn response(told: Vec<Told>, relays: Vec<Relay>) -> Response {
    Response { kind: ResponseKind::Reply, xid: [1, 2, 3], relays, told }
}

#[test]
fn a_solicit_with_every_option_of_network_boot_is_read() {
    let http = [&343u32.to_be_bytes()[..], &[0, 10], b"HTTPClient"].concat();
    let association = [&7u32.to_be_bytes()[..], &[0; 8], &[0, 5, 0, 24], &ip("fd00::5").octets(), &[0; 8]].concat();
    let bytes = message(
        1,
        &[
            (1, DUID),
            (3, &association),
            (6, &[0, 59, 0, 60, 0, 23]),
            (14, &[]),
            (15, &[0, 4, b'i', b'P', b'X', b'E', 0, 1, b'x']),
            (16, &http),
            (61, &[0, 7, 0, 16]),
            (62, &[1, 3, 16]),
            (0xfff0, b"unknown"),
        ],
    );
    let request = decode(&bytes).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(request.kind, Kind::Solicit);
    assert_eq!(request.xid, [0xaa, 0xbb, 0xcc]);
    assert_eq!(request.client_id, Duid::new(DUID));
    let wanted = Association { kind: AssociationKind::Lasting, id: 7, addresses: vec![ip("fd00::5")] };
    assert_eq!(request.associations, [wanted]);
    assert!(request.wants(code::BOOT_URL) && !request.wants(code::NTP));
    assert_eq!(request.rapid_commit, RapidCommit::Accepted);
    assert_eq!(request.user_classes, [b"iPXE".to_vec(), b"x".to_vec()]);
    assert_eq!(request.vendor_class, Some(VendorClass { enterprise: 343, data: b"HTTPClient".to_vec() }));
    assert_eq!((request.architectures, request.interface_type), (vec![7, 16], Some([1, 3, 16])));
}

#[test]
fn a_user_class_without_its_length_is_one_class() {
    let request = decode(&message(1, &[(15, b"iPXE")])).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(request.user_classes, [b"iPXE".to_vec()]);
}

#[test]
fn eight_relays_are_taken_off_and_put_back_in_order_and_nine_are_refused() {
    let mut bytes = message(1, &[(1, DUID)]);
    for hop in 0..8u8 {
        let (id, link) = ([hop], format!("fd00:{hop:x}::1"));
        let mac = [0, 1, 2, 0, 0, 0, 0, hop];
        bytes = forwarded(hop, &link, "fe80::1", &[(18, &id), (79, &mac), (9, &bytes)]);
    }
    let request = decode(&bytes).unwrap_or_else(|e| panic!("{e}"));
    let hops: Vec<u8> = request.relays.iter().map(|relay| relay.hops).collect();
    assert_eq!(hops, [7, 6, 5, 4, 3, 2, 1, 0], "the last one first");
    assert_eq!(request.relays[0].mac, Some(Mac([2, 0, 0, 0, 0, 7])));
    assert_eq!(request.relays[7].link, ip("fd00:0::1"));
    let answer = encode(&Response::to(&request, ResponseKind::Reply));
    let mut inner = &answer[..];
    for hop in (0..8u8).rev() {
        assert_eq!(inner[..2], [13, hop]);
        assert_eq!(inner[34..39], [0, 18, 0, 1, hop], "its own interface identifier");
        assert_eq!(inner[39..41], [0, 9]);
        inner = &inner[43..];
    }
    assert_eq!(inner, [7, 0xaa, 0xbb, 0xcc]);
    let nine = forwarded(8, "fd00::1", "fe80::1", &[(9, &bytes)]);
    assert_eq!(decode(&nine), Err(DecodeError::TooManyRelays));
}

#[test]
fn what_is_cut_off_or_of_a_wrong_length_or_not_for_servers_is_named() {
    let wrong = |code, length_bytes| Err(DecodeError::Length { code, length_bytes });
    assert_eq!(decode(&[]), Err(DecodeError::CutOff("the message")));
    assert_eq!(decode(&[1, 2]), Err(DecodeError::CutOff("the transaction")));
    assert_eq!(decode(&[1, 0, 0, 0, 0]), Err(DecodeError::CutOff("an option")));
    assert_eq!(decode(&[1, 0, 0, 0, 0, 1, 0, 9, 1]), Err(DecodeError::CutOff("an option")));
    assert_eq!(decode(&message(2, &[])), Err(DecodeError::NotForServers(2)));
    assert_eq!(decode(&message(7, &[])), Err(DecodeError::NotForServers(7)));
    assert_eq!(decode(&message(1, &[(1, &[0, 3])])), wrong(1, 2));
    assert_eq!(decode(&message(1, &[(1, &[0; 131])])), wrong(1, 131));
    assert_eq!(decode(&message(1, &[(3, &[0; 11])])), wrong(3, 11));
    assert_eq!(decode(&message(1, &[(6, &[0])])), wrong(6, 1));
    assert_eq!(decode(&message(1, &[(61, &[0, 7, 0])])), wrong(61, 3));
    assert_eq!(decode(&message(1, &[(62, &[0])])), wrong(62, 1));
    assert_eq!(decode(&message(1, &[(16, &[0, 0])])), wrong(16, 2));
    let short_address = [&[0; 12][..], &[0, 5, 0, 16], &[0; 16]].concat();
    assert_eq!(decode(&message(1, &[(3, &short_address)])), wrong(5, 16));
    let many = vec![(14, &[][..]); OPTIONS_MAX + 1];
    assert_eq!(decode(&message(1, &many)), Err(DecodeError::TooMany("options")));
    let many = vec![(3, &[0; 12][..]); ASSOCIATIONS_MAX + 1];
    assert_eq!(decode(&message(1, &many)), Err(DecodeError::TooMany("associations")));
    assert_eq!(decode(&forwarded(0, "::", "::", &[])), Err(DecodeError::NothingRelayed));
    assert_eq!(decode(&forwarded(0, "::", "::", &[(18, &[0; 257])])), wrong(18, 257));
}

#[test]
fn an_answer_is_these_bytes() {
    let given = Given { ip: ip("fd00:77::b"), preferred_s: 2700, valid_s: 3600 };
    let addresses = Told::Addresses { id: 1, renew_s: 1350, rebind_s: 2160, addresses: vec![given], status: None };
    let told = vec![
        Told::ServerId(Duid::of_uuid([9; 16])),
        addresses,
        Told::Status(Status::NotOnLink, "no".into()),
        Told::VendorClass(VendorClass { enterprise: 343, data: b"HTTPClient".to_vec() }),
        Told::Search(vec!["a.bc".into()]),
        Told::Ntp(vec![ip("::1")]),
        Told::BootParameters(vec!["ro".into()]),
    ];
    let expected = [
        &[7, 1, 2, 3, 0, 2, 0, 18, 0, 4][..],
        &[9; 16],
        &[0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 5, 70, 0, 0, 8, 112],
        &[0, 5, 0, 24, 0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb, 0, 0, 0xa, 0x8c, 0, 0, 0xe, 0x10],
        &[0, 13, 0, 4, 0, 4, b'n', b'o'],
        &[0, 16, 0, 16, 0, 0, 1, 87, 0, 10],
        b"HTTPClient",
        &[0, 24, 0, 6, 1, b'a', 2, b'b', b'c', 0],
        &[0, 56, 0, 20, 0, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 60, 0, 4, 0, 2, b'r', b'o'],
    ]
    .concat();
    assert_eq!(encode(&response(told, Vec::new())), expected);
}

#[test]
fn another_decoder_reads_the_addresses_and_servers_that_were_written() {
    use dhcproto::v6::{DhcpOption, Message, OptionCode};
    use dhcproto::{Decodable, Decoder};

    let given = Given { ip: ip("fd00:77::b"), preferred_s: 10, valid_s: 20 };
    let told = vec![
        Told::Addresses { id: 5, renew_s: 1, rebind_s: 2, addresses: vec![given], status: None },
        Told::Dns(vec![ip("fd00::1"), ip("fd00::2")]),
        Told::Preference(255),
    ];
    let bytes = encode(&response(told, Vec::new()));
    let read = Message::decode(&mut Decoder::new(&bytes)).unwrap_or_else(|e| panic!("{e}"));
    let Some(DhcpOption::IANA(association)) = read.opts().get(OptionCode::IANA) else { panic!("{read:?}") };
    assert_eq!((association.id, association.t1, association.t2), (5, 1, 2));
    let Some(DhcpOption::IAAddr(address)) = association.opts.get(OptionCode::IAAddr) else { panic!("{read:?}") };
    assert_eq!((address.addr, address.preferred_life, address.valid_life), (given.ip, 10, 20));
    let servers = DhcpOption::DomainNameServers(vec![ip("fd00::1"), ip("fd00::2")]);
    assert_eq!(read.opts().get(OptionCode::DomainNameServers), Some(&servers));
    assert_eq!(read.opts().get(OptionCode::Preference), Some(&DhcpOption::Preference(255)));
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
    hex.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |octet, byte| (octet << 4) | digit(*byte))).collect()
}

/// SOLICITs as they were captured. OVMF asks twice: for an address, since a router says that these come by DHCPv6, and
/// for something to boot.
const OVMF_ADDRESS: &str = "010ac328000100120004005007b00000004080000000000000010008000200000003000cf44af577fffffffff\
    fffffff000600020017";
const OVMF_HTTP_BOOT: &str = "013e8ef2000100120004005007b00000004080000000000000010008000200000003000c012501a4ffffffff\
    ffffffff00060008003b003c00170010003e0003010300003d000200100010002700000157002148545450436c69656e743a417263683a303030\
    31363a554e44493a303033303030";
const IPXE: &str = "01734ddf000100120004b00750000000400080000000000000010003000c71cd98b60000000000000000000600080017001\
    8003b003c00100026000001570020505845436c69656e743a417263683a30303030373a554e44493a303033303130003d00020007003e000301\
    030a000f0006000469505845000800020000";

#[test]
fn what_ovmf_and_ipxe_were_seen_to_send_is_read_and_known_for_what_it_is() {
    use crate::boot::dhcp6::facts::client_of;
    use crate::fact::{Architecture, BootClient};

    let read = |hex: &str| decode(&bytes_of(hex)).unwrap_or_else(|e| panic!("{e}"));
    let address = read(OVMF_ADDRESS);
    assert_eq!(client_of(&address), BootClient::Other, "it does not say that it is firmware");
    assert_eq!((address.associations[0].id, address.wanted.as_slice()), (0xf44a_f577, &[code::DNS][..]));
    let http = read(OVMF_HTTP_BOOT);
    assert_eq!(client_of(&http), BootClient::HttpRom(Architecture::X64UefiHttp));
    assert_eq!(http.client_id, address.client_id);
    assert_eq!(http.interface_type, Some([1, 3, 0]));
    let ipxe = read(IPXE);
    assert_eq!(client_of(&ipxe), BootClient::Ipxe(Architecture::X64Uefi));
    let uuid = |request: &Request| request.client_id.as_ref().and_then(Duid::uuid);
    assert_eq!(uuid(&ipxe).map(|uuid| uuid[..4].to_vec()), Some(vec![0xb0, 0x07, 0x50, 0]));
    assert_eq!(uuid(&http).map(|uuid| uuid[..4].to_vec()), Some(vec![0, 0x50, 0x07, 0xb0]), "in SMBIOS's order");
}

fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let known = prop_oneof![
        Just(1u16),
        Just(2),
        Just(3),
        Just(4),
        Just(6),
        Just(9),
        Just(14),
        Just(15),
        Just(16),
        Just(18),
        Just(25),
        Just(61),
        Just(62),
        Just(79),
        any::<u16>()
    ];
    prop::collection::vec((known, prop::collection::vec(any::<u8>(), 0..80)), 0..20)
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn any_options_are_read_or_refused_and_what_is_read_is_within_its_bounds(
        kind in 0u8..14, options in options(), relays in 0usize..12, cut in 0usize..64,
    ) {
        let options: Vec<(u16, &[u8])> = options.iter().map(|(code, value)| (*code, &value[..])).collect();
        let mut bytes = message(kind, &options);
        for hop in 0..relays {
            bytes = forwarded(u8::try_from(hop).unwrap_or(0), "fd00::1", "fe80::2", &[(9, &bytes)]);
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(request) = decode(&bytes) {
            prop_assert!(request.relays.len() <= RELAYS_MAX && request.associations.len() <= ASSOCIATIONS_MAX);
            let answer = encode(&Response::to(&request, ResponseKind::Reply));
            prop_assert!(answer.len() <= bytes.len() + 4, "an empty answer is no longer than its question");
        }
    }
}
