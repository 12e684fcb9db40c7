//! A reader's side: a connection of its own, which only reads and never holds up the writer.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ToSql;

use super::JournalError;
use super::codec::{Damage, Record};
use super::tables::{self, RECORD, stored};
use crate::fact::{Fact, MalformedFact, Stamped};
use crate::model::{FactSeq, NodeId, UnixMs};

/// Which facts to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only facts about these nodes; empty for all.
    pub nodes: Vec<NodeId>,
    /// Only facts of these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Only facts after this one.
    pub after: FactSeq,
    /// Only facts from this time on.
    pub since: UnixMs,
    /// Only facts up to this time.
    pub until: Option<UnixMs>,
    /// Only facts up to this one.
    pub last: Option<FactSeq>,
    /// At most this many.
    pub limit: usize,
    /// Which ones, when there are more.
    pub keep: Keep,
}

impl Filter {
    /// Whether a fact passes; how many are asked for is not looked at.
    #[must_use]
    pub fn passes(&self, stamped: &Stamped<Fact>) -> bool {
        let node = self.nodes.is_empty() || stamped.fact.node().is_some_and(|node| self.nodes.contains(&node));
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == stamped.fact.kind());
        let time = stamped.at >= self.since && self.until.is_none_or(|until| stamped.at <= until);
        node && kind && time && stamped.seq > self.after && self.last.is_none_or(|last| stamped.seq <= last)
    }
}

/// Which facts are kept when more pass a filter than are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// The newest.
    #[default]
    Newest,
    /// The oldest, to go on from there.
    Oldest,
}

/// A reader's side.
#[derive(Debug)]
pub struct JournalReader {
    pub(super) connection: Connection,
}

impl JournalReader {
    /// Opens the journal in `dir` for reading.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        Ok(JournalReader { connection: tables::open_reader(&tables::path_in(dir))? })
    }

    /// The facts that pass `filter`, oldest first. In place of a record that is damaged stands a fact that says so.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, filter: &Filter) -> Result<Vec<Stamped<Fact>>, JournalError> {
        let failed = |source| JournalError::Read { source };
        let (sql, values) = select(filter);
        let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query(values.as_slice()).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            found.push(match tables::record(row) {
                Ok(record) => record.open().unwrap_or_else(|damage| damaged(&record, &damage)),
                Err(error) => {
                    let seq = row.get::<_, i64>(0).map_err(failed)?.unsigned_abs();
                    let (node, kind, fact) = (None, String::new(), String::new());
                    let record = Record { seq, at_ms: 0, node, kind, fact, checksum: 0 };
                    damaged(&record, &Damage::Unreadable(error.to_string()))
                }
            });
        }
        found.sort_by_key(|stamped: &Stamped<Fact>| stamped.seq);
        Ok(found)
    }
}

fn damaged(record: &Record, damage: &Damage) -> Stamped<Fact> {
    let reason = format!("the journal's record of this fact is damaged: {damage}");
    let fact = Fact::Malformed(MalformedFact { service: "journal".into(), sender: "disk".into(), reason });
    Stamped { seq: FactSeq(record.seq), at: UnixMs(record.at_ms), fact }
}

fn select(filter: &Filter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = format!("SELECT {RECORD} FROM facts WHERE seq > ?1");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(stored(filter.after.0))];
    let mut with = |sql: &mut String, condition: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(&condition.replace('#', &format!("?{}", values.len())));
    };
    if filter.since > UnixMs(0) {
        // The plus keeps SQLite from collecting all of these facts by the index only to sort them by place.
        let condition = " AND +at_ms >= # AND seq >= ifnull((SELECT min(seq) FROM facts WHERE at_ms >= #), 0)";
        with(&mut sql, condition, Box::new(stored(filter.since.0)));
    }
    if let Some(until) = filter.until {
        let condition = " AND +at_ms <= # AND seq <= ifnull((SELECT max(seq) FROM facts WHERE at_ms <= #), 0)";
        with(&mut sql, condition, Box::new(stored(until.0)));
    }
    if let Some(last) = filter.last {
        with(&mut sql, " AND seq <= #", Box::new(stored(last.0)));
    }
    if let Some((first, others)) = filter.kinds.split_first() {
        with(&mut sql, " AND kind IN (#", Box::new(first.clone()));
        others.iter().for_each(|kind| with(&mut sql, ", #", Box::new(kind.clone())));
        sql.push(')');
    }
    if !filter.nodes.is_empty() {
        let nodes: Vec<String> = filter.nodes.iter().map(|node| format!("'{node}'")).collect();
        let nodes = nodes.join(",");
        sql.push_str(&format!(
            " AND seq IN (SELECT seq FROM facts_by_node WHERE node IN ({nodes})
                UNION ALL SELECT seq FROM facts
                WHERE seq > (SELECT seq FROM facts_by_node_upto) AND node IN ({nodes}))"
        ));
    }
    let order = match filter.keep {
        Keep::Newest => "DESC",
        Keep::Oldest => "ASC",
    };
    sql.push_str(&format!(" ORDER BY seq {order} LIMIT {}", filter.limit));
    (sql, values)
}
