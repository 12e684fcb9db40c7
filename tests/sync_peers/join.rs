//! Tokens and certificates.

use bootes::fact::{AgentEvent, Fact};
use bootes::model::Digest;
use bootes::sync::codec::{ChildMessage, ParentMessage, WireRefusal};
use tokio::task::JoinSet;

use crate::harness::{Appliance, Child, TOKEN};

#[tokio::test]
async fn a_good_token_is_traded_for_a_certificate_once() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let chain = child.join(&TOKEN).await.unwrap();
    // The fact was durable before the answer came.
    let state = appliance.state.now();
    let known = state.node(node).unwrap();
    assert_eq!(known.agent.certificate, Some(Digest::of(&chain[0])));
    assert_eq!(known.token, None);
    let other = Child::new(&appliance, node);
    assert_eq!(other.join(&TOKEN).await, Err(WireRefusal::NoTokenOpen));
    appliance.until_fact("the token was used already").await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_to_the_same_key_until_its_certificate_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let first = child.join(&TOKEN).await.unwrap();
    let second = child.join(&TOKEN).await.unwrap();
    assert_eq!(first, second);
    drop(child.session(second).await);
    assert_eq!(child.join(&TOKEN).await, Err(WireRefusal::NoTokenOpen));
}

#[tokio::test]
async fn a_foreign_token_an_unknown_node_and_a_bad_request_are_told_apart_and_use_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (one, two) = (appliance.describe(1, &[]).await, appliance.describe(2, &[]).await);
    appliance.open_token(one, &TOKEN).await;
    appliance.open_token(two, &[9; 16]).await;
    assert_eq!(Child::new(&appliance, one).join(&[9; 16]).await, Err(WireRefusal::WrongToken));
    assert_eq!(Child::new(&appliance, one).join(&[]).await, Err(WireRefusal::WrongToken));
    let stranger = bootes::model::NodeId(uuid::Uuid::from_u128(99));
    assert_eq!(Child::new(&appliance, stranger).join(&TOKEN).await, Err(WireRefusal::UnknownNode));
    let mut malformed = Child::new(&appliance, one);
    malformed.csr.truncate(50);
    assert_eq!(malformed.join(&TOKEN).await, Err(WireRefusal::BadRequest));
    for refusal in ["not the one given", "no node has this id", "request is malformed"] {
        appliance.until_fact(refusal).await;
    }
    assert!(Child::new(&appliance, one).join(&TOKEN).await.is_ok());
    assert!(Child::new(&appliance, two).join(&[9; 16]).await.is_ok());
}

#[tokio::test]
async fn of_many_joins_at_once_with_one_token_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let mut joins = JoinSet::new();
    for _ in 0..12 {
        let child = Child::new(&appliance, node);
        joins.spawn(async move { child.join(&TOKEN).await });
    }
    let results = joins.join_all().await;
    let won: Vec<_> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert!(results.iter().all(|result| result.is_ok() || *result == Err(WireRefusal::NoTokenOpen)));
    let joined = |fact: &Fact| matches!(fact, Fact::Agent(agent) if matches!(agent.event, AgentEvent::Joined { .. }));
    assert_eq!(appliance.journal().iter().filter(|stamped| joined(&stamped.fact)).count(), 1);
    assert_eq!(appliance.state.now().node(node).unwrap().agent.certificate, Some(Digest::of(&won[0][0])));
}

#[tokio::test]
async fn a_node_that_is_heard_cannot_be_joined_for_and_a_certificate_of_an_earlier_boot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let node = appliance.describe(1, &[]).await;
    appliance.open_token(node, &TOKEN).await;
    let child = Child::new(&appliance, node);
    let old = child.join(&TOKEN).await.unwrap();
    let session = child.session(old.clone()).await;

    appliance.open_token(node, &[6; 16]).await;
    let reborn = Child::new(&appliance, node);
    assert_eq!(reborn.join(&[6; 16]).await, Err(WireRefusal::TryLater));
    drop(session);
    appliance.until_fact("agent lost").await;
    let new = reborn.join(&[6; 16]).await.unwrap();
    let answer = child.ask(Some(old), &child.hello()).await.unwrap();
    assert_eq!(answer, ParentMessage::Refused { reason: WireRefusal::OldCertificate });
    appliance.until_fact("not the one of this node's last join").await;
    drop(reborn.session(new).await);
}

#[tokio::test]
async fn a_certificate_is_good_for_its_own_node_alone() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let (one, two) = (appliance.describe(1, &[]).await, appliance.describe(2, &[]).await);
    appliance.open_token(one, &TOKEN).await;
    appliance.open_token(two, &[9; 16]).await;
    let child = Child::new(&appliance, one);
    let chain = child.join(&TOKEN).await.unwrap();
    Child::new(&appliance, two).join(&[9; 16]).await.unwrap();
    let pretender = Child { node: two, key: child.key.clone_key(), ..Child::new(&appliance, two) };
    let answer = pretender.ask(Some(chain), &pretender.hello()).await.unwrap();
    assert_eq!(answer, ParentMessage::Refused { reason: WireRefusal::OldCertificate });
    let bare = child.ask(None, &child.hello()).await.unwrap();
    assert_eq!(bare, ParentMessage::Refused { reason: WireRefusal::OldCertificate });
}

#[tokio::test]
async fn neither_end_trusts_another_authority() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let appliance = Appliance::on_loopback(ours.path()).await;
    let other = Appliance::on_loopback(theirs.path()).await;
    let node = appliance.describe(1, &[]).await;
    other.describe(1, &[]).await;
    other.open_token(node, &TOKEN).await;
    let foreign = Child::new(&other, node);
    let chain = foreign.join(&TOKEN).await.unwrap();

    let child = Child { ca: other.ca, ..Child::new(&appliance, node) };
    assert!(child.open(None).await.is_err(), "a parent of another authority is not believed");
    let pretender = Child { address: appliance.address, ca: appliance.ca, ..foreign };
    assert!(pretender.ask(Some(chain), &pretender.hello()).await.is_err(), "nor is a child");
}

#[tokio::test]
async fn a_child_of_another_version_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = Appliance::on_loopback(dir.path()).await;
    let child = Child::new(&appliance, appliance.describe(1, &[]).await);
    let hello = ChildMessage::Hello { version: 7, node: [1; 16] };
    let answer = child.ask(None, &hello).await.unwrap();
    assert_eq!(answer, ParentMessage::Refused { reason: WireRefusal::Version { spoken: 1 } });
    appliance.until_fact("it speaks version 7").await;
}
