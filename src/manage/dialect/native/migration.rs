//! Leaving the keys of users, on the wire.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::{Body, serial};
use super::query::{Query, cursor};
use super::wanted::given;
use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{AccountId, Imprint, KeyId, Kind, Permission};
use crate::keyring::command::{Advice, Legacy, Old, Problem as NotDone, Replaced, Replacement, SeenRoute, Tally, Used};
use crate::manage::problem::Problem;
use crate::secret::Secret;

/// Some keys of users, and where the next ones begin.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    keys: Vec<One<'a>>,
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    key: Body<'a>,
    accounts: &'a [Used<AccountId>],
    routes: &'a [SeenRoute],
    addresses: &'a [Used<IpAddr>],
    user_agents: &'a [Used<String>],
    more: Option<Tally>,
    advice: &'a Advice,
}

impl<'a> Page<'a> {
    /// The first `limit` of `keys`; one more among them says that there is another page.
    pub(super) fn of(keys: &'a [Legacy], limit: u32, now: Timestamp) -> Self {
        let shown = &keys[..keys.len().min(limit as usize)];
        let next = shown.last().filter(|_| keys.len() > shown.len());
        let one = |one: &'a Legacy| {
            let Legacy { key, accounts, routes, addresses, user_agents, more, advice } = one;
            One { key: Body::of(key, now), accounts, routes, addresses, user_agents, more: *more, advice }
        };
        Self {
            keys: shown.iter().map(one).collect(),
            next_cursor: next.map(|last| cursor(&last.key.serial.to_be_bytes())),
        }
    }
}

/// Where the page begins, and how many are wanted.
pub(super) fn page(query: Option<&str>) -> Result<(i64, u32), Problem> {
    let mut query = Query::read(query)?;
    let (after, limit) = (query.cursor(serial), query.limit());
    query.end()?;
    Ok((after.unwrap_or(0), limit))
}

/// What is to take a key's place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    with: Kind,
    pub(super) account_ids: Vec<AccountId>,
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    scopes: Option<Vec<Permission>>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    old_expires_in: Option<u64>,
    #[serde(default)]
    revoke_old: bool,
    #[serde(default, deserialize_with = "given")]
    pub(super) prefix: Option<Prefix>,
}

impl Wanted {
    /// Whether it takes the old key away, now or then.
    pub(super) const fn ends_old(&self) -> bool {
        self.old_expires_in.is_some() || self.revoke_old
    }

    /// Of this key, by these, from `now` on.
    pub(super) fn replacement(
        self,
        key: KeyId,
        keys: Vec<(AccountId, KeyId, Imprint)>,
        now: Timestamp,
    ) -> Result<Replacement<Imprint>, Problem> {
        let after = |seconds| now.plus(Duration::from_secs(seconds));
        let old = match (self.old_expires_in, self.revoke_old) {
            (Some(_), true) => return Err(Problem::member("/old_expires_in", "give this or revoke_old")),
            (Some(seconds), false) => Old::Expires(after(seconds)),
            (None, true) => Old::Revoked,
            (None, false) => Old::Stays,
        };
        Ok(Replacement {
            key,
            kind: self.with,
            keys,
            name: self.name,
            permissions: self.scopes.map(Into::into),
            expires_at: self.expires_in.map(after),
            old,
        })
    }
}

/// An account that cannot be had is the body's fault, and no missing page; the key is what the path names.
pub(super) fn not_replaced(problem: NotDone) -> Problem {
    match &problem {
        NotDone::NotFound { what, .. } if what != "key" => Problem::member("/account_ids", problem.to_string()),
        _ => problem.into(),
    }
}

/// What took a key's place, with the secrets, this once.
#[derive(Serialize)]
pub(super) struct Done<'a> {
    keys: Vec<Made<'a>>,
    old: Body<'a>,
}

#[derive(Serialize)]
struct Made<'a> {
    key: Body<'a>,
    secret: &'a str,
}

impl<'a> Done<'a> {
    pub(super) fn of(replaced: &'a Replaced, secrets: &'a [Secret], now: Timestamp) -> Self {
        let made = replaced
            .keys
            .iter()
            .zip(secrets)
            .map(|(key, secret)| Made { key: Body::of(key, now), secret: secret.expose_str().unwrap_or_default() });
        Self { keys: made.collect(), old: Body::of(&replaced.old, now) }
    }
}
