//! The cluster as a test sees it: the commands of `vbox/`, their output, and waiting for something to become true.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The cluster's name: not the user's.
const NAME: &str = "test";
/// How long anything may take. Emulated machines on a busy computer are slow; this is a bound, not an expectation.
pub const PATIENCE: Duration = Duration::from_secs(420);

/// The cluster; one test at a time.
pub struct Cluster {
    _turn: MutexGuard<'static, ()>,
}

fn vbox(command: &str) -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut process = Command::new(root.join("vbox").join(command));
    process.env("BOOTES_VBOX_NAME", NAME).stdin(Stdio::null());
    process
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Takes the cluster down when the test process ends, however it ends.
extern "C" fn take_down() {
    if std::env::var_os("BOOTES_TEST_KEEP").is_none() {
        let _ = vbox("down").status();
    }
}

/// Brings the cluster up once, and hands it to one test at a time.
pub fn cluster() -> Cluster {
    static TURN: Mutex<()> = Mutex::new(());
    static UP: OnceLock<bool> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let up = UP.get_or_init(|| {
        // SAFETY: the function takes no arguments, does not unwind, and is safe to call once at exit.
        unsafe { libc::atexit(take_down) };
        if std::env::var_os("BOOTES_TEST_KEEP").is_none() {
            assert!(vbox("down").status().unwrap().success());
        }
        vbox("up").args(["--nodes", "3", "--firmware", "mixed"]).status().unwrap().success()
    });
    assert!(*up, "./vbox/up did not bring the cluster up: its messages are above");
    let cluster = Cluster { _turn: turn };
    cluster.all_running();
    cluster
}

impl Cluster {
    /// Runs `bootes ARGS…` against the cluster's appliance: exit code, standard output, standard error.
    pub fn bootes(&self, args: &[&str]) -> (i32, String, String) {
        let output = vbox("bootes").args(args).output().unwrap();
        let code = output.status.code().unwrap_or(-1);
        let utf8 = |bytes| String::from_utf8(bytes).unwrap();
        (code, utf8(output.stdout), utf8(output.stderr))
    }

    /// The same, of which success is expected.
    pub fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.bootes(args);
        assert_eq!(code, 0, "bootes {}: {out}{err}", args.join(" "));
        out
    }

    /// The items of a list that `bootes ARGS… -o json` prints.
    pub fn items(&self, args: &[&str]) -> Vec<Value> {
        let json = self.ok(&[args, &["-o", "json"]].concat());
        let value: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
        value["items"].as_array().unwrap_or_else(|| panic!("no items: {json}")).clone()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Value {
        self.items(&["get", "nodes", name]).remove(0)
    }

    /// The newest events of a node, oldest first, as sentences.
    pub fn events(&self, name: &str, after: u64) -> Vec<String> {
        let events = self.items(&["events", name, "--limit", "5000"]);
        let new = events.iter().filter(|event| event["seq"].as_u64().unwrap() > after);
        new.map(|event| event["what"].as_str().unwrap().to_owned()).collect()
    }

    /// The journal's last sequence number.
    pub fn last_seq(&self) -> u64 {
        self.items(&["events", "--limit", "1"]).last().map_or(0, |event| event["seq"].as_u64().unwrap())
    }

    /// A command inside the cluster's network.
    pub fn shell(&self, script: &str) -> String {
        let output = vbox("shell").args(["--", "sh", "-c", script]).output().unwrap();
        text(&output)
    }

    /// `./vbox/appliance VERB`.
    pub fn appliance(&self, verb: &str) -> String {
        let output = vbox("appliance").arg(verb).output().unwrap();
        assert!(output.status.success(), "appliance {verb}: {}", text(&output));
        text(&output)
    }

    /// A file of the cluster's run time.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/run/bootes-vbox/{NAME}")).join(path)
    }

    /// The process of a machine, as it was recorded when it was started.
    pub fn machine_process(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(&format!("node/{name}/qemu.pid"))).unwrap_or_default().trim().to_owned()
    }

    /// Starts a machine again from the network, as a hand at its power button and boot menu would.
    pub fn boot_from_network(&self, name: &str) {
        std::fs::write(self.file(&format!("node/{name}/boot-device")), "pxe\n").unwrap();
        for verb in ["machine_stop", "machine_start"] {
            let output = vbox("backend/qemu").args([verb, name]).output().unwrap();
            assert!(output.status.success(), "{verb} {name}: {}", text(&output));
        }
    }

    /// Kills a machine's process, as a power cut would.
    pub fn kill_machine(&self, name: &str) {
        let record = self.machine_process(name);
        let pid = record.split_whitespace().next().unwrap().to_owned();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }

    /// Waits until `true_now` is, and says what was waited for when it does not become so.
    pub fn until(&self, what: &str, mut true_now: impl FnMut() -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !true_now() {
            if Instant::now() >= give_up {
                let (_, nodes, _) = self.bootes(&["get", "nodes"]);
                let (_, why, _) = self.bootes(&["why", "n[1-3]"]);
                panic!("waited in vain: {what}\n{nodes}\n{why}");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits until every node is at its goal.
    pub fn all_running(&self) {
        self.until("every node at its goal", || {
            let nodes = self.items(&["get", "nodes"]);
            nodes.len() == 3 && nodes.iter().all(|node| node["goal_reached"] == true)
        });
    }
}
