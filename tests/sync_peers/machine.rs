//! Machines that are no node: they join, report, wait, and go on as the node that they are made.

use std::net::Ipv4Addr;

use bootes::agent::machine::{self, Outcome};
use bootes::fact::{Fact, MachineEvent, MachineFact, OperatorEvent};
use bootes::model::machine::id_of;
use bootes::model::{Digest, Mac, Neighbour, NodeId};
use bootes::state::MachineStage;
use bootes::sync::codec::{ChildMessage, ParentMessage, Report, WireRefusal, WireScope, WireValue, WireVariable};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::harness::{Appliance, Child, TOKEN, agent, arguments, hardware};

/// The interface of the node that [`Appliance::describe`] makes as number 7.
const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 7]);

impl Appliance {
    /// What the boot services tell of a machine that got an address and its script.
    async fn boots_unknown(&self, mac: Mac, ip: [u8; 4]) {
        let network = r#"{"name":"boot","subnet":"127.0.0.0/8","lease_s":600}"#;
        self.operator(OperatorEvent::NetworkDescribed { spec: serde_json::from_str(network).unwrap() }).await;
        let leased = serde_json::json!({
            "source": "dhcp", "mac": mac, "node": null, "client": "other",
            "event": {"what": "leased", "ip": Ipv4Addr::from(ip), "lease_s": 600, "file": null}
        });
        self.submit(serde_json::from_value(leased).unwrap()).await;
        self.of_machine(mac, MachineEvent::ScriptSent { token: Digest::of(&TOKEN) }).await;
    }

    async fn of_machine(&self, mac: Mac, event: MachineEvent) {
        self.submit(Fact::Machine(MachineFact { mac, peer: Ipv4Addr::LOCALHOST.into(), event })).await;
    }
}

fn neighbour() -> Neighbour {
    Neighbour {
        interface: "eth0".into(),
        chassis: "aa:bb:cc:00:00:01".into(),
        port: "Ethernet7".into(),
        port_description: None,
        system: Some("sw1".into()),
    }
}

#[tokio::test]
async fn a_machine_reports_itself_waits_and_goes_on_as_the_node_without_another_boot() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    appliance.boots_unknown(MAC, [127, 0, 0, 1]).await;
    let arguments = arguments(id_of(MAC), appliance.ca, &[appliance.address], &TOKEN);
    assert!(machine::is_machine(&arguments));
    let heard = watch::Sender::new(None);
    let waits = {
        let (arguments, heard) = (arguments.clone(), heard.subscribe());
        tokio::spawn(
            async move { machine::wait(&arguments, &hardware(), heard, CancellationToken::new()).await.unwrap() },
        )
    };
    appliance.until("it reports its hardware", |state| state.unknown[&MAC].hardware.is_some()).await;
    assert_eq!(appliance.state.now().unknown[&MAC].neighbours, None, "it still listens");
    heard.send_replace(Some(vec![neighbour()]));
    let state = appliance.until("it reports its switch", |state| state.unknown[&MAC].neighbours.is_some()).await;
    let known = &state.unknown[&MAC];
    assert_eq!((known.stage, known.ports(MAC)[0].to_string()), (MachineStage::Waits, "sw1 Ethernet7".to_owned()));
    let node = appliance.describe(7, &[]).await;
    let Outcome::Node(own) = tokio::time::timeout(crate::harness::PATIENCE, waits).await.unwrap().unwrap() else {
        panic!("it is a node's now, in the network that it is in");
    };
    assert_eq!((NodeId(own.node), own.name.as_str(), own.mac), (node, "n7", arguments.mac));
    assert_eq!(own.address.to_string(), "10.77.0.7/8");
    let token = own.token.expose().to_vec();
    let running = agent(node, appliance.ca, &[appliance.address], &token);
    appliance.until_at_goal(node).await;
    assert_eq!(appliance.state.now().node(node).unwrap().waits_with, None);
    running.stop.cancel();
}

#[tokio::test]
async fn a_machine_that_was_enrolled_while_nobody_heard_it_is_told_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    appliance.boots_unknown(MAC, [127, 0, 0, 1]).await;
    let child = Child::new(&appliance, id_of(MAC));
    let chain = child.join(&TOKEN).await.unwrap();
    drop(child.session(chain.clone()).await);
    appliance.until("it is heard no more", |state| state.unknown[&MAC].stage == MachineStage::Lost).await;
    let node = appliance.describe(7, &[]).await;
    let mut link = child.session(chain).await;
    let told = link.next().await.unwrap();
    let ParentMessage::Become(becoming) = told else { panic!("{told:?}") };
    assert_eq!((becoming.node, becoming.name.as_str()), (*node.0.as_bytes(), "n7"));
    assert!(Child::new(&appliance, node).join(&becoming.token).await.is_ok());
}

#[tokio::test]
async fn a_machines_certificate_is_good_for_reporting_and_waiting_alone() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.boots_unknown(MAC, [127, 0, 0, 1]).await;
    let mut child = Child::new(&appliance, id_of(MAC));
    let chain = child.join(&TOKEN).await.unwrap();
    // As a node it is nobody.
    child.node = node;
    let refused = child.ask(Some(chain.clone()), &child.hello()).await.unwrap();
    assert_eq!(refused, ParentMessage::Refused { reason: WireRefusal::OldCertificate });
    child.node = id_of(MAC);
    let mut link = child.session(chain.clone()).await;
    let variables = vec![WireVariable { path: "run".into(), value: Some(WireValue::Symbol("sync".into())) }];
    let report = Report { revision: 1, scope: WireScope::Full, variables, order: vec![] };
    link.send(&ChildMessage::Observed(report)).unwrap();
    link.send(&ChildMessage::Console { lines: vec!["a line".into()], dropped: 0 }).unwrap();
    link.send(&ChildMessage::Neighbours(vec![neighbour()])).unwrap();
    appliance.until("what is its own to say is taken", |state| state.unknown[&MAC].neighbours.is_some()).await;
    let told = appliance.sentences();
    assert!(!told.iter().any(|sentence| sentence.contains("a line") || sentence.contains("run=sync")), "{told:#?}");
    // More reports than any machine makes end the session.
    for _ in 0..40 {
        let _ = link.send(&ChildMessage::Neighbours(vec![neighbour()]));
    }
    while link.next().await.is_ok() {}
    appliance.until("it is heard no more", |state| state.unknown[&MAC].session.is_none()).await;
}

#[tokio::test]
async fn who_was_refused_or_has_no_token_of_this_boot_does_not_join() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let child = Child::new(&appliance, id_of(MAC));
    assert_eq!(child.join(&TOKEN).await, Err(WireRefusal::UnknownNode));
    appliance.boots_unknown(MAC, [127, 0, 0, 1]).await;
    assert_eq!(child.join(&[9; 16]).await, Err(WireRefusal::WrongToken));
    let chain = child.join(&TOKEN).await.unwrap();
    assert_eq!(Child::new(&appliance, id_of(MAC)).join(&TOKEN).await, Err(WireRefusal::NoTokenOpen));
    let mut link = child.session(chain.clone()).await;
    appliance.operator(OperatorEvent::MachineRefused { mac: MAC, reason: None }).await;
    while link.next().await.is_ok() {}
    assert_eq!(child.join(&TOKEN).await, Err(WireRefusal::Refused));
    let refused = child.ask(Some(chain), &child.hello()).await.unwrap();
    assert_eq!(refused, ParentMessage::Refused { reason: WireRefusal::Refused });
}
