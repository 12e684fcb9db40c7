//! Times as operators write and read them: RFC 3339 in UTC, ages and durations. Pure: `now` is passed in.

use thiserror::Error;

use crate::model::UnixMs;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A point in time, as an operator writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So many milliseconds ago.
    Ago(u64),
    /// At this time.
    At(UnixMs),
}

/// Why a text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no time: write how long ago, as in 90s, 10m, 2h or 1d, or a time in UTC, as in 2026-11-21T02:00:00Z")]
pub struct SinceError(String);

impl Since {
    /// The point in time, seen from `now`.
    #[must_use]
    pub fn resolve(self, now: UnixMs) -> UnixMs {
        match self {
            Since::Ago(ms) => UnixMs(now.0.saturating_sub(ms)),
            Since::At(at) => at,
        }
    }
}

impl std::str::FromStr for Since {
    type Err = SinceError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ago = || {
            let unit = text.chars().last()?;
            let unit_ms = match unit {
                's' => SECOND_MS,
                'm' => MINUTE_MS,
                'h' => HOUR_MS,
                'd' => DAY_MS,
                _ => return None,
            };
            let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
            count.checked_mul(unit_ms).map(Since::Ago)
        };
        ago().or_else(|| utc(text).map(Since::At)).ok_or_else(|| SinceError(text.to_owned()))
    }
}

/// `YYYY-MM-DD`, or `YYYY-MM-DDTHH:MM[:SS[.mmm]][Z]`.
fn utc(text: &str) -> Option<UnixMs> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let mut parts = time.split(':');
    let (hour, minute, rest) = (digits(parts.next()?)?, digits(parts.next()?)?, parts.next().unwrap_or("0"));
    let (second, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let milli: String = fraction.chars().chain("000".chars()).take(3).collect();
    let (second, milli) = (digits(second)?, digits(&milli)?);
    let sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !sound || hour > 23 || minute > 59 || second > 59 || date.split('-').count() != 3 || parts.next().is_some() {
        return None;
    }
    let leap_days = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years_days = (year - 1970) * 365 + leap_days(year) - leap_days(1970);
    let days = years_days + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1;
    Some(UnixMs(days * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + milli))
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

/// A duration for people: two units at most.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = ms / SECOND_MS;
    match ms {
        0..MINUTE_MS => format!("{seconds} s"),
        MINUTE_MS..HOUR_MS if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        MINUTE_MS..HOUR_MS => format!("{} min {} s", seconds / 60, seconds % 60),
        HOUR_MS..DAY_MS => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago `at` was.
#[must_use]
pub fn ago(now: UnixMs, at: UnixMs) -> String {
    format!("{} ago", span(now.since(at)))
}

/// In how long `at` will be.
#[must_use]
pub fn ahead(now: UnixMs, at: UnixMs) -> String {
    match at.since(now) {
        0 => "now".to_owned(),
        ms => format!("in {}", span(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_read_as_it_is_printed() {
        for ms in [0, 951_782_400_123, 1_795_226_999_999, 4_102_444_800_000] {
            assert_eq!(UnixMs(ms).to_string().parse(), Ok(Since::At(UnixMs(ms))));
        }
        assert_eq!("2026-11-21".parse(), "2026-11-21T00:00:00Z".parse::<Since>());
        assert_eq!("2026-11-21 02:09".parse(), "2026-11-21T02:09:00Z".parse::<Since>());
    }

    #[test]
    fn how_long_ago_is_read_in_seconds_minutes_hours_and_days() {
        assert_eq!("90s".parse(), Ok(Since::Ago(90_000)));
        assert_eq!("10m".parse(), Ok(Since::Ago(600_000)));
        assert_eq!("2h".parse(), Ok(Since::Ago(7_200_000)));
        assert_eq!("1d".parse(), Ok(Since::Ago(86_400_000)));
        for bad in [
            "",
            "s",
            "10",
            "10x",
            "-1s",
            "99999999999999999999s",
            "2026-02-29",
            "2026-13-01",
            "2026-1",
            "2026-11-21T24:00",
        ] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_said_in_at_most_two_units() {
        let said = [999, 59_999, 60_000, 168_000, 3_660_000, 90_000_000].map(span);
        assert_eq!(said, ["0 s", "59 s", "1 min", "2 min 48 s", "1 h 1 min", "1 d 1 h"]);
    }

    proptest! {
        #[test]
        fn any_time_survives_printing_and_reading(ms in 0u64..250_000_000_000_000) {
            prop_assert_eq!(UnixMs(ms).to_string().parse(), Ok(Since::At(UnixMs(ms))));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9TZ:. smhd\\-]{0,30}|\\PC{0,12}") {
            let _ = text.parse::<Since>();
        }
    }
}
