//! Each kind of message in each state of a client, from each kind of firmware; and what holds whatever is asked.

use super::*;
use crate::boot::dhcp::codec::{DecodeError, ResponseKind, Xid, decode, encode, raw};
use crate::fact::{Architecture, BootClient, OperatorEvent, OperatorFact, Stamped};
use crate::model::network::LEASE_MIN_S;
use crate::model::{FactSeq, NodeId, NodeSpec, UnixMs};
use dhcproto::v4::{Encodable, OptionCode};
use proptest::prelude::*;
use std::net::SocketAddr;
use uuid::Uuid;

const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

fn state() -> State {
    let network = NetworkSpec {
        router: Some(SERVER),
        dns: vec![Ipv4Addr::new(10, 77, 0, 2)],
        lease_s: 3600,
        ..NetworkSpec::new("boot".parse().expect("a name"), "10.77.0.0/24".parse().expect("a network"))
    };
    let spec = NodeSpec {
        name: "n1".parse().expect("a name"),
        network: network.name.clone(),
        mac: MAC,
        ip: OWN,
        matching: Default::default(),
        cake: None,
        bmc: None,
        labels: Default::default(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
        ipv6: Default::default(),
    };
    let events = [
        OperatorEvent::NetworkDescribed { spec: network },
        OperatorEvent::NodeDescribed { node: NodeId(Uuid::from_u128(1)), spec: Box::new(spec) },
    ];
    let mut state = State::default();
    for (seq, event) in (1..).zip(events) {
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(seq), at: UnixMs(0), fact });
    }
    state
}

fn link() -> Link {
    Link { interface: "boot0".to_owned(), addresses: vec![Ipv4Addr::new(192, 0, 2, 1), SERVER] }
}

fn services() -> Services {
    Services { tftp: Ipv4Addr::UNSPECIFIED, http: SocketAddr::from(([0, 0, 0, 0], 8080)) }
}

fn asked(request: &Request) -> Reply {
    asked_of(&state(), request, &link())
}

fn asked_of(state: &State, request: &Request, link: &Link) -> Reply {
    let mut ledger = Ledger::default();
    reply(Desk { state, ledger: &mut ledger, link, services: &services(), now: UnixMs(0) }, request)
}

/// A message of the node's with these options.
fn request(kind: u8, options: &[u8]) -> Request {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[28..34].copy_from_slice(&MAC.0);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    bytes.extend(options);
    bytes.push(255);
    let decoded: Result<Request, DecodeError> = decode(&bytes);
    decoded.expect("a request")
}

fn address(code: u8, address: Ipv4Addr) -> Vec<u8> {
    [&[code, 4], &address.octets()[..]].concat()
}

fn event(reply: &Reply) -> DhcpEvent {
    match reply.facts.as_slice() {
        [Fact::Dhcp(fact)] => fact.event.clone(),
        other => panic!("one fact of an exchange: {other:?}"),
    }
}

fn client(reply: &Reply) -> BootClient {
    match reply.facts.as_slice() {
        [Fact::Dhcp(fact)] => fact.client,
        other => panic!("one fact of an exchange: {other:?}"),
    }
}

fn answered(reply: &Reply) -> (&Response, Destination) {
    let answer = reply.answer.as_ref().expect("an answer");
    (&answer.message, answer.destination)
}

fn has(message: &Response, option: &DhcpOption) -> bool {
    let bytes = |option: &DhcpOption| option.to_vec().expect("encoded");
    message.options.iter().any(|there| bytes(there) == bytes(option))
}

#[test]
fn a_discover_is_offered_the_nodes_address_with_its_networks_parameters() {
    let reply = asked(&request(1, &[]));
    let (message, destination) = answered(&reply);
    assert_eq!(message.kind, ResponseKind::Offer);
    assert_eq!((message.your_ip, message.server_id), (Some(OWN), SERVER));
    assert_eq!(destination, Destination::UnicastToHardware { mac: MAC, ip: OWN });
    for option in [
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
        DhcpOption::BroadcastAddr(Ipv4Addr::new(10, 77, 0, 255)),
        DhcpOption::Router(vec![SERVER]),
        DhcpOption::DomainNameServer(vec![Ipv4Addr::new(10, 77, 0, 2)]),
        DhcpOption::Hostname("n1".to_owned()),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::Renewal(1800),
        DhcpOption::Rebinding(3150),
    ] {
        assert!(has(message, &option), "{option:?}");
    }
    assert_eq!(event(&reply), DhcpEvent::Offered { ip: OWN, file: None });
    assert_eq!(reply.durability, Durability::BestEffort);
}

#[test]
fn a_client_that_lists_what_it_wants_gets_no_more() {
    let reply = asked(&request(1, &[55, 2, 1, 3]));
    let (message, _) = answered(&reply);
    assert!(has(message, &DhcpOption::Router(vec![SERVER])));
    assert!(!has(message, &DhcpOption::Hostname("n1".to_owned())));
}

#[test]
fn a_shorter_lease_is_granted_and_a_longer_or_a_silly_one_is_not() {
    for (asked_s, granted_s) in [(600_u32, 600), (86_400, 3600), (1, LEASE_MIN_S)] {
        let reply = asked(&request(1, &[&[51, 4], &asked_s.to_be_bytes()[..]].concat()));
        assert!(has(answered(&reply).0, &DhcpOption::AddressLeaseTime(granted_s)), "{asked_s}");
    }
}

#[test]
fn in_each_state_a_client_that_asks_for_its_address_gets_an_ack_that_waits_for_the_journal() {
    let selecting = request(3, &[address(54, SERVER), address(50, OWN)].concat());
    let rebooting = request(3, &address(50, OWN));
    let mut renewing = request(3, &[]);
    renewing.client_ip = Some(OWN);
    let mut rebinding = renewing.clone();
    rebinding.delivery = Delivery::Broadcast;
    for request in [&selecting, &rebooting, &renewing, &rebinding] {
        let reply = asked(request);
        let (message, destination) = answered(&reply);
        assert_eq!((message.kind, message.your_ip), (ResponseKind::Ack, Some(OWN)));
        assert_eq!(event(&reply), DhcpEvent::Leased { ip: OWN, lease_s: 3600, file: None });
        assert_eq!(reply.durability, Durability::BeforeAnswer);
        let routed = destination == Destination::UnicastTo { ip: OWN };
        assert_eq!(routed, request.client_ip.is_some(), "who has its address is answered there");
    }
}

#[test]
fn in_each_state_a_node_that_asks_for_another_address_is_refused_aloud() {
    let selecting = request(3, &[address(54, SERVER), address(50, OTHER)].concat());
    let rebooting = request(3, &address(50, OTHER));
    let mut renewing = request(3, &[]);
    renewing.client_ip = Some(OTHER);
    for request in [selecting, rebooting, renewing] {
        let reply = asked(&request);
        let (message, destination) = answered(&reply);
        assert_eq!((message.kind, message.your_ip), (ResponseKind::Nak, None));
        assert_eq!(destination, Destination::Broadcast);
        let reason = DhcpRefusal::WrongAddress { asked: Some(OTHER), own: OWN };
        assert_eq!(event(&reply), DhcpEvent::Refused { reason });
    }
}

#[test]
fn a_client_of_another_server_is_left_to_it() {
    let reply = asked(&request(3, &[address(54, OTHER), address(50, OWN)].concat()));
    assert_eq!(reply.answer, None);
    assert_eq!(event(&reply), DhcpEvent::Ignored { reason: DhcpRefusal::OtherServer { server: OTHER } });
}

#[test]
fn a_machine_that_is_no_node_is_never_answered() {
    for kind in [1, 3, 4, 7, 8] {
        let mut stranger = request(kind, &address(50, OTHER));
        stranger.mac = Mac([2, 0, 0, 0, 0, 9]);
        let reply = asked(&stranger);
        assert_eq!(reply.answer, None);
        assert_eq!(event(&reply), DhcpEvent::Ignored { reason: DhcpRefusal::UnknownMachine });
    }
}

#[test]
fn a_node_on_a_link_that_is_not_its_networks_is_not_answered() {
    let elsewhere = Link { interface: "lan0".to_owned(), addresses: vec![Ipv4Addr::new(192, 0, 2, 1)] };
    let reply = asked_of(&state(), &request(1, &[]), &elsewhere);
    assert_eq!(reply.answer, None);
    let reason = DhcpRefusal::WrongNetwork { network: "boot".parse().expect("a name") };
    assert_eq!(event(&reply), DhcpEvent::Ignored { reason });
}

#[test]
fn a_relay_in_the_nodes_network_gets_the_answer_with_its_information_and_another_gets_none() {
    let elsewhere = Link { interface: "lan0".to_owned(), addresses: vec![Ipv4Addr::new(192, 0, 2, 1)] };
    let mut relayed = request(1, &[82, 3, 1, 1, 7]);
    relayed.relay = Some(Ipv4Addr::new(10, 77, 0, 254));
    let answered_reply = asked_of(&state(), &relayed, &elsewhere);
    let (message, destination) = answered(&answered_reply);
    assert_eq!(destination, Destination::Relay { ip: Ipv4Addr::new(10, 77, 0, 254) });
    assert_eq!(message.relay_information.as_deref(), Some(&[1, 1, 7][..]));
    assert_eq!(message.server_id, Ipv4Addr::new(192, 0, 2, 1));
    relayed.relay = Some(Ipv4Addr::new(203, 0, 113, 5));
    assert_eq!(asked_of(&state(), &relayed, &elsewhere).answer, None);
}

#[test]
fn decline_and_release_are_noted_and_not_answered() {
    let declined = asked(&request(4, &[address(54, SERVER), address(50, OWN)].concat()));
    assert_eq!((&declined.answer, event(&declined)), (&None, DhcpEvent::Declined { ip: OWN }));
    let mut release = request(7, &address(54, SERVER));
    release.client_ip = Some(OWN);
    let released = asked(&release);
    assert_eq!((&released.answer, event(&released)), (&None, DhcpEvent::Released { ip: OWN }));
}

#[test]
fn an_inform_gets_parameters_without_a_lease_and_only_at_the_nodes_own_address() {
    let mut inform = request(8, &[]);
    inform.client_ip = Some(OWN);
    let reply = asked(&inform);
    let (message, destination) = answered(&reply);
    assert_eq!((message.kind, message.your_ip), (ResponseKind::Ack, None));
    assert_eq!(destination, Destination::UnicastTo { ip: OWN });
    assert!(!message.options.iter().any(|o| matches!(o, DhcpOption::AddressLeaseTime(_))));
    inform.client_ip = Some(OTHER);
    assert_eq!(asked(&inform).answer, None);
}

const BIOS: &[u8] = b"\x3c\x09PXEClient\x5d\x02\x00\x00\x61\x11\x00abcdefghijklmnop";

#[test]
fn pxe_firmware_is_told_a_program_its_server_and_to_ask_nobody_else() {
    let reply = asked(&request(1, BIOS));
    assert_eq!(client(&reply), BootClient::PxeRom(Architecture::X86Bios));
    let (message, _) = answered(&reply);
    assert_eq!((message.file.as_deref(), message.next_server), (Some("undionly.kpxe"), Some(SERVER)));
    for option in [
        DhcpOption::ClassIdentifier(b"PXEClient".to_vec()),
        DhcpOption::VendorExtensions(vec![6, 1, 8, 255]),
        DhcpOption::BootfileName(b"undionly.kpxe".to_vec()),
        DhcpOption::ClientMachineIdentifier(b"\x00abcdefghijklmnop".to_vec()),
    ] {
        assert!(has(message, &option), "{option:?}");
    }
}

#[test]
fn http_firmware_is_told_a_url_under_its_own_vendor_class() {
    let reply = asked(&request(1, b"\x3c\x15HTTPClient:Arch:00016\x5d\x02\x00\x10"));
    assert_eq!(client(&reply), BootClient::HttpRom(Architecture::X64UefiHttp));
    let (message, _) = answered(&reply);
    assert_eq!(message.file.as_deref(), Some("http://10.77.0.1:8080/loaders/snponly.efi"));
    assert!(has(message, &DhcpOption::ClassIdentifier(b"HTTPClient".to_vec())));
    assert!(!message.options.iter().any(|o| matches!(o, DhcpOption::VendorExtensions(_))));
}

#[test]
fn ipxe_is_told_its_script_by_its_class_or_by_its_option_and_not_to_wait_for_a_proxy() {
    for own in [&b"\x4d\x04iPXE"[..], b"\xaf\x03\xb1\x01\x02"] {
        let reply = asked(&request(1, &[BIOS, own].concat()));
        assert_eq!(client(&reply), BootClient::Ipxe(Architecture::X86Bios));
        let (message, _) = answered(&reply);
        assert_eq!(message.file.as_deref(), Some("http://10.77.0.1:8080/boot/52-54-00-00-00-01/script.ipxe"));
        assert!(has(message, &raw(OptionCode::from(175), &[0xb0, 1, 1])));
        assert!(!message.options.iter().any(|o| matches!(o, DhcpOption::ClassIdentifier(_))));
    }
}

#[test]
fn of_several_architectures_the_first_that_is_served_counts_and_the_vendor_class_stands_in_for_none() {
    let several = asked(&request(1, b"\x3c\x09PXEClient\x5d\x06\x00\x06\x00\x07\x00\x09"));
    assert_eq!(client(&several), BootClient::PxeRom(Architecture::X64Uefi));
    let in_class = asked(&request(1, b"\x3c\x20PXEClient:Arch:00007:UNDI:003016"));
    assert_eq!(client(&in_class), BootClient::PxeRom(Architecture::X64Uefi));
}

#[test]
fn firmware_without_a_boot_program_is_told_nothing_and_the_reason_is_noted() {
    let reply = asked(&request(1, b"\x3c\x09PXEClient\x5d\x02\x00\x1b"));
    assert_eq!(reply.answer, None);
    assert_eq!(event(&reply), DhcpEvent::Ignored { reason: DhcpRefusal::NoLoader });
}

fn any_request() -> impl Strategy<Value = Request> {
    let addresses = prop::sample::select(vec![OWN, SERVER, OTHER, Ipv4Addr::new(203, 0, 113, 5)]);
    let some = || prop::option::of(addresses.clone());
    let macs = prop::sample::select(vec![MAC, Mac([2, 0, 0, 0, 0, 9])]);
    let kinds = prop::sample::select(vec![1_u8, 3, 4, 7, 8]);
    let classes = prop::sample::select(vec![&b""[..], BIOS, b"\x3c\x0aHTTPClient\x5d\x02\x00\x10", b"\x4d\x04iPXE"]);
    (kinds, classes, (some(), some(), some(), some()), any::<bool>(), macs, any::<u32>()).prop_map(
        |(kind, class, (server, requested, client, relay), broadcast, mac, xid)| {
            let mut request = request(kind, class);
            (request.server_id, request.requested_ip) = (server, requested);
            (request.client_ip, request.relay) = (client, relay);
            request.delivery = if broadcast { Delivery::Broadcast } else { Delivery::Unicast };
            (request.mac, request.xid) = (mac, Xid(xid));
            request
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_asked_only_the_nodes_own_address_is_told_and_only_to_it(request in any_request()) {
        let reply = asked(&request);
        if let Some(Answer { message, destination }) = &reply.answer {
            prop_assert_eq!((message.mac, message.xid), (MAC, request.xid));
            prop_assert!(message.your_ip.is_none_or(|ip| ip == OWN));
            match destination {
                Destination::Broadcast => {}
                Destination::UnicastToHardware { mac, ip } => prop_assert_eq!((*mac, *ip), (MAC, OWN)),
                Destination::UnicastTo { ip } => prop_assert_eq!(*ip, OWN),
                Destination::Relay { ip } => prop_assert_eq!(Some(*ip), request.relay),
            }
            let bytes = encode(message).expect("encoded");
            prop_assert!((300..=548).contains(&bytes.len()));
        }
        let promised = matches!(reply.facts.first(), Some(Fact::Dhcp(f)) if matches!(f.event, DhcpEvent::Leased { .. }));
        let given_back = matches!(reply.facts.first(), Some(Fact::Dhcp(f)) if matches!(f.event, DhcpEvent::Released { .. } | DhcpEvent::Declined { .. }));
        prop_assert_eq!(promised || given_back, reply.durability == Durability::BeforeAnswer);
        let acked = reply.answer.as_ref().is_some_and(|a| a.message.kind == ResponseKind::Ack && a.message.your_ip.is_some());
        prop_assert_eq!(acked, promised);
    }
}

#[test]
fn a_node_that_is_removed_is_answered_no_more() {
    let mut state = state();
    let request = request(1, &[]);
    assert!(matches!(event(&asked_of(&state, &request, &link())), DhcpEvent::Offered { .. }));
    let removed = OperatorEvent::NodeRemoved { node: NodeId(Uuid::from_u128(1)), name: "n1".parse().expect("a name") };
    let fact = Fact::Operator(OperatorFact::from(removed));
    state.apply(&Stamped { seq: FactSeq(3), at: UnixMs(1), fact });
    let answered = asked_of(&state, &request, &link());
    assert_eq!(event(&answered), DhcpEvent::Ignored { reason: DhcpRefusal::UnknownMachine });
}

mod strangers;
