//! Who uses which secret: a bounded table, written beside the last uses.
//!
//! A secret has at most so many callers; whoever comes when all places are taken gets the one of a caller that was not seen for
//! a day, or else is counted among the others. So a flood of invented callers pushes nobody out who is in use.

use super::{Db, Error, Row, values};
use crate::clock::Timestamp;
use crate::key::{AccountId, Key, KeyId};
use crate::store::{Caller, SecretUse, Tally, Trace, What};

/// Notes what was seen since it was last noted; at most `most` callers of a secret.
pub(in crate::store) fn record(db: &Db<'_>, seen: &[(Trace, Tally)], most: usize) -> Result<(), Error> {
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
    db: &Db<'_>,
    id: &KeyId,
    most: usize,
    now: Timestamp,
) -> Result<Option<Vec<SecretUse>>, Error> {
    let serial = db.first("SELECT serial FROM key WHERE id = ?1", values![id.as_str()], |row| row.int(0))?;
    let Some(serial) = serial else { return Ok(None) };
    of_serial(db, serial, most, now).map(Some)
}

/// The same, of the key with this number.
pub(super) fn of_serial(db: &Db<'_>, key: i64, most: usize, now: Timestamp) -> Result<Vec<SecretUse>, Error> {
    let secret = |row: &Row<'_>| {
        let number = row.int(0)?;
        let (callers, more) = of_secret(db, key, number, most)?;
        let (state, hint, valid_until) = (row.parsed(1)?, row.text(2)?.to_owned(), row.optional_moment(3)?);
        Ok(SecretUse { number, state, hint, valid_until, callers, more })
    };
    db.rows(
        "SELECT number, state, hint, until FROM secret
          WHERE key = ?1 AND state <> 'retired' AND (until IS NULL OR until > ?2) ORDER BY number DESC",
        values![key, now],
        secret,
    )
}

/// Who used the old secret of a key while its rotation ran, and was not seen with the new one since.
pub(super) fn left(db: &Db<'_>, key: &Key, most: usize, now: Timestamp) -> Result<(Vec<Caller>, Option<Tally>), Error> {
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
pub(in crate::store) fn forget(db: &Db<'_>) -> Result<(), Error> {
    ["DELETE FROM caller", "DELETE FROM other_callers", "DELETE FROM reached"]
        .into_iter()
        .try_for_each(|forget| db.execute(forget, values![]).map(drop))
}

/// Whether there is anything to forget.
pub(in crate::store) fn any(db: &Db<'_>) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM caller) OR EXISTS (SELECT 1 FROM other_callers)
                   OR EXISTS (SELECT 1 FROM reached)";
    db.one(sql, values![], |row| row.flag(0))
}

fn of_secret(db: &Db<'_>, key: i64, secret: i64, most: usize) -> Result<(Vec<Caller>, Option<Tally>), Error> {
    let caller = |row: &Row<'_>| {
        let (user_agent, route) = (row.text(4)?.to_owned(), row.text(5)?.to_owned());
        Ok(Caller { address: row.parsed(3)?, user_agent, route, seen: tally(row)? })
    };
    let mut callers = db.rows(
        "SELECT count, first_seen, last_seen, address, agent, route FROM caller WHERE key = ?1 AND secret = ?2
          ORDER BY last_seen DESC, count DESC, address, agent, route",
        values![key, secret],
        caller,
    )?;
    let more = db.first(
        "SELECT count, first_seen, last_seen FROM other_callers WHERE key = ?1 AND secret = ?2",
        values![key, secret],
        tally,
    )?;
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
    fn note(&self, db: &Db<'_>, seen: Tally, most: usize) -> Result<(), Error> {
        let Self { key, secret, address, agent, route } = *self;
        let values = values![key, secret, address, agent, route, count(seen), seen.first_seen, seen.last_seen];
        let known = db.execute(
            "UPDATE caller SET count = count + ?6,
                    first_seen = CASE WHEN first_seen < ?7 THEN first_seen ELSE ?7 END,
                    last_seen = CASE WHEN last_seen > ?8 THEN last_seen ELSE ?8 END
              WHERE key = ?1 AND secret = ?2 AND address = ?3 AND agent = ?4 AND route = ?5",
            values,
        )?;
        if known == 1 || !lives(db, key, secret)? {
            return Ok(());
        }
        if !self.make_room(db, seen.last_seen, most)? {
            return others(db, key, secret, seen);
        }
        db.execute(
            "INSERT INTO caller (key, secret, address, agent, route, count, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            values,
        )?;
        Ok(())
    }

    /// Whether there is a place for one more at `now`. One that gives way for it is counted among the others.
    fn make_room(&self, db: &Db<'_>, now: Timestamp, most: usize) -> Result<bool, Error> {
        let taken = db.one(
            "SELECT count(*) FROM caller WHERE key = ?1 AND secret = ?2",
            values![self.key, self.secret],
            |row| row.int(0),
        )?;
        if usize::try_from(taken).unwrap_or(0) < most {
            return Ok(true);
        }
        let text = |row: &Row<'_>, at| row.text(at).map(str::to_owned);
        let oldest = db.first(
            "SELECT count, first_seen, last_seen, address, agent, route FROM caller
              WHERE key = ?1 AND secret = ?2 AND last_seen < ?3 ORDER BY last_seen LIMIT 1",
            values![self.key, self.secret, now.as_millis().saturating_sub(KEPT_MILLIS)],
            |row| Ok((tally(row)?, text(row, 3)?, text(row, 4)?, text(row, 5)?)),
        )?;
        let Some((seen, address, agent, route)) = oldest else { return Ok(false) };
        db.execute(
            "DELETE FROM caller WHERE key = ?1 AND secret = ?2 AND address = ?3 AND agent = ?4 AND route = ?5",
            values![self.key, self.secret, address, agent, route],
        )?;
        others(db, self.key, self.secret, seen)?;
        Ok(true)
    }
}

/// A caller that was not seen for so long gives way to another: a day.
const KEPT_MILLIS: i64 = 24 * 60 * 60 * 1000;

fn others(db: &Db<'_>, key: i64, secret: i64, seen: Tally) -> Result<(), Error> {
    if !lives(db, key, secret)? {
        return Ok(());
    }
    db.execute(
        "INSERT INTO other_callers (key, secret, count, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key, secret) DO UPDATE SET count = other_callers.count + excluded.count,
            first_seen = CASE WHEN other_callers.first_seen < ?4 THEN other_callers.first_seen ELSE ?4 END,
            last_seen = CASE WHEN other_callers.last_seen > ?5 THEN other_callers.last_seen ELSE ?5 END",
        values![key, secret, count(seen), seen.first_seen, seen.last_seen],
    )?;
    Ok(())
}

fn reached(db: &Db<'_>, key: i64, account: &AccountId, seen: Tally) -> Result<(), Error> {
    db.execute(
        "INSERT INTO reached (key, account, count, first_seen, last_seen)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM key WHERE serial = ?1)
         ON CONFLICT (key, account) DO UPDATE SET count = reached.count + excluded.count,
            first_seen = CASE WHEN reached.first_seen < ?4 THEN reached.first_seen ELSE ?4 END,
            last_seen = CASE WHEN reached.last_seen > ?5 THEN reached.last_seen ELSE ?5 END",
        values![key, account.as_str(), count(seen), seen.first_seen, seen.last_seen],
    )?;
    Ok(())
}

/// Whether the secret is one that may still be used: of others nothing is kept.
fn lives(db: &Db<'_>, key: i64, secret: i64) -> Result<bool, Error> {
    db.exists("SELECT 1 FROM secret WHERE key = ?1 AND number = ?2 AND state <> 'retired'", values![key, secret])
}

/// The first three columns.
pub(super) fn tally(row: &Row<'_>) -> Result<Tally, Error> {
    let count = u64::try_from(row.int(0)?).unwrap_or(0);
    Ok(Tally { count, first_seen: row.moment(1)?, last_seen: row.moment(2)? })
}

fn count(seen: Tally) -> i64 {
    i64::try_from(seen.count).unwrap_or(i64::MAX)
}
