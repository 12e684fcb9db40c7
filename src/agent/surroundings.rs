//! What the agent sees of its node besides the images: the network as it is, and whether the node is busy.
//!
//! Both are watched, not polled: the kernel tells of every change of interfaces, addresses and routes, and of the file
//! [`BUSY`] coming and going, of layer 0 or of an image. Invariants: what is published is a whole look, never half of one; changes in quick succession
//! are one look; a watch that fails is said once and leaves the last look.
//! Deliberately absent: changes of the host name and of `resolv.conf` by themselves: they are read with every look at the
//! network.
//! Specification: rtnetlink(7), inotify(7).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::console::chain;
use super::lldp::Heard;
use super::network::report::{Network, address_of, routes_of};
use super::network::{NetworkError, links};
use crate::model::{Neighbour, SwitchPort, VarPath};
use crate::sync::codec::WireValue;
use crate::sync::session::Ledger;

/// The folder in which a program of layer 0 says something to the agent, below the root.
pub const FOLDER: &str = "run/bootes";
/// The folder that has a folder for each image that runs, in which that image does so: its `/run/bootes`.
pub const SAID: &str = "run/bootes/said";
/// The file in any of those folders whose presence says that the node is busy.
pub const BUSY: &str = "busy";
/// Changes come in bursts: how long a burst may take before it is looked at.
const SETTLE: Duration = Duration::from_millis(200);
/// The pause before the network is watched anew after that failed.
const WATCH_AGAIN: Duration = Duration::from_secs(30);

/// Values by path: everything of [`is_ours`] that is known.
pub type Seen = BTreeMap<String, WireValue>;

/// Looks once, and goes on looking for as long as somebody holds the answer. `own` is the node's address; `root` is `/` in
/// production.
pub async fn start(own: IpAddr, root: &Path) -> watch::Receiver<Seen> {
    let sender = watch::Sender::new(Seen::new());
    let receiver = sender.subscribe();
    let (first, looked) = tokio::sync::oneshot::channel();
    tokio::spawn(watch_network(own, root.to_owned(), sender.clone(), first));
    let busy = Busy::open(root.join(FOLDER), root.join(SAID)).and_then(|busy| {
        publish(&sender, VarPath::busy().as_str(), busy.look()?);
        Ok(busy)
    });
    match busy {
        Ok(busy) => drop(tokio::spawn(busy.run(sender))),
        Err(error) => tracing::error!(%error, folder = FOLDER, "nobody can tell that this node is busy"),
    }
    // The watch has ended where it does not answer, which was said.
    let _ = looked.await;
    receiver
}

/// What is seen, with the switch ports that are heard of.
#[must_use]
pub fn with_neighbours(mut seen: watch::Receiver<Seen>, mut heard: watch::Receiver<Heard>) -> watch::Receiver<Seen> {
    let both = |seen: &Seen, heard: &Heard| {
        let mut both = seen.clone();
        both.extend(heard.iter().flatten().flat_map(variables_of));
        both
    };
    let sender = watch::Sender::new(both(&seen.borrow_and_update(), &heard.borrow_and_update()));
    let receiver = sender.subscribe();
    tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                () = sender.closed() => return,
                changed = seen.changed() => changed,
                changed = heard.changed() => changed,
            };
            if changed.is_err() {
                return sender.closed().await;
            }
            let now = both(&seen.borrow_and_update(), &heard.borrow_and_update());
            sender.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    });
    receiver
}

/// The switch and the port of one interface. A name that is no part of a path has no variables.
fn variables_of(neighbour: &Neighbour) -> Vec<(String, WireValue)> {
    let port = SwitchPort::from(neighbour);
    let path =
        |field: &str| Some(format!("net.{}.{field}", neighbour.interface)).filter(|p| p.parse::<VarPath>().is_ok());
    let switch = path("switch").zip(port.switch);
    switch.into_iter().chain(path("port").map(|path| (path, port.port))).map(|(p, t)| (p, WireValue::Text(t))).collect()
}

/// Takes what is seen over into what the parent is told.
pub fn tell(seen: &Seen, observed: &mut Ledger) {
    let known = observed.variables().values.keys();
    let gone: Vec<String> = known.filter(|path| is_ours(path) && !seen.contains_key(*path)).cloned().collect();
    for path in gone {
        observed.set(&path, None);
    }
    for (path, value) in seen {
        observed.set(path, Some(value.clone()));
    }
}

/// Whether it is this part's to say.
fn is_ours(path: &str) -> bool {
    path == VarPath::busy().as_str() || path.starts_with("net.")
}

fn publish(sender: &watch::Sender<Seen>, path: &str, value: WireValue) {
    sender.send_if_modified(|seen| seen.insert(path.to_owned(), value.clone()).as_ref() != Some(&value));
}

async fn watch_network(
    own: IpAddr,
    root: PathBuf,
    sender: watch::Sender<Seen>,
    first: tokio::sync::oneshot::Sender<()>,
) {
    let mut first = Some(first);
    loop {
        if let Err(error) = follow_network(own, &root, &sender, &mut first).await {
            tracing::error!(error = chain(&error), "changes of the network are not seen for a while");
        }
        drop(first.take());
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(WATCH_AGAIN) => {}
        }
    }
}

/// Publishes a look at first and after every change, until nobody listens or the kernel's socket fails.
async fn follow_network(
    own: IpAddr,
    root: &Path,
    sender: &watch::Sender<Seen>,
    first: &mut Option<tokio::sync::oneshot::Sender<()>>,
) -> Result<(), NetworkError> {
    use MulticastGroup as Group;
    let groups = [Group::Link, Group::Ipv4Ifaddr, Group::Ipv6Ifaddr, Group::Ipv4Route, Group::Ipv6Route];
    // Asked to tell of changes before the first look, so that none falls between.
    let (connection, handle, mut events) =
        rtnetlink::new_multicast_connection(&groups).map_err(|source| NetworkError::Socket { source })?;
    let connection = tokio::spawn(connection);
    let _end = AbortOnDrop(connection.abort_handle());
    loop {
        let found = look(&handle, root).await?.variables(own);
        sender.send_if_modified(|seen| {
            let busy = seen.get(VarPath::busy().as_str()).cloned();
            let mut now = found.clone();
            now.extend(busy.map(|busy| (VarPath::busy().to_string(), busy)));
            let changed = *seen != now;
            *seen = now;
            changed
        });
        if let Some(first) = first.take() {
            // Nobody may wait for it any more.
            let _ = first.send(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            event = events.next() => if event.is_none() {
                return Err(NetworkError::Closed);
            }
        }
        tokio::time::sleep(SETTLE).await;
        while events.next().now_or_never().flatten().is_some() {}
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(handle: &Handle, root: &Path) -> Result<Network, NetworkError> {
    let refused =
        |source| NetworkError::Refused { what: "list addresses and routes", interface: "the network".into(), source };
    let links = links(handle).await?;
    let addresses: Vec<_> = handle.address().get().execute().try_collect().await.map_err(refused)?;
    let mut network = Network {
        links,
        addresses: addresses.iter().filter_map(address_of).collect(),
        hostname: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default(),
        resolv_conf: fs::read_to_string(root.join("etc/resolv.conf")).unwrap_or_default(),
        ..Network::default()
    };
    for question in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
        let routes: Vec<_> = handle.route().get(question).execute().try_collect().await.map_err(refused)?;
        network.routes.extend(routes.iter().flat_map(routes_of));
    }
    Ok(network)
}

/// An open ear for the files that say that the node is busy.
struct Busy {
    folder: PathBuf,
    said: PathBuf,
    events: AsyncFd<Ear>,
}

struct Ear(Inotify);

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Busy {
    fn open(folder: PathBuf, said: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&said)?;
        let events = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        // SAFETY: the ear owns its descriptor, always answers with that one, and neither closes nor replaces it.
        let events = unsafe { AsyncFd::register(Ear(events)) }?;
        Ok(Busy { folder, said, events })
    }

    /// Listens to every folder that there is, and only then looks, so that nothing falls between.
    fn look(&self) -> io::Result<WireValue> {
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        let ear = &self.events.get_ref().0;
        for folder in [&self.folder, &self.said] {
            ear.add_watch(folder, changes)?;
        }
        let mut folders = vec![self.folder.clone()];
        for entry in fs::read_dir(&self.said)? {
            let folder = entry?.path();
            // An image that ends takes its folder with it at any time.
            if ear.add_watch(&folder, changes).is_ok() {
                folders.push(folder);
            }
        }
        // Also a link that leads nowhere from here says that somebody put it there.
        let busy = folders.iter().any(|folder| folder.join(BUSY).symlink_metadata().is_ok());
        Ok(WireValue::Symbol(if busy { "busy" } else { "free" }.to_owned()))
    }

    async fn run(self, sender: watch::Sender<Seen>) {
        let failed = loop {
            match self.look() {
                Ok(value) => publish(&sender, VarPath::busy().as_str(), value),
                Err(error) => break error,
            }
            let ready = tokio::select! {
                () = sender.closed() => return,
                ready = self.events.readable() => ready,
            };
            let heard = ready.and_then(|mut ready| match self.events.get_ref().0.read_events() {
                Ok(_) => Ok(()),
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    Ok(())
                }
                Err(errno) => Err(errno.into()),
            });
            if let Err(error) = heard {
                break error;
            }
        };
        tracing::error!(error = %failed, "it is no longer heard whether this node is busy");
    }
}
