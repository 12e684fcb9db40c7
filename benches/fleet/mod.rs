//! A fleet's facts as they would be journaled: machines are described once, and then boot again and again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use bootes::fact::{
    AgentEvent, AgentFact, ApplianceFact, Architecture, BootClient, BootFile, DhcpEvent, DhcpFact, EngineEvent,
    EngineFact, Fact, FileEvent, FileFact, OperatorEvent, OperatorFact, PowerEvent, PowerFact, PowerOrder, PowerState,
    Reported, Scope, Stamped, StepName, Transport,
};
use bootes::model::hardware::{Bios, Board, Carrier, Disk, Firmware, Hardware, Interface, Medium, Processor, System};
use bootes::model::{
    BmcDriver, BmcSpec, CakeSpec, Digest, FactSeq, Generation, ImagePin, Mac, Name, NetworkSpec, NodeId, NodeSpec,
    Revision, Sealed, UnixMs, Value, VarPath,
};
use uuid::Uuid;

/// Facts that one boot of one machine makes here.
const STAGES: u64 = 22;
/// When the first fact is taken.
const BEGIN: u64 = 1_795_000_000_000;

/// The first `facts` facts of a cluster of `nodes` nodes.
pub fn facts(nodes: u64, facts: u64) -> impl Iterator<Item = Stamped<Fact>> {
    (1..=facts).map(move |seq| Stamped { seq: FactSeq(seq), at: UnixMs(BEGIN + seq * 10), fact: fact(nodes, seq) })
}

fn fact(nodes: u64, seq: u64) -> Fact {
    match seq {
        1 => Fact::Appliance(ApplianceFact::Started { version: "0.1.0".into() }),
        2 => operator(OperatorEvent::NetworkDescribed {
            spec: NetworkSpec {
                router: Some(Ipv4Addr::new(10, 64, 0, 1)),
                lease_s: 3_600,
                ..NetworkSpec::new(name("boot"), "10.64.0.0/12".parse().unwrap())
            },
        }),
        3 => operator(OperatorEvent::CakeDescribed {
            spec: CakeSpec { name: name("slurm"), images: vec![ImagePin { name: name("slurm"), digest: image() }] },
        }),
        seq if seq - 4 < nodes => {
            let number = seq - 4;
            operator(OperatorEvent::NodeDescribed { node: id(number), spec: Box::new(spec(number)) })
        }
        seq => {
            let since = seq - 4 - nodes;
            stage(since % nodes, since / nodes % STAGES, since / nodes / STAGES, seq)
        }
    }
}

fn stage(number: u64, stage: u64, boot: u64, seq: u64) -> Fact {
    let (node, boot) = (id(number), boot + 1);
    let power = |event| Fact::Power(PowerFact { node, event });
    let engine = |event| Fact::Engine(EngineFact { node, event });
    let agent =
        |event| Fact::Agent(AgentFact { node: Some(node), peer: SocketAddr::from((ip(number), 40_100)), event });
    let step = |mutation: &str, image: Option<Name>| StepName { mutation: mutation.into(), image };
    let started = |mutation, image| {
        let deadline = UnixMs(BEGIN + seq * 10 + 180_000);
        engine(EngineEvent::StepStarted {
            step: step(mutation, image),
            generation: Generation(boot),
            deadline,
            disruption: Default::default(),
        })
    };
    let done = |mutation, image| engine(EngineEvent::StepDone { step: step(mutation, image), duration_ms: 12_345 });
    let lease = |client, file: Option<&str>| {
        let event = DhcpEvent::Leased { ip: ip(number), lease_s: 3_600, file: file.map(str::to_owned) };
        Fact::Dhcp(DhcpFact { mac: mac(number), node: Some(node), client, event, told: Default::default() })
    };
    let sent = |name: &str, file, transport| {
        let event = FileEvent::Sent { bytes: 12_345_678, duration_ms: 1_234, retransmissions: 0 };
        Fact::File(FileFact { client: ip(number).into(), node: Some(node), transport, name: name.into(), file, event })
    };
    let observed = |variables: Vec<(VarPath, Value)>| {
        let variables = variables.into_iter().map(|(path, value)| Reported { path, value: Some(value) }).collect();
        agent(AgentEvent::Observed { revision: Revision(boot * 10 + stage), scope: Scope::Delta, variables })
    };
    let slurm = name("slurm");
    let uefi = Architecture::X64Uefi;
    match stage {
        0 => started("boot.arm", None),
        1 => power(PowerEvent::Accepted { order: PowerOrder::Arm }),
        2 => started("power.on", None),
        3 => power(PowerEvent::Accepted { order: PowerOrder::On }),
        4 => power(PowerEvent::Status { power: PowerState::On }),
        5 => lease(BootClient::PxeRom(uefi), Some("snponly.efi")),
        6 => sent("snponly.efi", BootFile::Loader, Transport::Tftp),
        7 => lease(BootClient::Ipxe(uefi), Some("http://10.64.0.1:8080/boot.ipxe")),
        8 => sent("/boot.ipxe", BootFile::Script { token: Digest::of(&seq.to_be_bytes()) }, Transport::Http),
        9 => sent("/vmlinuz", BootFile::Kernel, Transport::Http),
        10 => sent("/initramfs", BootFile::Initramfs, Transport::Http),
        11 => agent(AgentEvent::Joined { certificate: Digest::of(&seq.to_le_bytes()) }),
        12 => agent(AgentEvent::Connected { session: seq }),
        13 => agent(AgentEvent::Hardware { hardware: Box::new(hardware(number)) }),
        14 => observed(vec![(VarPath::run(), Value::symbol("init"))]),
        15 => agent(AgentEvent::Console {
            lines: vec![
                format!("[   12.{number:06}] mlx5_core 0000:41:00.0 eth0: Link up"),
                "[   12.345678] systemd-free init: mounting /run, /tmp, /sys/fs/cgroup".into(),
            ],
        }),
        16 => observed(vec![(VarPath::run(), Value::symbol("sync"))]),
        17 => started("image.activate", Some(slurm)),
        18 => observed(vec![
            (VarPath::image_state(&slurm), Value::symbol("active")),
            (VarPath::image_digest(&slurm), Value::Digest(image())),
        ]),
        19 => done("image.activate", Some(slurm)),
        20 => engine(EngineEvent::GoalReached),
        _ => agent(AgentEvent::Left { session: seq }),
    }
}

fn operator(event: OperatorEvent) -> Fact {
    Fact::Operator(OperatorFact { event, by: None })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn image() -> Digest {
    Digest::of(b"slurm")
}

fn id(number: u64) -> NodeId {
    let digest = Digest::of(&number.to_be_bytes()).to_string();
    NodeId(Uuid::parse_str(&digest[digest.len() - 32..]).unwrap())
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
        own: Box::default(),
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
        carrier: Carrier::Present,
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
