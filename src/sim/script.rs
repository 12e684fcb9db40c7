//! What an operator does during a simulation, line by line, with times.
//!
//! ```text
//! # the rest of the line is a comment
//! at 10m set n[1-100] power=off
//! at 15m set n[1-100] power=-
//! at 20m cycle n5
//! at 21m release n5
//! at 22m freeze n[1-10]
//! at 23m thaw n[1-10]
//! at 24m freeze all
//! at 25m thaw all
//! at 26m clear
//! at 5m fault packet-loss=0.2
//! at 30m faults off
//! at 12m cut n[7-9]
//! at 13m mend n[7-9]
//! at 14m kill n3
//! at 1h crash
//! at 2h expect all-arrived
//! at 2h expect n[1-3] power=off
//! ```
//! Deliberately absent: changing the description. A wish is one that `bootes set` takes, with the same words.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::fault::{Fault, FaultError};
use crate::model::nodeset::NodeSetError;
use crate::model::schema::VarError;
use crate::model::{NodeSet, Schema, Value, VarPath};

/// A length of virtual time: `90s`, `10m`, `1h30m`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no length of time: write it as in 90s, 10m or 1h30m")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || SpanError(text.to_owned());
        let mut total_ms: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let unit_ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(wrong()),
            };
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let part_ms = number.checked_mul(unit_ms).ok_or_else(wrong)?;
            total_ms = total_ms.checked_add(part_ms).ok_or_else(wrong)?;
            rest = tail;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Span(total_ms)) }
    }
}

impl fmt::Display for Span {
    /// Minutes and seconds, hours before them where there are any, milliseconds where they are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3_600_000, self.0 / 60_000 % 60, self.0 / 1_000 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        write!(f, "{minutes:02}m{seconds:02}")?;
        match self.0 % 1_000 {
            0 => f.write_str("s"),
            ms => write!(f, ".{ms:03}s"),
        }
    }
}

/// Something that is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A goal is set by hand, or taken back.
    Set(NodeSet, VarPath, Option<Value>),
    /// Nodes are to go through power off once.
    Cycle(NodeSet),
    /// Nodes' failures are lifted.
    Release(NodeSet),
    /// No step is started any more, of these nodes or of any.
    Freeze(Option<NodeSet>),
    /// Steps are started again, of these nodes or of all that are not frozen by themselves.
    Thaw(Option<NodeSet>),
    /// The mass event was looked into.
    Clear,
    /// A fault happens so often from now on.
    Fault(Fault),
    /// No fault happens from now on.
    FaultsOff,
    /// Machines' networks are cut, BMCs excepted.
    Cut(NodeSet),
    /// Machines' networks are whole again.
    Mend(NodeSet),
    /// Machines lose their power.
    Kill(NodeSet),
    /// The appliance is killed; it starts again as after any crash.
    Crash,
    /// Every node must be where it is wanted now.
    ExpectAllArrived,
    /// The appliance must believe this of these nodes now.
    Expect(NodeSet, VarPath, Value),
}

/// A command with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
    /// Its number in the file.
    pub number: usize,
    /// What.
    pub command: Command,
}

/// A script, ordered by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script(pub Vec<Line>);

/// Why a line is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no time, or no command.
    #[error("a line is 'at TIME COMMAND', as in 'at 10m crash'")]
    Form,
    /// The time.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// The command.
    #[error(
        "there is no command '{0}'; there are set, cycle, release, freeze, thaw, clear, fault, faults off, cut, mend, kill, crash and expect"
    )]
    Unknown(String),
    /// What comes after the command.
    #[error("write it as '{0}'")]
    Arguments(&'static str),
    /// The nodes.
    #[error(transparent)]
    Nodes(#[from] NodeSetError),
    /// A node that is not simulated.
    #[error("there is no node {name}; the nodes are n1 to n{nodes}")]
    NoSuchNode {
        /// The name.
        name: String,
        /// How many there are.
        nodes: usize,
    },
    /// The variable.
    #[error(transparent)]
    Variable(#[from] VarError),
    /// The fault.
    #[error(transparent)]
    Fault(#[from] FaultError),
}

/// Why a script is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {number}: {error}")]
pub struct ScriptError {
    /// The line.
    pub number: usize,
    /// What is wrong with it.
    #[source]
    pub error: CommandError,
}

impl Script {
    /// Reads a script for a simulation of so many nodes.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str, nodes: usize) -> Result<Self, ScriptError> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (at_ms, command) = parse_line(line, nodes).map_err(|error| ScriptError { number, error })?;
            lines.push(Line { at_ms, number, command });
        }
        lines.sort_by_key(|line| line.at_ms);
        Ok(Script(lines))
    }

    /// The last line's time, in milliseconds.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.0.last().map_or(0, |line| line.at_ms)
    }
}

fn parse_line(line: &str, nodes: usize) -> Result<(u64, Command), CommandError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [at, span, verb, arguments @ ..] = words.as_slice() else { return Err(CommandError::Form) };
    if *at != "at" {
        return Err(CommandError::Form);
    }
    let span: Span = span.parse()?;
    let only_nodes = |make: fn(NodeSet) -> Command, form| match arguments {
        [nodes_of] => Ok(make(node_set(nodes_of, nodes)?)),
        _ => Err(CommandError::Arguments(form)),
    };
    let command = match (*verb, arguments) {
        ("set", [of, wish]) => {
            let (path, value) = wish.split_once('=').ok_or(CommandError::Arguments(SET))?;
            let path: VarPath = path.parse()?;
            let value = if value == "-" { None } else { Some(Schema::default().parse_goal(&path, value)?) };
            Command::Set(node_set(of, nodes)?, path, value)
        }
        ("set", _) => return Err(CommandError::Arguments(SET)),
        ("cycle", _) => only_nodes(Command::Cycle, "at 10m cycle NODES")?,
        ("release", _) => only_nodes(Command::Release, "at 10m release NODES")?,
        ("freeze", ["all"]) => Command::Freeze(None),
        ("thaw", ["all"]) => Command::Thaw(None),
        ("freeze", _) => {
            only_nodes(|nodes| Command::Freeze(Some(nodes)), "at 10m freeze NODES', or as 'at 10m freeze all")?
        }
        ("thaw", _) => only_nodes(|nodes| Command::Thaw(Some(nodes)), "at 10m thaw NODES', or as 'at 10m thaw all")?,
        ("clear", []) => Command::Clear,
        ("clear", _) => return Err(CommandError::Arguments("at 10m clear")),
        ("cut", _) => only_nodes(Command::Cut, "at 10m cut NODES")?,
        ("mend", _) => only_nodes(Command::Mend, "at 10m mend NODES")?,
        ("kill", _) => only_nodes(Command::Kill, "at 10m kill NODES")?,
        ("fault", [fault]) => Command::Fault(fault.parse()?),
        ("fault", _) => return Err(CommandError::Arguments("at 10m fault KIND=RATE")),
        ("faults", ["off"]) => Command::FaultsOff,
        ("faults", _) => return Err(CommandError::Arguments("at 10m faults off")),
        ("crash", []) => Command::Crash,
        ("crash", _) => return Err(CommandError::Arguments("at 10m crash")),
        ("expect", ["all-arrived"]) => Command::ExpectAllArrived,
        ("expect", [of, wish]) => {
            let (path, value) = wish.split_once('=').ok_or(CommandError::Arguments(EXPECT))?;
            let path: VarPath = path.parse()?;
            let value = Value::symbol(value);
            Schema::default().check(&path, &value)?;
            Command::Expect(node_set(of, nodes)?, path, value)
        }
        ("expect", _) => return Err(CommandError::Arguments(EXPECT)),
        (other, _) => return Err(CommandError::Unknown(other.to_owned())),
    };
    Ok((span.0, command))
}

const SET: &str = "at 10m set NODES PATH=VALUE";
const EXPECT: &str = "at 10m expect all-arrived', or as 'at 10m expect NODES PATH=VALUE";

fn node_set(text: &str, nodes: usize) -> Result<NodeSet, CommandError> {
    let set: NodeSet = text.parse()?;
    let unknown = set.iter().find(|name| index_of(name).is_none_or(|index| index >= nodes)).map(str::to_owned);
    unknown.map_or(Ok(set), |name| Err(CommandError::NoSuchNode { name, nodes }))
}

/// The place of the node with this name: n1 is the first.
pub(super) fn index_of(name: &str) -> Option<usize> {
    let digits = name.strip_prefix('n').filter(|digits| !digits.starts_with('0'))?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_in_order_of_time() {
        let text = "# what follows\nat 1h30m crash\n\nat 10m set n[1-3] power=off # off\nat 10m set n2 power=-\n";
        let script = Script::parse(text, 3).unwrap();
        let times: Vec<(u64, usize)> = script.0.iter().map(|line| (line.at_ms, line.number)).collect();
        assert_eq!(times, [(600_000, 4), (600_000, 5), (5_400_000, 2)]);
        assert_eq!(script.end_ms(), 5_400_000);
        let set = "n[1-3]".parse().unwrap();
        assert_eq!(script.0[0].command, Command::Set(set, VarPath::power(), Some(Value::symbol("off"))));
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number_and_what_would_be_right() {
        let told = |text: &str| Script::parse(text, 3).unwrap_err().to_string();
        for (text, words) in [
            ("\ncrash", "line 2: a line is 'at TIME COMMAND'"),
            ("at ten crash", "'ten' is no length of time"),
            ("at 1m explode", "there is no command 'explode'"),
            ("at 1m cycle", "at 10m cycle NODES"),
            ("at 1m cycle n4", "the nodes are n1 to n3"),
            ("at 1m cycle n[1-", "n[1-"),
            ("at 1m set n1 power=purple", "purple"),
            ("at 1m fault gremlins=1", "there is no fault 'gremlins'"),
        ] {
            assert!(told(text).contains(words), "{text}: {}", told(text));
        }
    }

    #[test]
    fn a_length_of_time_prints_as_it_is_read() {
        for text in ["10m00s", "1h00m05s", "00m00.250s"] {
            let span = text.replace("00.250s", "250ms").parse::<Span>().unwrap();
            assert_eq!(span.to_string(), text);
        }
        for bad in ["", "10", "m", "10d", "1h-", "99999999999999999999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
