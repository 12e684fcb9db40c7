//! One link with the appliance at one end and a network namespace for clients at the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bootes::boot::dhcp::{DhcpError, ServerOptions, Services, bind};
use bootes::boot::tftp::{self, Roots};
use bootes::engine::Engine;
use bootes::fact::{DhcpEvent, DhcpFact, Fact, OperatorEvent, OperatorFact, Stamped};
use bootes::journal::{Filter, Journal, JournalReader};
use bootes::model::{AddressRange, Mac, NetworkSpec, NodeId, NodeSpec};
use bootes::plan::{Graph, Policy};
use bootes::port::{FactReceiver, FactSender, StateReader, fact_channel};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a test waits for what must come. It ends a broken run; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The appliance's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The clients' end of the link.
pub const CLIENT_END: &str = "cli0";
const SERVER_END: &str = "srv0";
/// Where the network boot programs are.
const LOADERS: &str = "/usr/lib/ipxe";

pub fn mac(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([0x52, 0x54, 0, 0x99, high, low])
}

pub fn address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 1, 0)) + u32::from(number))
}

pub fn node(number: u16) -> Fact {
    described(number, address(number))
}

pub fn described(number: u16, ip: Ipv4Addr) -> Fact {
    let spec = NodeSpec {
        name: format!("n{number}").parse().unwrap(),
        network: "boot".parse().unwrap(),
        mac: mac(number),
        ip,
        matching: Default::default(),
        cake: None,
        bmc: None,
        labels: BTreeMap::new(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
        ipv6: Default::default(),
    };
    let node = NodeId(Uuid::from_u128(u128::from(number)));
    Fact::Operator(OperatorFact::from(OperatorEvent::NodeDescribed { node, spec: Box::new(spec) }))
}

/// Addresses for unknown machines.
pub fn range() -> AddressRange {
    AddressRange::new(Ipv4Addr::new(10, 99, 64, 1), Ipv4Addr::new(10, 99, 95, 254))
}

fn network_spec() -> NetworkSpec {
    NetworkSpec {
        router: Some(SERVER),
        dns: vec![Ipv4Addr::new(10, 99, 0, 2)],
        lease_s: 3600,
        ..NetworkSpec::new("boot".parse().unwrap(), "10.99.0.0/16".parse().unwrap())
    }
}

fn described_network(spec: NetworkSpec) -> Fact {
    Fact::Operator(OperatorFact::from(OperatorEvent::NetworkDescribed { spec }))
}

fn network() -> Fact {
    described_network(network_spec())
}

fn graph() -> Graph {
    let mut mutations = bootes::power::mutations::mutations();
    mutations.extend(bootes::boot::mutations::mutations());
    mutations.extend(bootes::sync::mutations::mutations());
    Graph::build(mutations, &bootes::model::Schema::default()).unwrap()
}

/// A running engine with a journal of its own.
pub struct Appliance {
    pub facts: FactSender,
    pub state: StateReader,
    pub folder: tempfile::TempDir,
    pub feed: broadcast::Receiver<Arc<Stamped<Fact>>>,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Appliance {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::replay(Journal::open(folder.path()).unwrap(), graph(), Policy::default()).unwrap();
        let (facts, receiver) = fact_channel();
        let (state, feed) = (StateReader(engine.snapshots()), engine.feed().subscribe());
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let thread = std::thread::spawn(move || runtime().block_on(engine.run(receiver, token)));
        let appliance = Appliance { facts, state, folder, feed, shutdown, thread: Some(thread) };
        appliance.tell(vec![network()]);
        appliance
    }

    /// No node, and addresses for unknown machines here and behind a relay.
    pub fn with_range() -> Self {
        let appliance = Self::start();
        let far = NetworkSpec {
            ranges: vec![AddressRange::new(Ipv4Addr::new(10, 98, 0, 100), Ipv4Addr::new(10, 98, 0, 200))],
            ..NetworkSpec::new("far".parse().unwrap(), "10.98.0.0/16".parse().unwrap())
        };
        let near = NetworkSpec { ranges: vec![range()], ..network_spec() };
        appliance.tell(vec![described_network(near), described_network(far)]);
        appliance
    }

    pub fn with_nodes(count: u16) -> Self {
        let appliance = Self::start();
        appliance.tell((1..=count).map(node).collect());
        appliance
    }

    pub fn tell(&self, facts: Vec<Fact>) {
        runtime().block_on(self.facts.submit(facts)).unwrap();
    }

    /// The next exchange for which `wanted` holds.
    pub fn exchange(&mut self, wanted: impl Fn(&DhcpFact) -> bool) -> DhcpFact {
        self.fact(|fact| match fact {
            Fact::Dhcp(dhcp) if wanted(dhcp) => Some(dhcp.clone()),
            _ => None,
        })
    }

    pub fn fact<T>(&mut self, wanted: impl Fn(&Fact) -> Option<T>) -> T {
        let feed = &mut self.feed;
        let next = async {
            loop {
                match feed.recv().await {
                    Ok(stamped) => {
                        if let Some(found) = wanted(&stamped.fact) {
                            return found;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(error) => panic!("the engine has stopped: {error}"),
                }
            }
        };
        runtime().block_on(async { tokio::time::timeout(PATIENCE, next).await }).expect("the fact comes")
    }

    /// Stops the engine and reads the whole journal.
    pub fn journal(mut self) -> Vec<Fact> {
        self.stop();
        let every = Filter { limit: 100_000, ..Filter::default() };
        let read = JournalReader::open(self.folder.path()).unwrap().read(&every).unwrap();
        read.into_iter().map(|stamped| stamped.fact).collect()
    }

    fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn leased(fact: &DhcpFact) -> bool {
    matches!(fact.event, DhcpEvent::Leased { .. })
}

/// A server on its end of a link. The server's namespace ends with its thread, the clients' with this value.
pub struct Site {
    name: String,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// A namespace behind a relay.
pub struct Far {
    pub name: String,
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// The relay's address on the link to the appliance.
pub const RELAY: &str = "10.99.255.2";

static SITES: AtomicU32 = AtomicU32::new(0);

impl Site {
    pub fn serve(facts: FactSender, state: StateReader) -> Self {
        let name = format!("bootes-dhcp-{}-{}", std::process::id(), SITES.fetch_add(1, Ordering::Relaxed));
        let shutdown = CancellationToken::new();
        let (token, clients) = (shutdown.clone(), name.clone());
        let (ready, bound) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            make_link(&clients);
            runtime().block_on(async {
                let services = Services { tftp: Ipv4Addr::UNSPECIFIED, http: SocketAddr::from(([0, 0, 0, 0], 8080)) };
                let server = bind(&ServerOptions { interfaces: vec![SERVER_END.to_owned()] }).unwrap();
                assert_eq!(server.links().next().unwrap().addresses, [SERVER]);
                let loaders = Roots::new([LOADERS.into()]).expect("the package ipxe is installed");
                let files = tftp::bind((SERVER, 69).into(), tftp::ServerOptions::default()).unwrap();
                ready.send(()).unwrap();
                tokio::join!(
                    files.run(Arc::new(loaders), drop, token.clone()),
                    server.run(facts, state, services, token),
                );
            });
        });
        let site = Site { name, shutdown, thread: Some(thread) };
        bound.recv_timeout(PATIENCE).expect("the server starts");
        site
    }

    /// A network behind the clients' end, which becomes a relay's: `rel0` there, `far0` in the namespace of the answer.
    pub fn behind_a_relay(&self) -> Far {
        let far = Far { name: format!("{}-far", self.name) };
        ip(&format!("netns add {}", far.name));
        self.run(&format!("ip address add {RELAY}/16 dev {CLIENT_END}"));
        self.run(&format!("ip link add rel0 type veth peer name far0 netns {}", far.name));
        self.run("ip address add 10.98.0.1/16 dev rel0");
        self.run("ip link set rel0 up");
        ip(&format!("-n {} link set far0 up", far.name));
        far
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

    pub fn run(&self, words: &str) -> Output {
        let mut words = words.split(' ');
        let output = self.command(words.next().unwrap()).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// Runs `code` in a thread among the clients.
    pub fn inside<T: Send>(&self, code: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                code()
            });
            thread.join().unwrap()
        })
    }

    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
            if !std::thread::panicking() {
                ended.expect("the server ends without a panic");
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}; these tests need root");
}

/// Puts this thread into a network of its own, with a link to the new namespace `clients`.
fn make_link(clients: &str) {
    unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
    ip(&format!("netns add {clients}"));
    ip(&format!("link add {SERVER_END} type veth peer name {CLIENT_END} address {} netns {clients}", mac(1)));
    ip(&format!("address add {SERVER}/16 dev {SERVER_END}"));
    ip(&format!("link set {SERVER_END} up"));
    ip(&format!("route add 10.98.0.0/16 via {RELAY} dev {SERVER_END}"));
    ip(&format!("-n {clients} link set {CLIENT_END} up"));
    ip(&format!("-n {clients} link set lo up"));
}

/// What binding says about `interface`, in a network where `good0` and `good1` have an address and
/// `bare0` has none.
pub fn bind_in_a_small_network(interfaces: &'static [&'static [&'static str]]) -> Vec<Result<(), DhcpError>> {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        ip("link add good0 type veth peer name bare0");
        ip(&format!("address add {SERVER}/16 dev good0"));
        ip("link set good0 up");
        ip("link add good1 type veth peer name bare1");
        ip("address add 10.98.0.1/16 dev good1");
        runtime().block_on(async {
            let bind =
                |names: &[&str]| bind(&ServerOptions { interfaces: names.iter().map(ToString::to_string).collect() });
            let bound: Vec<_> = interfaces.iter().map(|names| bind(names)).collect();
            bound.into_iter().map(|bound| bound.map(drop)).collect()
        })
    });
    thread.join().unwrap()
}

/// An engine's end that the test plays itself.
pub fn appliance_without_an_engine() -> (FactSender, FactReceiver) {
    fact_channel()
}
