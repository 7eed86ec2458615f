//! Rows to records: for each, the columns it is read from, in its order, and where they stand.

use ipnet::IpNet;

use super::{Error, Row};
use crate::key::{Account, Key, Membership, Rotating, User};

/// Networks as their column holds them.
pub(super) fn networks_text(networks: &[IpNet]) -> String {
    networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
}

/// Of [`key`], for the key with an id.
pub(super) fn key_of_id() -> String {
    format!("{KEY} FROM key k {BESIDE} WHERE k.id = ?1")
}

/// Of [`key`], for the keys that a condition on `k` chooses, oldest first; at most as many as the value `most` says.
pub(super) fn keys_where(chosen: &str, most: &str) -> String {
    format!("{KEY} FROM key k {BESIDE} WHERE {chosen} ORDER BY k.serial LIMIT {most}")
}

/// The same for a few of them: they are chosen before anything is looked up beside them, because PostgreSQL else goes through
/// what is beside all keys before them too.
pub(super) fn few_keys_where(chosen: &str, most: &str) -> String {
    let few = format!("(SELECT * FROM key k WHERE {chosen} ORDER BY k.serial LIMIT {most}) k");
    format!("{KEY} FROM {few} {BESIDE} ORDER BY k.serial")
}

const KEY: &str =
    "SELECT k.serial, k.id, k.kind, k.state, k.account, k.\"user\", k.name, s.prefix, s.kid, coalesce(s.hint, ''),
        k.permissions, k.allowed_ips, k.not_before, k.expires_at, k.created_at, k.rotated_at, u.last_used_at, k.generation,
        k.version, o.state, o.hint, o.until, q.span,
        (SELECT max(last_seen) FROM caller c WHERE c.key = o.key AND c.secret = o.number),
        (SELECT max(last_seen) FROM other_callers c WHERE c.key = o.key AND c.secret = o.number)";

/// What is told of a key beside its own row.
const BESIDE: &str = "LEFT JOIN secret s ON s.key = k.serial AND s.state = 'current' LEFT JOIN usage u ON u.key = k.serial
        LEFT JOIN secret o ON o.key = k.serial AND o.state IN ('pending', 'grace') LEFT JOIN quiet q ON q.key = k.serial";

/// A key's record.
pub(super) fn key(row: &Row<'_>) -> Result<Key, Error> {
    Ok(Key {
        serial: row.int(0)?,
        id: row.parsed(1)?,
        kind: row.parsed(2)?,
        state: row.parsed(3)?,
        account: row.optional(4)?,
        user: row.optional(5)?,
        name: row.text(6)?.to_owned(),
        prefix: row.optional(7)?,
        kid: row.optional_text(8)?.map(str::to_owned),
        hint: row.text(9)?.to_owned(),
        permissions: row.permissions(10)?,
        allowed_ips: row.networks(11)?,
        not_before: row.optional_moment(12)?,
        expires_at: row.optional_moment(13)?,
        created_at: row.moment(14)?,
        rotated_at: row.optional_moment(15)?,
        last_used_at: row.optional_moment(16)?,
        generation: row.int(17)?,
        version: row.int(18)?,
        rotation: rotation(row)?,
    })
}

fn rotation(row: &Row<'_>) -> Result<Option<Rotating>, Error> {
    let Some(state) = row.optional(19)? else { return Ok(None) };
    let until_quiet_seconds = row.optional_int(22)?.and_then(|millis| u64::try_from(millis / 1000).ok());
    // By a caller that has a place, or by one of the others.
    let last_used_at = row.optional_moment(23)?.max(row.optional_moment(24)?);
    let (hint, valid_until) = (row.text(20)?.to_owned(), row.moment(21)?);
    Ok(Some(Rotating { state, hint, valid_until, last_used_at, until_quiet_seconds }))
}

/// Of [`account`].
pub(super) const ACCOUNT: &str = "SELECT serial, id, name, state, created_at FROM account";

/// An account's record.
pub(super) fn account(row: &Row<'_>) -> Result<Account, Error> {
    Ok(Account {
        serial: row.int(0)?,
        id: row.parsed(1)?,
        name: row.optional(2)?,
        state: row.parsed(3)?,
        created_at: row.moment(4)?,
    })
}

/// Of [`user`].
pub(super) const USER: &str = "SELECT serial, id, name, email, created_at FROM \"user\"";

/// A user's record.
pub(super) fn user(row: &Row<'_>) -> Result<User, Error> {
    Ok(User {
        serial: row.int(0)?,
        id: row.parsed(1)?,
        name: row.optional(2)?,
        email: row.optional(3)?,
        created_at: row.moment(4)?,
    })
}

/// Of [`member`].
pub(super) const MEMBER: &str = "SELECT account, \"user\", permissions, licence FROM membership";

/// A membership's record.
pub(super) fn member(row: &Row<'_>) -> Result<Membership, Error> {
    Ok(Membership {
        account: row.parsed(0)?,
        user: row.parsed(1)?,
        permissions: row.permissions(2)?,
        licence: row.optional(3)?,
    })
}
