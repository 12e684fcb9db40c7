//! How long a plan should take, when so many nodes may be disturbed at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Class;

/// How many times the nodes that are disturbed fill the places.
pub(super) fn rounds(disturbed: usize, at_once: u64) -> usize {
    let places = usize::try_from(at_once).unwrap_or(usize::MAX);
    match (disturbed, places) {
        (0, _) => 0,
        (_, 0) => 1,
        _ => disturbed.div_ceil(places),
    }
}

/// The longest of those that nobody waits for, or of the places in which the others take their turns, those that take the
/// longest first.
pub(super) fn expected_ms(classes: &[Class], at_once: u64) -> u64 {
    let free = |class: &&Class| at_once == 0 || !class.disturbs();
    let longest = classes.iter().filter(free).map(|class| class.expected_ms).max().unwrap_or(0);
    let mut queued: Vec<&Class> = classes.iter().filter(|class| !free(class)).collect();
    queued.sort_by_key(|class| Reverse(class.expected_ms));
    let count: usize = queued.iter().map(|class| class.count).sum();
    let places = usize::try_from(at_once).unwrap_or(usize::MAX).min(count);
    let mut free_at: BinaryHeap<Reverse<u64>> = (0..places).map(|_| Reverse(0)).collect();
    let mut last = longest;
    for class in queued {
        for _ in 0..class.count {
            let Some(Reverse(at)) = free_at.pop() else { continue };
            let done = at.saturating_add(class.expected_ms);
            last = last.max(done);
            free_at.push(Reverse(done));
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::StepName;
    use crate::model::mutation::Disruption;
    use crate::plan::whatif::{NodeChange, PlannedStep};

    fn class(count: usize, expected_ms: u64, disruption: Disruption) -> Class {
        let step = StepName { mutation: "power.off".into(), image: None };
        let steps = vec![PlannedStep { step, disruption }];
        Class { nodes: String::new(), count, change: NodeChange::Changed, steps, expected_ms, waiting: vec![] }
    }

    #[test]
    fn nodes_take_turns_in_as_many_places_as_there_are() {
        let disturbed = |count, ms| class(count, ms, Disruption::Disruptive);
        assert_eq!(expected_ms(&[disturbed(7, 10)], 0), 10);
        assert_eq!(expected_ms(&[disturbed(7, 10)], 3), 30);
        assert_eq!(expected_ms(&[disturbed(1, 5), disturbed(2, 10)], 2), 15);
        assert_eq!(expected_ms(&[disturbed(7, 10), class(100, 50, Disruption::None)], 3), 50);
        assert_eq!((rounds(7, 3), rounds(7, 0), rounds(0, 3), rounds(6, 3)), (3, 1, 0, 2));
        assert_eq!(expected_ms(&[], 3), 0);
    }
}
