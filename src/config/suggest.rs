//! What was probably meant by a word that is not known: the nearest of those that are, by edit distance.

/// Edits per this many characters that are taken for a slip of the fingers.
const CHARS_PER_EDIT: usize = 3;
/// Characters of a word that are looked at, so that the distance to a very long word costs little.
const CHARS_MAX: usize = 64;

/// "did you mean 'x'?" when one of `known` is near, else a list of what there is.
#[must_use]
pub fn advice<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean '{candidate}'?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// The one of `known` that `word` was probably meant to be.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let edits_max = word.chars().count().max(CHARS_PER_EDIT) / CHARS_PER_EDIT;
    known.into_iter().filter(|known| distance(word, known) <= edits_max).min_by_key(|known| distance(word, known))
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment) from one word to another.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().chars().take(CHARS_MAX).collect();
    let to: Vec<char> = to.to_lowercase().chars().take(CHARS_MAX).collect();
    let mut older: Vec<usize> = Vec::new();
    let mut old: Vec<usize> = (0..=to.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = at(&old, j) + usize::from(a != b);
            let mut best = replaced.min(at(&old, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&older, j - 1) + 1);
            }
            row.push(best);
        }
        older = std::mem::replace(&mut old, row);
    }
    at(&old, to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised() {
        assert_eq!(advice("netwrok", ["name", "network"]), "did you mean 'network'?");
        assert_eq!(advice("listn", ["listen"]), "did you mean 'listen'?");
        assert_eq!(advice("colour", ["name", "mac"]), "known are name, mac");
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
