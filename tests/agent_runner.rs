//! The agent's runner on this machine's kernel, as root: images fetched over HTTP, mounted, run in containers, and taken
//! down again whatever becomes of them. The first process of each container is the true binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bootes::agent::cmdline;
use bootes::agent::console::chain;
use bootes::agent::image::{Runner, Running};
use bootes::agent::lines::Lines;
use bootes::agent::reaper::Reaper;
use bootes::agent::runner::{ContainerRunner, Places, RunError};
use bootes::boot::http::{HttpContext, HttpOptions, ImageFile, ImageFiles, bind};
use bootes::boot::script::BootSettings;
use bootes::layer::manifest::HealthCheck;
use bootes::layer::mount::{cgroup2, mountinfo};
use bootes::layer::store::{AddOptions, Store};
use bootes::model::{Digest, Name};
use bootes::port::{StateReader, fact_channel};
use tokio::runtime::Runtime;
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

/// One reaper for all tests of this process, since it takes the end of every child.
struct Bench {
    runtime: Runtime,
    store: Store,
    squashfs: PathBuf,
    http: SocketAddr,
    reaper: Reaper,
    home: tempfile::TempDir,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree/bin");
        fs::create_dir_all(&tree).unwrap();
        fs::copy("/bin/busybox", tree.join("busybox")).unwrap();
        for (name, script) in [
            ("short", "echo one; echo two >&2; sleep 2; exit 3"),
            ("long", "echo ready; exec /bin/busybox sleep 1000"),
            ("brief", "exit 9"),
            ("working", "/bin/busybox touch /run/bootes/busy && exec /bin/busybox sleep 1000"),
        ] {
            let file = tree.join(name);
            fs::write(&file, format!("#!/bin/busybox sh\nalias sleep='/bin/busybox sleep'\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let squashfs = home.path().join("image.squashfs");
        let made =
            Command::new("mksquashfs").arg(home.path().join("tree")).arg(&squashfs).arg("-quiet").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let store = Store::open(&home.path().join("store")).unwrap();

        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let settings = BootSettings {
            http: (Ipv4Addr::LOCALHOST, 0).into(),
            agents: vec![],
            ca: Digest::of(b""),
            console: None,
            extra_arguments: vec![],
            kernel: squashfs.clone(),
            initramfs: squashfs.clone(),
            loaders: home.path().to_owned(),
            files: None,
            templates: None,
        };
        let server = bind(HttpOptions::new(settings.http, Arc::new(settings))).unwrap();
        let http = server.local_addrs()[0];
        let (facts, queue) = fact_channel();
        let (state, reader) = tokio::sync::watch::channel(Arc::default());
        // Both live as long as the tests do.
        std::mem::forget((queue, state));
        let images = Arc::new(Images(store.clone()));
        runtime.spawn(server.run(HttpContext { facts, state: StateReader(reader), images }, CancellationToken::new()));
        let reaper = Reaper::start().unwrap();
        Bench { runtime, store, squashfs, http, reaper, home }
    })
}

struct Stand {
    name: Name,
    image: Digest,
    runner: ContainerRunner,
    lines: Lines,
    folder: PathBuf,
    said: PathBuf,
}

impl Stand {
    /// Names are unique in the machine, because control groups are.
    fn new(what: &str, entry: &str, health: HealthCheck) -> Self {
        let bench = bench();
        let name: Name = format!("{what}-{}", std::process::id()).parse().unwrap();
        let options = AddOptions { health, ..AddOptions::new(vec![entry.to_owned()]) };
        let image = bench.store.add(&name, &bench.squashfs, options).unwrap();
        let line = format!(
            "bootes.node={} bootes.name=n17 bootes.mac=52:54:00:00:00:01 bootes.ip=127.0.0.1/8 bootes.parent=127.0.0.1:9 \
             bootes.ca={:064} bootes.token={:032} bootes.http={}",
            uuid::Uuid::from_u128(17),
            0,
            0,
            bench.http
        );
        let arguments = cmdline::parse(&line).unwrap().arguments;
        let (lines, folder) = (Lines::default(), bench.home.path().join(what));
        let (said, program) = (bench.home.path().join("said"), PathBuf::from(env!("CARGO_BIN_EXE_bootes")));
        let places = Places { folder: folder.clone(), said: said.clone(), program };
        let runner = ContainerRunner::new(&arguments, bench.reaper.clone(), lines.clone(), places);
        Stand { name, image, runner, lines, folder, said }
    }

    fn assert_nothing_left(&self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mountinfo::at_and_below(&table, &self.folder), Vec::<PathBuf>::new());
        assert!(!self.folder.join(self.name.as_str()).exists());
        assert!(!self.said.join(self.name.as_str()).exists());
        assert!(!cgroup2().unwrap_or(PathBuf::from("/none")).join("bootes").join(self.name.as_str()).exists());
    }
}

#[test]
fn an_image_runs_says_lines_ends_by_itself_and_is_taken_down() {
    let stand = Stand::new("short", "/bin/short", HealthCheck::Alive);
    bench().runtime.block_on(async {
        let mut run = stand.runner.activate(stand.name.clone(), stand.image, CancellationToken::new()).await.unwrap();
        assert!(stand.folder.join(stand.name.as_str()).join("mount/root/bin/busybox").exists());
        assert_eq!(run.ended().await, "exit code 3");
        stand.lines.waiting().await;
        let (lines, _) = stand.lines.take(10);
        let said = |text: &str| lines.iter().any(|line| *line == format!("{}: {text}", stand.name));
        assert!(said("one") && said("two"), "{lines:?}");
        run.stop().await.unwrap();
        run.stop().await.unwrap();
        stand.assert_nothing_left();
    });
}

#[test]
fn an_image_that_runs_is_stopped_and_can_be_run_again() {
    let stand = Stand::new("long", "/bin/long", HealthCheck::Alive);
    bench().runtime.block_on(async {
        for _ in 0..2 {
            let mut run =
                stand.runner.activate(stand.name.clone(), stand.image, CancellationToken::new()).await.unwrap();
            run.stop().await.unwrap();
            stand.assert_nothing_left();
        }
    });
}

#[test]
fn what_an_image_says_in_its_folder_is_seen_from_outside_and_ends_with_it() {
    let stand = Stand::new("working", "/bin/working", HealthCheck::Alive);
    bench().runtime.block_on(async {
        let mut run = stand.runner.activate(stand.name.clone(), stand.image, CancellationToken::new()).await.unwrap();
        assert!(stand.said.join(stand.name.as_str()).join("busy").exists());
        run.stop().await.unwrap();
        stand.assert_nothing_left();
    });
}

#[test]
fn an_image_that_is_not_to_be_had_or_cannot_be_started_leaves_nothing() {
    let absent = Stand::new("absent", "/bin/long", HealthCheck::Alive);
    let broken = Stand::new("broken", "/bin/nothing", HealthCheck::Alive);
    let brief = Stand::new("brief", "/bin/brief", HealthCheck::Alive);
    bench().runtime.block_on(async {
        let none = Digest::of(b"no such image");
        let error = absent.runner.activate(absent.name.clone(), none, CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, RunError::Fetch { .. }), "{}", chain(&error));
        absent.assert_nothing_left();
        let error =
            broken.runner.activate(broken.name.clone(), broken.image, CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, RunError::Container { .. }), "{}", chain(&error));
        broken.assert_nothing_left();
        let error = brief.runner.activate(brief.name.clone(), brief.image, CancellationToken::new()).await.unwrap_err();
        assert!(chain(&error).contains("ended with exit code 9 before it was seen healthy"), "{}", chain(&error));
        brief.assert_nothing_left();
    });
}

#[test]
fn an_image_that_never_gets_healthy_is_given_up_when_it_is_not_wanted_any_more() {
    let health = HealthCheck::Tcp { port: 9.try_into().unwrap() };
    let stand = Stand::new("unwell", "/bin/long", health);
    bench().runtime.block_on(async {
        let cancel = CancellationToken::new();
        let activation = stand.runner.activate(stand.name.clone(), stand.image, cancel.clone());
        let given_up = async {
            stand.lines.waiting().await;
            cancel.cancel();
        };
        let limit = Duration::from_secs(60);
        let (result, ()) = tokio::time::timeout(limit, async { tokio::join!(activation, given_up) }).await.unwrap();
        assert!(matches!(result, Err(RunError::Cancelled { .. })));
        stand.assert_nothing_left();
    });
}
