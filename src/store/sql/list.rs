//! What people ask: lists of records, without their secrets.

use super::{Db, Error, Value, record, values};
use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{Account, AccountId, Key, KeyId, Membership, Status, User, UserId};
use crate::store::{KeyFilter, MemberFilter, Slice};

/// One key, by its id.
pub(in crate::store) fn key(db: &Db<'_>, id: &KeyId) -> Result<Option<Key>, Error> {
    db.first(&record::key_of_id(), values![id.as_str()], record::key)
}

/// Keys, oldest first.
pub(in crate::store) fn keys(db: &Db<'_>, filter: &KeyFilter, now: Timestamp) -> Result<Vec<Key>, Error> {
    let wanted = [
        ("k.account = ?2", filter.account.as_ref().map(|account| account.as_str().into())),
        ("k.\"user\" = ?3", filter.user.as_ref().map(|user| user.as_str().into())),
        ("k.kind = ?4", filter.kind.map(|kind| kind.as_str().into())),
        ("k.serial > ?5", filter.after.map(Value::from)),
    ];
    // Written out rather than `?2 IS NULL OR …`, which would read the whole table past its indexes.
    let more = filter.status.map(status_at).into_iter().chain(filter.unrevoked.then_some("k.state <> 'revoked'"));
    let wanted_here = wanted.iter().filter(|(_, value)| value.is_some()).map(|(condition, _)| *condition);
    let conditions: Vec<_> = ["TRUE"].into_iter().chain(wanted_here).chain(more).collect();
    let chosen = conditions.join(" AND ");
    let sql = match filter.most {
        Some(_) => record::few_keys_where(&chosen, "?6"),
        None => record::keys_where(&chosen, "?6"),
    };
    let [account, user, kind, after] = wanted.map(|(_, value)| value.unwrap_or(Value::Text(None)));
    db.rows(&sql, &[now.into(), account, user, kind, after, most(filter.most).into()], record::key)
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
pub(in crate::store) fn account(db: &Db<'_>, id: &AccountId) -> Result<Option<Account>, Error> {
    db.first(&format!("{} WHERE id = ?1", record::ACCOUNT), values![id.as_str()], record::account)
}

/// Accounts, by id.
pub(in crate::store) fn accounts(db: &Db<'_>, some: &Slice<AccountId>) -> Result<Vec<Account>, Error> {
    let after = some.after.as_ref().map_or("", AccountId::as_str);
    db.rows(&format!("{} {SLICE}", record::ACCOUNT), values![after, most(some.most)], record::account)
}

/// One user, by their id.
pub(in crate::store) fn user(db: &Db<'_>, id: &UserId) -> Result<Option<User>, Error> {
    db.first(&format!("{} WHERE id = ?1", record::USER), values![id.as_str()], record::user)
}

/// Users, by id.
pub(in crate::store) fn users(db: &Db<'_>, some: &Slice<UserId>) -> Result<Vec<User>, Error> {
    let after = some.after.as_ref().map_or("", UserId::as_str);
    db.rows(&format!("{} {SLICE}", record::USER), values![after, most(some.most)], record::user)
}

/// No id is empty.
const SLICE: &str = "WHERE id > ?1 ORDER BY id LIMIT ?2";

/// Memberships, by account, then user.
pub(in crate::store) fn members(db: &Db<'_>, filter: &MemberFilter) -> Result<Vec<Membership>, Error> {
    let (account, user) = (filter.account.as_ref().map(AccountId::as_str), filter.user.as_ref().map(UserId::as_str));
    let after = filter.after.as_ref().map_or("", UserId::as_str);
    // Written out for the sake of the indexes, as those of keys.
    let of_account = account.map_or("", |_| "account = ?1 AND ");
    let of_user = user.map_or("", |_| "\"user\" = ?2 AND ");
    let sql =
        format!("{} WHERE {of_account}{of_user}\"user\" > ?3 ORDER BY account, \"user\" LIMIT ?4", record::MEMBER);
    db.rows(&sql, values![account, user, after, most(filter.most)], record::member)
}

/// Prefixes under which a wrong checksum proves nothing.
pub(in crate::store) fn adopted_prefixes(db: &Db<'_>) -> Result<Vec<Prefix>, Error> {
    db.rows("SELECT prefix FROM adopted_prefix", values![], |row| row.parsed(0))
}

/// Whether there has ever been an operator key.
pub(in crate::store) fn has_operator(db: &Db<'_>) -> Result<bool, Error> {
    db.exists("SELECT 1 FROM key WHERE kind = 'operator' LIMIT 1", values![])
}

/// As a LIMIT has it.
pub(super) fn most(count: Option<u32>) -> i64 {
    count.map_or(i64::MAX, i64::from)
}
