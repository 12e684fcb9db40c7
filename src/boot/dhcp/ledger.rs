//! Which address a machine without one of its own gets next.
//!
//! Purpose: [`Ledger::address_for`]. What is given is in the state; the ledger keeps what is only offered, and beside each range
//! which of its addresses are free, so that a free one is found without looking at the others.
//!
//! Invariants: an address that is offered to one machine is offered to no other until the offer is over. A machine gets the
//! address that it had, as long as nobody else got it. Of the rest, addresses that nobody ever had go first, then those whose
//! lease has ended. Finding one takes the same time in a full range as in an empty one, but that a range that seems used up is
//! counted anew from the state, at most once in [`RECOUNT_PAUSE_MS`].
//!
//! Deliberately absent: a clock; time is given. Leases: they are facts, and so the state's.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use crate::model::{AddressRange, Mac, NetworkSpec, UnixMs};
use crate::state::State;

/// How long an offer is kept for the machine that it was made to, in milliseconds.
pub const OFFER_MS: u64 = 30_000;
/// How long after a count of a range's free addresses the next one may be, in milliseconds.
pub const RECOUNT_PAUSE_MS: u64 = 1_000;

/// What is offered and what is free.
#[derive(Debug, Default)]
pub struct Ledger {
    offers: HashMap<Mac, Offer>,
    offered: HashMap<Ipv4Addr, Mac>,
    /// Offers in the order in which they end.
    ends: VecDeque<(UnixMs, Mac)>,
    books: HashMap<(Ipv4Addr, Ipv4Addr), Book>,
}

#[derive(Debug, Clone, Copy)]
struct Offer {
    ip: Ipv4Addr,
    until: UnixMs,
}

/// The free addresses of one range.
#[derive(Debug)]
struct Book {
    free: FreeSet,
    counted_at: UnixMs,
}

/// A machine that needs an address.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// What is given.
    pub state: &'a State,
    /// Where the machine is.
    pub network: &'a NetworkSpec,
    /// The ranges that serve it, the first ones first.
    pub ranges: &'a [&'a AddressRange],
    /// The machine.
    pub mac: Mac,
    /// The address that it would like.
    pub wanted: Option<Ipv4Addr>,
    /// Addresses that are somebody else's for good.
    pub avoid: &'a [Ipv4Addr],
    /// The time.
    pub now: UnixMs,
}

impl Need<'_> {
    fn serves(&self, ip: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(ip))
    }

    /// Whether it is nobody's, for all that the state knows.
    fn is_free(&self, ip: Ipv4Addr) -> bool {
        let leased = self.state.leases.of_ip(ip).is_some_and(|l| l.mac != self.mac && !l.has_ended(self.now));
        !leased
            && self.state.node_with_ip(ip).is_none()
            && !self.state.leases.is_quarantined(ip, self.now)
            && !self.avoid.contains(&ip)
            && self.network.router != Some(ip)
    }

    /// The address that the machine has, or had.
    fn had(&self) -> Option<Ipv4Addr> {
        self.state.leases.of_mac(self.mac).map(|lease| lease.ip)
    }
}

impl Ledger {
    /// An address for the machine, kept for it until the offer is over; nothing when there is none.
    pub fn address_for(&mut self, need: &Need<'_>) -> Option<Ipv4Addr> {
        self.end_offers(need);
        let ip = self.known_of(need).or_else(|| self.unused(need))?;
        self.offer(need.mac, ip, need.now);
        Some(ip)
    }

    /// The address that is the machine's already: leased, or offered a moment ago.
    pub fn known_of(&self, need: &Need<'_>) -> Option<Ipv4Addr> {
        let offered = self.offers.get(&need.mac).filter(|offer| offer.until > need.now).map(|offer| offer.ip);
        [need.had(), offered].into_iter().flatten().find(|ip| self.may_have(need, *ip))
    }

    /// Whether the machine may have this address.
    #[must_use]
    pub fn may_have(&self, need: &Need<'_>, ip: Ipv4Addr) -> bool {
        let others = self.offered.get(&ip).is_some_and(|mac| *mac != need.mac);
        !others && need.serves(ip) && need.is_free(ip)
    }

    fn unused(&mut self, need: &Need<'_>) -> Option<Ipv4Addr> {
        if !need.state.leases.has_room(need.now) {
            return None;
        }
        if let Some(wanted) = need.wanted.filter(|ip| self.may_have(need, *ip)) {
            return Some(wanted);
        }
        need.ranges.iter().find_map(|range| self.next_of(need, range))
    }

    fn next_of(&mut self, need: &Need<'_>, range: &AddressRange) -> Option<Ipv4Addr> {
        let key = (range.from, range.to);
        let now = need.now;
        let mut may_count = match self.books.get(&key) {
            None => true,
            Some(book) => now.0.saturating_sub(book.counted_at.0) >= RECOUNT_PAUSE_MS,
        };
        loop {
            while let Some(place) = self.books.get_mut(&key).and_then(|book| book.free.pop_first()) {
                let ip = Ipv4Addr::from(u32::from(range.from).saturating_add(place));
                if self.may_have(need, ip) {
                    return Some(ip);
                }
            }
            if !std::mem::replace(&mut may_count, false) {
                return None;
            }
            let free = self.count(need, range);
            self.books.insert(key, Book { free, counted_at: now });
        }
    }

    /// The addresses of a range that are free: those that nobody ever had, and when there are none, those whose lease is over.
    fn count(&self, need: &Need<'_>, range: &AddressRange) -> FreeSet {
        let place = |ip: Ipv4Addr| u32::from(ip).saturating_sub(u32::from(range.from));
        let mut free = FreeSet::full(range.size());
        let fixed = need.state.by_ip.range(range.from..=range.to).map(|(ip, _)| *ip);
        let offered = self.offered.keys().copied().filter(|ip| range.contains(*ip));
        for ip in fixed.chain(offered) {
            free.remove(place(ip));
        }
        let mut ended = FreeSet::empty(range.size());
        for lease in need.state.leases.within(range.from, range.to) {
            free.remove(place(lease.ip));
            if lease.has_ended(need.now) {
                ended.insert(place(lease.ip));
            }
        }
        if free.is_empty() { ended } else { free }
    }

    fn offer(&mut self, mac: Mac, ip: Ipv4Addr, now: UnixMs) {
        if let Some(before) = self.offers.get(&mac).filter(|before| before.ip != ip) {
            self.offered.remove(&before.ip);
        }
        let until = now.plus(OFFER_MS);
        self.offers.insert(mac, Offer { ip, until });
        self.offered.insert(ip, mac);
        self.ends.push_back((until, mac));
    }

    /// What was offered and not taken is free again; what was taken is in the state by now.
    fn end_offers(&mut self, need: &Need<'_>) {
        let now = need.now;
        while let Some((until, mac)) = self.ends.front().copied().filter(|(until, _)| *until <= now) {
            self.ends.pop_front();
            // A later offer to the same machine has a later end of its own.
            if let Some(offer) = self.offers.get(&mac).copied().filter(|offer| offer.until == until) {
                self.offers.remove(&mac);
                self.offered.remove(&offer.ip);
                if need.state.leases.of_ip(offer.ip).is_some() {
                    continue;
                }
                for ((from, to), book) in &mut self.books {
                    if (*from..=*to).contains(&offer.ip) {
                        book.free.insert(u32::from(offer.ip).saturating_sub(u32::from(*from)));
                    }
                }
            }
        }
    }
}

/// A set of small numbers whose least is found at once: one bit for each number, and one for each word of those.
#[derive(Debug)]
struct FreeSet {
    words: Vec<u64>,
    not_empty: Vec<u64>,
}

const BITS: u32 = u64::BITS;

impl FreeSet {
    fn empty(size: usize) -> Self {
        let words = size.div_ceil(64);
        FreeSet { words: vec![0; words], not_empty: vec![0; words.div_ceil(64)] }
    }

    fn full(size: usize) -> Self {
        let mut set = FreeSet::empty(size);
        for number in 0..u32::try_from(size).unwrap_or(u32::MAX) {
            set.insert(number);
        }
        set
    }

    fn is_empty(&self) -> bool {
        self.not_empty.iter().all(|word| *word == 0)
    }

    fn insert(&mut self, number: u32) {
        set(&mut self.words, number);
        set(&mut self.not_empty, number / BITS);
    }

    fn remove(&mut self, number: u32) {
        clear(&mut self.words, number);
        let word = number / BITS;
        if usize::try_from(word).ok().and_then(|at| self.words.get(at)) == Some(&0) {
            clear(&mut self.not_empty, word);
        }
    }

    fn pop_first(&mut self) -> Option<u32> {
        let word = first(&self.not_empty, 0)?;
        let number = first(&self.words, word)?;
        self.remove(number);
        Some(number)
    }
}

/// The least number of the set, whose first words before `from` are known to be empty.
fn first(words: &[u64], from: u32) -> Option<u32> {
    let (at, word) = (from..).zip(words.iter().skip(usize::try_from(from).ok()?)).find(|(_, word)| **word != 0)?;
    Some(at.saturating_mul(BITS).saturating_add(word.trailing_zeros()))
}

fn word_of(words: &mut [u64], number: u32) -> Option<&mut u64> {
    words.get_mut(usize::try_from(number / BITS).ok()?)
}

fn set(words: &mut [u64], number: u32) {
    if let Some(word) = word_of(words, number) {
        *word |= 1 << (number % BITS);
    }
}

fn clear(words: &mut [u64], number: u32) {
    if let Some(word) = word_of(words, number) {
        *word &= !(1 << (number % BITS));
    }
}

#[cfg(test)]
mod tests;
