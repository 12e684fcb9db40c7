//! A link with the appliance at one end and a network namespace for clients at the other.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bootes::boot::{dhcp6, radv};
use bootes::engine::Engine;
use bootes::fact::{Dhcp6Event, Dhcp6Fact, Fact, OperatorEvent, OperatorFact};
use bootes::journal::{Filter, Journal, JournalReader};
use bootes::model::ipv6::{Advertise6, Pool6};
use bootes::model::{Duid, Mac, NetworkIpv6, NetworkSpec, NodeId, NodeIpv6, NodeSpec};
use bootes::plan::{Graph, Policy};
use bootes::port::{FactSender, StateReader, fact_channel};
use nix::sched::{CloneFlags, unshare};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a test waits for what must come. It ends a broken run; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The clients' end of the link.
pub const CLIENT_END: &str = "cli0";
const SERVER_END: &str = "srv0";

pub fn mac() -> Mac {
    Mac([0x52, 0x54, 0, 0x96, 0, 1])
}

pub fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn network() -> Fact {
    let ipv6 = NetworkIpv6 {
        subnet: "fd00:99::/64".parse().unwrap(),
        pool: Some(Pool6 { from: ip("fd00:99::1:0"), to: ip("fd00:99::1:ffff") }),
        dns: vec![ip("fd00:99::53")],
        search: vec!["boot.example".to_owned()],
        ntp: vec![ip("fd00:99::123")],
        boot_parameters: Vec::new(),
        lease_s: 3600,
        preference: 255,
        advertise: Advertise6::default(),
    };
    let ipv4 = NetworkSpec::new("boot".parse().unwrap(), "10.96.0.0/24".parse().unwrap());
    let spec = NetworkSpec { ipv6: Some(Box::new(ipv6)), ..ipv4 };
    Fact::Operator(OperatorFact::from(OperatorEvent::NetworkDescribed { spec }))
}

/// The node whose hardware address the clients' end has.
pub fn node() -> Fact {
    let spec = NodeSpec {
        name: "n1".parse().unwrap(),
        network: "boot".parse().unwrap(),
        mac: mac(),
        ip: Ipv4Addr::new(10, 96, 0, 11),
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
        ipv6: NodeIpv6 { ip6: Some(ip("fd00:99::b")), duid: None },
    };
    let node = NodeId(Uuid::from_u128(1));
    Fact::Operator(OperatorFact::from(OperatorEvent::NodeDescribed { node, spec: Box::new(spec) }))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// An appliance on its end of a link. Its namespace ends with its thread, the clients' with this value.
pub struct Site {
    name: String,
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    pub state: StateReader,
}

static SITES: AtomicU32 = AtomicU32::new(0);

impl Site {
    pub fn serve(described: Vec<Fact>) -> Self {
        let name = format!("bootes-dhcp6-{}-{}", std::process::id(), SITES.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let mut mutations = bootes::power::mutations::mutations();
        mutations.extend(bootes::boot::mutations::mutations());
        mutations.extend(bootes::sync::mutations::mutations());
        let graph = Graph::build(mutations, &bootes::model::Schema::default()).unwrap();
        let engine = Engine::replay(Journal::open(folder.path()).unwrap(), graph, Policy::default()).unwrap();
        let (facts, receiver) = fact_channel();
        let state = StateReader(engine.snapshots());
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let engine = std::thread::spawn(move || runtime().block_on(engine.run(receiver, token)));
        let known = [vec![network()], described].concat();
        runtime().block_on(facts.submit(known)).unwrap();
        let (ready, bound) = mpsc::channel();
        let (clients, reader, token) = (name.clone(), state.clone(), shutdown.clone());
        let server = std::thread::spawn(move || {
            make_link(&clients);
            runtime().block_on(serve(facts, reader, token, &ready));
        });
        bound.recv_timeout(PATIENCE).expect("the server starts");
        Site { name, folder, shutdown, threads: vec![server, engine], state }
    }

    /// The clients' namespace.
    pub fn clients(&self) -> &str {
        &self.name
    }

    /// A command to run among the clients.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// dhcpcd as on its first day: it asks for what it had before, and its helpers outlive it.
    pub fn dhcpcd(&self) -> Command {
        let first_day = "mkdir -p /var/lib/dhcpcd /run/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd \
                         && mount -t tmpfs tmpfs /run/dhcpcd && exec dhcpcd \"$@\"";
        let mut command = self.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", first_day, "dhcpcd"]);
        command
    }

    /// The same, of which success is expected; what it prints.
    pub fn run(&self, words: &str) -> String {
        let mut words = words.split(' ');
        text(&self.command(words.next().unwrap()).args(words).output().unwrap())
    }

    /// The first exchange in the state or to come for which `wanted` holds.
    pub fn until(&self, what: &str, wanted: impl Fn(&bootes::state::State) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if wanted(&self.state.now()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("waited in vain: {what}");
    }

    /// Ends it, and gives every DHCPv6 exchange of the journal.
    pub fn exchanges(mut self) -> Vec<Dhcp6Fact> {
        self.end();
        let every = Filter { limit: 100_000, ..Filter::default() };
        let read = JournalReader::open(self.folder.path()).unwrap().read(&every).unwrap();
        let facts = read.into_iter().map(|stamped| stamped.fact);
        facts
            .filter_map(|fact| match fact {
                Fact::Dhcp6(fact) => Some(fact),
                Fact::Malformed(fact) => panic!("a real client's message was not understood: {fact:?}"),
                _ => None,
            })
            .collect()
    }

    fn end(&mut self) {
        self.shutdown.cancel();
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        if !std::thread::panicking() {
            ended.into_iter().for_each(|ended| ended.expect("the server ends without a panic"));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(facts: FactSender, state: StateReader, token: CancellationToken, ready: &mpsc::Sender<()>) {
    let server = dhcp6::bind(SERVER_END).unwrap();
    let radv = radv::bind(SERVER_END).unwrap();
    ready.send(()).unwrap();
    let http = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 8080, 0, 0);
    let services = dhcp6::Services6 { tftp: Some(Ipv6Addr::UNSPECIFIED), http: Some(http) };
    let duid: Duid = dhcp6::server_duid([7; 16]);
    tokio::join!(server.run(facts, state.clone(), (duid, services), token.clone()), radv.run(state, token),);
}

pub fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&both).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

pub fn ip_command(words: &str) {
    text(&Command::new("ip").args(words.split(' ')).output().unwrap());
}

/// Puts this thread into a network of its own, with a link to the new namespace `clients`.
fn make_link(clients: &str) {
    unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
    ip_command(&format!("netns add {clients}"));
    let peer = format!("peer name {CLIENT_END} address {} netns {clients}", mac());
    ip_command(&format!("link add {SERVER_END} type veth {peer}"));
    ip_command(&format!("address add fd00:99::1/64 dev {SERVER_END} nodad"));
    ip_command(&format!("link set {SERVER_END} up"));
    ip_command(&format!("-n {clients} link set lo up"));
    ip_command(&format!("-n {clients} link set {CLIENT_END} up"));
    // A link-local address is tentative for a second, and no client can speak before that is over.
    for _ in 0..100 {
        let addresses = |arguments: &[&str]| text(&Command::new("ip").args(arguments).output().unwrap());
        let here = addresses(&["-6", "address", "show", "dev", SERVER_END, "scope", "link"]);
        let there = addresses(&["-n", clients, "-6", "address", "show", "dev", CLIENT_END, "scope", "link"]);
        if [here, there].iter().all(|shown| shown.contains("fe80") && !shown.contains("tentative")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the link has no link-local addresses");
}

pub fn leased(fact: &Dhcp6Fact) -> Option<Ipv6Addr> {
    match fact.event {
        Dhcp6Event::Leased { ip, .. } => Some(ip),
        _ => None,
    }
}
