//! Keys on the wire, as they are shown: never their secrets.

use ipnet::IpNet;
use serde::Serialize;

use super::query::{Query, cursor};
use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{AccountId, Key, KeyId, Kind, Permissions, SecretState, Status, UserId};
use crate::keyring::command::KeyFilter;
use crate::manage::problem::{Code, Problem};
use crate::secret::Secret;

/// A key as everybody may see it.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    id: &'a KeyId,
    object: &'static str,
    kind: Kind,
    account_id: Option<&'a AccountId>,
    user_id: Option<&'a UserId>,
    owner: Option<Owner<'a>>,
    name: &'a str,
    prefix: Option<&'a str>,
    hint: &'a str,
    status: Status,
    scopes: &'a Permissions,
    allowed_ips: &'a [IpNet],
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    generation: i64,
    rotation: Running<'a>,
}

#[derive(Debug, Serialize)]
struct Owner<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
}

/// The rotation that runs, and the secret that authenticates beside the current one.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Running<'a> {
    None,
    /// The old one is good for a while.
    Grace {
        started_at: Option<Timestamp>,
        until_quiet_seconds: Option<u64>,
        previous: Second<'a>,
    },
    /// The new one waits for its first use.
    Pending {
        started_at: Option<Timestamp>,
        until_quiet_seconds: Option<u64>,
        next: Second<'a>,
    },
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Second<'a> {
    hint: &'a str,
    valid_until: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl<'a> Body<'a> {
    /// `key` as it is at `now`.
    pub(super) fn of(key: &'a Key, now: Timestamp) -> Self {
        let owner = match (&key.user, &key.account) {
            (Some(user), _) => Some(Owner { kind: "user", id: user.as_str() }),
            (None, Some(account)) => Some(Owner { kind: "account", id: account.as_str() }),
            (None, None) => None,
        };
        let started_at = key.rotated_at;
        let rotation = match key.rotation_at(now) {
            None => Running::None,
            Some(running) => {
                let second = Second {
                    hint: &running.hint,
                    valid_until: running.valid_until,
                    last_used_at: running.last_used_at,
                };
                let until_quiet_seconds = running.until_quiet_seconds;
                match running.state {
                    SecretState::Pending => Running::Pending { started_at, until_quiet_seconds, next: second },
                    SecretState::Grace | SecretState::Current | SecretState::Retired => {
                        Running::Grace { started_at, until_quiet_seconds, previous: second }
                    }
                }
            }
        };
        Self {
            id: &key.id,
            object: "key",
            kind: key.kind,
            account_id: key.account.as_ref(),
            user_id: key.user.as_ref(),
            owner,
            name: &key.name,
            prefix: key.prefix.as_ref().map(Prefix::as_str),
            hint: &key.hint,
            status: key.status_at(now),
            scopes: &key.permissions,
            allowed_ips: &key.allowed_ips,
            not_before: key.not_before,
            expires_at: key.expires_at,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            generation: key.generation,
            rotation,
        }
    }
}

/// One key.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    pub(super) key: Body<'a>,
}

/// A key and its new secret, shown this once.
#[derive(Serialize)]
pub(super) struct Made<'a> {
    key: Body<'a>,
    secret: &'a str,
    /// The old secret, where it is still good.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Second<'a>>,
}

impl<'a> Made<'a> {
    pub(super) fn of(key: &'a Key, secret: &'a Secret, now: Timestamp) -> Self {
        let body = Body::of(key, now);
        let previous = match &body.rotation {
            Running::Grace { previous, .. } => Some(*previous),
            Running::None | Running::Pending { .. } => None,
        };
        Self { key: body, secret: secret.expose_str().unwrap_or_default(), previous }
    }
}

/// Some keys, and where the next ones begin.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    keys: Vec<Body<'a>>,
    next_cursor: Option<String>,
}

impl<'a> Page<'a> {
    /// The first `limit` of `keys`; one more among them says that there is another page.
    pub(super) fn of(keys: &'a [Key], limit: u32, now: Timestamp) -> Self {
        let limit = limit as usize;
        let shown = &keys[..keys.len().min(limit)];
        let next = shown.last().filter(|_| keys.len() > limit);
        Self {
            keys: shown.iter().map(|key| Body::of(key, now)).collect(),
            next_cursor: next.map(|last| cursor(&last.serial.to_be_bytes())),
        }
    }
}

/// What a query asks for.
pub(super) struct Listing {
    /// Which keys: one more is looked for than is shown.
    pub(super) filter: KeyFilter,
    /// How many.
    pub(super) limit: u32,
    /// Of a holder, all that they manage, and not their own alone.
    pub(super) all: bool,
}

/// Which keys a query asks for.
pub(super) fn listing(query: Option<&str>) -> Result<Listing, Problem> {
    let mut query = Query::read(query)?;
    let limit = query.limit();
    let filter = KeyFilter {
        account: query.take("account"),
        user: query.take("user"),
        kind: query.take("kind"),
        status: query.take("status"),
        unrevoked: false,
        after: query.cursor(serial),
        most: Some(limit + 1),
    };
    let all = query.take_by(
        "owner",
        |text| match text {
            "self" => Some(false),
            "account" => Some(true),
            _ => None,
        },
        "give self or account",
    );
    query.end()?;
    Ok(Listing { filter, limit, all: all.unwrap_or_default() })
}

/// The key's number that a cursor stands for.
pub(super) fn serial(cursor: Vec<u8>) -> Option<i64> {
    Some(i64::from_be_bytes(cursor.try_into().ok()?)).filter(|serial| *serial >= 0)
}

/// The judgement.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    valid: bool,
    code: &'static str,
}

impl Verdict {
    pub(super) fn of(refused: Option<Code>) -> Self {
        Self { valid: refused.is_none(), code: refused.map_or("VALID", Code::as_str) }
    }
}
