//! What is reported of a cluster's nodes while they boot: as it would be, stage by stage, of large machines.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use bootes::fact::{
    AgentEvent, AgentFact, Architecture, BootClient, BootFile, DhcpEvent, DhcpFact, Fact, FileEvent, FileFact,
    OperatorEvent, OperatorFact, PowerEvent, PowerFact, PowerOrder, PowerState, Reported, Scope, Transport,
};
use bootes::model::hardware::{Bios, Board, Carrier, Disk, Firmware, Hardware, Interface, Medium, Processor, System};
use bootes::model::{
    BmcDriver, BmcSpec, CakeSpec, Digest, ImagePin, Mac, Name, NetworkSpec, NodeId, NodeSpec, Revision, Sealed, UnixMs,
    Value, VarPath,
};
use uuid::Uuid;

/// Facts that one boot of one node makes.
pub const STAGES: u64 = 18;
/// When the first fact is taken.
const BEGIN: u64 = 1_795_000_000_000;

/// So many milliseconds after the first fact.
pub fn time(ms: u64) -> UnixMs {
    UnixMs(BEGIN + ms)
}

/// A network, a cake, and `nodes` nodes.
pub fn descriptions(nodes: u64) -> Vec<Fact> {
    let network = OperatorEvent::NetworkDescribed {
        spec: NetworkSpec {
            router: Some(Ipv4Addr::new(10, 64, 0, 1)),
            lease_s: 3_600,
            ..NetworkSpec::new(name("boot"), "10.64.0.0/12".parse().unwrap())
        },
    };
    let node = |number| OperatorEvent::NodeDescribed { node: id(number), spec: Box::new(spec(number)) };
    let events = [network, cake(image())].into_iter().chain((0..nodes).map(node));
    events.map(|event| Fact::Operator(OperatorFact::from(event))).collect()
}

/// The cake with this content.
pub fn cake(digest: Digest) -> OperatorEvent {
    OperatorEvent::CakeDescribed {
        spec: CakeSpec { name: name("slurm"), images: vec![ImagePin { name: name("slurm"), digest }] },
    }
}

/// What is reported of a node at one stage of a boot.
pub fn fact(number: u64, stage: u64, boot: u64) -> Fact {
    let node = id(number);
    let power = |event| Fact::Power(PowerFact { node, event });
    let agent =
        |event| Fact::Agent(AgentFact { node: Some(node), peer: SocketAddr::from((ip(number), 40_100)), event });
    let lease = |client, file: &str| {
        let event = DhcpEvent::Leased { ip: ip(number), lease_s: 3_600, file: Some(file.to_owned()) };
        Fact::Dhcp(DhcpFact { mac: mac(number), node: Some(node), client, event, told: Default::default() })
    };
    let sent = |name: &str, file, transport| {
        let event = FileEvent::Sent { bytes: 12_345_678, duration_ms: 1_234, retransmissions: 0 };
        Fact::File(FileFact { client: ip(number).into(), node: Some(node), transport, name: name.into(), file, event })
    };
    let observed = |scope, variables: Vec<(VarPath, Value)>| {
        let variables = variables.into_iter().map(|(path, value)| Reported { path, value: Some(value) }).collect();
        agent(AgentEvent::Observed { revision: Revision(boot * 10 + stage), scope, variables })
    };
    let (uefi, slurm) = (Architecture::X64Uefi, name("slurm"));
    match stage {
        0 => agent(AgentEvent::Left { session: boot }),
        1 => power(PowerEvent::Accepted { order: PowerOrder::Off }),
        2 => power(PowerEvent::Status { power: PowerState::Off }),
        3 => power(PowerEvent::Accepted { order: PowerOrder::Arm }),
        4 => power(PowerEvent::Accepted { order: PowerOrder::On }),
        5 => power(PowerEvent::Status { power: PowerState::On }),
        6 => lease(BootClient::PxeRom(uefi), "snponly.efi"),
        7 => sent("snponly.efi", BootFile::Loader, Transport::Tftp),
        8 => lease(BootClient::Ipxe(uefi), "http://10.64.0.1:8080/boot.ipxe"),
        9 => sent("/boot.ipxe", BootFile::Script { token: Digest::of(&boot.to_be_bytes()) }, Transport::Http),
        10 => sent("/vmlinuz", BootFile::Kernel, Transport::Http),
        11 => sent("/initramfs", BootFile::Initramfs, Transport::Http),
        12 => {
            agent(AgentEvent::Joined { certificate: Digest::of(&[number.to_be_bytes(), boot.to_be_bytes()].concat()) })
        }
        13 => agent(AgentEvent::Connected { session: boot + 1 }),
        14 => observed(Scope::Full, network(number)),
        15 => agent(AgentEvent::Hardware { hardware: Box::new(hardware(number)) }),
        16 => agent(AgentEvent::Console {
            lines: vec![
                format!("[   12.{number:06}] mlx5_core 0000:41:00.0 eth0: Link up"),
                "[   12.345678] bootes: the session with the parent is up".into(),
                "[   12.456789] bootes: an image was fetched image=slurm bytes=712345678".into(),
                "slurm: slurmd version 24.05.4 started".into(),
                "slurm: CPUs=384 Boards=1 Sockets=2 Cores=96 Threads=2 Memory=1546000".into(),
            ],
        }),
        _ => observed(
            Scope::Delta,
            vec![
                (VarPath::run(), Value::symbol("sync")),
                (VarPath::image_state(&slurm), Value::symbol("active")),
                (VarPath::image_digest(&slurm), Value::Digest(image())),
            ],
        ),
    }
}

fn network(number: u64) -> Vec<(VarPath, Value)> {
    let path = |text: &str| text.parse::<VarPath>().unwrap();
    let text = |text: String| Value::Text(text.into());
    let mut all = vec![
        (VarPath::run(), Value::symbol("init")),
        (VarPath::busy(), Value::symbol("free")),
        (path("net.hostname"), text(format!("n{number:05}"))),
        (path("net.dns"), Value::List(vec![Value::Ip(Ipv4Addr::new(10, 64, 0, 1).into())])),
        (
            path("net.routes"),
            Value::List(vec![text("0.0.0.0/0 via 10.64.0.1".into()), text("10.64.0.0/12 dev eth0".into())]),
        ),
        (path("net.eth0.ip"), Value::Ip(ip(number).into())),
    ];
    for at in 0..4 {
        let state = if at == 0 { "up" } else { "down" };
        all.push((path(&format!("net.eth{at}.state")), Value::symbol(state)));
        all.push((path(&format!("net.eth{at}.mtu")), Value::Int(9_000)));
    }
    all
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn image() -> Digest {
    Digest::of(b"slurm")
}

fn id(number: u64) -> NodeId {
    // Spread as random ids are: neighbours by number are no neighbours in a map.
    NodeId(Uuid::from_u128(u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

fn ip(number: u64) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 64, 1, 0)) + u32::try_from(number).unwrap())
}

fn mac(number: u64) -> Mac {
    let [_, _, _, a, b, c, d, e] = number.to_be_bytes();
    Mac([2, a, b, c, d, e])
}

fn spec(number: u64) -> NodeSpec {
    let bmc = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 72, 1, 0)) + u32::try_from(number).unwrap());
    NodeSpec {
        name: name(&format!("n{number:05}")),
        network: name("boot"),
        mac: mac(number),
        ip: ip(number),
        matching: Default::default(),
        cake: Some(name("slurm")),
        bmc: Some(BmcSpec {
            driver: BmcDriver::Ipmi,
            address: SocketAddr::from((bmc, 623)),
            user: "admin".into(),
            password: Sealed((0..44).map(|at: u64| (at * number).to_le_bytes()[0]).collect()),
        }),
        labels: BTreeMap::from([("rack".into(), format!("r{}", number / 40)), ("role".into(), "compute".into())]),
        pool: None,
        arch: None,
        platform: None,
        parents: vec![],
        variables: BTreeMap::new(),
        own: Default::default(),
        ipv6: Default::default(),
    }
}

fn hardware(number: u64) -> Hardware {
    let text = |text: &str| Some(text.to_owned());
    let disk = |name: &str| Disk {
        name: name.into(),
        size_bytes: 3_840_755_982_336,
        model: text("SAMSUNG MZQL23T8HCLS-00A07"),
        serial: Some(format!("S64HNE0T{number:06}{name}")),
        medium: Medium::SolidState,
    };
    let interface = |at: u8| Interface {
        name: format!("eth{at}"),
        mac: Mac([4, at, mac(number).0[2], mac(number).0[3], mac(number).0[4], mac(number).0[5]]),
        driver: text("mlx5_core"),
        speed_mbit: Some(25_000),
        carrier: if at == 0 { Carrier::Present } else { Carrier::Absent },
        pci_address: text("0000:41:00.0"),
    };
    Hardware {
        architecture: "x86_64".into(),
        kernel: "6.12.57".into(),
        firmware: Firmware::Uefi,
        system: System {
            vendor: text("Supermicro"),
            product: text("AS -1125HS-TNR"),
            version: text("0123456789"),
            serial: Some(format!("S4{number:08}")),
            uuid: Some(Uuid::from_u128(u128::from(number)).to_string()),
        },
        board: Board { vendor: text("Supermicro"), name: text("H13DSH"), serial: Some(format!("OM{number:08}")) },
        bios: Bios {
            vendor: text("American Megatrends International, LLC."),
            version: text("3.1"),
            date: text("08/28/2024"),
        },
        processor: Processor {
            model: text("AMD EPYC 9654 96-Core Processor"),
            sockets: 2,
            cores: 192,
            threads: 384,
            clock_mhz: Some(3_700),
        },
        memory_bytes: 1_622_000_000_000,
        disks: vec![disk("nvme0n1"), disk("nvme1n1")],
        interfaces: (0..4).map(interface).collect(),
    }
}
