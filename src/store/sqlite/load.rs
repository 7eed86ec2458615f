//! What the request path asks: one digest, and what changed. Both run inside one read transaction, so that the position
//! they answer belongs to exactly the rows they answer.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::row;
use super::words::Words;
use crate::key::token::Prefix;
use crate::key::{AccountId, AccountState, Digest, Kind, Permissions, Presented, SecretState, Standing, UserId};
use crate::store::log::{Entry, MANY, News, Subject, Tail};
use crate::store::replica::Revision;
use crate::store::{Loaded, Policy};

/// The key behind a digest. The index finds it by comparing digests, of which no caller can choose the bytes; the time
/// that takes tells nothing about a secret.
pub(in crate::store) fn load(db: &Connection, policy: &Policy, digest: &Digest) -> rusqlite::Result<Loaded> {
    let mut find = db.prepare_cached(
        "SELECT h.seq, s.state, k.serial, k.id, k.kind, k.state, k.account, a.state, k.user, k.permissions,
                k.allowed_ips, k.not_before, k.expires_at, s.until, s.used, s.number
           FROM head h LEFT JOIN secret s ON s.digest = ?1 LEFT JOIN key k ON k.serial = s.key
                LEFT JOIN account a ON a.id = k.account",
    )?;
    let (as_of, mut standing) =
        find.query_row([digest.as_bytes()], |row| Ok((seq(row, 0)?, standing(row, &mut Words::default())?)))?;
    if let Some(key) = &mut standing
        && let Some(user) = &key.user
    {
        let own = key.account.as_ref().map(|(account, _)| account);
        key.memberships = memberships(db, policy, user, key.kind, own)?;
        key.licensed = is_licensed(policy, key);
    }
    Ok(Loaded { as_of, standing })
}

/// What changed after a position.
pub(in crate::store) fn tail(db: &Connection, after: u64) -> rusqlite::Result<Tail> {
    let head = head(db)?;
    if head <= after {
        let news = if head == after { News::Entries(Vec::new()) } else { News::WentBack };
        return Ok(Tail { head, news });
    }
    if head - after > MANY as u64 {
        return Ok(Tail { head, news: News::Gone });
    }
    let mut read = db.prepare_cached("SELECT seq, kind, subject FROM log WHERE seq > ?1 ORDER BY seq")?;
    let entries = read.query_map([after.cast_signed()], entry)?.collect::<Result<Vec<_>, _>>()?;
    // Positions have no gaps; fewer entries than positions means that the oldest were trimmed.
    let whole = entries.len() as u64 == head - after;
    Ok(Tail { head, news: if whole { News::Entries(entries) } else { News::Gone } })
}

/// The log's last position.
pub(in crate::store) fn head(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT seq FROM head")?.query_row([], |row| seq(row, 0))
}

/// What is remembered of a position. What is committed here is complete: there is nobody else to tell.
pub(in crate::store) fn revision(db: &Connection, position: u64) -> rusqlite::Result<Option<Revision>> {
    db.prepare_cached("SELECT at, narrowing FROM log WHERE seq = ?1")?
        .query_row([position.cast_signed()], |row| {
            Ok(Revision { at: row::moment(row, 0)?, narrowing: row.get(1)?, complete: true })
        })
        .optional()
}

/// Prefixes under which a wrong checksum proves nothing.
pub(in crate::store) fn adopted_prefixes(db: &Connection) -> rusqlite::Result<Vec<Prefix>> {
    db.prepare_cached("SELECT prefix FROM adopted_prefix")?.query_map([], |row| row::parsed(row, 0))?.collect()
}

/// Whether there has ever been an operator key.
pub(in crate::store) fn has_operator(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT EXISTS (SELECT 1 FROM key WHERE kind = 'operator')", [], |row| row.get(0))
}

/// The key in a row, whose columns from the second on are those of [`load`]; without the places of its user.
pub(super) fn standing(row: &Row<'_>, words: &mut Words) -> rusqlite::Result<Option<Standing>> {
    // No secret, or one whose key was deleted by hand.
    if row.get_ref(2)? == ValueRef::Null {
        return Ok(None);
    }
    // An account deleted by hand leaves its keys behind; they are refused as long as it is missing.
    let account = words.account(row, 6)?;
    let state = row::optional(row, 7)?.unwrap_or(AccountState::Suspended);
    Ok(Some(Standing {
        secret: presented(row)?,
        number: row.get(15)?,
        serial: row.get(2)?,
        id: row::parsed(row, 3)?,
        kind: row::parsed(row, 4)?,
        state: row::parsed(row, 5)?,
        account: account.map(|account| (account, state)),
        user: row::optional(row, 8)?,
        permissions: words.permissions(row, 9)?,
        allowed_ips: row::networks(row, 10)?,
        not_before: row::optional_moment(row, 11)?,
        expires_at: row::optional_moment(row, 12)?,
        memberships: Vec::new(),
        licensed: true,
    }))
}

/// Whether the key's user may hold it, once the places are known where they have a licence.
pub(super) const fn is_licensed(policy: &Policy, key: &Standing) -> bool {
    policy.licences.is_empty() || key.user.is_none() || !key.memberships.is_empty()
}

/// What the secret is, and until when.
fn presented(row: &Row<'_>) -> rusqlite::Result<Presented> {
    let end = || row::moment(row, 13);
    Ok(match row::parsed(row, 1)? {
        SecretState::Pending => Presented::Pending(end()?),
        SecretState::Current if row.get::<_, Option<i64>>(14)? == Some(0) => Presented::Fresh,
        SecretState::Current => Presented::Current,
        SecretState::Grace => Presented::Grace(end()?),
        SecretState::Retired => Presented::Retired,
    })
}

/// Where a user belongs: everywhere for a user key, in the key's own account for a personal one. A membership without the
/// licence that is asked for counts as none.
fn memberships(
    db: &Connection,
    policy: &Policy,
    user: &UserId,
    kind: Kind,
    own: Option<&AccountId>,
) -> rusqlite::Result<Vec<(AccountId, AccountState, Permissions)>> {
    let mut find = db.prepare_cached(
        "SELECT m.account, a.state, m.permissions, m.licence FROM membership m JOIN account a ON a.id = m.account
          WHERE m.user = ?1 AND (?2 IS NULL OR m.account = ?2) ORDER BY m.account",
    )?;
    let only = match kind {
        Kind::User => None,
        Kind::Personal | Kind::Service | Kind::Operator => own.map(AccountId::as_str),
    };
    let mut rows = find.query((user.as_str(), only))?;
    let mut places = Vec::new();
    while let Some(row) = rows.next()? {
        if policy.licensed(row.get_ref(3)?.as_str_or_null()?) {
            places.push((row::parsed(row, 0)?, row::parsed(row, 1)?, row::permissions(row, 2)?));
        }
    }
    Ok(places)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let kind: i64 = row.get(1)?;
    let subject = match row.get_ref(2)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => subject(kind, bytes),
        _ => None,
    };
    Ok(Entry { seq: seq(row, 0)?, subject: subject.unwrap_or(Subject::Everything) })
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

fn seq(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get(at).map(i64::cast_unsigned)
}
