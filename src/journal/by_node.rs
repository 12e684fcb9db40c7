//! Which facts are about which node: an index that is written many facts at a time.
//!
//! The facts of ten thousand nodes come mixed, so an index that follows each commit writes a page for nearly every
//! fact, several times what the facts themselves take. The keeper notes them sorted by node instead, and a reader looks
//! through the few facts that are not noted yet.
//!
//! Invariant: every fact up to the mark is noted; what is noted and no longer kept does no harm.

use rusqlite::{Connection, Row, params};

use super::tables::stored;
use super::turnstile::Turnstile;

/// Facts that are noted at once.
pub(super) const FACTS_AT_ONCE: u64 = 50_000;
/// Rows that are written in one transaction.
const ROWS_AT_ONCE: usize = 2_000;
/// Nodes whose rows are pruned in one transaction.
const NODES_AT_ONCE: usize = 200;

/// The last fact that is noted.
pub(super) fn noted(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT seq FROM facts_by_node_upto", [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Notes the facts up to this one, unless `stopped` says to leave it.
pub(super) fn note(
    connection: &Connection,
    up_to: u64,
    turnstile: &Turnstile,
    stopped: &dyn Fn() -> bool,
) -> rusqlite::Result<()> {
    let mut done = noted(connection)?;
    while done < up_to && !stopped() {
        let end = up_to.min(done + FACTS_AT_ONCE);
        let mut rows = facts_of_nodes(connection, done, end)?;
        rows.sort_unstable();
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            if stopped() {
                return Ok(());
            }
            let _turn = turnstile.turn();
            let transaction = connection.unchecked_transaction()?;
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO facts_by_node (node, seq) VALUES (?1, ?2)")?;
            for (node, seq) in chunk {
                insert.execute(params![node, seq])?;
            }
            drop(insert);
            transaction.commit()?;
        }
        let _turn = turnstile.turn();
        connection.execute("UPDATE facts_by_node_upto SET seq = ?1", [stored(end)])?;
        done = end;
    }
    Ok(())
}

fn facts_of_nodes(connection: &Connection, after: u64, up_to: u64) -> rusqlite::Result<Vec<(String, i64)>> {
    let sql = "SELECT node, seq FROM facts WHERE seq > ?1 AND seq <= ?2 AND node IS NOT NULL";
    let pair = |row: &Row| Ok((row.get(0)?, row.get(1)?));
    connection.prepare_cached(sql)?.query_map([stored(after), stored(up_to)], pair)?.collect()
}

/// Forgets what was noted after this fact; a part of the transaction that cuts the facts off.
pub(super) fn forget_after(connection: &Connection, last: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM facts_by_node WHERE seq > ?1", [stored(last)])?;
    connection.execute("UPDATE facts_by_node_upto SET seq = min(seq, ?1)", [stored(last)]).map(|_| ())
}

/// Forgets what was noted up to this fact, a few nodes at a time.
pub(super) fn forget_up_to(
    connection: &Connection,
    last: u64,
    turnstile: &Turnstile,
    stopped: &dyn Fn() -> bool,
) -> rusqlite::Result<()> {
    let mut node = String::new();
    loop {
        let _turn = turnstile.turn();
        let transaction = connection.unchecked_transaction()?;
        for _ in 0..NODES_AT_ONCE {
            let next = "SELECT min(node) FROM facts_by_node WHERE node > ?1";
            let found: Option<String> = transaction.prepare_cached(next)?.query_row([&node], |row| row.get(0))?;
            let Some(found) = found else { return transaction.commit() };
            node = found;
            let sql = "DELETE FROM facts_by_node WHERE node = ?1 AND seq <= ?2";
            transaction.prepare_cached(sql)?.execute(params![node, stored(last)])?;
        }
        transaction.commit()?;
        if stopped() {
            return Ok(());
        }
    }
}
