//! Router advertisements that say "no router here", so that boot programs do not wait for one.
//!
//! iPXE configures IPv4 and IPv6 together and goes on only when both have ended. Where no IPv6 router answers, it
//! repeats its solicitation for 16 seconds in every DHCP stage of every boot. An advertisement with a router lifetime
//! of zero, no prefix and neither flag (RFC 4861, section 4.2) ends that at once and configures nothing.
//!
//! Invariants: only a solicitation is answered; one advertisement to all nodes answers every solicitation of the last
//! tenth of a second; where another router is heard on the link, this one stays silent.
//!
//! Absent on purpose: prefixes, and the flags that announce DHCPv6.

mod codec;
mod session;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use self::codec::{Message, empty_advertisement};
use self::session::Advertiser;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Neighbour discovery is of this link alone: anything that was routed has less (RFC 4861, section 6.1).
const HOP_LIMIT: u32 = 255;

/// What can go wrong when advertisements start.
#[derive(Debug, Error)]
pub enum RadvError {
    /// The interface is not there.
    #[error("there is no interface {interface} for router advertisements; correct [dhcp] interfaces")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The socket cannot be had.
    #[error(
        "router advertisements on {interface} are not possible: {source}; IPv6 may be switched off, then set [dhcp] router_advertisements = \"off\""
    )]
    Socket {
        /// The interface's name.
        interface: String,
        /// The cause.
        source: io::Error,
    },
}

/// Bound to one interface and not yet running.
#[derive(Debug)]
pub struct Bound {
    socket: UdpSocket,
    index: NonZeroU32,
    interface: String,
}

/// Binds to `interface`.
///
/// # Errors
/// When there is no such interface or no such socket, for instance without the right to open raw ones.
pub fn bind(interface: &str) -> Result<Bound, RadvError> {
    let missing = || RadvError::NoInterface { interface: interface.to_owned() };
    let index = nix::net::if_::if_nametoindex(interface).ok().and_then(NonZeroU32::new).ok_or_else(missing)?;
    let socket =
        open(interface, index).map_err(|source| RadvError::Socket { interface: interface.to_owned(), source })?;
    Ok(Bound { socket, index, interface: interface.to_owned() })
}

fn open(interface: &str, index: NonZeroU32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.join_multicast_v6(&ALL_ROUTERS, index.get())?;
    socket.set_multicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_nonblocking(true)?;
    // A raw socket is read and written with the same calls as a UDP one.
    UdpSocket::from_std(socket.into())
}

impl Bound {
    /// Answers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let started = Instant::now();
        let mut advertiser = Advertiser::default();
        let mut packet = [0u8; 1500];
        loop {
            let now = || started.elapsed();
            let pause = advertiser.due().map(|due| due.saturating_sub(now()));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause.unwrap_or(Duration::from_secs(3600))), if pause.is_some() => {
                    advertiser.sent();
                    self.advertise().await;
                }
                received = self.socket.recv_from(&mut packet) => match received {
                    Ok((length, _)) => {
                        match codec::decode(packet.get(..length).unwrap_or_default()) {
                            Some(Message::Solicitation) => advertiser.solicited(now()),
                            Some(Message::Advertisement) => {
                                tracing::debug!(interface = self.interface, "another router advertises on this link");
                                advertiser.other_heard(now());
                            }
                            None => {}
                        }
                    }
                    Err(error) => {
                        tracing::warn!(interface = self.interface, %error, "router solicitations cannot be read");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
    }

    async fn advertise(&self) {
        let to = SocketAddr::V6(SocketAddrV6::new(ALL_NODES, 0, 0, self.index.get()));
        if let Err(error) = self.socket.send_to(&empty_advertisement(), to).await {
            tracing::debug!(interface = self.interface, %error, "a router advertisement could not be sent");
        }
    }
}

#[cfg(test)]
mod tests;
