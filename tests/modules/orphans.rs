//! Nothing of a module outlives the appliance, however the appliance ends. Kraken's fault: helpers were orphaned when the
//! daemon died.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::site::is_alive;

/// A bound for what takes no time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that ignores what it can, does not read its standard input, and has descendants everywhere: in its own process
/// group, in a session of its own, and one whose parent has ended. Each writes down its process id.
const STUBBORN: &str = r#"
import os, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
pids = [os.getpid()]
pids.append(subprocess.Popen(["sleep", "1000"]).pid)
pids.append(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode())
        time.sleep(1000)
    os._exit(0)
os.wait()
pids.append(int(os.read(reading, 20)))
with open(sys.argv[1] + ".new", "w") as file:
    file.write("\n".join(map(str, pids)))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(1000)
"#;

pub fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process ids that the program has written down.
fn pids(file: &Path) -> Vec<i32> {
    wait("the program runs", || file.exists());
    fs::read_to_string(file).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

fn kill(child: &mut Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
    child.wait().unwrap();
}

fn all_end(pids: &[i32]) {
    assert_eq!(pids.len(), 4);
    wait("all have ended", || !pids.iter().any(|pid| is_alive(*pid)));
}

/// The real appliance with the stubborn program as its module.
fn appliance(dir: &Path) -> Child {
    fs::write(dir.join("stubborn.py"), STUBBORN).unwrap();
    appliance_with(dir, "name = \"stubborn\"\ncommand = [\"python3\", \"stubborn.py\", \"pids\"]")
}

/// The real appliance, in a network of its own, with this module.
pub fn appliance_with(dir: &Path, module: &str) -> Child {
    let config = format!(
        r#"
state_dir = "state"
dhcp.interfaces = ["lo"]
dhcp.router_advertisements = "off"
tftp.listen = "127.0.0.1:69"
http.listen = "127.0.0.1:8080"
agents.listen = "127.0.0.1:8443"
api.socket = "{}/api.sock"
boot = {{ layer0 = ".", loaders = "." }}
[[module]]
{module}
"#,
        dir.display()
    );
    fs::write(dir.join("appliance.toml"), config).unwrap();
    for file in ["vmlinuz", "initramfs"] {
        fs::write(dir.join(file), file).unwrap();
    }
    // Root needs no new user for a new network; anybody else does.
    let user = if nix::unistd::geteuid().is_root() { "" } else { "--map-root-user" };
    let script = format!(
        "exec unshare {user} --net sh -c 'ip link set lo up && exec {} serve --config appliance.toml'",
        env!("CARGO_BIN_EXE_bootes")
    );
    Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("log")).unwrap())
        .spawn()
        .unwrap()
}

/// Ends the appliance with the test, whatever the test comes to.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_helper_is_orphaned_when_the_appliance_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut appliance = Ended(appliance(dir.path()));
    let pids = pids(&dir.path().join("pids"));
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{}", fs::read_to_string(dir.path().join("log")).unwrap());
    kill(&mut appliance.0, nix::sys::signal::Signal::SIGKILL);
    all_end(&pids);
}

#[test]
fn no_helper_is_left_when_the_appliance_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut appliance = Ended(appliance(dir.path()));
    let pids = pids(&dir.path().join("pids"));
    kill(&mut appliance.0, nix::sys::signal::Signal::SIGTERM);
    all_end(&pids);
}

#[test]
fn the_program_itself_ends_when_its_guard_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut appliance = Ended(appliance(dir.path()));
    let pids = pids(&dir.path().join("pids"));
    let stat = fs::read_to_string(format!("/proc/{}/stat", pids[0])).unwrap();
    let guard: i32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(guard), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait("the program has ended", || !is_alive(pids[0]));
    // Its children have no guard any more; they are the test's to end.
    for pid in pids.iter().skip(1) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
    }
    kill(&mut appliance.0, nix::sys::signal::Signal::SIGTERM);
}
