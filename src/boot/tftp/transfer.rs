//! One request, from its packet to its last event.
//!
//! Purpose: join the pure parts with the world: open the file, open a port, then hand packets and expired deadlines to
//! the [`Session`] and do what its steps say.
//!
//! Invariants: every path through a transfer reports exactly one final event. A transfer owns its port, one packet and
//! one read-ahead, and nothing else, so its memory does not depend on the window. Packets are sent one window at a
//! time; what the client says meanwhile waits in the socket.
//!
//! Deliberately absent: deciding (`session`, `reply`), and counting transfers (`admission`).

use super::BlksizeMax;
use super::admission::Handle;
use super::codec::{self, BLKSIZE_MAX_BYTES, DATA_HEADER_BYTES, ErrorCode, Mode, Options, Packet};
use super::facts::{Encoding, FailReason, LastAck, RefuseReason, TransferEvent, TransferOptions};
use super::files::{Disk, Files, OpenError, Reader, Source};
use super::netascii::{NETASCII_MAX_BYTES, to_netascii};
use super::reply::{self, ErrorReply, Limits};
use super::session::{Ending, Session, Step, Terms};
use super::socket;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Longest packet that is read from a client during a transfer, in bytes: an ERROR with a long message fits.
const ANSWER_MAX_BYTES: usize = 1024;

/// What all transfers share.
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) disk: Disk,
    pub(super) events: Box<dyn Fn(TransferEvent) + Send + Sync>,
    pub(super) blksize_max: BlksizeMax,
    pub(super) windowsize_max_blocks: u16,
    pub(super) shutdown: CancellationToken,
}

/// A request that was admitted.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) client: SocketAddr,
    pub(super) asked_at: IpAddr,
    pub(super) name: String,
    pub(super) wish: Wish,
    pub(super) options: Options,
    pub(super) control: Control,
}

/// What a request wants.
#[derive(Debug)]
pub(super) enum Wish {
    Read(Encoding),
    UnknownMode(String),
    Write,
}

impl Wish {
    pub(super) fn read(mode: Mode<'_>) -> Self {
        match mode {
            Mode::Octet => Self::Read(Encoding::Octet),
            Mode::Netascii => Self::Read(Encoding::Netascii),
            Mode::Unknown(mode) => Self::UnknownMode(mode.escape_ascii().to_string()),
        }
    }
}

/// What the table of transfers holds of a running one.
#[derive(Debug, Clone, Default)]
pub(super) struct Control {
    stalled: Arc<AtomicBool>,
    superseded: CancellationToken,
}

impl Handle for Control {
    fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn supersede(&self) {
        self.superseded.cancel();
    }
}

/// How the loop over a session ended.
enum Outcome {
    Ended(Ending),
    ReadFailed(io::Error),
    Superseded,
    ShutDown,
}

/// What carrying out a step came to.
enum Carried {
    Out,
    ClientGone,
    ReadFailed(io::Error),
}

struct Transfer {
    socket: UdpSocket,
    session: Session,
    reader: Reader,
    terms: Terms,
    began: Instant,
    packet: Vec<u8>,
}

/// Serves one request to its end.
pub(super) async fn serve(shared: Arc<Shared>, order: Order) {
    let began = Instant::now();
    let client = order.client;
    let socket = match socket::open_transfer(order.asked_at, client).await {
        Ok(socket) => socket,
        Err(error) => {
            return refuse(&shared, None, order, RefuseReason::NoSocket { detail: error.to_string() }).await;
        }
    };
    let encoding = match order.wish {
        Wish::Read(encoding) => encoding,
        Wish::Write => {
            return refuse(&shared, Some(&socket), order, RefuseReason::WriteRefused).await;
        }
        Wish::UnknownMode(ref mode) => {
            let reason = RefuseReason::ModeUnknown { mode: mode.clone() };
            return refuse(&shared, Some(&socket), order, reason).await;
        }
    };
    let source = match open(&shared, &order, encoding).await {
        Ok(source) => source,
        Err(reason) => return refuse(&shared, Some(&socket), order, reason).await,
    };
    let size_bytes = source.length_bytes();
    let blksize_max_bytes = match shared.blksize_max {
        BlksizeMax::Unfragmented => socket::unfragmented_block(&socket),
        BlksizeMax::Bytes(bytes) => bytes.min(BLKSIZE_MAX_BYTES),
    };
    let limits = Limits { blksize_max_bytes, windowsize_max_blocks: shared.windowsize_max_blocks };
    let terms = reply::negotiate(&order.options, size_bytes, limits);
    (shared.events)(TransferEvent::Started {
        client,
        file: order.name.clone(),
        size_bytes,
        options: TransferOptions {
            encoding,
            blksize_bytes: terms.blksize_bytes,
            windowsize_blocks: terms.windowsize_blocks,
            timeout_s: terms.timeout_s,
        },
    });
    let mut transfer = Transfer {
        session: Session::new(size_bytes, terms),
        reader: Reader::new(source, shared.disk.clone()),
        packet: Vec::with_capacity(DATA_HEADER_BYTES.saturating_add(usize::from(terms.blksize_bytes))),
        socket,
        terms,
        began,
    };
    let outcome = transfer.run(&shared, &order.control).await;
    let event = transfer.conclude(outcome, client, order.name, size_bytes).await;
    (shared.events)(event);
}

/// Opens what is to be sent, in the form in which it is sent.
async fn open(shared: &Shared, order: &Order, encoding: Encoding) -> Result<Source, RefuseReason> {
    let (files, client, name) = (Arc::clone(&shared.files), order.client, order.name.clone());
    let open = move || {
        let source = files.open(client, &name).map_err(refuse_reason)?;
        if encoding == Encoding::Octet {
            return Ok(source);
        }
        let size_bytes = source.length_bytes();
        if size_bytes > NETASCII_MAX_BYTES {
            return Err(RefuseReason::NetasciiTooLong { size_bytes });
        }
        let content = source.read_whole().map_err(|error| RefuseReason::Unreadable { detail: error.to_string() })?;
        Ok(Source::bytes(to_netascii(&content)))
    };
    shared.disk.read(open).await.map_err(|error| RefuseReason::Unreadable { detail: error.to_string() })?
}

fn refuse_reason(error: OpenError) -> RefuseReason {
    match error {
        OpenError::NotFound { .. } => RefuseReason::NotFound,
        OpenError::OutsideRoots { .. } => RefuseReason::OutsideRoots,
        OpenError::NotAFile { .. } => RefuseReason::NotAFile,
        OpenError::Withheld { reason, .. } => RefuseReason::Withheld { reason },
        OpenError::Unreadable { .. } => {
            RefuseReason::Unreadable { detail: error.source().map(ToString::to_string).unwrap_or_default() }
        }
    }
}

async fn refuse(shared: &Shared, socket: Option<&UdpSocket>, order: Order, reason: RefuseReason) {
    if let (Some(socket), Some(error)) = (socket, reply::refusal(&reason)) {
        send_error(socket, &error).await;
    }
    (shared.events)(TransferEvent::Refused { client: order.client, request: order.name, reason });
}

/// Sends an ERROR. It is never acknowledged and never repeated (RFC 1350 §7), so a failure to send is not one to report.
pub(super) async fn send_error(socket: &UdpSocket, error: &ErrorReply) {
    let mut packet = Vec::new();
    codec::encode(&Packet::Error { code: error.code, message: error.message.as_bytes() }, &mut packet);
    let _ = socket.send(&packet).await;
}

impl Transfer {
    async fn run(&mut self, shared: &Shared, control: &Control) -> Outcome {
        let mut answer = vec![0; ANSWER_MAX_BYTES];
        let mut step = self.session.start(self.began.elapsed());
        loop {
            let carried = match step {
                Step::Wait => Carried::Out,
                Step::OfferOptions => self.offer_options().await,
                Step::SendBlocks { first, last } => self.send_blocks(first, last).await,
                Step::End(ending) => return Outcome::Ended(ending),
            };
            step = match carried {
                Carried::ReadFailed(error) => return Outcome::ReadFailed(error),
                Carried::ClientGone => self.session.on_unreachable(),
                Carried::Out => tokio::select! {
                    () = shared.shutdown.cancelled() => return Outcome::ShutDown,
                    () = control.superseded.cancelled() => return Outcome::Superseded,
                    received = self.socket.recv(&mut answer) => match received {
                        Ok(length) => {
                            let datagram = answer.get(..length).unwrap_or_default();
                            self.session.on_packet(self.began.elapsed(), datagram)
                        }
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.session.on_unreachable(),
                        // A route or a neighbour that is away for a moment: the deadline repeats.
                        Err(_) => Step::Wait,
                    },
                    () = sleep_until(self.began + self.session.deadline()) => {
                        self.session.on_timeout(self.began.elapsed())
                    }
                },
            };
            control.stalled.store(self.session.has_stalled(), Ordering::Relaxed);
        }
    }

    async fn offer_options(&mut self) -> Carried {
        self.packet.clear();
        codec::encode(&Packet::OptionAck(self.terms.granted), &mut self.packet);
        self.send().await
    }

    async fn send_blocks(&mut self, first: u64, last: u64) -> Carried {
        for block in first..=last {
            let Some(span) = self.session.span(block) else {
                break;
            };
            let payload = match self.reader.block(span.offset_bytes, span.length_bytes).await {
                Ok(payload) => payload,
                Err(error) => return Carried::ReadFailed(error),
            };
            self.packet.clear();
            self.packet.extend_from_slice(&codec::data_header(span.wire_block));
            self.packet.extend_from_slice(payload);
            if let Carried::ClientGone = self.send().await {
                return Carried::ClientGone;
            }
        }
        Carried::Out
    }

    /// A packet that the system does not take counts as lost on the way, except that a closed port is told here too.
    async fn send(&self) -> Carried {
        match self.socket.send(&self.packet).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Carried::ClientGone,
            Ok(_) | Err(_) => Carried::Out,
        }
    }

    /// Tells the client what it has to know, and makes the final event.
    async fn conclude(&self, outcome: Outcome, client: SocketAddr, file: String, size_bytes: u64) -> TransferEvent {
        let (error, reason) = match outcome {
            Outcome::Ended(Ending::Acknowledged) => {
                return self.finished(client, file, size_bytes, LastAck::Seen);
            }
            Outcome::Ended(Ending::LastAckLost) => {
                return self.finished(client, file, size_bytes, LastAck::Lost);
            }
            Outcome::Ended(Ending::Probed) => {
                return TransferEvent::Probed { client, file, size_bytes };
            }
            Outcome::Ended(Ending::ClientGone) => (None, FailReason::ClientGone),
            Outcome::Ended(Ending::ClientError { code, message }) => {
                (None, FailReason::ClientError { code: code.to_wire(), message })
            }
            Outcome::Ended(Ending::NoAck { tries }) => {
                (Some((ErrorCode::NotDefined, "no acknowledgement came")), FailReason::NoAck { tries })
            }
            Outcome::ReadFailed(error) => {
                let told = (ErrorCode::NotDefined, "the file could not be read on");
                (Some(told), FailReason::ReadFailed { detail: error.to_string() })
            }
            // The port belongs to the client's new transfer now; an ERROR could end that one.
            Outcome::Superseded => (None, FailReason::Superseded),
            Outcome::ShutDown => (Some((ErrorCode::NotDefined, "the server was stopped")), FailReason::ShutDown),
        };
        if let Some((code, message)) = error {
            send_error(&self.socket, &ErrorReply { code, message: message.to_owned() }).await;
        }
        let (at_block, bytes) = (self.session.acked_block(), self.session.acked_bytes());
        TransferEvent::Failed { client, file, at_block, bytes, reason }
    }

    fn finished(&self, client: SocketAddr, file: String, bytes: u64, last_ack: LastAck) -> TransferEvent {
        TransferEvent::Finished {
            client,
            file,
            bytes,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            retransmissions: self.session.retransmissions(),
            last_ack,
        }
    }
}
