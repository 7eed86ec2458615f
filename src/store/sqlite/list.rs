//! What people ask: lists of records, without their secrets.

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::row;
use crate::key::{Account, AccountId, Key, KeyId, Kind, Membership, User, UserId};
use crate::store::KeyFilter;

/// One key, by its id.
pub(in crate::store) fn key(db: &Connection, id: &KeyId) -> rusqlite::Result<Option<Key>> {
    let mut find = db.prepare_cached(&format!("{} WHERE k.id = ?1", row::KEY))?;
    find.query_row([id.as_str()], row::key).optional()
}

/// Keys, oldest first.
pub(in crate::store) fn keys(db: &Connection, filter: &KeyFilter) -> rusqlite::Result<Vec<Key>> {
    let wanted = [
        ("k.account", filter.account.as_ref().map(AccountId::as_str)),
        ("k.user", filter.user.as_ref().map(UserId::as_str)),
        ("k.kind", filter.kind.map(Kind::as_str)),
    ];
    let wanted: Vec<_> = wanted.iter().filter_map(|(column, value)| value.map(|value| (column, value))).collect();
    // Written out rather than `?1 IS NULL OR …`, which would read the whole table past its indexes.
    let mut sql = row::KEY.to_owned();
    for (at, (column, _)) in wanted.iter().enumerate() {
        sql.push_str(if at == 0 { " WHERE " } else { " AND " });
        sql.push_str(column);
        sql.push_str(" = ?");
    }
    sql.push_str(" ORDER BY k.serial");
    db.prepare_cached(&sql)?.query_map(params_from_iter(wanted.iter().map(|(_, value)| *value)), row::key)?.collect()
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
