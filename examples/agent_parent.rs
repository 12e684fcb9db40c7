//! A parent for one node that boots without firmware: engine, journal, agents' port and image server, without BMC and boot
//! services. Used by `tests/agent_node.sh`, which kills it and starts it again on the same folder.
//!
//! `agent_parent DIR AGENTS HTTP ADDRESS SQUASHFS [TOKEN]`: state folder, the two addresses to listen on, the address by which
//! the node reaches them, and the image to run. With a token (hexadecimal) the node is described and may join. Prints what
//! the command line of the node needs, then every fact. Reads `set PATH VALUE` from standard input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootes::boot::http::{HttpContext, HttpOptions, ImageFile, ImageFiles, bind as bind_http};
use bootes::boot::script::BootSettings;
use bootes::engine::Engine;
use bootes::fact::{BootFile, Fact, FileEvent, FileFact, OperatorEvent, OperatorFact, Transport};
use bootes::journal::Journal;
use bootes::layer::manifest::HealthCheck;
use bootes::layer::store::{AddOptions, Store};
use bootes::model::{CakeSpec, Digest, ImagePin, NodeId, NodeSpec, Value};
use bootes::plan::{Graph, Policy};
use bootes::port::{FactSender, Module, ModuleContext, StateReader, fact_channel};
use bootes::sync::{Identity, Timing, bind};
use bootes::{boot, power, sync};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct Images(Store);

impl ImageFiles for Images {
    fn path(&self, file: ImageFile) -> Option<PathBuf> {
        let path = match file {
            ImageFile::Manifest(image) => self.0.manifest_path(&image),
            ImageFile::Blob(image) => self.0.blob_path(&image),
        };
        path.exists().then_some(path)
    }
}

fn node() -> NodeId {
    NodeId(uuid::Uuid::from_bytes([17; 16]))
}

async fn ask(facts: &FactSender, event: OperatorEvent) {
    facts.submit(vec![Fact::Operator(OperatorFact::from(event))]).await.unwrap();
}

async fn describe(facts: &FactSender, image: Digest, token: &str) {
    let name = |text: &str| text.parse().unwrap();
    let images = vec![ImagePin { name: name("hello"), digest: image }];
    ask(facts, OperatorEvent::CakeDescribed { spec: CakeSpec { name: name("hello"), images } }).await;
    let spec = NodeSpec {
        ipv6: Default::default(),
        matching: Default::default(),
        name: name("n17"),
        network: name("boot"),
        mac: "52:54:00:12:34:56".parse().unwrap(),
        ip: "10.0.2.15".parse().unwrap(),
        cake: Some(name("hello")),
        bmc: None,
        labels: BTreeMap::new(),
        pool: None,
        arch: None,
        platform: None,
        parents: Vec::new(),
        variables: Default::default(),
        own: Default::default(),
    };
    ask(facts, OperatorEvent::NodeDescribed { node: node(), spec: Box::new(spec) }).await;
    let bytes: Vec<u8> =
        (0..token.len() / 2).map(|at| u8::from_str_radix(&token[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let script = FileFact {
        client: "10.0.2.15".parse().unwrap(),
        node: Some(node()),
        transport: Transport::Http,
        name: "script".into(),
        file: BootFile::Script { token: Digest::of(&bytes) },
        event: FileEvent::Sent { bytes: 1, duration_ms: 1, retransmissions: 0 },
    };
    facts.submit(vec![Fact::File(script)]).await.unwrap();
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dir, squashfs) = (Path::new(&arguments[0]), Path::new(&arguments[4]));
    let (agents, http): (SocketAddr, SocketAddr) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();

    let store = Store::open(&dir.join("images")).unwrap();
    let mut options =
        AddOptions::new(["/bin/busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/www"].map(Into::into).to_vec());
    options.health = HealthCheck::Http { path: "/".into(), port: 80.try_into().unwrap() };
    let image = store.add(&"hello".parse().unwrap(), squashfs, options).unwrap();

    let identity = Arc::new(Identity::open(dir).unwrap());
    let ca = identity.ca_digest();
    let module = bind(&[agents], &[arguments[3].parse().unwrap()], identity, Timing::default()).unwrap();
    let mutations = [power::mutations::mutations(), boot::mutations::mutations(), sync::mutations::mutations()];
    let graph = Graph::build(mutations.concat(), &bootes::model::Schema::default()).unwrap();
    let mut engine = Engine::replay(Journal::open(dir).unwrap(), graph, Policy::default()).unwrap();
    let (facts, received) = fact_channel();
    let (actions, to_do) = mpsc::channel(64);
    engine.add_module(&module.name(), actions);
    let state = StateReader(engine.snapshots());
    let mut feed = engine.feed().subscribe();
    let shutdown = CancellationToken::new();
    let settings = BootSettings {
        files: None,
        templates: None,
        http,
        agents: vec![agents],
        ca,
        console: None,
        extra_arguments: vec![],
        kernel: squashfs.to_owned(),
        initramfs: squashfs.to_owned(),
        loaders: dir.to_owned(),
    };
    let served = bind_http(HttpOptions::new(http, Arc::new(settings))).unwrap();

    let context =
        ModuleContext { facts: facts.clone(), state: state.clone(), actions: to_do, shutdown: shutdown.clone() };
    let mut tasks = JoinSet::new();
    Box::new(module).start(context, &mut tasks);
    tasks.spawn(engine.run(received, shutdown.clone()));
    tasks.spawn(served.run(HttpContext { facts: facts.clone(), state, images: Arc::new(Images(store)) }, shutdown));
    tasks.spawn(async move {
        while let Ok(stamped) = feed.recv().await {
            say(&format!("{} {}", stamped.at, stamped.fact.sentence()));
        }
    });
    if let Some(token) = arguments.get(5) {
        describe(&facts, image, token).await;
    }
    say(&format!("node={} ca={}", node(), ca.hex()));
    let (typed, mut lines) = mpsc::channel(8);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = typed.blocking_send(line);
        }
    });
    while let Some(line) = lines.recv().await {
        if let ["set", path, value] = line.split(' ').collect::<Vec<_>>().as_slice() {
            let value = (*value != "-").then(|| Value::symbol(value));
            ask(&facts, OperatorEvent::GoalSet { node: node(), path: path.parse().unwrap(), value }).await;
        }
    }
    std::future::pending::<()>().await;
}
