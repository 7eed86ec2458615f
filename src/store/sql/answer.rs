//! Answers kept for whoever asks again. They are written inside the transaction of the change that they answer for.

use super::{Db, Error, Row, values};
use crate::clock::Timestamp;
use crate::store::Kept;

/// What is kept under a name, where its time is not over.
pub(in crate::store) fn kept(db: &Db<'_>, name: &[u8; 32], now: Timestamp) -> Result<Option<Kept>, Error> {
    let read = |row: &Row<'_>| {
        Ok(Kept { name: *name, request: row.array(0)?, sealed: row.bytes(1)?.to_vec(), until: row.moment(2)? })
    };
    db.first("SELECT request, sealed, until FROM answer WHERE name = ?1 AND until > ?2", values![name, now], read)
}

/// Forgets the answers whose time is over.
pub(in crate::store) fn forget(db: &Db<'_>, now: Timestamp) -> Result<(), Error> {
    db.execute("DELETE FROM answer WHERE until <= ?1", values![now])?;
    Ok(())
}

/// Keeps an answer.
pub(super) fn keep(db: &Db<'_>, kept: &Kept) -> Result<(), Error> {
    let Kept { name, request, sealed, until } = kept;
    db.execute(
        "INSERT INTO answer (name, request, sealed, until) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET request = excluded.request, sealed = excluded.sealed, until = excluded.until",
        values![name, request, sealed, *until],
    )?;
    Ok(())
}
