//! `[[module]]` of appliance.toml: modules from outside.
//!
//! Absent on purpose: whether the program exists and what its own configuration means; it says that itself.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::error::{ConfigError, Problem, ValueError};
use super::field::Table;
use super::keys::appliance as keys;
use super::suggest;
use crate::model::Name;
use crate::model::limits::MODULES_MAX;
use crate::model::schema::built_in;
use crate::module::StartWhen;

/// A module from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideModule {
    /// Its name.
    pub name: Name,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// The folder that it is started in.
    pub folder: PathBuf,
    /// Its own configuration.
    pub config: Map<String, Json>,
    /// Whether it is given what BMCs are reached with.
    pub bmc: BmcTrust,
    /// When its program runs.
    pub start: StartWhen,
}

/// Whether a module is given what BMCs are reached with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BmcTrust {
    /// It is.
    Trusted,
    /// It is not.
    Untrusted,
}

pub(super) fn modules(root: &Table, folder: &Path) -> Result<Vec<OutsideModule>, ConfigError> {
    let mut modules: Vec<OutsideModule> = Vec::new();
    let mut lines = Vec::new();
    for table in root.sections(&keys::MODULE)? {
        let name_field = table.need(&keys::MODULE_NAME)?;
        let name: Name = name_field.parse()?;
        if is_built_in(&name) {
            return Err(name_field.bad(ValueError::BuiltInName(name.to_string())));
        }
        if let Some(first) = modules.iter().position(|module| module.name == name) {
            let first_line = lines.get(first).copied().unwrap_or_default();
            return Err(name_field.error(Problem::Twice { what: "module", name: name.to_string(), first_line }));
        }
        if modules.len() >= MODULES_MAX {
            return Err(name_field.bad(ValueError::TooManyModules));
        }
        lines.push(name_field.line());
        modules.push(module(&table, name, folder)?);
    }
    Ok(modules)
}

/// Whether something built in has this name: an extension, a module or its mutations. No module from outside may have it.
#[must_use]
pub fn is_built_in(name: &Name) -> bool {
    if built_in().iter().any(|extension| extension.name == *name) {
        return true;
    }
    let all = [
        crate::power::mutations::mutations(),
        crate::boot::mutations::mutations(),
        crate::sync::mutations::mutations(),
    ];
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    all.iter().flatten().any(|mutation| *mutation.module == *name.as_str() || first(&mutation.name) == name.as_str())
}

fn module(table: &Table, name: Name, folder: &Path) -> Result<OutsideModule, ConfigError> {
    let field = table.need(&keys::MODULE_COMMAND)?;
    let words =
        field.items()?.iter().map(|item| Ok(item.text()?.to_owned())).collect::<Result<Vec<_>, ConfigError>>()?;
    if words.first().is_none_or(String::is_empty) {
        return Err(field.bad(ValueError::Empty("name the program, as in [\"/opt/fans/module.py\"]")));
    }
    let config = match table.get(&keys::MODULE_CONFIG) {
        None => Map::new(),
        Some(field) => {
            let pairs = field.entries()?.into_iter().map(|(key, value)| Ok((key, value.json()?)));
            pairs.collect::<Result<_, ConfigError>>()?
        }
    };
    let bmc = match table.get(&keys::MODULE_BMC).map(|field| field.flag()).transpose()? {
        Some(true) => BmcTrust::Trusted,
        Some(false) | None => BmcTrust::Untrusted,
    };
    let start = match table.get(&keys::MODULE_START) {
        None => StartWhen::Demand,
        Some(field) => match field.text()? {
            "demand" => StartWhen::Demand,
            "always" => StartWhen::Always,
            other => {
                let advice = suggest::advice(other, ["demand", "always"]);
                return Err(field.bad(ValueError::Choice { got: other.to_owned(), advice }));
            }
        },
    };
    Ok(OutsideModule { name, command: words, folder: folder.join("."), config, bmc, start })
}
