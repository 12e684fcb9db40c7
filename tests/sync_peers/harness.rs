//! An appliance that can be killed, children that say what they like, and images that run nowhere.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bootes::agent::cmdline::{self, BootArguments};
use bootes::agent::image::{Runner, Running};
use bootes::agent::lines::Lines;
use bootes::agent::link::{self, Agent};
use bootes::agent::surroundings::Seen;
use bootes::engine::Engine;
use bootes::fact::{BootFile, Fact, FileEvent, FileFact, OperatorEvent, OperatorFact, Stamped, Transport};
use bootes::journal::{Filter, Journal, JournalReader};
use bootes::model::hardware::{Bios, Board, Firmware, Hardware, Processor, System};
use bootes::model::{CakeSpec, Digest, ImagePin, Name, NodeId, NodeSpec, Value, VarPath};
use bootes::plan::{Graph, Policy, goal_reached};
use bootes::port::{FactSender, Module, ModuleContext, StateReader, fact_channel};
use bootes::state::{Node, State};
use bootes::sync::codec::{ChildMessage, Frames, PROTOCOL_VERSION, ParentMessage, WireRefusal, decode, encode};
use bootes::sync::identity::{Identity, request};
use bootes::sync::link::{Link, first_body};
use bootes::sync::pin::child_config;
use bootes::sync::{Timing, bind};
use bootes::{boot, power, sync};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come. It ends a broken run; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const FAST: Timing = Timing { hello_interval_ms: 100, dead_interval_ms: 1_000 };
pub const TOKEN: [u8; 16] = [5; 16];

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn node_id(n: u8) -> NodeId {
    NodeId(uuid::Uuid::from_bytes([n; 16]))
}

/// Engine, journal and agents' port, in a runtime that can be taken away under them.
pub struct Appliance {
    pub address: SocketAddr,
    pub ca: Digest,
    pub facts: FactSender,
    pub state: StateReader,
    dir: std::path::PathBuf,
    runtime: Option<Runtime>,
}

impl Appliance {
    pub async fn start(dir: &Path, listen: SocketAddr) -> Self {
        let identity = Arc::new(Identity::open(dir).unwrap());
        let ca = identity.ca_digest();
        // The port of an appliance that was killed is free as soon as its runtime is gone.
        let module = loop {
            match bind(&[listen], &[], identity.clone(), FAST) {
                Ok(module) => break module,
                Err(_) if listen.port() != 0 => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        };
        let address = module.addresses()[0];
        let mutations = [power::mutations::mutations(), boot::mutations::mutations(), sync::mutations::mutations()];
        let graph = Graph::build(mutations.concat(), &bootes::model::Schema::default()).unwrap();
        let policy = Policy { backoff_base_ms: 50, backoff_max_ms: 200, ..Policy::default() };
        let mut engine = Engine::replay(Journal::open(dir).unwrap(), graph, policy).unwrap();
        let (facts, received) = fact_channel();
        let (actions, to_do) = mpsc::channel(64);
        engine.add_module(&module.name(), actions);
        let state = StateReader(engine.snapshots());
        let replayed = state.now().seq;
        let runtime = Runtime::new().unwrap();
        let context = ModuleContext {
            facts: facts.clone(),
            state: state.clone(),
            actions: to_do,
            shutdown: CancellationToken::new(),
        };
        runtime.spawn(async move {
            let mut tasks = JoinSet::new();
            Box::new(module).start(context, &mut tasks);
            while tasks.join_next().await.is_some() {}
        });
        runtime.spawn(engine.run(received, CancellationToken::new()));
        let appliance = Appliance { address, ca, facts, state, dir: dir.to_owned(), runtime: Some(runtime) };
        appliance.until("it has started", |state| state.seq > replayed).await;
        appliance
    }

    pub async fn on_loopback(dir: &Path) -> Self {
        Self::start(dir, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Ends it as `kill -9` does: in the middle of whatever it does, without a word to anybody.
    pub fn kill(mut self) -> SocketAddr {
        self.runtime.take().unwrap().shutdown_background();
        self.address
    }

    pub async fn submit(&self, fact: Fact) {
        self.facts.submit(vec![fact]).await.unwrap();
    }

    pub async fn operator(&self, event: OperatorEvent) {
        self.submit(Fact::Operator(OperatorFact::from(event))).await;
    }

    /// Describes a node without a BMC, which runs `images`.
    pub async fn describe(&self, n: u8, images: &[(&str, Digest)]) -> NodeId {
        let cake = name(&format!("cake{n}"));
        let images = images.iter().map(|(image, digest)| ImagePin { name: name(image), digest: *digest }).collect();
        self.operator(OperatorEvent::CakeDescribed { spec: CakeSpec { name: cake.clone(), images } }).await;
        let spec = NodeSpec {
            name: name(&format!("n{n}")),
            network: name("boot"),
            mac: format!("52:54:00:00:00:{n:02x}").parse().unwrap(),
            ip: Ipv4Addr::new(10, 77, 0, n),
            matching: Default::default(),
            cake: Some(cake),
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
        self.operator(OperatorEvent::NodeDescribed { node: node_id(n), spec: Box::new(spec) }).await;
        node_id(n)
    }

    /// What the boot server does when it sends a node its script.
    pub async fn open_token(&self, node: NodeId, token: &[u8]) {
        self.submit(Fact::File(FileFact {
            client: Ipv4Addr::LOCALHOST.into(),
            node: Some(node),
            transport: Transport::Http,
            name: "/boot/script".into(),
            file: BootFile::Script { token: Digest::of(token) },
            event: FileEvent::Sent { bytes: 1, duration_ms: 1, retransmissions: 0 },
        }))
        .await;
    }

    pub async fn until(&self, what: &str, mut is: impl FnMut(&State) -> bool) -> Arc<State> {
        let mut state = self.state.0.clone();
        let found = tokio::time::timeout(PATIENCE, state.wait_for(|state| is(state))).await;
        match found {
            Ok(Ok(state)) => state.clone(),
            _ => panic!("waited in vain until {what}; facts: {:#?}", self.sentences()),
        }
    }

    pub async fn until_node(&self, node: NodeId, what: &str, mut is: impl FnMut(&Node) -> bool) -> Arc<Node> {
        let state = self.until(what, |state| state.node(node).is_some_and(|node| is(node))).await;
        state.node(node).unwrap().clone()
    }

    pub async fn until_at_goal(&self, node: NodeId) -> Arc<Node> {
        self.until_node(node, "the node is at its goal", |node| goal_reached(node) && node.at_goal).await
    }

    pub fn journal(&self) -> Vec<Stamped<Fact>> {
        let filter = Filter { limit: 100_000, ..Filter::default() };
        JournalReader::open(&self.dir).unwrap().read(&filter).unwrap()
    }

    pub fn sentences(&self) -> Vec<String> {
        self.journal().iter().map(|stamped| format!("{} {}", stamped.seq.0, stamped.fact.sentence())).collect()
    }

    /// Waits for a fact that is offered rather than submitted.
    pub async fn until_fact(&self, what: &str) -> String {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if let Some(found) = self.sentences().into_iter().find(|sentence| sentence.contains(what)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no fact says '{what}': {:#?}", self.sentences())
    }

    pub fn see(&self, node: NodeId, path: &str) -> Option<Value> {
        self.state.now().node(node)?.see(&path.parse::<VarPath>().unwrap()).cloned()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A child that says what the test tells it to.
pub struct Child {
    pub key: PrivateKeyDer<'static>,
    pub csr: Vec<u8>,
    pub node: NodeId,
    pub ca: Digest,
    pub address: SocketAddr,
}

impl Child {
    pub fn new(appliance: &Appliance, node: NodeId) -> Self {
        let (key, csr) = request(node).unwrap();
        Child { key, csr, node, ca: appliance.ca, address: appliance.address }
    }

    pub async fn open(&self, chain: Option<Vec<CertificateDer<'static>>>) -> std::io::Result<TlsStream<TcpStream>> {
        let config = child_config(self.ca, chain.map(|chain| (chain, self.key.clone_key()))).unwrap();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::IpAddress(self.address.ip().into()), stream).await
    }

    /// Sends one message as the first of a connection, and hears one.
    pub async fn ask(
        &self,
        chain: Option<Vec<CertificateDer<'static>>>,
        message: &ChildMessage,
    ) -> std::io::Result<ParentMessage> {
        let mut stream = self.open(chain).await?;
        stream.write_all(&encode(message).unwrap()).await?;
        stream.flush().await?;
        let body = first_body(&mut stream, &mut Frames::new(1 << 20), PATIENCE).await.map_err(std::io::Error::other)?;
        Ok(decode(&body).unwrap())
    }

    pub async fn join(&self, token: &[u8]) -> Result<Vec<CertificateDer<'static>>, WireRefusal> {
        let (node, token, csr_der) = (*self.node.0.as_bytes(), token.to_vec(), self.csr.clone());
        let join = ChildMessage::Join { version: PROTOCOL_VERSION, node, token, csr_der };
        match self.ask(None, &join).await.unwrap() {
            ParentMessage::Joined { chain_der } => Ok(chain_der.into_iter().map(CertificateDer::from).collect()),
            ParentMessage::Refused { reason } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    pub fn hello(&self) -> ChildMessage {
        ChildMessage::Hello { version: PROTOCOL_VERSION, node: *self.node.0.as_bytes() }
    }

    /// A session in which nothing happens by itself: no heartbeat, no answer.
    pub async fn session(&self, chain: Vec<CertificateDer<'static>>) -> Link<ParentMessage, ChildMessage> {
        let stream = self.open(Some(chain)).await.unwrap();
        let mut link = Link::new(stream, Frames::new(1 << 20), PATIENCE);
        link.send(&self.hello()).unwrap();
        assert!(matches!(link.next().await.unwrap(), ParentMessage::Welcome { .. }));
        assert!(matches!(link.next().await.unwrap(), ParentMessage::Desired(_)));
        link
    }
}

/// Runs images nowhere: they come up when they are told to, and end when the test ends them.
#[derive(Default)]
pub struct Nowhere {
    pub started: AtomicUsize,
    pub stopped: Arc<AtomicUsize>,
    /// How many of the next activations fail.
    pub failures: AtomicUsize,
    /// While set, activations wait.
    pub held: watch::Sender<bool>,
    pub ends: Mutex<BTreeMap<Name, Arc<Notify>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("image {image} could not be fetched")]
pub struct NotThere {
    image: Name,
    #[source]
    cause: std::io::Error,
}

pub struct Somewhere {
    end: Arc<Notify>,
    stopped: Arc<AtomicUsize>,
}

impl Nowhere {
    pub fn end(&self, image: &str) {
        self.ends.lock().unwrap()[&name(image)].notify_one();
    }
}

impl Runner for Nowhere {
    type Running = Somewhere;
    type Error = NotThere;

    async fn activate(&self, image: Name, _: Digest, cancel: CancellationToken) -> Result<Somewhere, NotThere> {
        let mut held = self.held.subscribe();
        let waited = tokio::select! {
            _ = held.wait_for(|held| !held) => Ok(()),
            () = cancel.cancelled() => Err("cancelled"),
        };
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if let (Err(why), _) | (_, Err(why)) = (waited, if fails { Err("the shelf is empty") } else { Ok(()) }) {
            return Err(NotThere { image, cause: std::io::Error::other(why) });
        }
        self.started.fetch_add(1, Ordering::SeqCst);
        let end = Arc::new(Notify::new());
        self.ends.lock().unwrap().insert(image, end.clone());
        Ok(Somewhere { end, stopped: self.stopped.clone() })
    }
}

impl Running for Somewhere {
    type Error = NotThere;

    async fn ended(&self) -> String {
        self.end.notified().await;
        "exit code 3".into()
    }

    async fn stop(&mut self) -> Result<(), NotThere> {
        self.stopped.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

pub fn hardware() -> Hardware {
    Hardware {
        architecture: "x86_64".into(),
        kernel: "6.1.0".into(),
        firmware: Firmware::Bios,
        system: System { serial: Some("SN17".into()), ..System::default() },
        board: Board::default(),
        bios: Bios::default(),
        processor: Processor { threads: 2, ..Processor::default() },
        memory_bytes: 1 << 30,
        disks: vec![],
        interfaces: vec![],
    }
}

/// The agent as it is on a node, but for process 1 and containers.
pub struct Node0 {
    pub runner: Arc<Nowhere>,
    pub lines: Lines,
    pub stop: CancellationToken,
    pub life: tokio::task::JoinHandle<()>,
}

pub fn arguments(node: NodeId, ca: Digest, parents: &[SocketAddr], token: &[u8]) -> BootArguments {
    let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
    let line = format!(
        "bootes.node={node} bootes.name=n bootes.mac=52:54:00:00:00:01 bootes.ip=10.77.0.1/24 bootes.parent={} \
         bootes.ca={} bootes.token={hex} bootes.http=127.0.0.1:9",
        parents.join(","),
        ca.hex()
    );
    cmdline::parse(&line).unwrap().arguments
}

pub fn agent(node: NodeId, ca: Digest, parents: &[SocketAddr], token: &[u8]) -> Node0 {
    agent_that_sees(node, ca, parents, token, watch::Sender::new(Seen::default()).subscribe())
}

pub fn agent_that_sees(
    node: NodeId,
    ca: Digest,
    parents: &[SocketAddr],
    token: &[u8],
    seen: watch::Receiver<Seen>,
) -> Node0 {
    let (runner, lines, stop) = (Arc::new(Nowhere::default()), Lines::default(), CancellationToken::new());
    let arguments = arguments(node, ca, parents, token);
    let agent = Agent {
        arguments,
        hardware: hardware(),
        runner: runner.clone(),
        lines: lines.clone(),
        seen,
        stop: stop.clone(),
    };
    let life = tokio::spawn(async move { link::run(agent).await.unwrap() });
    Node0 { runner, lines, stop, life }
}
