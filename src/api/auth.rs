//! Who is asking: a token (RFC 6750), or the user at the other end of the socket.
//!
//! Over the network there is no ambient authority: no address, cookie or certificate stands for anybody, so a web page
//! that makes a browser send something here sends it in nobody's name, whatever host it claims to speak to. That is
//! why no request's host is looked at.
//!
//! Invariants: every request is somebody's, the one for the version too. A token is found by the digest of its text, so
//! that how long the search takes tells nothing about any token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::failures::{Answer, Failures};
use super::permit::{Verdict, may};
use super::reply::Refusal;
use super::routes::Permission;
use super::socket;
use crate::model::{Digest, NodeSet, Role, UnixMs};
use crate::state::State;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over the network.
    Network(IpAddr),
    /// A user of this machine, over the socket.
    User(u32),
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// A token's name, or the user at the socket.
    pub(super) name: String,
    pub(super) role: Role,
    /// The nodes that may be changed; nothing for all.
    pub(super) scope: Option<NodeSet>,
    pub(super) expires_at: Option<UnixMs>,
    /// The token's digest.
    pub(super) token: Option<Digest>,
}

/// What is remembered of callers.
#[derive(Debug, Default)]
pub(super) struct Auth {
    failures: Mutex<Failures>,
    /// When tokens were last used. Not a fact: it would be one for every request.
    last_use: Mutex<HashMap<Digest, UnixMs>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    /// Finds out who is asking. A token goes before the user at the socket, so that root can try what a token may.
    pub(super) fn caller(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        state: &State,
        now: UnixMs,
    ) -> Result<Caller, Refusal> {
        let found = match (headers.get(AUTHORIZATION), peer) {
            (Some(header), _) => token(header.as_bytes(), state, now),
            (None, Peer::User(uid)) if socket::is_trusted(uid) => return Ok(user(uid)),
            (None, Peer::User(_)) => Err(Refusal::not_root()),
            (None, Peer::Network(_)) => Err(Refusal::no_token()),
        };
        let caller = found.map_err(|refusal| self.failed(peer, refusal, now))?;
        if let Some(digest) = caller.token {
            locked(&self.last_use).insert(digest, now);
        }
        Ok(caller)
    }

    fn failed(&self, peer: Peer, refusal: Refusal, now: UnixMs) -> Refusal {
        let Peer::Network(address) = peer else { return refusal };
        match locked(&self.failures).count(address, now) {
            Answer::Tell => {
                tracing::warn!(peer = %address, problem = refusal.kind, "an API request had no valid token");
                refusal
            }
            Answer::Wait { after_s } => Refusal::too_many_failures(after_s),
        }
    }

    /// When a token was last used, since the appliance started.
    pub(super) fn last_use(&self, token: Digest) -> Option<UnixMs> {
        locked(&self.last_use).get(&token).copied()
    }

    /// A token is gone.
    pub(super) fn forget(&self, token: Digest) {
        locked(&self.last_use).remove(&token);
    }
}

impl Caller {
    /// Whether the caller may do this to these nodes.
    pub(super) fn check<'a>(
        &self,
        permission: Permission,
        nodes: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Refusal> {
        match may(self.role, self.scope.as_ref(), permission, nodes) {
            Verdict::Allowed => Ok(()),
            verdict => Err(Refusal::forbidden(&self.name, self.role, self.scope.as_ref(), &verdict)),
        }
    }

    /// Whether the caller may change what is about no node alone.
    pub(super) fn check_all(&self) -> Result<(), Refusal> {
        match self.scope {
            None => Ok(()),
            Some(_) => Err(Refusal::forbidden(&self.name, self.role, self.scope.as_ref(), &Verdict::Narrowed)),
        }
    }

    /// Whether what let the caller in is still good.
    pub(super) fn is_valid(&self, state: &State, now: UnixMs) -> bool {
        self.token.is_none_or(|digest| state.tokens.get(&digest).is_some_and(|token| !token.spec.is_expired(now)))
    }
}

fn user(uid: u32) -> Caller {
    let name = if uid == 0 { "root (socket)".to_owned() } else { format!("user {uid} (socket)") };
    Caller { name, role: Role::Admin, scope: None, expires_at: None, token: None }
}

fn token(header: &[u8], state: &State, now: UnixMs) -> Result<Caller, Refusal> {
    let (scheme, rest) = header.split_at_checked(7).ok_or_else(Refusal::no_token)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Refusal::no_token());
    }
    let digest = Digest::of(rest.trim_ascii());
    let token = &state.tokens.get(&digest).ok_or_else(Refusal::unknown_token)?.spec;
    if token.is_expired(now) {
        return Err(Refusal::expired_token(&token.name, token.expires_at.unwrap_or(now)));
    }
    Ok(Caller {
        name: token.name.to_string(),
        role: token.role,
        scope: token.nodes.clone(),
        expires_at: token.expires_at,
        token: Some(digest),
    })
}
