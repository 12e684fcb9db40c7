//! The two sockets of one interface.
//!
//! Purpose: a UDP socket takes what clients and relays send and answers those who have an address; a datagram packet socket
//! answers those who have none, whom the kernel cannot resolve by ARP. Specification: RFC 2131 §4.1; socket(7) `SO_BINDTODEVICE`,
//! packet(7) `SOCK_DGRAM`, ip(7) `IP_PKTINFO`.
//!
//! Invariants: nothing of another interface is read, and no answer leaves by another. The port is not shared: another DHCP
//! server on the same interface is an error at the start and not a race for each client. Answers come from the
//! address that they name as the server.
//!
//! Deliberately absent: addresses that change while the server runs; they are read when the interface is bound.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, unix::AsyncFdReadyGuard};
use tokio::net::UdpSocket;

use super::DhcpError;
use super::frame::datagram;
use super::reply::{Destination, Link};

/// The port that servers and relays listen at.
const SERVER_PORT: u16 = 67;
/// The port that clients listen at.
const CLIENT_PORT: u16 = 68;
/// What waits to be read while a whole rack asks at once, in bytes; the kernel counts about 2 KiB for each message.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// The EtherType of IPv4.
const ETHERTYPE_IPV4: u16 = 0x0800;

/// The sockets of one interface.
#[derive(Debug)]
pub(super) struct LinkSocket {
    link: Link,
    index: u32,
    udp: UdpSocket,
    packet: AsyncFd<Socket>,
}

impl LinkSocket {
    pub(super) fn bind(interface: &str) -> Result<Self, DhcpError> {
        let name = || interface.to_owned();
        let index = if_nametoindex(interface).map_err(|_| DhcpError::NoInterface { interface: name() })?;
        let failed = |source| DhcpError::Socket { interface: name(), source };
        let addresses = addresses_of(interface).map_err(failed)?;
        if addresses.is_empty() {
            return Err(DhcpError::NoAddress { interface: name() });
        }
        let udp = udp_socket(interface).map_err(|source| DhcpError::of_bind(name(), source))?;
        let packet = packet_socket().map_err(|source| DhcpError::of_bind(name(), source))?;
        Ok(LinkSocket { link: Link { interface: name(), addresses }, index, udp, packet })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.udp.recv_from(buffer).await
    }

    /// Sends `message` from the appliance's address `from`.
    pub(super) async fn send(&self, from: Ipv4Addr, destination: Destination, message: &[u8]) -> io::Result<()> {
        match destination {
            Destination::Broadcast => self.send_frame(from, Ipv4Addr::BROADCAST, [0xff; 6], message).await,
            Destination::UnicastToHardware { mac, ip } => self.send_frame(from, ip, mac.0, message).await,
            Destination::UnicastTo { ip } => self.send_routed(from, SocketAddrV4::new(ip, CLIENT_PORT), message).await,
            Destination::Relay { ip } => self.send_routed(from, SocketAddrV4::new(ip, SERVER_PORT), message).await,
        }
    }

    async fn send_frame(&self, from: Ipv4Addr, to: Ipv4Addr, mac: [u8; 6], message: &[u8]) -> io::Result<()> {
        let (from, to) = (SocketAddrV4::new(from, SERVER_PORT), SocketAddrV4::new(to, CLIENT_PORT));
        let bytes = datagram(from, to, message).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let address = link_address(self.index, mac)?;
        loop {
            let mut ready: AsyncFdReadyGuard<'_, Socket> = self.packet.writable().await?;
            match ready.try_io(|packet| packet.get_ref().send_to(&bytes, &address)) {
                Ok(sent) => return sent.map(drop),
                Err(_would_block) => {}
            }
        }
    }

    async fn send_routed(&self, from: Ipv4Addr, to: SocketAddrV4, message: &[u8]) -> io::Result<()> {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let (to, parts) = (SockaddrIn::from(to), [IoSlice::new(message)]);
        let send = || {
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(self.udp.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&to))?;
            Ok(())
        };
        self.udp.async_io(Interest::WRITABLE, send).await
    }
}

fn addresses_of(interface: &str) -> io::Result<Vec<Ipv4Addr>> {
    let of_interface = getifaddrs()?.filter(|entry| entry.interface_name == interface);
    Ok(of_interface.filter_map(|entry| Some(entry.address?.as_sockaddr_in()?.ip())).collect())
}

fn udp_socket(interface: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Before the port is taken, so that each interface can have the port for itself.
    socket.bind_device(Some(interface.as_bytes()))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        // Without the privilege the system's bound holds; a storm then loses more packets, and clients ask again.
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERVER_PORT)).into())?;
    UdpSocket::from_std(socket.into())
}

fn packet_socket() -> io::Result<AsyncFd<Socket>> {
    // Protocol 0: it sends, and receives nothing.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None)?;
    // SAFETY: a `Socket` owns its descriptor and always names the same one.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::WRITABLE) }?)
}

fn link_address(index: u32, mac: [u8; 6]) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let [a, b, c, d, e, f] = mac;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ETHERTYPE_IPV4.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    };
    // SAFETY: `sockaddr_ll` is smaller than `sockaddr_storage` and no more strictly aligned, and the length that is
    // set is its own.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}
