//! A small cluster at one moment, made by the real engine from facts: n1 runs, n2 is booting, n3 and n4 have BMCs that
//! refuse the password, n5 was given up, n6 has no BMC. One more machine is no node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bootes::engine::core::Core;
use bootes::fact::{
    AgentEvent, AgentFact, ApplianceFact, Architecture, BmcProblem, BootClient, BootFile, DhcpEvent, DhcpFact,
    DhcpRefusal, Fact, FailReason, FileEvent, FileFact, OperatorEvent, OperatorFact, OutcomeFact, PowerEvent,
    PowerFact, PowerOrder, PowerState, Reported, Scope, Stamped, Transport,
};
use bootes::model::hardware::{Bios, Board, Carrier, Disk, Firmware, Hardware, Interface, Medium, Processor, System};
use bootes::model::{
    BmcDriver, BmcSpec, CakeSpec, Digest, ImagePin, Mac, Name, NetworkSpec, NodeId, NodeSpec, Revision, Sealed, UnixMs,
    Value, VarPath,
};
use bootes::plan::{Graph, Planner, Policy};
use bootes::state::State;
use uuid::Uuid;

/// 2026-11-21T02:00:00Z.
pub const START: UnixMs = UnixMs(1_795_226_400_000);
const NODES: u8 = 6;

/// The cluster, and how it came to be so.
pub struct Cluster {
    pub now: UnixMs,
    pub core: Core,
    pub graph: Graph,
    pub policy: Policy,
    pub journal: Vec<Stamped<Fact>>,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn policy() -> Policy {
    Policy { retry_budget: 1, ..Policy::default() }
}

pub fn graph() -> Graph {
    let all = [
        bootes::power::mutations::mutations(),
        bootes::boot::mutations::mutations(),
        bootes::sync::mutations::mutations(),
    ];
    Graph::build(all.concat(), &bootes::model::Schema::default()).unwrap()
}

pub fn id(number: u8) -> NodeId {
    NodeId(Uuid::from_u128(0xb007_0000_0000_4000_8000_0000_0000_0000 + u128::from(number)))
}

pub fn mac(number: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0xb0, 7, number])
}

pub fn ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}

pub fn spec(number: u8) -> NodeSpec {
    NodeSpec {
        name: name(&format!("n{number}")),
        network: name("boot"),
        mac: mac(number),
        ip: ip(number),
        matching: Default::default(),
        cake: Some(name("hello")),
        bmc: (number != 6).then(|| BmcSpec {
            driver: BmcDriver::Ipmi,
            address: SocketAddr::from(([10, 77, 0, 100 + number], 623)),
            user: "admin".into(),
            password: Sealed(b"secret".to_vec()),
        }),
        labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: BTreeMap::new(),
        own: Box::default(),
        ipv6: Default::default(),
    }
}

pub fn power(number: u8, event: PowerEvent) -> Fact {
    Fact::Power(PowerFact { node: id(number), event })
}

fn leased(number: u8, client: BootClient, file: &str) -> Fact {
    let event = DhcpEvent::Leased { ip: ip(number), lease_s: 3600, file: Some(file.to_owned()) };
    Fact::Dhcp(DhcpFact { mac: mac(number), node: Some(id(number)), client, event, told: Default::default() })
}

pub fn sent(number: u8, transport: Transport, file: BootFile, path: &str, bytes: u64) -> Fact {
    Fact::File(FileFact {
        client: IpAddr::V4(ip(number)),
        node: Some(id(number)),
        transport,
        name: path.to_owned(),
        file,
        event: FileEvent::Sent { bytes, duration_ms: 120, retransmissions: 0 },
    })
}

pub fn agent(number: u8, event: AgentEvent) -> Fact {
    Fact::Agent(AgentFact { node: Some(id(number)), peer: SocketAddr::from((ip(number), 40_000)), event })
}

pub fn observed(scope: Scope, revision: u64, variables: &[(VarPath, Value)]) -> AgentEvent {
    let variables = variables.iter().map(|(path, value)| Reported { path: path.clone(), value: Some(value.clone()) });
    AgentEvent::Observed { revision: Revision(revision), scope, variables: variables.collect() }
}

fn hardware() -> Hardware {
    Hardware {
        architecture: "x86_64".into(),
        kernel: "6.12.57".into(),
        firmware: Firmware::Uefi,
        system: System {
            vendor: Some("QEMU".into()),
            product: Some("Standard PC".into()),
            serial: Some("VBOX-1".into()),
            ..System::default()
        },
        board: Board::default(),
        bios: Bios { vendor: Some("EDK II".into()), version: Some("2022.11".into()), date: None },
        processor: Processor { model: Some("QEMU TCG CPU".into()), sockets: 1, cores: 2, threads: 2, clock_mhz: None },
        memory_bytes: 500 << 20,
        disks: vec![Disk {
            name: "vda".into(),
            size_bytes: 8 << 30,
            model: None,
            serial: None,
            medium: Medium::SolidState,
        }],
        interfaces: vec![Interface {
            name: "eth0".into(),
            mac: mac(1),
            driver: Some("virtio_net".into()),
            speed_mbit: None,
            carrier: Carrier::Present,
            pci_address: None,
        }],
    }
}

impl Cluster {
    /// A cluster of which nothing is known, and which can do what `graph` says.
    pub fn new(graph: Graph, policy: Policy) -> Cluster {
        let core = Core::new(State::default(), Planner::new(graph.clone()), policy.clone());
        Cluster { now: START, core, graph, policy, journal: Vec::new() }
    }

    pub fn at(&mut self, after_ms: u64, facts: Vec<Fact>) {
        self.now = START.plus(after_ms);
        let turn = self.core.turn(self.now, facts);
        self.journal.extend(turn.stamped);
    }

    pub fn power_on(&mut self, at_ms: u64, number: u8) {
        let off = PowerEvent::Status { power: PowerState::Off };
        let on = PowerEvent::Status { power: PowerState::On };
        self.at(at_ms, vec![power(number, off)]);
        self.at(at_ms + 200, vec![power(number, PowerEvent::Accepted { order: PowerOrder::Arm })]);
        self.at(at_ms + 400, vec![power(number, PowerEvent::Accepted { order: PowerOrder::On })]);
        self.at(at_ms + 1_500, vec![power(number, on)]);
    }

    fn boot(&mut self, at_ms: u64, number: u8) {
        let rom = BootClient::PxeRom(Architecture::X64Uefi);
        let ipxe = BootClient::Ipxe(Architecture::X64Uefi);
        let token = BootFile::Script { token: Digest::of(b"token") };
        let image = name("hello");
        self.at(at_ms, vec![leased(number, rom, "snponly.efi")]);
        self.at(at_ms + 900, vec![sent(number, Transport::Tftp, BootFile::Loader, "snponly.efi", 260_000)]);
        self.at(at_ms + 2_000, vec![leased(number, ipxe, "http://10.77.0.1:8080/boot/script")]);
        self.at(at_ms + 2_100, vec![sent(number, Transport::Http, token, "/boot/script", 300)]);
        self.at(at_ms + 2_800, vec![sent(number, Transport::Http, BootFile::Kernel, "/layer0/vmlinuz", 14_000_000)]);
        self.at(
            at_ms + 3_100,
            vec![sent(number, Transport::Http, BootFile::Initramfs, "/layer0/initramfs", 4_000_000)],
        );
        self.at(at_ms + 9_000, vec![agent(number, AgentEvent::Joined { certificate: Digest::of(b"certificate") })]);
        self.at(at_ms + 9_100, vec![agent(number, AgentEvent::Connected { session: 1 })]);
        self.at(at_ms + 9_200, vec![agent(number, AgentEvent::Hardware { hardware: Box::new(hardware()) })]);
        let run = |value| (VarPath::run(), Value::symbol(value));
        let state = |value| (VarPath::image_state(&image), Value::symbol(value));
        let digest = (VarPath::image_digest(&image), Value::Digest(Digest::of(b"hello")));
        self.at(at_ms + 9_300, vec![agent(number, observed(Scope::Full, 1, &[run("sync"), state("idle")]))]);
        self.at(at_ms + 11_000, vec![agent(number, observed(Scope::Delta, 2, &[state("active"), digest]))]);
    }

    fn refuse_login(&mut self, at_ms: u64, number: u8) {
        let flight = self.core.state().node(id(number)).and_then(|node| node.in_flight.clone());
        let Some(flight) = flight else { panic!("nothing is asked of the BMC of n{number}") };
        let (problem, detail) = (BmcProblem::LoginRefused, format!("10.77.0.{} refuses user admin", 100 + number));
        let reason = FailReason::Bmc { problem, detail: detail.clone() };
        let failed = PowerEvent::Failed { order: PowerOrder::Probe, problem, detail };
        let outcome = OutcomeFact { node: id(number), step: flight.step, generation: flight.generation, reason };
        self.at(at_ms, vec![power(number, failed), Fact::Outcome(outcome)]);
    }
}

/// The cluster, 200 s after its appliance was started.
pub fn cluster() -> Cluster {
    let mut cluster = Cluster::new(graph(), policy());
    let asked = |event| Fact::Operator(OperatorFact::from(event));
    cluster.at(0, vec![Fact::Appliance(ApplianceFact::Started { version: "0.1.0".into() })]);
    let network = NetworkSpec {
        router: Some(Ipv4Addr::new(10, 77, 0, 1)),
        lease_s: 3600,
        ..NetworkSpec::new(name("boot"), "10.77.0.0/24".parse().unwrap())
    };
    let pin = ImagePin { name: name("hello"), digest: Digest::of(b"hello") };
    let mut described = vec![
        asked(OperatorEvent::ClusterNamed { name: name("demo") }),
        asked(OperatorEvent::NetworkDescribed { spec: network }),
        asked(OperatorEvent::CakeDescribed { spec: CakeSpec { name: name("hello"), images: vec![pin] } }),
    ];
    let node = |number| asked(OperatorEvent::NodeDescribed { node: id(number), spec: Box::new(spec(number)) });
    described.extend((1..=NODES).map(node));
    cluster.at(1_000, described);
    cluster.power_on(2_000, 5);
    cluster.power_on(4_000, 1);
    cluster.boot(8_000, 1);
    let stranger = DhcpFact {
        mac: Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]),
        node: None,
        client: BootClient::PxeRom(Architecture::X86Bios),
        event: DhcpEvent::Ignored { reason: DhcpRefusal::UnknownMachine },
        told: Default::default(),
    };
    cluster.at(30_000, vec![Fact::Dhcp(stranger)]);
    cluster.at(31_000, vec![]);
    // What was asked of silent BMCs runs out of time, and then of n5's boot.
    cluster.at(70_000, vec![]);
    cluster.at(80_000, vec![]);
    cluster.power_on(170_000, 2);
    cluster.at(190_000, vec![]);
    cluster.refuse_login(199_000, 3);
    cluster.refuse_login(199_500, 4);
    cluster.at(200_000, vec![]);
    cluster
}
