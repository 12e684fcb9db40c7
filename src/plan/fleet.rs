//! The last boots of many nodes as one table: how long each stage takes, and which nodes are slow in it.
//!
//! A boot ends when the goal is first reached. A stage's time is that since the stage before it; a stage that was passed
//! more than once in a boot counts with the sum, so a node's stages add up to its boot. Nodes on their way count in the
//! stages that they have passed, and not in the total.
//!
//! **Slow** is a node whose time is beyond three times the distance between the quartiles above the upper one (Tukey's
//! outer fence), and beyond the median by a quarter of it and by a second: where all nodes take the same time, a
//! millisecond more is no fault. Of fewer than four nodes none is slow.
//!
//! Absent on purpose: why a node is slow or still on its way, which `why` says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::group::Between;
use super::timeline::seconds;
use crate::model::{Name, NodeSet, UnixMs};
use crate::state::{Mark, Marked, Node};

/// Nodes of which it can be said that one is slower than the others.
const NODES_MIN: usize = 4;
/// A node is not slow unless it takes so much longer than the median, in milliseconds.
const SLOWER_BY_MS: u64 = 1_000;

/// The last boots of many nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fleet {
    /// How many nodes there are.
    pub count: usize,
    /// How many of them have reached their goal in their last boot.
    pub arrived: usize,
    /// The stages, in the order of a boot.
    pub stages: Vec<StageTimes>,
    /// From the beginning to the goal, of those that have arrived.
    pub total: Option<StageTimes>,
    /// Those that have not, by the stage that they have reached.
    pub on_the_way: Vec<OnTheWay>,
    /// Nodes of which no boot was seen from its beginning, as a node set; empty when there is none.
    pub unseen: String,
}

/// The times of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StageTimes {
    /// The stage that was reached.
    pub stage: String,
    /// How many nodes have reached it.
    pub count: usize,
    /// How long it took them.
    #[serde(flatten)]
    pub times: TimesS,
    /// The nodes that took much longer than the others, the slowest first.
    pub slow: Vec<Slow>,
}

/// How long many nodes took, in seconds. A percentile is the time of a node: the least that so many are within.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimesS {
    /// Half of them are within it.
    pub p50_s: f64,
    /// Nine of ten are within it.
    pub p90_s: f64,
    /// Ninety-nine of a hundred are within it.
    pub p99_s: f64,
    /// The slowest.
    pub max_s: f64,
}

/// A slow node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Slow {
    /// Its name.
    pub name: Name,
    /// How long it took, in seconds.
    pub took_s: f64,
}

/// Nodes that are on their way, by the last stage that they have reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OnTheWay {
    /// The stage.
    pub stage: String,
    /// The nodes, as a node set.
    pub nodes: String,
    /// How many they are.
    pub count: usize,
    /// When the first and the last of them reached it.
    pub since: Between,
}

/// The last boots of `nodes`.
#[must_use]
pub fn fleet<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Fleet {
    let mut stages: BTreeMap<&Mark, Vec<(&Name, u64)>> = BTreeMap::new();
    let mut waiting: BTreeMap<&Mark, Vec<(&Name, UnixMs)>> = BTreeMap::new();
    let (mut totals, mut unseen, mut count) = (Vec::new(), Vec::new(), 0);
    for node in nodes {
        count += 1;
        let name = &node.spec.name;
        let Some(boot) = boot(node) else {
            unseen.push(name.as_str());
            continue;
        };
        for (mark, took_ms) in took_ms(boot.marks) {
            stages.entry(mark).or_default().push((name, took_ms));
        }
        match boot.last.mark {
            Mark::GoalReached => totals.push((name, boot.last.at.since(boot.began_at))),
            _ => waiting.entry(&boot.last.mark).or_default().push((name, boot.last.at)),
        }
    }
    Fleet {
        count,
        arrived: totals.len(),
        stages: stages.into_iter().filter_map(|(mark, took)| times(&mark.to_string(), took)).collect(),
        total: times("total", totals),
        on_the_way: waiting.into_iter().filter_map(|(mark, nodes)| on_the_way(mark, &nodes)).collect(),
        unseen: NodeSet::fold(unseen),
    }
}

/// One boot, from its beginning to the first time that the goal was reached, or to its last stage.
struct Boot<'a> {
    marks: &'a [Marked],
    began_at: UnixMs,
    last: &'a Marked,
}

/// The node's last boot, when it was seen from its beginning.
fn boot(node: &Node) -> Option<Boot<'_>> {
    let marks = node.last_boot();
    let end = marks.iter().position(|m| m.mark == Mark::GoalReached).map_or(marks.len(), |at| at + 1);
    let marks = marks.get(..end)?;
    let (first, last) = (marks.first()?, marks.last()?);
    let from_the_beginning = matches!(
        first.mark,
        Mark::Armed | Mark::PowerOnAccepted | Mark::PowerOn | Mark::FirmwareDhcp | Mark::LoaderSent | Mark::LoaderDhcp
    );
    from_the_beginning.then_some(Boot { marks, began_at: first.at, last })
}

/// How long each stage of one boot took, in milliseconds; the first one is where the time begins.
fn took_ms(marks: &[Marked]) -> BTreeMap<&Mark, u64> {
    let mut took: BTreeMap<&Mark, u64> = BTreeMap::new();
    for (before, reached) in marks.iter().zip(marks.iter().skip(1)) {
        *took.entry(&reached.mark).or_default() += reached.at.since(before.at);
    }
    took
}

fn times(stage: &str, mut took: Vec<(&Name, u64)>) -> Option<StageTimes> {
    took.sort_by_key(|(_, ms)| *ms);
    let sorted: Vec<u64> = took.iter().map(|(_, ms)| *ms).collect();
    let (p50, max) = (percentile(&sorted, 50)?, *sorted.last()?);
    let fence = fence_ms(&sorted).unwrap_or(max);
    let slow = took.iter().rev().take_while(|(_, ms)| *ms > fence);
    Some(StageTimes {
        stage: stage.to_owned(),
        count: sorted.len(),
        times: TimesS {
            p50_s: seconds(p50),
            p90_s: seconds(percentile(&sorted, 90)?),
            p99_s: seconds(percentile(&sorted, 99)?),
            max_s: seconds(max),
        },
        slow: slow.map(|(name, ms)| Slow { name: (*name).clone(), took_s: seconds(*ms) }).collect(),
    })
}

fn on_the_way(mark: &Mark, nodes: &[(&Name, UnixMs)]) -> Option<OnTheWay> {
    let since = Between::of(nodes.iter().map(|(_, at)| *at))?;
    let names = NodeSet::fold(nodes.iter().map(|(name, _)| name.as_str()));
    Some(OnTheWay { stage: mark.to_string(), nodes: names, count: nodes.len(), since })
}

/// The least of `sorted` that so many in a hundred are within: the nearest rank.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The time beyond which a node is slow, or nothing when there are too few to say.
fn fence_ms(sorted: &[u64]) -> Option<u64> {
    if sorted.len() < NODES_MIN {
        return None;
    }
    let (lower, middle, upper) = (percentile(sorted, 25)?, percentile(sorted, 50)?, percentile(sorted, 75)?);
    let by_spread = upper.saturating_add(upper.saturating_sub(lower).saturating_mul(3));
    Some(by_spread.max(middle.saturating_add(SLOWER_BY_MS.max(middle / 4))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([50, 90, 99, 100].map(|p| percentile(&hundred, p)), [Some(50), Some(90), Some(99), Some(100)]);
        assert_eq!([1, 50, 99].map(|p| percentile(&[7], p)), [Some(7); 3]);
        assert_eq!(percentile(&[1, 9], 50), Some(1));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn where_all_take_the_same_time_a_little_more_is_not_slow_and_much_more_is() {
        let with = |last: u64| {
            let sorted = [20_000, 20_000, 20_000, 20_000, last];
            last > fence_ms(&sorted).unwrap()
        };
        assert!(!with(20_001));
        assert!(!with(25_000), "a quarter more is not yet slow");
        assert!(with(25_001));
        let short = [10, 10, 10, 10, 900];
        assert!(900 <= fence_ms(&short).unwrap(), "less than a second more is never slow");
    }

    #[test]
    fn where_times_spread_only_what_is_beyond_the_outer_fence_is_slow() {
        let spread: Vec<u64> = (1..=100).map(|n| 10_000 + n * 100).collect();
        let (lower, upper) = (percentile(&spread, 25).unwrap(), percentile(&spread, 75).unwrap());
        assert_eq!(fence_ms(&spread), Some(upper + 3 * (upper - lower)));
        assert!(spread.iter().all(|ms| *ms <= fence_ms(&spread).unwrap()), "a wide spread alone makes nobody slow");
    }

    #[test]
    fn of_three_nodes_none_is_slow() {
        assert_eq!(fence_ms(&[1_000, 1_000, 900_000]), None);
    }
}
