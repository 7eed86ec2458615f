//! A key's secrets, one after the other: see [`rotation`](crate::key::rotation). Each verb runs inside one transaction, and those
//! of changes come one after the other, so of two that meet one finds what the other left.

use std::time::Duration;

use super::change::{insert_secret, must_be_new, must_have_key};
use super::{Db, Error, Stop, callers, holder, values};
use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::{Digest, Key, KeyId, KeyState, SecretState};
use crate::store::{Clash, Completed, Policy, Rejected, SecretDraft};

/// Gives a key another secret.
pub(in crate::store) fn rotate(
    db: &Db<'_>,
    policy: &Policy,
    id: &KeyId,
    secret: &SecretDraft,
    rotation: Rotation,
    now: Timestamp,
) -> Result<Key, Stop> {
    let key = living(db, id)?;
    must_be_new(db, &secret.digest)?;
    let Rotation { mode, supersede, until_quiet, generation, name, expires_at } = rotation;
    if generation.is_some_and(|seen| seen != key.generation) {
        let why = format!("key {:?} was rotated meanwhile; look at it, and rotate again if need be", id.as_str());
        return Err(Rejected::Conflict(Clash::Overtaken, why).into());
    }
    if let Some(running) = key.rotation_at(now) {
        let gives_way = match mode {
            Mode::Immediate => true,
            // The one before was never used; nobody loses by another.
            Mode::FirstUse { .. } => running.state == SecretState::Pending,
            Mode::Grace(_) => false,
        };
        if !gives_way && !supersede {
            return Err(runs(&key, running.valid_until));
        }
    }
    let expires_at = holder::expiry(db, policy, &key, expires_at, now)?;
    retire_second(db, key.serial)?;
    match mode {
        Mode::Immediate => retire_current(db, key.serial)?,
        Mode::Grace(span) => supersede_current(db, &key, now.plus(span))?,
        Mode::FirstUse { .. } => {}
    }
    insert_secret(db, key.serial, key.generation + 1, secret, now)?;
    match mode {
        Mode::Immediate => {}
        Mode::Grace(_) => await_use(db, &secret.digest)?,
        Mode::FirstUse { within, grace } => {
            db.execute(
                "UPDATE secret SET state = 'pending', until = ?2, grace = ?3, used = 0 WHERE digest = ?1",
                values![&secret.digest, now.plus(within), millis(grace)],
            )?;
        }
    }
    if let Some(span) = until_quiet {
        // What will be left to the secret before a pending one begins with its first use.
        let since = matches!(mode, Mode::Grace(_)).then_some(now);
        db.execute(
            "INSERT INTO quiet (key, span, since) VALUES (?1, ?2, ?3)",
            values![key.serial, millis(span), since],
        )?;
    }
    db.execute(
        "UPDATE key SET rotated_at = ?2, generation = generation + 1 WHERE serial = ?1",
        values![key.serial, now],
    )?;
    if let Some(name) = name {
        db.execute("UPDATE key SET name = ?2 WHERE serial = ?1", values![key.serial, name])?;
    }
    if expires_at != key.expires_at {
        db.execute("UPDATE key SET expires_at = ?2 WHERE serial = ?1", values![key.serial, expires_at])?;
    }
    must_have_key(db, id)
}

/// A secret that a rotation made was accepted for the first time. What is over already stays so.
pub(in crate::store) fn first_used(db: &Db<'_>, digest: &Digest, now: Timestamp) -> Result<(), Stop> {
    let found = db.first(
        "SELECT s.state, s.until, s.grace, k.id FROM secret s JOIN key k ON k.serial = s.key
          WHERE s.digest = ?1 AND s.used = 0",
        values![digest],
        |row| Ok((row.parsed(0)?, row.optional_moment(1)?, row.optional_int(2)?, row.parsed::<KeyId>(3)?)),
    )?;
    let Some((state, until, grace, id)) = found else { return Ok(()) };
    match state {
        SecretState::Current => {}
        SecretState::Pending if until.is_some_and(|end| now < end) => {
            let key = living(db, &id)?;
            match grace.filter(|grace| *grace > 0) {
                Some(grace) => {
                    supersede_current(db, &key, Timestamp::from_millis(now.as_millis().saturating_add(grace)))?;
                    db.execute("UPDATE quiet SET since = ?2 WHERE key = ?1", values![key.serial, now])?;
                }
                None => retire_current(db, key.serial)?,
            }
        }
        SecretState::Pending | SecretState::Grace | SecretState::Retired => return Ok(()),
    }
    db.execute(
        "UPDATE secret SET state = 'current', until = NULL, grace = NULL, used = 1 WHERE digest = ?1",
        values![digest],
    )?;
    Ok(())
}

/// Ends a running rotation now: the new secret is the only one.
pub(in crate::store) fn complete(db: &Db<'_>, id: &KeyId, most: usize, now: Timestamp) -> Result<Completed, Stop> {
    let key = living(db, id)?;
    // Before they go with their secret.
    let (left, more) = callers::left(db, &key, most, now)?;
    match key.rotation_at(now).map(|rotation| rotation.state) {
        Some(SecretState::Pending) => {
            retire_current(db, key.serial)?;
            db.execute(
                "UPDATE secret SET state = 'current', until = NULL, grace = NULL WHERE key = ?1 AND state = 'pending'",
                values![key.serial],
            )?;
        }
        Some(_) => retire_second(db, key.serial)?,
        None => return Err(none_runs(&key)),
    }
    forget_quiet(db, key.serial)?;
    Ok(Completed { key: must_have_key(db, id)?, left, more })
}

/// Takes a running rotation back, while nobody has used the new secret: the old one is the only one again.
pub(in crate::store) fn cancel(db: &Db<'_>, id: &KeyId, now: Timestamp) -> Result<Key, Stop> {
    let key = living(db, id)?;
    match key.rotation_at(now).map(|rotation| rotation.state) {
        Some(SecretState::Pending) => retire_second(db, key.serial)?,
        Some(_) => {
            let unused = "SELECT 1 FROM secret WHERE key = ?1 AND state = 'current' AND used = 0";
            if !db.exists(unused, values![key.serial])? {
                let why = format!("the new secret of key {:?} was used already; complete the rotation", id.as_str());
                return Err(Rejected::Conflict(Clash::State, why).into());
            }
            retire_current(db, key.serial)?;
            db.execute(
                "UPDATE secret SET state = 'current', until = NULL WHERE key = ?1 AND state = 'grace'",
                values![key.serial],
            )?;
        }
        None => return Err(none_runs(&key)),
    }
    forget_quiet(db, key.serial)?;
    must_have_key(db, id)
}

/// Retires every superseded secret that was quiet for as long as was asked for, up to `through`; of what was before `known`
/// something may be missing, and counts as a use. Whose secrets these were.
pub(in crate::store) fn retire_quiet(db: &Db<'_>, known: Timestamp, through: Timestamp) -> Result<Vec<KeyId>, Error> {
    let quiet = quiet(db, known, through)?;
    for (key, _) in &quiet {
        retire_second(db, *key)?;
    }
    Ok(quiet.into_iter().map(|(_, id)| id).collect())
}

/// Keys with such a secret.
pub(in crate::store) fn quiet(db: &Db<'_>, known: Timestamp, through: Timestamp) -> Result<Vec<(i64, KeyId)>, Error> {
    // Nobody used it for so long, that long all uses are known, and that long it is in grace. In this order for SQLite's sake, which
    // would begin with every secret there is.
    db.rows(
        "SELECT q.key, k.id FROM quiet q CROSS JOIN secret s CROSS JOIN key k
          WHERE s.key = q.key AND s.state = 'grace' AND k.serial = q.key AND s.until > ?2 AND q.since <= ?2 - q.span AND ?1 <= ?2 - q.span
            AND NOT EXISTS (SELECT 1 FROM caller c
                             WHERE c.key = s.key AND c.secret = s.number AND c.last_seen > ?2 - q.span)
            AND NOT EXISTS (SELECT 1 FROM other_callers c
                             WHERE c.key = s.key AND c.secret = s.number AND c.last_seen > ?2 - q.span)",
        values![known, through],
        |row| Ok((row.int(0)?, row.parsed(1)?)),
    )
}

/// A key whose secrets may change: any but a revoked one.
fn living(db: &Db<'_>, id: &KeyId) -> Result<Key, Stop> {
    let key = must_have_key(db, id)?;
    if key.state == KeyState::Revoked {
        return Err(Rejected::Conflict(Clash::State, format!("key {:?} is revoked; make another", id.as_str())).into());
    }
    Ok(key)
}

fn retire_current(db: &Db<'_>, key: i64) -> Result<(), Error> {
    db.execute("UPDATE secret SET state = 'retired' WHERE key = ?1 AND state = 'current'", values![key])?;
    Ok(())
}

/// Retires the secret that is pending or in grace, also one whose time is over.
fn retire_second(db: &Db<'_>, key: i64) -> Result<(), Error> {
    db.execute(
        "UPDATE secret SET state = 'retired', until = NULL WHERE key = ?1 AND state IN ('pending', 'grace')",
        values![key],
    )?;
    forget_quiet(db, key)
}

/// No rotation of the key runs any more.
fn forget_quiet(db: &Db<'_>, key: i64) -> Result<(), Error> {
    db.execute("DELETE FROM quiet WHERE key = ?1", values![key])?;
    Ok(())
}

/// The current secret is good until `end`, but not longer than its key.
fn supersede_current(db: &Db<'_>, key: &Key, end: Timestamp) -> Result<(), Error> {
    let end = key.expires_at.map_or(end, |expiry| expiry.min(end));
    db.execute(
        "UPDATE secret SET state = 'grace', until = ?2 WHERE key = ?1 AND state = 'current'",
        values![key.serial, end],
    )?;
    Ok(())
}

fn await_use(db: &Db<'_>, digest: &Digest) -> Result<(), Error> {
    db.execute("UPDATE secret SET used = 0 WHERE digest = ?1", values![digest])?;
    Ok(())
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn runs(key: &Key, until: Timestamp) -> Stop {
    let why = format!(
        "a rotation of key {:?} runs until {until}; complete or cancel it, or let the next one supersede it",
        key.id.as_str()
    );
    Rejected::Conflict(Clash::Rotation, why).into()
}

fn none_runs(key: &Key) -> Stop {
    Rejected::Conflict(Clash::State, format!("no rotation of key {:?} runs", key.id.as_str())).into()
}
