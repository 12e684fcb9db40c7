//! `[[extension]]` of cluster.toml: variables of the operator's own, typed and checked.
//!
//! Invariants: an extension that was read fits the built-in ones and the others of its file.
//! Absent on purpose: the extensions of modules, which only the appliance knows.

use super::error::{ConfigError, Problem, ValueError};
use super::field::{Field, Table};
use super::keys::{Kind, cluster as keys};
use super::suggest;
use crate::model::schema::{ExtensionError, KnownWhile, Origin, Setting};
use crate::model::{Extension, Given, Name, Schema, Symbol, Value, VarType, VariableSpec};

/// Reads one extension, and adds it to those that the file has described so far.
pub(super) fn read(table: &Table, known: &mut Schema) -> Result<Extension, ConfigError> {
    let name_field = table.need(&keys::EXTENSION_NAME)?;
    let name: Name = name_field.parse()?;
    let tables = table.sections(&keys::VARIABLE)?;
    let variables = tables.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
    let extension = Extension { name, doc: text(table, &keys::DOC)?, origin: Origin::Described, variables };
    match known.add(extension.clone()) {
        Ok(()) => Ok(extension),
        Err(ExtensionError::Variable { path, problem, .. }) => {
            // The last one of a path is the one that comes too late.
            let of_path =
                |table: &&Table| table.get(&keys::VARIABLE_PATH).is_some_and(|f| f.text().ok() == Some(&path));
            let field = tables.iter().rev().find(of_path).and_then(|table| table.get(&keys::VARIABLE_PATH));
            Err(field.unwrap_or(name_field).bad(ValueError::Variable { path, problem }))
        }
        Err(error) => Err(name_field.bad(ValueError::Extension(error))),
    }
}

fn variable(table: &Table) -> Result<VariableSpec, ConfigError> {
    let kind = kind(table)?;
    let set = match table.text_or_default(&keys::SET)?.as_str() {
        "config" => Setting::Config,
        "goal" => Setting::Goal,
        "observed" => Setting::Observed,
        other => return Err(unknown_word(table, &keys::SET, other, keys::SETTINGS)),
    };
    let default = match table.get(&keys::DEFAULT) {
        // The message shows the line of the type, and not the secret.
        Some(_) if kind == VarType::Secret => return Err(table.need(&keys::TYPE)?.bad(ValueError::SecretDefault)),
        field => field.map(|field| default(&field, &kind)).transpose()?,
    };
    let known_while = match table.get(&keys::KNOWN_WHILE) {
        None => None,
        Some(_) => {
            let other = table.section(&keys::KNOWN_WHILE)?;
            Some(KnownWhile {
                variable: other.need(&keys::OTHER)?.parse()?,
                any_of: symbols(Some(other.need(&keys::ANY_OF)?))?,
            })
        }
    };
    Ok(VariableSpec {
        path: table.need(&keys::VARIABLE_PATH)?.text()?.to_owned(),
        kind,
        set,
        goals: symbols(table.get(&keys::GOALS))?,
        default,
        known_while,
        doc: text(table, &keys::DOC)?,
    })
}

fn text(table: &Table, key: &super::keys::Key) -> Result<String, ConfigError> {
    Ok(table.get(key).map(|field| field.text().map(str::to_owned)).transpose()?.unwrap_or_default())
}

fn symbols(field: Option<Field>) -> Result<Vec<Symbol>, ConfigError> {
    let Some(field) = field else { return Ok(Vec::new()) };
    field.items()?.iter().map(|item| Ok(Symbol::from(item.text()?))).collect()
}

fn kind(table: &Table) -> Result<VarType, ConfigError> {
    let word = table.need(&keys::TYPE)?.text()?;
    let inner = || -> Result<Box<VarType>, ConfigError> {
        let of = table.need(&keys::OF)?.text()?;
        plain(table, of)?.map(Box::new).ok_or_else(|| unknown_word(table, &keys::OF, of, keys::PLAIN_TYPES))
    };
    let kind = match word {
        "list" => Some(VarType::List { of: inner()? }),
        "map" => Some(VarType::Map { of: inner()? }),
        "secret" => Some(VarType::Secret),
        word => plain(table, word)?,
    };
    let kind = kind.ok_or_else(|| unknown_word(table, &keys::TYPE, word, keys::TYPES))?;
    let innermost = match &kind {
        VarType::List { of } | VarType::Map { of } => of.as_ref(),
        plain => plain,
    };
    // A key that says nothing here would be taken for one that does.
    let idle = [
        (&keys::OF, matches!(kind, VarType::List { .. } | VarType::Map { .. })),
        (&keys::VALUES, matches!(innermost, VarType::Enum { .. })),
        (&keys::MIN, matches!(innermost, VarType::Int { .. })),
        (&keys::MAX, matches!(innermost, VarType::Int { .. })),
    ];
    for (key, speaks) in idle {
        if let Some(field) = table.get(key).filter(|_| !speaks) {
            return Err(field.error(Problem::SaysNothing { key: key.name, kind: word.to_owned() }));
        }
    }
    Ok(kind)
}

fn plain(table: &Table, word: &str) -> Result<Option<VarType>, ConfigError> {
    let bound = |key, otherwise| table.get(key).map_or(Ok(otherwise), |field| field.integer());
    Ok(Some(match word {
        "enum" => VarType::Enum { values: symbols(Some(table.need(&keys::VALUES)?))? },
        "int" => VarType::Int { min: bound(&keys::MIN, i64::MIN)?, max: bound(&keys::MAX, i64::MAX)? },
        "text" => VarType::Text,
        "ip" => VarType::Ip,
        "mac" => VarType::Mac,
        "uuid" => VarType::Uuid,
        "digest" => VarType::Digest,
        "duration" => VarType::Duration,
        _ => return Ok(None),
    }))
}

fn default(field: &Field, kind: &VarType) -> Result<Value, ConfigError> {
    let given: Given = field.as_kind(Kind::Any).given()?;
    kind.take(&given).map_err(|allowed| field.bad(ValueError::Default { got: given.to_string(), allowed }))
}

fn unknown_word(table: &Table, key: &super::keys::Key, word: &str, known: &[&str]) -> ConfigError {
    let advice = suggest::advice(word, known.iter().copied());
    match table.need(key) {
        Ok(field) => field.bad(ValueError::Choice { got: word.to_owned(), advice }),
        Err(error) => error,
    }
}
