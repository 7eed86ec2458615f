//! Last uses: written beside every change, and never in a hurry.

use super::{Db, Error, values};
use crate::clock::Timestamp;

/// Notes when keys were last used; an earlier moment never replaces a later one.
pub(in crate::store) fn record_uses(db: &Db<'_>, uses: &[(i64, Timestamp)]) -> Result<(), Error> {
    for (key, at) in uses {
        // The key may have been deleted by hand since; then there is nothing to note.
        db.execute(
            "INSERT INTO usage (key, last_used_at) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM key WHERE serial = ?1)
             ON CONFLICT (key) DO UPDATE SET last_used_at = excluded.last_used_at
              WHERE excluded.last_used_at > usage.last_used_at",
            values![*key, *at],
        )?;
    }
    Ok(())
}
