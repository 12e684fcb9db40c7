//! The broker over real datagrams, with BMCs that hear and never answer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::fact::{OperatorEvent, OperatorFact, Stamped, StepName};
use crate::model::{BmcDriver, BmcSpec, FactSeq, Generation, Mac, NodeSpec, UnixMs};
use crate::port::{Action, FactReceiver, fact_channel};
use crate::state::State;

struct World {
    state: State,
    snapshots: watch::Sender<Arc<State>>,
    actions: mpsc::Sender<Action>,
    power: PowerHandle,
    facts: FactReceiver,
    vault: Arc<Vault>,
    shutdown: CancellationToken,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::open(dir.path()).unwrap());
        let (module, power) = PowerModule::new(vault.clone(), Duration::from_secs(3_600));
        let snapshots = watch::Sender::new(Arc::new(State::default()));
        let (sender, facts) = fact_channel();
        let (actions, to_do) = mpsc::channel(16);
        let shutdown = CancellationToken::new();
        let state = StateReader(snapshots.subscribe());
        let context = ModuleContext { facts: sender, state, actions: to_do, shutdown: shutdown.clone() };
        let mut tasks = JoinSet::new();
        Box::new(module).start(context, &mut tasks);
        let state = State::default();
        World { state, snapshots, actions, power, facts, vault, shutdown, _tasks: tasks, _dir: dir }
    }

    fn tell(&mut self, event: OperatorEvent) {
        let seq = FactSeq(self.state.seq.0 + 1);
        self.state.apply(&Stamped { seq, at: UnixMs(1), fact: Fact::Operator(OperatorFact::from(event)) });
    }

    fn describe(&mut self, number: u8, bmc: Option<&UdpSocket>) {
        let password = self.vault.seal("secret").unwrap();
        let bmc = bmc.map(|bmc| BmcSpec {
            driver: BmcDriver::Ipmi,
            address: bmc.local_addr().unwrap(),
            user: "admin".into(),
            password,
        });
        let spec = NodeSpec {
            name: format!("n{number}").parse().unwrap(),
            network: "boot".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, number]),
            ip: Ipv4Addr::new(10, 0, 0, number),
            matching: Default::default(),
            cake: None,
            bmc,
            labels: BTreeMap::new(),
            pool: None,
            arch: None,
            platform: None,
            parents: Vec::new(),
            variables: BTreeMap::new(),
            own: Box::default(),
            ipv6: Default::default(),
        };
        self.tell(OperatorEvent::NodeDescribed { node: id(number), spec: Box::new(spec) });
    }

    fn remove(&mut self, number: u8) {
        let name = format!("n{number}").parse().unwrap();
        self.tell(OperatorEvent::NodeRemoved { node: id(number), name });
    }

    fn publish(&self) {
        self.snapshots.send_replace(Arc::new(self.state.clone()));
    }

    /// Asks the node's BMC, which must hear of it.
    async fn is_asked(&self, number: u8, bmc: &UdpSocket) {
        let mut datagram = [0; 512];
        tokio::select! {
            heard = bmc.recv(&mut datagram) => assert!(heard.unwrap() > 0),
            said = self.power.probe(id(number)) => panic!("n{number}: {said:?}"),
        }
    }
}

fn id(number: u8) -> NodeId {
    NodeId(Uuid::from_u128(u128::from(number)))
}

async fn bmc() -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap()
}

#[tokio::test]
async fn a_node_that_takes_the_place_of_a_removed_one_has_its_bmc_asked_at_once() {
    let (mut world, first, second) = (World::new(), bmc().await, bmc().await);
    world.describe(1, Some(&first));
    world.publish();
    world.is_asked(1, &first).await;
    world.remove(1);
    world.describe(2, Some(&second));
    world.publish();
    world.is_asked(2, &second).await;
    world.shutdown.cancel();
}

#[tokio::test]
async fn what_is_asked_of_a_removed_node_is_refused_at_once() {
    let (mut world, silent) = (World::new(), bmc().await);
    world.describe(1, Some(&silent));
    world.publish();
    world.is_asked(1, &silent).await;
    world.remove(1);
    world.publish();
    let step = StepName { mutation: "power.off".into(), image: None };
    let (module, generation, deadline) = (POWER_MODULE.into(), Generation(1), UnixMs(9));
    world.actions.send(Action { module, node: id(1), step, generation, deadline }).await.unwrap();
    let told = world.facts.queue.recv().await.unwrap().facts;
    let [Fact::Outcome(outcome)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((outcome.node, outcome.generation), (id(1), Generation(1)));
    assert!(world.power.probe(id(1)).await.unwrap_err().contains("no BMC"));
    world.shutdown.cancel();
}

#[tokio::test]
async fn a_bmc_that_is_described_away_and_back_is_asked_again() {
    let (mut world, bmc) = (World::new(), bmc().await);
    for _ in 0..3 {
        world.describe(1, Some(&bmc));
        world.publish();
        world.is_asked(1, &bmc).await;
        world.describe(1, None);
        world.publish();
        assert!(world.power.probe(id(1)).await.unwrap_err().contains("no BMC"));
    }
    world.shutdown.cancel();
}
