//! The two kinds of UDP socket.
//!
//! Purpose: one socket takes requests and learns at which address each was asked; each transfer then has a socket of
//! its own, bound to that address and connected to the client. Specification: RFC 1350 §4 (transfer identifiers),
//! RFC 1123 §4.2.3.5 (a request to a broadcast address is ignored), ip(7) `IP_PKTINFO`, ipv6(7) `IPV6_RECVPKTINFO`.
//!
//! Invariants: the answer comes from the address that was asked, also when the server is bound to all addresses. A
//! connected socket gets packets of its client alone; a packet from another port is answered by the kernel.
//! An IPv6 socket takes IPv6 alone, so that addresses have one form.
//!
//! Deliberately absent: what the datagrams mean.

use super::codec::{BLKSIZE_MAX_BYTES, DATA_HEADER_BYTES};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as StdUdpSocket};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Longest datagram that is read from the port for requests, in bytes; the rest of a longer one is cut off.
pub(super) const REQUEST_MAX_BYTES: usize = 2048;
const UDP_HEADER_BYTES: u16 = 8;
const IPV4_HEADER_BYTES: u16 = 20;
const IPV6_HEADER_BYTES: u16 = 40;
/// What every IPv6 path carries (RFC 8200 §5).
const IPV6_MTU_MIN_BYTES: u16 = 1280;

/// A datagram on the port for requests.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) client: SocketAddr,
    pub(super) asked: Asked,
    pub(super) length_bytes: usize,
}

/// At which address a request was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// At one of this machine's own.
    Own(IpAddr),
    /// At a broadcast or multicast address.
    Group,
}

/// The socket that takes requests.
#[derive(Debug)]
pub(super) struct RequestSocket {
    socket: UdpSocket,
}

impl RequestSocket {
    /// Binds. Must be called inside a tokio runtime.
    pub(super) fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        match listen {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        socket.bind(&listen.into())?;
        Ok(Self { socket: UdpSocket::from_std(StdUdpSocket::from(socket))? })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next datagram; what fits of it is in `buffer`.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        self.socket.async_io(Interest::READABLE, || receive_now(&self.socket, buffer)).await
    }
}

fn receive_now(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Arrival> {
    let mut control = nix::cmsg_space!(nix::libc::in_pktinfo, nix::libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let client = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::InvalidData)?;
    let asked = message.cmsgs()?.find_map(|control| asked_at(&control)).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Arrival { client, asked, length_bytes: message.bytes })
}

fn asked_at(control: &ControlMessageOwned) -> Option<Asked> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let [header, own] = [info.ipi_addr, info.ipi_spec_dst].map(|raw| Ipv4Addr::from(raw.s_addr.to_ne_bytes()));
            // For a broadcast, the kernel names the address that it would answer from beside the one in the header.
            Some(if header == own { Asked::Own(own.into()) } else { Asked::Group })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let own = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            Some(if own.is_multicast() { Asked::Group } else { Asked::Own(own.into()) })
        }
        _ => None,
    }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(address), _) => Some(SocketAddr::V4((*address).into())),
        (_, Some(address)) => Some(SocketAddr::V6((*address).into())),
        (None, None) => None,
    }
}

/// Opens the socket of one transfer.
pub(super) async fn open_transfer(local: IpAddr, client: SocketAddr) -> io::Result<UdpSocket> {
    let local = match (local, client) {
        // A link-local address means nothing without its interface, which is the client's.
        (IpAddr::V6(address), SocketAddr::V6(client)) => {
            SocketAddr::V6(SocketAddrV6::new(address, 0, 0, client.scope_id()))
        }
        (address, _) => SocketAddr::new(address, 0),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(client).await?;
    Ok(socket)
}

/// The largest block whose packet is not fragmented on its way, in bytes. Many boot ROMs cannot put fragments together.
pub(super) fn unfragmented_block(socket: &UdpSocket) -> u16 {
    let (mtu, header) = match socket.local_addr() {
        Ok(SocketAddr::V4(_)) => {
            let mtu = nix::sys::socket::getsockopt(socket, sockopt::IpMtu).unwrap_or(i32::from(IPV6_MTU_MIN_BYTES));
            (u16::try_from(mtu).unwrap_or(if mtu < 0 { 0 } else { u16::MAX }), IPV4_HEADER_BYTES)
        }
        _ => (IPV6_MTU_MIN_BYTES, IPV6_HEADER_BYTES),
    };
    let own_header = u16::try_from(DATA_HEADER_BYTES).unwrap_or_default();
    mtu.saturating_sub(header).saturating_sub(UDP_HEADER_BYTES).saturating_sub(own_header).min(BLKSIZE_MAX_BYTES)
}
