//! What the request path asks: one digest, and what changed. Both run inside one read transaction, so that the position
//! they answer belongs to exactly the rows they answer.

use crate::key::{AccountId, AccountState, Digest, Kind, Permissions, UserId};
use crate::store::log::{MANY, News, Tail};
use crate::store::replica::Revision;
use crate::store::sql::{Db, Error, Words, is_licensed, log, standing, values};
use crate::store::{Loaded, Policy};

/// The key behind a digest. The index finds it by comparing digests, of which no caller can choose the bytes; the time
/// that takes tells nothing about a secret.
pub(in crate::store) fn load(db: &Db<'_>, policy: &Policy, digest: &Digest) -> Result<Loaded, Error> {
    let (as_of, mut standing) = db.one(
        "SELECT h.seq, s.state, k.serial, k.id, k.kind, k.state, k.account, a.state, k.user, k.permissions,
                k.allowed_ips, k.not_before, k.expires_at, s.until, s.used, s.number
           FROM head h LEFT JOIN secret s ON s.digest = ?1 LEFT JOIN key k ON k.serial = s.key
                LEFT JOIN account a ON a.id = k.account",
        values![digest],
        |row| Ok((row.position(0)?, standing(row, &mut Words::default())?)),
    )?;
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
pub(in crate::store) fn tail(db: &Db<'_>, after: u64) -> Result<Tail, Error> {
    let head = log::head(db)?;
    if head <= after {
        let news = if head == after { News::Entries(Vec::new()) } else { News::WentBack };
        return Ok(Tail { head, news });
    }
    if head - after > MANY as u64 {
        return Ok(Tail { head, news: News::Gone });
    }
    let sql = "SELECT seq, kind, subject FROM log WHERE seq > ?1 ORDER BY seq";
    let entries = db.rows(sql, values![after.cast_signed()], log::entry)?;
    // Positions have no gaps; fewer entries than positions means that the oldest were trimmed.
    let whole = entries.len() as u64 == head - after;
    Ok(Tail { head, news: if whole { News::Entries(entries) } else { News::Gone } })
}

/// What is remembered of a position. What is committed here is complete: there is nobody else to tell.
pub(in crate::store) fn revision(db: &Db<'_>, position: u64) -> Result<Option<Revision>, Error> {
    db.first("SELECT at, narrowing FROM log WHERE seq = ?1", values![position.cast_signed()], |row| {
        Ok(Revision { at: row.moment(0)?, narrowing: row.flag(1)?, complete: true })
    })
}

/// Where a user belongs: everywhere for a user key, in the key's own account for a personal one. A membership without the
/// licence that is asked for counts as none.
fn memberships(
    db: &Db<'_>,
    policy: &Policy,
    user: &UserId,
    kind: Kind,
    own: Option<&AccountId>,
) -> Result<Vec<(AccountId, AccountState, Permissions)>, Error> {
    let only = match kind {
        Kind::User => None,
        Kind::Personal | Kind::Service | Kind::Operator => own.map(AccountId::as_str),
    };
    let mut places = Vec::new();
    db.each(
        "SELECT m.account, a.state, m.permissions, m.licence FROM membership m JOIN account a ON a.id = m.account
          WHERE m.user = ?1 AND (?2 IS NULL OR m.account = ?2) ORDER BY m.account",
        values![user.as_str(), only],
        |row| {
            if policy.licensed(row.optional_text(3)?) {
                places.push((row.parsed(0)?, row.parsed(1)?, row.permissions(2)?));
            }
            Ok(())
        },
    )?;
    Ok(places)
}
