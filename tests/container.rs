//! Layer 1 on this machine's kernel, as root: a busybox squashfs from the store, mounted, run, stopped. The first
//! process of each container is the true binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bootes::layer::container::spec::{ContainerSpec, SetupStep};
use bootes::layer::container::{Container, ContainerError, Exit};
use bootes::layer::health;
use bootes::layer::manifest::HealthCheck;
use bootes::layer::mount::{ImageMount, WritableSize, mountinfo};
use bootes::layer::store::{AddOptions, Store};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bootes");
const GRACE: Duration = Duration::from_secs(30);

/// An image in a store of its own, and a folder to mount it at.
struct Bench {
    home: tempfile::TempDir,
    name: String,
}

impl Bench {
    /// Names are unique in the machine, because control groups are.
    fn new(what: &str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), name: format!("{what}-{}", std::process::id()) }
    }

    fn mount_dir(&self) -> PathBuf {
        self.home.path().join("mount")
    }

    /// Adds an image whose entrypoint is `script`, mounts it and answers its specification.
    fn prepare(&self, script: &str) -> (ImageMount, ContainerSpec, PathBuf) {
        let tree = self.home.path().join("tree");
        for folder in ["bin", "www", "etc"] {
            fs::create_dir_all(tree.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for tool in ["sh", "sleep", "cat", "httpd", "hostname", "setsid", "touch", "echo", "ls", "grep", "kill", "tr"] {
            let _ = symlink("busybox", tree.join("bin").join(tool));
        }
        // A link as distributions have it: it must be replaced, not followed.
        let _ = symlink("../run/systemd/resolve/stub-resolv.conf", tree.join("etc/resolv.conf"));
        fs::write(tree.join("entry"), format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(tree.join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
        let file = self.home.path().join("image.squashfs");
        let _ = fs::remove_file(&file);
        let made = Command::new("mksquashfs").args([&tree, &file]).args(["-quiet", "-no-progress"]).output().unwrap();
        assert!(made.status.success(), "{made:?}");

        let store = Store::open(&self.home.path().join("store")).unwrap();
        let mut options = AddOptions::new(vec!["/entry".into()]);
        options.env.insert("COLOUR".into(), "blue".into());
        let image = store.add(&self.name.parse().unwrap(), &file, options).unwrap();
        let manifest = store.manifest(&image).unwrap();
        let blob = store.blob_path(&image);
        let mounted = ImageMount::mount(&blob, &self.mount_dir(), WritableSize::Bytes(8 << 20)).unwrap();
        let mut spec = ContainerSpec::new(image, &manifest, "n17", mounted.root());
        spec.resolv_conf = Some("nameserver 192.0.2.1\n".into());
        (mounted, spec, blob)
    }
}

impl Drop for Bench {
    /// A test that failed must not leave its container behind.
    fn drop(&mut self) {
        let group = bootes::layer::mount::cgroup2().unwrap().join("bootes").join(&self.name);
        if fs::write(group.join("cgroup.kill"), "1").is_ok() {
            let _ = fs::remove_dir(group);
        }
        let _ = bootes::layer::mount::unmount_below(&self.mount_dir());
    }
}

fn start(spec: &ContainerSpec) -> Container {
    Container::start(Path::new(PROGRAM), spec).unwrap()
}

/// What the agent's reaper does, for one container.
async fn reap(container: &Container) {
    let pid = Pid::from_raw(container.pid());
    let status = tokio::task::spawn_blocking(move || waitpid(pid, None).unwrap()).await.unwrap();
    container.exited(match status {
        WaitStatus::Exited(_, code) => Exit::Code(code),
        WaitStatus::Signaled(_, signal, _) => Exit::Signal(signal as i32),
        other => panic!("{other:?}"),
    });
}

async fn stop(container: &Container, grace: Duration) -> Exit {
    let (exit, ()) = tokio::join!(container.stop(grace), reap(container));
    exit.unwrap()
}

fn read_all(output: OwnedFd) -> String {
    let mut text = String::new();
    fs::File::from(output).read_to_string(&mut text).unwrap();
    text
}

/// Reads from the pipe until `word` has come.
fn read_until(output: &OwnedFd, word: &str) -> String {
    let mut file = fs::File::from(output.try_clone().unwrap());
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(word) {
        let count = file.read(&mut bytes).unwrap();
        assert!(count > 0, "the container ended after saying {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

fn processes_with(marker: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(marker)).count()
}

fn has_loop_device(blob: &Path) -> bool {
    let blocks = fs::read_dir("/sys/block").unwrap().flatten();
    let mut files = blocks.filter_map(|block| fs::read_to_string(block.path().join("loop/backing_file")).ok());
    files.any(|file| file.trim_end() == blob.to_str().unwrap())
}

fn assert_nothing_left(bench: &Bench, blob: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(mountinfo::at_and_below(&table, &bench.mount_dir()), Vec::<PathBuf>::new());
    // A container that starts at the same moment holds a copy of every mount until it has changed its root, so the loop
    // device may outlive the unmounting by that moment.
    while has_loop_device(blob) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let groups = bootes::layer::mount::cgroup2().unwrap().join("bootes").join(&bench.name);
    assert!(!groups.exists());
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_service_answers_from_its_own_namespaces_and_dies_whole_twice_in_a_row() {
    let bench = Bench::new("service");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let marker = format!("stubborn-{}", std::process::id());
    let script = format!(
        r#"
{{
  echo "init=$(cat /proc/1/comm)"
  echo "self=$$"
  echo "hostname=$(hostname)/$(cat /etc/hostname)"
  echo "resolv=$(cat /etc/resolv.conf)"
  echo "env=$COLOUR/$BOOTES_NODE/$BOOTES_IMAGE"
  echo "caps=$(grep CapBnd /proc/self/status | tr -d '\t')"
  echo "dev=$(ls /dev | tr '\n' ' ')"
  touch /sys/x 2>/dev/null || echo "sys=read-only"
  echo b 2>/dev/null >/proc/sysrq-trigger || echo "sysrq=read-only"
  touch /written && echo "root=writable"
  echo "roots=$(ls / | tr '\n' ' ')"
  cat /proc/self/mountinfo
}} >/www/facts 2>/dev/null
echo hello >/dev/console
(setsid sh -c 'trap "" TERM INT HUP; while :; do sleep 1; done' {marker} &) &
exec httpd -f -p 127.0.0.1:{port} -h /www
"#
    );
    for _ in 0..2 {
        let (mounted, spec, blob) = bench.prepare(&script);
        let mut container = start(&spec);
        let output = container.take_output().unwrap();
        assert!(container.take_output().is_none());
        let check = HealthCheck::Tcp { port: port.try_into().unwrap() };
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        while health::probe(&check, home, GRACE).await.is_err() || processes_with(&marker) == 0 {
            assert_eq!(container.exit(), None);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let facts = get(port, "/facts");
        for expected in [
            "init=bootes-init",
            "self=2\n",
            "hostname=n17/n17",
            "resolv=nameserver 192.0.2.1",
            &format!("env=blue/n17/{}", spec.env["BOOTES_IMAGE"]),
            "sys=read-only",
            "sysrq=read-only",
            "root=writable",
            "dev=console fd full null ptmx pts random shm stderr stdin stdout tty urandom zero",
        ] {
            assert!(facts.contains(expected), "{expected}: {facts}");
        }
        let bounding = facts.split("caps=CapBnd:").nth(1).unwrap().lines().next().unwrap();
        let bounding = u64::from_str_radix(bounding.trim(), 16).unwrap();
        assert_eq!(bounding & (1 << 22 | 1 << 16 | 1 << 25), 0, "boot, module and time are denied");
        assert_ne!(bounding & (1 << 21), 0, "sys_admin is kept");
        let points: Vec<_> = mountinfo::parse(&facts).map(|mount| mount.point).collect();
        assert_eq!(points.first().unwrap(), Path::new("/"), "{facts}");
        let inside = ["/proc", "/sys", "/dev"];
        let foreign = points.iter().skip(1).find(|point| !inside.iter().any(|own| point.starts_with(own)));
        assert_eq!(foreign, None, "no mount of the host is seen: {facts}");

        let exit = stop(&container, GRACE).await;
        assert_eq!(exit, Exit::Code(128 + libc::SIGTERM));
        assert_eq!(processes_with(&marker), 0);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(read_all(output).contains("hello"), "the console goes to the log");
        mounted.unmount().unwrap();
        assert_nothing_left(&bench, &blob);
    }
}

#[tokio::test]
async fn an_entrypoint_that_ignores_the_request_is_killed_after_the_grace() {
    let bench = Bench::new("deaf");
    let (mounted, spec, blob) = bench.prepare("trap '' TERM\necho ready\nwhile :; do sleep 1; done\n");
    let mut container = start(&spec);
    let output = container.take_output().unwrap();
    read_until(&output, "ready");
    let exit = stop(&container, Duration::from_millis(100)).await;
    assert_eq!(exit, Exit::Signal(libc::SIGKILL));
    mounted.unmount().unwrap();
    assert_nothing_left(&bench, &blob);
}

#[tokio::test]
async fn a_polite_entrypoint_ends_with_its_own_status_and_its_words_come_out() {
    let bench = Bench::new("polite");
    let script = "trap 'echo bye; exit 7' TERM\necho ready\nwhile :; do sleep 0.1; done\n";
    let (mounted, spec, blob) = bench.prepare(script);
    let mut container = start(&spec);
    let output = container.take_output().unwrap();
    read_until(&output, "ready");
    assert_eq!(stop(&container, GRACE).await, Exit::Code(7));
    assert_eq!(read_all(output), "bye\n");
    mounted.unmount().unwrap();
    assert_nothing_left(&bench, &blob);
}

#[tokio::test]
async fn an_entrypoint_that_ends_by_itself_is_cleared_up_by_stop() {
    let bench = Bench::new("brief");
    let (mounted, spec, blob) = bench.prepare("(sleep 0.1 &)\nkill -9 $$\n");
    let container = start(&spec);
    reap(&container).await;
    assert_eq!(container.exit(), Some(Exit::Code(128 + 9)));
    assert_eq!(container.stop(GRACE).await.unwrap(), Exit::Code(128 + 9));
    mounted.unmount().unwrap();
    assert_nothing_left(&bench, &blob);
}

#[test]
fn what_fails_inside_names_its_step_and_leaves_nothing() {
    let bench = Bench::new("broken");
    let (mounted, spec, blob) = bench.prepare("exit 0\n");
    let missing = ContainerSpec { entrypoint: vec!["/bin/absent".into()], ..spec.clone() };
    match Container::start(Path::new(PROGRAM), &missing) {
        Err(ContainerError::Setup { step: SetupStep::Exec, what, source, .. }) => {
            assert_eq!((what.as_str(), source.raw_os_error()), ("/bin/absent", Some(libc::ENOENT)));
        }
        other => panic!("{other:?}"),
    }
    let nowhere = ContainerSpec { root: "/nonexistent/root".into(), ..spec.clone() };
    let refused = Container::start(Path::new(PROGRAM), &nowhere);
    assert!(matches!(refused, Err(ContainerError::Setup { step: SetupStep::PivotRoot, .. })), "{refused:?}");
    let silent = Container::start(Path::new("/bin/true"), &spec);
    assert!(matches!(silent, Err(ContainerError::Died { .. } | ContainerError::System { .. })), "{silent:?}");
    let unshared = ContainerSpec { says_in: Some("/nonexistent/folder".into()), ..spec.clone() };
    let refused = Container::start(Path::new(PROGRAM), &unshared);
    assert!(matches!(refused, Err(ContainerError::Setup { step: SetupStep::ShareFolder, .. })), "{refused:?}");
    let invalid = ContainerSpec { root: "relative".into(), ..spec };
    assert!(matches!(Container::start(Path::new(PROGRAM), &invalid), Err(ContainerError::Spec { .. })));
    mounted.unmount().unwrap();
    assert_nothing_left(&bench, &blob);
}

#[tokio::test]
async fn the_kernel_ends_every_process_when_the_first_one_is_killed_from_outside() {
    let bench = Bench::new("shot");
    let marker = format!("orphan-{}", std::process::id());
    let script =
        format!("(setsid sh -c 'echo ready; while :; do sleep 1; done' {marker} &) &\nwhile :; do sleep 1; done\n");
    let (mounted, spec, blob) = bench.prepare(&script);
    let mut container = start(&spec);
    let output = container.take_output().unwrap();
    read_until(&output, "ready");
    assert!(processes_with(&marker) > 0);
    nix::sys::signal::kill(Pid::from_raw(container.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    reap(&container).await;
    assert_eq!(processes_with(&marker), 0);
    assert_eq!(container.stop(GRACE).await.unwrap(), Exit::Signal(9));
    mounted.unmount().unwrap();
    assert_nothing_left(&bench, &blob);
}
