//! Keys on the wire: what is said of a wanted one, and how one is shown. Its secret is no part of it.

use std::time::Duration;

use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use super::query::{Query, cursor};
use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::token::Prefix;
use crate::key::{
    AccountId, Edit, Imprint, Key, KeyId, KeyState, Kind, Permission, Permissions, SecretState, Seen, Status, UserId,
};
use crate::keyring::command::{KeyChange, KeyFilter, NewKey};
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

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mint {
    #[serde(default, deserialize_with = "given")]
    kind: Option<Kind>,
    #[serde(default, deserialize_with = "given")]
    account_id: Option<AccountId>,
    #[serde(default, deserialize_with = "given")]
    user_id: Option<UserId>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<Permission>,
    #[serde(default)]
    allowed_ips: Vec<IpNet>,
    #[serde(default, deserialize_with = "given")]
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "given")]
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
        let expires_at = expiry(self.expires_at.into(), self.expires_in, now)?.applied(None);
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

/// Until when a key is accepted: a moment, null for ever, or so many seconds from `now`; nothing is said where both are left out.
fn expiry(at: Edit<Timestamp>, seconds: Option<u64>, now: Timestamp) -> Result<Edit<Timestamp>, Problem> {
    match (at, seconds) {
        (Edit::Set(_), Some(_)) => Err(Problem::member("/expires_in", "give this or expires_at")),
        (_, Some(seconds)) => Ok(Edit::Set(now.plus(Duration::from_secs(seconds)))),
        (at, None) => Ok(at),
    }
}

/// A member that is said: null takes it away.
pub(super) fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Edit<T>, D::Error> {
    Option::deserialize(deserializer).map(Edit::from)
}

/// A member that is left out or says something: null would be read as either.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is to become of a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default, deserialize_with = "given")]
    status: Option<Switch>,
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    scopes: Option<Vec<Permission>>,
    #[serde(default, deserialize_with = "given")]
    allowed_ips: Option<Vec<IpNet>>,
    #[serde(default, deserialize_with = "said")]
    expires_at: Edit<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    Active,
    Disabled,
}

impl Change {
    /// What it comes to at `now`.
    pub(super) fn change(self, now: Timestamp) -> Result<KeyChange, Problem> {
        let change = KeyChange {
            state: self.status.map(|status| match status {
                Switch::Active => KeyState::Active,
                Switch::Disabled => KeyState::Suspended,
            }),
            name: self.name,
            permissions: self.scopes.map(Permissions::from),
            allowed_ips: self.allowed_ips,
            expires_at: expiry(self.expires_at, self.expires_in, now)?,
        };
        if change == KeyChange::default() {
            return Err(Problem::detailed(Code::ValidationFailed, "Say what is to change."));
        }
        Ok(change)
    }
}

/// How to rotate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    #[serde(default)]
    mode: Way,
    #[serde(default, deserialize_with = "given")]
    grace_seconds: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    within_seconds: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    until_quiet_seconds: Option<u64>,
    #[serde(default)]
    supersede: bool,
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "said")]
    expires_at: Edit<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "given")]
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
    /// Of a key that has had so many secrets, at `now`. An operator may say anything of its name and its end; a face for holders
    /// sees that they widen nothing before it comes here.
    pub(super) fn rotation(&self, generation: i64, now: Timestamp) -> Result<Rotation, Problem> {
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
        Ok(Rotation {
            mode,
            supersede: self.supersede,
            until_quiet: self.until_quiet_seconds.map(Duration::from_secs),
            generation: Some(generation),
            name: self.name.clone(),
            expires_at: expiry(self.expires_at, self.expires_in, now)?,
        })
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

/// The entity tag of a key (RFC 9110, 8.8.3): it changes with whatever was done to the key or is ended by the clock, not with its
/// use.
pub(super) fn tag(seen: &Seen) -> String {
    let Seen { serial, version, status, rotating } = seen;
    format!("\"{serial}.{version}.{status}{}\"", if *rotating { ROTATING } else { "" })
}

const ROTATING: &str = ".rotating";

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
        let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
        let (rotating, tag) = tag.strip_suffix(ROTATING).map_or((false, tag), |tag| (true, tag));
        let mut parts = tag.splitn(3, '.');
        let (serial, version) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Seen { serial, version, status: parts.next()?.parse().ok()?, rotating })
    };
    Some(tags().filter_map(read).collect())
}
