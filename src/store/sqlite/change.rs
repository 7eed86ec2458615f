//! Changes. Each runs inside one transaction that the writing thread opened and commits, so what is checked here still
//! holds when it is written; and the triggers of the schema log whatever is written.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Stop, edit, holder, list, row};
use crate::clock::Timestamp;
use crate::key::{Account, AccountId, Digest, Key, KeyId, Kind, Line, Membership, User, UserId};
use crate::store::{AccountChange, Draft, MemberChange, Policy, Rejected, SecretDraft, UserChange};

/// Makes an account.
pub(in crate::store) fn create_account(
    db: &Connection,
    id: AccountId,
    name: Option<Line>,
    now: Timestamp,
) -> Result<Account, Stop> {
    if !add_account(db, &id, now)? {
        return Err(Rejected::Exists { what: "account", id: id.to_string() }.into());
    }
    edit::change_account(db, &id, AccountChange { name: name.into(), state: None })
}

/// Makes a user.
pub(in crate::store) fn create_user(
    db: &Connection,
    id: UserId,
    said: UserChange,
    now: Timestamp,
) -> Result<User, Stop> {
    if !add_user(db, &id, now)? {
        return Err(Rejected::Exists { what: "user", id: id.to_string() }.into());
    }
    edit::change_user(db, &id, said)
}

/// Makes a user a member, or changes what they may do. Whoever then has no licence that keys ask for loses their personal keys
/// there, as if they were no member any more.
pub(in crate::store) fn put_member(db: &Connection, policy: &Policy, member: MemberChange) -> Result<Membership, Stop> {
    let MemberChange { account, user, permissions, licence } = member;
    must_have_account(db, &account)?;
    must_have_user(db, &user)?;
    let before = member_of(db, &account, &user)?;
    let licence = licence.applied(before.and_then(|before| before.licence));
    db.prepare_cached(
        "INSERT INTO membership (user, account, permissions, licence) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user, account) DO UPDATE SET permissions = excluded.permissions, licence = excluded.licence",
    )?
    .execute((user.as_str(), account.as_str(), permissions.to_string(), licence.as_ref().map(Line::as_str)))?;
    if !policy.licensed(licence.as_ref().map(Line::as_str)) {
        revoke_personal(db, &account, &user)?;
    }
    Ok(Membership { account, user, permissions, licence })
}

/// Ends a membership and revokes the user's personal keys there, so that a later membership does not revive them.
pub(in crate::store) fn remove_member(db: &Connection, account: AccountId, user: UserId) -> Result<Membership, Stop> {
    let Some(member) = member_of(db, &account, &user)? else { return Err(no_member(&account, &user)) };
    db.prepare_cached("DELETE FROM membership WHERE user = ?1 AND account = ?2")?
        .execute((user.as_str(), account.as_str()))?;
    revoke_personal(db, &account, &user)?;
    Ok(member)
}

fn revoke_personal(db: &Connection, account: &AccountId, user: &UserId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE key SET state = 'revoked'
          WHERE user = ?1 AND account = ?2 AND kind = 'personal' AND state <> 'revoked'",
    )?
    .execute((user.as_str(), account.as_str()))?;
    Ok(())
}

/// Makes a key.
pub(in crate::store) fn mint(db: &Connection, policy: &Policy, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
    if let Some(account) = &draft.account {
        must_have_account(db, account)?;
    }
    if let Some(user) = &draft.user {
        must_have_user(db, user)?;
    }
    if let (Kind::Personal | Kind::User, Some(account), Some(user)) = (draft.kind, &draft.account, &draft.user)
        && member_of(db, account, user)?.is_none()
    {
        return Err(no_member(account, user));
    }
    holder::must_be_licensed(db, policy, draft)?;
    must_be_new(db, &draft.secret.digest)?;
    policy.check_expiry(draft.kind, draft.expires_at, now)?;
    holder::must_have_room(db, policy, draft.kind, (draft.account.as_ref(), draft.user.as_ref()), now)?;
    // A user key that names an account says where its user belongs; it is held to none.
    let held_to = draft.account.as_ref().filter(|_| draft.kind != Kind::User);
    insert_key(db, draft, held_to, now)?;
    must_have_key(db, &draft.id)
}

/// Revokes every operator key and makes this one.
pub(in crate::store) fn reset_operator(db: &Connection, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
    db.execute("UPDATE key SET state = 'revoked' WHERE kind = 'operator' AND state <> 'revoked'", [])?;
    // Nothing that holders are held to is asked of it.
    mint(db, &Policy::default(), draft, now)
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

pub(super) fn must_have_account(db: &Connection, id: &AccountId) -> Result<Account, Stop> {
    list::account(db, id)?.ok_or_else(|| missing("account", id))
}

pub(super) fn must_have_user(db: &Connection, id: &UserId) -> Result<User, Stop> {
    list::user(db, id)?.ok_or_else(|| missing("user", id))
}

fn member_of(db: &Connection, account: &AccountId, user: &UserId) -> rusqlite::Result<Option<Membership>> {
    db.prepare_cached(&format!("{} WHERE user = ?1 AND account = ?2", row::MEMBER))?
        .query_row((user.as_str(), account.as_str()), row::member)
        .optional()
}

fn missing(what: &'static str, id: &dyn ToString) -> Stop {
    Rejected::Missing { what, id: id.to_string() }.into()
}

fn no_member(account: &AccountId, user: &UserId) -> Stop {
    missing("member", &format!("{user} of {account}"))
}
