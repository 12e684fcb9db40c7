//! Node sets: `n[001-128/2],login1` as a compact name for many nodes, and back.
//!
//! The grammar is that of ClusterShell and Slurm: a comma separates alternatives, brackets hold numbers and
//! ranges with an optional step, and leading zeros fix the width. Expansion keeps the order that was written
//! and drops repetitions. The same grammar expands addresses (`10.0.0.[11-13]`) in the cluster's description.
//!
//! Absent on purpose: groups and set arithmetic; sets are of names, and whether a node exists is not asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::limits::NODESET_NAMES_MAX;

/// An ordered set of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct NodeSet(Vec<String>);

/// Why a text is not a node set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeSetError {
    /// Brackets that do not match or are nested.
    #[error("node set '{text}': the brackets do not match; write for instance n[1-3]")]
    Brackets {
        /// The whole text.
        text: String,
    },
    /// Something between brackets that is no number and no range.
    #[error("node set '{text}': '{part}' is not a number or a range; write for instance 1-8 or 1-8/2")]
    Range {
        /// The whole text.
        text: String,
        /// The part that was not understood.
        part: String,
    },
    /// An alternative with nothing in it.
    #[error("node set '{text}': there is an empty name in it")]
    Empty {
        /// The whole text.
        text: String,
    },
    /// More names than the bound.
    #[error("node set '{text}' stands for more than {NODESET_NAMES_MAX} names")]
    TooMany {
        /// The whole text.
        text: String,
    },
}

impl NodeSet {
    /// The names, in the order that was written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Folds names into the shortest node set that stands for them: numbers at the end of a name become ranges.
    #[must_use]
    pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
        let mut plain = BTreeSet::new();
        // Keyed by prefix and width (0 for numbers without leading zeros), since n1 and n01 are different names.
        let mut numbered: BTreeMap<(&str, usize), BTreeSet<u64>> = BTreeMap::new();
        for name in names {
            let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let digits = name.get(prefix.len()..).unwrap_or_default();
            match digits.parse::<u64>() {
                Ok(number) => {
                    let padded = digits.len() > 1 && digits.starts_with('0');
                    let width = if padded { digits.len() } else { 0 };
                    numbered.entry((prefix, width)).or_default().insert(number);
                }
                Err(_) => {
                    plain.insert(name);
                }
            }
        }
        widen_padding(&mut numbered);
        let mut parts: Vec<String> =
            numbered.into_iter().map(|((prefix, width), numbers)| fold_numbers(prefix, width, &numbers)).collect();
        parts.extend(plain.into_iter().map(str::to_owned));
        parts.join(",")
    }
}

/// Numbers of full width, such as the 128 of n[001-128], belong to the padded range of that width.
fn widen_padding(numbered: &mut BTreeMap<(&str, usize), BTreeSet<u64>>) {
    let padded: Vec<_> = numbered.keys().copied().filter(|(_, width)| *width > 0).collect();
    for (prefix, width) in padded {
        let Some(unpadded) = numbered.get_mut(&(prefix, 0)) else { continue };
        let full: BTreeSet<u64> = unpadded.iter().copied().filter(|n| n.to_string().len() == width).collect();
        unpadded.retain(|n| !full.contains(n));
        if unpadded.is_empty() {
            numbered.remove(&(prefix, 0));
        }
        if let Some(numbers) = numbered.get_mut(&(prefix, width)) {
            numbers.extend(full);
        }
    }
}

fn fold_numbers(prefix: &str, width: usize, numbers: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let one = |n: u64| format!("{n:0width$}");
    let texts: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => one(*first),
            false => format!("{}-{}", one(*first), one(*last)),
        })
        .collect();
    match (ranges.as_slice(), texts.as_slice()) {
        ([(first, last)], [text]) if first == last => format!("{prefix}{text}"),
        _ => format!("{prefix}[{}]", texts.join(",")),
    }
}

impl FromStr for NodeSet {
    type Err = NodeSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        for alternative in split_outside_brackets(text)? {
            for name in expand(text, alternative.trim())? {
                if seen.insert(name.clone()) {
                    names.push(name);
                }
                if names.len() > NODESET_NAMES_MAX {
                    return Err(NodeSetError::TooMany { text: text.to_owned() });
                }
            }
        }
        Ok(NodeSet(names))
    }
}

impl TryFrom<String> for NodeSet {
    type Error = NodeSetError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NodeSet> for String {
    fn from(set: NodeSet) -> Self {
        set.to_string()
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&NodeSet::fold(self.iter()))
    }
}

fn split_outside_brackets(text: &str) -> Result<Vec<&str>, NodeSetError> {
    let brackets = || NodeSetError::Brackets { text: text.to_owned() };
    let (mut parts, mut start, mut open) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match (c, open) {
            ('[', false) => open = true,
            (']', true) => open = false,
            ('[' | ']', _) => return Err(brackets()),
            (',', false) => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err(brackets());
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

/// All names that one alternative stands for: the product of its brackets, leftmost slowest.
fn expand(text: &str, alternative: &str) -> Result<Vec<String>, NodeSetError> {
    if alternative.is_empty() {
        return Err(NodeSetError::Empty { text: text.to_owned() });
    }
    let mut names = vec![String::new()];
    let mut rest = alternative;
    while let Some((before, after)) = rest.split_once('[') {
        let brackets = || NodeSetError::Brackets { text: text.to_owned() };
        let (inside, behind) = after.split_once(']').ok_or_else(brackets)?;
        let numbers = expand_ranges(text, inside)?;
        if names.len().saturating_mul(numbers.len()) > NODESET_NAMES_MAX {
            return Err(NodeSetError::TooMany { text: text.to_owned() });
        }
        names = names.iter().flat_map(|name| numbers.iter().map(move |n| format!("{name}{before}{n}"))).collect();
        rest = behind;
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

fn expand_ranges(text: &str, inside: &str) -> Result<Vec<String>, NodeSetError> {
    let mut numbers = Vec::new();
    for part in inside.split(',') {
        let wrong = || NodeSetError::Range { text: text.to_owned(), part: part.to_owned() };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().map_err(|_| wrong())?),
            None => (part, 1),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if ![first, last].iter().all(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit())) {
            return Err(wrong());
        }
        let width = first.len();
        let from: u64 = first.parse().map_err(|_| wrong())?;
        let to: u64 = last.parse().map_err(|_| wrong())?;
        if from > to || step == 0 {
            return Err(wrong());
        }
        if to - from >= NODESET_NAMES_MAX as u64 * step as u64 {
            return Err(NodeSetError::TooMany { text: text.to_owned() });
        }
        numbers.extend((from..=to).step_by(step).map(|n| format!("{n:0width$}")));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<String> {
        match text.parse::<NodeSet>() {
            Ok(set) => set.iter().map(str::to_owned).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn ranges_steps_lists_and_widths_expand_in_the_order_written() {
        assert_eq!(names("n[1-3]"), ["n1", "n2", "n3"]);
        assert_eq!(names("n[001-005/2],login1"), ["n001", "n003", "n005", "login1"]);
        assert_eq!(names("r[1-2]n[1,3]"), ["r1n1", "r1n3", "r2n1", "r2n3"]);
        assert_eq!(names("10.0.0.[9-11]"), ["10.0.0.9", "10.0.0.10", "10.0.0.11"]);
        assert_eq!(names("b,a,b"), ["b", "a"]);
    }

    #[test]
    fn what_is_not_a_node_set_is_refused_by_name() {
        for bad in ["", "n[1-", "n1]", "n[[1]]", "n[a-b]", "n[3-1]", "n[1-3/0]", "a,,b", "n[]"] {
            assert!(bad.parse::<NodeSet>().is_err(), "{bad}");
        }
        assert!(matches!("n[1-9999999]".parse::<NodeSet>(), Err(NodeSetError::TooMany { .. })));
        assert!(matches!("n[1-90000]m[1-90000]".parse::<NodeSet>(), Err(NodeSetError::TooMany { .. })));
    }

    #[test]
    fn names_fold_back_into_ranges() {
        assert_eq!(NodeSet::fold(["n3", "n1", "n2", "login1", "admin"]), "login1,n[1-3],admin");
        assert_eq!(NodeSet::fold(["n099", "n100", "n101"]), "n[099-101]");
        assert_eq!(NodeSet::fold(["n1", "n3"]), "n[1,3]");
    }

    proptest! {
        #[test]
        fn folding_and_expanding_gives_the_same_names(
            numbers in proptest::collection::btree_set(0u64..300, 0..40),
            width in 0usize..4,
        ) {
            let original: BTreeSet<String> =
                numbers.iter().map(|n| format!("n{n:0width$}")).collect();
            let folded = NodeSet::fold(original.iter().map(String::as_str));
            if original.is_empty() {
                prop_assert_eq!(folded, "");
            } else {
                let back: BTreeSet<String> = names(&folded).into_iter().collect();
                prop_assert_eq!(back, original);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "[n0-9,/\\[\\]-]{0,24}") {
            let _ = text.parse::<NodeSet>();
        }
    }
}
