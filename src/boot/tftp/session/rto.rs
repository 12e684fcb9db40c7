//! How long to wait for an ACK before the window is sent again.
//!
//! Purpose: an estimate of the round trip that adapts, and a pause that doubles while nothing comes.
//! Specification: RFC 6298 §2 (estimate), §5.5 (backoff); the bounds are shorter because boot firmware is on the same
//! network and gives up after seconds. RFC 2349 §2: an interval that the client set is kept as it is.
//!
//! Invariants: the pause lies within [`RTO_MIN`]..=[`RTO_MAX`], or is the client's. A window that was sent twice gives
//! no sample (Karn): the caller does not offer one.
//!
//! Deliberately absent: the clock; durations come from the session.

use std::time::Duration;

/// Pause before the first measurement.
pub const RTO_INITIAL: Duration = Duration::from_secs(1);
/// Shortest pause. Below it, firmware that reads its disk or draws its screen would be sent everything twice.
pub const RTO_MIN: Duration = Duration::from_millis(200);
/// Longest pause.
pub const RTO_MAX: Duration = Duration::from_secs(8);
/// How often in a row the same window may stay without an answer; then the transfer fails.
pub const TRIES_MAX: u32 = 8;
/// With an interval that the client set: fewer tries, so that a silent client is let go after about this long.
const SILENCE_MAX_S: u32 = 60;
/// The fewest tries, however long the client's interval.
const TRIES_MIN: u32 = 2;

/// Who sets the pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// The client, by the `timeout` option.
    Fixed { seconds: u8 },
    /// The measured round trip.
    Measured { smoothed: Option<Estimate> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Estimate {
    round_trip: Duration,
    variation: Duration,
}

/// The retransmission timer's state.
#[derive(Debug, Clone)]
pub struct Rto {
    pause: Pause,
    tries: u32,
}

impl Rto {
    /// A timer; `timeout_s` is the client's `timeout` option.
    pub fn new(timeout_s: Option<u8>) -> Self {
        let pause = match timeout_s {
            Some(seconds) => Pause::Fixed { seconds },
            None => Pause::Measured { smoothed: None },
        };
        Self { pause, tries: 0 }
    }

    /// The pause until the next retransmission.
    pub fn pause(&self) -> Duration {
        match self.pause {
            Pause::Fixed { seconds } => Duration::from_secs(u64::from(seconds)),
            Pause::Measured { smoothed } => {
                let base = smoothed.map_or(RTO_INITIAL, |estimate| {
                    estimate.round_trip.saturating_add(estimate.variation.saturating_mul(4)).max(RTO_MIN)
                });
                let doublings = 1u32.checked_shl(self.tries.min(TRIES_MAX)).unwrap_or(u32::MAX);
                base.saturating_mul(doublings).min(RTO_MAX)
            }
        }
    }

    /// How many times in a row nothing came.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Nothing came in time. Returns whether another try is allowed.
    pub fn expire(&mut self) -> Retry {
        self.tries = self.tries.saturating_add(1);
        let tries_max = match self.pause {
            Pause::Fixed { seconds } => {
                SILENCE_MAX_S.checked_div(u32::from(seconds)).unwrap_or(TRIES_MAX).clamp(TRIES_MIN, TRIES_MAX)
            }
            Pause::Measured { .. } => TRIES_MAX,
        };
        if self.tries >= tries_max { Retry::GiveUp } else { Retry::Again }
    }

    /// The client made progress.
    pub fn progress(&mut self) {
        self.tries = 0;
    }

    /// A round trip was measured over a window that was sent once.
    pub fn sample(&mut self, measured: Duration) {
        let Pause::Measured { smoothed } = &mut self.pause else {
            return;
        };
        *smoothed = Some(match *smoothed {
            None => Estimate { round_trip: measured, variation: measured / 2 },
            Some(Estimate { round_trip, variation }) => {
                let deviation = round_trip.abs_diff(measured);
                Estimate {
                    round_trip: (round_trip.saturating_mul(7).saturating_add(measured)) / 8,
                    variation: (variation.saturating_mul(3).saturating_add(deviation)) / 4,
                }
            }
        });
    }
}

/// What follows when nothing came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Send again.
    Again,
    /// The client is gone.
    GiveUp,
}
