//! What clients are answered, message by message.

use std::net::{Ipv4Addr, SocketAddrV6};

use super::super::codec::{Relay, VendorClass};
use super::*;
use crate::fact::{BootClient, Dhcp6Fact, OperatorEvent, OperatorFact, Stamped};
use crate::model::ipv6::Pool6;
use crate::model::{FactSeq, Mac, NetworkSpec, NodeId, NodeIpv6, NodeSpec};

const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
const NOW: UnixMs = UnixMs(1_000_000);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

fn tell(state: &mut State, fact: Fact) {
    state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at: NOW, fact });
}

fn duid(mac: Mac) -> Duid {
    Duid::new(&[&[0, 3, 0, 1][..], &mac.0].concat()).unwrap_or_else(|| panic!("a DUID"))
}

fn describe(state: &mut State, event: OperatorEvent) {
    tell(state, Fact::Operator(OperatorFact::from(event)));
}

fn network(pool: Option<Pool6>) -> NetworkSpec {
    let ipv6 = NetworkIpv6 {
        subnet: "fd00:77::/64".parse().unwrap_or_else(|e| panic!("{e}")),
        pool,
        dns: vec![ip("fd00:77::53")],
        search: vec!["boot.example".into()],
        ntp: vec![ip("fd00:77::123")],
        boot_parameters: Vec::new(),
        lease_s: 4_000,
        preference: 9,
        advertise: Default::default(),
    };
    let subnet = "10.77.0.0/24".parse().unwrap_or_else(|e| panic!("{e}"));
    NetworkSpec { ipv6: Some(Box::new(ipv6)), ..NetworkSpec::new(name("boot"), subnet) }
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

fn state(pool: Option<(&str, &str)>, ip6: Option<&str>) -> State {
    let mut state = State::default();
    let pool = pool.map(|(from, to)| Pool6 { from: ip(from), to: ip(to) });
    describe(&mut state, OperatorEvent::NetworkDescribed { spec: network(pool) });
    let spec = NodeSpec {
        name: name("n1"),
        network: name("boot"),
        mac: MAC,
        ip: Ipv4Addr::new(10, 77, 0, 11),
        matching: crate::model::NodeMatch { uuid: Some(uuid::Uuid::from_bytes([3; 16])), ..Default::default() },
        cake: None,
        bmc: None,
        labels: Default::default(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
        ipv6: NodeIpv6 { ip6: ip6.map(ip), duid: Some(Duid::of_uuid([5; 16])) },
    };
    let node = NodeId(uuid::Uuid::from_u128(1));
    describe(&mut state, OperatorEvent::NodeDescribed { node, spec: Box::new(spec) });
    state
}

fn request(kind: Kind, client: Duid) -> Request {
    Request {
        relays: Vec::new(),
        kind,
        xid: [1, 2, 3],
        client_id: Some(client),
        server_id: None,
        associations: vec![Association { kind: AssociationKind::Lasting, id: 7, addresses: Vec::new() }],
        wanted: vec![code::DNS, code::BOOT_URL],
        rapid_commit: RapidCommit::NotAccepted,
        architectures: Vec::new(),
        interface_type: None,
        user_classes: Vec::new(),
        vendor_class: None,
    }
}

fn ours(kind: Kind, client: Duid, addresses: &[&str]) -> Request {
    let mut request = request(kind, client);
    request.server_id = Some(server().duid.octets().to_vec());
    request.associations[0].addresses = addresses.iter().map(|text| ip(text)).collect();
    request
}

fn server() -> Server {
    let http = Some(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 8080, 0, 0));
    Server { duid: Duid::of_uuid([1; 16]), services: Services6 { tftp: Some(Ipv6Addr::UNSPECIFIED), http } }
}

fn ask_from(state: &State, request: &Request, source: &str, cast: Cast) -> Reply {
    let link = Link6 { interface: "eth0".into(), addresses: vec![ip("fd00:77::1")] };
    reply(state, request, &Arrival { source: ip(source), cast }, (&link, &server()), NOW)
}

fn ask(state: &State, request: &Request) -> Reply {
    ask_from(state, request, "fe80::1", Cast::Multicast)
}

fn event(reply: &Reply) -> &Dhcp6Event {
    match reply.facts.as_slice() {
        [Fact::Dhcp6(Dhcp6Fact { event, .. })] => event,
        other => panic!("not one fact: {other:?}"),
    }
}

fn told(reply: &Reply) -> &[Told] {
    &reply.answer.as_ref().unwrap_or_else(|| panic!("no answer: {:?}", reply.facts)).told
}

/// The addresses of the first association, with how long they are valid.
fn given(reply: &Reply) -> Vec<(Ipv6Addr, u32)> {
    let of_association = told(reply).iter().find_map(|told| match told {
        Told::Addresses { addresses, .. } => Some(addresses),
        _ => None,
    });
    let addresses = of_association.unwrap_or_else(|| panic!("no association"));
    addresses.iter().map(|given| (given.ip, given.valid_s)).collect()
}

const FIXED: Option<&str> = Some("fd00:77::b");
const POOL: Option<(&str, &str)> = Some(("fd00:77::1000", "fd00:77::1003"));

#[test]
fn a_node_is_offered_its_address_and_given_it_durably() {
    let state = state(None, FIXED);
    let offer = ask(&state, &request(Kind::Solicit, duid(MAC)));
    assert_eq!(given(&offer), [(ip("fd00:77::b"), 4_000)]);
    assert_eq!(offer.durability, Durability::BestEffort);
    assert!(matches!(event(&offer), Dhcp6Event::Advertised { pool: None, .. }));
    assert!(told(&offer).contains(&Told::Preference(9)) && told(&offer).contains(&Told::Dns(vec![ip("fd00:77::53")])));
    assert!(!told(&offer).iter().any(|told| matches!(told, Told::Ntp(_))), "it did not ask for it");
    let lease = ask(&state, &ours(Kind::Request, duid(MAC), &["fd00:77::b"]));
    assert_eq!((given(&lease), lease.durability), (vec![(ip("fd00:77::b"), 4_000)], Durability::BeforeAnswer));
    assert!(matches!(event(&lease), Dhcp6Event::Leased { lease_s: 4_000, .. }));
}

#[test]
fn rapid_commit_is_a_durable_reply_to_a_solicit() {
    let asked = Request { rapid_commit: RapidCommit::Accepted, ..request(Kind::Solicit, duid(MAC)) };
    let reply = ask(&state(None, FIXED), &asked);
    assert_eq!(reply.answer.as_ref().map(|answer| answer.kind), Some(ResponseKind::Reply));
    assert!(told(&reply).contains(&Told::RapidCommit));
    assert_eq!(reply.durability, Durability::BeforeAnswer);
}

#[test]
fn a_node_is_known_by_its_named_duid_its_relay_its_source_and_its_own_duid() {
    let state = state(None, FIXED);
    let stranger = Duid::of_uuid([6; 16]);
    let is_node = |reply: Reply| reply.facts.iter().any(|fact| fact.node().is_some());
    assert!(is_node(ask(&state, &request(Kind::Solicit, Duid::of_uuid([5; 16])))), "the DUID that it names");
    assert!(is_node(ask(&state, &request(Kind::Solicit, duid(MAC)))), "a DUID made of its hardware address");
    assert!(is_node(ask(&state, &request(Kind::Solicit, Duid::of_uuid([3; 16])))), "its UUID");
    let by_source =
        ask_from(&state, &request(Kind::Solicit, stranger.clone()), "fe80::5054:ff:feab:cdef", Cast::Multicast);
    assert!(is_node(by_source), "its link-local address");
    let relay = Relay { hops: 0, link: ip("fd00:77::2"), peer: ip("fe80::9"), interface_id: None, mac: Some(MAC) };
    let relayed = Request { relays: vec![relay], ..request(Kind::Solicit, stranger.clone()) };
    let reply = ask_from(&state, &relayed, "fd00:99::1", Cast::Unicast);
    assert_eq!(reply.answer.as_ref().map(|answer| answer.relays.len()), Some(1));
    assert!(is_node(reply), "the relay's option 79");
    assert!(!is_node(ask(&state, &request(Kind::Solicit, stranger))));
}

#[test]
fn a_machine_that_is_no_node_gets_an_address_of_the_pool_or_no_answer() {
    let other = duid(Mac([2, 0, 0, 0, 0, 9]));
    let silent = ask(&state(None, FIXED), &request(Kind::Solicit, other.clone()));
    assert_eq!(silent.answer, None);
    assert_eq!(event(&silent), &Dhcp6Event::Ignored { reason: Dhcp6Refusal::UnknownMachine });
    let mut state = state(POOL, FIXED);
    let first = ask(&state, &ours(Kind::Request, other.clone(), &[]));
    let [(address, _)] = given(&first)[..] else { panic!("{first:?}") };
    assert!((ip("fd00:77::1000")..=ip("fd00:77::1003")).contains(&address));
    tell(&mut state, first.facts[0].clone());
    assert_eq!(given(&ask(&state, &ours(Kind::Renew, other, &[])))[0].0, address, "it keeps it");
}

#[test]
fn a_pool_gives_each_address_once_says_when_it_is_empty_and_takes_back_what_is_released() {
    let mut state = state(POOL, FIXED);
    let machine = |last| duid(Mac([2, 0, 0, 0, 0, last]));
    let mut addresses = Vec::new();
    for last in 1..=4 {
        let reply = ask(&state, &ours(Kind::Request, machine(last), &[]));
        addresses.push(given(&reply)[0].0);
        tell(&mut state, reply.facts[0].clone());
    }
    let mut unique = addresses.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), 4);
    let full = ask(&state, &request(Kind::Solicit, machine(5)));
    assert_eq!(event(&full), &Dhcp6Event::Ignored { reason: Dhcp6Refusal::PoolEmpty { network: name("boot") } });
    let fixed = ask(&state, &request(Kind::Solicit, duid(MAC)));
    assert_eq!(given(&fixed)[0].0, ip("fd00:77::b"), "a node has its own address all the same");
    let second = addresses[1].to_string();
    let released = ask(&state, &ours(Kind::Release, machine(2), &[&second]));
    assert_eq!(released.durability, Durability::BeforeAnswer);
    tell(&mut state, released.facts[0].clone());
    assert_eq!(given(&ask(&state, &request(Kind::Solicit, machine(5))))[0].0, addresses[1]);
    let third = addresses[2].to_string();
    let declined = ask(&state, &ours(Kind::Decline, machine(3), &[&third]));
    tell(&mut state, declined.facts[0].clone());
    let taken = ask(&state, &ours(Kind::Request, machine(5), &[]));
    tell(&mut state, taken.facts[0].clone());
    let quarantined = ask(&state, &request(Kind::Solicit, machine(3)));
    assert!(matches!(event(&quarantined), Dhcp6Event::Ignored { reason: Dhcp6Refusal::PoolEmpty { .. } }));
}

#[test]
fn a_renewal_ends_other_addresses_and_a_request_for_another_link_is_told_so() {
    let state = state(None, FIXED);
    let renewed = ask(&state, &ours(Kind::Renew, duid(MAC), &["fd00:77::99"]));
    assert_eq!(given(&renewed), [(ip("fd00:77::b"), 4_000), (ip("fd00:77::99"), 0)]);
    let elsewhere = ask(&state, &ours(Kind::Request, duid(MAC), &["fd00:88::1"]));
    let not_on_link = |told: &Told| matches!(told, Told::Addresses { status: Some((Status::NotOnLink, _)), .. });
    assert!(told(&elsewhere).iter().any(not_on_link));
    assert!(matches!(event(&elsewhere), Dhcp6Event::Refused { .. }));
}

#[test]
fn a_confirmation_depends_on_the_address() {
    let state = state(None, FIXED);
    let confirm = |address: &str| {
        let mut asked = request(Kind::Confirm, duid(MAC));
        asked.associations[0].addresses = vec![ip(address)];
        let reply = ask(&state, &asked);
        told(&reply).iter().find_map(|told| match told {
            Told::Status(status, _) => Some(*status),
            _ => None,
        })
    };
    assert_eq!(confirm("fd00:77::b"), Some(Status::Success));
    assert_eq!(confirm("fd00:77::c"), Some(Status::NotOnLink));
    assert_eq!(ask(&state, &request(Kind::Confirm, duid(MAC))), Reply::nothing(), "RFC 8415 §18.3.3");
}

#[test]
fn what_is_meant_for_another_server_or_says_too_little_is_not_answered() {
    let state = state(None, FIXED);
    let mut other = ours(Kind::Request, duid(MAC), &[]);
    other.server_id = Some(vec![0, 4, 9]);
    let reply = ask(&state, &other);
    assert!(reply.answer.is_none());
    assert!(matches!(event(&reply), Dhcp6Event::Ignored { reason: Dhcp6Refusal::OtherServer { .. } }));
    assert_eq!(ask(&state, &request(Kind::Request, duid(MAC))), Reply::nothing(), "no server identifier");
    assert_eq!(ask(&state, &ours(Kind::Solicit, duid(MAC), &[])), Reply::nothing(), "a server identifier");
    let nobody = Request { client_id: None, ..request(Kind::Solicit, duid(MAC)) };
    assert_eq!(ask(&state, &nobody), Reply::nothing());
    assert_eq!(ask(&state, &request(Kind::Information, duid(MAC))), Reply::nothing(), "with an association");
}

#[test]
fn unicast_is_sent_back_to_multicast_and_another_network_is_not_answered() {
    let state = state(None, FIXED);
    let unicast = ask_from(&state, &ours(Kind::Renew, duid(MAC), &[]), "fe80::1", Cast::Unicast);
    assert!(told(&unicast).iter().any(|told| matches!(told, Told::Status(Status::UseMulticast, _))));
    assert_eq!(ask_from(&state, &request(Kind::Solicit, duid(MAC)), "fe80::1", Cast::Unicast), Reply::nothing());
    let far = ask_from(&state, &request(Kind::Solicit, duid(MAC)), "2001:db8::1", Cast::Multicast);
    assert_eq!(far, Reply::nothing());
}

#[test]
fn firmware_is_told_a_url_and_http_firmware_the_class_that_makes_it_a_boot_offer() {
    let state = state(None, FIXED);
    let boot = |class: &str, user: &[u8], architecture| {
        let mut asked = request(Kind::Solicit, duid(MAC));
        asked.vendor_class = Some(VendorClass { enterprise: 343, data: class.into() });
        asked.user_classes = if user.is_empty() { Vec::new() } else { vec![user.to_vec()] };
        asked.architectures = vec![architecture];
        ask(&state, &asked)
    };
    let url = |reply: &Reply| {
        told(reply).iter().find_map(|told| match told {
            Told::BootUrl(url) => Some(url.clone()),
            _ => None,
        })
    };
    let http = boot("HTTPClient:Arch:00016:UNDI:003001", b"", 16);
    assert_eq!(url(&http).as_deref(), Some("http://[fd00:77::1]:8080/loaders/snponly.efi"));
    let class = VendorClass { enterprise: 343, data: b"HTTPClient".to_vec() };
    assert!(told(&http).contains(&Told::VendorClass(class)));
    let Fact::Dhcp6(fact) = &http.facts[0] else { panic!("{http:?}") };
    assert!(matches!(fact.client, BootClient::HttpRom(_)));
    let pxe = boot("PXEClient:Arch:00007:UNDI:003001", b"", 7);
    assert_eq!(url(&pxe).as_deref(), Some("tftp://[fd00:77::1]/snponly.efi"));
    let ipxe = boot("PXEClient", b"iPXE", 7);
    assert_eq!(url(&ipxe).as_deref(), Some("http://[fd00:77::1]:8080/boot/52-54-00-ab-cd-ef/script.ipxe"));
    let unserved = boot("PXEClient:Arch:00006", b"", 6);
    assert_eq!(event(&unserved), &Dhcp6Event::Ignored { reason: Dhcp6Refusal::NoLoader });
}

#[test]
fn parameters_alone_are_given_to_anybody_on_the_network_without_an_address() {
    let asked = Request {
        client_id: None,
        associations: Vec::new(),
        wanted: vec![code::NTP, code::SEARCH],
        ..request(Kind::Information, duid(MAC))
    };
    let reply = ask(&state(None, FIXED), &asked);
    assert!(told(&reply).contains(&Told::Ntp(vec![ip("fd00:77::123")])));
    assert!(told(&reply).contains(&Told::Search(vec!["boot.example".into()])));
    assert!(told(&reply).contains(&Told::RefreshTime(REFRESH_S)));
    assert!(reply.facts.is_empty(), "a system that asks is no news");
}

#[test]
fn prefixes_and_temporary_addresses_are_refused_beside_an_address() {
    let mut asked = request(Kind::Solicit, duid(MAC));
    asked.associations.push(Association { kind: AssociationKind::Prefix, id: 8, addresses: Vec::new() });
    asked.associations.push(Association { kind: AssociationKind::Temporary, id: 9, addresses: Vec::new() });
    let reply = ask(&state(None, FIXED), &asked);
    assert_eq!(given(&reply).len(), 1);
    assert!(told(&reply).iter().any(|told| matches!(told, Told::Prefixes { id: 8, status: (Status::NoPrefix, _) })));
    assert!(told(&reply).iter().any(|told| matches!(told, Told::Temporary { id: 9, .. })));
}

#[test]
fn a_node_without_an_address_and_without_a_pool_is_told_that_there_is_none() {
    let reply = ask(&state(None, None), &request(Kind::Solicit, duid(MAC)));
    assert!(told(&reply).iter().any(|told| matches!(told, Told::Status(Status::NoAddresses, _))));
    assert_eq!(event(&reply), &Dhcp6Event::Refused { reason: Dhcp6Refusal::NoAddress { network: name("boot") } });
    let pooled = ask(&state(POOL, None), &request(Kind::Solicit, duid(MAC)));
    assert!(matches!(event(&pooled), Dhcp6Event::Advertised { pool: Some(_), .. }));
}

#[test]
fn on_a_network_without_ipv6_nothing_is_said_and_nothing_noted() {
    let mut state = state(None, None);
    let spec = NetworkSpec { ipv6: None, ..network(None) };
    describe(&mut state, OperatorEvent::NetworkDescribed { spec });
    assert_eq!(ask(&state, &request(Kind::Solicit, duid(MAC))), Reply::nothing());
    assert_eq!(ask(&state, &request(Kind::Solicit, Duid::of_uuid([8; 16]))), Reply::nothing());
}
