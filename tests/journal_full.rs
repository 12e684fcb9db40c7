//! A disk that is really full, under the real engine, journal and API: a tmpfs of a few megabytes in a mount namespace of
//! its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bootes::api::{Context, Options, bind, certificate};
use bootes::engine::Engine;
use bootes::fact::{AgentEvent, AgentFact, Fact, OperatorEvent, OperatorFact};
use bootes::journal::{Filter, Journal, JournalReader};
use bootes::model::{NetworkSpec, Schema};
use bootes::plan::{Graph, Policy};
use bootes::port::health::Writing;
use bootes::port::{FactFeed, StateReader, SubmitError, fact_channel};
use bootes::power::PowerModule;
use bootes::power::vault::Vault;
use bootes::sync::identity::Identity;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Set for the process that runs in the namespace; the place where it mounts its disk.
const DISK: &str = "BOOTES_TEST_FULL_DISK";

#[test]
fn a_full_disk_stops_acknowledging_and_not_serving_and_is_gone_on_from() {
    if let Some(disk) = std::env::var_os(DISK) {
        let disk = Path::new(&disk);
        nix::mount::mount(Some("disk"), disk, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=3m")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(fill_and_make_space(disk));
    }
    let disk = tempfile::tempdir().unwrap();
    let name = "a_full_disk_stops_acknowledging_and_not_serving_and_is_gone_on_from";
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    let output = inside.args([name, "--exact", "--nocapture"]).env(DISK, disk.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
}

fn network(lease_s: u32) -> Fact {
    let name = "boot".parse().unwrap();
    let spec = NetworkSpec { lease_s, ..NetworkSpec::new(name, "10.0.0.0/24".parse().unwrap()) };
    Fact::Operator(OperatorFact { by: None, event: OperatorEvent::NetworkDescribed { spec } })
}

async fn get(socket: &Path, path: &str) -> Value {
    let socket = tokio::net::UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

async fn fill_and_make_space(dir: &Path) {
    let mutations = [
        bootes::power::mutations::mutations(),
        bootes::boot::mutations::mutations(),
        bootes::sync::mutations::mutations(),
    ];
    let graph = Graph::build(mutations.concat(), &Schema::default()).unwrap();
    let engine = Engine::replay(Journal::open(dir).unwrap(), graph.clone(), Policy::default()).unwrap();
    let (facts, receiver) = fact_channel();
    let (state, shutdown) = (StateReader(engine.snapshots()), CancellationToken::new());
    let mut health = engine.journal_health();
    let vault = Arc::new(Vault::open(dir).unwrap());
    let (_module, power) = PowerModule::new(vault.clone(), Duration::from_secs(60));
    let context = Context {
        facts: facts.clone(),
        state: state.clone(),
        feed: FactFeed(engine.feed()),
        power,
        vault,
        graph,
        policy: Policy::default(),
        image_store: dir.join("images"),
        state_dir: dir.to_owned(),
        journal_health: engine.journal_health(),
        roster: Default::default(),
        boot: Default::default(),
    };
    let identity = Arc::new(Identity::open(dir).unwrap());
    let address: PathBuf = dir.join("api.sock");
    let certificate = certificate::Source { state_dir: dir.to_owned(), own: None, names: vec![] };
    let options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), socket: address.clone(), certificate };
    let bound = bind(options, identity).await.unwrap();
    let running = tokio::spawn(engine.run(receiver, shutdown.clone()));
    facts.submit(vec![network(60)]).await.unwrap();

    let ballast = dir.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let mut acknowledged = 60;
    let refused = loop {
        match facts.submit(vec![network(acknowledged + 1)]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SubmitError::NotDurable { .. }), "{refused}");
    assert_eq!(health.borrow_and_update().writing, Writing::Full);
    let lease_s = |state: &StateReader| state.now().networks.values().next().unwrap().lease_s;
    assert_eq!(lease_s(&state), acknowledged, "what was refused has not happened");
    // Nobody waits for this one: it is lost, and counted.
    let event = AgentEvent::Console { lines: vec!["x".into()] };
    let peer = SocketAddr::from(([10, 0, 0, 1], 1));
    facts.offer(Fact::Agent(AgentFact { node: None, peer, event }));
    facts.submit(vec![network(7)]).await.unwrap_err();

    tokio::spawn(bound.run(context, shutdown.clone()));
    let told = get(&address, "/api/v1/health").await;
    assert_eq!(
        (told["status"].as_str(), told["journal"]["writing"].as_str()),
        (Some("degraded"), Some("full")),
        "{told}"
    );
    assert!(told["journal"]["detail"].as_str().unwrap().contains("make space"), "{told}");
    assert_eq!(get(&address, "/api/v1/nodes").await, serde_json::json!({"items": []}));
    assert!(!get(&address, "/api/v1/events").await["items"].as_array().unwrap().is_empty());

    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    health.wait_for(|health| health.writing == Writing::Ok).await.unwrap();
    facts.submit(vec![network(9_999)]).await.unwrap();
    assert_eq!(lease_s(&state), 9_999);
    assert_eq!(get(&address, "/api/v1/health").await["status"], "ok");
    let kept = JournalReader::open(dir).unwrap().read(&Filter { limit: 100_000, ..Filter::default() }).unwrap();
    let told = |words: &str| kept.iter().any(|stamped| stamped.fact.sentence().starts_with(words));
    assert!(told("1 facts were lost"), "what could not be taken is counted");
    assert!(told("the journal takes facts again"));
    shutdown.cancel();
    running.await.unwrap();
}
