//! Keys on the wire: what is said of a wanted one, and how one is shown. Its secret is no part of it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use super::query::Query;
use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::token::Prefix;
use crate::key::{
    AccountId, Imprint, Key, KeyId, KeyState, Kind, Permission, Permissions, SecretState, Seen, Status, UserId,
};
use crate::keyring::command::{KeyFilter, NewKey};
use crate::manage::caller::Caller;
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

#[derive(Debug, Serialize)]
struct Second<'a> {
    hint: &'a str,
    valid_until: Timestamp,
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
                let second = Second { hint: &running.hint, valid_until: running.valid_until };
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
    pub(super) key: Body<'a>,
    pub(super) secret: &'a str,
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
            next_cursor: next.map(|last| cursor(last.serial)),
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
    let limit = query.take_by("limit", |text| text.parse().ok().filter(|limit| LIMITS.contains(limit)), LIMITS_SAID);
    let limit = limit.unwrap_or(USUAL_LIMIT);
    let filter = KeyFilter {
        account: query.take("account"),
        user: query.take("user"),
        kind: query.take("kind"),
        status: query.take("status"),
        after: query.take_by("cursor", serial, "give the next_cursor of the page before"),
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

const LIMITS: std::ops::RangeInclusive<u32> = 1..=100;
const LIMITS_SAID: &str = "give a number from 1 to 100";
const USUAL_LIMIT: u32 = 50;

/// Where a page ends, as a text that means nothing to others.
fn cursor(serial: i64) -> String {
    URL_SAFE_NO_PAD.encode(serial.to_be_bytes())
}

fn serial(cursor: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Some(i64::from_be_bytes(bytes.try_into().ok()?)).filter(|serial| *serial >= 0)
}

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mint {
    kind: Option<Kind>,
    account_id: Option<AccountId>,
    user_id: Option<UserId>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<Permission>,
    #[serde(default)]
    allowed_ips: Vec<IpNet>,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    expires_in: Option<u64>,
    pub(super) prefix: Option<Prefix>,
}

impl Mint {
    /// The key, which begins at `now`. What a holder does not say is as their own is.
    pub(super) fn draft(self, id: KeyId, secret: Imprint, caller: &Caller, now: Timestamp) -> Result<NewKey, Problem> {
        let (usual, account, user) = match caller {
            Caller::Operator(_) => (Kind::Service, None, None),
            Caller::Holder(holder) if holder.user().is_none() => (Kind::Service, holder.account(), None),
            Caller::Holder(holder) => (Kind::Personal, holder.account(), holder.user()),
        };
        let kind = self.kind.unwrap_or(usual);
        let user = user.filter(|_| kind == Kind::Personal);
        let expires_at = match (self.expires_at, self.expires_in) {
            (Some(_), Some(_)) => return Err(Problem::member("/expires_in", "give this or expires_at")),
            (at, None) => at,
            (None, Some(seconds)) => Some(now.plus(Duration::from_secs(seconds))),
        };
        Ok(NewKey {
            account: self.account_id.or_else(|| account.cloned()),
            user: self.user_id.or_else(|| user.cloned()),
            name: self.name,
            permissions: self.scopes.into(),
            allowed_ips: self.allowed_ips,
            not_before: self.not_before,
            expires_at,
            ..NewKey::bare(id, secret, kind)
        })
    }
}

/// What is to become of a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    status: Switch,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    Active,
    Disabled,
}

impl Change {
    pub(super) const fn state(&self) -> KeyState {
        match self.status {
            Switch::Active => KeyState::Active,
            Switch::Disabled => KeyState::Suspended,
        }
    }
}

/// How to rotate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    #[serde(default)]
    mode: Way,
    grace_seconds: Option<u64>,
    within_seconds: Option<u64>,
    until_quiet_seconds: Option<u64>,
    #[serde(default)]
    supersede: bool,
    pub(super) prefix: Option<Prefix>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    #[default]
    Immediate,
    Grace,
    FirstUse,
}

impl Rotate {
    /// Of a key that has had so many secrets.
    pub(super) fn rotation(&self, generation: i64) -> Result<Rotation, Problem> {
        let grace = self.grace_seconds.map(Duration::from_secs);
        let mode = match (self.mode, grace, self.within_seconds) {
            (Way::Immediate, None, None) => Mode::Immediate,
            (Way::Grace, Some(grace), None) => Mode::Grace(grace),
            (Way::FirstUse, grace, within) => {
                let within = within.map_or(USUAL_PATIENCE, Duration::from_secs);
                Mode::FirstUse { within, grace: grace.unwrap_or_default() }
            }
            (Way::Grace, None, _) => return Err(Problem::member("/grace_seconds", "this mode needs it")),
            (Way::Immediate, Some(_), _) => return Err(Problem::member("/grace_seconds", "this mode has none")),
            (Way::Immediate | Way::Grace, _, Some(_)) => {
                return Err(Problem::member("/within_seconds", "only the mode first_use has it"));
            }
        };
        let until_quiet = self.until_quiet_seconds.map(Duration::from_secs);
        Ok(Rotation { mode, supersede: self.supersede, until_quiet, generation: Some(generation) })
    }
}

/// A new secret that is not used for so long is given up.
const USUAL_PATIENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A secret to be judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    #[serde(deserialize_with = "secret")]
    pub(super) secret: Secret,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
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

/// The entity tag of a key (RFC 9110, 8.8.3): it changes with whatever was done to the key, not with its use.
pub(super) fn tag(seen: &Seen) -> String {
    format!("\"{}.{}.{}\"", seen.serial, seen.generation, seen.state)
}

/// Whether a line of `If-None-Match` names the tag; its comparison is the weak one.
pub(super) fn names(line: &HeaderValue, tag: &str) -> bool {
    let mut tags = line.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

/// What `If-Match` says was seen; none where it says nothing, or that anything will do. A tag that was never ours, or is weak,
/// matches nothing (RFC 9110, 13.1.1).
pub(super) fn seen(headers: &HeaderMap) -> Option<Vec<Seen>> {
    let lines = headers.get_all(IF_MATCH);
    lines.iter().next()?;
    let tags = || lines.iter().flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim);
    if tags().any(|tag| tag == "*") {
        return None;
    }
    let read = |tag: &str| {
        let mut parts = tag.strip_prefix('"')?.strip_suffix('"')?.splitn(3, '.');
        let seen = Seen {
            serial: parts.next()?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
            state: parts.next()?.parse().ok()?,
        };
        Some(seen)
    };
    Some(tags().filter_map(read).collect())
}
