//! The impure half of the client: a UDP socket, a clock and random numbers.
//!
//! Invariants: only datagrams from the BMC's own address and port come in; a refused port is reported, not an error; a wait
//! ends at its deadline at the latest.
//! Deliberately not here: what the datagrams mean, and any retry.

use super::Endpoint;
use super::crypto;
use super::error::IpmiError;
use super::session::{Entropy, Privilege, Setup};
use super::timing::Timing;
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Waits are cut to a day after the wire was made, far beyond the life of a session, so that no deadline overflows.
const FAR_S: u64 = 86_400;

/// What the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Datagram(usize),
    PortUnreachable,
    Nothing,
}

/// The impure half: socket, clock and random numbers.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    socket: UdpSocket,
    origin: Instant,
    random: SystemRandom,
}

impl Wire {
    pub(super) async fn bind(address: SocketAddr) -> Result<Self, IpmiError> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let failed = |doing| move |source| IpmiError::Socket { address, doing, source };
        let socket = UdpSocket::bind((any, 0)).await.map_err(failed("bind a UDP socket"))?;
        // Connected, so that the kernel drops datagrams from any other address.
        socket.connect(address).await.map_err(failed("find a route"))?;
        Ok(Self { address, socket, origin: Instant::now(), random: SystemRandom::new() })
    }

    /// Time since this wire was made: the origin of the session's times.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn fill(&self, out: &mut [u8]) -> Result<(), IpmiError> {
        self.random.fill(out).map_err(|_| IpmiError::NoRandomness { address: self.address })
    }

    pub(super) fn entropy(&self) -> Result<Entropy, IpmiError> {
        let (mut iv, mut jitter) = ([0; crypto::BLOCK_BYTES], [0; 1]);
        self.fill(&mut iv)?;
        self.fill(&mut jitter)?;
        let [jitter] = jitter;
        Ok(Entropy { iv, jitter })
    }

    pub(super) fn setup(&self, endpoint: &Endpoint, timing: Timing, privilege: Privilege) -> Result<Setup, IpmiError> {
        let (mut id, mut console_random, mut tag) = ([0; 4], [0; crypto::NONCE_BYTES], [0; 1]);
        self.fill(&mut id)?;
        self.fill(&mut console_random)?;
        self.fill(&mut tag)?;
        let [first_tag] = tag;
        Ok(Setup {
            address: endpoint.address,
            user: endpoint.user.clone(),
            password: endpoint.password.clone(),
            privilege,
            timing,
            console_session_id: NonZeroU32::new(u32::from_le_bytes(id)).unwrap_or(NonZeroU32::MIN),
            console_random,
            first_tag,
        })
    }

    pub(super) async fn send(&self, datagram: &[u8]) -> Result<Heard, IpmiError> {
        let sent = self.socket.send(datagram).await;
        self.heard(sent.map(|_| Heard::Nothing), "send")
    }

    pub(super) async fn receive(&self, due: Duration, buffer: &mut [u8]) -> Result<Heard, IpmiError> {
        let far = Duration::from_secs(FAR_S);
        let deadline = self.origin + due.min(far);
        match timeout_at(deadline, self.socket.recv(buffer)).await {
            Ok(received) => self.heard(received.map(Heard::Datagram), "receive"),
            Err(_) => Ok(Heard::Nothing),
        }
    }

    /// Sends without waiting, as the last word of a client that is being dropped.
    pub(super) fn send_last(&self, datagram: &[u8]) {
        // Nobody is left to tell: the BMC ends an idle session by itself when this is lost.
        let _ = self.socket.try_send(datagram);
    }

    /// A refused port is evidence, not the end: the BMC may be starting.
    fn heard(&self, result: io::Result<Heard>, doing: &'static str) -> Result<Heard, IpmiError> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Heard::PortUnreachable),
            other => other.map_err(|source| IpmiError::Socket { address: self.address, doing, source }),
        }
    }
}
