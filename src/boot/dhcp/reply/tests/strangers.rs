//! Machines that are no node, and nodes that are known by something else than their hardware address.

use super::*;
use crate::model::{AddressRange, NodeMatch};

const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const LAST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 201);

struct Site {
    state: State,
    ledger: Ledger,
    now: u64,
}

impl Site {
    fn new() -> Self {
        let mut site = Site { state: state(), ledger: Ledger::default(), now: 0 };
        let mut network = site.state.networks.values().next().expect("a network").as_ref().clone();
        network.ranges = vec![AddressRange::new(FIRST, LAST)];
        site.operator(OperatorEvent::NetworkDescribed { spec: network });
        site
    }

    fn operator(&mut self, event: OperatorEvent) {
        self.take(vec![Fact::Operator(OperatorFact::from(event))]);
    }

    fn take(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            let seq = FactSeq(self.state.seq.0 + 1);
            self.state.apply(&Stamped { seq, at: UnixMs(self.now), fact });
        }
    }

    fn asked(&mut self, request: &Request) -> Reply {
        let (state, ledger, now) = (&self.state, &mut self.ledger, UnixMs(self.now));
        let reply = reply(Desk { state, ledger, link: &link(), services: &services(), now }, request);
        self.take(reply.facts.clone());
        reply
    }

    /// DISCOVER and REQUEST, with these options in both.
    fn leases(&mut self, mac: Mac, options: &[u8]) -> Ipv4Addr {
        let mut discover = request(1, options);
        discover.mac = mac;
        let offered = self.asked(&discover);
        let ip = answered(&offered).0.your_ip.expect("an address");
        let mut wants = request(3, &[options, &address(54, SERVER), &address(50, ip)].concat());
        wants.mac = mac;
        let acked = self.asked(&wants);
        assert_eq!(acked.durability, Durability::BeforeAnswer);
        assert_eq!((answered(&acked).0.kind, answered(&acked).0.your_ip), (ResponseKind::Ack, Some(ip)));
        ip
    }
}

fn from(mac: Mac, kind: u8, options: &[u8]) -> Request {
    let mut request = request(kind, options);
    request.mac = mac;
    request
}

#[test]
fn an_unknown_machine_gets_one_address_of_the_discovery_range_through_rom_loader_and_kernel() {
    let mut site = Site::new();
    let rom = site.leases(STRANGER, &[BIOS, &[61, 2, 0, 1]].concat());
    let loader = site.leases(STRANGER, b"\x4d\x04iPXE\x3d\x02\x01\x02");
    let kernel = site.leases(STRANGER, &[61, 3, 255, 7, 7]);
    assert_eq!((rom, loader, kernel), (FIRST, FIRST, FIRST));
    assert_eq!(site.state.leases.len(), 1);
    assert!(site.state.unknown.contains_key(&STRANGER));
}

#[test]
fn what_an_unknown_machine_and_its_relay_say_is_in_the_fact() {
    let mut site = Site::new();
    let machine_id =
        [&[97, 17, 0][..], &[0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66], &[8, 9, 10, 11, 12, 13, 14, 15]];
    let options = [&machine_id.concat()[..], b"\x0c\x04fred", b"\x52\x0c\x01\x04ge-7\x02\x04\x00\x01\x02\x03"];
    let mut discover = from(STRANGER, 1, &options.concat());
    discover.relay = Some(Ipv4Addr::new(10, 77, 0, 254));
    let reply = site.asked(&discover);
    let Some(Fact::Dhcp(fact)) = reply.facts.first() else { panic!("a fact: {reply:?}") };
    let text = |octets: &Option<crate::model::Octets>| octets.as_ref().map(ToString::to_string);
    assert_eq!(fact.told.uuid.map(|uuid| uuid.to_string()).as_deref(), Some("00112233-4455-6677-0809-0a0b0c0d0e0f"));
    assert_eq!(text(&fact.told.hostname).as_deref(), Some("fred"));
    assert_eq!(text(&fact.told.circuit_id).as_deref(), Some("ge-7"));
    assert_eq!(text(&fact.told.remote_id).as_deref(), Some("0x00010203"));
    assert_eq!(fact.told.network.as_ref().map(ToString::to_string).as_deref(), Some("boot"));
    assert_eq!(fact.told.relay, Some(Ipv4Addr::new(10, 77, 0, 254)));
}

#[test]
fn when_the_range_is_used_up_the_reason_is_noted_and_nothing_is_answered() {
    let mut site = Site::new();
    site.leases(Mac([2, 0, 0, 0, 0, 1]), &[]);
    site.leases(Mac([2, 0, 0, 0, 0, 2]), &[]);
    let reply = site.asked(&from(STRANGER, 1, &[]));
    assert_eq!(reply.answer, None);
    let reason = DhcpRefusal::NoAddressLeft { network: "boot".parse().expect("a name") };
    assert_eq!(event(&reply), DhcpEvent::Ignored { reason });
}

#[test]
fn an_unknown_machine_that_wants_an_address_on_gets_it_when_it_is_free_and_is_refused_when_it_is_not() {
    let mut site = Site::new();
    let rebooting = |ip| from(STRANGER, 3, &address(50, ip));
    let kept = site.asked(&rebooting(LAST));
    assert_eq!((answered(&kept).0.kind, answered(&kept).0.your_ip), (ResponseKind::Ack, Some(LAST)));
    let refused = site.asked(&rebooting(OTHER));
    assert_eq!(answered(&refused).0.kind, ResponseKind::Nak);
    let anothers = site.asked(&from(Mac([2, 0, 0, 0, 0, 8]), 3, &address(50, LAST)));
    assert_eq!(event(&anothers), DhcpEvent::Refused { reason: DhcpRefusal::NotLeased { asked: Some(LAST) } });
}

#[test]
fn a_declined_address_is_not_given_again_and_a_released_one_is_the_machines_first_choice() {
    let mut site = Site::new();
    let first = site.leases(STRANGER, &[]);
    site.asked(&from(STRANGER, 4, &[address(54, SERVER), address(50, first)].concat()));
    let second = site.leases(STRANGER, &[]);
    assert_ne!(first, second);
    let mut release = from(STRANGER, 7, &address(54, SERVER));
    release.client_ip = Some(second);
    site.asked(&release);
    site.now += 100_000;
    assert_eq!(site.leases(STRANGER, &[]), second);
}

#[test]
fn an_unknown_machine_that_is_described_takes_its_own_address_and_frees_the_other() {
    let mut site = Site::new();
    site.leases(STRANGER, &[]);
    let spec = NodeSpec { mac: STRANGER, ..site.state.nodes.values().next().expect("a node").spec.as_ref().clone() };
    let (name, ip) = ("n2".parse().expect("a name"), Ipv4Addr::new(10, 77, 0, 12));
    let spec = Box::new(NodeSpec { name, ip, ..spec });
    site.operator(OperatorEvent::NodeDescribed { node: NodeId(Uuid::from_u128(2)), spec });
    assert!(site.state.leases.is_empty());
    assert_eq!(site.leases(STRANGER, &[]), ip);
}

#[test]
fn a_node_is_known_by_its_switch_port_its_uuid_or_its_client_identifier_whatever_its_hardware_address_is() {
    let port = NodeMatch { circuit_id: "ge-7".parse().ok(), ..NodeMatch::default() };
    let uuid = NodeMatch { uuid: "00112233-4455-6677-0809-0a0b0c0d0e0f".parse().ok(), ..NodeMatch::default() };
    let client_id = NodeMatch { client_id: "0x0107".parse().ok(), ..NodeMatch::default() };
    let machine_id = [&[97, 17, 0][..], &[0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 8, 9, 10, 11, 12, 13, 14, 15]];
    let says: [&[u8]; 3] = [b"\x52\x06\x01\x04ge-7", &machine_id.concat(), &[61, 2, 1, 7]];
    for (matching, options) in [port, uuid, client_id].into_iter().zip(says) {
        let mut site = Site::new();
        let old = site.state.nodes.values().next().expect("a node").clone();
        let spec = Box::new(NodeSpec { matching, ..old.spec.as_ref().clone() });
        site.operator(OperatorEvent::NodeDescribed { node: old.id, spec });
        assert_eq!(site.leases(STRANGER, options), OWN);
        assert!(site.state.node_with_mac(STRANGER).is_some_and(|node| node.id == old.id));
        assert!(site.state.leases.is_empty() && site.state.unknown.is_empty());
    }
}

fn with_network(change: impl FnOnce(&mut NetworkSpec)) -> Site {
    let mut site = Site::new();
    let mut network = site.state.networks.values().next().expect("a network").as_ref().clone();
    change(&mut network);
    site.operator(OperatorEvent::NetworkDescribed { spec: network });
    site
}

#[test]
fn where_the_appliance_is_not_the_only_server_a_wrong_address_is_no_reason_to_speak() {
    let mut site = with_network(|network| network.authority = crate::model::Authority::Shared);
    let rebooting = site.asked(&from(STRANGER, 3, &address(50, OTHER)));
    assert_eq!(rebooting.answer, None);
    let node = site.asked(&request(3, &address(50, OTHER)));
    assert_eq!(node.answer, None);
    let chosen = site.asked(&request(3, &[address(54, SERVER), address(50, OTHER)].concat()));
    assert_eq!(answered(&chosen).0.kind, ResponseKind::Nak);
}

#[test]
fn a_relay_from_elsewhere_is_answered_when_it_is_listed_and_names_the_link_and_the_server_as_it_wants() {
    let relay = Ipv4Addr::new(172, 16, 0, 1);
    let as_seen = Ipv4Addr::new(172, 16, 0, 9);
    let parts = [&[5, 4, 10, 77, 0, 0][..], &[11, 4], &as_seen.octets()].concat();
    let options = [&[82, u8::try_from(parts.len()).expect("short")][..], &parts].concat();
    let mut discover = from(STRANGER, 1, &options);
    discover.relay = Some(relay);
    assert_eq!(Site::new().asked(&discover).answer, None, "it is not listed");
    let mut site = with_network(|network| network.relays = vec![relay]);
    let offered = site.asked(&discover);
    let (message, destination) = answered(&offered);
    assert_eq!(destination, Destination::Relay { ip: relay });
    assert_eq!((message.server_id, message.your_ip), (as_seen, Some(FIRST)));
    assert_eq!(message.relay_information.as_deref(), Some(&parts[..]));
    let mut wants = from(STRANGER, 3, &[&options[..], &address(54, as_seen), &address(50, FIRST)].concat());
    wants.relay = Some(relay);
    assert_eq!(answered(&site.asked(&wants)).0.kind, ResponseKind::Ack);
}

#[test]
fn what_is_set_for_a_class_a_range_or_a_node_is_told_and_stands_before_what_is_told_for_a_boot() {
    let set = |name: &str, value: &str| {
        let mut options = crate::model::DhcpOptions::default();
        options.set(name, crate::model::OptionValue::Text(value.into())).expect("it fits");
        options
    };
    let mut site = with_network(|network| {
        network.ranges[0].options = set("root-path", "/of-the-range");
        network.ranges[0].lease_s = Some(600);
        network.options = set("boot-file-name", "other.kpxe");
    });
    let offered = site.asked(&from(STRANGER, 1, BIOS));
    let (message, _) = answered(&offered);
    assert!(has(message, &DhcpOption::RootPath("/of-the-range".to_owned())));
    assert!(has(message, &DhcpOption::AddressLeaseTime(600)));
    assert_eq!(message.file.as_deref(), Some("other.kpxe"));
    assert!(!has(message, &DhcpOption::BootfileName(b"undionly.kpxe".to_vec())));
}
