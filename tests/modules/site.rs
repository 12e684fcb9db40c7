//! An appliance as far as modules see it: a real journal and a real engine, one node, and one module.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootes::engine::Engine;
use bootes::fact::{
    AgentEvent, AgentFact, Fact, ModuleEvent, OperatorEvent, OperatorFact, PowerEvent, PowerFact, PowerState, Reported,
    Scope, Stamped,
};
use bootes::journal::{Filter, Journal, JournalReader, Keep};
use bootes::model::limits::ACTIONS_PER_MODULE_MAX;
use bootes::model::{BmcDriver, BmcSpec, Digest, Mac, Name, NetworkSpec, NodeId, NodeSpec, Revision, Value, VarPath};
use bootes::module::card::{BmcAccess, Keyholder};
use bootes::module::status::Roster;
use bootes::module::{ExternalModule, Program, StartWhen};
use bootes::port::{FactSender, Module, ModuleContext, StateReader, fact_channel};
use bootes::power::vault::Vault;
use bootes::state::{Node, State};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::check::built_in;
use crate::run::command;

/// A bound for what has to become true; a broken build takes so long, a working one does not.
const PATIENCE: Duration = Duration::from_secs(30);
pub const PASSWORD: &str = "sixteen-byte-pw!";

pub fn node() -> NodeId {
    NodeId(uuid::Uuid::from_u128(7))
}

pub fn light() -> VarPath {
    "lamp.light".parse().unwrap()
}

pub struct Site {
    pub dir: tempfile::TempDir,
    pub state: StateReader,
    pub facts: FactSender,
    pub roster: Roster,
    shutdown: CancellationToken,
    engine_shutdown: CancellationToken,
    tasks: Option<JoinSet<()>>,
    engine: Option<std::thread::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

struct Keys(Arc<Vault>);

impl Keyholder for Keys {
    fn password(&self, bmc: &BmcSpec) -> Result<Zeroizing<String>, String> {
        Ok(self.0.open_sealed(&bmc.password).unwrap().reveal().unwrap())
    }
}

/// What a site's module is.
pub struct Given {
    pub name: &'static str,
    pub words: Vec<String>,
    pub config: serde_json::Value,
    pub bmc: SocketAddr,
    pub start: StartWhen,
}

impl Site {
    /// A site with the program `lamp.py`, which behaves as `how` says.
    pub fn lamp(how: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        Site::lamp_in(dir, how)
    }

    pub fn lamp_in(dir: tempfile::TempDir, how: &str) -> Site {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules/programs/lamp.py");
        let folder = dir.path().to_str().unwrap().to_owned();
        let words = ["python3", program.to_str().unwrap(), how, &folder].map(str::to_owned).to_vec();
        let bmc = SocketAddr::from(([127, 0, 0, 1], 9));
        let start = if how == "idle" { StartWhen::Demand } else { StartWhen::Always };
        Site::start(dir, Given { name: "lamp", words, config: serde_json::json!({}), bmc, start })
    }

    pub fn start(dir: tempfile::TempDir, given: Given) -> Site {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let vault = Arc::new(Vault::open(dir.path()).unwrap());
        let journal = Journal::open(dir.path()).unwrap();
        let graph = built_in();
        let mut engine = Engine::replay(journal, graph.clone(), Default::default()).unwrap();
        let (facts, receiver) = fact_channel();
        let state = StateReader(engine.snapshots());
        let (shutdown, engine_shutdown) = (CancellationToken::new(), CancellationToken::new());
        let roster = Roster::default();
        let mut tasks = JoinSet::new();
        let words: Vec<&str> = given.words.iter().map(String::as_str).collect();
        let program = Program {
            name: given.name.parse().unwrap(),
            command: command(&words, dir.path()),
            config: given.config.as_object().unwrap().clone(),
            bmc: BmcAccess::Given(Arc::new(Keys(vault.clone()))),
            start: given.start,
        };
        let module: Box<dyn Module> = Box::new(ExternalModule::new(program, graph, roster.clone()));
        let (actions_in, actions) = mpsc::channel(ACTIONS_PER_MODULE_MAX);
        engine.add_module(&module.name(), actions_in);
        let context = ModuleContext { facts: facts.clone(), state: state.clone(), actions, shutdown: shutdown.clone() };
        module.start(context, &mut tasks);
        drop(entered);
        let stop = engine_shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(engine.run(receiver, stop));
        });
        let site = Site {
            dir,
            state,
            facts,
            roster,
            shutdown,
            engine_shutdown,
            tasks: Some(tasks),
            engine: Some(thread),
            runtime,
        };
        site.describe(given.bmc, &vault);
        site
    }

    /// One node that runs and is to do no more than that: nothing is left for the built-in modules to do.
    fn describe(&self, bmc: SocketAddr, vault: &Vault) {
        let asked = |event| Fact::Operator(OperatorFact::from(event));
        let network =
            NetworkSpec { lease_s: 3600, ..NetworkSpec::new("boot".parse().unwrap(), "10.0.0.0/24".parse().unwrap()) };
        let password = vault.seal(PASSWORD).unwrap();
        let spec = NodeSpec {
            name: "n7".parse().unwrap(),
            network: "boot".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, 7]),
            ip: Ipv4Addr::new(10, 0, 0, 7),
            matching: Default::default(),
            cake: None,
            bmc: Some(BmcSpec { driver: BmcDriver::Ipmi, address: bmc, user: "admin".into(), password }),
            labels: Default::default(),
            pool: None,
            arch: None,
            platform: None,
            parents: Vec::new(),
            variables: Default::default(),
            own: Default::default(),
            ipv6: Default::default(),
        };
        let agent = |event| Fact::Agent(AgentFact { node: Some(node()), peer: ([10, 0, 0, 7], 1).into(), event });
        let init = Some(Value::symbol("init"));
        let variables = vec![Reported { path: VarPath::run(), value: init.clone() }];
        self.submit(vec![
            asked(OperatorEvent::NetworkDescribed { spec: network }),
            asked(OperatorEvent::NodeDescribed { node: node(), spec: Box::new(spec) }),
            asked(OperatorEvent::GoalSet { node: node(), path: VarPath::run(), value: init }),
            Fact::Power(PowerFact { node: node(), event: PowerEvent::Status { power: PowerState::On } }),
            agent(AgentEvent::Joined { certificate: Digest::of(b"certificate") }),
            agent(AgentEvent::Connected { session: 1 }),
            agent(AgentEvent::Observed { revision: Revision(1), scope: Scope::Full, variables }),
        ]);
    }

    pub fn submit(&self, facts: Vec<Fact>) {
        self.runtime.block_on(self.facts.submit(facts)).unwrap();
    }

    pub fn want(&self, path: &VarPath, value: &str) {
        let (node, value) = (node(), Some(Value::symbol(value)));
        self.submit(vec![Fact::Operator(OperatorEvent::GoalSet { node, path: path.clone(), value }.into())]);
    }

    /// Waits until something is true of the state.
    pub fn until(&self, what: &str, is_so: impl Fn(&State, &Node) -> bool) {
        self.wait(what, || {
            let state = self.state.now();
            let node = state.node(node()).unwrap().clone();
            is_so(&state, &node)
        });
    }

    /// Waits until something is true.
    pub fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            let told: Vec<String> = self.journal().iter().map(|stamped| stamped.fact.sentence()).collect();
            let all = self.roster.all();
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}; {all:#?}; the journal: {told:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn forget_others(&self, configured: Vec<Name>) {
        let forget = bootes::module::forget_others(configured, self.facts.clone(), self.state.clone());
        self.runtime.block_on(forget);
    }

    pub fn until_light(&self, value: &str) {
        self.until(&format!("the light is {value}"), |_, node| node.see_symbol(&light()) == Some(value));
    }

    /// Everything that was journaled.
    pub fn journal(&self) -> Vec<Stamped<Fact>> {
        let all = Filter { limit: 1_000_000, keep: Keep::Oldest, ..Filter::default() };
        JournalReader::open(self.dir.path()).unwrap().read(&all).unwrap()
    }

    pub fn events(&self) -> Vec<ModuleEvent> {
        let event = |stamped: Stamped<Fact>| match stamped.fact {
            Fact::Module(module) => Some(module.event),
            _ => None,
        };
        self.journal().into_iter().filter_map(event).collect()
    }

    /// Why steps failed, in words, oldest first.
    pub fn failures(&self) -> Vec<String> {
        let outcome = |stamped: Stamped<Fact>| match stamped.fact {
            Fact::Outcome(outcome) => Some(outcome.reason.to_string()),
            _ => None,
        };
        self.journal().into_iter().filter_map(outcome).collect()
    }

    /// The process ids of the program's runs, oldest first.
    pub fn starts(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.dir.path().join("starts")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Stops as an appliance does, and gives the folder, with its journal, to the next one.
    pub fn stop(mut self) -> tempfile::TempDir {
        self.end();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    fn end(&mut self) {
        self.shutdown.cancel();
        if let Some(mut tasks) = self.tasks.take() {
            self.runtime.block_on(async { while tasks.join_next().await.is_some() {} });
        }
        self.engine_shutdown.cancel();
        if let Some(engine) = self.engine.take() {
            engine.join().unwrap();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether a process with this id is there and not only waits for being reaped.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
