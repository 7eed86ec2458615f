//! The log of changes, which the schema's triggers write: where it ends, and its old end.

use super::{Db, Error, Row, values};
use crate::clock::Timestamp;
use crate::store::log::{Entry, Subject};

/// Entries older than this are trimmed away; whoever is so far behind drops everything it remembers instead.
const KEEP_MILLIS: i64 = 10 * 60 * 1000;
/// Most entries kept, however young.
const KEEP_ENTRIES: i64 = 1_000_000;
/// Most entries trimmed at once, so that no change waits long behind it.
const TRIM_AT_ONCE: i64 = 50_000;

/// The last position.
pub(in crate::store) fn head(db: &Db<'_>) -> Result<u64, Error> {
    db.one("SELECT seq FROM head", values![], |row| row.position(0))
}

/// Trims the old end; how many entries went.
pub(in crate::store) fn trim(db: &Db<'_>, now: Timestamp) -> Result<usize, Error> {
    let oldest = db.one("SELECT min(seq) FROM log", values![], |row| row.optional_int(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let bound = now.as_millis().saturating_sub(KEEP_MILLIS);
    let young = db
        .first("SELECT seq FROM log WHERE at >= ?1 ORDER BY seq LIMIT 1", values![bound], |row| row.int(0))?
        .unwrap_or(i64::MAX);
    let head = head(db)?.cast_signed();
    let keep_from = young.max(head - KEEP_ENTRIES + 1).min(oldest + TRIM_AT_ONCE);
    db.execute("DELETE FROM log WHERE seq < ?1", values![keep_from])
}

/// An entry, of its position, kind and subject.
pub(in crate::store) fn entry(row: &Row<'_>) -> Result<Entry, Error> {
    let subject = subject(row.int(1)?, row.bytes(2)?).unwrap_or(Subject::Everything);
    Ok(Entry { seq: row.position(0)?, subject })
}

/// None for what this version does not know: then anything may have changed.
fn subject(kind: i64, bytes: &[u8]) -> Option<Subject> {
    match kind {
        1 | 5 => bytes.try_into().ok().map(Subject::Secret),
        2 => match std::str::from_utf8(bytes).ok()?.split_once(':')? {
            ("account", id) => Some(Subject::Account(id.into())),
            ("user", id) => Some(Subject::User(id.into())),
            _ => None,
        },
        3 => Some(Subject::Prefixes),
        _ => None,
    }
}
