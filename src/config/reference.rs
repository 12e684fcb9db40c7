//! The reference page of both files, written from the tables in [`super::keys`].

use std::fmt::Write;

use super::keys::{Fallback, Kind, Section, appliance, cluster};

const HEAD: &str = "\
# Configuration

Written by `bootes docs configuration`: change the tables in `src/config/keys.rs`, then write this page again.

Both files are TOML. An unknown key, a wrong type or a value that cannot be is refused with its line and column, and with
what was expected. *Required* keys have no default.

";

const CLUSTER_NOTES: &str = "\
A **pattern** expands as a node set does: `10.77.0.[11-13]` stands for three addresses, `52:54:00:b0:07:[01-03]` for three
hardware addresses (the numbers between brackets are decimal). It stands for as many values as `names` for nodes, in the
same order; a list gives them one by one. Every other key of a `[[node]]` table is the same for all its nodes, and `user` and
`password` may be.

A node is what its own table says, before what its pool says, before what the defaults say. Labels and values under `set` add
up, name by name. [STATE-MODEL.md](STATE-MODEL.md) tells more.

Applying a description merges it into what there is: what it does not name stays as it is. With `--prune` it is the whole
cluster, and what it does not name is removed.

";

/// The page, as Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    file(
        &mut page,
        &appliance::ROOT,
        "What `bootes serve --config FILE` starts from. Relative paths are relative to the file's folder.\n\n",
    );
    file(&mut page, &cluster::ROOT, &format!("What `bootes apply -f FILE` sends.\n\n{CLUSTER_NOTES}"));
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn file(page: &mut String, root: &Section, about: &str) {
    // Writing to a String does not fail.
    let _ = write!(page, "## {}\n\n{about}", root.title);
    let plain: Vec<_> = root.keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_) | Kind::Tables(_))).collect();
    if !plain.is_empty() {
        rows(page, root);
    }
    sections(page, root);
}

fn sections(page: &mut String, parent: &Section) {
    for key in parent.keys {
        let (Kind::Table(section) | Kind::Tables(section)) = key.kind else { continue };
        let needed = match key.fallback {
            Fallback::Required => "required".to_owned(),
            Fallback::Else(words) => format!("when it is not given: {words}"),
            Fallback::Number(_) | Fallback::Text(_) => String::new(),
        };
        let _ = write!(page, "### `{}`\n\n{}; {needed}.\n\n", section.title, sentence(key.meaning));
        rows(page, section);
        sections(page, section);
    }
}

fn rows(page: &mut String, section: &Section) {
    page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in section.keys {
        if matches!(key.kind, Kind::Table(_) | Kind::Tables(_)) {
            continue;
        }
        let fallback = match key.fallback {
            Fallback::Required => "*required*".to_owned(),
            Fallback::Number(number) => format!("`{number}`"),
            Fallback::Text(text) => format!("`\"{text}\"`"),
            Fallback::Else(words) => words.to_owned(),
        };
        let example = match key.kind {
            Kind::Text
            | Kind::TextOrTexts
            | Kind::Texts
            | Kind::Path
            | Kind::Number { .. }
            | Kind::Integer
            | Kind::Any => String::new(),
            kind => format!(": `{}`", kind.example()),
        };
        let _ = writeln!(page, "| `{}` | {}{example} | {fallback} | {} |", key.name, key.kind.expected(), key.meaning);
    }
    page.push('\n');
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}
