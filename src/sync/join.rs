//! Joining: a node's token, which its boot script gave it, against a certificate; once a boot.
//!
//! Invariants: the fact that uses up the token is durable before the answer leaves; of several joins with one token, one
//! wins. The same request with the same token is answered again until its certificate was seen in use, since the answer
//! may have been lost on the way: it helps nobody but the holder of the key that the certificate is for.
//! Deliberately absent: where tokens come from (the boot script), and the session that follows.

use rustls::pki_types::CertificateDer;

use super::accept::Parent;
use super::codec::WireRefusal;
use super::facts::refusal_to_wire;
use super::registry::Granted;
use crate::fact::{AgentEvent, AgentFact, Fact, JoinRefusal};
use crate::model::machine::mac_of;
use crate::model::{Digest, NodeId};

/// A first frame that asks to join.
#[derive(Debug)]
pub(super) struct JoinRequest {
    pub(super) node: NodeId,
    pub(super) token: Vec<u8>,
    pub(super) csr_der: Vec<u8>,
}

/// Grants or refuses a join; a refusal is a fact.
pub(super) async fn join(
    parent: &Parent,
    peer: std::net::SocketAddr,
    request: JoinRequest,
) -> Result<Vec<CertificateDer<'static>>, WireRefusal> {
    let node = request.node;
    if let Some(mac) = mac_of(node) {
        return super::machine::join(parent, peer.ip(), mac, request).await;
    }
    let granted = grant(parent, peer, request).await;
    match &granted {
        Ok(_) => tracing::info!(%node, %peer, "a node joined"),
        Err(Refusal::Final(refusal)) => {
            tracing::warn!(%node, %peer, reason = %refusal, "a join was refused");
            parent.refused(Some(node), peer, *refusal);
        }
        Err(Refusal::Later) => tracing::warn!(%node, %peer, "a join could not be stored; the node will try again"),
    }
    granted.map_err(|refusal| match refusal {
        Refusal::Final(refusal) => refusal_to_wire(refusal),
        Refusal::Later => WireRefusal::TryLater,
    })
}

enum Refusal {
    Final(JoinRefusal),
    Later,
}

async fn grant(
    parent: &Parent,
    peer: std::net::SocketAddr,
    request: JoinRequest,
) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let JoinRequest { node: id, token, csr_der } = request;
    let (token, request) = (Digest::of(&token), Digest::of(&csr_der));
    let _turn = parent.registry.turn(id).await;
    let state = parent.state.now();
    let node = state.node(id).ok_or(Refusal::Final(JoinRefusal::UnknownNode))?;
    let current = node.agent.certificate;
    if let Some(chain) = parent.registry.granted(id, token, request)
        && chain.first().map(|certificate| Digest::of(certificate)) == current
    {
        return Ok(chain);
    }
    // A program on the node could fetch a script and join in the node's place. A machine that has really started anew is no
    // longer heard as it was: it tries again until its earlier session has ended.
    if parent.registry.is_seated(id) {
        return Err(Refusal::Later);
    }
    let open = node.token.ok_or(Refusal::Final(JoinRefusal::NoTokenOpen))?;
    if token != open {
        return Err(Refusal::Final(JoinRefusal::WrongToken));
    }
    let chain = parent.identity.issue(id, &csr_der).map_err(|error| {
        tracing::warn!(node = %id, error = %error, "a certificate request was not granted");
        Refusal::Final(JoinRefusal::BadRequest)
    })?;
    let certificate = chain.first().map(|certificate| Digest::of(certificate)).ok_or(Refusal::Later)?;
    let joined = Fact::Agent(AgentFact { node: Some(id), peer, event: AgentEvent::Joined { certificate } });
    // Before it is durable: the engine plans with the join, and what it wants must find that the node is about to connect.
    parent.registry.grant(id, Granted { token, request, chain: chain.clone(), parked: Vec::new() });
    if let Err(error) = parent.facts.submit(vec![joined]).await {
        tracing::warn!(node = %id, error = %error, "a join could not be made durable");
        parent.registry.withdraw(id);
        return Err(Refusal::Later);
    }
    Ok(chain)
}
