//! Columns to types and back. A value that does not parse was edited by hand: it is an error, never a default.

use std::str::FromStr;

use ipnet::IpNet;
use rusqlite::Row;
use rusqlite::types::Type;

use crate::clock::Timestamp;
use crate::key::{Account, Key, Membership, Permission, Permissions, Rotating, User};

/// A text column.
pub(super) fn parsed<T>(row: &Row<'_>, at: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    parse(row.get_ref(at)?.as_str()?, at)
}

/// A text column that may be null.
pub(super) fn optional<T>(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(at)?.as_str_or_null()?.map(|text| parse(text, at)).transpose()
}

/// A comma-separated column of permissions.
pub(super) fn permissions(row: &Row<'_>, at: usize) -> rusqlite::Result<Permissions> {
    let all: Vec<Permission> = list(row, at)?;
    Ok(all.into())
}

/// A comma-separated column of networks.
pub(super) fn networks(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<IpNet>> {
    list(row, at)
}

/// Networks as their column holds them.
pub(super) fn networks_text(networks: &[IpNet]) -> String {
    networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
}

/// A moment.
pub(super) fn moment(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    row.get(at).map(Timestamp::from_millis)
}

/// A moment that may be null.
pub(super) fn optional_moment(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
}

/// A column that holds a JSON object.
pub(super) fn json(row: &Row<'_>, at: usize) -> rusqlite::Result<serde_json::Map<String, serde_json::Value>> {
    let read = serde_json::from_str(row.get_ref(at)?.as_str()?);
    read.map_err(|bad| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(bad)))
}

/// The columns of [`key`], in its order, and where they stand.
pub(super) const KEY: &str = "SELECT k.serial, k.id, k.kind, k.state, k.account, k.user, k.name, s.prefix, s.kid,
        coalesce(s.hint, ''), k.permissions, k.allowed_ips, k.not_before, k.expires_at, k.created_at, k.rotated_at,
        u.last_used_at, k.generation, k.version, o.state, o.hint, o.until, q.span,
        nullif(max((SELECT coalesce(max(last_seen), 0) FROM caller c WHERE c.key = o.key AND c.secret = o.number),
                   (SELECT coalesce(max(last_seen), 0) FROM other_callers c WHERE c.key = o.key AND c.secret = o.number)), 0)
   FROM key k LEFT JOIN secret s ON s.key = k.serial AND s.state = 'current' LEFT JOIN usage u ON u.key = k.serial
        LEFT JOIN secret o ON o.key = k.serial AND o.state IN ('pending', 'grace')
        LEFT JOIN quiet q ON q.key = k.serial";

/// A key's record.
pub(super) fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        serial: row.get(0)?,
        id: parsed(row, 1)?,
        kind: parsed(row, 2)?,
        state: parsed(row, 3)?,
        account: optional(row, 4)?,
        user: optional(row, 5)?,
        name: row.get(6)?,
        prefix: optional(row, 7)?,
        kid: row.get(8)?,
        hint: row.get(9)?,
        permissions: permissions(row, 10)?,
        allowed_ips: networks(row, 11)?,
        not_before: optional_moment(row, 12)?,
        expires_at: optional_moment(row, 13)?,
        created_at: moment(row, 14)?,
        rotated_at: optional_moment(row, 15)?,
        last_used_at: optional_moment(row, 16)?,
        generation: row.get(17)?,
        version: row.get(18)?,
        rotation: rotation(row)?,
    })
}

fn rotation(row: &Row<'_>) -> rusqlite::Result<Option<Rotating>> {
    let Some(state) = optional(row, 19)? else { return Ok(None) };
    let quiet: Option<i64> = row.get(22)?;
    let until_quiet_seconds = quiet.and_then(|millis| u64::try_from(millis / 1000).ok());
    let (valid_until, last_used_at) = (moment(row, 21)?, optional_moment(row, 23)?);
    Ok(Some(Rotating { state, hint: row.get(20)?, valid_until, last_used_at, until_quiet_seconds }))
}

/// The columns of [`account`], in its order.
pub(super) const ACCOUNT: &str = "SELECT serial, id, name, state, created_at FROM account";

/// An account's record.
pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        serial: row.get(0)?,
        id: parsed(row, 1)?,
        name: optional(row, 2)?,
        state: parsed(row, 3)?,
        created_at: moment(row, 4)?,
    })
}

/// The columns of [`user`], in its order.
pub(super) const USER: &str = "SELECT serial, id, name, email, created_at FROM user";

/// A user's record.
pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        serial: row.get(0)?,
        id: parsed(row, 1)?,
        name: optional(row, 2)?,
        email: optional(row, 3)?,
        created_at: moment(row, 4)?,
    })
}

/// The columns of [`member`], in its order.
pub(super) const MEMBER: &str = "SELECT account, user, permissions, licence FROM membership";

/// A membership's record.
pub(super) fn member(row: &Row<'_>) -> rusqlite::Result<Membership> {
    Ok(Membership {
        account: parsed(row, 0)?,
        user: parsed(row, 1)?,
        permissions: permissions(row, 2)?,
        licence: optional(row, 3)?,
    })
}

fn list<T>(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(at)?.as_str()?;
    text.split(',').filter(|member| !member.is_empty()).map(|member| parse(member, at)).collect()
}

fn parse<T>(text: &str, at: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|bad: T::Err| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(bad)))
}
