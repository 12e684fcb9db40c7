//! Tables and values of a TOML file with their places, read against the tables in [`super::keys`].
//!
//! Invariants: a table that was made has no key that its section does not know; every error carries the place of the
//! value that it is about.

use std::ops::Range;
use std::str::FromStr;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem, ValueError};
use super::keys::{Fallback, Key, Kind, Section};
use super::source::Source;
use super::suggest;
use crate::model::Given;

/// A whole document.
pub struct Document<'a> {
    source: &'a Source,
    root: Spanned<DeTable<'a>>,
}

/// A table, or the place where one could stand.
#[derive(Clone)]
pub struct Table<'a> {
    source: &'a Source,
    section: &'static Section,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
}

/// A value with its key.
#[derive(Clone)]
pub struct Field<'a> {
    source: &'a Source,
    key: String,
    kind: Kind,
    value: &'a DeValue<'a>,
    span: Range<usize>,
}

impl<'a> Document<'a> {
    /// Parses a text.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn parse(source: &'a Source) -> Result<Self, ConfigError> {
        match DeTable::parse(&source.text) {
            Ok(root) => Ok(Document { source, root }),
            Err(error) => {
                let end = source.text.len();
                let detail = error.message().lines().collect::<Vec<_>>().join(", ");
                Err(source.error(error.span().unwrap_or(end..end), Problem::Syntax { detail }))
            }
        }
    }

    /// The document's own table.
    ///
    /// # Errors
    /// When it has an unknown key.
    pub fn root(&'a self, section: &'static Section) -> Result<Table<'a>, ConfigError> {
        Table::new(self.source, section, self.root.get_ref(), 0..0)
    }
}

impl<'a> Table<'a> {
    fn new(
        source: &'a Source,
        section: &'static Section,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Result<Self, ConfigError> {
        let known = |name: &str| section.keys.iter().any(|key| key.name == name);
        let unknown = table.keys().filter(|key| !known(key.get_ref())).min_by_key(|key| key.span().start);
        if let Some(key) = unknown {
            let advice = suggest::advice(key.get_ref(), section.keys.iter().map(|key| key.name));
            let (name, section) = (key.get_ref().to_string(), section.title.to_owned());
            return Err(source.error(key.span(), Problem::UnknownKey { key: name, section, advice }));
        }
        Ok(Table { source, section, table: Some(table), span })
    }

    /// The value of a key, if it is given.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Field<'a>> {
        let value = self.table?.get(key.name)?;
        let path = match self.section.prefix {
            "" => key.name.to_owned(),
            prefix => format!("{prefix}.{}", key.name),
        };
        Some(Field { source: self.source, key: path, kind: key.kind, value: value.get_ref(), span: value.span() })
    }

    /// The value of a key that must be given.
    ///
    /// # Errors
    /// When it is not.
    pub fn need(&self, key: &Key) -> Result<Field<'a>, ConfigError> {
        self.get(key).ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &Key) -> ConfigError {
        let meaning = key.meaning.to_owned();
        let problem = match key.kind {
            Kind::Table(section) => Problem::MissingTable { title: section.title.to_owned(), meaning },
            kind => Problem::MissingKey {
                key: key.name.to_owned(),
                section: self.section.title.to_owned(),
                meaning,
                expected: kind.example(),
            },
        };
        self.source.error(self.span.clone(), problem)
    }

    /// A number, or its default.
    ///
    /// # Errors
    /// When it is of another type or out of bounds.
    pub fn number(&self, key: &Key) -> Result<u64, ConfigError> {
        match (self.get(key), key.fallback) {
            (Some(field), _) => field.number(),
            (None, Fallback::Number(number)) => Ok(number),
            (None, _) => Err(self.missing(key)),
        }
    }

    /// A text, or its default.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn text_or_default(&self, key: &Key) -> Result<String, ConfigError> {
        match (self.get(key), key.fallback) {
            (Some(field), _) => Ok(field.text()?.to_owned()),
            (None, Fallback::Text(text)) => Ok(text.to_owned()),
            (None, _) => Err(self.missing(key)),
        }
    }

    /// A table below this one. One that is not there and need not be has no keys.
    ///
    /// # Errors
    /// When it is missing, is no table, or has an unknown key.
    pub fn section(&self, key: &Key) -> Result<Table<'a>, ConfigError> {
        match (self.get(key), key.kind) {
            (Some(field), _) => field.table(),
            (None, Kind::Table(section)) if !matches!(key.fallback, Fallback::Required) => {
                Ok(Table { source: self.source, section, table: None, span: self.span.clone() })
            }
            (None, _) => Err(self.missing(key)),
        }
    }

    /// The tables of an array of tables; none when it is not there.
    ///
    /// # Errors
    /// When it is no array of tables, or one has an unknown key.
    pub fn sections(&self, key: &Key) -> Result<Vec<Table<'a>>, ConfigError> {
        let Some(field) = self.get(key) else { return Ok(Vec::new()) };
        field.items()?.into_iter().map(|item| item.table()).collect()
    }
}

impl<'a> Field<'a> {
    fn wrong_type(&self, expected: String) -> ConfigError {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(Problem::WrongType { key: self.key.clone(), found, expected })
    }

    /// An error about this value.
    #[must_use]
    pub fn error(&self, problem: Problem) -> ConfigError {
        self.source.error(self.span.clone(), problem)
    }

    /// An error about this value: it cannot be.
    #[must_use]
    pub fn bad(&self, source: ValueError) -> ConfigError {
        self.error(Problem::BadValue { key: self.key.clone(), source })
    }

    /// The key's whole path.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The line that it is in.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line_of(self.span.start)
    }

    /// The text.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self) -> Result<&'a str, ConfigError> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type(self.kind.expected())),
        }
    }

    /// The text, parsed.
    ///
    /// # Errors
    /// When it is something else, or cannot be parsed.
    pub fn parse<T: FromStr>(&self) -> Result<T, ConfigError>
    where
        ValueError: From<T::Err>,
    {
        self.text()?.parse().map_err(|error| self.bad(ValueError::from(error)))
    }

    /// The whole number, within the key's bounds.
    ///
    /// # Errors
    /// When it is something else or out of bounds.
    pub fn number(&self) -> Result<u64, ConfigError> {
        let Kind::Number { min, max } = self.kind else { return Err(self.wrong_type(self.kind.expected())) };
        let DeValue::Integer(written) = self.value else { return Err(self.wrong_type(self.kind.expected())) };
        let number = u64::from_str_radix(written.as_str(), written.radix()).ok();
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.bad(ValueError::Range { got: written.as_str().to_owned(), min, max }))
    }

    /// True or false.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&self) -> Result<bool, ConfigError> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.wrong_type(self.kind.expected())),
        }
    }

    /// A whole number of any sign.
    ///
    /// # Errors
    /// When it is something else, or too large for 64 bits.
    pub fn integer(&self) -> Result<i64, ConfigError> {
        let DeValue::Integer(written) = self.value else { return Err(self.wrong_type(self.kind.expected())) };
        let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
        number.ok_or_else(|| self.bad(ValueError::Integer(written.as_str().to_owned())))
    }

    /// A value whose type is not known here.
    ///
    /// # Errors
    /// When it is a fraction, a date, or true or false: no variable has such values.
    pub fn given(&self) -> Result<Given, ConfigError> {
        match self.value {
            DeValue::String(text) => Ok(Given::Text(text.to_string())),
            DeValue::Integer(_) => Ok(Given::Int(self.integer()?)),
            DeValue::Array(_) => Ok(Given::List(self.items()?.iter().map(Field::given).collect::<Result<_, _>>()?)),
            DeValue::Table(_) => {
                let entries = self.entries()?.into_iter().map(|(key, value)| Ok((key, value.given()?)));
                Ok(Given::Map(entries.collect::<Result<_, ConfigError>>()?))
            }
            _ => Err(self.wrong_type(self.kind.expected())),
        }
    }

    /// The same value as JSON.
    ///
    /// # Errors
    /// When it is or holds a date, which JSON does not have, or a number that no computer has.
    pub fn json(&self) -> Result<Json, ConfigError> {
        let refused = |expected: &str| self.wrong_type(expected.to_owned());
        Ok(match self.value {
            DeValue::String(text) => Json::from(text.as_ref()),
            DeValue::Integer(written) => {
                let number = i64::from_str_radix(written.as_str(), written.radix());
                Json::from(number.map_err(|_| refused("a whole number of 64 bits"))?)
            }
            DeValue::Float(written) => {
                let number = written.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
                Json::Number(number.ok_or_else(|| refused("a finite number"))?)
            }
            DeValue::Boolean(flag) => Json::from(*flag),
            DeValue::Datetime(_) => return Err(refused("a text, since modules know no dates")),
            DeValue::Array(items) => {
                let json = |item: &'a Spanned<DeValue<'a>>| self.with(self.key.clone(), item).json();
                Json::Array(items.iter().map(json).collect::<Result<_, _>>()?)
            }
            DeValue::Table(_) => {
                let pair = |(key, value): (String, Field<'a>)| Ok((key, value.json()?));
                Json::Object(self.entries()?.into_iter().map(pair).collect::<Result<_, ConfigError>>()?)
            }
        })
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// The values of a list, each with its own place.
    ///
    /// # Errors
    /// When it is something else.
    pub fn items(&self) -> Result<Vec<Field<'a>>, ConfigError> {
        let DeValue::Array(items) = self.value else { return Err(self.wrong_type(self.kind.expected())) };
        Ok(items.iter().map(|item| self.with(self.key.clone(), item)).collect())
    }

    /// A table whose keys are the operator's own, in the order of their names.
    ///
    /// # Errors
    /// When it is something else.
    pub fn entries(&self) -> Result<Vec<(String, Field<'a>)>, ConfigError> {
        let DeValue::Table(table) = self.value else { return Err(self.wrong_type(self.kind.expected())) };
        let entry = |(key, value): (&Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let name = key.get_ref().to_string();
            let path = format!("{}.{name}", self.key);
            (name, self.with(path, value))
        };
        Ok(table.iter().map(entry).collect())
    }

    /// Whether it is a table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// The same place and value, to be read as another kind.
    #[must_use]
    pub fn as_kind(&self, kind: Kind) -> Self {
        Field { kind, ..self.clone() }
    }

    fn with(&self, key: String, value: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        Field { source: self.source, key, kind: self.kind, value: value.get_ref(), span: value.span() }
    }

    /// The table.
    ///
    /// # Errors
    /// When it is something else, or has an unknown key.
    pub fn table(&self) -> Result<Table<'a>, ConfigError> {
        match (self.value, self.kind) {
            (DeValue::Table(table), Kind::Table(section) | Kind::Tables(section)) => {
                Table::new(self.source, section, table, self.span.clone())
            }
            _ => Err(self.wrong_type(self.kind.expected())),
        }
    }
}
