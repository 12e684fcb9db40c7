//! Whether a value can be reached while the machine has no power, as far as declarations say.
//!
//! What boots and runs needs power, and so does what is known only while the machine has it. What else there is belongs to
//! modules from outside: it needs power when each of their mutations that lead there does.
//!
//! Absent on purpose: ways of several steps, of which an earlier one needs power.

use super::State;
use super::node::Needs;
use crate::model::mutation::{Condition, Mutation, Subject, UNKNOWN};
use crate::model::{Symbol, Value, VarPath};

/// What reaching `value` of the variable at `path` needs.
pub(super) fn needs(state: &State, path: &VarPath, value: &Value) -> Needs {
    let Some(symbol) = value.as_symbol() else { return Needs::Power };
    let known_while = state.schema.find(path).and_then(|(_, spec)| spec.known_while.as_ref());
    let subject = |variable: &VarPath| Subject::Var(variable.clone());
    let known = known_while.is_none_or(|known| may_be(&subject(&known.variable), &known.any_of));
    let leads = |mutation: &&Mutation| {
        let changed = mutation.changes.iter().find(|change| change.subject == Subject::Var(path.clone()));
        changed.is_some_and(|change| change.to.iter().any(|to| to.as_str() == symbol))
    };
    let mut leading = state.control.modules.values().flat_map(|declared| &declared.mutations).filter(leads);
    match known && !is_of_machine(path) && leading.any(works_without_power) {
        true => Needs::Nothing,
        false => Needs::Power,
    }
}

/// Whether a variable is of the machine's own power, boot or system.
fn is_of_machine(path: &VarPath) -> bool {
    [VarPath::power(), VarPath::boot(), VarPath::run()].contains(path) || path.as_image().is_some()
}

fn works_without_power(mutation: &Mutation) -> bool {
    let own = |subject: &Subject| match subject {
        Subject::Var(path) => !is_of_machine(path),
        Subject::EachImage | Subject::AllImages => false,
    };
    let excluded = |condition: &Condition| !own(&condition.subject) && may_be(&condition.subject, &condition.any_of);
    mutation.changes.iter().all(|change| own(&change.subject))
        && mutation.consequences.iter().all(|consequence| own(&consequence.subject))
        && mutation.requires.iter().all(|condition| may_be(&condition.subject, &condition.any_of))
        && !mutation.excludes.iter().any(excluded)
}

/// Whether `subject` may have one of these values while the machine has no power.
fn may_be(subject: &Subject, any_of: &[Symbol]) -> bool {
    let while_off = match subject {
        Subject::Var(path) if *path == VarPath::power() => "off",
        Subject::Var(path) if *path == VarPath::boot() => "idle",
        Subject::Var(path) if !is_of_machine(path) => return true,
        Subject::Var(_) | Subject::EachImage | Subject::AllImages => UNKNOWN,
    };
    any_of.iter().any(|value| value.as_str() == while_off)
}
