//! A server to test against, and the clients that ask it.

use bootes::boot::tftp::codec::{ErrorCode, Mode, Options, Packet, Request, Rollover, decode, encode};
use bootes::boot::tftp::facts::LastAck;
use bootes::boot::tftp::{Roots, ServerOptions, TransferEvent, bind};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come. It ends a broken run; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a root of its own, in a thread of its own.
pub struct Server {
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    pub events: mpsc::Receiver<TransferEvent>,
    pub shutdown: CancellationToken,
    pub thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(listen: &str, options: ServerOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let roots = Roots::new([folder.path().to_owned()]).expect("the root exists");
        let listen: SocketAddr = listen.parse().expect("an address");
        let (events_in, events) = mpsc::channel();
        let (address_in, address) = mpsc::channel();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let bound = bind(listen, options).expect("a free port");
                address_in.send(bound.local_addr()).expect("the test waits");
                let events_in = Mutex::new(events_in);
                let report = move |event| {
                    let _ = events_in.lock().expect("no panic holds it").send(event);
                };
                bound.run(Arc::new(roots), report, token).await;
            });
        });
        let address = address.recv_timeout(PATIENCE).expect("the server starts");
        Self { address, folder, events, shutdown, thread: Some(thread) }
    }

    pub fn on_loopback() -> Self {
        Self::start("127.0.0.1:0", ServerOptions::default())
    }

    pub fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).expect("a file in the root");
    }

    pub fn event(&self) -> TransferEvent {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// The next event that is not `Started`.
    pub fn outcome(&self) -> TransferEvent {
        loop {
            match self.event() {
                TransferEvent::Started { .. } => {}
                event => return event,
            }
        }
    }

    /// Stops the server and returns the events that were left.
    pub fn stop(mut self) -> Vec<TransferEvent> {
        self.shutdown.cancel();
        self.thread.take().expect("not stopped yet").join().expect("the server ends without a panic");
        self.events.try_iter().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Bytes that repeat at no power of two.
pub fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 509) as u8).collect()
}

/// Runs a client that is not ours and returns what it wrote.
pub fn fetched(program: &str, arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not run ({error}); install it"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    fs::read(folder.join("fetched")).unwrap_or_else(|error| panic!("{program} wrote nothing ({error}): {output:?}"))
}

/// A client of our own.
pub struct Client {
    pub socket: UdpSocket,
}

/// One packet, kept.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Data(u16, Vec<u8>),
    OptionAck(Options),
    Error(ErrorCode, String),
}

impl Client {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    pub fn at(local: &str) -> Self {
        let socket = UdpSocket::bind(local).expect("a client port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a patience");
        Self { socket }
    }

    pub fn ask(&self, server: SocketAddr, name: &str, options: Options) {
        self.send(server, &Packet::Read(Request { name, mode: Mode::Octet, options }));
    }

    pub fn send(&self, to: SocketAddr, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        encode(packet, &mut bytes);
        self.socket.send_to(&bytes, to).expect("sent");
    }

    pub fn hear(&self) -> (Heard, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("an answer");
        let heard = match decode(&buffer[..length]).expect("a TFTP packet") {
            Packet::Data { block, payload } => Heard::Data(block, payload.to_vec()),
            Packet::OptionAck(options) => Heard::OptionAck(options),
            Packet::Error { code, message } => Heard::Error(code, String::from_utf8_lossy(message).into_owned()),
            other => panic!("not from a server: {other:?}"),
        };
        (heard, from)
    }

    /// Reads a file as RFC 7440 has it; `lost` says which arrivals of DATA, counted from 0, are thrown away.
    pub fn read(&self, server: SocketAddr, name: &str, options: Options, lost: impl Fn(u64) -> bool) -> Vec<u8> {
        self.ask(server, name, options);
        let (first, transfer) = self.hear();
        let Heard::OptionAck(granted) = first else { panic!("no options were granted: {first:?}") };
        let blksize = usize::from(granted.blksize_bytes.unwrap_or(512));
        let windowsize = granted.windowsize_blocks.unwrap_or(1);
        self.send(transfer, &Packet::Ack { block: 0 });
        let (mut received, mut last, mut in_window, mut arrivals) = (Vec::new(), 0u16, 0, 0);
        let mut gap_told = false;
        loop {
            let (block, payload) = match self.hear().0 {
                Heard::Data(block, payload) => (block, payload),
                other => panic!("the transfer was broken off after block {last}: {other:?}"),
            };
            arrivals += 1;
            if lost(arrivals - 1) {
                continue;
            }
            let next = match granted.rollover {
                Some(Rollover::ToOne) if last == u16::MAX => 1,
                _ => last.wrapping_add(1),
            };
            if block != next {
                if !std::mem::replace(&mut gap_told, true) {
                    in_window = 0;
                    self.send(transfer, &Packet::Ack { block: last });
                }
                continue;
            }
            gap_told = false;
            last = block;
            in_window += 1;
            received.extend_from_slice(&payload);
            let ended = payload.len() < blksize;
            if ended || in_window == windowsize {
                in_window = 0;
                self.send(transfer, &Packet::Ack { block });
            }
            if ended {
                assert!(granted.tsize_bytes.is_none_or(|size| size == received.len() as u64));
                return received;
            }
        }
    }
}

pub fn window(blksize: u16, windowsize: u16) -> Options {
    Options {
        blksize_bytes: Some(blksize),
        windowsize_blocks: Some(windowsize),
        tsize_bytes: Some(0),
        ..Options::default()
    }
}

pub fn finished_bytes(event: &TransferEvent) -> u64 {
    match event {
        TransferEvent::Finished { bytes, last_ack: LastAck::Seen, .. } => *bytes,
        other => panic!("not finished: {other:?}"),
    }
}
