//! A client and a network that lose, double and reorder, in virtual time and from a seed.

use super::{BLKSIZE, ack, ms, terms};
use crate::boot::tftp::session::{Ending, Session, Step};
use std::collections::BTreeMap;
use std::time::Duration;

/// SplitMix64: small, and the same on every machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) lost_percent: u64,
    pub(super) doubled_percent: u64,
    pub(super) delay_max_ms: u64,
}

/// A client as RFC 7440 has it: it acknowledges at the window's end, at a gap, and when it has waited too long.
pub(super) struct Client {
    pub(super) received: Vec<u8>,
    expected: u64,
    in_window: u16,
    windowsize: u16,
    gap_told: bool,
    done: bool,
}

impl Client {
    pub(super) fn take(&mut self, wire_block: u16, payload: &[u8]) -> Option<u16> {
        if self.done {
            return Some(self.expected.wrapping_sub(1) as u16);
        }
        if wire_block != self.expected as u16 {
            // The worst habit that is still legal: every block out of order is answered once a gap.
            return (!std::mem::replace(&mut self.gap_told, true)).then_some(self.expected.wrapping_sub(1) as u16);
        }
        self.gap_told = false;
        self.received.extend_from_slice(payload);
        self.expected += 1;
        self.in_window += 1;
        self.done = payload.len() < usize::from(BLKSIZE);
        if self.done || self.in_window >= self.windowsize {
            self.in_window = 0;
            return Some(wire_block);
        }
        None
    }
}

pub(super) enum Parcel {
    ToClient(u16, Vec<u8>),
    ToServer(Vec<u8>),
    ClientWaited { since_expected: u64 },
}

pub(super) struct Outcome {
    pub(super) ending: Ending,
    pub(super) received: Vec<u8>,
    pub(super) data_packets: u64,
}

/// Runs one transfer in virtual time.
pub(super) fn simulate(seed: u64, content: &[u8], windowsize: u16, weather: Weather) -> Outcome {
    let mut dice = Dice(seed);
    let mut session = Session::new(content.len() as u64, terms(windowsize));
    let mut client =
        Client { received: Vec::new(), expected: 1, in_window: 0, windowsize, gap_told: false, done: false };
    let mut mail: BTreeMap<(Duration, u64), Parcel> = BTreeMap::new();
    let (mut serial, mut data_packets) = (0, 0);
    let mut post = |mail: &mut BTreeMap<_, _>, at: Duration, parcel: Parcel| {
        serial += 1;
        mail.insert((at, serial), parcel);
    };
    let mut copies = |now: Duration| -> Vec<Duration> {
        if dice.roll(100) < weather.lost_percent {
            return Vec::new();
        }
        let count = if dice.roll(100) < weather.doubled_percent { 2 } else { 1 };
        (0..count).map(|_| now + ms(1 + dice.roll(weather.delay_max_ms))).collect()
    };
    let mut now = Duration::ZERO;
    let mut step = session.start(now);
    let patience = ms(900);
    post(&mut mail, patience, Parcel::ClientWaited { since_expected: 1 });
    loop {
        match std::mem::replace(&mut step, Step::Wait) {
            Step::SendBlocks { first, last } => {
                for block in first..=last {
                    data_packets += 1;
                    let span = session.span(block).expect("a block to send is in the file");
                    let start = usize::try_from(span.offset_bytes).expect("small");
                    let payload = content[start..start + usize::from(span.length_bytes)].to_vec();
                    for at in copies(now) {
                        post(&mut mail, at, Parcel::ToClient(span.wire_block, payload.clone()));
                    }
                }
            }
            Step::End(ending) => {
                return Outcome { ending, received: client.received, data_packets };
            }
            Step::Wait | Step::OfferOptions => {}
        }
        let next_mail = mail.keys().next().copied();
        match next_mail {
            Some(key) if key.0 <= session.deadline() => {
                now = key.0;
                let answer = match mail.remove(&key) {
                    Some(Parcel::ToClient(wire_block, payload)) => client.take(wire_block, &payload),
                    Some(Parcel::ToServer(datagram)) => {
                        step = session.on_packet(now, &datagram);
                        None
                    }
                    Some(Parcel::ClientWaited { since_expected }) => {
                        post(&mut mail, now + patience, Parcel::ClientWaited { since_expected: client.expected });
                        client.gap_told = false;
                        let stuck = since_expected == client.expected && client.expected > 1 && !client.done;
                        stuck.then_some(client.expected.wrapping_sub(1) as u16)
                    }
                    None => None,
                };
                if let Some(block) = answer {
                    for at in copies(now) {
                        post(&mut mail, at, Parcel::ToServer(ack(block)));
                    }
                }
            }
            _ => {
                now = session.deadline();
                step = session.on_timeout(now);
            }
        }
    }
}

pub(super) fn weather(dice: &mut Dice, lost_max_percent: u64) -> Weather {
    Weather {
        lost_percent: dice.roll(lost_max_percent),
        doubled_percent: dice.roll(30),
        delay_max_ms: 1 + dice.roll(60),
    }
}

pub(super) fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 251) as u8).collect()
}
