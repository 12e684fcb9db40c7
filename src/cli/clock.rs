//! Ages and durations as operators read them. Pure: `now` is passed in. How they write them: `model::moment`.

use crate::model::UnixMs;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

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

    #[test]
    fn durations_are_said_in_at_most_two_units() {
        let said = [999, 59_999, 60_000, 168_000, 3_660_000, 90_000_000].map(span);
        assert_eq!(said, ["0 s", "59 s", "1 min", "2 min 48 s", "1 h 1 min", "1 d 1 h"]);
    }
}
