//! A server as processes: started, looked at while it works, and ended.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Kernel ticks of processor time in a second (`getconf CLK_TCK`).
const TICKS_A_SECOND: f64 = 100.0;

pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    most_bytes: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
    looker: Option<JoinHandle<()>>,
    cpu_before_s: f64,
}

/// What a server took.
pub struct Spent {
    pub cpu_s: f64,
    pub memory_bytes: u64,
}

impl Server {
    fn start(name: &'static str, address: SocketAddr, mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (most_bytes, ending) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let looker = thread::spawn({
            let (most_bytes, ending, root) = (Arc::clone(&most_bytes), Arc::clone(&ending), child.id());
            move || {
                while !ending.load(Ordering::Relaxed) {
                    most_bytes.fetch_max(memory_of(root), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(100));
                }
            }
        });
        Server { name, address, child, most_bytes, ending, looker: Some(looker), cpu_before_s: 0.0 }
    }

    /// Waits until it answers; what it took so far is not counted.
    fn ready(mut self, answers: impl Fn(SocketAddr) -> bool) -> Self {
        let began = Instant::now();
        while !answers(self.address) {
            assert!(began.elapsed() < Duration::from_secs(30), "{} does not answer", self.name);
            thread::sleep(Duration::from_millis(50));
        }
        self.cpu_before_s = cpu_of(self.child.id());
        self
    }

    pub fn end(mut self) -> Spent {
        let cpu_s = cpu_of(self.child.id()) - self.cpu_before_s;
        self.ending.store(true, Ordering::Relaxed);
        self.looker.take().unwrap().join().unwrap();
        Spent { cpu_s, memory_bytes: self.most_bytes.load(Ordering::Relaxed) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for pid in family(self.child.id()).into_iter().rev() {
            let pid = nix::unistd::Pid::from_raw(pid as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// A process and all below it.
fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![root];
    let mut at = 0;
    while at < family.len() {
        family.extend(children.remove(&family[at]).unwrap_or_default());
        at += 1;
    }
    family
}

/// The fields of `/proc/PID/stat` behind the command's name: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Processor seconds of a process, all below it, and all that it has waited for.
fn cpu_of(root: u32) -> f64 {
    let ticks = family(root).into_iter().filter_map(stat).map(|fields| {
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        field(11) + field(12) + field(13) + field(14)
    });
    ticks.sum::<f64>() / TICKS_A_SECOND
}

/// What all processes of a family hold that is theirs: pages that several share count in parts (proc(5), Pss).
fn memory_of(root: u32) -> u64 {
    let held = family(root).into_iter().filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    held.sum::<u64>() * 1024
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn free_udp_port() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A program of the system's, or of `benches/files/peers`.
fn program(name: &str) -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/usr/sbin");
    let found = ["/usr/sbin".into(), "/usr/bin".into(), unpacked].map(|folder: PathBuf| folder.join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("{name} is not there; benches/files/peers says how it gets there");
    }
    found
}

fn answers_tftp(address: SocketAddr) -> bool {
    super::tftp::once(address, "small")
}

fn answers_http(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn own(what: &str, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["serve", what]).arg(folder).arg(address.to_string());
    command
}

pub fn own_tftp(folder: &Path) -> Option<Server> {
    let address = free_udp_port();
    Some(Server::start("bootes", address, own("tftp", folder, address)).ready(answers_tftp))
}

pub fn own_http(folder: &Path) -> Option<Server> {
    let address = free_port();
    Some(Server::start("bootes", address, own("http", folder, address)).ready(answers_http))
}

pub fn tftpd_hpa(folder: &Path) -> Option<Server> {
    let address = free_udp_port();
    let mut command = Command::new(program("in.tftpd")?);
    command.args(["--foreground", "--user", "nobody", "--secure", "--address", &address.to_string()]).arg(folder);
    Some(Server::start("tftpd-hpa", address, command).ready(answers_tftp))
}

pub fn atftpd(folder: &Path) -> Option<Server> {
    let address = free_udp_port();
    let mut command = Command::new(program("atftpd")?);
    let port = address.port().to_string();
    command.args(["--daemon", "--no-fork", "--user", "nobody", "--maxthread", "200", "--bind-address", "127.0.0.1"]);
    command.args(["--port", &port, "--logfile", "/dev/null", "--verbose=0"]).arg(folder);
    Some(Server::start("atftpd", address, command).ready(answers_tftp))
}

pub fn nginx(folder: &Path) -> Option<Server> {
    let (address, configuration) = (free_port(), folder.join("nginx.conf"));
    let text = format!(
        "daemon off;\nworker_processes auto;\npid {folder}/nginx.pid;\nerror_log /dev/null;\nuser root;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=100;\n\
         server {{ listen {address} backlog=4096; root {folder}; }} }}\n",
        folder = folder.display()
    );
    fs::write(&configuration, text).unwrap();
    let mut command = Command::new(program("nginx")?);
    command.args(["-p"]).arg(folder).arg("-c").arg(&configuration);
    Some(Server::start("nginx", address, command).ready(answers_http))
}
