//! What switches say by LLDP on this machine's interfaces: listened to for as long as the agent lives.
//!
//! Invariants: it only listens; what was announced counts until its time is over; one neighbour an interface, the last that was
//! heard there; an interface that appears later is listened to as well. Nothing is published before the interface that the
//! machine booted from was heard, or [`FIRST_LOOK`] is over: switches speak every half minute.
//! Deliberately absent: bringing interfaces up: one that is down hears nothing. Announcing this machine.
//! Specification: IEEE 802.1AB-2016; packet(7).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::net::if_::if_nameindex;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::Neighbour;
use crate::model::machine::NEIGHBOURS_MAX;

pub mod codec;

/// How long is listened before it counts that nothing was heard: longer than switches pause between two words
/// (`msgTxInterval`, 30 s; clause 9.2.5.7).
pub const FIRST_LOOK: Duration = Duration::from_secs(35);
/// Between two looks at which interfaces there are, and which announcements are over.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Longer than any frame of LLDP: it is one Ethernet frame.
const FRAME_BYTES_MAX: usize = 2_048;

/// What was heard: nothing while it is too early to say.
pub type Heard = Option<Vec<Neighbour>>;

/// Listens on every interface; `booted_from` is the one that is waited for at first. Needs a running runtime.
#[must_use]
pub fn start(booted_from: String) -> watch::Receiver<Heard> {
    let sender = watch::Sender::new(None);
    let receiver = sender.subscribe();
    tokio::spawn(async move {
        if let Err(error) = listen(&booted_from, &sender).await {
            tracing::warn!(%error, "switches are not heard by LLDP");
            sender.send_replace(Some(Vec::new()));
            // Whoever waits for a change is not to think that everything has ended.
            sender.closed().await;
        }
    });
    receiver
}

struct Announced {
    neighbour: Neighbour,
    until: Instant,
}

async fn listen(booted_from: &str, sender: &watch::Sender<Heard>) -> io::Result<()> {
    let socket = open()?;
    let (mut joined, mut names) = (Vec::new(), BTreeMap::new());
    let mut heard: BTreeMap<i32, Announced> = BTreeMap::new();
    let first_look = Instant::now() + FIRST_LOOK;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut frame = [0; FRAME_BYTES_MAX];
    loop {
        tokio::select! {
            () = sender.closed() => return Ok(()),
            _ = look.tick() => {
                names = interfaces()?;
                join(socket.get_ref(), &names, &mut joined);
                let now = Instant::now();
                heard.retain(|index, announced| announced.until > now && names.contains_key(index));
            }
            received = receive(&socket, &mut frame) => {
                let (length, index) = received?;
                let Some(name) = names.get(&index) else { continue };
                match codec::decode(frame.get(..length).unwrap_or_default()) {
                    Ok(announcement) => take(&mut heard, index, name, announcement),
                    Err(error) => tracing::debug!(interface = name, %error, "an LLDP frame was not understood"),
                }
            }
        }
        let told: Vec<Neighbour> = heard.values().map(|announced| announced.neighbour.clone()).collect();
        let enough = told.iter().any(|neighbour| neighbour.interface == booted_from);
        if sender.borrow().is_some() || enough || Instant::now() >= first_look {
            sender.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&told);
                *known = Some(told);
                changed
            });
        }
    }
}

fn take(heard: &mut BTreeMap<i32, Announced>, index: i32, name: &str, announcement: codec::Announcement) {
    let codec::Announcement { chassis, port, ttl_s, port_description, system } = announcement;
    if ttl_s == 0 {
        heard.remove(&index);
    } else if heard.len() < NEIGHBOURS_MAX || heard.contains_key(&index) {
        let neighbour = Neighbour { interface: name.to_owned(), chassis, port, port_description, system };
        let until = Instant::now() + Duration::from_secs(ttl_s.into());
        heard.insert(index, Announced { neighbour, until });
    }
}

fn open() -> io::Result<AsyncFd<Socket>> {
    let protocol = Protocol::from(i32::from(codec::ETHERTYPE.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    // SAFETY: a `Socket` owns its descriptor and always names the same one.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Interfaces by number, without those that have no switch at their other end.
fn interfaces() -> io::Result<BTreeMap<i32, String>> {
    let all = if_nameindex()?;
    let named = all.iter().filter_map(|interface| {
        let index = i32::try_from(interface.index()).ok()?;
        Some((index, interface.name().to_str().ok()?.to_owned()))
    });
    Ok(named.filter(|(_, name)| name != "lo").collect())
}

/// Asks interfaces that are new to let LLDP's frames through, which no host is addressed by.
fn join(socket: &Socket, names: &BTreeMap<i32, String>, joined: &mut Vec<i32>) {
    joined.retain(|index| names.contains_key(index));
    for (index, name) in names {
        if joined.contains(index) {
            continue;
        }
        joined.push(*index);
        let [a, b, c, d, e, f] = codec::MULTICAST;
        let request = libc::packet_mreq {
            mr_ifindex: *index,
            mr_type: libc::PACKET_MR_MULTICAST as u16,
            mr_alen: 6,
            mr_address: [a, b, c, d, e, f, 0, 0],
        };
        let length = size_of::<libc::packet_mreq>() as libc::socklen_t;
        // SAFETY: the request outlives the call, which reads as many bytes of it as it is told.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                length,
            )
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            tracing::debug!(interface = name, %error, "an interface does not let LLDP through");
        }
    }
}

/// The next frame: its length, and the number of its interface.
async fn receive(socket: &AsyncFd<Socket>, frame: &mut [u8]) -> io::Result<(usize, i32)> {
    loop {
        let mut ready = socket.readable().await?;
        let received = ready.try_io(|socket| Ok(recvfrom::<LinkAddr>(socket.as_raw_fd(), frame)?));
        match received {
            Ok(Ok((length, Some(from)))) => return Ok((length, i32::try_from(from.ifindex()).unwrap_or(0))),
            // An interface that goes down says so to every socket.
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok((_, None))) | Err(_) => {}
        }
    }
}
