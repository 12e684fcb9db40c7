//! The kernel's module index: which file a module is, what it needs first, and which modules a device asks for.
//!
//! Invariants: pure; borrows its texts, so that an index over a whole distribution costs little; a line that makes no
//! sense is skipped, since one bad line must not keep a machine from its network. An order always ends, also where files
//! name each other in a circle.
//! Deliberately absent: install and remove commands, options, blacklists (`module_blacklist=` is the kernel's own).
//! Specification: modules.dep(5), depmod(8); `modules.alias`, `modules.softdep` and `modules.builtin` as kmod 30 writes
//! them; patterns as fnmatch(3).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// The texts of one kernel's index, from `lib/modules/<release>/`. A missing file is an empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// `modules.dep`.
    pub dep: String,
    /// `modules.alias`.
    pub alias: String,
    /// `modules.softdep`.
    pub softdep: String,
    /// `modules.builtin`.
    pub builtin: String,
}

/// A parsed index.
#[derive(Debug)]
pub struct Index<'a> {
    modules: HashMap<Cow<'a, str>, Entry<'a>>,
    /// Patterns by what stands before their first colon, or under the empty text where that is not fixed.
    aliases: HashMap<&'a str, Vec<(&'a str, &'a str)>>,
    soft: HashMap<Cow<'a, str>, Vec<&'a str>>,
    builtin: BTreeSet<Cow<'a, str>>,
}

#[derive(Debug)]
struct Entry<'a> {
    path: &'a str,
    needs: Vec<&'a str>,
}

/// One file to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// The path below `lib/modules/<release>/`.
    pub path: &'a str,
    /// How it is stored.
    pub form: Form,
}

/// How a module's file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// Compressed (`.xz`, `.zst`, `.gz`): the kernel unpacks it.
    Compressed,
}

/// Where a module comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// It is part of the kernel.
    BuiltIn,
    /// These files, in this order; the last one is the module itself.
    Files(Vec<File<'a>>),
    /// The index does not know it.
    Unknown,
}

/// The name of the module in the file at `path`, with underscores for hyphens as the kernel has it.
#[must_use]
pub fn module_name(path: &str) -> Cow<'_, str> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
    underscored(stem)
}

fn underscored(name: &str) -> Cow<'_, str> {
    if name.contains('-') { Cow::Owned(name.replace('-', "_")) } else { Cow::Borrowed(name) }
}

fn form(path: &str) -> Form {
    if path.ends_with(".ko") { Form::Plain } else { Form::Compressed }
}

impl<'a> Index<'a> {
    /// Parses the texts.
    #[must_use]
    pub fn parse(texts: &'a Texts) -> Self {
        let mut modules = HashMap::new();
        for line in texts.dep.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            modules.insert(module_name(path), Entry { path, needs: needs.split_whitespace().collect() });
        }
        let mut aliases: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
        for line in texts.alias.lines() {
            let mut words = line.split_whitespace();
            let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            aliases.entry(bucket(pattern)).or_default().push((pattern, module));
        }
        let mut soft: HashMap<Cow<str>, Vec<&str>> = HashMap::new();
        for line in texts.softdep.lines() {
            let mut words = line.split_whitespace();
            let (Some("softdep"), Some(module)) = (words.next(), words.next()) else {
                continue;
            };
            let before = words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
            soft.entry(underscored(module)).or_default().extend(before);
        }
        let builtin = texts.builtin.lines().map(module_name).collect();
        Self { modules, aliases, soft, builtin }
    }

    /// The modules that a device's `modalias`, or a request for a feature such as `fs-squashfs`, asks for.
    #[must_use]
    pub fn wanted_by(&self, modalias: &str) -> Vec<&'a str> {
        let fixed = modalias.split_once(':').map_or("", |(fixed, _)| fixed);
        let mut buckets = vec![fixed];
        if !fixed.is_empty() {
            buckets.push("");
        }
        let patterns = buckets.into_iter().filter_map(|bucket| self.aliases.get(bucket)).flatten();
        let mut wanted: Vec<&str> = Vec::new();
        for (pattern, module) in patterns {
            if matches(pattern, modalias) && !wanted.contains(module) {
                wanted.push(module);
            }
        }
        wanted
    }

    /// What must be loaded, in order, to have `module`.
    #[must_use]
    pub fn find(&self, module: &str) -> Found<'a> {
        let name = underscored(module);
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        self.visit(&name, &mut seen, &mut order);
        if !order.is_empty() {
            Found::Files(order)
        } else if self.builtin.contains(name.as_ref()) {
            Found::BuiltIn
        } else {
            Found::Unknown
        }
    }

    /// Depth is bounded by `seen`: each module is entered once.
    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<File<'a>>) {
        let Some(entry) = self.modules.get(name) else {
            return;
        };
        if !seen.insert(name.to_owned()) {
            return;
        }
        for before in self.soft.get(name).into_iter().flatten() {
            self.visit(&underscored(before), seen, order);
        }
        // depmod lists what is needed with the deepest last.
        for need in entry.needs.iter().rev() {
            self.visit(&module_name(need), seen, order);
        }
        order.push(File { path: entry.path, form: form(entry.path) });
    }
}

fn bucket(pattern: &str) -> &str {
    match pattern.split_once(':') {
        Some((fixed, _)) if !fixed.contains(['*', '?', '[']) => fixed,
        _ => "",
    }
}

/// Whether `text` matches `pattern`: `*`, `?`, and `[…]` with ranges and `!`. A hyphen equals an underscore, because
/// depmod and the kernel disagree on which one a name has.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0_usize, 0_usize);
    // Where to go on from when the text does not fit: after the last star, with that star one byte longer.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(at), text.get(read)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                retry = Some((at.saturating_add(1), read));
                Some((1, 0))
            }
            (Some(b'?'), Some(_)) => Some((1, 1)),
            (Some(b'['), Some(byte)) => set(pattern.get(at..).unwrap_or_default(), *byte).map(|length| (length, 1)),
            (Some(a), Some(b)) if same(*a, *b) => Some((1, 1)),
            _ => None,
        };
        match (step, retry) {
            (Some((pattern_step, text_step)), _) => {
                at = at.saturating_add(pattern_step);
                read = read.saturating_add(text_step);
            }
            (None, Some((after_star, from))) if from < text.len() => {
                at = after_star;
                read = from.saturating_add(1);
                retry = Some((after_star, read));
            }
            (None, _) => return false,
        }
    }
}

fn same(a: u8, b: u8) -> bool {
    a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'))
}

/// The length of the set at the start of `pattern`, if `byte` is in it.
fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().position(|byte| *byte == b']')?;
    let inside = pattern.get(1..end)?;
    let (inverted, mut rest) = match inside.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, inside),
    };
    let mut found = false;
    while let Some((first, after)) = rest.split_first() {
        rest = match after {
            [b'-', last, after @ ..] => {
                found |= (*first..=*last).contains(&byte);
                after
            }
            _ => {
                found |= *first == byte;
                after
            }
        };
    }
    (found != inverted).then(|| end.saturating_add(1))
}
