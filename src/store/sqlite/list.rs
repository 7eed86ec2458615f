//! What people ask: lists of records, without their secrets.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::row;
use crate::clock::Timestamp;
use crate::key::{Account, AccountId, Key, KeyId, Membership, Status, User, UserId};
use crate::store::{KeyFilter, MemberFilter, Slice};

/// One key, by its id.
pub(in crate::store) fn key(db: &Connection, id: &KeyId) -> rusqlite::Result<Option<Key>> {
    let mut find = db.prepare_cached(&format!("{} WHERE k.id = ?1", row::KEY))?;
    find.query_row([id.as_str()], row::key).optional()
}

/// Keys, oldest first.
pub(in crate::store) fn keys(db: &Connection, filter: &KeyFilter, now: Timestamp) -> rusqlite::Result<Vec<Key>> {
    let text = |value: &str| Value::Text(value.to_owned());
    let wanted = [
        ("k.account = ?2", filter.account.as_ref().map(|account| text(account.as_str()))),
        ("k.user = ?3", filter.user.as_ref().map(|user| text(user.as_str()))),
        ("k.kind = ?4", filter.kind.map(|kind| text(kind.as_str()))),
        ("k.serial > ?5", filter.after.map(Value::Integer)),
    ];
    // Written out rather than `?2 IS NULL OR …`, which would read the whole table past its indexes.
    let more = filter.status.map(status_at).into_iter().chain(filter.unrevoked.then_some("k.state <> 'revoked'"));
    let conditions: Vec<_> =
        wanted.iter().filter(|(_, value)| value.is_some()).map(|(condition, _)| *condition).chain(more).collect();
    let mut sql = row::KEY.to_owned();
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    sql.push_str(" ORDER BY k.serial LIMIT ?6");
    let values = wanted.into_iter().map(|(_, value)| value.unwrap_or(Value::Null));
    let values =
        std::iter::once(Value::Integer(now.as_millis())).chain(values).chain([Value::Integer(most(filter.most))]);
    let mut find = db.prepare_cached(&sql)?;
    find.query_map(params_from_iter(values), row::key)?.collect()
}

/// [`Key::status_at`] as a condition, `?1` being the moment.
const fn status_at(status: Status) -> &'static str {
    match status {
        Status::Revoked => "k.state = 'revoked'",
        Status::Expired => "k.state <> 'revoked' AND k.expires_at <= ?1",
        Status::Disabled => "k.state = 'suspended' AND (k.expires_at IS NULL OR k.expires_at > ?1)",
        Status::NotYetValid => {
            "k.state = 'active' AND (k.expires_at IS NULL OR k.expires_at > ?1) AND k.not_before > ?1"
        }
        Status::Active => {
            "k.state = 'active' AND (k.expires_at IS NULL OR k.expires_at > ?1)
             AND (k.not_before IS NULL OR k.not_before <= ?1)"
        }
    }
}

/// One account, by its id.
pub(in crate::store) fn account(db: &Connection, id: &AccountId) -> rusqlite::Result<Option<Account>> {
    let mut find = db.prepare_cached(&format!("{} WHERE id = ?1", row::ACCOUNT))?;
    find.query_row([id.as_str()], row::account).optional()
}

/// Accounts, by id.
pub(in crate::store) fn accounts(db: &Connection, some: &Slice<AccountId>) -> rusqlite::Result<Vec<Account>> {
    let mut find = db.prepare_cached(&format!("{} {SLICE}", row::ACCOUNT))?;
    let after = some.after.as_ref().map_or("", AccountId::as_str);
    find.query_map((after, most(some.most)), row::account)?.collect()
}

/// One user, by their id.
pub(in crate::store) fn user(db: &Connection, id: &UserId) -> rusqlite::Result<Option<User>> {
    let mut find = db.prepare_cached(&format!("{} WHERE id = ?1", row::USER))?;
    find.query_row([id.as_str()], row::user).optional()
}

/// Users, by id.
pub(in crate::store) fn users(db: &Connection, some: &Slice<UserId>) -> rusqlite::Result<Vec<User>> {
    let mut find = db.prepare_cached(&format!("{} {SLICE}", row::USER))?;
    let after = some.after.as_ref().map_or("", UserId::as_str);
    find.query_map((after, most(some.most)), row::user)?.collect()
}

/// No id is empty.
const SLICE: &str = "WHERE id > ?1 ORDER BY id LIMIT ?2";

/// Memberships, by account, then user.
pub(in crate::store) fn members(db: &Connection, filter: &MemberFilter) -> rusqlite::Result<Vec<Membership>> {
    let (account, user) = (filter.account.as_ref().map(AccountId::as_str), filter.user.as_ref().map(UserId::as_str));
    let after = filter.after.as_ref().map_or("", UserId::as_str);
    // Written out for the sake of the indexes, as those of keys.
    let of_account = account.map_or("", |_| "account = ?1 AND ");
    let of_user = user.map_or("", |_| "user = ?2 AND ");
    let sql = format!("{} WHERE {of_account}{of_user}user > ?3 ORDER BY account, user LIMIT ?4", row::MEMBER);
    db.prepare_cached(&sql)?.query_map((account, user, after, most(filter.most)), row::member)?.collect()
}

/// As a LIMIT has it, where less than nothing is all.
fn most(count: Option<u32>) -> i64 {
    count.map_or(-1, i64::from)
}
