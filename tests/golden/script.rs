//! A cluster's history in words: facts with their times, one a line, taken in by the real engine.
//!
//!     # A comment.
//!     without run.sync               this mutation is not there; 'with relay' adds a module with a mutation of its own
//!     policy budget=5 at-once=1      how many failures a node may have, and how many nodes may be disturbed at once
//!     images hello other             the images of the cake that every node runs; hello when it is not said
//!     0     n[1-3] described         the first number is the time in seconds; also 'described without-bmc'
//!     2     n1 power-on              the BMC says off, is armed, switches on, says on, within 1.5 s
//!     8.5   n1 dhcp leased rom       offered, leased, declined, released, ignored, refused or elsewhere; rom, http, ipxe or os
//!     9     n1 file loader sent      loader, script, kernel, initramfs or unknown; sent, stopped or refused
//!     10    freeze                   also 'n1 freeze', 'switch-off run.sync' and 'switch-off-module agent'
//!     20    now                      only time passes, and the engine has not looked yet
//!     $ bootes why n1                what is asked in the end
//!
//! Between two lines the engine wakes whenever it said that it would.

use std::net::{IpAddr, SocketAddr};

use bootes::fact::{
    AgentEvent, AgentFact, ApplianceFact, Architecture, BmcProblem, BootClient, BootFile, DhcpEvent, DhcpFact,
    DhcpRefusal, Fact, FailReason, FileEvent, FileFact, JoinRefusal, OperatorEvent, OperatorFact, OutcomeFact,
    PowerEvent, PowerOrder, PowerState, Scope, Switch, Transport,
};
use bootes::model::{CakeSpec, Digest, ImagePin, NetworkSpec, NodeSet, Schema, Value, VarPath};
use bootes::plan::{Context, Graph, Mutation, Policy};

use crate::cluster::{Cluster, START, agent, id, ip, mac, name, observed, policy, power, spec};

/// The cluster at the end of the history that `text` tells.
pub fn play(text: &str) -> Cluster {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '$']));
    let words = |line: &str| -> Vec<String> { shell_words::split(line).unwrap() };
    let (mut without, mut relay, mut images) = (String::new(), None, vec!["hello".to_owned()]);
    let (mut policy, mut history) = (policy(), Vec::new());
    for line in lines().map(words) {
        match line[0].as_str() {
            "without" => without = line[1].clone(),
            "with" => relay = Some(relay_close()),
            "policy" => line[1..].iter().for_each(|word| set_policy(&mut policy, word)),
            "images" => images = line[1..].to_vec(),
            _ => history.push(line),
        }
    }
    let mut cluster = Cluster::new(graph(&without, relay), policy);
    let network = NetworkSpec { lease_s: 3600, ..NetworkSpec::new(name("boot"), "10.77.0.0/24".parse().unwrap()) };
    let pin = |image: &String| ImagePin { name: name(image), digest: Digest::of(image.as_bytes()) };
    let cake = CakeSpec { name: name("hello"), images: images.iter().map(pin).collect() };
    let asked = |event| Fact::Operator(OperatorFact::from(event));
    cluster.at(
        0,
        vec![
            asked(OperatorEvent::NetworkDescribed { spec: network }),
            asked(OperatorEvent::CakeDescribed { spec: cake }),
        ],
    );
    for line in &history {
        let at_ms = (line[0].parse::<f64>().unwrap_or_else(|_| panic!("{line:?}")) * 1000.0).round() as u64;
        assert!(START.plus(at_ms) >= cluster.now, "time goes on: {line:?}");
        let words: Vec<&str> = line[1..].iter().map(String::as_str).collect();
        if words == ["now"] {
            cluster.now = START.plus(at_ms);
            continue;
        }
        wake_until(&mut cluster, at_ms);
        match words.as_slice() {
            ["started"] => {
                cluster.at(at_ms, vec![Fact::Appliance(ApplianceFact::Started { version: "0.1.0".into() })]);
            }
            ["freeze"] => cluster.at(at_ms, vec![asked(OperatorEvent::Frozen { node: None })]),
            ["switch-off", mutation] => {
                let mutation = (*mutation).to_owned();
                cluster.at(at_ms, vec![asked(OperatorEvent::MutationSwitched { mutation, to: Switch::Disabled })]);
            }
            ["switch-off-module", module] => {
                let module = (*module).to_owned();
                cluster.at(at_ms, vec![asked(OperatorEvent::ModuleSwitched { module, to: Switch::Disabled })]);
            }
            ["look"] => cluster.at(at_ms, vec![]),
            [nodes, event @ ..] => {
                for node in nodes.parse::<NodeSet>().unwrap().iter() {
                    let number = node.trim_start_matches('n').parse().unwrap();
                    happen(&mut cluster, at_ms, number, event);
                }
            }
            [] => panic!("{line:?}"),
        }
    }
    cluster
}

/// The commands in `text`.
pub fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("$ "))
}

fn set_policy(policy: &mut Policy, word: &str) {
    match word.split_once('=') {
        Some(("budget", number)) => policy.retry_budget = number.parse().unwrap(),
        Some(("at-once", number)) => policy.disrupted_max = number.parse().unwrap(),
        _ => panic!("{word}"),
    }
}

fn graph(without: &str, more: Option<Mutation>) -> Graph {
    let all = [
        bootes::power::mutations::mutations(),
        bootes::boot::mutations::mutations(),
        bootes::sync::mutations::mutations(),
    ];
    let there = all.concat().into_iter().filter(|mutation| mutation.name.as_ref() != without);
    Graph::build(there.chain(more).collect(), &Schema::default()).unwrap()
}

/// What a module from outside might declare: the same as `run.sync`, and quicker.
fn relay_close() -> Mutation {
    let sync = bootes::sync::mutations::mutations().into_iter().find(|mutation| mutation.name.as_ref() == "run.sync");
    Mutation {
        name: "relay.close".into(),
        module: "relay".into(),
        expected_ms: 1,
        timeout_ms: 60_000,
        context: Context::Parent,
        ..sync.unwrap()
    }
}

fn wake_until(cluster: &mut Cluster, at_ms: u64) {
    while let Some(wake) = cluster.core.next_wake().filter(|wake| *wake <= START.plus(at_ms)) {
        cluster.at(wake.since(START), vec![]);
    }
}

fn happen(cluster: &mut Cluster, at_ms: u64, number: u8, event: &[&str]) {
    if event == ["power-on"] {
        return cluster.power_on(at_ms, number);
    }
    let facts = facts(cluster, number, event);
    cluster.at(at_ms, facts);
}

fn facts(cluster: &Cluster, number: u8, event: &[&str]) -> Vec<Fact> {
    let node = id(number);
    let operator = |event| vec![Fact::Operator(OperatorFact::from(event))];
    let session = cluster.core.state().node(node).and_then(|node| node.agent.session).unwrap_or(1);
    match event {
        ["described", rest @ ..] => {
            let mut spec = spec(number);
            if rest == ["without-bmc"] {
                spec.bmc = None;
            }
            operator(OperatorEvent::NodeDescribed { node, spec: Box::new(spec) })
        }
        ["bmc", "off"] => vec![power(number, PowerEvent::Status { power: PowerState::Off })],
        ["bmc", "on"] => vec![power(number, PowerEvent::Status { power: PowerState::On })],
        ["bmc", "accepts", order] => {
            let order = match *order {
                "arm" => PowerOrder::Arm,
                "on" => PowerOrder::On,
                "off" => PowerOrder::Off,
                other => panic!("{other}"),
            };
            vec![power(number, PowerEvent::Accepted { order })]
        }
        ["fails", kind, detail] => failure(cluster, number, kind, detail),
        ["dhcp", what, client] => vec![dhcp(number, what, client)],
        ["file", file, end] => vec![file_fact(number, file, end)],
        ["agent", "joined"] => vec![agent(number, AgentEvent::Joined { certificate: Digest::of(b"certificate") })],
        ["agent", "refused"] => {
            vec![agent(number, AgentEvent::JoinRefused { refusal: JoinRefusal::NoTokenOpen })]
        }
        ["agent", "connected"] => vec![agent(number, AgentEvent::Connected { session: session + 1 })],
        ["agent", "lost"] => vec![agent(number, AgentEvent::Lost { session, reason: "silent for 30 s".into() })],
        ["agent", "reports", variables @ ..] => {
            let variables: Vec<(VarPath, Value)> = variables.iter().map(|word| variable(word)).collect();
            vec![agent(number, observed(Scope::Delta, 1, &variables))]
        }
        ["console", line] => {
            let event = AgentEvent::Console { lines: vec![(*line).to_owned()] };
            let peer = SocketAddr::from((ip(number), 40_000));
            vec![Fact::Agent(AgentFact { node: Some(node), peer, event })]
        }
        ["freeze"] => operator(OperatorEvent::Frozen { node: Some(node) }),
        ["set", word] => {
            let (path, value) = variable(word);
            operator(OperatorEvent::GoalSet { node, path, value: Some(value) })
        }
        other => panic!("{other:?}"),
    }
}

fn variable(word: &str) -> (VarPath, Value) {
    let (path, value) = word.split_once('=').unwrap();
    let value = match path.ends_with(".digest") {
        true => Value::Digest(Digest::of(value.as_bytes())),
        false => Value::symbol(value),
    };
    (path.parse().unwrap(), value)
}

/// The module says that it could not do what it was asked; a BMC's problem is a fact of its own as well.
fn failure(cluster: &Cluster, number: u8, kind: &str, detail: &str) -> Vec<Fact> {
    let flight = cluster.core.state().node(id(number)).and_then(|node| node.in_flight.clone());
    let flight = flight.unwrap_or_else(|| panic!("nothing is under way for n{number}"));
    let (reason, first) = match kind {
        "agent" => (FailReason::Agent { detail: detail.to_owned() }, None),
        "no-agent" => (FailReason::NoAgent, None),
        "module" => (FailReason::ModuleUnavailable { module: detail.to_owned(), detail: String::new() }, None),
        problem => {
            let problem: BmcProblem = serde_json::from_value(problem.into()).unwrap();
            let order = match flight.step.mutation.as_ref() {
                "power.discover" => PowerOrder::Probe,
                "boot.arm" => PowerOrder::Arm,
                "power.on" => PowerOrder::On,
                _ => PowerOrder::Off,
            };
            let event = PowerEvent::Failed { order, problem, detail: detail.to_owned() };
            (FailReason::Bmc { problem, detail: detail.to_owned() }, Some(power(number, event)))
        }
    };
    let outcome = OutcomeFact { node: id(number), step: flight.step, generation: flight.generation, reason };
    first.into_iter().chain([Fact::Outcome(outcome)]).collect()
}

fn dhcp(number: u8, what: &str, client: &str) -> Fact {
    let client = match client {
        "rom" => BootClient::PxeRom(Architecture::X64Uefi),
        "http" => BootClient::HttpRom(Architecture::X64UefiHttp),
        "ipxe" => BootClient::Ipxe(Architecture::X64Uefi),
        "os" => BootClient::Other,
        other => panic!("{other}"),
    };
    let (ip, file) = (ip(number), Some("snponly.efi".to_owned()));
    let event = match what {
        "offered" => DhcpEvent::Offered { ip, file },
        "leased" => DhcpEvent::Leased { ip, lease_s: 3600, file },
        "declined" => DhcpEvent::Declined { ip },
        "released" => DhcpEvent::Released { ip },
        "ignored" => DhcpEvent::Ignored { reason: DhcpRefusal::WrongNetwork { network: name("boot") } },
        "refused" => DhcpEvent::Refused { reason: DhcpRefusal::WrongAddress { asked: None, own: ip } },
        "elsewhere" => DhcpEvent::Ignored { reason: DhcpRefusal::OtherServer { server: [10, 77, 0, 254].into() } },
        other => panic!("{other}"),
    };
    Fact::Dhcp(DhcpFact { mac: mac(number), node: Some(id(number)), client, event, told: Default::default() })
}

fn file_fact(number: u8, file: &str, end: &str) -> Fact {
    let (file, path, transport) = match file {
        "loader" => (BootFile::Loader, "snponly.efi", Transport::Tftp),
        "script" => (BootFile::Script { token: Digest::of(b"token") }, "/boot/script", Transport::Http),
        "kernel" => (BootFile::Kernel, "/layer0/vmlinuz", Transport::Http),
        "initramfs" => (BootFile::Initramfs, "/layer0/initramfs", Transport::Http),
        "unknown" => (BootFile::Unknown, "grubx64.efi", Transport::Tftp),
        other => panic!("{other}"),
    };
    let event = match end {
        "sent" => FileEvent::Sent { bytes: 260_000, duration_ms: 120, retransmissions: 0 },
        "stopped" => FileEvent::Stopped { bytes: 1_432, reason: "no acknowledgement came after 6 tries".into() },
        "refused" => FileEvent::Refused { reason: "file not found".into() },
        other => panic!("{other}"),
    };
    let client = IpAddr::V4(ip(number));
    Fact::File(FileFact { client, node: Some(id(number)), transport, name: path.to_owned(), file, event })
}
