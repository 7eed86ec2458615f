//! Leaving the keys of users: what was seen of them, and what takes their place.

use super::change::{mint, must_have_key};
use super::edit::change_key;
use super::{Db, Error, Row, Stop, callers, list, record, values};
use crate::clock::Timestamp;
use crate::key::{AccountId, Key, KeyId, KeyState, Kind, Permission, Permissions, bounded};
use crate::store::{Clash, Draft, KeyChange, LegacyUse, Old, Policy, Rejected, Replaced, Replacement};

/// Keys of users that can still be used, now or later, with serials above `after`; at most `many`, oldest first.
pub(in crate::store) fn uses(
    db: &Db<'_>,
    after: i64,
    many: u32,
    most: usize,
    now: Timestamp,
) -> Result<Vec<LegacyUse>, Error> {
    let chosen = "k.kind = 'user' AND k.serial > ?1 AND k.state <> 'revoked'
                  AND (k.expires_at IS NULL OR k.expires_at > ?2)";
    let sql = record::few_keys_where(chosen, "?3");
    let keys = db.rows(&sql, values![after, now, many], record::key)?;
    keys.into_iter().map(|key| seen(db, key, most, now)).collect()
}

/// One key, whatever its kind.
pub(in crate::store) fn use_of(
    db: &Db<'_>,
    id: &KeyId,
    most: usize,
    now: Timestamp,
) -> Result<Option<LegacyUse>, Error> {
    list::key(db, id)?.map(|key| seen(db, key, most, now)).transpose()
}

fn seen(db: &Db<'_>, key: Key, most: usize, now: Timestamp) -> Result<LegacyUse, Error> {
    let secrets = callers::of_serial(db, key.serial, most, now)?;
    let reached = db.rows(
        "SELECT count, first_seen, last_seen, account FROM reached WHERE key = ?1 ORDER BY last_seen DESC, account",
        values![key.serial],
        |row| Ok((row.parsed(3)?, callers::tally(row)?)),
    )?;
    let places = places(db, &key)?;
    Ok(LegacyUse { key, secrets, reached, memberships: places.into_iter().map(|(account, _)| account).collect() })
}

/// Mints what takes the place of a user's key, and ends that one as is asked for. `asked` is what the routes that it was seen
/// on ask for; none where that is not known.
pub(in crate::store) fn replace(
    db: &Db<'_>,
    policy: &Policy,
    replacement: Replacement,
    asked: Option<&[Permission]>,
    now: Timestamp,
) -> Result<Replaced, Stop> {
    let Replacement { key: id, kind, keys, name, permissions, expires_at, old } = replacement;
    let key = must_have_key(db, &id)?;
    let conflict = |why: String| Stop::from(Rejected::Conflict(Clash::State, why));
    if key.kind != Kind::User {
        return Err(conflict(format!("key {:?} is no key of a user, and crosses no accounts", id.as_str())));
    }
    if key.state == KeyState::Revoked {
        return Err(conflict(format!("key {:?} is revoked, and that is for good", id.as_str())));
    }
    let places = places(db, &key)?;
    let mut made = Vec::with_capacity(keys.len());
    for (account, new, secret) in keys {
        let Some((_, of_user)) = places.iter().find(|(place, _)| *place == account) else {
            let user = key.user.as_ref().map_or("", |user| user.as_str());
            return Err(Rejected::Missing { what: "member", id: format!("{user} of {account}") }.into());
        };
        let may = bounded(of_user, &key.permissions);
        if kind == Kind::Personal
            && permissions.as_ref().is_some_and(Permissions::is_empty)
            && !key.permissions.is_empty()
        {
            let why = format!(
                "key {:?} may not do all that its user may: a replacement gets no more; name what it may do",
                id.as_str()
            );
            return Err(conflict(why));
        }
        if let Some(beyond) = permissions.iter().flat_map(Permissions::iter).find(|wanted| !may.cover(wanted)) {
            let why =
                format!("key {:?} may not do {beyond} in account {account}: a replacement gets no more", id.as_str());
            return Err(conflict(why));
        }
        let draft = Draft {
            account: Some(account),
            user: key.user.clone().filter(|_| kind == Kind::Personal),
            name: name.clone().unwrap_or_else(|| key.name.clone()),
            permissions: permissions.clone().unwrap_or_else(|| least(kind, &key, &may, asked)),
            allowed_ips: key.allowed_ips.clone(),
            expires_at,
            ..Draft::bare(new, secret, kind)
        };
        made.push(mint(db, policy, &draft, now)?);
    }
    match old {
        Old::Stays => {}
        Old::Expires(end) => {
            db.execute(
                "UPDATE key SET expires_at = CASE WHEN expires_at < ?2 THEN expires_at ELSE ?2 END WHERE serial = ?1",
                values![key.serial, end],
            )?;
        }
        Old::Revoked => drop(change_key(db, policy, &id, KeyChange::state(KeyState::Revoked), None, now)?),
    }
    Ok(Replaced { keys: made, old: must_have_key(db, &id)? })
}

/// Of what the old key may, what is known to be needed. Where nothing is, what the old key itself is bounded to; a personal key
/// without a bound of its own may what its user may.
fn least(kind: Kind, old: &Key, may: &Permissions, asked: Option<&[Permission]>) -> Permissions {
    let needed: Permissions = asked.into_iter().flatten().filter(|needed| may.cover(needed)).cloned().collect();
    match kind {
        _ if !needed.is_empty() => needed,
        Kind::Personal => old.permissions.clone(),
        Kind::Service | Kind::User | Kind::Operator => may.clone(),
    }
}

/// Where the user of a key belongs, and what they may do there.
fn places(db: &Db<'_>, key: &Key) -> Result<Vec<(AccountId, Permissions)>, Error> {
    let place = |row: &Row<'_>| Ok((row.parsed(0)?, row.permissions(1)?));
    let user = key.user.as_ref().map(|user| user.as_str());
    db.rows("SELECT account, permissions FROM membership WHERE \"user\" = ?1 ORDER BY account", values![user], place)
}
