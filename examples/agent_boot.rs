//! Process 1 of a test machine: starts up as the agent does, then shows on the console that each part works. Used by
//! `tests/agent_boot.sh`; every line that the test looks for begins with `probe:`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use bootes::agent::console::uptime;
use bootes::agent::{modules, power, start};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(name) = modules::helper_request(&arguments) {
        return ExitCode::from(u8::try_from(modules::answer_helper_request(name)).unwrap_or(1));
    }
    if std::process::id() != 1 {
        return child(arguments.get(1).map_or("", String::as_str));
    }
    let root = start::enter().unwrap_or_else(|error| power::last_words(&error.to_string()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| power::last_words(&error.to_string()));
    runtime.block_on(probe(root))
}

/// What the probe's own children do: there is no shell in the machine.
fn child(what: &str) -> ExitCode {
    match what {
        "seven" => return ExitCode::from(7),
        "orphans" => {
            for _ in 0..5 {
                drop(Command::new("/init").arg("linger").spawn().unwrap());
            }
        }
        "linger" => std::thread::sleep(Duration::from_millis(300)),
        "pivot" => return pivot(),
        "end" => {
            let signal = nix::sys::signal::Signal::SIGTERM;
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), signal).unwrap();
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// What a container's start does, and what the initial root would refuse.
fn pivot() -> ExitCode {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    fs::create_dir_all("/run/new").unwrap();
    mount(Some("tmpfs"), "/run/new", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::create_dir("/run/new/old").unwrap();
    nix::unistd::pivot_root("/run/new", "/run/new/old").unwrap();
    nix::unistd::chdir("/").unwrap();
    umount2("/old", MntFlags::MNT_DETACH).unwrap();
    if Path::new("/init").exists() { ExitCode::FAILURE } else { ExitCode::from(42) }
}

async fn probe(root: bootes::agent::rootfs::Root) -> ! {
    let started = start::start(root).await;
    let mut started = started.unwrap_or_else(|error| power::last_words(&error.to_string()));
    assert_ne!(started.arguments.name, "panic", "this machine was asked to panic");
    println!("probe: uptime={}ms root={:?}", uptime().as_millis(), started.root);
    println!("probe: hardware={}", serde_json::to_string(&started.hardware).unwrap());
    println!("probe: interface={} {} {}", started.interface.name, started.interface.mac, started.interface.address);
    for file in
        ["/proc/net/fib_trie", "/proc/net/route", "/etc/resolv.conf", "/proc/sys/kernel/hostname", "/proc/mounts"]
    {
        for line in fs::read_to_string(file).unwrap().lines() {
            println!("probe: {file}: {line}");
        }
    }
    let modules = fs::read_to_string("/proc/modules").unwrap();
    println!(
        "probe: modules={}",
        modules.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
    );

    let mut endings = Vec::new();
    for _ in 0..20 {
        endings.push(started.reaper.spawn(Command::new("/init").arg("seven")).unwrap().ending);
    }
    for ending in &mut endings {
        assert_eq!(ending.wait().await.unwrap().to_string(), "exit code 7");
    }
    println!("probe: children=20 each with exit code 7");
    let mut parent = started.reaper.spawn(Command::new("/init").arg("orphans")).unwrap();
    println!("probe: orphans' parent: {}", parent.ending.wait().await.unwrap());
    while started.reaper.orphans() < 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let zombies = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let mut stat = String::new();
        let _ = fs::File::open(entry.path().join("stat")).and_then(|mut file| file.read_to_string(&mut stat));
        stat.contains(") Z ")
    });
    println!("probe: orphans={} zombies={}", started.reaper.orphans(), zombies.count());

    let mut pivot = started.reaper.spawn(Command::new("/init").arg("pivot").stderr(Stdio::inherit())).unwrap();
    println!("probe: pivot_root: {}", pivot.ending.wait().await.unwrap());

    let fat = || Path::new("/sys/module/vfat").exists();
    let before = fat();
    // The kernel asks its helper for the filesystem; the mount itself fails, for want of a disk.
    let _ = mount(Some("none"), "/tmp", Some("vfat"), MsFlags::empty(), None::<&str>);
    println!("probe: vfat before={before} after={}", fat());

    let dev = CString::new("/dev/console").unwrap();
    assert!(nix::unistd::access(dev.as_c_str(), nix::unistd::AccessFlags::W_OK).is_ok());
    let batch = started.console.heard().await;
    println!("probe: forwarded={} dropped={}", batch.lines.len(), batch.dropped);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for line in
        status.lines().filter(|line| line.starts_with("Vm") || line.starts_with("Rss") || line.starts_with("Threads"))
    {
        println!("probe: {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    println!("probe: ready");
    // Whoever tests plugs a device in here.
    for _ in 0..200 {
        if fs::read_to_string("/proc/modules").unwrap().contains("virtio_balloon ") {
            println!("probe: hotplugged");
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(started.reaper.spawn(Command::new("/init").arg("end")).unwrap());
    let request = started.requests.next().await;
    println!("probe: request={request:?}");
    let Err(error) = power::power_off();
    power::last_words(&error.to_string())
}
