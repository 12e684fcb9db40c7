//! What HTTP requests tell the rest of the program, as facts.
//!
//! Pure. Invariants:
//! - A node is named in a fact only when the request came from the node's own address, and the path, where it names a
//!   hardware address, names that node's: what one machine asks for says nothing about another.
//! - A fact names the path as it was asked for, printable and cut; never a token.
//! - A part of a file counts as the file when it ends with the file's last byte, as when a broken fetch was taken up
//!   again; other parts tell nothing by themselves. An image is fetched in parts, which [`Parts`] adds up.
//!
//! Deliberately absent: pacing, and the clock.

use std::collections::HashMap;
use std::net::IpAddr;

use super::reply::Reply;
use super::route::{ImageFile, Route};
use crate::boot::client::{node_at, printable};
use crate::boot::offer::file_of;
use crate::boot::target::TargetFile;
use crate::fact::{BootFile, Fact, FileEvent, FileFact, MalformedFact, Transport};
use crate::model::{Digest, Mac, NodeId};
use crate::state::State;

/// Images on their way to clients that are remembered; the one that was asked for longest ago goes first, and is then
/// not told of when it is complete.
pub const IMAGES_UNDER_WAY_MAX: usize = 4_096;

/// A file that was asked for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who asked.
    pub client: IpAddr,
    /// The node that it is, as far as this request is believed to be the node's own.
    pub node: Option<NodeId>,
    /// The path.
    pub name: String,
    /// What it is for.
    pub file: BootFile,
}

impl Asked {
    /// What `client` asks for with `path`, which means `route`.
    #[must_use]
    pub fn new(state: &State, client: IpAddr, path: &str, route: Option<&Route>) -> Self {
        let (mac, file) = match route {
            Some(Route::Script(mac)) => (Some(*mac), BootFile::Unknown),
            Some(Route::Kernel(mac)) => (Some(*mac), BootFile::Kernel),
            Some(Route::Initramfs(mac)) => (Some(*mac), BootFile::Initramfs),
            Some(Route::Grub(mac)) => (Some(*mac), BootFile::Unknown),
            Some(Route::Target(mac, file)) => (Some(*mac), target_file(state, *mac, *file)),
            Some(Route::Metadata(..)) => (None, BootFile::Metadata),
            Some(Route::BootFile(_)) => (None, BootFile::Unknown),
            Some(Route::Loader(_)) => (None, BootFile::Loader),
            Some(Route::Image(_)) => (None, BootFile::Image),
            Some(Route::Authority(_)) | None => (None, BootFile::Unknown),
        };
        // A token must not be kept where facts are.
        let name = match route {
            Some(Route::Metadata(_, name)) => printable(&format!("/metadata/(token)/{name}")),
            _ => printable(path),
        };
        Asked { client, node: node_of(state, client, mac), name, file }
    }

    /// The same, of a script that holds the token with this digest.
    #[must_use]
    pub fn with_token(self, token: Digest) -> Self {
        Asked { file: BootFile::Script { token }, ..self }
    }

    /// All of it was sent.
    #[must_use]
    pub fn sent(&self, bytes: u64, duration_ms: u64) -> Fact {
        self.fact(FileEvent::Sent { bytes, duration_ms, retransmissions: 0 })
    }

    /// The client left before the end.
    #[must_use]
    pub fn stopped(&self, bytes: u64, reason: String) -> Fact {
        self.fact(FileEvent::Stopped { bytes, reason })
    }

    /// It was not given.
    #[must_use]
    pub fn refused(&self, reason: String) -> Fact {
        self.fact(FileEvent::Refused { reason })
    }

    fn fact(&self, event: FileEvent) -> Fact {
        let Asked { client, node, name, file } = self.clone();
        Fact::File(FileFact { client, node, transport: Transport::Http, name, file, event })
    }
}

/// What a target's file is, for the node with this hardware address.
fn target_file(state: &State, mac: Mac, file: TargetFile) -> BootFile {
    let found = state.node_with_mac(mac).and_then(|node| file_of(state, node, file).ok());
    found.map_or(BootFile::Unknown, |(_, target, follows)| BootFile::TargetFile { target, follows })
}

/// Something on the port that is not HTTP.
#[must_use]
pub fn malformed(sender: IpAddr, reason: String) -> Fact {
    Fact::Malformed(MalformedFact { service: "http".to_owned(), sender: sender.to_string(), reason })
}

/// The node at `client`, if it has the hardware address `mac` where one is named.
#[must_use]
pub fn node_of(state: &State, client: IpAddr, mac: Option<Mac>) -> Option<NodeId> {
    let at = node_at(state, client)?;
    mac.is_none_or(|mac| at.has_mac(mac)).then_some(at.id)
}

/// What an answer with a body tells when it has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// That the file was sent.
    File,
    /// That a part of this image was, of so many bytes in all.
    PartOf {
        /// The image.
        image: Digest,
        /// Its length in bytes.
        length_bytes: u64,
    },
    /// Nothing.
    Nothing,
}

/// What it tells that `reply` to a request for `route` was sent, of a file of `length_bytes`.
#[must_use]
pub fn telling(route: &Route, reply: Reply, length_bytes: u64) -> Telling {
    match (route, reply) {
        (Route::Image(ImageFile::Blob(image)), Reply::Partial(_)) => Telling::PartOf { image: *image, length_bytes },
        (_, Reply::Whole) => Telling::File,
        (_, Reply::Partial(part)) if part.last.saturating_add(1) == length_bytes => Telling::File,
        _ => Telling::Nothing,
    }
}

/// Images that clients fetch in parts.
#[derive(Debug, Default)]
pub struct Parts {
    under_way: HashMap<(IpAddr, Digest), UnderWay>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    began_ms: u64,
    last_ms: u64,
    bytes: u64,
}

/// An image that was sent in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// Bytes of all parts.
    pub bytes: u64,
    /// From the first part's request to the last one's end, in milliseconds.
    pub duration_ms: u64,
}

impl Parts {
    /// Takes in that `client` was sent a part that it asked for at `began_ms` and had at `now_ms`. Tells when the parts
    /// add up to the image. A client that had parts before this appliance was started never gets there.
    pub fn sent(
        &mut self,
        client: IpAddr,
        image: Digest,
        length_bytes: u64,
        bytes: u64,
        (began_ms, now_ms): (u64, u64),
    ) -> Option<Complete> {
        let key = (client, image);
        if self.under_way.len() >= IMAGES_UNDER_WAY_MAX && !self.under_way.contains_key(&key) {
            let oldest = self.under_way.iter().min_by_key(|(_, parts)| parts.last_ms).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.under_way.remove(&oldest);
            }
        }
        let parts = self.under_way.entry(key).or_insert(UnderWay { began_ms, last_ms: now_ms, bytes: 0 });
        parts.began_ms = parts.began_ms.min(began_ms);
        parts.last_ms = now_ms;
        parts.bytes = parts.bytes.saturating_add(bytes);
        let complete = Complete { bytes: parts.bytes, duration_ms: now_ms.saturating_sub(parts.began_ms) };
        (complete.bytes >= length_bytes).then(|| {
            self.under_way.remove(&key);
            complete
        })
    }

    /// Forgets what `client` had of an image: it left, and may begin anew.
    pub fn forget(&mut self, client: IpAddr, image: Digest) {
        self.under_way.remove(&(client, image));
    }
}

#[cfg(test)]
mod tests;
