//! Last uses, and trimming the log: what is written beside every change, and never hurries.

use rusqlite::{Connection, OptionalExtension};

use crate::clock::Timestamp;

/// Entries older than this are trimmed away; whoever is so far behind drops everything it remembers instead.
const KEEP_MILLIS: i64 = 10 * 60 * 1000;
/// Most entries kept, however young.
const KEEP_ENTRIES: i64 = 1_000_000;
/// Most entries trimmed at once, so that no change waits long behind it.
const TRIM_AT_ONCE: i64 = 50_000;

/// Notes when keys were last used; an earlier moment never replaces a later one.
pub(in crate::store) fn record_uses(db: &Connection, uses: &[(i64, Timestamp)]) -> rusqlite::Result<()> {
    // The key may have been deleted by hand since; then there is nothing to note.
    let mut note = db.prepare_cached(
        "INSERT INTO usage (key, last_used_at) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM key WHERE serial = ?1)
         ON CONFLICT (key) DO UPDATE SET last_used_at = excluded.last_used_at
          WHERE excluded.last_used_at > usage.last_used_at",
    )?;
    for (key, at) in uses {
        note.execute((key, at.as_millis()))?;
    }
    Ok(())
}

/// Trims the log's old end; how many entries went.
pub(in crate::store) fn trim(db: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    let oldest: Option<i64> = db.prepare_cached("SELECT min(seq) FROM log")?.query_row([], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let young = db
        .prepare_cached("SELECT seq FROM log WHERE at >= ?1 ORDER BY seq LIMIT 1")?
        .query_row([now.as_millis().saturating_sub(KEEP_MILLIS)], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(i64::MAX);
    let head: i64 = db.prepare_cached("SELECT seq FROM head")?.query_row([], |row| row.get(0))?;
    let keep_from = young.max(head - KEEP_ENTRIES + 1).min(oldest + TRIM_AT_ONCE);
    db.prepare_cached("DELETE FROM log WHERE seq < ?1")?.execute([keep_from])
}
