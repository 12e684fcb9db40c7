//! Router advertisements: what a network's description says of IPv6, or that there is no router.
//!
//! On a network that is described with IPv6 they say whether addresses come by DHCPv6 (firmware asks for none unless
//! the flag M is set), what its prefix is, and whether there is a router; after a solicitation, and every
//! [`session::INTERVAL`]. On any other they say "no router here", so that boot programs do not wait for one:
//!
//! iPXE configures IPv4 and IPv6 together and goes on only when both have ended. Where no IPv6 router answers, it
//! repeats its solicitation for 16 seconds in every DHCP stage of every boot. An advertisement with a router lifetime
//! of zero, no prefix and neither flag (RFC 4861, section 4.2) ends that at once and configures nothing.
//!
//! Invariants: one advertisement to all nodes answers every solicitation of the last tenth of a second. Where nothing is
//! described only a solicitation is answered, and where another router is heard on the link this one then stays silent.
//!
//! Absent on purpose: forwarding. That the appliance is a router is for its operator to arrange before it is advertised.

mod codec;
mod session;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use self::codec::{Message, advertisement, empty_advertisement};
use self::session::{Advertiser, Manner};
use crate::model::NetworkIpv6;
use crate::port::StateReader;
use crate::state::State;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Neighbour discovery is of this link alone: anything that was routed has less (RFC 4861, section 6.1).
const HOP_LIMIT: u32 = 255;
/// How soon a changed description is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
    addresses: Vec<Ipv6Addr>,
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
    let of_interface = getifaddrs().into_iter().flatten().filter(|entry| entry.interface_name == interface);
    let addresses = of_interface.filter_map(|entry| Some(entry.address?.as_sockaddr_in6()?.ip())).collect();
    Ok(Bound { socket, index, interface: interface.to_owned(), addresses })
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
    pub async fn run(self, state: StateReader, shutdown: CancellationToken) {
        let started = Instant::now();
        let mut advertiser = Advertiser::default();
        let mut packet = [0u8; 1500];
        loop {
            let now = || started.elapsed();
            let described = self.described(&state.now()).cloned();
            advertiser.on(if described.is_some() { Manner::Described } else { Manner::Empty }, now());
            let pause = advertiser.due().map(|due| due.saturating_sub(now()));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)) => {
                    if advertiser.due().is_some_and(|due| due <= now()) {
                        advertiser.sent();
                        self.advertise(described.as_ref()).await;
                    }
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

    /// What the network of this link says of IPv6, if there is one that does.
    fn described<'a>(&self, state: &'a State) -> Option<&'a NetworkIpv6> {
        let of_network = state.networks.values().filter_map(|network| network.ipv6.as_deref());
        of_network.into_iter().find(|ipv6| self.addresses.iter().any(|own| ipv6.subnet.contains(*own)))
    }

    async fn advertise(&self, described: Option<&NetworkIpv6>) {
        let packet = described.map_or_else(|| empty_advertisement().to_vec(), advertisement);
        let to = SocketAddr::V6(SocketAddrV6::new(ALL_NODES, 0, 0, self.index.get()));
        if let Err(error) = self.socket.send_to(&packet, to).await {
            tracing::debug!(interface = self.interface, %error, "a router advertisement could not be sent");
        }
    }
}

#[cfg(test)]
mod tests;
