//! Devices that appear after the start: loads the modules that they ask for, for as long as the machine runs.
//!
//! Invariants: opened before the devices are first looked at, so that none falls between; when the kernel drops events,
//! all devices are looked at again; modules are loaded off the main thread, since a driver may take seconds to start.
//! Deliberately absent: naming devices and their permissions (the kernel's devtmpfs), and devices that go away.
//! Specification: netlink(7) `NETLINK_KOBJECT_UEVENT`; Linux `lib/kobject_uevent.c`.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use rtnetlink::sys::protocols::NETLINK_KOBJECT_UEVENT;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tracing::{error, warn};

use super::modules::{Modules, ModulesError, Report};

#[cfg(test)]
mod tests;

/// The kernel's own group; udev's is 2.
const KERNEL_GROUP: u32 = 1;
/// Larger than any event: the kernel's buffer for one is 2 KiB, and its path comes before it.
const EVENT_BYTES_MAX: usize = 8 * 1024;
/// The most different requests that are gathered before they are answered; further ones wait in the socket.
const BURST_MAX: usize = 1024;
/// Events come in bursts, and each use of the index reads it anew: wait for the burst to end.
const SETTLE: Duration = Duration::from_millis(50);

/// Hot plug is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("the kernel does not tell of new devices; those that appear late will have no driver")]
pub struct HotplugError {
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// An open ear for new devices.
pub struct Hotplug {
    socket: TokioSocket,
}

enum Heard {
    Modaliases(BTreeSet<String>),
    /// The kernel had more to say than it could keep.
    Overrun,
}

impl Hotplug {
    /// Opens it. Needs a running runtime.
    ///
    /// # Errors
    /// The kernel refused the socket.
    pub fn open() -> Result<Self, HotplugError> {
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_KOBJECT_UEVENT)?;
            socket.socket_mut().bind(&SocketAddr::new(0, KERNEL_GROUP))?;
            Ok(Self { socket })
        };
        open().map_err(|source| HotplugError { source })
    }

    /// Loads modules for new devices until the socket fails, which is logged.
    pub async fn run(self, mut modules: Modules) {
        loop {
            let heard = match self.hear().await {
                Ok(heard) => heard,
                Err(error) => {
                    error!(%error, "new devices are no longer heard of");
                    return;
                }
            };
            let task = tokio::task::spawn_blocking(move || {
                let report = match heard {
                    Heard::Modaliases(modaliases) => modules.hot_plug(modaliases),
                    Heard::Overrun => modules.cold_plug(),
                };
                (modules, report)
            });
            let Ok((back, report)) = task.await else {
                return;
            };
            modules = back;
            said(&report);
        }
    }

    async fn hear(&self) -> io::Result<Heard> {
        let mut modaliases = BTreeSet::new();
        let mut buffer = Vec::with_capacity(EVENT_BYTES_MAX);
        loop {
            buffer.clear();
            let receive = self.socket.recv_from(&mut buffer);
            let received = if modaliases.is_empty() {
                receive.await
            } else {
                match tokio::time::timeout(SETTLE, receive).await {
                    Ok(received) => received,
                    Err(_) => return Ok(Heard::Modaliases(modaliases)),
                }
            };
            match received {
                // Any process of root's can send here; only the kernel has the port 0.
                Ok(sender) if sender.port_number() == 0 => modaliases.extend(added_modalias(&buffer)),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Ok(Heard::Overrun);
                }
                Err(error) => return Err(error),
            }
            if modaliases.len() >= BURST_MAX {
                return Ok(Heard::Modaliases(modaliases));
            }
        }
    }
}

fn said(report: &Result<Report, ModulesError>) {
    match report {
        Ok(report) => report.log(),
        Err(error) => warn!(%error, "the modules of a new device could not be looked up"),
    }
}

/// The modalias of the device that `event` says was added, if it is such an event.
fn added_modalias(event: &[u8]) -> Option<String> {
    let mut fields = event.split(|byte| *byte == 0);
    fields.next()?.starts_with(b"add@").then_some(())?;
    let value = fields.find_map(|field| field.strip_prefix(b"MODALIAS="))?;
    String::from_utf8(value.to_vec()).ok().filter(|modalias| !modalias.is_empty())
}
