//! Last uses: written beside every change, and never in a hurry.

use super::change::places;
use super::{Db, Error, Value};
use crate::clock::Timestamp;

/// Notes when keys were last used; an earlier moment never replaces a later one. Each key stands once.
pub(in crate::store) fn record_uses(db: &Db<'_>, uses: &[(i64, Timestamp)]) -> Result<(), Error> {
    for some in uses.chunks(db.at_once()) {
        // The key may have been deleted by hand since; then there is nothing to note.
        let sql = format!(
            "INSERT INTO usage (key, last_used_at)
             SELECT column1, column2 FROM (VALUES {}) AS used WHERE EXISTS (SELECT 1 FROM key WHERE serial = column1)
             ON CONFLICT (key) DO UPDATE SET last_used_at = excluded.last_used_at
              WHERE excluded.last_used_at > usage.last_used_at",
            places(some.len(), 2)
        );
        let values: Vec<_> = some.iter().flat_map(|(key, at)| [Value::from(*key), Value::from(*at)]).collect();
        db.execute(&sql, &values)?;
    }
    Ok(())
}
