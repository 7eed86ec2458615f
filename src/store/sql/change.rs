//! Changes. Each runs inside one transaction that the backend opened and commits, so what is checked here still holds when it is
//! written; and the triggers of the schema log whatever is written.

use std::collections::{HashMap, HashSet};

use super::{Db, Error, Stop, Value, edit, holder, list, record, values};
use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{Account, AccountId, Digest, Key, KeyId, Kind, Line, Membership, User, UserId};
use crate::store::{AccountChange, Clash, Draft, MemberChange, Policy, Rejected, SecretDraft, UserChange};

/// Makes an account.
pub(in crate::store) fn create_account(
    db: &Db<'_>,
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
pub(in crate::store) fn create_user(db: &Db<'_>, id: UserId, said: UserChange, now: Timestamp) -> Result<User, Stop> {
    if !add_user(db, &id, now)? {
        return Err(Rejected::Exists { what: "user", id: id.to_string() }.into());
    }
    edit::change_user(db, &id, said)
}

/// Makes a user a member, or changes what they may do. Whoever then has no licence that keys ask for loses their personal keys
/// there, as if they were no member any more.
pub(in crate::store) fn put_member(db: &Db<'_>, policy: &Policy, member: MemberChange) -> Result<Membership, Stop> {
    let MemberChange { account, user, permissions, licence } = member;
    must_have_account(db, &account)?;
    must_have_user(db, &user)?;
    let before = member_of(db, &account, &user)?;
    let licence = licence.applied(before.and_then(|before| before.licence));
    db.execute(
        "INSERT INTO membership (\"user\", account, permissions, licence) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (\"user\", account) DO UPDATE SET permissions = excluded.permissions, licence = excluded.licence",
        values![user.as_str(), account.as_str(), permissions.to_string(), licence.as_ref().map(Line::as_str)],
    )?;
    if !policy.licensed(licence.as_ref().map(Line::as_str)) {
        revoke_personal(db, &account, &user)?;
    }
    Ok(Membership { account, user, permissions, licence })
}

/// Ends a membership and revokes the user's personal keys there, so that a later membership does not revive them.
pub(in crate::store) fn remove_member(db: &Db<'_>, account: AccountId, user: UserId) -> Result<Membership, Stop> {
    let Some(member) = member_of(db, &account, &user)? else { return Err(no_member(&account, &user)) };
    db.execute(
        "DELETE FROM membership WHERE \"user\" = ?1 AND account = ?2",
        values![user.as_str(), account.as_str()],
    )?;
    revoke_personal(db, &account, &user)?;
    Ok(member)
}

fn revoke_personal(db: &Db<'_>, account: &AccountId, user: &UserId) -> Result<(), Error> {
    db.execute(
        "UPDATE key SET state = 'revoked'
          WHERE \"user\" = ?1 AND account = ?2 AND kind = 'personal' AND state <> 'revoked'",
        values![user.as_str(), account.as_str()],
    )?;
    Ok(())
}

/// Makes a key.
pub(in crate::store) fn mint(db: &Db<'_>, policy: &Policy, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
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

/// Makes an operator key where there has never been one.
pub(in crate::store) fn first_operator(db: &Db<'_>, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
    if list::has_operator(db)? {
        return Err(Rejected::Conflict(Clash::State, "there is an operator key already".into()).into());
    }
    mint(db, &Policy::default(), draft, now)
}

/// Revokes every operator key and makes this one.
pub(in crate::store) fn reset_operator(db: &Db<'_>, draft: &Draft, now: Timestamp) -> Result<Key, Stop> {
    db.execute("UPDATE key SET state = 'revoked' WHERE kind = 'operator' AND state <> 'revoked'", values![])?;
    // Nothing that holders are held to is asked of it.
    mint(db, &Policy::default(), draft, now)
}

/// Whether the account was not there before.
pub(super) fn add_account(db: &Db<'_>, id: &AccountId, now: Timestamp) -> Result<bool, Error> {
    let sql = "INSERT INTO account (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    Ok(db.execute(sql, values![id.as_str(), now])? == 1)
}

/// Whether the user was not there before.
pub(super) fn add_user(db: &Db<'_>, id: &UserId, now: Timestamp) -> Result<bool, Error> {
    let sql = "INSERT INTO \"user\" (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    Ok(db.execute(sql, values![id.as_str(), now])? == 1)
}

/// Writes a key and its first secret; `account` is what it is held to.
pub(super) fn insert_key(db: &Db<'_>, draft: &Draft, account: Option<&AccountId>, now: Timestamp) -> Result<(), Stop> {
    insert_keys(db, &[(draft, account)], now)
}

/// Writes keys and their first secrets, each in one statement for all.
pub(super) fn insert_keys(db: &Db<'_>, keys: &[(&Draft, Option<&AccountId>)], now: Timestamp) -> Result<(), Stop> {
    if keys.is_empty() {
        return Ok(());
    }
    let values: Vec<_> = keys.iter().flat_map(|(draft, account)| key_values(draft, *account, now)).collect();
    let sql = format!(
        "INSERT INTO key (id, kind, account, \"user\", name, permissions, allowed_ips, not_before, expires_at, created_at)
         VALUES {} ON CONFLICT (id) DO NOTHING RETURNING id, serial",
        places(keys.len(), 10)
    );
    let made: HashMap<String, i64> =
        db.rows(&sql, &values, |row| Ok((row.text(0)?.to_owned(), row.int(1)?)))?.into_iter().collect();
    if made.len() < keys.len() {
        let taken = keys.iter().find(|(draft, _)| !made.contains_key(draft.id.as_str())).or_else(|| keys.first());
        let id = taken.map(|(draft, _)| draft.id.to_string()).unwrap_or_default();
        return Err(Rejected::Exists { what: "key", id }.into());
    }
    let secrets: Vec<_> =
        keys.iter().filter_map(|(draft, _)| Some((*made.get(draft.id.as_str())?, 1, &draft.secret))).collect();
    Ok(insert_secrets(db, &secrets, now)?)
}

fn key_values<'a>(draft: &'a Draft, account: Option<&'a AccountId>, now: Timestamp) -> [Value<'a>; 10] {
    [
        draft.id.as_str().into(),
        draft.kind.as_str().into(),
        account.map(AccountId::as_str).into(),
        draft.user.as_ref().map(UserId::as_str).into(),
        (&draft.name).into(),
        draft.permissions.to_string().into(),
        record::networks_text(&draft.allowed_ips).into(),
        draft.not_before.into(),
        draft.expires_at.into(),
        now.into(),
    ]
}

/// The places of so many rows of so many values.
pub(super) fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let row: Vec<_> = (1..=columns).map(|column| format!("?{}", row * columns + column)).collect();
        format!("({})", row.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// Writes the `number`th secret of a key.
pub(super) fn insert_secret(
    db: &Db<'_>,
    key: i64,
    number: i64,
    secret: &SecretDraft,
    now: Timestamp,
) -> Result<(), Error> {
    insert_secrets(db, &[(key, number, secret)], now)
}

/// Writes secrets: the key of each, its number among that key's, and itself.
fn insert_secrets(db: &Db<'_>, secrets: &[(i64, i64, &SecretDraft)], now: Timestamp) -> Result<(), Error> {
    let values: Vec<_> =
        secrets.iter().flat_map(|(key, number, secret)| secret_values(*key, *number, secret, now)).collect();
    let sql = format!(
        "INSERT INTO secret (digest, key, number, prefix, kid, hint, created_at) VALUES {}",
        places(secrets.len(), 7)
    );
    db.execute(&sql, &values)?;
    let foreign = secrets.iter().filter(|(_, _, secret)| secret.foreign_checksum);
    for prefix in foreign.filter_map(|(_, _, secret)| secret.prefix.as_ref()).collect::<HashSet<_>>() {
        db.execute("INSERT INTO adopted_prefix (prefix) VALUES (?1) ON CONFLICT DO NOTHING", values![prefix.as_str()])?;
    }
    Ok(())
}

fn secret_values(key: i64, number: i64, secret: &SecretDraft, now: Timestamp) -> [Value<'_>; 7] {
    [
        (&secret.digest).into(),
        key.into(),
        number.into(),
        secret.prefix.as_ref().map(Prefix::as_str).into(),
        secret.kid.as_deref().into(),
        (&secret.hint).into(),
        now.into(),
    ]
}

pub(super) fn must_be_new(db: &Db<'_>, digest: &Digest) -> Result<(), Stop> {
    let sql = "SELECT k.id FROM secret s JOIN key k ON k.serial = s.key WHERE s.digest = ?1";
    match db.first(sql, values![digest], |row| Ok(row.text(0)?.to_owned()))? {
        Some(id) => Err(Rejected::Exists { what: "key", id }.into()),
        None => Ok(()),
    }
}

pub(super) fn must_have_key(db: &Db<'_>, id: &KeyId) -> Result<Key, Stop> {
    list::key(db, id)?.ok_or_else(|| missing("key", id))
}

pub(super) fn must_have_account(db: &Db<'_>, id: &AccountId) -> Result<Account, Stop> {
    list::account(db, id)?.ok_or_else(|| missing("account", id))
}

pub(super) fn must_have_user(db: &Db<'_>, id: &UserId) -> Result<User, Stop> {
    list::user(db, id)?.ok_or_else(|| missing("user", id))
}

fn member_of(db: &Db<'_>, account: &AccountId, user: &UserId) -> Result<Option<Membership>, Error> {
    let sql = format!("{} WHERE \"user\" = ?1 AND account = ?2", record::MEMBER);
    db.first(&sql, values![user.as_str(), account.as_str()], record::member)
}

fn missing(what: &'static str, id: &dyn ToString) -> Stop {
    Rejected::Missing { what, id: id.to_string() }.into()
}

fn no_member(account: &AccountId, user: &UserId) -> Stop {
    missing("member", &format!("{user} of {account}"))
}
