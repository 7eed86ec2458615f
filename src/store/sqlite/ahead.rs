//! What is read before anybody asks: living keys, when keys were used, and the digests of all secrets. In chunks, each one
//! statement that goes on where the last one ended, so that none keeps a reader long.

use std::ops::ControlFlow;

use crate::clock::Timestamp;
use crate::key::{AccountId, AccountState, Digest, Permissions, Standing};
use crate::store::sql::{Db, Error, Words, is_licensed, log, membership, standing, values};
use crate::store::{Chunk, Place, Policy, Which};

/// Active keys below a place and their current secrets, by falling serial: neighbours lie on one page. A row that cannot be
/// read is passed over; who presents its secret is told of it.
pub(in crate::store) fn living(
    db: &Db<'_>,
    policy: &Policy,
    place: Place,
    mut words: Words,
    most: usize,
) -> Result<(Chunk, Words), Error> {
    let as_of = log::head(db)?;
    let (sql, since) = match place.which {
        Which::UsedSince(since) => (USED, since),
        Which::NotUsedSince(since) => (UNUSED, since),
    };
    let mut keys = Vec::with_capacity(most);
    let (mut reading, mut next) = (None::<Reading>, None);
    db.while_each(sql, values![place.below, since], |row| {
        let (serial, digest) = (row.int(2)?, row.array(0).map(Digest::from_bytes)?);
        // One row for each place of the key's user, or one for all that there is.
        if let Some(key) = reading.take_if(|key| key.serial != serial || key.digest != digest) {
            let below = key.serial;
            keys.extend(key.read(policy));
            if keys.len() >= most && below != serial {
                next = Some(Place { below, ..place });
                return Ok(ControlFlow::Break(()));
            }
        }
        let standing = match reading.take() {
            None => standing(row, &mut words).ok().flatten(),
            Some(key) => key.standing,
        };
        let place = membership(row, policy, &mut words);
        reading = Some(Reading { serial, digest, standing: standing.and_then(|key| with(key, place.ok()?)) });
        Ok(ControlFlow::Continue(()))
    })?;
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
        standing.licensed = is_licensed(policy, &standing);
        Some((self.digest, standing))
    }
}

fn with(mut key: Standing, place: Option<(AccountId, AccountState, Permissions)>) -> Option<Standing> {
    key.memberships.extend(place);
    Some(key)
}

/// When keys above a serial were last used, by rising serial.
pub(in crate::store) fn uses(db: &Db<'_>, above: i64, most: usize) -> Result<Vec<(i64, Timestamp)>, Error> {
    let sql = "SELECT key, last_used_at FROM usage WHERE key > ?1 ORDER BY key LIMIT ?2";
    db.rows(sql, values![above, limit(most)], |row| Ok((row.int(0)?, row.moment(1)?)))
}

/// The digests of all secrets after one, in order, whatever became of their keys.
pub(in crate::store) fn digests(
    db: &Db<'_>,
    after: Option<&Digest>,
    most: usize,
    mut into: Vec<Digest>,
) -> Result<Vec<Digest>, Error> {
    let after: &[u8] = after.map_or(&[], |digest| digest.as_bytes());
    into.clear();
    db.each(
        "SELECT digest FROM secret WHERE digest > ?1 ORDER BY digest LIMIT ?2",
        values![after, limit(most)],
        |row| {
            into.push(Digest::from_bytes(row.array(0)?));
            Ok(())
        },
    )?;
    Ok(into)
}

/// How many secrets there are; at most `most`, to count no further.
pub(in crate::store) fn secrets(db: &Db<'_>, most: usize) -> Result<usize, Error> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM secret LIMIT ?1) AS counted";
    db.one(sql, values![limit(most)], |row| Ok(usize::try_from(row.int(0)?).unwrap_or(0)))
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
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
