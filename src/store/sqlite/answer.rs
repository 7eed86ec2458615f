//! Answers kept for whoever asks again. They are written inside the transaction of the change that they answer for.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row;
use crate::clock::Timestamp;
use crate::store::Kept;

/// What is kept under a name, where its time is not over; and the log's position with the change that it answers for.
pub(in crate::store) fn kept(
    db: &Connection,
    name: &[u8; 32],
    now: Timestamp,
) -> rusqlite::Result<Option<(Kept, u64)>> {
    let mut find =
        db.prepare_cached("SELECT request, sealed, until, revision FROM answer WHERE name = ?1 AND until > ?2")?;
    let read = |row: &Row<'_>| {
        let kept = Kept { name: *name, request: row.get(0)?, sealed: row.get(1)?, until: row::moment(row, 2)? };
        Ok((kept, row.get::<_, i64>(3)?.cast_unsigned()))
    };
    find.query_row(params![name, now.as_millis()], read).optional()
}

/// Forgets the answers whose time is over.
pub(in crate::store) fn forget(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM answer WHERE until <= ?1")?.execute([now.as_millis()])?;
    Ok(())
}

/// Keeps the answer of a change that the log's position `revision` has in it.
pub(super) fn keep(db: &Connection, kept: &Kept, revision: u64) -> rusqlite::Result<()> {
    let Kept { name, request, sealed, until } = kept;
    db.prepare_cached(
        "INSERT OR REPLACE INTO answer (name, request, sealed, until, revision) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![name, request, sealed, until.as_millis(), revision.cast_signed()])?;
    Ok(())
}
