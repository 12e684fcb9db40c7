//! What a real LLDP daemon announces is heard and understood: Debian's lldpd at the other end of a pair of interfaces, in a
//! network namespace that the test makes for its own thread. Needs root, and the package lldpd.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bootes::agent::lldp;
use bootes::model::{Neighbour, SwitchPort};
use nix::sched::{CloneFlags, unshare};

/// How long a test waits for what must come. It ends a broken run; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {}: {said}", words.join(" "));
}

fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

/// A switch: lldpd on one interface.
struct Switch {
    process: Child,
    socket: String,
}

impl Switch {
    fn start(folder: &Path, interface: &str) -> Self {
        let socket = folder.join("lldpd.sock").to_str().unwrap().to_owned();
        let mut command = Command::new("lldpd");
        command.args(["-d", "-I", interface, "-u", &socket]).stdout(Stdio::null()).stderr(Stdio::null());
        let switch = Switch { process: command.spawn().unwrap(), socket };
        let gives_up = std::time::Instant::now() + PATIENCE;
        while !Path::new(&switch.socket).exists() {
            assert!(std::time::Instant::now() < gives_up, "lldpd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        switch
    }

    fn configure(&self, words: &str) {
        let quoted = shell_words::split(words).unwrap();
        let words: Vec<&str> = quoted.iter().map(String::as_str).collect();
        run("lldpcli", &[&["-u", &self.socket], words.as_slice()].concat());
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_switchs_words_are_heard_by_interface_and_end_with_it() {
    let test = async || {
        ip("link add lan0 type veth peer name sw0");
        ip("link add other type veth peer name far");
        for interface in ["lan0", "sw0", "other", "far"] {
            ip(&format!("link set {interface} up"));
        }
        let mut heard = lldp::start("lan0".to_owned());
        assert_eq!(*heard.borrow(), None, "it is too early to say");
        let folder = tempfile::tempdir().unwrap();
        let switch = Switch::start(folder.path(), "sw0");
        switch.configure("configure lldp tx-interval 1");
        switch.configure("configure system hostname sw1.example");
        switch.configure("configure ports sw0 lldp portidsubtype local Ethernet7 description 'rack 1, port 7'");
        let wanted = |neighbours: &[Neighbour]| {
            let [neighbour] = neighbours else { return false };
            neighbour.interface == "lan0"
                && SwitchPort::from(neighbour).to_string() == "sw1.example Ethernet7"
                && neighbour.port_description.as_deref() == Some("rack 1, port 7")
                && neighbour.chassis.split(':').count() == 6
        };
        let told = heard.wait_for(|heard| heard.as_ref().is_some_and(|neighbours| wanted(neighbours)));
        let told = tokio::time::timeout(PATIENCE, told).await.map(|told| told.unwrap().clone());
        assert!(told.is_ok(), "heard instead: {:?}", *heard.borrow());
        // It says that it goes, and that is heard as well.
        run("lldpcli", &["-u", &switch.socket, "configure", "ports", "sw0", "lldp", "status", "disabled"]);
        drop(switch);
        let gone = heard.wait_for(|heard| heard.as_ref().is_some_and(Vec::is_empty));
        let gone = tokio::time::timeout(PATIENCE, gone).await.map(drop);
        assert!(gone.is_ok(), "still heard: {:?}", *heard.borrow());
    };
    let alone = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    if let Err(panic) = alone.join() {
        std::panic::resume_unwind(panic);
    }
}
