//! Answers kept for whoever asks again. They are written inside the transaction of the change that they answer for.

use super::{Db, Error, Row, Stop, values};
use crate::clock::Timestamp;
use crate::store::{Clash, Kept, Rejected};

/// What is kept under a name, where its time is not over; and the log's position with the change that it answers for.
pub(in crate::store) fn kept(db: &Db<'_>, name: &[u8; 32], now: Timestamp) -> Result<Option<(Kept, u64)>, Error> {
    let read = |row: &Row<'_>| {
        let kept = Kept { name: *name, request: row.array(0)?, sealed: row.bytes(1)?.to_vec(), until: row.moment(2)? };
        Ok((kept, row.position(3)?))
    };
    let sql = "SELECT request, sealed, until, revision FROM answer WHERE name = ?1 AND until > ?2";
    db.first(sql, values![name, now], read)
}

/// Forgets the answers whose time is over.
pub(in crate::store) fn forget(db: &Db<'_>, now: Timestamp) -> Result<(), Error> {
    db.execute("DELETE FROM answer WHERE until <= ?1", values![now])?;
    Ok(())
}

/// Whether nothing is kept under the name of this answer: the same request may have come again at another replica before the
/// first was done. Changes are made one after the other, so whoever comes second finds what the first one kept.
pub(super) fn must_be_first(db: &Db<'_>, coming: &Kept, now: Timestamp) -> Result<(), Stop> {
    let Some((before, _)) = kept(db, &coming.name, now)? else { return Ok(()) };
    let (clash, why) = if before.request == coming.request {
        (Clash::Running, "the same request was carried out meanwhile: ask again for its answer")
    } else {
        (Clash::Reused, "this Idempotency-Key came with another request before")
    };
    Err(Rejected::Conflict(clash, why.to_owned()).into())
}

/// Keeps the answer of a change that the log's position `revision` has in it.
pub(super) fn keep(db: &Db<'_>, kept: &Kept, revision: u64) -> Result<(), Error> {
    let Kept { name, request, sealed, until } = kept;
    db.execute(
        "INSERT INTO answer (name, request, sealed, until, revision) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET request = excluded.request, sealed = excluded.sealed, until = excluded.until,
           revision = excluded.revision",
        values![name, request, sealed, *until, revision.cast_signed()],
    )?;
    Ok(())
}
