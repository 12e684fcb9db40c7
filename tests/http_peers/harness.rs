//! An appliance with a journal, an engine and the HTTP server, and one node at the address that clients here have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bootes::boot::http::{Bound, HttpContext, HttpOptions, ImageFile, ImageFiles, bind};
use bootes::boot::script::BootSettings;
use bootes::engine::Engine;
use bootes::fact::{Fact, FileEvent, FileFact, OperatorEvent, OperatorFact};
use bootes::journal::Journal;
use bootes::model::{Digest, Mac, NetworkSpec, NodeId, NodeSpec};
use bootes::plan::{Graph, Policy};
use bootes::port::{FactSender, StateReader, fact_channel};
use bootes::state::State;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come. It ends a broken run; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The node's hardware address.
pub const MAC: Mac = Mac([0x52, 0x54, 0, 0xb0, 7, 1]);
/// The node's paths.
pub const BOOT: &str = "/boot/52-54-00-b0-07-01";

/// A store of images in a folder.
struct Images(PathBuf);

impl ImageFiles for Images {
    fn path(&self, file: ImageFile) -> Option<PathBuf> {
        let path = match file {
            ImageFile::Manifest(image) => self.0.join(format!("{}.json", image.hex())),
            ImageFile::Blob(image) => self.0.join(image.hex()),
        };
        path.exists().then_some(path)
    }
}

pub struct Appliance {
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    pub folder: tempfile::TempDir,
    pub facts: FactSender,
    pub state: StateReader,
    feed: broadcast::Receiver<Arc<bootes::fact::Stamped<Fact>>>,
    engine_stop: CancellationToken,
    server_stop: CancellationToken,
    engine: Option<JoinHandle<()>>,
    server: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl Appliance {
    /// With a node at `ip`.
    pub fn start(ip: Ipv4Addr) -> Self {
        Self::start_with(ip, |_, options| options)
    }

    /// The same, with the options changed after they and the files are there.
    pub fn start_with(ip: Ipv4Addr, change: impl FnOnce(&Path, HttpOptions) -> HttpOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for inner in ["loaders", "images", "journal"] {
            fs::create_dir(folder.path().join(inner)).unwrap();
        }
        put_old(&folder.path().join("kernel"), &content(3_000_000));
        put_old(&folder.path().join("initramfs"), &content(700_001));
        let settings = BootSettings {
            http: "10.0.2.2:80".parse().unwrap(),
            agents: vec!["10.0.2.2:7443".parse().unwrap()],
            ca: Digest::of(b"certificate"),
            console: Some("ttyS0".parse().unwrap()),
            extra_arguments: vec!["panic=-1".parse().unwrap()],
            kernel: folder.path().join("kernel"),
            initramfs: folder.path().join("initramfs"),
            files: None,
            templates: None,
            loaders: folder.path().join("loaders"),
        };
        let options = HttpOptions::new("127.0.0.1:0".parse().unwrap(), Arc::new(settings));
        let options = change(folder.path(), options);
        let runtime = Runtime::new().unwrap();
        let guard = runtime.enter();
        let bound: Bound = bind(options).unwrap_or_else(|error| panic!("{error}"));
        let addresses = bound.local_addrs();
        let address = addresses[0];

        let journal = Journal::open(&folder.path().join("journal")).unwrap();
        let declared = [
            bootes::boot::mutations::mutations(),
            bootes::power::mutations::mutations(),
            bootes::sync::mutations::mutations(),
        ];
        let graph = Graph::build(declared.concat(), &bootes::model::Schema::default()).unwrap();
        let engine = Engine::replay(journal, graph, Policy::default()).unwrap();
        let (facts, receiver) = fact_channel();
        let state = StateReader(engine.snapshots());
        let feed = engine.feed().subscribe();
        let (engine_stop, server_stop) = (CancellationToken::new(), CancellationToken::new());
        let engine = runtime.spawn(engine.run(receiver, engine_stop.clone()));
        runtime.block_on(facts.submit(description(ip))).unwrap();
        let images = Arc::new(Images(folder.path().join("images")));
        let context = HttpContext { facts: facts.clone(), state: state.clone(), images };
        let server = runtime.spawn(bound.run(context, server_stop.clone()));
        drop(guard);
        Appliance {
            address,
            addresses,
            folder,
            facts,
            state,
            feed,
            engine_stop,
            server_stop,
            engine: Some(engine),
            server: Some(server),
            runtime,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stores a blob as an image of a made-up digest.
    pub fn put_image(&self, blob: &[u8]) -> Digest {
        let image = Digest::of(b"manifest");
        fs::write(self.path("images").join(format!("{}.json", image.hex())), b"{}").unwrap();
        fs::write(self.path("images").join(image.hex()), blob).unwrap();
        image
    }

    pub fn now(&self) -> Arc<State> {
        self.state.now()
    }

    /// The next fact that is about a file or a malformed message.
    pub fn fact(&mut self) -> Fact {
        self.fact_where(|fact| matches!(fact, Fact::File(_) | Fact::Malformed(_)))
    }

    /// The next fact that is `wanted`.
    pub fn fact_where(&mut self, wanted: impl Fn(&Fact) -> bool) -> Fact {
        let feed = &mut self.feed;
        let next = async {
            loop {
                let stamped = feed.recv().await.expect("the engine runs");
                if wanted(&stamped.fact) {
                    return stamped.fact.clone();
                }
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, next).await }).expect("a fact in time")
    }

    pub fn file(&mut self) -> FileFact {
        match self.fact() {
            Fact::File(file) => file,
            other => panic!("no file: {other:?}"),
        }
    }

    pub fn sent_bytes(&mut self) -> u64 {
        match self.file() {
            FileFact { event: FileEvent::Sent { bytes, .. }, .. } => bytes,
            other => panic!("not sent: {other:?}"),
        }
    }

    /// Stops the engine alone: nothing can be journaled any more.
    pub fn stop_engine(&mut self) {
        self.engine_stop.cancel();
        self.runtime.block_on(self.engine.take().unwrap()).unwrap();
    }

    /// Stops the server, waits for it, and returns the facts that were left.
    pub fn stop_server(&mut self) -> Vec<Fact> {
        self.server_stop.cancel();
        self.runtime.block_on(self.server.take().unwrap()).unwrap();
        // What the server offered lies before this in the queue, so it is folded when this is.
        self.runtime.block_on(self.facts.submit(Vec::new())).unwrap();
        let mut facts = Vec::new();
        while let Ok(stamped) = self.feed.try_recv() {
            facts.push(stamped.fact.clone());
        }
        facts
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.server_stop.cancel();
        self.engine_stop.cancel();
    }
}

fn description(ip: Ipv4Addr) -> Vec<Fact> {
    let network = NetworkSpec {
        lease_s: 600,
        ..NetworkSpec::new(
            "boot".parse().unwrap(),
            format!("{}/24", Ipv4Addr::from(u32::from(ip) & 0xffff_ff00)).parse().unwrap(),
        )
    };
    let node = NodeSpec {
        name: "n1".parse().unwrap(),
        network: network.name.clone(),
        mac: MAC,
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
    let event = OperatorEvent::NodeDescribed { node: NodeId(uuid::Uuid::from_u128(1)), spec: Box::new(node) };
    [OperatorEvent::NetworkDescribed { spec: network }, event]
        .map(|event| Fact::Operator(OperatorFact::from(event)))
        .to_vec()
}

/// Writes a file that looks as if it had been there for an hour.
pub fn put_old(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
}

/// Bytes that repeat at no power of two.
pub fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 509) as u8).collect()
}

/// Runs curl, which must end well.
pub fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = curl_ending(arguments);
    assert!(output.status.success(), "curl {arguments:?}: {output:?}");
    output.stdout
}

/// Runs curl, however it ends.
pub fn curl_ending(arguments: &[&str]) -> Output {
    let output = Command::new("curl").args(["-sS", "--max-time", "50"]).args(arguments).output();
    output.unwrap_or_else(|error| panic!("curl does not run ({error}); install it"))
}

/// Waits until `done`.
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
