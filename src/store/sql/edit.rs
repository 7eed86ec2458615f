//! What of a record may be changed once it is there. What already is as it is to be is left alone, so that no cache hears of it.

use super::change::{must_have_account, must_have_key, must_have_user};
use super::{Db, Stop, holder, record, values};
use crate::clock::Timestamp;
use crate::key::{Account, AccountId, Key, KeyId, KeyState, Line, Seen, User, UserId};
use crate::store::{AccountChange, Clash, KeyChange, Policy, Rejected, UserChange};

/// Changes a key. What it is already it may become again; only revoked is for good.
pub(in crate::store) fn change_key(
    db: &Db<'_>,
    policy: &Policy,
    id: &KeyId,
    change: KeyChange,
    seen: Option<&[Seen]>,
    now: Timestamp,
) -> Result<Key, Stop> {
    let key = must_have_key(db, id)?;
    if seen.is_some_and(|seen| !seen.contains(&key.seen_at(now))) {
        let why = format!("key {:?} is no longer as it was seen; look at it again", id.as_str());
        return Err(Rejected::Conflict(Clash::Seen, why).into());
    }
    if key.state == KeyState::Revoked && change != KeyChange::state(KeyState::Revoked) {
        let why = format!("key {:?} is revoked, and that is for good", id.as_str());
        return Err(Rejected::Conflict(Clash::State, why).into());
    }
    let expires_at = holder::expiry(db, policy, &key, change.expires_at, now)?;
    if let Some(name) = change.name.filter(|name| *name != key.name) {
        // Apart from what is judged: no cache holds a name.
        db.execute("UPDATE key SET name = ?2 WHERE serial = ?1", values![key.serial, name])?;
    }
    let new = (
        change.state.unwrap_or(key.state),
        change.permissions.unwrap_or_else(|| key.permissions.clone()),
        change.allowed_ips.unwrap_or_else(|| key.allowed_ips.clone()),
        expires_at,
    );
    if new != (key.state, key.permissions, key.allowed_ips, key.expires_at) {
        let (state, permissions, allowed_ips, expires_at) = new;
        db.execute(
            "UPDATE key SET state = ?2, permissions = ?3, allowed_ips = ?4, expires_at = ?5 WHERE serial = ?1",
            values![
                key.serial,
                state.as_str(),
                permissions.to_string(),
                record::networks_text(&allowed_ips),
                expires_at
            ],
        )?;
    }
    must_have_key(db, id)
}

/// Changes what an account is called, and whether it is served.
pub(in crate::store) fn change_account(db: &Db<'_>, id: &AccountId, change: AccountChange) -> Result<Account, Stop> {
    let account = must_have_account(db, id)?;
    let name = change.name.applied(account.name.clone());
    if name != account.name {
        db.execute(
            "UPDATE account SET name = ?2 WHERE serial = ?1",
            values![account.serial, name.as_ref().map(Line::as_str)],
        )?;
    }
    let state = change.state.unwrap_or(account.state);
    if state != account.state {
        db.execute("UPDATE account SET state = ?2 WHERE serial = ?1", values![account.serial, state.as_str()])?;
    }
    Ok(Account { name, state, ..account })
}

/// Changes what a user is called, and where mail reaches them.
pub(in crate::store) fn change_user(db: &Db<'_>, id: &UserId, change: UserChange) -> Result<User, Stop> {
    let user = must_have_user(db, id)?;
    let (name, email) = (change.name.applied(user.name.clone()), change.email.applied(user.email.clone()));
    if (&name, &email) != (&user.name, &user.email) {
        db.execute(
            "UPDATE \"user\" SET name = ?2, email = ?3 WHERE serial = ?1",
            values![user.serial, name.as_ref().map(Line::as_str), email.as_ref().map(Line::as_str)],
        )?;
    }
    Ok(User { name, email, ..user })
}
