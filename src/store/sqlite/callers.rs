//! Who uses which secret: a bounded table, written beside the last uses.
//!
//! A secret has at most so many callers; whoever comes when all places are taken gets the one of a caller that was not seen for
//! a day, or else is counted among the others. So a flood of invented callers pushes nobody out who is in use.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row;
use crate::clock::Timestamp;
use crate::key::{AccountId, Key, KeyId};
use crate::store::{Caller, SecretUse, Tally, Trace, What};

/// Notes what was seen since it was last noted; at most `most` callers of a secret.
pub(in crate::store) fn record(db: &Connection, seen: &[(Trace, Tally)], most: usize) -> rusqlite::Result<()> {
    for (Trace { key, secret, what }, tally) in seen {
        match what {
            What::Caller { address, agent, route } => {
                let who = Place { key: *key, secret: *secret, address: &address.to_string(), agent, route };
                who.note(db, *tally, most)?;
            }
            What::Others => others(db, *key, *secret, *tally)?,
            What::Account(account) => reached(db, *key, account, *tally)?,
        }
    }
    Ok(())
}

/// The secrets of a key that authenticate at `now`, the newest first, and who uses them.
pub(in crate::store) fn of_key(
    db: &Connection,
    id: &KeyId,
    most: usize,
    now: Timestamp,
) -> rusqlite::Result<Option<Vec<SecretUse>>> {
    let serial = db.prepare_cached("SELECT serial FROM key WHERE id = ?1")?.query_row([id.as_str()], |row| row.get(0));
    let Some(serial) = serial.optional()? else { return Ok(None) };
    of_serial(db, serial, most, now).map(Some)
}

/// The same, of the key with this number.
pub(super) fn of_serial(db: &Connection, key: i64, most: usize, now: Timestamp) -> rusqlite::Result<Vec<SecretUse>> {
    let mut find = db.prepare_cached(
        "SELECT number, state, hint, until FROM secret
          WHERE key = ?1 AND state <> 'retired' AND (until IS NULL OR until > ?2) ORDER BY number DESC",
    )?;
    let secret = |row: &Row<'_>| {
        let number = row.get(0)?;
        let (callers, more) = of_secret(db, key, number, most)?;
        let (state, hint, valid_until) = (row::parsed(row, 1)?, row.get(2)?, row::optional_moment(row, 3)?);
        Ok(SecretUse { number, state, hint, valid_until, callers, more })
    };
    find.query_map((key, now.as_millis()), secret)?.collect()
}

/// Who used the old secret of a key while its rotation ran, and was not seen with the new one since.
pub(super) fn left(
    db: &Connection,
    key: &Key,
    most: usize,
    now: Timestamp,
) -> rusqlite::Result<(Vec<Caller>, Option<Tally>)> {
    // The newest first.
    let mut secrets = of_serial(db, key.serial, most, now)?.into_iter();
    let (Some(new), Some(old)) = (secrets.next(), secrets.next()) else { return Ok((Vec::new(), None)) };
    let during = |seen: &Tally| key.rotated_at.is_none_or(|began| seen.last_seen >= began);
    let moved = |caller: &Caller| {
        new.callers.iter().any(|one| {
            let same =
                one.address == caller.address && one.user_agent == caller.user_agent && one.route == caller.route;
            same && one.seen.last_seen > caller.seen.last_seen
        })
    };
    let left = old.callers.into_iter().filter(|caller| during(&caller.seen) && !moved(caller)).collect();
    Ok((left, old.more.filter(during)))
}

/// Forgets every caller. Where there is none, nothing is written.
pub(in crate::store) fn forget(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("DELETE FROM caller; DELETE FROM other_callers; DELETE FROM reached")
}

/// Whether there is anything to forget.
pub(in crate::store) fn any(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM caller) OR EXISTS (SELECT 1 FROM other_callers)
                   OR EXISTS (SELECT 1 FROM reached)";
    db.query_row(sql, [], |row| row.get(0))
}

fn of_secret(db: &Connection, key: i64, secret: i64, most: usize) -> rusqlite::Result<(Vec<Caller>, Option<Tally>)> {
    let mut find = db.prepare_cached(
        "SELECT count, first_seen, last_seen, address, agent, route FROM caller WHERE key = ?1 AND secret = ?2
          ORDER BY last_seen DESC, count DESC, address, agent, route",
    )?;
    let caller = |row: &Row<'_>| {
        let address: IpAddr = row::parsed(row, 3)?;
        Ok(Caller { address, user_agent: row.get(4)?, route: row.get(5)?, seen: tally(row)? })
    };
    let mut callers = find.query_map((key, secret), caller)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut find =
        db.prepare_cached("SELECT count, first_seen, last_seen FROM other_callers WHERE key = ?1 AND secret = ?2")?;
    let more = find.query_row((key, secret), tally).optional()?;
    // There may be more than there are places for now.
    let beyond = callers.drain(most.min(callers.len())..).map(|caller| caller.seen);
    let more = beyond.chain(more).reduce(Tally::and);
    Ok((callers, more))
}

/// Where a caller of a secret stands, or is to stand.
struct Place<'a> {
    key: i64,
    secret: i64,
    address: &'a str,
    agent: &'a str,
    route: &'a str,
}

impl Place<'_> {
    fn note(&self, db: &Connection, seen: Tally, most: usize) -> rusqlite::Result<()> {
        let Self { key, secret, address, agent, route } = *self;
        let known = db
            .prepare_cached(
                "UPDATE caller SET count = count + ?6, first_seen = min(first_seen, ?7), last_seen = max(last_seen, ?8)
                  WHERE key = ?1 AND secret = ?2 AND address = ?3 AND agent = ?4 AND route = ?5",
            )?
            .execute(params![key, secret, address, agent, route, count(seen), first(seen), last(seen)])?;
        if known == 1 || !lives(db, key, secret)? {
            return Ok(());
        }
        if !self.make_room(db, seen.last_seen, most)? {
            return others(db, key, secret, seen);
        }
        db.prepare_cached(
            "INSERT INTO caller (key, secret, address, agent, route, count, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![key, secret, address, agent, route, count(seen), first(seen), last(seen)])?;
        Ok(())
    }

    /// Whether there is a place for one more at `now`. One that gives way for it is counted among the others.
    fn make_room(&self, db: &Connection, now: Timestamp, most: usize) -> rusqlite::Result<bool> {
        let taken: i64 = db
            .prepare_cached("SELECT count(*) FROM caller WHERE key = ?1 AND secret = ?2")?
            .query_row((self.key, self.secret), |row| row.get(0))?;
        if usize::try_from(taken).unwrap_or(0) < most {
            return Ok(true);
        }
        let oldest = db
            .prepare_cached(
                "SELECT count, first_seen, last_seen, address, agent, route FROM caller
                  WHERE key = ?1 AND secret = ?2 AND last_seen < ?3 ORDER BY last_seen LIMIT 1",
            )?
            .query_row((self.key, self.secret, now.as_millis().saturating_sub(KEPT_MILLIS)), |row| {
                Ok((tally(row)?, row.get::<_, String>(3)?, row.get::<_, String>(4)?, row.get::<_, String>(5)?))
            })
            .optional()?;
        let Some((seen, address, agent, route)) = oldest else { return Ok(false) };
        db.prepare_cached(
            "DELETE FROM caller WHERE key = ?1 AND secret = ?2 AND address = ?3 AND agent = ?4 AND route = ?5",
        )?
        .execute((self.key, self.secret, address, agent, route))?;
        others(db, self.key, self.secret, seen)?;
        Ok(true)
    }
}

/// A caller that was not seen for so long gives way to another: a day.
const KEPT_MILLIS: i64 = 24 * 60 * 60 * 1000;

fn others(db: &Connection, key: i64, secret: i64, seen: Tally) -> rusqlite::Result<()> {
    if !lives(db, key, secret)? {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO other_callers (key, secret, count, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key, secret) DO UPDATE SET count = count + excluded.count,
            first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)",
    )?
    .execute((key, secret, count(seen), first(seen), last(seen)))?;
    Ok(())
}

fn reached(db: &Connection, key: i64, account: &AccountId, seen: Tally) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO reached (key, account, count, first_seen, last_seen)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM key WHERE serial = ?1)
         ON CONFLICT (key, account) DO UPDATE SET count = count + excluded.count,
            first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)",
    )?
    .execute((key, account.as_str(), count(seen), first(seen), last(seen)))?;
    Ok(())
}

/// Whether the secret is one that may still be used: of others nothing is kept.
fn lives(db: &Connection, key: i64, secret: i64) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM secret WHERE key = ?1 AND number = ?2 AND state <> 'retired'")?
        .exists((key, secret))
}

/// The first three columns.
pub(super) fn tally(row: &Row<'_>) -> rusqlite::Result<Tally> {
    let count = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
    Ok(Tally { count, first_seen: row::moment(row, 1)?, last_seen: row::moment(row, 2)? })
}

fn count(seen: Tally) -> i64 {
    i64::try_from(seen.count).unwrap_or(i64::MAX)
}

const fn first(seen: Tally) -> i64 {
    seen.first_seen.as_millis()
}

const fn last(seen: Tally) -> i64 {
    seen.last_seen.as_millis()
}
