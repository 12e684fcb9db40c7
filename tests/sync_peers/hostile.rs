//! Peers that talk nonsense, too much, or not at all.

use std::time::Duration;

use bootes::sync::codec::{ChildMessage, Pulse, Report, WireScope, WireValue, WireVariable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Appliance, Child, TOKEN, agent};

fn report(path: &str, value: &str) -> ChildMessage {
    let variables = vec![WireVariable { path: path.into(), value: Some(WireValue::Symbol(value.into())) }];
    ChildMessage::Observed(Report { revision: 1, scope: WireScope::Full, variables, order: vec![] })
}

#[tokio::test]
async fn garbage_and_silence_on_the_port_are_facts_and_harm_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(appliance.address).await.unwrap());
    }
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 600], &[0xff; 600], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]] {
        let mut stream = TcpStream::connect(appliance.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    appliance.until_fact("no TLS 1.3 handshake").await;
    let _agent = agent(node, appliance.ca, &[appliance.address], &TOKEN);
    appliance.until_at_goal(node).await;
}

#[tokio::test]
async fn a_frame_that_is_too_long_or_makes_no_sense_ends_its_connection_and_is_a_fact() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    for (frame, what) in [
        (&u32::MAX.to_be_bytes()[..], "a frame of 4294967295 bytes"),
        (&[0, 0, 0, 3, 9, 9, 9][..], "holds no message"),
        (&[0, 0, 0, 1, 8][..], "neither a join nor a hello"),
    ] {
        let mut stream = child.open(None).await.unwrap();
        stream.write_all(frame).await.unwrap();
        stream.flush().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        appliance.until_fact(what).await;
    }

    let chain = child.join(&TOKEN).await.unwrap();
    let mut stream = child.open(Some(chain.clone())).await.unwrap();
    stream.write_all(&bootes::sync::codec::encode(&child.hello()).unwrap()).await.unwrap();
    stream.write_all(&((1_u32 << 20) + 1).to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    appliance.until_fact("a frame of 1048577 bytes").await;
    appliance.until_node(node, "the session is lost", |node| node.agent.session.is_none()).await;
    drop(child.session(chain).await);
}

#[tokio::test]
async fn a_report_of_what_is_not_the_agents_to_report_ends_the_session_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let chain = child.join(&TOKEN).await.unwrap();
    let others = [("boot", "idle"), ("hardware.vendor", "x"), ("net.eth0.mac", "x"), ("net.hostname", "a symbol")];
    let wrong = [("power", "off"), ("run", "lost"), ("no such path", "x"), ("image.a.state", "stale")];
    for (path, value) in wrong.into_iter().chain(others) {
        let mut session = child.session(chain.clone()).await;
        session.send(&report(path, value)).unwrap();
        while session.next().await.is_ok() {}
    }
    appliance.until_fact("it reported power=off").await;
    appliance.until_fact("it reported run=lost").await;
    appliance.until_node(node, "the last session is over", |node| node.agent.session.is_none()).await;
    assert_eq!(appliance.see(node, "power"), None, "the end of a session leaves power unknown");
    assert!(!appliance.sentences().iter().any(|sentence| sentence.contains("agent reports")));
}

#[tokio::test]
async fn a_child_that_falls_silent_is_lost_after_the_dead_interval() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let session = child.session(child.join(&TOKEN).await.unwrap()).await;
    session.send(&report("run", "init")).unwrap();
    appliance.until_node(node, "it is heard", |node| node.agent.session.is_some()).await;
    appliance.until_fact("agent lost: nothing was heard for 1").await;
    assert_eq!(appliance.see(node, "run"), None);
}

#[tokio::test]
async fn a_parent_that_missed_a_report_asks_for_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let mut session = child.session(child.join(&TOKEN).await.unwrap()).await;
    session.send(&report("run", "init")).unwrap();
    session.send(&ChildMessage::Heartbeat(Pulse { revision: 2, digest: [1; 32] })).unwrap();
    loop {
        if session.next().await.unwrap() == bootes::sync::codec::ParentMessage::Resend {
            break;
        }
        session.send(&ChildMessage::Heartbeat(Pulse { revision: 2, digest: [1; 32] })).unwrap();
    }
}

#[tokio::test]
async fn a_newer_session_takes_the_place_of_an_older_one_without_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let chain = child.join(&TOKEN).await.unwrap();
    let mut older = child.session(chain.clone()).await;
    older.send(&report("run", "sync")).unwrap();
    appliance
        .until_node(node, "it is in step", |node| node.see_symbol(&bootes::model::VarPath::run()) == Some("sync"))
        .await;
    let newer = child.session(chain).await;
    while older.next().await.is_ok() {}
    newer.send(&report("run", "sync")).unwrap();
    let still = tokio::time::timeout(Duration::from_millis(300), appliance.until_fact("agent lost")).await;
    assert!(still.is_err(), "{still:?}");
    assert!(appliance.state.now().node(node).unwrap().agent.session.is_some());
}

#[tokio::test]
async fn console_lines_beyond_the_rate_are_counted_rather_than_kept() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let session = child.session(child.join(&TOKEN).await.unwrap()).await;
    for n in 0..30 {
        let lines = (0..50).map(|line| format!("line {n}.{line} {}", "x".repeat(2_000))).collect();
        session.send(&ChildMessage::Console { lines, dropped: 0 }).unwrap();
        session.send(&ChildMessage::Heartbeat(Pulse { revision: 0, digest: [0; 32] })).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    appliance.until_fact("line 9.49").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    session.send(&ChildMessage::Console { lines: vec!["the end".into()], dropped: 0 }).unwrap();
    appliance.until_fact("the end").await;
    let console = appliance.state.now().node(node).unwrap().last.console.clone();
    assert!(console.lines.iter().any(|line| line.contains("lines were dropped here")), "{console:?}");
    assert!(console.lines.iter().all(|line| line.len() <= 512));
}
