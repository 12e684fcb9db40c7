//! Whether a running image is well: one probe, and what a row of probes means.
//!
//! [`probe`] asks once. [`HealthState`] is pure: it turns outcomes into changes, so that one lost packet is no outage.
//! Deliberately absent: the timer between probes, and what to do about an image that is not well; that is the caller's.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::client::{self, ClientError};
use super::manifest::HealthCheck;

/// Why a probe says that an image is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nothing listens, or the connection broke.
    #[error("nothing answers at {address}; read the image's log")]
    Refused {
        /// Where it was asked.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too slow.
    #[error("{address} did not answer within {} ms; read the image's log", limit.as_millis())]
    TimedOut {
        /// Where it was asked.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// Connected, but not HTTP.
    #[error("{address} does not answer as HTTP does; correct the image's health check")]
    NotHttp {
        /// Where it was asked.
        address: SocketAddr,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// An HTTP status that means trouble.
    #[error("{address}{path} answers with HTTP status {status}; read the image's log")]
    Status {
        /// Where it was asked.
        address: SocketAddr,
        /// For what.
        path: String,
        /// The status.
        status: u16,
    },
    /// The check itself cannot be asked.
    #[error("the health check's path {path:?} cannot be asked for; correct the image")]
    Request {
        /// The path.
        path: String,
    },
}

/// Asks once, at the node's own address, within `limit`. An image whose check is [`HealthCheck::Alive`] is well: whether
/// its entrypoint lives is known to whoever reaps it.
pub async fn probe(check: &HealthCheck, address: IpAddr, limit: Duration) -> Result<(), Unhealthy> {
    let port = match check {
        HealthCheck::Alive => return Ok(()),
        HealthCheck::Tcp { port } | HealthCheck::Http { port, .. } => port.get(),
    };
    let address = SocketAddr::new(address, port);
    let asked = async {
        match check {
            HealthCheck::Http { path, .. } => probe_http(address, path, limit).await,
            _ => TcpStream::connect(address).await.map(drop).map_err(|source| Unhealthy::Refused { address, source }),
        }
    };
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Unhealthy::TimedOut { address, limit }))
}

async fn probe_http(address: SocketAddr, path: &str, limit: Duration) -> Result<(), Unhealthy> {
    let unhealthy = |error| match error {
        ClientError::Refused { source } => Unhealthy::Refused { address, source },
        ClientError::TimedOut { .. } => Unhealthy::TimedOut { address, limit },
        ClientError::Cut { source } => Unhealthy::NotHttp { address, source },
        ClientError::Request { .. } => Unhealthy::Request { path: path.to_owned() },
    };
    let mut connection = client::connect(address, limit).await.map_err(unhealthy)?;
    let status = connection.get(path, None, limit).await.map_err(unhealthy)?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Unhealthy::Status { address, path: path.to_owned(), status: status.as_u16() })
    }
}

/// What one probe said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered as it should.
    Well,
    /// It did not.
    Unwell,
}

/// What is believed of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It was never seen well.
    Starting,
    /// It is well.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// The memory between probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthState {
    health: Health,
    failures_in_a_row: u32,
    failures_max: u32,
}

impl HealthState {
    /// Never probed. It becomes unhealthy after `failures_max` (at least 1) failures in a row.
    pub fn new(failures_max: u32) -> Self {
        Self { health: Health::Starting, failures_in_a_row: 0, failures_max: failures_max.max(1) }
    }

    /// What is believed now.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes in an outcome; answers the new belief where it changed.
    pub fn observe(&mut self, outcome: Outcome) -> Option<Health> {
        let before = self.health;
        match outcome {
            Outcome::Well => {
                self.failures_in_a_row = 0;
                self.health = Health::Healthy;
            }
            Outcome::Unwell => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                if self.failures_in_a_row >= self.failures_max {
                    self.health = Health::Unhealthy;
                }
            }
        }
        (self.health != before).then_some(self.health)
    }
}

#[cfg(test)]
mod tests;
