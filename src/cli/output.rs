//! The standard output: text, tables, JSON and YAML.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::error::CliError;
use super::table::{Paint, Table};
use super::yaml;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// JSON (RFC 8259).
    Json,
    /// YAML 1.2.
    Yaml,
}

/// The option `-o` of most commands.
#[derive(Debug, clap::Args)]
pub struct FormatArgs {
    /// How the answer is printed.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
}

/// The standard output.
#[derive(Debug)]
pub struct Output {
    paint: Paint,
    terminal: bool,
}

impl Output {
    /// The process's own. Colours are for a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    #[must_use]
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = if terminal && !refused && !dumb { Paint::Colour } else { Paint::Plain };
        Output { paint, terminal }
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether there are colours.
    #[must_use]
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&mut self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|source| CliError::Output { source })
    }

    /// Prints a table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn table(&mut self, table: &Table) -> Result<(), CliError> {
        self.text(&table.render(self.paint))
    }

    /// Prints a document.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn document<T: Serialize>(&mut self, format: Structured, document: &T) -> Result<(), CliError> {
        let text = match format {
            Structured::Json => serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(io::Error::from),
            Structured::Yaml => yaml::to_string(document),
        };
        self.text(&text.map_err(|source| CliError::Output { source })?)
    }

    /// Prints one of many documents: JSON on one line, YAML as a document of its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn one_of_many<T: Serialize>(&mut self, format: Structured, document: &T) -> Result<(), CliError> {
        let text = match format {
            Structured::Json => serde_json::to_string(document).map(|text| text + "\n").map_err(io::Error::from),
            Structured::Yaml => yaml::to_string(document).map(|text| format!("---\n{text}")),
        };
        self.text(&text.map_err(|source| CliError::Output { source })?)
    }
}

/// A format for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structured {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The format for programs, unless it is the one for people.
    #[must_use]
    pub fn structured(self) -> Option<Structured> {
        match self {
            Format::Table => None,
            Format::Json => Some(Structured::Json),
            Format::Yaml => Some(Structured::Yaml),
        }
    }
}
