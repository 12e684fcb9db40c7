//! The command line against the real API, engine and journal: what one end writes, the other reads.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bootes::api::{Context, Options, bind, certificate};
use bootes::engine::Engine;
use bootes::journal::Journal;
use bootes::port::{FactFeed, StateReader, fact_channel};
use bootes::power::PowerModule;
use bootes::power::vault::Vault;
use bootes::sync::identity::Identity;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{graph, policy};

pub struct Appliance {
    pub address: SocketAddr,
    shutdown: CancellationToken,
    pub dir: tempfile::TempDir,
    tasks: Vec<JoinHandle<()>>,
    runtime: Runtime,
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Appliance {
    pub fn start() -> Appliance {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = crate::cli::folder();
        let (address, shutdown, tasks) = Appliance::run_in(&runtime, &dir);
        Appliance { address, shutdown, dir, tasks, runtime }
    }

    /// Ends it at once, as a crash does, and starts it again.
    pub fn crash_and_start(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // That it was aborted is what was asked for.
            let _ = self.runtime.block_on(task);
        }
        (self.address, self.shutdown, self.tasks) = Appliance::run_in(&self.runtime, &self.dir);
    }

    fn run_in(runtime: &Runtime, dir: &tempfile::TempDir) -> (SocketAddr, CancellationToken, Vec<JoinHandle<()>>) {
        let journal = Journal::open(dir.path()).unwrap();
        let engine = Engine::replay(journal, graph(), policy()).unwrap();
        let (facts, receiver) = fact_channel();
        let shutdown = CancellationToken::new();
        let vault = Arc::new(Vault::open(dir.path()).unwrap());
        let (_module, power) = PowerModule::new(vault.clone(), Duration::from_secs(60));
        let context = Context {
            facts,
            state: StateReader(engine.snapshots()),
            feed: FactFeed(engine.feed()),
            power,
            vault,
            graph: graph(),
            policy: policy(),
            roster: Default::default(),
            boot: Default::default(),
            image_store: dir.path().join("images"),
            state_dir: dir.path().to_owned(),
            journal_health: engine.journal_health(),
        };
        let identity = Arc::new(Identity::open(dir.path()).unwrap());
        let certificate = certificate::Source { state_dir: dir.path().to_owned(), own: None, names: vec![] };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = Options { listen, socket: dir.path().join("api.sock"), certificate };
        let bound = runtime.block_on(bind(options, identity)).unwrap();
        let address = bound.local_addr();
        let tasks = vec![
            runtime.spawn(bound.run(context, shutdown.clone())),
            runtime.spawn(engine.run(receiver, shutdown.clone())),
        ];
        (address, shutdown, tasks)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = crate::cli::bootes(&format!("unix:{}/api.sock", self.dir.path().display()), self.dir.path());
        command.args(shell_words::split(line).unwrap());
        command
    }

    /// Runs a command that must end with this code, and gives what it printed.
    pub fn run(&self, line: &str, code: i32) -> String {
        let output = self.command(line).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(code), "bootes {line}: {out}{err}");
        // That there is a secret is told; which one is not.
        let told = (out.clone() + &err).replace("(secret)", "");
        assert!(!told.contains("secret") && !told.contains("sealed:"), "bootes {line}: {told}");
        out + &err
    }

    pub fn items(&self, line: &str) -> Vec<Value> {
        let document: Value = serde_json::from_str(&self.run(&format!("{line} -o json"), 0)).unwrap();
        document["items"].as_array().unwrap().clone()
    }
}

#[test]
fn every_question_and_order_is_understood_by_the_real_api() {
    let appliance = Appliance::start();
    let refused = appliance.run("apply -f cluster.toml", 1);
    assert!(refused.contains("there is no image 'hello'"), "{refused}");
    appliance.run("image add --store images --name hello --squashfs hello.squashfs --exec /bin/x", 0);
    appliance.run("plan -f cluster.toml", 2);
    appliance.run("apply -f cluster.toml --dry-run", 0);
    assert!(appliance.items("get nodes").is_empty());
    let applied = appliance.run("apply -f cluster.toml", 0);
    assert!(applied.contains("10 changes made"), "{applied}");
    appliance.run("plan -f cluster.toml", 0);
    assert_eq!(appliance.items("get nodes").len(), 6);
    assert_eq!(appliance.items("get nodes n[1-2]").len(), 2);
    let unknown = appliance.run("get nodes n[1,8-9]", 1);
    assert!(unknown.contains("n[8-9]"), "{unknown}");
    assert!(appliance.run("describe node n7", 0).contains("52:54:00:b0:07:07"));
    appliance.run("set n[1-2] power=off", 0);
    assert_eq!(appliance.items("get nodes n1")[0]["desired"]["power"], "off");
    appliance.run("set n[1-2] power=-", 0);
    assert_eq!(appliance.items("get nodes n1")[0]["desired"]["power"], "on");
    appliance.run("power off n3", 0);
    appliance.run("power cycle n4", 0);
    appliance.run("release n5", 0);
    assert!(appliance.run("why n[1-7]", 1).contains("no node n6"));
    assert!(appliance.run("why n7", 0).contains("it has no BMC"));
    assert_eq!(appliance.items("why n[1-5]").len(), 5);
    assert_eq!(appliance.items("timeline n[1-5]").len(), 5);
    assert!(appliance.items("get machines --unknown").is_empty());
    assert_eq!(appliance.items("events --kind operator --limit 3").len(), 3);
    assert!(!appliance.items("events n1 --since 10m").is_empty());
    assert_eq!(appliance.items("events --since seq:2 --until seq:4").len(), 3);
    assert!(appliance.items("get nodes --at seq:1").is_empty());
    assert_eq!(appliance.items("get nodes n[1-2] --at now").len(), 2);
    assert!(appliance.run("get nodes --at seq:99999", 1).contains("there is no fact 99999 yet"));
    assert!(appliance.run("diff --from seq:1 n7", 0).contains("created"));
    assert!(appliance.items("diff --from seq:5 --to seq:5").is_empty());
    assert!(appliance.run("version", 0).contains("appliance  0.1.0"));
}

#[test]
fn what_happens_is_followed_as_it_happens() {
    let appliance = Appliance::start();
    appliance.run("image add --store images --name hello --squashfs hello.squashfs --exec /bin/x", 0);
    appliance.run("apply -f cluster.toml", 0);
    let mut follower = appliance
        .command("events n7 --kind operator --follow")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    let past = lines.next().unwrap();
    assert!(past.contains("n7") && past.contains("described"), "{past}");
    appliance.run("set n7 run=init", 0);
    let new = lines.next().unwrap();
    assert!(new.contains("asked for run=init"), "{new}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn a_follower_goes_on_after_a_crash_of_the_appliance_without_a_gap_and_without_a_fact_twice() {
    let mut appliance = Appliance::start();
    appliance.run("image add --store images --name hello --squashfs hello.squashfs --exec /bin/x", 0);
    appliance.run("apply -f cluster.toml", 0);
    let mut follower = appliance
        .command("events --follow --limit 1 -o json")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut followed = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let mut seqs: Vec<u64> = vec![followed.next().unwrap()["seq"].as_u64().unwrap()];
    for goal in ["run=init", "run=sync", "run=-"] {
        appliance.run(&format!("set n7 {goal}"), 0);
        appliance.crash_and_start();
        // Nobody follows yet: this is told when somebody does again.
        appliance.run(&format!("set n1 {goal}"), 0);
    }
    let end = appliance.items("events --limit 1")[0]["seq"].as_u64().unwrap();
    while *seqs.last().unwrap() < end {
        seqs.push(followed.next().unwrap()["seq"].as_u64().unwrap());
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    let expected: Vec<u64> = (seqs[0]..=*seqs.last().unwrap()).collect();
    assert_eq!(seqs, expected);
}
