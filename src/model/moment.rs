//! A moment as an operator writes it: a time, an age, or a place in the journal.
//!
//! Understood are RFC 3339 (`2026-11-20T03:10:00Z`, `…+01:00`); a date with or without a time of day
//! (`2026-11-20`, `2026-11-20 03:10[:SS]`), which is UTC as everything that is printed is; an age (`10m`, `-10m`,
//! `10m ago`, in seconds, minutes, hours or days); `now`; and `seq:123`, the fact with this number.
//! Absent on purpose: local time, which means another moment on the appliance than on the operator's machine.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{FactSeq, UnixMs};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A moment, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So many milliseconds ago.
    Ago(u64),
    /// At this time.
    At(UnixMs),
    /// Right after this fact.
    Seq(FactSeq),
}

/// A moment that no longer depends on when it is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this time.
    At(UnixMs),
    /// Right after this fact.
    Seq(FactSeq),
}

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' is no time: write a time in UTC, as in '2026-11-21 02:00' or 2026-11-21T02:00:00Z, how long ago, as in 90s, -10m, '2h ago' or 1d, or a fact's number, as in seq:123"
)]
pub struct MomentError(String);

impl Moment {
    /// The place that is meant when `now` is the time.
    #[must_use]
    pub fn resolve(self, now: UnixMs) -> Place {
        match self {
            Moment::Ago(ms) => Place::At(UnixMs(now.0.saturating_sub(ms))),
            Moment::At(at) => Place::At(at),
            Moment::Seq(seq) => Place::Seq(seq),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let seq = || {
            let digits = trimmed.strip_prefix("seq:")?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().map(|seq| Moment::Seq(FactSeq(seq)))
        };
        let now = || (trimmed == "now").then_some(Moment::Ago(0));
        let moment = seq().or_else(now).or_else(|| age(trimmed)).or_else(|| time(trimmed).map(Moment::At));
        moment.ok_or_else(|| MomentError(text.to_owned()))
    }
}

impl fmt::Display for Moment {
    /// As it can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Ago(0) => f.write_str("now"),
            Moment::Ago(ms) => write!(f, "{}s", ms.div_ceil(SECOND_MS)),
            Moment::At(at) => at.fmt(f),
            Moment::Seq(seq) => write!(f, "seq:{}", seq.0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::At(at) => at.fmt(f),
            Place::Seq(seq) => write!(f, "fact {}", seq.0),
        }
    }
}

/// `10m`, `-10m`, `10m ago`.
fn age(text: &str) -> Option<Moment> {
    let text = match text.strip_suffix("ago") {
        Some(rest) => rest.trim_end(),
        None => text.strip_prefix('-').unwrap_or(text),
    };
    let unit = text.chars().last()?;
    let unit_ms = match unit {
        's' => SECOND_MS,
        'm' => MINUTE_MS,
        'h' => HOUR_MS,
        'd' => DAY_MS,
        _ => return None,
    };
    let count = text.strip_suffix(unit)?.trim_end();
    let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = plain.then(|| count.parse().ok()).flatten()?;
    count.checked_mul(unit_ms).map(Moment::Ago)
}

/// `YYYY-MM-DD`, or `YYYY-MM-DD{T| }HH:MM[:SS[.mmm]][Z|±HH:MM]`.
fn time(text: &str) -> Option<UnixMs> {
    let Some((date, time)) = text.split_once(['T', ' ']) else {
        return Some(UnixMs(days_since_1970(text)? * DAY_MS));
    };
    let (time, ahead_ms) = match (time.strip_suffix('Z'), time.rfind(['+', '-'])) {
        (Some(time), _) => (time, 0),
        (None, Some(at)) => {
            let (time, offset) = time.split_at_checked(at)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ms = i64::try_from(hours * HOUR_MS + minutes * MINUTE_MS).ok()?;
            (time, if offset.starts_with('-') { -ms } else { ms })
        }
        (None, None) => (time, 0),
    };
    let mut parts = time.split(':');
    let (hour, minute, rest) = (digits(parts.next()?)?, digits(parts.next()?)?, parts.next().unwrap_or("0"));
    let (second, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let milli: String = fraction.chars().chain("000".chars()).take(3).collect();
    let (second, milli) = (digits(second)?, digits(&milli)?);
    if hour > 23 || minute > 59 || second > 59 || parts.next().is_some() {
        return None;
    }
    let there = days_since_1970(date)? * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + milli;
    there.checked_add_signed(-ahead_ms).map(UnixMs)
}

fn days_since_1970(date: &str) -> Option<u64> {
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !sound || parts.next().is_some() {
        return None;
    }
    let leap_days = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years_days = (year - 1970) * 365 + leap_days(year) - leap_days(1970);
    Some(years_days + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1)
}

fn digits(text: &str) -> Option<u64> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_read_as_it_is_printed() {
        for ms in [0, 951_782_400_123, 1_795_226_999_999, 4_102_444_800_000] {
            assert_eq!(UnixMs(ms).to_string().parse(), Ok(Moment::At(UnixMs(ms))));
        }
        assert_eq!("2026-11-21".parse(), "2026-11-21T00:00:00Z".parse::<Moment>());
        assert_eq!("2026-11-21 02:09".parse(), "2026-11-21T02:09:00Z".parse::<Moment>());
        assert_eq!("2026-11-21 02:09:30".parse(), "2026-11-21T02:09:30Z".parse::<Moment>());
    }

    #[test]
    fn an_offset_from_utc_is_understood() {
        assert_eq!("2026-11-21T03:09:00+01:00".parse(), "2026-11-21T02:09:00Z".parse::<Moment>());
        assert_eq!("2026-11-20 20:39:00-05:30".parse(), "2026-11-21T02:09:00Z".parse::<Moment>());
    }

    #[test]
    fn an_age_is_read_in_seconds_minutes_hours_and_days() {
        assert_eq!("90s".parse(), Ok(Moment::Ago(90_000)));
        assert_eq!("-10m".parse(), Ok(Moment::Ago(600_000)));
        assert_eq!("10m ago".parse(), Ok(Moment::Ago(600_000)));
        assert_eq!("2h".parse(), Ok(Moment::Ago(7_200_000)));
        assert_eq!("1d".parse(), Ok(Moment::Ago(86_400_000)));
        assert_eq!("now".parse(), Ok(Moment::Ago(0)));
        assert_eq!("seq:123".parse(), Ok(Moment::Seq(FactSeq(123))));
        for bad in [
            "",
            "s",
            "10",
            "10x",
            "--1s",
            "- 1s",
            "seq:",
            "seq:-1",
            "seq:1x",
            "ago",
            "99999999999999999999s",
            "2026-02-29",
            "2026-13-01",
            "2026-1",
            "2026-11-21T24:00",
            "2026-11-21T02:00+1",
            "2026-11-21T02:00+25:00",
            "1970-01-01T00:00+01:00",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_time_survives_printing_and_reading(ms in 0u64..250_000_000_000_000) {
            prop_assert_eq!(UnixMs(ms).to_string().parse(), Ok(Moment::At(UnixMs(ms))));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9TZ:. smhdeq+\\-]{0,30}|\\PC{0,12}") {
            let _ = text.parse::<Moment>();
        }
    }
}
