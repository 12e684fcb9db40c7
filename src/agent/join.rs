//! The way to a parent: the list of parents in order, the join, and the connection with the certificate that it gave.
//!
//! Invariants: it never gives up, and never waits for one parent longer than a bound; the key is made on this machine and
//! never leaves its memory; a parent is believed only when its authority is the one of the boot script. A refused join is
//! tried again slowly: the machine is likely to be started anew before that helps.
//! Deliberately absent: what is said once the connection stands (`link`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::cmdline::BootArguments;
use super::console::chain;
use crate::model::{Digest, NodeId};
use crate::sync::codec::{ChildMessage, Frames, OPENING_FRAME_BYTES_MAX, PROTOCOL_VERSION, ParentMessage, WireRefusal};
use crate::sync::codec::{decode, encode};
use crate::sync::identity::{self, IdentityError};
use crate::sync::link::{LinkError, first_body};
use crate::sync::pin::child_config;

/// How long one parent may take to be connected to, and to answer a join.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the first round in which no parent could be reached.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest such pause: well below the time that an agent has to come back before it is taken for lost.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The pause after a refusal that another try alone will hardly change.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of a certificate chain that are taken from a parent.
const CHAIN_CERTIFICATES_MAX: usize = 8;

/// Why a parent could not be reached, or did not let this node in.
#[derive(Debug, Error)]
pub enum JoinError {
    /// There is no connection.
    #[error("parent {parent} cannot be reached")]
    Connect {
        /// The parent.
        parent: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// It took too long.
    #[error("parent {parent} did not answer within {} s", ATTEMPT_TIMEOUT.as_secs())]
    Late {
        /// The parent.
        parent: SocketAddr,
    },
    /// The connection is not encrypted as it should be, or the parent is not of this cluster.
    #[error("parent {parent} is not trusted, or does not speak TLS 1.3")]
    Handshake {
        /// The parent.
        parent: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended early.
    #[error("parent {parent} did not answer the join")]
    Link {
        /// The parent.
        parent: SocketAddr,
        /// How it ended.
        source: LinkError,
    },
    /// It refused.
    #[error("parent {parent} refused this node: {}", refusal_text(*.refusal))]
    Refused {
        /// The parent.
        parent: SocketAddr,
        /// Why.
        refusal: WireRefusal,
    },
    /// Its answer is none.
    #[error("parent {parent} answered the join with something else; is it of another version?")]
    Answer {
        /// The parent.
        parent: SocketAddr,
    },
    /// A key or a certificate cannot be used.
    #[error("this node's certificate cannot be used")]
    Tls {
        /// Why not.
        source: rustls::Error,
    },
}

/// What a refusal means, for the console.
#[must_use]
pub fn refusal_text(refusal: WireRefusal) -> String {
    match refusal {
        WireRefusal::UnknownNode => "it knows no node of this id; describe it and apply".into(),
        WireRefusal::NoTokenOpen => "the join token was used already; boot this node again".into(),
        WireRefusal::WrongToken => "the join token is not the one of this boot; boot this node again".into(),
        WireRefusal::BadRequest => "it did not understand the request; is it of another version?".into(),
        WireRefusal::OldCertificate => "the node has joined again elsewhere since; boot this machine again".into(),
        WireRefusal::Version { spoken } => {
            format!("it speaks version {spoken} of the protocol, not {PROTOCOL_VERSION}")
        }
        WireRefusal::TryLater => "it cannot take nodes now".into(),
        WireRefusal::Refused => "an operator refused this machine".into(),
    }
}

/// Whether waiting for long is all that can be done about a refusal.
#[must_use]
pub fn is_final(refusal: WireRefusal) -> bool {
    refusal != WireRefusal::TryLater
}

/// Finds a parent, for ever.
pub struct Connector {
    node: NodeId,
    parents: Vec<SocketAddr>,
    authority: Digest,
    token: Vec<u8>,
    key: PrivateKeyDer<'static>,
    csr_der: Vec<u8>,
    certificate: Option<Vec<CertificateDer<'static>>>,
    rounds: u32,
    said: String,
}

impl Connector {
    /// Makes the node's key, and the request for its certificate.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(arguments: &BootArguments) -> Result<Self, IdentityError> {
        let node = NodeId(arguments.node);
        let (key, csr_der) = identity::request(node)?;
        Ok(Connector {
            node,
            parents: arguments.parents.clone(),
            authority: Digest::from_bytes(arguments.ca.0),
            token: arguments.token.expose().to_vec(),
            key,
            csr_der,
            certificate: None,
            rounds: 0,
            said: String::new(),
        })
    }

    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// A session went well, so the next search begins without a pause.
    pub fn encourage(&mut self) {
        self.rounds = 0;
    }

    /// A connection to the first parent that takes one, after joining where that was not done yet. Waits before it tries
    /// again what has just failed.
    pub async fn connect(&mut self) -> (TlsStream<TcpStream>, SocketAddr) {
        loop {
            tokio::time::sleep(self.pause()).await;
            self.rounds = self.rounds.saturating_add(1);
            let mut slowly = false;
            for parent in self.parents.clone() {
                match self.attempt(parent).await {
                    Ok(stream) => {
                        self.said.clear();
                        return (stream, parent);
                    }
                    Err(error) => {
                        slowly |= matches!(&error, JoinError::Refused { refusal, .. } if is_final(*refusal));
                        self.say(&error);
                    }
                }
            }
            if slowly {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }

    /// Doubles from round to round, and differs between nodes, so that a rack that lost its parent does not come back as
    /// one.
    fn pause(&self) -> Duration {
        let spread = self
            .node
            .0
            .as_bytes()
            .iter()
            .fold(u64::from(self.rounds), |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let pause = match self.rounds.checked_sub(1) {
            None => Duration::ZERO,
            Some(rounds) => {
                PAUSE_MIN.saturating_mul(1_u32.checked_shl(rounds.min(10)).unwrap_or(u32::MAX)).min(PAUSE_MAX)
            }
        };
        let spread_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / 4 * (spread % 101) / 100;
        pause.saturating_add(Duration::from_millis(spread_ms))
    }

    /// Says what has changed since the last failure, and no more: a parent may be away for hours.
    fn say(&mut self, error: &JoinError) {
        let text = chain(error);
        if text != self.said {
            tracing::warn!(error = text, "no parent yet");
            self.said = text;
        }
    }

    async fn attempt(&mut self, parent: SocketAddr) -> Result<TlsStream<TcpStream>, JoinError> {
        let chain = match &self.certificate {
            Some(chain) => chain.clone(),
            None => {
                let joined = tokio::time::timeout(ATTEMPT_TIMEOUT, self.join(parent)).await;
                let chain = joined.unwrap_or(Err(JoinError::Late { parent }))?;
                tracing::info!(%parent, "this node has joined");
                self.certificate.insert(chain).clone()
            }
        };
        let config = child_config(self.authority, Some((chain, self.key.clone_key())));
        let config = config.map_err(|source| JoinError::Tls { source })?;
        let opened = tokio::time::timeout(ATTEMPT_TIMEOUT, open(parent, config)).await;
        opened.unwrap_or(Err(JoinError::Late { parent }))
    }

    async fn join(&self, parent: SocketAddr) -> Result<Vec<CertificateDer<'static>>, JoinError> {
        use tokio::io::AsyncWriteExt;
        let config = child_config(self.authority, None).map_err(|source| JoinError::Tls { source })?;
        let mut stream = open(parent, config).await?;
        let join = ChildMessage::Join {
            version: PROTOCOL_VERSION,
            node: *self.node.0.as_bytes(),
            token: self.token.clone(),
            csr_der: self.csr_der.clone(),
        };
        let broken = |source: LinkError| JoinError::Link { parent, source };
        let frame = encode(&join).map_err(|error| broken(error.into()))?;
        let sent = async { stream.write_all(&frame).await.and(stream.flush().await) }.await;
        sent.map_err(|error| broken(LinkError::Broken(error)))?;
        let mut frames = Frames::new(OPENING_FRAME_BYTES_MAX);
        let body = first_body(&mut stream, &mut frames, ATTEMPT_TIMEOUT).await.map_err(broken)?;
        match decode(&body).map_err(|error| broken(error.into()))? {
            ParentMessage::Joined { chain_der } if (1..=CHAIN_CERTIFICATES_MAX).contains(&chain_der.len()) => {
                Ok(chain_der.into_iter().map(CertificateDer::from).collect())
            }
            ParentMessage::Refused { reason } => Err(JoinError::Refused { parent, refusal: reason }),
            _ => Err(JoinError::Answer { parent }),
        }
    }
}

async fn open(parent: SocketAddr, config: ClientConfig) -> Result<TlsStream<TcpStream>, JoinError> {
    let stream = TcpStream::connect(parent).await.map_err(|source| JoinError::Connect { parent, source })?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%parent, %error, "the connection keeps small segments back");
    }
    let connector = TlsConnector::from(Arc::new(config));
    let opened = connector.connect(ServerName::IpAddress(parent.ip().into()), stream).await;
    opened.map_err(|source| JoinError::Handshake { parent, source })
}
