//! Mutations in terms of places and sets of values: what a search over ten thousand situations runs on.
//!
//! A set of values is a word of bits: bit 0 is unknown, bit n the variable's n-th value. Conditions on one place are
//! merged into one set: what it must have (changes and requires) and what it must not (excludes).

use super::Domain;
use crate::model::Symbol;
use crate::model::mutation::{Mutation, Subject};

/// A set of values: bit 0 is unknown, bit n the n-th value.
type Set = u64;

/// Where a value stands in a situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Place {
    /// At this index.
    At(usize),
    /// At the image that the edge is about.
    Image,
    /// At every image.
    Images,
}

/// A mutation, ready to be searched with.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Compiled {
    /// What each place must have.
    must: Vec<(Place, Set)>,
    /// What no such place may have.
    must_not: Vec<(Place, Set)>,
    /// What else it sets.
    sets: Vec<(Place, u8)>,
    /// What it changes, with the values that it may lead to.
    leads: Vec<(Place, Vec<u8>)>,
    /// Whether it is one edge an image.
    pub(in crate::plan) each_image: bool,
}

/// The code of a value: 0 is unknown, n the n-th.
pub(in crate::plan) fn code(values: &[Symbol], value: &str) -> u8 {
    let position = values.iter().position(|known| known.as_str() == value);
    position.and_then(|position| u8::try_from(position + 1).ok()).unwrap_or(0)
}

fn place(domain: &Domain, subject: &Subject) -> Place {
    match subject {
        Subject::Var(path) => {
            let index = domain.variables.iter().position(|(known, _)| known == path);
            // Every variable that a mutation names has a place.
            Place::At(index.unwrap_or(usize::MAX))
        }
        Subject::EachImage => Place::Image,
        Subject::AllImages => Place::Images,
    }
}

fn set(domain: &Domain, subject: &Subject, any_of: &[Symbol]) -> Set {
    let values = domain.values(subject);
    any_of.iter().fold(0, |set, value| set | 1 << code(values, value.as_str()))
}

pub(in crate::plan) fn compile(mutation: &Mutation, domain: &Domain) -> Compiled {
    let changes = mutation.changes.iter().map(|c| (place(domain, &c.subject), set(domain, &c.subject, &c.from)));
    let requires = mutation.requires.iter().map(|c| (place(domain, &c.subject), set(domain, &c.subject, &c.any_of)));
    let mut must: Vec<(Place, Set)> = Vec::new();
    for (place, set) in changes.chain(requires) {
        match must.iter_mut().find(|(known, _)| *known == place) {
            Some((_, known)) => *known &= set,
            None => must.push((place, set)),
        }
    }
    let value = |subject: &Subject, value: &Symbol| code(domain.values(subject), value.as_str());
    Compiled {
        must,
        must_not: mutation
            .excludes
            .iter()
            .map(|c| (place(domain, &c.subject), set(domain, &c.subject, &c.any_of)))
            .collect(),
        sets: mutation
            .consequences
            .iter()
            .map(|c| (place(domain, &c.subject), value(&c.subject, &c.becomes)))
            .collect(),
        leads: mutation
            .changes
            .iter()
            .map(|c| (place(domain, &c.subject), c.to.iter().map(|to| value(&c.subject, to)).collect()))
            .collect(),
        each_image: mutation.is_each_image(),
    }
}

/// The variable on which the mutation's own conditions leave no value, if there is one.
pub(super) fn contradiction(mutation: &Mutation, domain: &Domain) -> Option<Subject> {
    let compiled = compile(mutation, domain);
    let subjects = super::subjects(mutation);
    let mut impossible = subjects.filter(|subject| {
        let at = place(domain, subject);
        let must = compiled.must.iter().filter(|(place, _)| *place == at).fold(Set::MAX, |all, (_, set)| all & set);
        let must_not = compiled.must_not.iter().filter(|(place, _)| *place == at).fold(0, |all, (_, set)| all | set);
        must & !must_not == 0
    });
    impossible.next().cloned()
}

impl Compiled {
    fn places(place: Place, image: Option<usize>, width: usize, situation: &[u8]) -> std::ops::Range<usize> {
        match (place, image) {
            (Place::At(index), _) => index..index.saturating_add(1),
            (Place::Image, Some(image)) => width + image..width + image + 1,
            (Place::Image, None) => 0..0,
            (Place::Images, _) => width..situation.len(),
        }
    }

    fn is_in(situation: &[u8], place: usize, set: Set) -> bool {
        situation.get(place).is_some_and(|seen| set >> seen & 1 == 1)
    }

    /// Whether it may start in `situation`.
    pub(in crate::plan) fn allows(&self, situation: &[u8], image: Option<usize>, width: usize) -> bool {
        let places = |place| Self::places(place, image, width, situation);
        self.must.iter().all(|(place, set)| places(*place).all(|at| Self::is_in(situation, at, *set)))
            && !self.must_not.iter().any(|(place, set)| places(*place).any(|at| Self::is_in(situation, at, *set)))
    }

    /// The situations that it may lead to from `situation`, in which it may start.
    pub(in crate::plan) fn ends(&self, situation: &[u8], image: Option<usize>, width: usize) -> Vec<Vec<u8>> {
        let mut base = situation.to_vec();
        let put = |end: &mut Vec<u8>, place: Place, value: u8| {
            for at in Self::places(place, image, width, situation) {
                if let Some(slot) = end.get_mut(at) {
                    *slot = value;
                }
            }
        };
        for (place, value) in &self.sets {
            put(&mut base, *place, *value);
        }
        let mut ends = vec![base];
        for (place, values) in &self.leads {
            ends = ends
                .iter()
                .flat_map(|end| values.iter().map(move |value| (end.clone(), *value)))
                .map(|(mut end, value)| {
                    put(&mut end, *place, value);
                    end
                })
                .collect();
        }
        ends
    }
}
