//! What is read before anybody asks: living keys, when keys were used, and the digests of all secrets. In chunks, each one
//! statement that goes on where the last one ended, so that none keeps a reader long.

use rusqlite::{Connection, Row};

use super::words::Words;
use super::{load, row};
use crate::clock::Timestamp;
use crate::key::{AccountId, AccountState, Digest, Permissions, Standing};
use crate::store::{Chunk, Place, Policy, Which};

/// Active keys below a place and their current secrets, by falling serial: neighbours lie on one page. A row that cannot be
/// read is passed over; who presents its secret is told of it.
pub(in crate::store) fn living(
    db: &Connection,
    policy: &Policy,
    place: Place,
    mut words: Words,
    most: usize,
) -> rusqlite::Result<(Chunk, Words)> {
    let as_of = load::head(db)?;
    let (sql, since) = match place.which {
        Which::UsedSince(since) => (USED, since),
        Which::NotUsedSince(since) => (UNUSED, since),
    };
    let mut find = db.prepare_cached(sql)?;
    let mut rows = find.query((place.below, since.as_millis()))?;
    let mut keys = Vec::with_capacity(most);
    let (mut reading, mut next) = (None::<Reading>, None);
    while let Some(row) = rows.next()? {
        let (serial, digest) = (row.get(2)?, row.get(0).map(Digest::from_bytes)?);
        // One row for each place of the key's user, or one for all that there is.
        if let Some(key) = reading.take_if(|key| key.serial != serial || key.digest != digest) {
            let below = key.serial;
            keys.extend(key.read(policy));
            if keys.len() >= most && below != serial {
                next = Some(Place { below, ..place });
                break;
            }
        }
        let standing = match reading.take() {
            None => load::standing(row, &mut words).ok().flatten(),
            Some(key) => key.standing,
        };
        let place = membership(row, policy, &mut words);
        reading = Some(Reading { serial, digest, standing: standing.and_then(|key| with(key, place.ok()?)) });
    }
    keys.extend(reading.and_then(|key| key.read(policy)));
    Ok((Chunk { as_of, keys, next }, words))
}

/// A key of which some rows are read; no standing where one of them cannot be.
struct Reading {
    serial: i64,
    digest: Digest,
    standing: Option<Standing>,
}

impl Reading {
    /// In the order in which a look-up finds its places.
    fn read(self, policy: &Policy) -> Option<(Digest, Standing)> {
        let mut standing = self.standing?;
        standing.memberships.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        standing.licensed = load::is_licensed(policy, &standing);
        Some((self.digest, standing))
    }
}

fn with(mut key: Standing, place: Option<(AccountId, AccountState, Permissions)>) -> Option<Standing> {
    key.memberships.extend(place);
    Some(key)
}

/// When keys above a serial were last used, by rising serial.
pub(in crate::store) fn uses(db: &Connection, above: i64, most: usize) -> rusqlite::Result<Vec<(i64, Timestamp)>> {
    db.prepare_cached("SELECT key, last_used_at FROM usage WHERE key > ?1 ORDER BY key LIMIT ?2")?
        .query_map((above, limit(most)), |row| Ok((row.get(0)?, row::moment(row, 1)?)))?
        .collect()
}

/// The digests of all secrets after one, in order, whatever became of their keys.
pub(in crate::store) fn digests(
    db: &Connection,
    after: Option<&Digest>,
    most: usize,
    mut into: Vec<Digest>,
) -> rusqlite::Result<Vec<Digest>> {
    let after: &[u8] = after.map_or(&[], |digest| digest.as_bytes());
    let mut find = db.prepare_cached("SELECT digest FROM secret WHERE digest > ?1 ORDER BY digest LIMIT ?2")?;
    let mut rows = find.query((after, limit(most)))?;
    into.clear();
    while let Some(row) = rows.next()? {
        into.push(Digest::from_bytes(row.get(0)?));
    }
    Ok(into)
}

/// How many secrets there are; at most `most`, to count no further.
pub(in crate::store) fn secrets(db: &Connection, most: usize) -> rusqlite::Result<usize> {
    let mut count = db.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM secret LIMIT ?1)")?;
    count.query_row([limit(most)], |row| row.get(0)).map(|count: i64| usize::try_from(count).unwrap_or(0))
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn membership(
    row: &Row<'_>,
    policy: &Policy,
    words: &mut Words,
) -> rusqlite::Result<Option<(AccountId, AccountState, Permissions)>> {
    if !policy.licensed(row.get_ref(19)?.as_str_or_null()?) {
        return Ok(None);
    }
    // Nobody's, nowhere, or in an account deleted by hand.
    let (Some(account), Some(state)) = (words.account(row, 16)?, row::optional(row, 17)?) else { return Ok(None) };
    Ok(Some((account, state, words.permissions(row, 18)?)))
}

/// CROSS JOIN keeps SQLite to the order it is written in: one table from its back to its front, and the others by index.
macro_rules! living {
    ($serial:literal of $first:literal where $which:literal) => {
        concat!(
            "SELECT s.digest, s.state, k.serial, k.id, k.kind, k.state, k.account, a.state, k.user, k.permissions,
                    k.allowed_ips, k.not_before, k.expires_at, s.until, s.used, s.number, m.account, ma.state, m.permissions,
                    m.licence
               FROM ",
            $first,
            " CROSS JOIN secret s ON s.key = k.serial AND s.state = 'current'
              LEFT JOIN account a ON a.id = k.account
              LEFT JOIN membership m ON m.user = k.user AND (k.kind = 'user' OR m.account = k.account)
              LEFT JOIN account ma ON ma.id = m.account
              WHERE k.state = 'active' AND ",
            $serial,
            " < ?1 AND ",
            $which,
            " ORDER BY ",
            $serial,
            " DESC"
        )
    };
}

const USED: &str = living!("u.key" of "usage u CROSS JOIN key k ON k.serial = u.key" where "u.last_used_at >= ?2");
const UNUSED: &str =
    living!("k.serial" of "key k LEFT JOIN usage u ON u.key = k.serial" where "(u.last_used_at >= ?2) IS NOT TRUE");
