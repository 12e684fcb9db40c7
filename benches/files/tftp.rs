//! TFTP clients: one thread each, that fetches a file again and again, and asks again for what does not come.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bootes::boot::tftp::codec::{Mode, Options, Packet, Request, decode, encode};

use super::{CLIENTS, Load};

/// How long a client waits before it repeats what it said last.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often in a row; then it begins anew.
const TRIES: u32 = 10;

#[derive(Clone, Copy)]
pub struct Asked {
    pub blksize: u16,
    pub windowsize: Option<u16>,
}

struct Client {
    socket: UdpSocket,
    buffer: Vec<u8>,
    again: u64,
}

impl Client {
    fn at(own: IpAddr) -> Self {
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { socket, buffer: vec![0; 65_536], again: 0 }
    }

    fn say(&self, to: SocketAddr, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        encode(packet, &mut bytes);
        self.socket.send_to(&bytes, to).unwrap();
    }

    /// The file's length; none where the server does not give it.
    fn fetch(&mut self, server: SocketAddr, file: &str, asked: Asked) -> Option<u64> {
        let options =
            Options { blksize_bytes: Some(asked.blksize), windowsize_blocks: asked.windowsize, ..Options::default() };
        let request = Packet::Read(Request { name: file, mode: Mode::Octet, options });
        let (mut tries, mut last, mut in_window, mut bytes) = (0, 0u16, 0u16, 0u64);
        let (mut peer, mut blksize, mut windowsize) = (None, 512, 1);
        self.say(server, &request);
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut self.buffer) else {
                tries += 1;
                self.again += 1;
                if tries > TRIES {
                    return None;
                }
                match peer {
                    None => self.say(server, &request),
                    Some(peer) => {
                        in_window = 0;
                        self.say(peer, &Packet::Ack { block: last });
                    }
                }
                continue;
            };
            // What is left of the file before.
            if peer.is_some_and(|peer| peer != from) {
                continue;
            }
            match decode(self.buffer.get(..length)?) {
                Ok(Packet::OptionAck(granted)) if last == 0 => {
                    peer = Some(from);
                    blksize = granted.blksize_bytes.unwrap_or(512);
                    windowsize = granted.windowsize_blocks.unwrap_or(1);
                    self.socket.send_to(&[0, 4, 0, 0], from).unwrap();
                }
                Ok(Packet::Data { block, payload }) => {
                    peer = Some(from);
                    if block != last.wrapping_add(1) {
                        // A block is missing: the window begins again behind the last one. An echo is not answered.
                        if windowsize > 1 && in_window > 0 {
                            in_window = 0;
                            self.again += 1;
                            self.say(from, &Packet::Ack { block: last });
                        }
                        continue;
                    }
                    (tries, last, in_window) = (0, block, in_window + 1);
                    bytes += payload.len() as u64;
                    let ended = payload.len() < usize::from(blksize);
                    if ended || in_window >= windowsize {
                        in_window = 0;
                        let [high, low] = block.to_be_bytes();
                        self.socket.send_to(&[0, 4, high, low], from).unwrap();
                    }
                    if ended {
                        return Some(bytes);
                    }
                }
                Ok(Packet::Error { .. }) => return None,
                _ => {}
            }
        }
    }
}

/// Whether a file can be had.
pub fn once(server: SocketAddr, file: &str) -> bool {
    let mut client = Client::at(Ipv4Addr::LOCALHOST.into());
    client.fetch(server, file, Asked { blksize: 512, windowsize: None }).is_some()
}

/// Whether the option is granted.
pub fn grants_windows(server: SocketAddr, file: &str) -> bool {
    let client = Client::at(Ipv4Addr::LOCALHOST.into());
    let options = Options { blksize_bytes: Some(1_468), windowsize_blocks: Some(16), ..Options::default() };
    client.say(server, &Packet::Read(Request { name: file, mode: Mode::Octet, options }));
    let mut buffer = [0; 2_048];
    let Ok((length, from)) = client.socket.recv_from(&mut buffer) else { return false };
    let granted =
        matches!(decode(&buffer[..length]), Ok(Packet::OptionAck(Options { windowsize_blocks: Some(_), .. })));
    let stop = Packet::Error { code: bootes::boot::tftp::codec::ErrorCode::NotDefined, message: b"enough" };
    client.say(from, &stop);
    granted
}

/// All clients at once, for so long.
pub fn load(server: SocketAddr, file: &str, asked: Asked, time: Duration) -> Load {
    let (files, bytes, again) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let ready = Barrier::new(CLIENTS as usize);
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (files, bytes, again, ready) = (&files, &bytes, &again, &ready);
            scope.spawn(move || {
                let own = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 2, 0, 1)) + number);
                ready.wait();
                while began.elapsed() < time {
                    // A port of its own for each file, as firmware has.
                    let mut client = Client::at(own.into());
                    if let Some(length) = client.fetch(server, file, asked) {
                        files.fetch_add(1, Ordering::Relaxed);
                        bytes.fetch_add(length, Ordering::Relaxed);
                    }
                    again.fetch_add(client.again, Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    Load { files: files.into_inner(), bytes: bytes.into_inner(), seconds, sent_again: again.into_inner() }
}
