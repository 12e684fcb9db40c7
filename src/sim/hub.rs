//! What everything simulated shares: virtual time, what is going to happen, the networks, chance, and counts.
//!
//! Two kinds of traffic. A *datagram* (DHCP, TFTP) may be lost, doubled and overtaken. What goes over a *connection* (HTTP,
//! the tree protocol) comes in order and once, later for each time that the network lost it, or, where the machine's
//! network is cut, never: then nothing comes over that connection any more, and only silence tells.
//! Deliberately absent: how much a network or a disk can carry. Nothing waits for room on a wire.

use super::appliance::power::BrokerEvent;
use super::fault::{FaultKind, Faults};
use super::machine::Timer;
use super::random::Random;
use super::schedule::Schedule;
use crate::boot::http::facts::Asked;
use crate::fact::PowerOrder;
use crate::model::Digest;

/// The shortest and longest way over the boot network, in milliseconds.
const WAY_MS: (u64, u64) = (0, 2);
/// How long a packet that is held up stays, in milliseconds.
const HELD_UP_MS: (u64, u64) = (50, 2_000);
/// The first time after which a lost segment of a connection is sent again, in milliseconds (Linux, TCP_RTO_MIN).
const RETRANSMIT_MS: u64 = 200;
/// A segment that was lost so often comes at last: a longer silence is a cut network's.
const RETRANSMIT_MAX: u32 = 5;

/// What a machine sends to the appliance.
#[derive(Debug, Clone)]
pub(super) enum Up {
    /// A DHCP message.
    Dhcp(Vec<u8>),
    /// A TFTP request.
    Tftp(Vec<u8>),
    /// An HTTP request for a path.
    Get { path: String, request: u64 },
    /// A frame of the tree protocol, over a connection that shows this certificate.
    Frame { connection: u64, certificate: Option<Digest>, bytes: Vec<u8> },
    /// The connection is closed.
    Closed { connection: u64 },
}

/// What the appliance sends to a machine.
#[derive(Debug, Clone)]
pub(super) enum Down {
    /// A DHCP message.
    Dhcp(Vec<u8>),
    /// A TFTP packet: the answer to a request.
    Tftp(Vec<u8>),
    /// The last block of a TFTP transfer.
    TftpDone,
    /// The whole answer to an HTTP request.
    Got { request: u64, status: u16, body: String },
    /// A frame of the tree protocol.
    Frame { connection: u64, bytes: Vec<u8> },
    /// The connection is closed, or refused.
    Closed { connection: u64 },
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    ToAppliance {
        node: usize,
        packet: Up,
    },
    ToMachine {
        node: usize,
        packet: Down,
    },
    /// A machine's own timer, set in its so many-th boot.
    Machine {
        node: usize,
        boot: u64,
        timer: Timer,
    },
    /// A BMC gets an order that left the appliance at `sent_ms`.
    Order {
        node: usize,
        order: PowerOrder,
        sent_ms: u64,
    },
    /// A BMC's order has had its effect on the machine.
    Switched {
        node: usize,
        order: PowerOrder,
    },
    /// The journal has, or has not, what it was given by this life of the appliance.
    Committed {
        life: u64,
    },
    /// The engine is to look again.
    Wake {
        life: u64,
    },
    /// The power broker goes on with a node's BMC.
    Broker {
        life: u64,
        node: usize,
        event: BrokerEvent,
    },
    /// A session's clock.
    Session {
        life: u64,
        node: usize,
        connection: u64,
    },
    /// A node that joined has had its time to connect.
    Parked {
        life: u64,
        node: usize,
    },
    /// A file has been sent whole.
    Sent {
        life: u64,
        node: usize,
        transfer: Box<Transfer>,
    },
    /// The appliance starts again.
    Restart,
    /// Faults that come by the hour.
    Crash {
        faults: u64,
    },
    DiskFull {
        faults: u64,
    },
    DiskFree,
    Dies {
        node: usize,
        faults: u64,
    },
    /// A line of the script.
    Script(usize),
    /// The faults end.
    Calm,
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) sent: Sent,
    pub(super) bytes: u64,
    pub(super) began_ms: u64,
    pub(super) packet: Down,
}

/// Who sends it.
#[derive(Debug)]
pub(super) enum Sent {
    Tftp { file: String },
    Http(Asked),
}

/// One machine's way to the appliance.
#[derive(Debug, Clone, Default)]
struct Way {
    cut: bool,
    /// Nothing comes any more over connections up to this one.
    broken: u64,
    last_up_ms: u64,
    last_down_ms: u64,
}

/// Faults that were injected, and what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Packets sent.
    pub packets: u64,
    /// Packets lost.
    pub packets_lost: u64,
    /// Packets held up.
    pub packets_delayed: u64,
    /// Datagrams doubled.
    pub packets_doubled: u64,
    /// Sessions that a BMC left without an answer.
    pub bmc_silent: u64,
    /// Sessions in which a BMC was slow.
    pub bmc_slow: u64,
    /// Wrong power states that BMCs told.
    pub bmc_lies: u64,
    /// Sessions that BMCs refused.
    pub bmc_refusals: u64,
    /// Boots that hung.
    pub hangs: u64,
    /// Machines that lost their power or froze.
    pub deaths: u64,
    /// Crashes of the appliance.
    pub crashes: u64,
    /// Jumps of its clock.
    pub clock_jumps: u64,
    /// Turns that the full disk refused.
    pub turns_refused: u64,
    /// Boots begun by machines.
    pub boots: u64,
    /// Machines powered on by order.
    pub power_ons: u64,
    /// Machines powered off by order.
    pub power_offs: u64,
    /// Replays of the journal that were compared with the state.
    pub replays: u64,
}

/// What everything shares.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) now_ms: u64,
    pub(super) schedule: Schedule<Event>,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
    ways: Vec<Way>,
    connections: u64,
}

impl Hub {
    pub(super) fn new(nodes: usize, seed: u64, faults: Faults) -> Self {
        Hub {
            now_ms: 0,
            schedule: Schedule::new(),
            random: Random::new(seed, 0),
            faults,
            counts: Counts::default(),
            ways: vec![Way::default(); nodes],
            connections: 0,
        }
    }

    /// Lets `event` happen in so many milliseconds.
    pub(super) fn after(&mut self, pause_ms: u64, event: Event) {
        self.schedule.at(self.now_ms.saturating_add(pause_ms), event);
    }

    /// A machine's timer.
    pub(super) fn timer(&mut self, node: usize, boot: u64, pause_ms: u64, timer: Timer) {
        self.after(pause_ms, Event::Machine { node, boot, timer });
    }

    /// Whether this fault happens on this occasion.
    pub(super) fn strikes(&mut self, kind: FaultKind) -> bool {
        let rate = self.faults.rate(kind);
        self.random.chance(rate)
    }

    /// A number that no connection or request had before.
    pub(super) fn new_connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    pub(super) fn cut(&mut self, node: usize) {
        self.ways[node].cut = true;
    }

    pub(super) fn mend(&mut self, node: usize) {
        self.ways[node].cut = false;
    }

    pub(super) fn mend_all(&mut self) {
        self.ways.iter_mut().for_each(|way| way.cut = false);
    }

    pub(super) fn up(&mut self, node: usize, packet: Up) {
        let over = match &packet {
            Up::Dhcp(_) | Up::Tftp(_) => None,
            Up::Get { request, .. } => Some(*request),
            Up::Frame { connection, .. } | Up::Closed { connection } => Some(*connection),
        };
        let Some(way_ms) = self.way_ms(node, over) else { return };
        if over.is_none() {
            if let Some(again_ms) = self.doubled() {
                self.after(way_ms.saturating_add(again_ms), Event::ToAppliance { node, packet: packet.clone() });
            }
            return self.after(way_ms, Event::ToAppliance { node, packet });
        }
        let at_ms = self.now_ms.saturating_add(way_ms).max(self.ways[node].last_up_ms);
        self.ways[node].last_up_ms = at_ms;
        self.schedule.at(at_ms, Event::ToAppliance { node, packet });
    }

    pub(super) fn down(&mut self, node: usize, packet: Down) {
        let over = match &packet {
            Down::Dhcp(_) | Down::Tftp(_) => None,
            // The transfer's own packets were lost and sent again while it went on.
            Down::TftpDone => Some(u64::MAX),
            Down::Got { request, .. } => Some(*request),
            Down::Frame { connection, .. } | Down::Closed { connection } => Some(*connection),
        };
        let Some(way_ms) = self.way_ms(node, over) else { return };
        if over.is_none() {
            if let Some(again_ms) = self.doubled() {
                self.after(way_ms.saturating_add(again_ms), Event::ToMachine { node, packet: packet.clone() });
            }
            return self.after(way_ms, Event::ToMachine { node, packet });
        }
        let at_ms = self.now_ms.saturating_add(way_ms).max(self.ways[node].last_down_ms);
        self.ways[node].last_down_ms = at_ms;
        self.schedule.at(at_ms, Event::ToMachine { node, packet });
    }

    /// How long a packet is under way; nothing when it does not arrive.
    fn way_ms(&mut self, node: usize, over: Option<u64>) -> Option<u64> {
        self.counts.packets += 1;
        let mut way_ms = self.random.between(WAY_MS.0, WAY_MS.1);
        if self.strikes(FaultKind::PacketDelay) {
            self.counts.packets_delayed += 1;
            way_ms += self.random.between(HELD_UP_MS.0, HELD_UP_MS.1);
        }
        let way = self.ways.get_mut(node)?;
        let Some(connection) = over else {
            let lost = way.cut || self.strikes(FaultKind::PacketLoss);
            self.counts.packets_lost += u64::from(lost);
            return (!lost).then_some(way_ms);
        };
        if way.cut || connection <= way.broken {
            way.broken = way.broken.max(if connection == u64::MAX { 0 } else { connection });
            self.counts.packets_lost += 1;
            return None;
        }
        let mut tries = 0;
        while tries < RETRANSMIT_MAX && self.strikes(FaultKind::PacketLoss) {
            self.counts.packets_lost += 1;
            way_ms += RETRANSMIT_MS << tries;
            tries += 1;
        }
        Some(way_ms)
    }

    fn doubled(&mut self) -> Option<u64> {
        self.strikes(FaultKind::PacketDuplicate).then(|| {
            self.counts.packets_doubled += 1;
            self.random.between(0, 20)
        })
    }
}
