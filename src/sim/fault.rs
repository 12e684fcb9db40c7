//! What can go wrong, by name, and how often it does.
//!
//! A rate is a probability for each occasion that the kind names, or so many times in an hour of virtual time.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A packet is lost; what is sent over a connection is sent again and comes later.
    PacketLoss,
    /// A packet is held up, so that later ones overtake it.
    PacketDelay,
    /// A packet comes twice.
    PacketDuplicate,
    /// A BMC does not answer.
    BmcSilent,
    /// A BMC takes seconds.
    BmcSlow,
    /// A BMC says the opposite of the machine's power.
    BmcLies,
    /// A BMC has no session free.
    BmcRefuses,
    /// A machine hangs in its firmware.
    HangRom,
    /// A machine hangs in the loader.
    HangLoader,
    /// A machine hangs while its kernel starts.
    HangKernel,
    /// A machine's agent hangs, before it joins or after.
    HangAgent,
    /// A machine loses its power, or freezes.
    MachineDies,
    /// The appliance is killed, and started again within half a minute.
    ApplianceCrash,
    /// The appliance's clock is another one after a restart.
    ClockJump,
    /// The appliance's disk takes no more for a while.
    DiskFull,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// A probability, 0 to 1, for each of these.
    Each(&'static str),
    /// So many times in an hour of virtual time, for each of these.
    Hour(&'static str),
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Per::Each(of) => write!(f, "probability for each {of}"),
            Per::Hour(of) => write!(f, "times an hour, {of}"),
        }
    }
}

/// A kind of fault, as operators know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub kind: FaultKind,
    /// Its name.
    pub name: &'static str,
    /// What its rate counts.
    pub per: Per,
    /// What happens.
    pub what: &'static str,
}

const fn known(kind: FaultKind, name: &'static str, per: Per, what: &'static str) -> Known {
    Known { kind, name, per, what }
}

/// Every kind, in the order of [`FaultKind`].
pub const KNOWN: &[Known] = &[
    known(
        FaultKind::PacketLoss,
        "packet-loss",
        Per::Each("packet"),
        "it is lost; over a connection it is sent again after 200 ms, 400 ms, ...",
    ),
    known(FaultKind::PacketDelay, "packet-delay", Per::Each("packet"), "it is held up by 50 ms to 2 s"),
    known(FaultKind::PacketDuplicate, "packet-duplicate", Per::Each("datagram"), "it comes twice"),
    known(
        FaultKind::BmcSilent,
        "bmc-silent",
        Per::Each("session with a BMC"),
        "it never answers; of an order, half of the time after it was taken",
    ),
    known(FaultKind::BmcSlow, "bmc-slow", Per::Each("session with a BMC"), "it takes 2 s to 10 s"),
    known(FaultKind::BmcLies, "bmc-lies", Per::Each("power status"), "it says the opposite"),
    known(FaultKind::BmcRefuses, "bmc-refuses", Per::Each("session with a BMC"), "it has no session free"),
    known(FaultKind::HangRom, "hang-rom", Per::Each("boot"), "the machine hangs in its firmware"),
    known(FaultKind::HangLoader, "hang-loader", Per::Each("boot"), "the machine hangs in the loader"),
    known(FaultKind::HangKernel, "hang-kernel", Per::Each("boot"), "the machine hangs while its kernel starts"),
    known(
        FaultKind::HangAgent,
        "hang-agent",
        Per::Each("boot"),
        "the agent hangs, before it joins or within a minute after",
    ),
    known(
        FaultKind::MachineDies,
        "machine-dies",
        Per::Hour("each machine"),
        "it loses its power, or freezes with its power on",
    ),
    known(
        FaultKind::ApplianceCrash,
        "appliance-crash",
        Per::Hour("the appliance"),
        "it loses all that is not journaled, and starts again after 1 s to 30 s",
    ),
    known(
        FaultKind::ClockJump,
        "clock-jump",
        Per::Each("restart of the appliance"),
        "its clock is up to an hour ahead or behind",
    ),
    known(FaultKind::DiskFull, "disk-full", Per::Hour("the appliance"), "its journal takes nothing for 5 s to 60 s"),
];

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultError {
    /// It is not KIND=RATE.
    #[error("'{0}' is no fault: write KIND=RATE, as in packet-loss=0.01")]
    Form(String),
    /// There is no such kind.
    #[error("there is no fault '{kind}'; there are {}", names())]
    Kind {
        /// What was asked for.
        kind: String,
    },
    /// The rate is no number, or not one that the kind takes.
    #[error("{kind} has no rate '{rate}': write a {per}, as in {kind}=0.01")]
    Rate {
        /// The kind.
        kind: &'static str,
        /// What was written.
        rate: String,
        /// What it counts.
        per: Per,
    },
}

fn names() -> String {
    KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

/// One kind with its rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// The rate.
    pub rate: f64,
}

impl FromStr for Fault {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rate) = text.split_once('=').ok_or_else(|| FaultError::Form(text.to_owned()))?;
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
            return Err(FaultError::Kind { kind: name.to_owned() });
        };
        let most = match known.per {
            Per::Each(_) => 1.0,
            Per::Hour(_) => 3_600.0,
        };
        match rate.parse::<f64>() {
            Ok(rate) if (0.0..=most).contains(&rate) => Ok(Fault { kind: known.kind, rate }),
            _ => Err(FaultError::Rate { kind: known.name, rate: rate.to_owned(), per: known.per }),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.rate)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = KNOWN.iter().find(|known| known.kind == *self);
        f.write_str(known.map_or("", |known| known.name))
    }
}

/// How often each kind happens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults([f64; KNOWN.len()]);

impl Faults {
    /// The rate of a kind; zero where it never happens.
    #[must_use]
    pub fn rate(&self, kind: FaultKind) -> f64 {
        self.0.get(kind as usize).copied().unwrap_or(0.0)
    }

    /// Sets a kind's rate.
    pub fn set(&mut self, fault: Fault) {
        if let Some(rate) = self.0.get_mut(fault.kind as usize) {
            *rate = fault.rate;
        }
    }

    /// Whether any kind happens at all.
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.0.iter().any(|rate| *rate > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_where_its_rate_is_kept() {
        for (place, known) in KNOWN.iter().enumerate() {
            assert_eq!(known.kind as usize, place, "{}", known.name);
            let fault: Fault = format!("{}=0.5", known.name).parse().unwrap();
            let mut faults = Faults::default();
            faults.set(fault);
            assert_eq!((faults.rate(known.kind), fault.to_string()), (0.5, format!("{}=0.5", known.name)));
        }
    }

    #[test]
    fn a_wrong_fault_is_told_with_what_would_be_right() {
        let told = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert!(told("packet-lost=1").contains("there are packet-loss, packet-delay"), "{}", told("packet-lost=1"));
        assert!(told("packet-loss=2").contains("probability for each packet"), "{}", told("packet-loss=2"));
        assert!(told("packet-loss=many").contains("'many'"));
        assert!(told("packet-loss").contains("KIND=RATE"));
        assert!("appliance-crash=12".parse::<Fault>().is_ok());
    }
}
