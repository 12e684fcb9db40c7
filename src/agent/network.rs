//! Brings the network up: waits for the interface that the machine booted from, gives it its address, and waits for
//! a signal.
//!
//! Invariants: every wait has a bound and is woken by the kernel, not by a timer; doing it twice changes nothing.
//! Deliberately absent: DHCP (the boot script has the lease already), other interfaces, the firewall.
//! Specification: rtnetlink(7), netlink(7); resolv.conf(5), hosts(5).

use std::fs;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, MulticastGroup, RouteMessageBuilder};

use super::cmdline::{BootArguments, InterfaceAddress};
use crate::model::Mac;

pub mod plan;
pub mod report;
use plan::{Link, Reach};

#[cfg(test)]
mod tests;

/// How long the interface may take to appear: drivers that load firmware take tens of seconds.
pub const INTERFACE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the signal may take: a switch port that runs the spanning tree protocol holds it back for up to 50 s.
pub const CARRIER_TIMEOUT: Duration = Duration::from_secs(120);

/// The interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// The kernel's name for it.
    pub name: String,
    /// Its hardware address.
    pub mac: Mac,
    /// Its address.
    pub address: InterfaceAddress,
}

/// The network did not come up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel does not talk about its network.
    #[error("the kernel refused a routing socket; it must be built with networking")]
    Socket {
        /// Why not.
        source: io::Error,
    },
    /// The conversation with the kernel ended.
    #[error("the kernel's routing socket was closed while the network was being brought up")]
    Closed,
    /// The kernel refused a change.
    #[error("the kernel refused to {what} on {interface}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The interface.
        interface: String,
        /// What it said.
        source: rtnetlink::Error,
    },
    /// No interface has the address that the machine booted from.
    #[error(
        "no interface with the hardware address {mac} appeared within {seconds} s, only {seen}; correct bootes.mac, or \
         add the driver of this machine's network card to layer 0"
    )]
    NoInterface {
        /// The address that was waited for.
        mac: Mac,
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// What was there.
        seen: String,
    },
    /// The interface has no signal.
    #[error("{interface} has no carrier after {seconds} s; check its cable and its switch port")]
    NoCarrier {
        /// The interface.
        interface: String,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// A file could not be written.
    #[error("{path} could not be written; the root must be writable")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The host name could not be set.
    #[error("the host name could not be set to {name}")]
    HostName {
        /// The name.
        name: String,
        /// Why not.
        source: Errno,
    },
}

/// Sets the host name, and writes `hosts` and `resolv.conf` below `root` (`/` in production).
///
/// # Errors
/// A file or the name could not be written.
pub fn name_host(root: &Path, arguments: &BootArguments) -> Result<(), NetworkError> {
    let name = &arguments.name;
    nix::unistd::sethostname(name).map_err(|source| NetworkError::HostName { name: name.clone(), source })?;
    write_names(root, arguments)
}

fn write_names(root: &Path, arguments: &BootArguments) -> Result<(), NetworkError> {
    let etc = root.join("etc");
    fs::create_dir_all(&etc).map_err(|source| NetworkError::File { path: etc.clone(), source })?;
    let files = [
        ("hostname", format!("{}\n", arguments.name)),
        ("hosts", plan::hosts(&arguments.name, arguments.address.address)),
        ("resolv.conf", plan::resolv_conf(&arguments.name_servers)),
    ];
    for (name, text) in files {
        let path = etc.join(name);
        fs::write(&path, text).map_err(|source| NetworkError::File { path: path.clone(), source })?;
    }
    Ok(())
}

/// Brings up loopback and the interface that `arguments` name.
///
/// # Errors
/// What could not be done, or did not happen within its bound.
pub async fn bring_up(arguments: &BootArguments) -> Result<Interface, NetworkError> {
    bring_up_within(arguments, INTERFACE_TIMEOUT, CARRIER_TIMEOUT).await
}

/// As [`bring_up`], with other bounds on the waits for the interface and for its signal.
///
/// # Errors
/// As [`bring_up`].
pub async fn bring_up_within(
    arguments: &BootArguments,
    appear: Duration,
    signal: Duration,
) -> Result<Interface, NetworkError> {
    // Asked to tell of changes before the first look, so that none falls between.
    let (connection, handle, events) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
        .map_err(|source| NetworkError::Socket { source })?;
    let connection = tokio::spawn(connection);
    let configured = configure(&handle, events, arguments, appear, signal).await;
    connection.abort();
    configured
}

/// Takes away the address that the interface has, so that another one can be the first: with the first address of a
/// network the kernel takes away the others of it.
///
/// # Errors
/// What the kernel refused.
pub async fn take_address(interface: &Interface) -> Result<(), NetworkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|source| NetworkError::Socket { source })?;
    let connection = tokio::spawn(connection);
    let taken = async {
        let list = handle.address().get().set_link_index_filter(interface.index);
        let list = list.set_address_filter(interface.address.address).execute().try_collect::<Vec<_>>();
        for message in refused("list its addresses", &interface.name, list).await? {
            refused("take its address away", &interface.name, handle.address().del(message).execute()).await?;
        }
        Ok(())
    };
    let taken = taken.await;
    connection.abort();
    taken
}

/// Brings up every interface that is hardware, so that what is at its other end can be seen and heard; one that cannot be
/// is left.
///
/// # Errors
/// When the kernel does not list its interfaces.
pub async fn bring_all_up() -> Result<(), NetworkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|source| NetworkError::Socket { source })?;
    let connection = tokio::spawn(connection);
    let links = links(&handle).await;
    for link in links.iter().flatten().filter(|link| !link.loopback && !link.software) {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(link.index).up().build();
        if let Err(error) = handle.link().set(up).execute().await {
            tracing::debug!(interface = link.name, %error, "an interface could not be brought up");
        }
    }
    connection.abort();
    links.map(drop)
}

async fn configure<T>(
    handle: &Handle,
    mut events: impl StreamExt<Item = T> + Unpin,
    arguments: &BootArguments,
    appear: Duration,
    signal: Duration,
) -> Result<Interface, NetworkError> {
    if let Some(lo) = links(handle).await?.into_iter().find(|link| link.loopback) {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(lo.index).up().build();
        refused("bring the link up", &lo.name, handle.link().set(up).execute()).await?;
    }
    let mac = arguments.mac;
    let found = wait(handle, &mut events, appear, |links| plan::choose(links, mac).cloned()).await?;
    let link = found.map_err(|links| NetworkError::NoInterface {
        mac,
        seconds: appear.as_secs(),
        seen: links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", "),
    })?;

    let name = link.name.as_str();
    let mut up = LinkMessageBuilder::<LinkUnspec>::new().index(link.index).up();
    if let Some(mtu_bytes) = arguments.mtu_bytes {
        up = up.mtu(mtu_bytes);
    }
    refused("bring the link up", name, handle.link().set(up.build()).execute()).await?;
    let InterfaceAddress { address, prefix_bits } = arguments.address;
    let mut add = handle.address().add(link.index, address, prefix_bits).replace();
    if address.is_ipv6() {
        // The appliance gave this address to this node; a probe for another user would only hold it back.
        add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    refused("set the address", name, add.execute()).await?;
    if let Some(router) = arguments.router {
        route(handle, &link, arguments.address, router).await?;
    }

    let index = link.index;
    let carrier = |links: &[Link]| links.iter().any(|link| link.index == index && link.carrier).then_some(());
    let seconds = signal.as_secs();
    let found = wait(handle, &mut events, signal, carrier).await?;
    found.map_err(|_| NetworkError::NoCarrier { interface: link.name.clone(), seconds })?;
    Ok(Interface { index, name: link.name, mac, address: arguments.address })
}

async fn route(handle: &Handle, link: &Link, address: InterfaceAddress, router: IpAddr) -> Result<(), NetworkError> {
    let mut message = match router {
        IpAddr::V4(router) => {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().gateway(router).output_interface(link.index).build()
        }
        IpAddr::V6(router) => {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().gateway(router).output_interface(link.index).build()
        }
    };
    if plan::reach(address, router) == Reach::OnLink {
        message.header.flags |= netlink_packet_route::route::RouteFlags::Onlink;
    }
    refused("set the default route", &link.name, handle.route().add(message).replace().execute()).await
}

async fn refused<T>(
    what: &'static str,
    interface: &str,
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, NetworkError> {
    request.await.map_err(|source| NetworkError::Refused { what, interface: interface.to_owned(), source })
}

pub(super) async fn links(handle: &Handle) -> Result<Vec<Link>, NetworkError> {
    let messages = handle.link().get().execute().try_collect::<Vec<_>>();
    let messages = refused("list its links", "the network", messages).await?;
    Ok(messages.iter().map(Link::from).collect())
}

/// Looks until `seen` is satisfied, at first and whenever the kernel tells of a change. After `bound`, gives back the links
/// as they were at the last look.
async fn wait<T, E>(
    handle: &Handle,
    events: &mut (impl StreamExt<Item = E> + Unpin),
    bound: Duration,
    seen: impl Fn(&[Link]) -> Option<T>,
) -> Result<Result<T, Vec<Link>>, NetworkError> {
    let deadline = tokio::time::Instant::now() + bound;
    loop {
        let links = links(handle).await?;
        if let Some(found) = seen(&links) {
            return Ok(Ok(found));
        }
        match tokio::time::timeout_at(deadline, events.next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(NetworkError::Closed),
            Err(_) => return Ok(Err(links)),
        }
    }
}
