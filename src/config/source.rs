//! A file's text, and the line, column and excerpt of a place in it.
//!
//! Columns count characters from 1. An excerpt shows one line, at most [`EXCERPT_CHARS_MAX`] characters of it around the
//! place; control characters are replaced. What follows the word `password` in a line is hidden, and so are the values
//! under `set`, any of which may be a secret.
//! Absent on purpose: TOML.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Problem};
use crate::model::limits::API_BODY_BYTES_MAX;

/// Characters of a line that an excerpt shows.
const EXCERPT_CHARS_MAX: usize = 100;
/// Characters kept before the place when the beginning of a long line is left out.
const EXCERPT_LEAD_CHARS: usize = 40;
/// The words after which an excerpt shows nothing more.
const PASSWORD: &str = "password";
const SET: &str = "set";

/// A file's text.
#[derive(Debug)]
pub struct Source {
    /// The file's name, for messages.
    pub file: PathBuf,
    /// All of it.
    pub text: String,
}

/// A place in a text, with the line that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    excerpt: String,
    caret_at: usize,
    carets: usize,
}

impl Source {
    /// Reads a file, or the standard input when it is named `-`.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let whole = |problem| ConfigError::new(path, None, problem);
        let unreadable = |source| whole(Problem::Unreadable { source });
        let mut input: Box<dyn Read> = match path.to_str() {
            Some("-") => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(path).map_err(unreadable)?),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(API_BODY_BYTES_MAX).unwrap_or(u64::MAX);
        input.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > API_BODY_BYTES_MAX {
            return Err(whole(Problem::TooLarge));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source { file: path.to_owned(), text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(Source { file: path.to_owned(), text }.error(good..good.saturating_add(1), Problem::NotUtf8))
            }
        }
    }

    /// An error at a place of this text.
    #[must_use]
    pub fn error(&self, span: Range<usize>, problem: Problem) -> ConfigError {
        ConfigError::new(&self.file, Some(self.place(span)), problem)
    }

    /// The line of a byte, from 1.
    #[must_use]
    pub fn line_of(&self, at: usize) -> usize {
        self.place(at..at).line
    }

    /// The place of a span of bytes; one beyond the end is taken for the end.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = self.boundary(span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let rest = self.text.get(line_start..).unwrap_or_default();
        let whole_line = rest.lines().next().unwrap_or_default();
        let column = self.text.get(line_start..start).unwrap_or_default().chars().count() + 1;
        let end = self.boundary(span.end.max(start)).min(line_start + whole_line.len()).max(start);
        let marked = self.text.get(start..end).unwrap_or_default().chars().count();
        let (shown, lead) = excerpt(whole_line, column - 1, secret_from(before, whole_line));
        let room = shown.chars().count().saturating_sub(lead);
        Place { line, column, caret_at: lead, carets: marked.min(room).max(1), excerpt: shown }
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Where in a line something begins that may be a secret; `before` is the text up to the place that is told of.
fn secret_from(before: &str, line: &str) -> Option<usize> {
    let password = line.find(PASSWORD).map(|at| at + PASSWORD.len());
    let word = |(at, _): &(usize, &str)| {
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let (left, right) = (line.get(..*at).unwrap_or_default(), line.get(at + SET.len()..).unwrap_or_default());
        apart(left.chars().next_back()) && right.trim_start().starts_with(['=', '.'])
    };
    let set = line.match_indices(SET).find(word).map(|(at, _)| at + SET.len());
    // Under a heading such as [node.set] the keys stand alone.
    let heading = before.lines().rev().map(str::trim).find(|line| line.starts_with('['));
    let under_set = heading.is_some_and(|heading| heading.trim_end_matches([']', ' ']).ends_with(".set"));
    let value = line.find('=').filter(|_| under_set && !line.trim_start().starts_with('[')).map(|at| at + 1);
    [password, set, value].into_iter().flatten().min()
}

/// What is shown of a line, and after how many of the shown characters the place begins.
fn excerpt(line: &str, place: usize, secret_from: Option<usize>) -> (String, usize) {
    let shown = match secret_from {
        Some(at) => format!("{} …", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    };
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let all: Vec<char> = shown.chars().map(printable).collect();
    let place = place.min(all.len());
    if all.len() <= EXCERPT_CHARS_MAX {
        return (all.into_iter().collect(), place);
    }
    let from = place.saturating_sub(EXCERPT_LEAD_CHARS);
    let cut: String = all.iter().skip(from).take(EXCERPT_CHARS_MAX).collect();
    match from {
        0 => (format!("{cut}…"), place),
        _ => (format!("…{cut}"), place - from + 1),
    }
}

impl fmt::Display for Place {
    /// The line with its number, and a mark under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.excerpt)?;
        write!(f, "{margin} | {}{}", " ".repeat(self.caret_at), "^".repeat(self.carets))
    }
}
