//! What people ask: lists of records, without their secrets.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::row;
use crate::clock::Timestamp;
use crate::key::{Account, AccountId, Key, KeyId, Membership, Status, User};
use crate::store::KeyFilter;

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
    let status = filter.status.map(status_at);
    let conditions: Vec<_> =
        wanted.iter().filter(|(_, value)| value.is_some()).map(|(condition, _)| *condition).chain(status).collect();
    let mut sql = row::KEY.to_owned();
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    sql.push_str(" ORDER BY k.serial LIMIT ?6");
    let most = filter.most.map_or(-1, i64::from);
    let values = wanted.into_iter().map(|(_, value)| value.unwrap_or(Value::Null));
    let values = std::iter::once(Value::Integer(now.as_millis())).chain(values).chain([Value::Integer(most)]);
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

/// Accounts, by id.
pub(in crate::store) fn accounts(db: &Connection) -> rusqlite::Result<Vec<Account>> {
    db.prepare_cached("SELECT id, state, created_at FROM account ORDER BY id")?
        .query_map([], |row| {
            Ok(Account { id: row::parsed(row, 0)?, state: row::parsed(row, 1)?, created_at: row::moment(row, 2)? })
        })?
        .collect()
}

/// Users, by id.
pub(in crate::store) fn users(db: &Connection) -> rusqlite::Result<Vec<User>> {
    db.prepare_cached("SELECT id, created_at FROM user ORDER BY id")?
        .query_map([], |row| Ok(User { id: row::parsed(row, 0)?, created_at: row::moment(row, 1)? }))?
        .collect()
}

/// Memberships, by account, then user.
pub(in crate::store) fn members(db: &Connection, account: Option<&AccountId>) -> rusqlite::Result<Vec<Membership>> {
    db.prepare_cached(
        "SELECT account, user, permissions FROM membership WHERE (?1 IS NULL OR account = ?1) ORDER BY account, user",
    )?
    .query_map([account.map(AccountId::as_str)], |row| {
        Ok(Membership {
            account: row::parsed(row, 0)?,
            user: row::parsed(row, 1)?,
            permissions: row::permissions(row, 2)?,
        })
    })?
    .collect()
}
