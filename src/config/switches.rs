//! The names of mutations and modules in `[engine]`: what is switched off there, and timeouts.
//!
//! A name that means nothing switches nothing off, so it is an error. Which mutations a module from outside has, it alone
//! can say: a name that begins with a described module's is taken as it is.

use std::collections::BTreeMap;

use super::error::{ConfigError, ValueError};
use super::field::{Field, Table};
use super::keys::appliance as keys;
use super::module::OutsideModule;
use super::suggest;

/// The names that mean something.
pub(super) struct Names<'a> {
    /// The mutations that are built in.
    mutations: Vec<String>,
    /// Their modules.
    modules: Vec<String>,
    /// The modules from outside, each as it begins its mutations' names.
    outside: Vec<&'a str>,
}

impl<'a> Names<'a> {
    /// The names when these modules from outside are described.
    pub(super) fn of(outside: &'a [OutsideModule]) -> Self {
        let all = [
            crate::power::mutations::mutations(),
            crate::boot::mutations::mutations(),
            crate::sync::mutations::mutations(),
        ];
        let mut modules: Vec<String> = all.iter().flatten().map(|mutation| mutation.module.to_string()).collect();
        modules.dedup();
        let mutations = all.into_iter().flatten().map(|mutation| mutation.name.to_string()).collect();
        Names { mutations, modules, outside: outside.iter().map(|module| module.name.as_str()).collect() }
    }

    /// What is wrong with `name` as that of a mutation, if anything is.
    fn wrong_mutation(&self, name: &str) -> Option<ValueError> {
        let (module, rest) = name.split_once('.').unwrap_or((name, ""));
        if self.mutations.iter().any(|known| known == name) || !rest.is_empty() && self.outside.contains(&module) {
            return None;
        }
        let theirs: Vec<String> = self.outside.iter().map(|module| format!("{module}.{rest}")).collect();
        let advice = match suggest::nearest(name, self.mutations.iter().chain(&theirs).map(String::as_str)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => {
                let outside = self.outside.iter().map(|module| format!("those of the module {module} ({module}.…)"));
                let known: Vec<String> = self.mutations.iter().cloned().chain(outside).collect();
                format!("known are {}", known.join(", "))
            }
        };
        Some(ValueError::Choice { got: name.to_owned(), advice })
    }

    fn wrong_module(&self, name: &str) -> Option<ValueError> {
        let known = || self.modules.iter().map(String::as_str).chain(self.outside.iter().copied());
        let advice = || suggest::advice(name, known());
        (!known().any(|known| known == name)).then(|| ValueError::Choice { got: name.to_owned(), advice: advice() })
    }
}

/// The mutations that are switched off.
pub(super) fn mutations(table: &Table, names: &Names) -> Result<Vec<String>, ConfigError> {
    let Some(field) = table.get(&keys::DISABLED_MUTATIONS) else { return Ok(Vec::new()) };
    field.items()?.iter().map(|item| checked(item, |name| names.wrong_mutation(name))).collect()
}

/// The modules that are switched off.
pub(super) fn modules(table: &Table, names: &Names) -> Result<Vec<String>, ConfigError> {
    let Some(field) = table.get(&keys::DISABLED_MODULES) else { return Ok(Vec::new()) };
    field.items()?.iter().map(|item| checked(item, |name| names.wrong_module(name))).collect()
}

fn checked(item: &Field, wrong: impl Fn(&str) -> Option<ValueError>) -> Result<String, ConfigError> {
    let name = item.text()?;
    match wrong(name) {
        Some(error) => Err(item.bad(error)),
        None => Ok(name.to_owned()),
    }
}

/// Timeouts in seconds, by mutation.
pub(super) fn timeouts(table: &Table, names: &Names) -> Result<BTreeMap<String, u64>, ConfigError> {
    let mut timeouts_s = BTreeMap::new();
    if let Some(field) = table.get(&keys::TIMEOUTS) {
        take_timeouts("", &field, names, &mut timeouts_s)?;
    }
    Ok(timeouts_s)
}

/// A mutation's name has a dot in it, which TOML takes for a table when the name is not quoted: both are understood.
fn take_timeouts(
    prefix: &str,
    field: &Field,
    names: &Names,
    timeouts_s: &mut BTreeMap<String, u64>,
) -> Result<(), ConfigError> {
    for (key, value) in field.entries()? {
        let name = format!("{prefix}{key}");
        if value.is_table() && prefix.is_empty() {
            take_timeouts(&format!("{name}."), &value, names, timeouts_s)?;
            continue;
        }
        if let Some(error) = names.wrong_mutation(&name) {
            return Err(value.bad(error));
        }
        timeouts_s.insert(name, value.as_kind(keys::TIMEOUT_KIND).number()?);
    }
    Ok(())
}
