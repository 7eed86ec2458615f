//! Changes. Each runs inside one transaction that the writing thread opened and commits, so what is checked here still
//! holds when it is written; and the triggers of the schema log whatever is written.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Stop, list, row};
use crate::clock::Timestamp;
use crate::key::{
    Account, AccountId, AccountState, Digest, Key, KeyId, KeyState, Kind, Membership, Seen, User, UserId,
};
use crate::store::{Clash, Draft, Rejected, SecretDraft};

/// Makes an account.
pub(in crate::store) fn create_account(db: &Connection, id: AccountId, now: Timestamp) -> Result<Account, Stop> {
    if !add_account(db, &id, now)? {
        return Err(Rejected::Exists { what: "account", id: id.to_string() }.into());
    }
    Ok(Account { id, state: AccountState::Active, created_at: now })
}

/// Suspends or resumes an account.
pub(in crate::store) fn set_account_state(
    db: &Connection,
    id: AccountId,
    state: AccountState,
) -> Result<Account, Stop> {
    let mut update = db.prepare_cached("UPDATE account SET state = ?2 WHERE id = ?1 RETURNING created_at")?;
    let created_at = update.query_row((id.as_str(), state.as_str()), |row| row::moment(row, 0)).optional()?;
    match created_at {
        Some(created_at) => Ok(Account { id, state, created_at }),
        None => Err(missing("account", &id)),
    }
}

/// Makes a user.
pub(in crate::store) fn create_user(db: &Connection, id: UserId, now: Timestamp) -> Result<User, Stop> {
    if !add_user(db, &id, now)? {
        return Err(Rejected::Exists { what: "user", id: id.to_string() }.into());
    }
    Ok(User { id, created_at: now })
}

/// Makes a user a member, or changes what they may do.
pub(in crate::store) fn put_member(db: &Connection, member: Membership) -> Result<Membership, Stop> {
    must_have_account(db, &member.account)?;
    must_have_user(db, &member.user)?;
    db.prepare_cached(
        "INSERT INTO membership (user, account, permissions) VALUES (?1, ?2, ?3)
         ON CONFLICT (user, account) DO UPDATE SET permissions = excluded.permissions",
    )?
    .execute((member.user.as_str(), member.account.as_str(), member.permissions.to_string()))?;
    Ok(member)
}

/// Ends a membership and revokes the user's personal keys there, so that a later membership does not revive them.
pub(in crate::store) fn remove_member(db: &Connection, account: AccountId, user: UserId) -> Result<Membership, Stop> {
    let mut delete =
        db.prepare_cached("DELETE FROM membership WHERE user = ?1 AND account = ?2 RETURNING permissions")?;
    let permissions = delete.query_row((user.as_str(), account.as_str()), |row| row::permissions(row, 0)).optional()?;
    let Some(permissions) = permissions else { return Err(no_member(&account, &user)) };
    db.prepare_cached(
        "UPDATE key SET state = 'revoked'
          WHERE user = ?1 AND account = ?2 AND kind = 'personal' AND state <> 'revoked'",
    )?
    .execute((user.as_str(), account.as_str()))?;
    Ok(Membership { account, user, permissions })
}

/// Makes a key.
pub(in crate::store) fn mint(db: &Connection, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
    if let Some(account) = &draft.account {
        must_have_account(db, account)?;
    }
    if let Some(user) = &draft.user {
        must_have_user(db, user)?;
    }
    if let (Kind::Personal | Kind::User, Some(account), Some(user)) = (draft.kind, &draft.account, &draft.user)
        && !is_member(db, account, user)?
    {
        return Err(no_member(account, user));
    }
    must_be_new(db, &draft.secret.digest)?;
    // A user key that names an account says where its user belongs; it is held to none.
    let held_to = draft.account.as_ref().filter(|_| draft.kind != Kind::User);
    insert_key(db, draft, held_to, now)?;
    must_have_key(db, &draft.id)
}

/// Suspends, resumes or revokes a key. What it is already it may become again; only revoked is for good.
pub(in crate::store) fn set_key_state(
    db: &Connection,
    id: &KeyId,
    state: KeyState,
    seen: Option<&[Seen]>,
) -> Result<Key, Stop> {
    let mut key = must_have_key(db, id)?;
    if seen.is_some_and(|seen| !seen.contains(&key.seen())) {
        let why = format!("key {:?} is no longer as it was seen; look at it again", id.as_str());
        return Err(Rejected::Conflict(Clash::Seen, why).into());
    }
    if key.state == KeyState::Revoked && state != KeyState::Revoked {
        let why = format!("key {:?} is revoked, and that is for good", id.as_str());
        return Err(Rejected::Conflict(Clash::State, why).into());
    }
    if key.state != state {
        db.prepare_cached("UPDATE key SET state = ?2 WHERE serial = ?1")?.execute((key.serial, state.as_str()))?;
        key.state = state;
    }
    Ok(key)
}

/// Revokes every operator key and makes this one.
pub(in crate::store) fn reset_operator(db: &Connection, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
    db.execute("UPDATE key SET state = 'revoked' WHERE kind = 'operator' AND state <> 'revoked'", [])?;
    mint(db, draft, now)
}

/// Whether the account was not there before.
pub(super) fn add_account(db: &Connection, id: &AccountId, now: Timestamp) -> rusqlite::Result<bool> {
    let mut insert =
        db.prepare_cached("INSERT INTO account (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    Ok(insert.execute((id.as_str(), now.as_millis()))? == 1)
}

/// Whether the user was not there before.
pub(super) fn add_user(db: &Connection, id: &UserId, now: Timestamp) -> rusqlite::Result<bool> {
    let mut insert = db.prepare_cached("INSERT INTO user (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    Ok(insert.execute((id.as_str(), now.as_millis()))? == 1)
}

/// Writes a key, held to `account`, and its secret.
pub(super) fn insert_key(
    db: &Connection,
    draft: &Draft,
    account: Option<&AccountId>,
    now: Timestamp,
) -> Result<(), Stop> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO key (id, kind, account, user, name, permissions, allowed_ips, not_before, expires_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            draft.id.as_str(),
            draft.kind.as_str(),
            account.map(AccountId::as_str),
            draft.user.as_ref().map(UserId::as_str),
            draft.name,
            draft.permissions.to_string(),
            row::networks_text(&draft.allowed_ips),
            draft.not_before.map(Timestamp::as_millis),
            draft.expires_at.map(Timestamp::as_millis),
            now.as_millis(),
        ])?;
    if inserted == 0 {
        return Err(Rejected::Exists { what: "key", id: draft.id.to_string() }.into());
    }
    insert_secret(db, db.last_insert_rowid(), 1, &draft.secret, now)?;
    Ok(())
}

/// Writes the `number`th secret of a key.
pub(super) fn insert_secret(
    db: &Connection,
    key: i64,
    number: i64,
    secret: &SecretDraft,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let prefix = secret.prefix.as_ref().map(crate::key::token::Prefix::as_str);
    db.prepare_cached(
        "INSERT INTO secret (digest, key, number, prefix, kid, hint, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![secret.digest.as_bytes(), key, number, prefix, secret.kid, secret.hint, now.as_millis()])?;
    if secret.foreign_checksum {
        db.prepare_cached("INSERT INTO adopted_prefix (prefix) SELECT ?1 WHERE ?1 IS NOT NULL ON CONFLICT DO NOTHING")?
            .execute([prefix])?;
    }
    Ok(())
}

pub(super) fn must_be_new(db: &Connection, digest: &Digest) -> Result<(), Stop> {
    let mut find = db.prepare_cached("SELECT k.id FROM secret s JOIN key k ON k.serial = s.key WHERE s.digest = ?1")?;
    match find.query_row([digest.as_bytes()], |row| row.get(0)).optional()? {
        Some(id) => Err(Rejected::Exists { what: "key", id }.into()),
        None => Ok(()),
    }
}

pub(super) fn must_have_key(db: &Connection, id: &KeyId) -> Result<Key, Stop> {
    list::key(db, id)?.ok_or_else(|| missing("key", id))
}

fn must_have_account(db: &Connection, id: &AccountId) -> Result<(), Stop> {
    let there = db.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([id.as_str()])?;
    if there { Ok(()) } else { Err(missing("account", id)) }
}

fn must_have_user(db: &Connection, id: &UserId) -> Result<(), Stop> {
    let there = db.prepare_cached("SELECT 1 FROM user WHERE id = ?1")?.exists([id.as_str()])?;
    if there { Ok(()) } else { Err(missing("user", id)) }
}

fn is_member(db: &Connection, account: &AccountId, user: &UserId) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM membership WHERE user = ?1 AND account = ?2")?
        .exists((user.as_str(), account.as_str()))
}

fn missing(what: &'static str, id: &dyn ToString) -> Stop {
    Rejected::Missing { what, id: id.to_string() }.into()
}

fn no_member(account: &AccountId, user: &UserId) -> Stop {
    missing("member", &format!("{user} of {account}"))
}
