//! The socket of one interface.
//!
//! Specification: RFC 8415 §7.1 and §7.2 (addresses and ports); socket(7) `SO_BINDTODEVICE`, ipv6(7) `IPV6_RECVPKTINFO`.
//!
//! Invariants: nothing of another interface is read, and no answer leaves by another. The port is not shared: another
//! DHCPv6 server on the same interface is an error at the start and not a race for each client.
//!
//! Deliberately absent: addresses that change while the server runs; they are read when the interface is bound.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Dhcp6Error;
use super::reply::{Cast, Link6};

/// The port that servers and relays listen at.
const SERVER_PORT: u16 = 547;
/// The port that clients listen at.
const CLIENT_PORT: u16 = 546;
/// Where clients and relays on the link ask.
const ALL_SERVERS_AND_RELAYS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Where relays of the site ask.
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 3);
/// What waits to be read while a whole rack asks at once, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

/// What an answer is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Client,
    Relay,
}

/// The socket of one interface.
#[derive(Debug)]
pub(super) struct LinkSocket {
    link: Link6,
    index: u32,
    udp: UdpSocket,
}

impl LinkSocket {
    pub(super) fn bind(interface: &str) -> Result<Self, Dhcp6Error> {
        let name = || interface.to_owned();
        let index = if_nametoindex(interface).map_err(|_| Dhcp6Error::NoInterface { interface: name() })?;
        let failed = |source| Dhcp6Error::Socket { interface: name(), source };
        let addresses = addresses_of(interface).map_err(failed)?;
        let udp = open(interface, index).map_err(failed)?;
        Ok(LinkSocket { link: Link6 { interface: name(), addresses }, index, udp })
    }

    pub(super) fn link(&self) -> &Link6 {
        &self.link
    }

    /// The next datagram: its length, where it came from, and to whom it was sent.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV6, Cast)> {
        self.udp.async_io(Interest::READABLE, || receive_now(&self.udp, buffer)).await
    }

    /// Sends to a client, or to a relay, at the address that it asked from.
    pub(super) async fn send(&self, to: SocketAddrV6, peer: Peer, message: &[u8]) -> io::Result<()> {
        let port = match peer {
            Peer::Client => CLIENT_PORT,
            Peer::Relay => SERVER_PORT,
        };
        let scope = if to.ip().is_unicast_link_local() { self.index } else { 0 };
        let to = SocketAddr::V6(SocketAddrV6::new(*to.ip(), port, 0, scope));
        self.udp.send_to(message, to).await.map(drop)
    }
}

fn addresses_of(interface: &str) -> io::Result<Vec<Ipv6Addr>> {
    let of_interface = getifaddrs()?.filter(|entry| entry.interface_name == interface);
    let addresses = of_interface.filter_map(|entry| Some(entry.address?.as_sockaddr_in6()?.ip()));
    Ok(addresses.filter(|ip| !ip.is_unicast_link_local()).collect())
}

fn open(interface: &str, index: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Before the port is taken, so that each interface can have the port for itself.
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_only_v6(true)?;
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        // Without the privilege the system's bound holds; a storm then loses more packets, and clients ask again.
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, SERVER_PORT)).into())?;
    for group in [ALL_SERVERS_AND_RELAYS, ALL_SERVERS] {
        socket.join_multicast_v6(&group, index)?;
    }
    UdpSocket::from_std(socket.into())
}

fn receive_now(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV6, Cast)> {
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let from = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let to = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    let cast = if to.is_some_and(|to| to.is_multicast()) { Cast::Multicast } else { Cast::Unicast };
    Ok((message.bytes, from.into(), cast))
}
