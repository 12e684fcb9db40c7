//! The agent's life: it joins, gets in step, runs what it is asked for, and outlives its parent.

use std::sync::atomic::Ordering;

use bootes::fact::{Fact, OperatorEvent};
use bootes::model::{Digest, NodeId, Value, VarPath};
use bootes::state::{Mark, Node};

use crate::harness::{Appliance, Node0, PATIENCE, TOKEN, agent, name};

fn content(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

fn image_is(node: &Node, image: &str, state: &str) -> bool {
    node.see_symbol(&VarPath::image_state(&name(image))) == Some(state)
}

async fn one_node(appliance: &Appliance, images: &[(&str, Digest)]) -> (NodeId, Node0) {
    let node = appliance.describe(1, images).await;
    appliance.open_token(node, &TOKEN).await;
    (node, agent(node, appliance.ca, &[appliance.address], &TOKEN))
}

fn count(appliance: &Appliance, what: &str) -> usize {
    appliance.sentences().iter().filter(|sentence| sentence.contains(what)).count()
}

#[tokio::test]
async fn a_node_joins_gets_in_step_and_runs_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1)), ("db", content(2))]).await;
    agent.lines.push("hello from the console");
    let reached = appliance.until_at_goal(node).await;
    assert!(image_is(&reached, "web", "active") && image_is(&reached, "db", "active"));
    assert_eq!(reached.see(&VarPath::image_digest(&name("db"))), Some(&Value::Digest(content(2))));
    assert_eq!(agent.runner.started.load(Ordering::SeqCst), 2);
    assert_eq!(count(&appliance, "failed"), 0, "{:#?}", appliance.sentences());
    appliance.until_fact("agent reports hardware").await;
    appliance.until_fact("console: hello from the console").await;
    let known = appliance.state.now().node(node).unwrap().clone();
    assert_eq!(known.hardware.as_ref().unwrap().system.serial.as_deref(), Some("SN17"));
}

#[tokio::test]
async fn an_image_that_ends_by_itself_is_told_at_once_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1))]).await;
    appliance.until_at_goal(node).await;
    agent.runner.end("web");
    appliance
        .until_node(node, "the image runs again", |node| {
            image_is(node, "web", "active") && node.marks.iter().filter(|m| m.mark == Mark::GoalReached).count() == 2
        })
        .await;
    appliance.until_fact("image.web.state=failed").await;
    assert_eq!(agent.runner.started.load(Ordering::SeqCst), 2);
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 1, "it was cleaned up");
}

#[tokio::test]
async fn a_failure_is_told_with_its_causes_and_counted_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[("web", content(1))]).await;
    appliance.open_token(node, &TOKEN).await;
    let agent = agent(node, appliance.ca, &[appliance.address], &TOKEN);
    agent.runner.failures.store(2, Ordering::SeqCst);
    appliance.until_at_goal(node).await;
    let failed = appliance.until_fact("failed image.activate web").await;
    assert!(failed.contains("image web could not be fetched: the shelf is empty"), "{failed}");
    assert_eq!(count(&appliance, "failed image.activate web"), 2);
    assert_eq!(count(&appliance, "done image.reset web"), 2);
    assert_eq!(count(&appliance, "no longer waiting for image"), 0, "{:#?}", appliance.sentences());
}

#[tokio::test]
async fn a_new_content_replaces_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1))]).await;
    appliance.until_at_goal(node).await;
    appliance.describe(1, &[("web", content(2))]).await;
    appliance
        .until_node(node, "the new content runs", |node| {
            node.see(&VarPath::image_digest(&name("web"))) == Some(&Value::Digest(content(2)))
        })
        .await;
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 1);
    appliance.describe(1, &[]).await;
    // An image that nobody asks for is forgotten once it is stopped.
    appliance.until_node(node, "the image is stopped", |node| !image_is(node, "web", "active") && node.at_goal).await;
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_activation_that_is_not_wanted_any_more_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[("web", content(1))]).await;
    appliance.open_token(node, &TOKEN).await;
    let agent = agent(node, appliance.ca, &[appliance.address], &TOKEN);
    agent.runner.held.send_replace(true);
    appliance.until_fact("started image.activate web").await;
    let path = VarPath::run();
    let leave = OperatorEvent::GoalSet { node, path, value: Some(Value::symbol("init")) };
    appliance.operator(leave).await;
    appliance.until_fact("agent left").await;
    assert_eq!(agent.runner.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_node_that_is_to_leave_stops_its_images_first_then_leaves_and_hears_a_changed_mind() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1))]).await;
    appliance.until_at_goal(node).await;
    let set = |value| OperatorEvent::GoalSet { node, path: VarPath::run(), value };
    appliance.operator(set(Some(Value::symbol("init")))).await;
    appliance.until_fact("agent left").await;
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 1);
    let sentences = appliance.sentences();
    let place = |what: &str| sentences.iter().position(|sentence| sentence.contains(what));
    assert!(place("started image.deactivate web") < place("started run.leave"));
    assert!(place("run=init") < place("agent left"));
    assert_eq!(appliance.see(node, "run"), Some(Value::symbol("init")));
    appliance.until_node(node, "it asks again", |node| node.agent.session.is_some()).await;
    appliance.operator(set(None)).await;
    appliance.until_node(node, "the image runs again", |node| image_is(node, "web", "active") && node.at_goal).await;
}

#[tokio::test]
async fn a_killed_appliance_that_comes_back_finds_the_node_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1))]).await;
    appliance.until_at_goal(node).await;
    let address = appliance.kill();
    let appliance = Appliance::start(dir.path(), address).await;
    let back = appliance.until_at_goal(node).await;
    assert!(image_is(&back, "web", "active"));
    assert_eq!(agent.runner.started.load(Ordering::SeqCst), 1, "the image was never touched");
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 0);
    assert_eq!(count(&appliance, "agent joined"), 1, "{:#?}", appliance.sentences());
    assert_eq!(count(&appliance, "started run.sync"), 1, "{:#?}", appliance.sentences());
}

#[tokio::test]
async fn what_happens_while_the_parent_is_away_is_told_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1)), ("db", content(2))]).await;
    appliance.until_at_goal(node).await;
    let address = appliance.kill();
    agent.runner.end("web");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while agent.runner.stopped.load(Ordering::SeqCst) == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let appliance = Appliance::start(dir.path(), address).await;
    appliance.until_at_goal(node).await;
    appliance.until_fact("image.web.state=failed").await;
    assert_eq!(agent.runner.started.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_parent_that_cannot_be_reached_is_passed_over_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _agent = agent(node, appliance.ca, &[nobody, appliance.address], &TOKEN);
    appliance.until_at_goal(node).await;
}

#[tokio::test]
async fn a_machine_that_is_asked_to_end_stops_its_images_and_says_good_bye() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1))]).await;
    appliance.until_at_goal(node).await;
    agent.stop.cancel();
    tokio::time::timeout(PATIENCE, agent.life).await.unwrap().unwrap();
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 1);
    appliance.until_fact("agent left").await;
}

#[tokio::test]
async fn a_step_for_a_node_without_a_session_fails_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[]).await;
    appliance.until_at_goal(node).await;
    let set = |value: &str| OperatorEvent::GoalSet { node, path: VarPath::run(), value: Some(Value::symbol(value)) };
    appliance.operator(set("init")).await;
    appliance.until_fact("agent left").await;
    agent.life.abort();
    appliance.operator(set("sync")).await;
    appliance.until_fact("the node's agent is not connected").await;
    let outcome = |fact: &Fact| matches!(fact, Fact::Outcome(outcome) if outcome.node == node);
    assert!(appliance.journal().iter().any(|stamped| outcome(&stamped.fact)));
}

#[tokio::test]
async fn a_removed_nodes_session_is_closed_and_its_agent_not_let_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (node, agent) = one_node(&appliance, &[("web", content(1))]).await;
    appliance.until_at_goal(node).await;
    appliance.operator(OperatorEvent::NodeRemoved { node, name: name("n1") }).await;
    appliance.until("the node is gone", |state| state.node(node).is_none()).await;
    appliance.until_fact("refused: no node has this id").await;
    assert_eq!(agent.runner.stopped.load(Ordering::SeqCst), 0, "what runs there is left alone");
}
